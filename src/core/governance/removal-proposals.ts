/**
 * Proposals that nobody signed: with the quarantine of a node the ledger opens one to remove it (R32). Members vote on it as on
 * any other, by the policy for `remove_node`; it is withdrawn when the node renews its lease or leaves by another decision.
 */
import { encodeCbor } from "../codec/cbor.ts";
import { EMPTY, fromHex, toHex, type HashFunction } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import type { BatchPlace } from "./epochs.ts";
import { isQuarantined, type Leases } from "./leases.ts";
import { proposalTimes, type VotingPolicies } from "./policy.ts";
import { isPending, type ProposalRecord, withinHistory } from "./proposal.ts";

/** In the place of a proposer's id; no actor can have it, since ids have no colon. */
export const LEDGER_PROPOSER = "coco:lease";

const ID_DOMAIN = "coco removal after lease v1";

/** Whether the ledger itself made a proposal: there is no message, and no member to withdraw it. */
export function isByLedger({ proposer }: Pick<ProposalRecord, "proposer">): boolean {
  return proposer === LEDGER_PROPOSER;
}

/** What of such a proposal follows from its node and its place in the ledger. */
export function removalContent(nodeId: NodeId, openedAtSeqno: number, sha256: HashFunction) {
  return {
    id: toHex(sha256(encodeCbor([ID_DOMAIN, fromHex(nodeId), openedAtSeqno]))),
    ...{ message: EMPTY, chain: [], certificate: "", proposer: LEDGER_PROPOSER },
    description: `the lease of node ${nodeId} has ended: nothing shows what it runs`,
    actions: [{ name: "remove_node", args: { nodeId } }],
  } as const satisfies Partial<ProposalRecord>;
}

/** The node that such a proposal removes; undefined when a member made it. */
export function nodeToRemove(proposal: Pick<ProposalRecord, "proposer" | "actions">): NodeId | undefined {
  const [action] = proposal.actions;
  return isByLedger(proposal) && action?.name === "remove_node" ? action.args.nodeId : undefined;
}

/** The proposal to remove a node that is quarantined by the batch at this place. */
export function removalProposal(
  nodeId: NodeId,
  place: Pick<BatchPlace, "firstSeqno" | "timeMs">,
  policies: VotingPolicies,
  sha256: HashFunction,
): ProposalRecord {
  const { timeMs, firstSeqno } = place;
  return {
    ...removalContent(nodeId, firstSeqno, sha256),
    ...{ state: "Open", openedAtMs: timeMs, openedAtSeqno: firstSeqno },
    expiresAtMs: timeMs + proposalTimes(policies, ["remove_node"]).expiresAfterMs,
    ...{ scheduled: undefined, ballots: [], withdrawal: undefined, finalVotes: [] },
    ...{ failure: undefined, decidedAtMs: undefined },
  };
}

/** The state without open proposals to remove nodes that are not quarantined any more. */
export function withdrawSettledRemovals<
  State extends { readonly proposals: readonly ProposalRecord[]; readonly leases: Leases },
>(state: State, nowMs: number): State {
  const isSettled = (proposal: ProposalRecord): boolean => {
    const nodeId = isPending(proposal) ? nodeToRemove(proposal) : undefined;
    return nodeId !== undefined && !isQuarantined(state, nodeId);
  };
  if (!state.proposals.some(isSettled)) return state;
  const withdrawn = { state: "Withdrawn", scheduled: undefined, decidedAtMs: nowMs } as const;
  const proposals = state.proposals.map((one) => (isSettled(one) ? { ...one, ...withdrawn } : one));
  return { ...state, proposals: withinHistory(proposals) };
}
