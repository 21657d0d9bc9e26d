/**
 * Consensus of one: the protocol for a network with a single validating node.
 *
 * There is nobody to ask, so there are no messages and no elections: each start, and each time the disk takes writes again,
 * opens a new term, and an entry is committed when it is durable. The membership cannot change. Terms, durability and
 * restarts follow the same rules as Raft's, so that a ledger can be carried over from one protocol to the other.
 */
import { CocoError } from "../../errors.ts";
import { sameConfiguration } from "./configuration.ts";
import { deliverCommitted, onLoadedForDelivery, statusOf } from "./delivery.ts";
import { MAX_WAITING_READS } from "./reads.ts";
import { resume } from "./recovery.ts";
import { compact } from "./snapshots.ts";
import { type RaftOptions, RaftState } from "./state.ts";
import type { Consensus, ConsensusEvent, ConsensusStatus, LogEntry, Ready } from "./types.ts";

/** The only node of its network. */
export class Solo implements Consensus {
  readonly #state: RaftState;

  /** Throws `ConfigurationInvalid` unless this node is the only voter, `LedgerCorrupt` when the restored log has gaps. */
  constructor(options: RaftOptions) {
    this.#state = new RaftState(options);
    if (this.#state.membership.quorum.voters.some((voter) => voter !== options.id)) {
      throw new CocoError("ConfigurationInvalid", "this protocol is for a network with one validating node");
    }
  }

  /** Takes one event and returns what the driver must do. */
  step(event: ConsensusEvent): Ready {
    const state = this.#state;
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
        state.retryLoads();
        this.#openTerm();
        break;
      case "propose":
        this.#propose(event.entries);
        break;
      case "persisted":
        state.persisted(event.id);
        this.#advance();
        break;
      case "loaded":
        if (event.peer === state.id) onLoadedForDelivery(state, event.entries);
        break;
      case "read":
        this.#read(event.id);
        break;
      case "compact":
        compact(state, event.snapshot);
        break;
      case "diskFull":
        state.diskFull = event.full;
        if (event.full) state.becomeFollower(state.term, undefined);
        break;
      case "resume":
        resume(state);
        break;
      default:
        // There is nobody whom messages, channels or snapshots could come from, and nobody to hand over to.
        break;
    }
  }

  /** A log or a hard state that is gone is for the members to decide on; any other disk is all there is to go by. */
  #openTerm(): void {
    const state = this.#state;
    if (state.recovery?.lost === false) state.recovery = undefined;
    if (state.role !== "follower" || state.recovery !== undefined || state.diskFull) return;
    state.enterTerm(state.term + 1, state.id);
    state.role = "candidate";
  }

  #propose(entries: readonly LogEntry[]): void {
    const { log, term, role, ready, durability } = this.#state;
    const misfit = entries.findIndex(
      (entry, at) => entry.index !== log.lastIndex + 1 + at || entry.term !== term || this.#changesMembership(entry),
    );
    const accepted = role !== "leader" ? 0 : misfit < 0 ? entries.length : misfit;
    ready.drop(entries.slice(accepted));
    if (accepted === 0) return;
    const taken = entries.slice(0, accepted);
    log.append(taken);
    durability.recordEntries(taken);
  }

  #changesMembership({ data }: LogEntry): boolean {
    const { options, membership } = this.#state;
    const configuration = options.configurationOf(data);
    return configuration !== undefined && !sameConfiguration(configuration, membership.configuration);
  }

  /** What is durable is decided: the term, then each entry with those before it. */
  #advance(): void {
    const state = this.#state;
    const { durability, log } = state;
    if (state.role === "candidate" && durability.hardStateDurable) {
      state.role = "leader";
      state.leader = state.id;
    }
    if (state.role !== "leader") return;
    const index = durability.durableIndex;
    if (index > state.commitIndex && log.termAt(index) === state.term) state.commitIndex = index;
    if (!state.committedInTerm) return;
    for (const { id } of state.reads.splice(0)) state.ready.read({ id, index: state.commitIndex });
  }

  #read(id: number): void {
    const { role, reads, ready } = this.#state;
    if (role !== "leader" || reads.length >= MAX_WAITING_READS) return ready.read({ id, index: undefined });
    reads.push({ id, index: undefined });
    this.#advance();
  }
}
