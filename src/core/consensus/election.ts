/**
 * Elections: pre-votes, votes, terms (Raft paper, 5.2 and 5.4.1; thesis, 3.10, 4.2 and 9.6).
 *
 * A node first asks whether it could win (pre-vote), which changes nothing anywhere. Only then does it enter a new term. Its
 * requests and its own vote wait until that term is durable together with the log the requests speak of: after a crash it
 * must not ask in the same term for a shorter log. Votes are answered once they are durable.
 */
import { reachesFloor } from "./recovery.ts";
import { startLeading } from "./replication.ts";
import type { RaftState } from "./state.ts";
import type { NodeId, TimeoutNow, VoteRequest, VoteResponse } from "./types.ts";

/** Starts an election when the timer has run out. */
export function tickElection(state: RaftState): void {
  if (state.nowMs >= state.electionAtMs && mayCampaign(state)) startPreVote(state);
}

function mayCampaign(state: RaftState): boolean {
  // Who was voted out and may not sign any more is not needed for the configuration without it, since that one is committed; and
  // who cannot read the log could not go on from it.
  if (state.options.mayLead?.() === false) return false;
  if (state.recovery !== undefined || state.diskFull || !state.membership.mayCampaign(state.commitIndex)) return false;
  return reachesFloor(state, state.log.lastIndex, state.log.lastTerm);
}

/** The leader of this term hands over to this node: it starts an election at once, and needs no pre-vote for it. */
export function onTimeoutNow(state: RaftState, from: NodeId, { term }: TimeoutNow): void {
  if (term === state.term && state.role === "follower" && from === state.leader && mayCampaign(state)) {
    startElection(state, true);
  }
}

/** Shortens the timer after the channel to the leader broke; pre-votes keep this harmless when only this channel broke. */
export function hastenElection(state: RaftState): void {
  const { random, electionTimeoutMinMs } = state.options;
  state.leaderChannelBroken = true;
  state.electionAtMs = Math.min(state.electionAtMs, state.nowMs + (random() * electionTimeoutMinMs) / 4);
}

/**
 * A channel came up. When it is the one that makes an election possible and no leader is known, the timer is shortened: at
 * the start of a network the first pre-votes are lost, because nobody is connected yet.
 */
export function quorumReachable(state: RaftState, peer: NodeId): void {
  const reachable = (voter: NodeId): boolean => voter === state.id || state.channelsUp.has(voter);
  const { quorum } = state.membership;
  const before = quorum.elects(reachable);
  state.channelsUp.add(peer);
  if (before || !quorum.elects(reachable) || state.leader !== undefined) return;
  const { random, electionTimeoutMinMs } = state.options;
  state.electionAtMs = Math.min(state.electionAtMs, state.nowMs + (random() * electionTimeoutMinMs) / 4);
}

function startPreVote(state: RaftState): void {
  state.role = "preCandidate";
  state.leader = undefined;
  state.votes.clear();
  state.votes.add(state.id);
  state.restartElectionTimer();
  const request = voteRequest(state, true, false);
  for (const voter of otherVoters(state)) state.send(voter, request);
  continueElection(state);
}

function startElection(state: RaftState, transfer: boolean): void {
  state.enterTerm(state.term + 1, state.id);
  state.role = "candidate";
  state.leader = undefined;
  state.votes.clear();
  state.restartElectionTimer();
  const request = voteRequest(state, false, transfer);
  for (const voter of otherVoters(state)) state.sendDurable(voter, request, state.log.lastIndex);
}

function otherVoters(state: RaftState): readonly NodeId[] {
  return state.membership.quorum.voters.filter((voter) => voter !== state.id);
}

function voteRequest(state: RaftState, preVote: boolean, transfer: boolean): VoteRequest {
  const { lastIndex, lastTerm } = state.log;
  return { type: "vote", preVote, transfer, term: preVote ? state.term + 1 : state.term, lastIndex, lastTerm };
}

function continueElection(state: RaftState): void {
  if (!state.membership.quorum.elects((voter) => state.votes.has(voter))) return;
  if (state.role === "preCandidate") startElection(state, false);
  else startLeading(state);
}

/** Counts a candidate's own vote once it is durable. */
export function countOwnVote(state: RaftState): void {
  if (state.role !== "candidate" || state.votes.has(state.id) || !state.durability.hardStateDurable) return;
  state.votes.add(state.id);
  continueElection(state);
}

/** Answers a request for a vote or a pre-vote. */
export function onVoteRequest(state: RaftState, from: NodeId, request: VoteRequest): void {
  const { preVote } = request;
  // While a leader is heard, nobody needs another one: a node that lost it alone must not raise everybody's term. Whom the
  // leader asked to take over is no such node.
  const declined = state.hearsLeader && request.term >= state.term && !request.transfer;
  if (declined && !preVote) return;
  if (!declined && !preVote && request.term > state.term) state.becomeFollower(request.term, undefined);
  const granted = !declined && grants(state, from, request);
  if (granted && !preVote) {
    if (state.votedFor !== from) state.vote(from);
    state.restartElectionTimer();
  }
  // A granted pre-vote speaks of the term asked for; a refusal tells the real term, so that a node left behind catches up.
  const term = granted ? request.term : state.term;
  state.sendDurable(from, { type: "voteResponse", preVote, term, granted });
}

function grants(state: RaftState, from: NodeId, request: VoteRequest): boolean {
  const { lastIndex, lastTerm } = state.log;
  if (request.term < state.term || state.recovery !== undefined) return false;
  if (!reachesFloor(state, request.lastIndex, request.lastTerm)) return false;
  const upToDate = request.lastTerm > lastTerm || (request.lastTerm === lastTerm && request.lastIndex >= lastIndex);
  // A term that has a leader needs no second one, even if this node never voted in it.
  const free = state.votedFor === from || (state.votedFor === undefined && state.leader === undefined);
  return upToDate && (free || (request.preVote && request.term > state.term));
}

/** Counts an answer to a request for a vote or a pre-vote. */
export function onVoteResponse(state: RaftState, from: NodeId, response: VoteResponse): void {
  // Only those who were asked: nobody else's answer counts, nor the term it names.
  if (!state.membership.quorum.includes(from)) return;
  if (response.granted) {
    const wanted = response.preVote ? "preCandidate" : "candidate";
    const term = response.preVote ? state.term + 1 : state.term;
    if (state.role !== wanted || response.term !== term) return;
    state.votes.add(from);
    continueElection(state);
  } else if (response.term > state.term) {
    state.becomeFollower(response.term, undefined);
  }
}
