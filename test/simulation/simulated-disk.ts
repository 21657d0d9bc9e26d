/**
 * A simulated ledger disk with the rules of the real one: requests that wait are carried out as one group of which only
 * the first may truncate; a group is durable after a delay, in the order hard state, truncation, entries. A crash loses
 * what waits, and leaves any first part of the group under way.
 */
import type { HardState, LogEntry, PersistRequest } from "../../src/core/consensus/types.ts";
import type { Disk, DiskContent } from "../../src/enclave/ports.ts";
import { invariant } from "../../src/errors.ts";
import type { Scheduler } from "./scheduler.ts";

const SYNC_MIN_MS = 0.3;
const SYNC_SPREAD_MS = 1.5;

interface Queued {
  readonly request: PersistRequest;
  readonly done: () => void;
}

/** The disk of one machine; it outlives the nodes that use it. */
export class SimulatedDisk {
  readonly #scheduler: Scheduler;
  readonly #entries: LogEntry[] = [];
  #hardState: HardState | undefined;
  #queue: Queued[] = [];
  #group: readonly Queued[] | undefined;
  /** Grows with each crash: what an earlier node asked for is not answered any more. */
  #generation = 0;
  /** Factor by which everything takes longer. */
  slowness = 1;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Durable entries, the one of index i at i - 1. */
  get entries(): readonly LogEntry[] {
    return this.#entries;
  }

  /** What a starting node finds, and the port it uses. */
  open(): { readonly disk: Disk; readonly content: DiskContent } {
    const generation = this.#generation;
    const disk: Disk = {
      persist: (request, done) => {
        if (generation === this.#generation) this.#persist(request, done);
      },
      read: (fromIndex, maxBytes, done) => {
        this.#scheduler.after(this.#duration(), () => {
          if (generation === this.#generation) done(this.#slice(fromIndex, maxBytes));
        });
      },
      createSnapshot: () => {
        throw new Error("the simulated disk keeps no snapshots yet");
      },
      readSnapshot: (_index, _offset, _maxBytes, done) => done(undefined, false),
      removeSnapshot: () => undefined,
    };
    const entries = [...this.#entries];
    const content: DiskContent = {
      hardState: this.#hardState,
      snapshots: [],
      firstIndex: 1,
      entriesFrom: (index) => entries.slice(index - 1),
      damage: undefined,
    };
    return { disk, content };
  }

  #duration(): number {
    return (SYNC_MIN_MS + this.#scheduler.random.next() * SYNC_SPREAD_MS) * this.slowness;
  }

  #slice(fromIndex: number, maxBytes: number): LogEntry[] {
    let bytes = 0;
    let end = fromIndex - 1;
    for (; end < this.#entries.length; end++) {
      bytes += (this.#entries[end] as LogEntry).data.length;
      if (bytes > maxBytes && end >= fromIndex) break;
    }
    return this.#entries.slice(fromIndex - 1, end);
  }

  #persist(request: PersistRequest, done: () => void): void {
    this.#queue.push({ request, done });
    if (this.#queue.length === 1 && this.#group === undefined) this.#nextGroup();
  }

  #nextGroup(): void {
    const generation = this.#generation;
    // Requests of the same turn join the group.
    this.#scheduler.after(0, () => {
      if (generation !== this.#generation || this.#queue.length === 0) return;
      let count = 1;
      while (count < this.#queue.length && this.#queue[count]?.request.truncateFrom === undefined) count++;
      const group = this.#queue.splice(0, count);
      this.#group = group;
      this.#scheduler.after(this.#duration(), () => {
        if (generation === this.#generation) this.#finish(group);
      });
    });
  }

  #finish(group: readonly Queued[]): void {
    this.#carryOut(group, Number.POSITIVE_INFINITY);
    this.#group = undefined;
    for (const { done } of group) done();
    if (this.#queue.length > 0) this.#nextGroup();
  }

  /** Carries out the first `steps` steps of a group: hard state, truncation, then entry by entry. */
  #carryOut(group: readonly Queued[], steps: number): void {
    const hardState = group.findLast(({ request }) => request.hardState !== undefined)?.request.hardState;
    if (steps >= 1 && hardState !== undefined) this.#hardState = hardState;
    const truncateFrom = group[0]?.request.truncateFrom;
    if (steps >= 2 && truncateFrom !== undefined) this.#entries.length = truncateFrom - 1;
    for (const entry of group.flatMap(({ request }) => request.entries).slice(0, Math.max(0, steps - 2))) {
      invariant(entry.index === this.#entries.length + 1, "an entry follows the one before it on disk");
      this.#entries.push(entry);
    }
  }

  /** A disk that lied: its newest entries are gone, though it called them durable. */
  forget(count: number): void {
    this.#entries.length = Math.max(0, this.#entries.length - count);
  }

  /** The machine stops; what it had not synced is lost, as far as it had not reached the disk by chance. */
  crash(): void {
    this.#generation++;
    if (this.#group !== undefined) this.#carryOut(this.#group, this.#scheduler.random.below(6));
    this.#group = undefined;
    this.#queue = [];
  }
}
