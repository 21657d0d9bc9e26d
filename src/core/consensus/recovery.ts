/**
 * A node that restarts and may have lost what it promised: votes it gave and entries it acknowledged.
 *
 * While it recovers it takes the log, but it neither votes nor campaigns, and a leader counts it for nothing. It ends when
 * (a) a live leader commits an entry of its own term, appended after the restart and by the others alone: that leader's log
 *     then has everything this node ever acknowledged in a commit, and nobody of a later term was elected with its vote; or
 * (b) every other voter has told, since this restart, how far its log and its term go: this node then votes for nobody who
 *     has less than the most that was told, and in no term that was told; or
 * (c) the members say so.
 */
import { comparePositions, LOG_START } from "./log.ts";
import type { RaftState } from "./state.ts";
import type { AppendRequest, NodeId, RestartAnswer } from "./types.ts";

/** Asks the other voters what is still missing. */
export function tickRecovery(state: RaftState): void {
  const { recovery } = state;
  if (recovery === undefined) return;
  endByAnswers(state);
  if (state.nowMs - recovery.askedAtMs < state.options.electionTimeoutMinMs) return;
  recovery.askedAtMs = state.nowMs;
  for (const voter of state.membership.quorum.voters) {
    const known = recovery.answered.has(voter) && (voter !== state.leader || recovery.anchor?.term === state.term);
    if (voter !== state.id && !known) state.send(voter, { type: "restartQuery", term: state.term });
  }
}

/** Tells a node how far this one's log goes, or is known to have gone, once that is durable. */
export function onRestartQuery(state: RaftState, from: NodeId): void {
  const { log, floor, recovery } = state;
  const own = { index: log.lastIndex, term: log.lastTerm };
  const position = comparePositions(floor, own) > 0 ? floor : own;
  state.sendDurable(
    from,
    {
      type: "restartAnswer",
      // What was heard from others counts as well: this node may be all that is left of it.
      term: Math.max(state.term, recovery?.term ?? 0),
      lastIndex: position.index,
      lastTerm: position.term,
      recovering: recovery !== undefined,
    },
    log.lastIndex,
  );
}

/** Takes what another voter tells. */
export function onRestartAnswer(state: RaftState, from: NodeId, answer: RestartAnswer): void {
  const { recovery } = state;
  if (recovery === undefined || !state.membership.quorum.includes(from)) return;
  recovery.answered.add(from);
  recovery.term = Math.max(recovery.term, answer.term);
  const position = { index: answer.lastIndex, term: answer.lastTerm };
  if (comparePositions(position, state.floor) > 0) state.floor = position;
  // Elections that were under way at the restart are over after an election timeout: nobody counts a lost vote after it.
  const settled = state.nowMs - recovery.sinceMs >= state.options.electionTimeoutMaxMs;
  if (
    settled &&
    from === state.leader &&
    answer.term === state.term &&
    !answer.recovering &&
    recovery.anchor?.term !== state.term
  ) {
    recovery.anchor = { index: answer.lastIndex, term: answer.term };
  }
  endByAnswers(state);
}

/** Ends recovery by rule (a). */
export function endByLeader(state: RaftState, { commitIndex, term }: AppendRequest): void {
  const anchor = state.recovery?.anchor;
  if (anchor?.term !== term || commitIndex <= anchor.index || state.durability.durableIndex < commitIndex) return;
  if (commitIndex < state.log.firstIndex || state.log.termAt(commitIndex) !== term) return;
  state.recovery = undefined;
  state.floor = LOG_START;
}

/** Ends recovery by rule (b). A lone voter whose disk lost something has nobody to ask: that is for the members to decide. */
function endByAnswers(state: RaftState): void {
  const { recovery, membership, id } = state;
  if (recovery === undefined) return;
  const others = membership.quorum.voters.filter((voter) => voter !== id);
  if (others.length === 0 ? recovery.lost : !others.every((voter) => recovery.answered.has(voter))) return;
  state.recovery = undefined;
  if (recovery.term > state.term) state.becomeFollower(recovery.term, undefined);
  giveNoVoteInTerm(state);
}

/** Uses up the vote of this term: it may have been given before. */
function giveNoVoteInTerm(state: RaftState): void {
  if (state.votedFor === undefined) state.vote(state.id);
}

/** Ends recovery by the decision of the members: they take it upon them that nothing committed is missing. */
export function resume(state: RaftState): void {
  if (!needsHelp(state)) return;
  state.recovery = undefined;
  state.floor = LOG_START;
  giveNoVoteInTerm(state);
}

/** Whether this node recovers, or knows of entries that it does not have (yet): if nobody has them, only the members can go on. */
export function needsHelp(state: RaftState): boolean {
  return state.recovery !== undefined || !reachesFloor(state, state.log.lastIndex, state.log.lastTerm);
}

/** Whether a log that ends there has everything this node is known to have held. */
export function reachesFloor(state: RaftState, lastIndex: number, lastTerm: number): boolean {
  return comparePositions({ index: lastIndex, term: lastTerm }, state.floor) >= 0;
}
