/** Proposals and their votes as JSON, in CCF's shapes with more beside them. */
import { toHex } from "../../core/codec/bytes.ts";
import { judgedActions } from "../../core/governance/actions.ts";
import type { DryRun } from "../../core/governance/dry-run.ts";
import { neededPolicies } from "../../core/governance/dry-run.ts";
import { describeEffect } from "../../core/governance/effects.ts";
import type { GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import { proposalTimes } from "../../core/governance/policy.ts";
import {
  type BallotRecord,
  type FinalVote,
  isPending,
  type ProposalRecord,
  type SignedMessage,
} from "../../core/governance/proposal.ts";
import { isByLedger, nodeToRemove } from "../../core/governance/removal-proposals.ts";
import { parseSignedRequest } from "../../core/governance/signed-request.ts";
import {
  countVotes,
  type ProspectiveEffect,
  type VoteCount,
  type VotingState,
} from "../../core/governance/vote-count.ts";

/** How long a count of votes is shown without counting again: counting may run scripts. */
export const VOTE_COUNT_CACHE_MS = 1_000;

/** What every answer about a proposal says: CCF's fields, and what a list is read for. */
export function proposalSummary(proposal: ProposalRecord) {
  const { failure, description, openedAtMs, expiresAtMs, scheduled, decidedAtMs } = proposal;
  const isDecided = !isPending(proposal) || proposal.state === "Scheduled";
  return {
    proposalId: proposal.id,
    proposerId: proposal.proposer,
    proposalState: proposal.state,
    ballotCount: proposal.ballots.length,
    ...(isDecided && { finalVotes: booleanVotes(proposal.finalVotes) }),
    ...(failure !== undefined && { failure }),
    ...(description !== undefined && { description }),
    actions: proposal.actions.map(({ name }) => name),
    openedAtMs,
    expiresAtMs,
    ...(scheduled !== undefined && { takesEffectAtMs: scheduled.atMs }),
    ...(decidedAtMs !== undefined && { decidedAtMs }),
  };
}

/** Votes as CCF has them: an abstention is none. */
function booleanVotes(votes: readonly FinalVote[]): Readonly<Record<string, boolean>> {
  const counted = votes.filter(({ vote }) => vote !== "abstain");
  return Object.fromEntries(counted.map(({ member, vote }) => [member, vote === "yes"]));
}

function votesView(votes: readonly FinalVote[]) {
  return votes.map(({ member, vote, by }) => ({ memberId: member, vote, by }));
}

interface KeptCount {
  readonly state: VotingState;
  readonly atMs: number;
  readonly count: VoteCount;
}

const counts = new WeakMap<ProposalRecord, KeptCount>();

function countOf(state: VotingState, proposal: ProposalRecord, nowMs: number, crypto: GovernanceCrypto): VoteCount {
  const kept = counts.get(proposal);
  if (kept?.state === state && nowMs - kept.atMs < VOTE_COUNT_CACHE_MS) return kept.count;
  const count = countVotes(state, proposal, nowMs, crypto);
  counts.set(proposal, { state, atMs: nowMs, count });
  return count;
}

/** Everything about one proposal; of one that waits also what it would do now and how its votes stand. */
export function proposalDetail(state: VotingState, proposal: ProposalRecord, nowMs: number, crypto: GovernanceCrypto) {
  const summary = { ...proposalSummary(proposal), openedAtSeqno: proposal.openedAtSeqno };
  if (!isPending(proposal)) return { ...summary, votes: votesView(proposal.finalVotes) };
  const { prospect, votes, stale, scriptFailures, judgement } = countOf(state, proposal, nowMs, crypto);
  const { policies } = state.constitution;
  const { deliberationMs } = proposalTimes(policies, judgedActions(proposal.actions));
  const failures = scriptFailures.map(({ member, message }) => [member, { reason: message }] as const);
  return {
    ...summary,
    ...(failures.length > 0 && { voteFailures: Object.fromEntries(failures) }),
    ...prospectView(state, prospect, crypto),
    policies: neededPolicies(state, proposal.actions),
    votes: votesView(proposal.state === "Scheduled" ? proposal.finalVotes : votes),
    missingMembers: judgement.missing,
    staleMembers: stale,
    ...(deliberationMs > 0 && { deliberationUntilMs: proposal.openedAtMs + deliberationMs }),
  };
}

function prospectView({ constitution }: VotingState, prospect: ProspectiveEffect, crypto: GovernanceCrypto) {
  if (prospect.type === "failure") return { effect: null, wouldFail: prospect.failure };
  const changes = describeEffect(constitution, prospect.effect, crypto);
  return { effect: { digest: toHex(prospect.digest), changes } };
}

/** What a proposal that nobody has made would do and need. */
export function dryRunView({ digest, changes, policies, verdict, votes, missing, times }: DryRun, nowMs: number) {
  return {
    effect: { digest, changes },
    policies,
    verdict,
    votes: votesView(votes),
    missingMembers: missing,
    expiresAtMs: nowMs + times.expiresAfterMs,
    ...(times.deliberationMs > 0 && { deliberationUntilMs: nowMs + times.deliberationMs }),
    ...(times.delayMs > 0 && { delayMs: times.delayMs }),
  };
}

/** A ballot as its member signed it. */
export function ballotView({ member, choice, createdAt, atMs }: BallotRecord) {
  const said =
    choice.type === "plain" ? { vote: choice.vote, effect: toHex(choice.effect) } : { ballot: choice.source };
  return { memberId: member, ...said, createdAt, castAtMs: atMs };
}

/** Every signed message of a proposal, for whoever verifies them: proposal, ballots in their order, withdrawal. */
export function proposalHistory(proposal: ProposalRecord) {
  const { withdrawal, ballots, proposer } = proposal;
  return [
    isByLedger(proposal) ? removalView(proposal) : signedView("proposal", proposer, proposal),
    ...ballots.map((ballot) => signedView("ballot", ballot.member, ballot)),
    ...(withdrawal === undefined ? [] : [signedView("withdrawal", proposer, withdrawal)]),
  ];
}

/** Nobody signed it: whoever verifies it makes its id of what stands here. */
function removalView(proposal: ProposalRecord) {
  const { proposer, openedAtSeqno } = proposal;
  return { type: "removal", memberId: proposer, nodeId: nodeToRemove(proposal), openedAtSeqno };
}

function signedView(type: string, memberId: string, { message, chain }: SignedMessage) {
  const { createdAt } = parseSignedRequest(message);
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  return { type, memberId, createdAt, message: base64(message), certificates: chain.map(base64) };
}
