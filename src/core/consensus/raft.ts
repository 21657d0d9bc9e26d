/**
 * Raft as a pure state machine: one event in, one `Ready` out (R21).
 *
 * Sources: Ongaro, Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014); Ongaro's thesis, for PreVote
 * (9.6), CheckQuorum (6.2), parallel writes and pipelining (10.2.1). Membership is static. Messages from others than
 * the voters, and malformed ones, are ignored. `step` throws only `LedgerForked` and `LedgerCorrupt` (the node must stop)
 * or `Internal` (a fault in the driver or here); after a throw the core must not be used again.
 */
import { CocoError } from "../../errors.ts";
import { onAppendRequest } from "./acceptance.ts";
import {
  countOwnVote,
  hastenElection,
  onVoteRequest,
  onVoteResponse,
  quorumReachable,
  tickElection,
} from "./election.ts";
import { isWellFormed, TERM_JUMP_MAX } from "./messages.ts";
import { advanceCommit, onAppendResponse, onLoadedForPeer, onPeerChannel, propose, tickLeader } from "./replication.ts";
import { DELIVERY_BYTES_MAX, type RaftOptions, RaftState } from "./state.ts";
import type { Consensus, ConsensusEvent, ConsensusMessage, ConsensusStatus, LogEntry, NodeId, Ready } from "./types.ts";

/** One Raft node. */
export class Raft implements Consensus {
  readonly #state: RaftState;

  /** Throws `ConfigurationInvalid` for options that do not fit together, `LedgerCorrupt` when the restored log has gaps. */
  constructor(options: RaftOptions) {
    this.#state = new RaftState(options);
  }

  /** Takes one event and returns what the driver must do. */
  step(event: ConsensusEvent): Ready {
    const state = this.#state;
    // A clock that goes back would only stretch timers; safety never depends on it.
    state.nowMs = Math.max(state.nowMs, event.now);
    this.#dispatch(event);
    this.#deliverCommitted();
    state.log.release(Math.min(state.deliveredIndex, state.durability.durableIndex));
    return state.finishStep();
  }

  /** What the core knows now. */
  status(): ConsensusStatus {
    const { id, role, term, leader, commitIndex, log, durability, progress } = this.#state;
    const matchIndex = new Map<NodeId, number>();
    for (const [peer, { matchIndex: index }] of progress) matchIndex.set(peer, index);
    const { lastIndex, lastTerm } = log;
    return {
      id,
      role,
      term,
      leader,
      commitIndex,
      lastIndex,
      lastTerm,
      durableIndex: durability.durableIndex,
      matchIndex,
    };
  }

  #dispatch(event: ConsensusEvent): void {
    const state = this.#state;
    switch (event.type) {
      case "tick":
        state.retryLoads();
        if (state.role === "leader") tickLeader(state);
        else tickElection(state);
        break;
      case "message":
        this.#onMessage(event.from, event.message);
        break;
      case "propose":
        propose(state, event.entries);
        break;
      case "persisted":
        state.persisted(event.id);
        countOwnVote(state);
        advanceCommit(state);
        break;
      case "loaded":
        if (event.peer === state.id) this.#onLoadedForDelivery(event.entries);
        else onLoadedForPeer(state, event.peer, event.entries);
        break;
      case "channel":
        this.#onChannel(event.peer, event.up);
        break;
    }
  }

  #onMessage(from: NodeId, message: ConsensusMessage): void {
    const state = this.#state;
    if (from === state.id || !state.quorum.includes(from) || !isWellFormed(message)) return;
    if (message.term > state.term + TERM_JUMP_MAX) return;
    switch (message.type) {
      case "append":
        onAppendRequest(state, from, message);
        break;
      case "appendResponse":
        onAppendResponse(state, from, message);
        break;
      case "vote":
        onVoteRequest(state, from, message);
        break;
      case "voteResponse":
        onVoteResponse(state, from, message);
        break;
    }
  }

  #onChannel(peer: NodeId, up: boolean): void {
    const state = this.#state;
    if (peer === state.id || !state.quorum.includes(peer)) return;
    state.endLoad(peer, true);
    onPeerChannel(state, peer, up);
    if (up) quorumReachable(state, peer);
    else state.channelsUp.delete(peer);
    if (!up && peer === state.leader) hastenElection(state);
  }

  /** Hands out committed entries from the window, a bounded part per step; those that left it (after a restart) are loaded first. */
  #deliverCommitted(): void {
    const state = this.#state;
    const fromIndex = state.deliveredIndex + 1;
    if (fromIndex > state.commitIndex) return;
    if (fromIndex < state.log.firstInMemory) state.requestLoad(state.id, fromIndex);
    else state.deliver(state.log.slice(fromIndex, state.commitIndex, DELIVERY_BYTES_MAX));
  }

  #onLoadedForDelivery(entries: readonly LogEntry[]): void {
    const state = this.#state;
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
}
