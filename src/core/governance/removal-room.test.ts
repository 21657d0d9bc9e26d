/** What proposals of the ledger, to remove nodes whose lease has ended, may take of the room that members' proposals have. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  GOVERNANCE_CRYPTO,
  type GovernedNetwork,
  idOf,
  refusal,
  requestSignerOf,
} from "../../../test/support/governed-network.ts";
import { lapsedNetwork, pass } from "../../../test/support/leased-network.ts";
import { sha256 } from "../../enclave/manager/node-crypto.ts";
import { utf8Encode } from "../codec/bytes.ts";
import { isPending, MAX_OPEN_PROPOSALS_BYTES, memberBytes, type ProposalRecord } from "./proposal.ts";
import { LEDGER_PROPOSER, removalProposal } from "./removal-proposals.ts";
import { proposalPayload, signProposal, signRequest } from "./request-signing.ts";
import type { ScriptCall } from "./script.ts";
import { decodeGovernanceState, encodeGovernanceState } from "./state-codec.ts";

const PADDING = "x".repeat(110_000);

// Scripts are told apart by what they say; nobody's decides.
const runScript = ({ function: name }: ScriptCall) =>
  ({ ok: true, value: name === "validate" ? { valid: true, description: "" } : "no" }) as const;
Object.assign(GOVERNANCE_CRYPTO, { runScript });

/** A network with an open proposal of the ledger to remove node 2. */
function networkWithRemoval(): { readonly network: GovernedNetwork; readonly removal: ProposalRecord } {
  const network = lapsedNetwork();
  network.execute({ type: "quarantine", nodeIds: [idOf(2)] });
  const removal = network.state.proposals.find(({ proposer }) => proposer === LEDGER_PROPOSER) ?? assert.fail();
  return { network, removal };
}

test("a member's ballots on proposals of the ledger count as its own room", () => {
  const { network, removal } = networkWithRemoval();
  const members = network.state.constitution.actors.map(({ id }) => id);
  const [member = assert.fail()] = members;
  const origin = () => {
    pass(network, 1_000);
    const createdAt = Math.floor(network.place.timeMs / 1000);
    return { signer: requestSignerOf(member), networkId: network.state.networkId, createdAt, sha256 };
  };
  const ballot = utf8Encode(JSON.stringify({ ballot: `export function vote () {} //${PADDING}` }));
  network.execute({ type: "request", ...signRequest("ballot", ballot, origin(), removal.id) });
  const propose = (at: number) => {
    const source = `export function validate () {} //${at}${PADDING}`;
    network.execute({
      type: "request",
      ...signProposal(proposalPayload([{ name: "set_script", args: { source } }]), origin()),
    });
  };
  const part = Math.floor(MAX_OPEN_PROPOSALS_BYTES / members.length);
  assert.throws(() => {
    for (let at = 0; at < 4; at++) propose(at);
  }, refusal("TooManyProposals"));
  const pending = network.state.proposals.filter(isPending);
  assert.ok(pending.length > 1, "what fits was taken");
  assert.ok(memberBytes(pending, member) <= part, `${memberBytes(pending, member)} of ${part}`);
});

test("a state with all the proposals there can be reads as it was written", () => {
  const { network } = networkWithRemoval();
  const place = { index: 1, timeMs: 5 };
  const { policies } = network.state.constitution;
  const make = (firstSeqno: number) => removalProposal(idOf(2), { ...place, firstSeqno }, policies, sha256);
  const decided = Array.from({ length: 4_096 }, (_, at) => ({
    ...make(at + 10),
    ...({ state: "Withdrawn", decidedAtMs: 6 } as const),
  }));
  const open = Array.from({ length: 65 }, (_, at) => make(at + 100_000));
  const state = { ...network.state, proposals: [...decided, ...open] };
  const read = decodeGovernanceState(encodeGovernanceState(state), sha256);
  assert.equal(read.proposals.length, decided.length + open.length);
});
