/**
 * The leader: proposals, commit, and keeping its role (Raft paper, 5.3 and 5.4.2; thesis, 4.1, 6.2 and 10.2.1).
 *
 * Entries go to the own disk and to the peers in parallel; the leader counts itself only for what is durable, and only in
 * the sets it is a voter of. An index is committed when a replication quorum of every active set holds it and its entry is
 * of the leader's own term (figure 8).
 */
import { isSuccessor, sameConfiguration } from "./configuration.ts";
import { beginRound, confirmRound } from "./reads.ts";
import { followMembership, sendAppend, sendEntries, sendProbe } from "./sending.ts";
import { tickSnapshot } from "./snapshots.ts";
import type { RaftState } from "./state.ts";
import { continueTransfer, leaveWhenDone, tickTransfer } from "./transfer.ts";
import type { AppendResponse, Configuration, LogEntry, NodeId } from "./types.ts";

/** Becomes leader of the current term and tells the peers. The driver proposes the first entry of the term. */
export function startLeading(state: RaftState): void {
  state.role = "leader";
  state.leader = state.id;
  state.votes.clear();
  state.staging = undefined;
  followMembership(state);
}

/** A change of membership among proposed entries. */
interface Change {
  readonly index: number;
  readonly configuration: Configuration;
}

/**
 * Appends the driver's entries as far as they fit the term, the end of the log and the active configuration; gives the
 * others back.
 */
export function propose(state: RaftState, entries: readonly LogEntry[]): void {
  const { accepted, change } = examine(state, entries);
  state.ready.drop(entries.slice(accepted));
  if (accepted === 0) return;
  const taken = accepted === entries.length ? entries : entries.slice(0, accepted);
  state.log.append(taken);
  state.durability.recordEntries(taken);
  if (change !== undefined) {
    state.membership.append(change.index, change.configuration);
    followMembership(state);
  }
  for (const [peer, progress] of state.progress) sendEntries(state, peer, progress);
}

function examine(state: RaftState, entries: readonly LogEntry[]): { accepted: number; change: Change | undefined } {
  const { log, term, membership, options } = state;
  let change: Change | undefined;
  let accepted = 0;
  if (state.role !== "leader" || state.transfer !== undefined) return { accepted, change };
  for (const entry of entries) {
    if (entry.index !== log.lastIndex + 1 + accepted || entry.term !== term) break;
    const configuration = options.configurationOf(entry.data);
    if (configuration !== undefined && !sameConfiguration(configuration, membership.configuration)) {
      if (change !== undefined || !mayChangeTo(state, configuration)) break;
      change = { index: entry.index, configuration };
    }
    accepted++;
  }
  return { accepted, change };
}

/**
 * One change at a time, and only when this leader knows of no other: with an entry of its own term committed, no
 * configuration of an earlier term can come back from a minority (the flaw of the thesis' single-server changes, 2015).
 */
function mayChangeTo(state: RaftState, next: Configuration): boolean {
  const { membership, commitIndex } = state;
  return membership.index <= commitIndex && state.committedInTerm && isSuccessor(membership.configuration, next);
}

/** Sends heartbeats that are due, and steps down when no quorum of every active set was heard for an election timeout. */
export function tickLeader(state: RaftState): void {
  const { electionTimeoutMaxMs, electionTimeoutMinMs, heartbeatIntervalMs } = state.options;
  const heard = (voter: NodeId): boolean => {
    if (voter === state.id) return true;
    const progress = state.progress.get(voter);
    return progress !== undefined && !progress.recovering && state.nowMs - progress.heardAtMs < electionTimeoutMaxMs;
  };
  if (!state.membership.quorum.sustains(heard)) return state.becomeFollower(state.term, undefined);
  for (const [peer, progress] of state.progress) {
    progress.measure(state.log.lastIndex, state.nowMs, electionTimeoutMinMs);
    tickSnapshot(state, peer, progress);
    sendEntries(state, peer, progress);
    if (state.nowMs - progress.sentAtMs >= heartbeatIntervalMs) sendAppend(state, peer, progress, []);
    if (progress.departing && isGone(state, peer)) state.progress.delete(peer);
  }
  tickTransfer(state);
}

