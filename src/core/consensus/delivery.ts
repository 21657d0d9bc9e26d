/** What a core hands out: committed entries in order, and its status. Shared by the consensus protocols of this folder. */
import { CocoError } from "../../errors.ts";
import { needsHelp } from "./recovery.ts";
import { DELIVERY_BYTES_MAX, type RaftState } from "./state.ts";
import type { ConsensusStatus, LogEntry, NodeId } from "./types.ts";

/** Hands out committed entries from the window, a bounded part per step; those that left it (after a restart) are loaded first. */
export function deliverCommitted(state: RaftState): void {
  const fromIndex = state.deliveredIndex + 1;
  if (fromIndex > state.commitIndex) return;
  if (fromIndex < state.log.firstInMemory) state.requestLoad(state.id, fromIndex);
  else state.deliver(state.log.slice(fromIndex, state.commitIndex, DELIVERY_BYTES_MAX));
}

/** Takes entries read from the own disk; throws `LedgerCorrupt` when it returns another one than was committed. */
export function onLoadedForDelivery(state: RaftState, entries: readonly LogEntry[]): void {
  const fromIndex = state.deliveredIndex + 1;
  const usable = state.log.verified(entries, fromIndex).slice(0, Math.max(0, state.commitIndex - fromIndex + 1));
  state.endLoad(state.id, usable.length > 0);
  if (usable.length > 0) state.deliver(usable);
  else if (entries[0]?.index === fromIndex && fromIndex <= state.commitIndex) {
    throw new CocoError("LedgerCorrupt", `the disk returned another entry at committed index ${fromIndex}`, {
      index: fromIndex,
    });
  }
}

/** What a core knows now. */
export function statusOf(state: RaftState): ConsensusStatus {
  const { id, role, term, leader, commitIndex, log, durability, progress, membership } = state;
  const { configuration } = membership;
  const matchIndex = new Map<NodeId, number>();
  for (const [peer, { matchIndex: index }] of progress) matchIndex.set(peer, index);
  const caughtUp = (learner: NodeId): boolean => learner === id || progress.get(learner)?.caughtUp === true;
  return {
    id,
    role,
    term,
    leader,
    commitIndex,
    lastIndex: log.lastIndex,
    lastTerm: log.lastTerm,
    durableIndex: durability.durableIndex,
    matchIndex,
    configuration,
    configurationIndex: membership.index,
    configurationCommitted: membership.index <= commitIndex,
    firstIndex: log.firstIndex,
    recovering: needsHelp(state),
    transferring: state.transfer !== undefined,
    learnersCaughtUp: role === "leader" && configuration.learners.every(caughtUp),
  };
}
