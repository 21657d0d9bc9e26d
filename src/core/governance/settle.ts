/**
 * What becomes of proposals: after a ballot, or when their time has come, one is accepted, rejected, scheduled, carried out
 * or given up. What it changes in the constitution is all or nothing.
 */
import { bytesEqual } from "../codec/bytes.ts";
import type { ActionEffect } from "./actions.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { isByLedger } from "./removal-proposals.ts";
import { isPending, withinHistory, type ProposalRecord } from "./proposal.ts";
import {
  countVotes,
  effectOf,
  failureOf,
  memberIds,
  prospectOf,
  type Trial,
  type VoteCount,
  type VotingState,
} from "./vote-count.ts";

/** What one proposal has come to, and what it does to the constitution if it takes effect now. */
export interface Settlement {
  readonly proposal: ProposalRecord;
  readonly effect: ActionEffect | undefined;
  /** There are votes enough, and the deliberation ends then. */
  readonly waitsUntilMs?: number | undefined;
}

/** A change of the state by one proposal, and its effect when it took one. */
export interface SettledState<State extends VotingState> {
  readonly state: State;
  readonly effect: ActionEffect | undefined;
}

/** Settles the proposal of this id as far as it can be settled now; the same state when nothing changes. */
export function settleProposal<State extends VotingState>(
  state: State,
  id: string,
  nowMs: number,
  crypto: GovernanceCrypto,
): SettledState<State> {
  const proposal = state.proposals.find((candidate) => candidate.id === id);
  if (proposal === undefined || !isPending(proposal)) return { state, effect: undefined };
  const settlement = settle(state, proposal, nowMs, crypto);
  if (settlement.proposal === proposal) return { state, effect: undefined };
  return { state: withProposal(state, settlement.proposal), effect: settlement.effect };
}

/** The state with the newer record of a proposal in its place, or at the end. */
export function withProposal<State extends VotingState>(state: State, proposal: ProposalRecord): State {
  const isKnown = state.proposals.some(({ id }) => id === proposal.id);
  const proposals = isKnown
    ? state.proposals.map((other) => (other.id === proposal.id ? proposal : other))
    : [...state.proposals, proposal];
  return { ...state, proposals: withinHistory(proposals) };
}

function settle(state: VotingState, proposal: ProposalRecord, nowMs: number, crypto: GovernanceCrypto): Settlement {
  const decidedAtMs = nowMs;
  const without = (outcome: Partial<ProposalRecord>): Settlement => ({
    proposal: { ...proposal, scheduled: undefined, decidedAtMs, ...outcome },
    effect: undefined,
  });
  const isOrphan = !isByLedger(proposal) && !memberIds(state.constitution).includes(proposal.proposer);
  if (isOrphan) return without({ state: "Dropped" });
  if (proposal.state === "Scheduled") return settleScheduled(state, proposal, nowMs, crypto);
  const count = countVotes(state, proposal, nowMs, crypto);
  const finalVotes = count.votes;
  const { verdict, takesEffectAtMs } = count.judgement;
  if (verdict === "rejected") return without({ state: "Rejected", finalVotes });
  if (verdict === "accepted") {
    if (takesEffectAtMs === undefined || takesEffectAtMs <= nowMs)
      return enact(state, proposal, count.votes, { nowMs, crypto });
    if (count.prospect.type === "failure")
      return without({ state: "Failed", finalVotes, failure: count.prospect.failure });
    const scheduled = { atMs: takesEffectAtMs, effect: count.prospect.digest };
    return { proposal: { ...proposal, state: "Scheduled", scheduled, finalVotes }, effect: undefined };
  }
  if (verdict === "expired") return without({ state: "Expired", finalVotes });
  return { proposal, effect: undefined, waitsUntilMs: count.judgement.waitsUntilMs };
}

/** What was accepted is carried out if it still is what was accepted; otherwise its members are asked again. */
function settleScheduled(
  state: VotingState,
  proposal: ProposalRecord,
  nowMs: number,
  crypto: GovernanceCrypto,
): Settlement {
  const { scheduled } = proposal;
  if (scheduled === undefined || nowMs < scheduled.atMs) return { proposal, effect: undefined };
  const prospect = prospectOf(state, proposal, nowMs, crypto);
  if (prospect.type === "effect" && !bytesEqual(prospect.digest, scheduled.effect))
    return { proposal: { ...proposal, state: "Open", scheduled: undefined, finalVotes: [] }, effect: undefined };
  return enact(state, proposal, proposal.finalVotes, { nowMs, crypto });
}

function enact(
  state: VotingState,
  proposal: ProposalRecord,
  votes: VoteCount["votes"],
  { nowMs, crypto }: Trial,
): Settlement {
  const decided = { ...proposal, scheduled: undefined, finalVotes: votes, decidedAtMs: nowMs };
  const members = memberIds(state.constitution);
  // Who voted on what was scheduled may have left meanwhile.
  const yes = votes.filter(({ member, vote }) => vote === "yes" && members.includes(member)).length;
  try {
    const approval = { yes, members: members.length };
    const effect = effectOf(state, proposal, { nowMs, crypto, approval });
    return { proposal: { ...decided, state: "Accepted" }, effect };
  } catch (error) {
    return { proposal: { ...decided, state: "Failed", failure: failureOf(error) }, effect: undefined };
  }
}

interface DueTime {
  readonly id: string;
  /** 0: at once. */
  readonly atMs: number;
}

interface Schedule {
  readonly state: VotingState;
  readonly due: DueTime[];
}

/** Computed once for what it depends on: counting may run scripts. */
const schedules = new WeakMap<readonly ProposalRecord[], Schedule>();

/**
 * A pending proposal that settles differently now than it stands: its time has come, or another change moved it. Scripts
 * that look at the time are asked when something else happens, not each millisecond.
 */
export function dueProposal(state: VotingState, nowMs: number, crypto: GovernanceCrypto): string | undefined {
  let schedule = schedules.get(state.proposals);
  if (schedule === undefined || !dependsOnSame(schedule.state, state)) {
    const due = state.proposals.filter(isPending).map((proposal) => dueTime(state, proposal, nowMs, crypto));
    schedule = { state, due };
    schedules.set(state.proposals, schedule);
  }
  const { due } = schedule;
  for (const [at, { id, atMs }] of due.entries()) {
    const proposal = atMs <= nowMs ? state.proposals.find((candidate) => candidate.id === id) : undefined;
    if (proposal === undefined) continue;
    // Looked at anew: a script that says one thing now and another thing later must not be taken at its first word.
    const now = dueTime(state, proposal, nowMs, crypto);
    if (now.atMs <= nowMs) return id;
    due[at] = now;
  }
  return undefined;
}

function dependsOnSame(before: VotingState, after: VotingState): boolean {
  return (
    before.constitution === after.constitution &&
    before.automaticVotes === after.automaticVotes &&
    before.departing === after.departing &&
    before.attested === after.attested
  );
}

function dueTime(state: VotingState, proposal: ProposalRecord, nowMs: number, crypto: GovernanceCrypto): DueTime {
  const { id, scheduled, expiresAtMs } = proposal;
  const { proposal: settled, waitsUntilMs = expiresAtMs } = settle(state, proposal, nowMs, crypto);
  if (settled !== proposal) return { id, atMs: 0 };
  return { id, atMs: scheduled?.atMs ?? Math.min(expiresAtMs, waitsUntilMs) };
}
