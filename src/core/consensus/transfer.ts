/**
 * Handing over leadership (Raft thesis, 3.10): take no more proposals, wait until the other one has the whole log, tell it
 * to start an election at once. A leader that the committed configuration does not list as a voter, or whose disk is full,
 * hands over and steps down. It does so no earlier: until then its work may be needed to commit the configuration (4.2.2).
 */
import type { Progress } from "./progress.ts";
import type { RaftState } from "./state.ts";
import type { NodeId } from "./types.ts";

/** Begins to hand over to a voter, or to the one whose log is closest; ignored when this node does not lead or nobody is there. */
export function startTransfer(state: RaftState, to: NodeId | undefined, stepDown: boolean): void {
  if (state.role !== "leader" || (state.transfer !== undefined && !stepDown)) return;
  const target = to ?? closestVoter(state);
  const progress = target === undefined ? undefined : state.progress.get(target);
  if (target === undefined || progress === undefined || !mayTakeOver(state, target, progress)) {
    if (stepDown) state.becomeFollower(state.term, undefined);
    return;
  }
  const deadlineMs = state.nowMs + state.options.electionTimeoutMinMs;
  state.transfer = { to: target, deadlineMs, stepDown, told: false };
  continueTransfer(state);
}

/** Only a voter of the set that stays can go on leading. */
function mayTakeOver(state: RaftState, peer: NodeId, progress: Progress): boolean {
  return state.membership.configuration.current.voters.includes(peer) && !progress.recovering;
}

function closestVoter(state: RaftState): NodeId | undefined {
  const { electionTimeoutMinMs } = state.options;
  let best: { readonly peer: NodeId; readonly rank: number } | undefined;
  for (const [peer, progress] of state.progress) {
    if (!mayTakeOver(state, peer, progress)) continue;
    // Who was not heard lately is the last choice, whatever it has.
    const silent = state.nowMs - progress.heardAtMs >= electionTimeoutMinMs;
    const rank = silent ? progress.matchIndex - Number.MAX_SAFE_INTEGER : progress.matchIndex;
    if (best === undefined || rank > best.rank) best = { peer, rank };
  }
  return best?.peer;
}

/** Tells the other one to take over as soon as it has the whole log. */
export function continueTransfer(state: RaftState): void {
  const { transfer } = state;
  if (transfer === undefined || transfer.told) return;
  if (state.progress.get(transfer.to)?.matchIndex !== state.log.lastIndex) return;
  transfer.told = true;
  state.send(transfer.to, { type: "timeoutNow", term: state.term });
  if (transfer.stepDown) state.becomeFollower(state.term, undefined);
}

/** Gives up what took longer than an election timeout: the other one may be gone. */
export function tickTransfer(state: RaftState): void {
  leaveWhenDone(state);
  const { transfer } = state;
  if (state.role !== "leader" || transfer === undefined || state.nowMs < transfer.deadlineMs) return;
  state.transfer = undefined;
  if (transfer.stepDown) state.becomeFollower(state.term, undefined);
}

/** Ends the leadership of a node that is not a voter of the configuration, once that is committed and no sooner, or that cannot write. */
export function leaveWhenDone(state: RaftState): void {
  if (state.role !== "leader" || state.transfer?.stepDown === true) return;
  const { membership, commitIndex } = state;
  const removed = membership.index <= commitIndex && !membership.quorum.includes(state.id);
  if (removed || state.diskFull) startTransfer(state, undefined, true);
}

/** Takes the news that the disk is full, or not any more: a node that cannot write must not lead. */
export function onDiskFull(state: RaftState, full: boolean): void {
  state.diskFull = full;
  if (full && (state.role === "candidate" || state.role === "preCandidate"))
    state.becomeFollower(state.term, undefined);
  leaveWhenDone(state);
}
