/**
 * Linearizable reads without an entry in the log (Raft thesis, 6.4).
 *
 * A read may be answered at the commit index of a moment after it was asked for, if this node was the leader then: if an
 * entry of its own term is committed, and peers that no other leader could have been elected without still follow it. Reads
 * share rounds: one round is under way at a time, every append carries its number, every answer echoes it. No clock decides.
 */
import { sendAppend } from "./sending.ts";
import type { RaftState } from "./state.ts";
import type { NodeId } from "./types.ts";

/** The most reads that wait for a round; further ones are answered as if this node did not lead. */
export const MAX_WAITING_READS = 4096;

/** Takes a read; it is answered when a quorum has confirmed that this node leads, or at once when it does not. */
export function onRead(state: RaftState, id: number): void {
  if (state.role !== "leader" || state.reads.length >= MAX_WAITING_READS) {
    state.ready.read({ id, index: undefined });
    return;
  }
  state.reads.push({ id, index: undefined });
  beginRound(state);
}

/** Begins a round for the reads that wait, unless one is under way. */
export function beginRound(state: RaftState): void {
  if (state.reads.length === 0 || state.round !== state.confirmedRound || !state.committedInTerm) return;
  state.round++;
  for (const read of state.reads) read.index = state.commitIndex;
  for (const [peer, progress] of state.progress) sendAppend(state, peer, progress, []);
  confirmRound(state);
}

/** Answers the reads of the round under way when a quorum of every active set has answered it. */
export function confirmRound(state: RaftState): void {
  if (state.role !== "leader" || state.round === state.confirmedRound) return;
  const agrees = (voter: NodeId): boolean => {
    if (voter === state.id) return true;
    const progress = state.progress.get(voter);
    return progress !== undefined && !progress.recovering && progress.round >= state.round;
  };
  if (!state.membership.quorum.sustains(agrees)) return;
  state.confirmedRound = state.round;
  const waiting = state.reads.findIndex(({ index }) => index === undefined);
  for (const { id, index } of state.reads.splice(0, waiting < 0 ? state.reads.length : waiting)) {
    state.ready.read({ id, index });
  }
  beginRound(state);
}
