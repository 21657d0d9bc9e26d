/**
 * The follower: taking a leader's entries (Raft paper, 5.3).
 *
 * Success says "durable and equal up to matchIndex" and never names more than its request covered, because what lies
 * behind may be another leader's. Only a real conflict truncates, and never a committed entry: a message that would need
 * that is refused with `LedgerForked`. It is signed by nobody, so it proves nothing but its sender's fault; everything that
 * can be wrong with a message is found before anything changes.
 */
import { CocoError } from "../../errors.ts";
import { JointQuorum } from "./quorum.ts";
import { endByLeader } from "./recovery.ts";
import type { RaftState } from "./state.ts";
import type { AppendRequest, AppendResponse, Configuration, LogEntry, NodeId } from "./types.ts";

/** A message that cannot be taken, thrown by `step` before anything has changed: its sender is at fault, and the core goes on. */
export class MessageRefused extends CocoError {}

/** What an append adds to a log that agrees with it up to there. */
interface Addition {
  readonly entries: readonly LogEntry[];
  /** Configurations that the entries bring, with their indexes. */
  readonly configurations: readonly (readonly [index: number, configuration: Configuration])[];
}

const NOTHING: Addition = { entries: [], configurations: [] };

/** Takes an append or a heartbeat. */
export function onAppendRequest(state: RaftState, from: NodeId, request: AppendRequest): void {
  if (request.term < state.term) {
    // Its sender was deposed and does not know yet: the term of the answer tells it.
    refuse(state, from, request, state.log.lastIndex);
    return;
  }
  // A second leader of one term cannot be elected by correct nodes: its claim is not signed, so it proves nothing.
  if (request.term === state.term && state.leader !== undefined && state.leader !== from) return;
  const addition = additionOf(state, request);
  follow(state, from, request.term);
  const { log } = state;
  const { previousIndex, previousTerm } = request;
  if (addition === undefined) {
    // What a snapshot stands for is committed: no leader differs before it.
    const hintIndex = log.lastIndexWithTermAtMost(previousIndex - 1, previousTerm);
    refuse(state, from, request, Math.max(hintIndex, log.firstIndex - 1));
    return;
  }
  const matchIndex = previousIndex + request.entries.length;
  take(state, addition);
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

/** What is new of an append; undefined when the log does not agree with its beginning. Throws `MessageRefused`, changes nothing. */
function additionOf(state: RaftState, request: AppendRequest): Addition | undefined {
  const { log, commitIndex, membership } = state;
  const { previousIndex, previousTerm } = request;
  if (!log.matches(previousIndex, previousTerm)) {
    if (previousIndex <= commitIndex) throw forked(previousIndex);
    return undefined;
  }
  // Entries that are here already stay, and so does what follows them.
  const start = request.entries.findIndex((entry) => !log.matches(entry.index, entry.term));
  const first = request.entries[start];
  if (first === undefined) return NOTHING;
  if (first.index <= commitIndex || !membership.mayTruncate(first.index)) throw forked(first.index);
  const entries = start === 0 ? request.entries : request.entries.slice(start);
  return { entries, configurations: configurationsOf(state, entries) };
}

function configurationsOf({ options }: RaftState, entries: readonly LogEntry[]): Addition["configurations"] {
  const found: [number, Configuration][] = [];
  for (const { index, data } of entries) {
    try {
      const configuration = options.configurationOf(data);
      if (configuration === undefined) continue;
      // Throws for one in which nothing could ever be decided.
      new JointQuorum(configuration);
      found.push([index, configuration]);
    } catch (cause) {
      throw new MessageRefused(
        "LedgerCorrupt",
        `entry ${index} brings no possible configuration`,
        { index },
        { cause },
      );
    }
  }
  return found;
}

function take({ log, durability, membership }: RaftState, { entries, configurations }: Addition): void {
  const [first] = entries;
  if (first === undefined) return;
  if (first.index <= log.lastIndex) {
    log.truncate(first.index);
    durability.recordTruncation(first.index);
    membership.truncate(first.index);
  }
  log.append(entries);
  durability.recordEntries(entries);
  for (const [index, configuration] of configurations) membership.append(index, configuration);
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

function forked(index: number): MessageRefused {
  return new MessageRefused("LedgerForked", `a leader contradicts the committed entry ${index}`, { index });
}
