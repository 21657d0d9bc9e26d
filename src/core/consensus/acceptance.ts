/**
 * The follower: taking a leader's entries (Raft paper, 5.3).
 *
 * Success says "durable and equal up to matchIndex" and never names more than its request covered, because what lies
 * behind may be another leader's. Only a real conflict truncates, and never a committed entry: that would mean that two
 * histories were committed, and the node stops with `LedgerForked`.
 */
import { CocoError } from "../../errors.ts";
import { endByLeader } from "./recovery.ts";
import type { RaftState } from "./state.ts";
import type { AppendRequest, AppendResponse, NodeId } from "./types.ts";

/** Takes an append or a heartbeat. */
export function onAppendRequest(state: RaftState, from: NodeId, request: AppendRequest): void {
  if (request.term < state.term) {
    // Its sender was deposed and does not know yet: the term of the answer tells it.
    refuse(state, from, request, state.log.lastIndex);
    return;
  }
  // A second leader of one term cannot be elected by correct nodes: its claim is not signed, so it proves nothing.
  if (request.term === state.term && state.leader !== undefined && state.leader !== from) return;
  follow(state, from, request.term);
  const { previousIndex, previousTerm } = request;
  if (!state.log.matches(previousIndex, previousTerm)) {
    if (previousIndex <= state.commitIndex) throw forked(previousIndex);
    refuse(state, from, request, state.log.lastIndexWithTermAtMost(previousIndex - 1, previousTerm));
    return;
  }
  const matchIndex = previousIndex + request.entries.length;
  takeEntries(state, request);
  state.commitIndex = Math.max(state.commitIndex, Math.min(request.commitIndex, matchIndex));
  if (state.recovery !== undefined) endByLeader(state, request);
  if (request.entries.length > 0) {
    state.sendDurable(from, success(state, request, matchIndex), matchIndex);
  } else {
    // A heartbeat is answered at once with what is durable, so that a slow disk does not look like a dead node.
    state.sendDurable(from, success(state, request, Math.min(matchIndex, state.durability.durableIndex)));
  }
}

/** Follows the leader of this or a later term, who was heard just now. */
export function follow(state: RaftState, leader: NodeId, term: number): void {
  state.becomeFollower(term, leader);
  state.leaderHeardAtMs = state.nowMs;
  state.leaderChannelBroken = false;
  state.restartElectionTimer();
}

/** Appends what is new; entries that are here already stay, and so does what follows them. */
function takeEntries(state: RaftState, request: AppendRequest): void {
  const { log, durability } = state;
  const start = request.entries.findIndex((entry) => !log.matches(entry.index, entry.term));
  const first = request.entries[start];
  if (first === undefined) return;
  if (first.index <= log.lastIndex) {
    if (first.index <= state.commitIndex) throw forked(first.index);
    log.truncate(first.index);
    durability.recordTruncation(first.index);
    state.membership.truncate(first.index);
  }
  const fresh = start === 0 ? request.entries : request.entries.slice(start);
  log.append(fresh);
  durability.recordEntries(fresh);
  for (const { index, data } of fresh) {
    const configuration = state.options.configurationOf(data);
    if (configuration !== undefined) state.membership.append(index, configuration);
  }
}

function success(state: RaftState, { round }: AppendRequest, matchIndex: number): AppendResponse {
  const { term, recovery } = state;
  const recovering = recovery !== undefined;
  return { type: "appendResponse", term, success: true, matchIndex, hintIndex: 0, hintTerm: 0, round, recovering };
}

function refuse(state: RaftState, to: NodeId, { round }: AppendRequest, hintIndex: number): void {
  state.sendDurable(to, {
    type: "appendResponse",
    term: state.term,
    success: false,
    matchIndex: 0,
    hintIndex,
    hintTerm: state.log.termAt(hintIndex),
    round,
    recovering: state.recovery !== undefined,
  });
}

function forked(index: number): CocoError {
  return new CocoError("LedgerForked", `a leader contradicts the committed entry ${index}`, { index });
}
