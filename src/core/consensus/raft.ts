/**
 * Raft as a pure state machine: one event in, one `Ready` out (R21).
 *
 * Sources: Ongaro, Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014); Ongaro's thesis, for PreVote
 * (9.6), CheckQuorum (6.2), joint consensus (4.3), transfer (3.10), reads (6.4), parallel writes and pipelining (10.2.1).
 * Whom messages may come from is the driver's affair: it authenticates them. Malformed ones are ignored. A message that
 * contradicts what is committed throws `MessageRefused` (`LedgerForked` or `LedgerCorrupt`) before anything has changed, and
 * the core goes on. Otherwise `step` throws only `LedgerCorrupt` (the disk lies: the node must stop) or `Internal` (a fault
 * in the driver or here); after such a throw the core must not be used again.
 */
import { onAppendRequest } from "./acceptance.ts";
import { deliverCommitted, onLoadedForDelivery, statusOf } from "./delivery.ts";
import {
  countOwnVote,
  hastenElection,
  onTimeoutNow,
  onVoteRequest,
  onVoteResponse,
  quorumReachable,
  tickElection,
} from "./election.ts";
import { onSnapshotPart, onSnapshotRefused, onSnapshotStored } from "./installing.ts";
import { isWellFormed, TERM_JUMP_MAX } from "./messages.ts";
import { onRead } from "./reads.ts";
import { onRestartAnswer, onRestartQuery, resume, tickRecovery } from "./recovery.ts";
import { advanceCommit, onAppendResponse, onLoadedForPeer, onPeerChannel, propose, tickLeader } from "./replication.ts";
import { compact, onSnapshotLoaded, onSnapshotResponse } from "./snapshots.ts";
import { type RaftOptions, RaftState } from "./state.ts";
import { onDiskFull, startTransfer } from "./transfer.ts";
import type { Consensus, ConsensusEvent, ConsensusMessage, ConsensusStatus, NodeId, Ready } from "./types.ts";

type DiskEvent = Extract<
  ConsensusEvent,
  { type: "snapshotLoaded" | "snapshotStored" | "snapshotRefused" | "compact" | "diskFull" | "resume" }
>;

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
    deliverCommitted(state);
    state.log.release(Math.min(state.deliveredIndex, state.durability.durableIndex));
    return state.finishStep();
  }

  /** What the core knows now. */
  status(): ConsensusStatus {
    return statusOf(this.#state);
  }

  #dispatch(event: ConsensusEvent): void {
    const state = this.#state;
    switch (event.type) {
      case "tick":
        this.#onTick();
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
        if (event.peer === state.id) onLoadedForDelivery(state, event.entries);
        else onLoadedForPeer(state, event.peer, event.entries);
        break;
      case "channel":
        this.#onChannel(event.peer, event.up);
        break;
      case "read":
        onRead(state, event.id);
        break;
      case "transfer":
        startTransfer(state, event.to, false);
        break;
      default:
        this.#dispatchToDisk(event);
        break;
    }
  }

  /** Events that have to do with snapshots and the state of the disk. */
  #dispatchToDisk(event: DiskEvent): void {
    const state = this.#state;
    switch (event.type) {
      case "snapshotLoaded":
        onSnapshotLoaded(state, event);
        break;
      case "snapshotStored":
        onSnapshotStored(state, event.snapshot);
        break;
      case "snapshotRefused":
        onSnapshotRefused(state);
        break;
      case "compact":
        compact(state, event.snapshot);
        break;
      case "diskFull":
        onDiskFull(state, event.full);
        break;
      case "resume":
        resume(state);
        break;
    }
  }

  #onTick(): void {
    const state = this.#state;
    state.retryLoads();
    tickRecovery(state);
    if (state.role === "leader") tickLeader(state);
    else tickElection(state);
  }

  #onMessage(from: NodeId, message: ConsensusMessage): void {
    const state = this.#state;
    if (from === state.id || !isWellFormed(message)) return;
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
      case "snapshotPart":
        onSnapshotPart(state, from, message);
        break;
      case "snapshotResponse":
        onSnapshotResponse(state, from, message);
        break;
      case "timeoutNow":
        onTimeoutNow(state, from, message);
        break;
      case "restartQuery":
        onRestartQuery(state, from);
        break;
      case "restartAnswer":
        onRestartAnswer(state, from, message);
        break;
    }
  }

  #onChannel(peer: NodeId, up: boolean): void {
    const state = this.#state;
    if (peer === state.id) return;
    state.endLoad(peer, true);
    onPeerChannel(state, peer, up);
    if (up) quorumReachable(state, peer);
    else state.channelsUp.delete(peer);
    if (!up && peer === state.leader) hastenElection(state);
  }
}
