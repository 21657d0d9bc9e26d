/**
 * The leader's side of snapshots (Raft paper, section 7): a peer that needs entries which this log has not any more gets
 * the newest snapshot in parts, one under way at a time, each read by the driver when it is wanted.
 */
import { invariant } from "../../errors.ts";
import type { Progress, SnapshotTransfer } from "./progress.ts";
import { loadSnapshotPart, sendEntries } from "./sending.ts";
import type { RaftState } from "./state.ts";
import type { ConsensusEvent, NodeId, SnapshotMark, SnapshotResponse } from "./types.ts";

/** Sends a part that was read; one that nobody waits for, or of a snapshot that helps nobody, is left alone until the next try. */
export function onSnapshotLoaded(
  state: RaftState,
  { peer, snapshot, offset, data, last }: Extract<ConsensusEvent, { type: "snapshotLoaded" }>,
): void {
  const transfer = state.progress.get(peer)?.transfer;
  if (transfer === undefined || transfer.endOffset !== undefined || transfer.offset !== offset) return;
  if (snapshot === undefined || snapshot.index < state.log.firstIndex - 1) {
    // There is none of this index (any more): the next try begins anew.
    transfer.mark = undefined;
    transfer.offset = 0;
    return;
  }
  if (offset > 0 && transfer.mark?.index !== snapshot.index) return;
  if (data.length === 0 && !last) return;
  transfer.mark = snapshot;
  transfer.endOffset = offset + data.length;
  transfer.last = last;
  transfer.sinceMs = state.nowMs;
  state.send(peer, { type: "snapshotPart", term: state.term, snapshot, offset, data, last });
}

/** Takes a peer's answer to a part, or to the snapshot as a whole. */
export function onSnapshotResponse(state: RaftState, from: NodeId, response: SnapshotResponse): void {
  const progress = state.progress.get(from);
  if (progress === undefined || response.term < state.term) return;
  if (response.term > state.term) return state.becomeFollower(response.term, undefined);
  progress.heard(state.nowMs);
  const { transfer } = progress;
  if (transfer?.mark === undefined || transfer.mark.index !== response.index) return;
  if (response.installed) {
    progress.acknowledged(response.index);
    sendEntries(state, from, progress);
    return;
  }
  const { offset, endOffset, last } = transfer;
  if (endOffset === undefined) return;
  // The last part is answered once more when the snapshot is stored.
  if (response.offset === endOffset && last) transfer.sinceMs = state.nowMs;
  // The follower knows best what it wants, further on or back; only the answer to the part before is old news.
  else if (response.offset !== offset) loadSnapshotPart(state, from, { progress, transfer }, response.offset);
}

/**
 * Asks again for what was not answered for an election timeout, once the peer is heard: one that lives answers heartbeats, and for
 * one that is down the same part would be read for ever.
 */
export function tickSnapshot(state: RaftState, peer: NodeId, progress: Progress): void {
  const { transfer } = progress;
  if (transfer === undefined || !isOverdue(state, transfer, 1) || !progress.heardSincePart) return;
  loadSnapshotPart(state, peer, { progress, transfer }, transfer.offset);
}

/** Election timeouts of silence after which a peer that is sent a snapshot is taken to be down: on a slow way one part takes several. */
const DOWN_TIMEOUTS = 8;

/** Whether nothing came of the part under way for so many election timeouts. */
function isOverdue(state: RaftState, transfer: SnapshotTransfer, timeouts: number): boolean {
  return state.nowMs - transfer.sinceMs >= timeouts * state.options.electionTimeoutMaxMs;
}

/**
 * This node has a snapshot: what lies before it is forgotten, except what follows a snapshot that is being sent. A peer that is
 * down is being sent none: it begins anew when it is back.
 */
export function compact(state: RaftState, snapshot: SnapshotMark): void {
  if (snapshot.index <= (state.snapshot?.index ?? 0)) return;
  invariant(snapshot.index <= state.deliveredIndex, "a snapshot holds only what was handed out as committed");
  state.snapshot = snapshot;
  let index = snapshot.index;
  for (const progress of state.progress.values()) {
    const { transfer } = progress;
    if (transfer?.mark === undefined || (isOverdue(state, transfer, DOWN_TIMEOUTS) && !progress.heardSincePart))
      continue;
    index = Math.min(index, transfer.mark.index);
  }
  if (index >= state.log.firstIndex) state.log.compact(index);
}
