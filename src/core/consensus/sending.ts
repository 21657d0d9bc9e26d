/**
 * What a leader sends to one peer: entries ahead of their acknowledgement, probes, heartbeats, or else a snapshot.
 *
 * Each append carries the position before its entries, heartbeats too, so any loss on the way is answered by a refusal and
 * repaired. A peer whose next position lies before the first entry of this log is sent the snapshot.
 */
import { entryCostBytes } from "./log.ts";
import { Progress, type SnapshotTransfer } from "./progress.ts";
import type { RaftState } from "./state.ts";
import type { LogEntry, NodeId } from "./types.ts";

/** Largest part of a snapshot sent at once, in bytes. */
export const SNAPSHOT_PART_BYTES_MAX = 1024 * 1024;

/** Makes the leader's picture of its peers follow the active configuration; who left it is sent the log until it knows. */
export function followMembership(state: RaftState): void {
  const { peers } = state.membership;
  for (const [peer, progress] of state.progress) progress.departing = !peers.includes(peer);
  for (const peer of peers) {
    if (state.progress.has(peer)) continue;
    const progress = new Progress(state.log.lastIndex + 1, state.options, state.nowMs);
    state.progress.set(peer, progress);
    sendAppend(state, peer, progress, []);
  }
}

/** Sends entries ahead as far as flow control allows; asks for those that left the window. */
export function sendEntries(state: RaftState, peer: NodeId, progress: Progress): void {
  const { log } = state;
  while (progress.mayPipeline && progress.nextIndex <= log.lastIndex) {
    if (progress.nextIndex < log.firstIndex) return startSnapshot(state, peer, progress);
    if (progress.nextIndex < log.firstInMemory) return state.requestLoad(peer, progress.nextIndex);
    sendAppend(state, peer, progress, log.slice(progress.nextIndex, log.lastIndex, state.options.maxAppendBytes));
  }
}

/** Tries the position where the logs should agree, with entries if they are at hand: then agreement costs no extra round trip. */
export function sendProbe(state: RaftState, peer: NodeId, progress: Progress): void {
  const { log } = state;
  const inMemory = progress.nextIndex >= log.firstInMemory && progress.nextIndex <= log.lastIndex;
  const entries = inMemory ? log.slice(progress.nextIndex, log.lastIndex, state.options.maxAppendBytes) : [];
  sendAppend(state, peer, progress, entries);
}

/** Begins to send the newest snapshot. */
function startSnapshot(state: RaftState, peer: NodeId, progress: Progress): void {
  loadSnapshotPart(state, peer, { progress, transfer: progress.startSnapshot(state.nowMs) }, 0);
}

/** Asks for the part of a snapshot that begins at `offset`; at 0 the newest one begins anew. */
export function loadSnapshotPart(
  state: RaftState,
  peer: NodeId,
  { progress, transfer }: { readonly progress: Progress; readonly transfer: SnapshotTransfer },
  offset: number,
): void {
  if (offset === 0) transfer.mark = undefined;
  const heard = offset > 0 || progress.beginSnapshot();
  transfer.offset = offset;
  transfer.endOffset = undefined;
  transfer.sinceMs = state.nowMs;
  const maxBytes = Math.min(SNAPSHOT_PART_BYTES_MAX, state.options.maxAppendBytes);
  state.ready.loadSnapshot({ peer, index: transfer.mark?.index, offset, maxBytes, heard });
}

/** Sends an append; without entries it is a heartbeat. */
export function sendAppend(state: RaftState, peer: NodeId, progress: Progress, entries: readonly LogEntry[]): void {
  const { term, commitIndex, round, log } = state;
  const startIndex = log.firstIndex - 1;
  if (progress.nextIndex <= startIndex && progress.mode !== "snapshot") startSnapshot(state, peer, progress);
  // Under a snapshot a heartbeat asks whether it is there: an answer to that may have been lost.
  const previousIndex = progress.mode === "snapshot" ? startIndex : progress.nextIndex - 1;
  const previousTerm = log.termAt(previousIndex);
  state.send(peer, { type: "append", term, previousIndex, previousTerm, commitIndex, round, entries });
  let bytes = 0;
  for (const entry of entries) bytes += entryCostBytes(entry);
  progress.sent(previousIndex + entries.length, bytes, state.nowMs);
  progress.told(commitIndex);
}
