/**
 * The follower's side of snapshots (Raft paper, section 7). Parts are handed to the driver in order; when the whole is
 * verified and durable, it takes the place of the log, the configuration and everything not applied yet. The leader is told
 * once that is durable too. A snapshot of what is committed here already is answered as being there.
 */
import { follow } from "./acceptance.ts";
import type { RaftState } from "./state.ts";
import type { NodeId, SnapshotMark, SnapshotPart } from "./types.ts";

/** Takes a part of the leader's snapshot. */
export function onSnapshotPart(state: RaftState, from: NodeId, part: SnapshotPart): void {
  const { snapshot } = part;
  if (part.term < state.term) {
    // Its sender was deposed and does not know yet: the term of the answer tells it.
    answer(state, from, snapshot.index, 0);
    return;
  }
  // A leader sends a snapshot to whom its append was answered by, so it was heard in this term before: a snapshot alone,
  // which may turn out not to hold, deposes nobody and makes nobody follow.
  if (part.term > state.term || state.leader !== from) return;
  follow(state, from, part.term);
  if (isHere(state, snapshot)) {
    state.commitIndex = Math.max(state.commitIndex, snapshot.index);
    state.staging = undefined;
    answerInstalled(state, from, snapshot.index);
    return;
  }
  if (part.offset === 0) state.staging = { mark: snapshot, from, offset: 0, complete: false };
  const { staging } = state;
  const known = staging?.from === from && staging.mark.index === snapshot.index && staging.mark.term === snapshot.term;
  if (known && part.offset === staging.offset && !staging.complete) {
    staging.offset += part.data.length;
    staging.complete = part.last;
    state.ready.stage({ from, snapshot, offset: part.offset, data: part.data, last: part.last });
  }
  answer(state, from, snapshot.index, known ? staging.offset : 0);
}

/** What the snapshot stands for is in the log, with the same history, or committed already. */
function isHere({ commitIndex, log }: RaftState, { index, term }: SnapshotMark): boolean {
  return index <= commitIndex || log.matches(index, term);
}

function answer(state: RaftState, to: NodeId, index: number, offset: number): void {
  state.sendDurable(to, { type: "snapshotResponse", term: state.term, index, offset, installed: false });
}

function answerInstalled(state: RaftState, to: NodeId, index: number): void {
  state.sendDurable(to, { type: "snapshotResponse", term: state.term, index, offset: 0, installed: true }, index);
}

/** The staged snapshot holds and is durable: it takes the place of the log unless the log has come as far by itself. */
export function onSnapshotStored(state: RaftState, snapshot: SnapshotMark): void {
  const { staging, log, durability, membership } = state;
  if (staging?.complete !== true || staging.mark.index !== snapshot.index || staging.mark.term !== snapshot.term)
    return;
  state.staging = undefined;
  if (isHere(state, snapshot)) {
    state.commitIndex = Math.max(state.commitIndex, snapshot.index);
  } else {
    durability.recordSnapshot(snapshot, state.commitIndex);
    log.reset(snapshot);
    membership.reset(snapshot.configuration, snapshot.configurationIndex);
    state.snapshot = snapshot;
    state.commitIndex = snapshot.index;
    state.deliveredIndex = snapshot.index;
    state.ready.install(snapshot);
  }
  if (state.leader === staging.from) answerInstalled(state, staging.from, snapshot.index);
}

/** The staged snapshot did not hold: the leader's next try begins anew. */
export function onSnapshotRefused(state: RaftState): void {
  state.staging = undefined;
}
