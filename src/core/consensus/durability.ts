/**
 * What is on disk, what is on its way there, and which messages wait for it.
 *
 * Each step records its changes here and takes at most one persist request. Requests become durable in order, so "after
 * request n" is all a message needs to say about what it waits for (Raft thesis, 3.8): an acknowledgement for the entries
 * it covers, a vote and every answer in a new term for the hard state. Held messages end with their term.
 */
import { invariant } from "../../errors.ts";
import type { HardState, LogEntry, Outgoing, PersistRequest, SnapshotMark } from "./types.ts";

/** The most messages that wait for the disk; further ones are dropped, as a network may do, and asked for again. */
export const MAX_HELD_MESSAGES = 4096;

/** A request on its way to the disk. */
interface PendingRequest {
  readonly id: number;
  /** Entries of the current log up to here are durable once the request is. */
  lastIndex: number;
}

interface HeldMessage {
  readonly afterId: number;
  readonly outgoing: Outgoing;
}

/** Tracks persist requests and the messages held back for them. */
export class Durability {
  #lastId = 0;
  #durableId = 0;
  #durableIndex: number;
  /** The request that carries the newest hard state. */
  #hardStateId = 0;
  readonly #pending: PendingRequest[] = [];
  #held: HeldMessage[] = [];
  #hardState: HardState | undefined;
  #truncateFrom: number | undefined;
  #snapshot: SnapshotMark | undefined;
  #entries: readonly LogEntry[] = [];

  /** Starts with a log that is durable up to `durableIndex`. */
  constructor(durableIndex: number) {
    this.#durableIndex = durableIndex;
  }

  /** Highest index of the current log known durable. */
  get durableIndex(): number {
    return this.#durableIndex;
  }

  /** Whether the newest term and vote are durable. */
  get hardStateDurable(): boolean {
    return this.#hardStateId <= this.#durableId;
  }

  /** Puts the hard state into the request of this step. */
  recordHardState(hardState: HardState): void {
    this.#hardState = hardState;
    this.#hardStateId = this.#lastId + 1;
  }

  /** Puts a truncation into the request of this step; before its entries, at most once per step. */
  recordTruncation(fromIndex: number): void {
    invariant(
      this.#truncateFrom === undefined && this.#entries.length === 0,
      "one truncation per step, before its entries",
    );
    this.#truncateFrom = fromIndex;
    this.#giveUp(fromIndex);
  }

  /** Puts a snapshot in the place of the whole log into the request of this step; up to `commitIndex` the disk agrees with it. */
  recordSnapshot(snapshot: SnapshotMark, commitIndex: number): void {
    invariant(this.#truncateFrom === undefined && this.#entries.length === 0, "a snapshot is recorded first in a step");
    this.#snapshot = snapshot;
    this.#giveUp(commitIndex + 1);
  }

  /** What older requests made or will make durable from here on belongs to a history that is given up. */
  #giveUp(fromIndex: number): void {
    this.#durableIndex = Math.min(this.#durableIndex, fromIndex - 1);
    for (const request of this.#pending) request.lastIndex = Math.min(request.lastIndex, fromIndex - 1);
  }

  /** Puts entries into the request of this step; at most once per step. */
  recordEntries(entries: readonly LogEntry[]): void {
    invariant(this.#entries.length === 0, "entries are recorded once per step");
    this.#entries = entries;
  }

  /** Id of the request after which the hard state and the entries up to `index` are durable. */
  barrier(index: number): number {
    if (index <= this.#durableIndex) return this.#hardStateId;
    const covering = this.#pending.find((request) => request.lastIndex >= index)?.id ?? this.#lastId + 1;
    return Math.max(covering, this.#hardStateId);
  }

  /** Keeps a message until the request `afterId` is durable; false when it need not wait. */
  hold(outgoing: Outgoing, afterId: number): boolean {
    if (afterId <= this.#durableId) return false;
    if (this.#held.length < MAX_HELD_MESSAGES) this.#held.push({ afterId, outgoing });
    return true;
  }

  /** Drops held messages: their term is over, so nobody needs them. */
  forgetHeld(): void {
    this.#held = [];
  }

  /** The request of this step, if anything changed; `lastIndex` is the end of the log now. */
  takeRequest(lastIndex: number): PersistRequest | undefined {
    const hardState = this.#hardState;
    const truncateFrom = this.#truncateFrom;
    const snapshot = this.#snapshot;
    const entries = this.#entries;
    const nothing = hardState === undefined && truncateFrom === undefined && snapshot === undefined;
    if (nothing && entries.length === 0) return undefined;
    this.#hardState = undefined;
    this.#snapshot = undefined;
    this.#truncateFrom = undefined;
    this.#entries = [];
    const id = ++this.#lastId;
    this.#pending.push({ id, lastIndex });
    if (nothing) return { id, entries };
    return {
      id,
      entries,
      ...(hardState && { hardState }),
      ...(snapshot && { snapshot }),
      ...(truncateFrom !== undefined && { truncateFrom }),
    };
  }

  /** Notes that a request and all before it are durable; returns the messages that waited for them. */
  persisted(id: number): readonly Outgoing[] {
    invariant(id <= this.#lastId, "only requests that were made become durable");
    if (id <= this.#durableId) return [];
    this.#durableId = id;
    for (let first = this.#pending[0]; first !== undefined && first.id <= id; first = this.#pending[0]) {
      this.#durableIndex = Math.max(this.#durableIndex, first.lastIndex);
      this.#pending.shift();
    }
    const ready = this.#held.filter((held) => held.afterId <= id);
    if (ready.length > 0) this.#held = this.#held.filter((held) => held.afterId > id);
    return ready.map((held) => held.outgoing);
  }
}
