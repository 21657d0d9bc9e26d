/**
 * What happened between two governance states, as events for members who follow it. The same on every node: events are
 * derived from the states around a batch and named by its place in the ledger.
 */
import { bytesEqual, toHex } from "../codec/bytes.ts";
import type { GovernanceState } from "./administrative.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import type { JsonValue } from "./json-value.ts";
import type { ProposalRecord, ProposalState } from "./proposal.ts";
import { prospectOf, type ProspectiveEffect } from "./vote-count.ts";

/** What can happen. */
export type FeedEventType =
  | "proposal_opened"
  | "ballot_cast"
  | "proposal_changed"
  | `proposal_${Lowercase<Exclude<ProposalState, "Open">>}`
  | "constitution_changed";

/** One thing that happened. */
export interface FeedEvent {
  /** `seqno.n`: the batch's first sequence number, and the place among its events, from 1. */
  readonly id: string;
  readonly seqno: number;
  readonly type: FeedEventType;
  readonly data: JsonValue;
}

type Told = Pick<FeedEvent, "type" | "data">;

/** The events of a batch, in the order they are told. */
export function feedEvents(
  before: GovernanceState | undefined,
  after: GovernanceState,
  { firstSeqno, timeMs }: { readonly firstSeqno: number; readonly timeMs: number },
  crypto: GovernanceCrypto,
): readonly FeedEvent[] {
  if (before === undefined || before === after) return [];
  const earlier = new Map(before.proposals.map((proposal) => [proposal.id, proposal]));
  const told = after.proposals.flatMap((proposal) => proposalEvents(earlier.get(proposal.id), proposal));
  const { constitution, constitutionDigest } = after;
  if (before.constitution !== constitution) {
    const data = { version: constitution.version, digest: toHex(constitutionDigest) };
    told.push({ type: "constitution_changed", data });
    told.push(...changedProposals(before, after, timeMs, crypto));
  }
  return told.map(({ type, data }, at) => ({ id: `${firstSeqno}.${at + 1}`, seqno: firstSeqno, type, data }));
}

function proposalEvents(before: ProposalRecord | undefined, after: ProposalRecord): readonly Told[] {
  if (before === after) return [];
  const about = { proposalId: after.id, proposerId: after.proposer };
  const told: Told[] = [];
  if (before === undefined) {
    const actions = after.actions.map(({ name }) => name);
    const data = { ...about, actions, expiresAtMs: after.expiresAtMs };
    told.push({ type: "proposal_opened", data });
  }
  for (const { member, choice } of after.ballots.slice(before?.ballots.length ?? 0)) {
    const vote = choice.type === "plain" ? choice.vote : null;
    told.push({ type: "ballot_cast", data: { ...about, memberId: member, vote } });
  }
  const stood = before?.state ?? "Open";
  if (after.state !== stood) told.push(decided(after, about));
  return told;
}

function decided({ state, scheduled, failure }: ProposalRecord, about: { readonly [name: string]: string }): Told {
  // From Scheduled back to Open: what was accepted would do something else by now.
  if (state === "Open") return { type: "proposal_changed", data: { ...about, effect: null } };
  const type = `proposal_${state.toLowerCase() as Lowercase<typeof state>}` as const;
  const why = failure === undefined ? {} : { reason: failure.reason, message: failure.message };
  return { type, data: { ...about, ...(scheduled !== undefined && { takesEffectAtMs: scheduled.atMs }), ...why } };
}

/** Open proposals that do something else under the new constitution: whoever voted is asked again. */
function changedProposals(
  before: GovernanceState,
  after: GovernanceState,
  nowMs: number,
  crypto: GovernanceCrypto,
): readonly Told[] {
  const open = after.proposals.filter(
    ({ state, id }) => state === "Open" && before.proposals.some((other) => other.id === id),
  );
  return open.flatMap((proposal): readonly Told[] => {
    const [earlier, now] = [before, after].map((state) => prospectOf(state, proposal, nowMs, crypto));
    if (earlier === undefined || now === undefined || sameProspect(earlier, now)) return [];
    const effect = now.type === "effect" ? toHex(now.digest) : null;
    const failure = now.type === "failure" ? { reason: now.failure.reason } : {};
    const data = { proposalId: proposal.id, proposerId: proposal.proposer, effect, ...failure };
    return [{ type: "proposal_changed", data }];
  });
}

function sameProspect(left: ProspectiveEffect, right: ProspectiveEffect): boolean {
  if (left.type === "effect" && right.type === "effect") return bytesEqual(left.digest, right.digest);
  return left.type === "failure" && right.type === "failure" && left.failure.reason === right.failure.reason;
}
