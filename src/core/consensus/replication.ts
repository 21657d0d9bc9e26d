/**
 * The leader: proposals, replication, commit (Raft paper, 5.3 and 5.4.2; thesis, 6.2 and 10.2.1).
 *
 * Entries go to the own disk and to the peers in parallel; the leader counts itself only for what is durable. An index is
 * committed when a replication quorum holds it and its entry is of the leader's own term (figure 8). Each append carries
 * the position before its entries, heartbeats too, so any loss on the way is answered by a refusal and repaired.
 */
import { Progress } from "./progress.ts";
import type { RaftState } from "./state.ts";
import type { AppendResponse, LogEntry, NodeId } from "./types.ts";

/** Becomes leader of the current term and tells the peers. The driver proposes the first entry of the term. */
export function startLeading(state: RaftState): void {
  state.role = "leader";
  state.leader = state.id;
  state.votes.clear();
  for (const peer of state.peers) {
    const progress = new Progress(state.log.lastIndex + 1, state.options.maxInflightAppends, state.nowMs);
    state.progress.set(peer, progress);
    sendAppend(state, peer, progress, []);
  }
}

/** Appends the driver's entries as far as they fit the term and the end of the log; gives the others back. */
export function propose(state: RaftState, entries: readonly LogEntry[]): void {
  const start = state.log.lastIndex + 1;
  const wrong = entries.findIndex((entry, at) => entry.index !== start + at || entry.term !== state.term);
  const accepted = state.role !== "leader" ? 0 : wrong < 0 ? entries.length : wrong;
  state.drop(entries.slice(accepted));
  if (accepted === 0) return;
  const taken = entries.slice(0, accepted);
  state.log.append(taken);
  state.durability.recordEntries(taken);
  for (const [peer, progress] of state.progress) sendEntries(state, peer, progress);
}

/** Sends heartbeats that are due, and steps down when no quorum was heard for an election timeout. */
export function tickLeader(state: RaftState): void {
  const { electionTimeoutMaxMs, heartbeatIntervalMs } = state.options;
  const heard = (voter: NodeId): boolean => {
    const progress = state.progress.get(voter);
    return progress === undefined || state.nowMs - progress.heardAtMs < electionTimeoutMaxMs;
  };
  if (!state.quorum.sustains(heard)) {
    state.becomeFollower(state.term, undefined);
    return;
  }
  for (const [peer, progress] of state.progress) {
    sendEntries(state, peer, progress);
    if (state.nowMs - progress.sentAtMs >= heartbeatIntervalMs) sendAppend(state, peer, progress, []);
  }
}

/** Takes a peer's answer to an append. */
export function onAppendResponse(state: RaftState, from: NodeId, response: AppendResponse): void {
  if (response.term > state.term) {
    state.becomeFollower(response.term, undefined);
    return;
  }
  const progress = state.progress.get(from);
  if (progress === undefined || response.term < state.term) return;
  progress.heardAtMs = state.nowMs;
  if (!response.success) {
    const agreedIndex = state.log.lastIndexWithTermAtMost(response.hintIndex, response.hintTerm);
    if (progress.refused(agreedIndex)) sendProbe(state, from, progress);
    return;
  }
  // Nobody can hold what this leader does not have.
  if (response.matchIndex > state.log.lastIndex) return;
  progress.acknowledged(response.matchIndex);
  advanceCommit(state);
  sendEntries(state, from, progress);
}

/** Commits what a replication quorum holds durably, and tells the peers at once. */
export function advanceCommit(state: RaftState): void {
  if (state.role !== "leader") return;
  const index = state.quorum.replicatedIndex(
    (voter) => state.progress.get(voter)?.matchIndex ?? state.durability.durableIndex,
  );
  // An entry of an earlier term can still be overwritten however many hold it; it is committed along with one of this term.
  if (index <= state.commitIndex || state.log.termAt(index) !== state.term) return;
  state.commitIndex = index;
  for (const [peer, progress] of state.progress) {
    sendEntries(state, peer, progress);
    const reachable = Math.min(index, progress.nextIndex - 1);
    if (progress.mode === "replicate" && progress.sentCommitIndex < reachable) sendAppend(state, peer, progress, []);
  }
}

/** Sends entries read from disk to the peer that needs them. */
export function onLoadedForPeer(state: RaftState, peer: NodeId, entries: readonly LogEntry[]): void {
  const progress = state.progress.get(peer);
  const usable = progress?.mayPipeline ? state.log.verified(entries, progress.nextIndex) : [];
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

/** Sends entries ahead as far as flow control allows; asks for those that left the window. */
function sendEntries(state: RaftState, peer: NodeId, progress: Progress): void {
  const { log } = state;
  while (progress.mayPipeline && progress.nextIndex <= log.lastIndex) {
    if (progress.nextIndex < log.firstInMemory) {
      state.requestLoad(peer, progress.nextIndex);
      return;
    }
    sendAppend(state, peer, progress, log.slice(progress.nextIndex, log.lastIndex, state.options.maxAppendBytes));
  }
}

/** Tries the position where the logs should agree, with entries if they are at hand: then agreement costs no extra round trip. */
function sendProbe(state: RaftState, peer: NodeId, progress: Progress): void {
  const { log } = state;
  const inMemory = progress.nextIndex >= log.firstInMemory && progress.nextIndex <= log.lastIndex;
  const entries = inMemory ? log.slice(progress.nextIndex, log.lastIndex, state.options.maxAppendBytes) : [];
  sendAppend(state, peer, progress, entries);
}

function sendAppend(state: RaftState, peer: NodeId, progress: Progress, entries: readonly LogEntry[]): void {
  const { term, commitIndex } = state;
  const previousIndex = progress.nextIndex - 1;
  const previousTerm = state.log.termAt(previousIndex);
  state.send(peer, { type: "append", term, previousIndex, previousTerm, commitIndex, entries });
  progress.sent(previousIndex + entries.length, commitIndex, state.nowMs);
}