/** Whether a peer that left needs nothing more: it knows that it left, or it cannot be told. */
function isGone(state: RaftState, peer: NodeId): boolean {
  const { membership, commitIndex, nowMs, options } = state;
  const progress = state.progress.get(peer);
  if (progress === undefined || membership.index > commitIndex) return false;
  const knows = progress.matchIndex >= membership.index && progress.sentCommitIndex >= membership.index;
  return knows || nowMs - progress.heardAtMs >= options.electionTimeoutMaxMs;
}

/** Takes a peer's answer to an append. */
export function onAppendResponse(state: RaftState, from: NodeId, response: AppendResponse): void {
  const progress = state.progress.get(from);
  if (progress === undefined || response.term < state.term) return;
  if (response.term > state.term) return state.becomeFollower(response.term, undefined);
  progress.heard(state.nowMs);
  progress.recovering = response.recovering;
  // Nobody can have heard of a round that was not begun.
  if (response.round > progress.round && response.round <= state.round) {
    progress.round = response.round;
    confirmRound(state);
  }
  if (!response.success) {
    const agreedIndex = state.log.lastIndexWithTermAtMost(response.hintIndex, response.hintTerm);
    if (progress.refused(agreedIndex)) sendProbe(state, from, progress);
    return;
  }
  // Nobody can hold what this leader does not have.
  if (response.matchIndex > state.log.lastIndex) return;
  // Under a snapshot only the answer that it is there helps: what lies before it cannot be continued.
  if (progress.mode === "snapshot" && response.matchIndex < state.log.firstIndex - 1) return;
  progress.acknowledged(response.matchIndex);
  progress.measure(state.log.lastIndex, state.nowMs, state.options.electionTimeoutMinMs);
  advanceCommit(state);
  // A commit may have ended this leadership.
  if (state.role !== "leader") return;
  sendEntries(state, from, progress);
  continueTransfer(state);
}

/** Commits what a replication quorum of every active set holds durably, and tells the peers at once. */
export function advanceCommit(state: RaftState): void {
  if (state.role !== "leader") return;
  const index = state.membership.quorum.replicatedIndex((voter) =>
    voter === state.id ? state.durability.durableIndex : (state.progress.get(voter)?.countedIndex ?? 0),
  );
  // An entry of an earlier term can still be overwritten however many hold it; it is committed along with one of this term.
  if (index <= state.commitIndex || state.log.termAt(index) !== state.term) return;
  state.commitIndex = index;
  for (const [peer, progress] of state.progress) {
    sendEntries(state, peer, progress);
    const reachable = Math.min(index, progress.nextIndex - 1);
    if (progress.mode === "replicate" && progress.sentCommitIndex < reachable) sendAppend(state, peer, progress, []);
  }
  beginRound(state);
  leaveWhenDone(state);
}

/** Sends entries read from disk to the peer that needs them. */
export function onLoadedForPeer(state: RaftState, peer: NodeId, entries: readonly LogEntry[]): void {
  const progress = state.progress.get(peer);
  const usable =
    progress?.mayPipeline && progress.nextIndex >= state.log.firstIndex
      ? state.log.verified(entries, progress.nextIndex)
      : [];
  state.endLoad(peer, usable.length > 0);
  if (progress === undefined || usable.length === 0) return;
  sendAppend(state, peer, progress, usable);
  sendEntries(state, peer, progress);
}

/** Takes the news that a peer's channel came up or broke: what was in flight may be lost. */
export function onPeerChannel(state: RaftState, peer: NodeId, up: boolean): void {
  const progress = state.progress.get(peer);
  if (progress === undefined) return;
  if (!up) return progress.probe();
  progress.reconnected();
  sendAppend(state, peer, progress, []);
}
