/**
 * A simulated ledger disk with the rules of the real one: requests that wait are carried out as one group of which only
 * the first may truncate; a group is durable after a delay, in the order hard state, truncation, entries. A crash loses
 * what waits, and leaves any first part of the group under way, the last record of it perhaps only in part.
 *
 * What goes wrong with it is drawn elsewhere (machine-faults.ts); here is what follows from it.
 */
import { type Bytes, bytesEqual, concatBytes } from "../../src/core/codec/bytes.ts";
import type { HardState, LogEntry } from "../../src/core/consensus/types.ts";
import type { Disk, DiskContent, DiskEvents, DiskRequest, SnapshotFile } from "../../src/enclave/ports.ts";
import { invariant } from "../../src/errors.ts";
import type { FaultCounts } from "./fault-counts.ts";
import type { Scheduler } from "./scheduler.ts";

const SYNC_MIN_MS = 0.3;
const SYNC_SPREAD_MS = 1.5;
/** How long a disk without room is left alone before the write is tried again. */
const FULL_RETRY_MS = 1_000;
/** Probability that the first lost record of a crash is there in part. */
const TORN = 0.5;

interface Queued {
  readonly request: DiskRequest;
  readonly done: () => void;
}

/** A record on the disk. */
interface Stored {
  readonly entry: LogEntry;
  /** What is read instead of the entry's data; undefined while it is whole. */
  damaged: Bytes | undefined;
}

/** The end of a log that was durable once. */
interface LostPosition {
  readonly lastIndex: number;
  readonly lastTerm: number;
}

/** What was durable at some time. */
export interface DiskImage {
  readonly records: readonly Stored[];
  readonly firstIndex: number;
  readonly snapshots: ReadonlyMap<number, Bytes>;
  readonly hardState: HardState | undefined;
}

/** Why a node must end because of its disk. */
export type DiskFailure = "fsyncFailure" | "readError" | "bitFlipAtRead";

/** What a disk tells its node. */
export interface SimulatedDiskEvents extends DiskEvents {
  /** The disk failed: the process ends. */
  died(failure: DiskFailure): void;
}

/** What a starting node finds, and the port it uses. */
export interface OpenedDisk {
  readonly disk: Disk;
  readonly content: DiskContent;
}

/** Whether a request drops entries: then it is the first of its group. */
function beginsAnew(request: DiskRequest | undefined): boolean {
  return request?.truncateFrom !== undefined || request?.snapshot !== undefined;
}

/** Whether a position is as far as what was lost. */
function hasCaughtUp(position: LostPosition, lost: LostPosition | undefined): boolean {
  if (lost === undefined) return true;
  if (position.lastTerm !== lost.lastTerm) return position.lastTerm > lost.lastTerm;
  return position.lastIndex >= lost.lastIndex;
}

/** The disk of one machine; it outlives the nodes that use it. */
export class SimulatedDisk {
  readonly #scheduler: Scheduler;
  readonly #faults: FaultCounts;
  #records: Stored[] = [];
  /** Index of the first record. */
  #firstIndex = 1;
  /** Finished snapshots by index. */
  readonly #snapshots = new Map<number, Bytes>();
  #hardState: HardState | undefined;
  #queue: Queued[] = [];
  #group: readonly Queued[] | undefined;
  /** Whether the last record is there in part only. */
  #torn = false;
  /** Grows with each crash: what an earlier node asked for is not answered any more. */
  #generation = 0;
  #events: SimulatedDiskEvents = { died: () => undefined, diskFull: () => undefined };
  /** Whether a node on this machine ever took part: known even when the ledger is lost. */
  tookPart = false;
  /** Factor by which everything takes longer. */
  slowness = 1;
  /** No room for another entry. */
  full = false;
  /** Entries up to here were durable and were lost to damage. */
  #lost: LostPosition | undefined;
  /** Entries up to here were durable before an older image was put back, which nobody knows. */
  #hidden: LostPosition | undefined;
  #toldFull = false;
  /** The next sync, or the next read, fails. */
  failNextSync = false;
  failNextRead = false;

  constructor(scheduler: Scheduler, faults: FaultCounts) {
    this.#scheduler = scheduler;
    this.#faults = faults;
  }

  /** Number of durable entries. */
  get length(): number {
    return this.#firstIndex - 1 + this.#records.length;
  }

  /** The durable entry at an index; undefined when there is none, or none that is whole. */
  entry(index: number): LogEntry | undefined {
    const record = this.#records[index - this.#firstIndex];
    return record?.damaged === undefined ? record?.entry : undefined;
  }

  /** Whether an entry is on this disk, or was, or lies before the snapshot the log begins with. */
  held(entry: LogEntry): boolean {
    if (entry.index < this.#firstIndex) return true;
    const record = this.#records[entry.index - this.#firstIndex];
    if (record?.entry.term === entry.term)
      return record.entry.data === entry.data || bytesEqual(record.entry.data, entry.data);
    return entry.index <= Math.max(this.#lost?.lastIndex ?? 0, this.#hidden?.lastIndex ?? 0);
  }

  get hasSnapshots(): boolean {
    return this.#snapshots.size > 0;
  }

  /** Index the log begins with. */
  get firstIndex(): number {
    return this.#firstIndex;
  }

  /** Whether entries that this disk called durable are missing, or will be found to be. */
  get hasLost(): boolean {
    return this.#lost !== undefined || this.#hidden !== undefined || this.damagedIndex !== undefined;
  }

  /** Index of the first record that is damaged; undefined when all are whole. */
  get damagedIndex(): number | undefined {
    const at = this.#records.findIndex((record) => record.damaged !== undefined);
    return at < 0 ? undefined : this.#firstIndex + at;
  }

  /**
   * Opens the ledger, cutting a torn last record away. Damaged records are handed out as they are: who finds them calls
   * {@link SimulatedDisk.setAside}.
   */
  open(events: SimulatedDiskEvents): OpenedDisk {
    const generation = this.#generation;
    this.#events = events;
    this.#torn = false;
    this.#toldFull = false;
    const disk: Disk = {
      persist: (request, done) => {
        if (generation === this.#generation) this.#persist(request, done);
      },
      read: (fromIndex, maxBytes, done) => {
        this.#scheduler.after(this.#duration(), () => {
          if (generation === this.#generation) this.#read(fromIndex, maxBytes, done);
        });
      },
      createSnapshot: (index) => this.#createSnapshot(index, generation),
      readSnapshot: (index, offset, maxBytes, done) => {
        this.#scheduler.after(this.#duration(), () => {
          if (generation !== this.#generation) return;
          const bytes = this.#snapshots.get(index);
          done(bytes?.slice(offset, offset + maxBytes), bytes === undefined || offset + maxBytes >= bytes.length);
        });
      },
      removeSnapshot: (index) => {
        if (generation === this.#generation) this.#snapshots.delete(index);
      },
    };
    const entries = this.#records.map(({ entry, damaged }) =>
      damaged === undefined ? entry : { ...entry, data: damaged },
    );
    const firstIndex = this.#firstIndex;
    const snapshots = [...this.#snapshots]
      .sort(([left], [right]) => right - left)
      .map(([index, bytes]) => ({ index, bytes: bytes.length, parts: () => [bytes] }));
    const entriesFrom = (index: number) => entries.slice(Math.max(0, index - firstIndex));
    const damage = this.#lost && { ...this.#lost, index: this.length + 1 };
    return { disk, content: { hardState: this.#hardState, snapshots, firstIndex, entriesFrom, damage } };
  }

  #createSnapshot(index: number, generation: number): SnapshotFile {
    const pieces: Bytes[] = [];
    let open = true;
    const later = (done: () => void) =>
      this.#scheduler.after(this.#duration(), () => {
        if (open && generation === this.#generation) done();
      });
    return {
      append: (data, done) => {
        pieces.push(data);
        later(done);
      },
      finish: (done) =>
        later(() => {
          this.#snapshots.set(index, concatBytes(...pieces));
          done();
        }),
      abandon: () => {
        open = false;
      },
    };
  }

  /** Sets records from an index on aside, because one of them is damaged: peers have them. What was lost stays known. */
  setAside(fromIndex: number): void {
    const last = this.#records.at(-1)?.entry;
    const position = last && { lastIndex: last.index, lastTerm: last.term };
    if (position !== undefined && hasCaughtUp(position, this.#lost)) this.#lost = position;
    this.#records.length = Math.max(0, fromIndex - this.#firstIndex);
  }

  /** The operator moves what is there away; that it was lost stays known. */
  moveAway(): void {
    this.setAside(this.#firstIndex);
    this.#firstIndex = 1;
    this.#snapshots.clear();
  }

  #duration(): number {
    return (SYNC_MIN_MS + this.#scheduler.random.next() * SYNC_SPREAD_MS) * this.slowness;
  }

  #read(fromIndex: number, maxBytes: number, done: (entries: readonly LogEntry[]) => void): void {
    let bytes = 0;
    const start = fromIndex - this.#firstIndex;
    if (start < 0) return done([]);
    let end = start;
    for (; end < this.#records.length; end++) {
      bytes += (this.#records[end] as Stored).entry.data.length;
      if (bytes > maxBytes && end > start) break;
    }
    const records = this.#records.slice(start, end);
    const damaged = records.some((record) => record.damaged !== undefined);
    if (this.failNextRead || damaged) {
      const failure = this.failNextRead ? "readError" : "bitFlipAtRead";
      this.failNextRead = false;
      this.#faults.add(`disk.${failure}`);
      this.#events.died(failure);
    } else done(records.map(({ entry }) => entry));
  }

  #persist(request: DiskRequest, done: () => void): void {
    this.tookPart = true;
    this.#queue.push({ request, done });
    if (this.#queue.length === 1 && this.#group === undefined) this.#nextGroup(0);
  }

  /** Begins a group after a while; requests of the same turn join it. */
  #nextGroup(delayMs: number): void {
    const generation = this.#generation;
    this.#scheduler.after(delayMs, () => {
      if (generation !== this.#generation || this.#queue.length === 0) return;
      if (this.full) {
        // What the write left of itself is cut off again; nothing is acknowledged.
        this.#faults.add("disk.full.write");
        if (!this.#toldFull) {
          this.#toldFull = true;
          this.#events.diskFull(true);
        }
        this.#nextGroup(FULL_RETRY_MS);
        return;
      }
      let count = 1;
      while (count < this.#queue.length && !beginsAnew(this.#queue[count]?.request)) count++;
      const group = this.#queue.splice(0, count);
      this.#group = group;
      this.#scheduler.after(this.#duration(), () => {
        if (generation === this.#generation) this.#finish(group);
      });
    });
  }

  #finish(group: readonly Queued[]): void {
    if (this.failNextSync) {
      this.failNextSync = false;
      this.#faults.add("disk.fsyncFailure");
      this.#events.died("fsyncFailure");
      return;
    }
    this.#carryOut(group, Number.POSITIVE_INFINITY);
    this.#group = undefined;
    if (this.#toldFull) {
      this.#toldFull = false;
      this.#events.diskFull(false);
    }
    const generation = this.#generation;
    for (const { done } of group) {
      done();
      if (generation !== this.#generation) return;
    }
    if (this.#queue.length > 0) this.#nextGroup(0);
  }

  /** Carries out the first `steps` steps of a group: hard state, truncation, then entry by entry. Returns how many entries it left out. */
  #carryOut(group: readonly Queued[], steps: number): number {
    const hardState = group.findLast(({ request }) => request.hardState !== undefined)?.request.hardState;
    if (steps >= 1 && hardState !== undefined) this.#hardState = hardState;
    const { truncateFrom, snapshot } = group[0]?.request ?? {};
    if (steps >= 2 && snapshot !== undefined) {
      this.#records = [];
      this.#firstIndex = snapshot.index + 1;
    }
    if (steps >= 2 && truncateFrom !== undefined) this.#records.length = truncateFrom - this.#firstIndex;
    let left = Math.max(0, steps - 2);
    let lost = 0;
    for (const { request } of group) {
      for (const entry of request.entries) {
        if (left-- <= 0) lost++;
        else {
          invariant(entry.index === this.length + 1, "an entry follows the one before it on disk");
          this.#records.push({ entry, damaged: undefined });
          const position = { lastIndex: entry.index, lastTerm: entry.term };
          if (hasCaughtUp(position, this.#lost)) this.#lost = undefined;
          if (hasCaughtUp(position, this.#hidden)) this.#hidden = undefined;
        }
      }
    }
    return lost;
  }

  /** A bit of a durable record flips while nobody looks; false when there is no record. */
  flipBit(): boolean {
    const { random } = this.#scheduler;
    const record = this.#records[random.below(this.#records.length)];
    if (record === undefined || record.damaged !== undefined) return false;
    const damaged = new Uint8Array(record.entry.data);
    const at = random.below(damaged.length);
    damaged[at] = (damaged[at] as number) ^ (1 << random.below(8));
    record.damaged = damaged;
    return true;
  }

  /** What is durable now. */
  image(): DiskImage {
    const snapshots = new Map(this.#snapshots);
    return { records: [...this.#records], firstIndex: this.#firstIndex, snapshots, hardState: this.#hardState };
  }

  /** While no node uses the disk an older image is put back; false when it is the same. */
  putBack({ records, firstIndex, snapshots, hardState }: DiskImage): boolean {
    const last = this.#records.at(-1)?.entry;
    if (records.at(-1)?.entry === last && hardState === this.#hardState) return false;
    // Without an entry what was promised lies before the first, in a snapshot.
    this.#hidden = { lastIndex: this.length, lastTerm: last?.term ?? this.#hardState?.term ?? 0 };
    this.#records = [...records];
    this.#firstIndex = firstIndex;
    this.#hardState = hardState;
    this.#snapshots.clear();
    for (const [index, bytes] of snapshots) this.#snapshots.set(index, bytes);
    return true;
  }

  /** A disk that lied: its newest entries are gone, though it called them durable. */
  forget(count: number): void {
    this.#records.length = Math.max(0, this.#records.length - count);
  }

  /** The machine stops; what it had not synced is lost, as far as it had not reached the disk by chance. */
  crash(): void {
    const { random } = this.#scheduler;
    this.#generation++;
    let lost = 0;
    if (this.#group !== undefined) {
      lost = this.#carryOut(this.#group, random.below(6));
      if (lost > 0 && random.chance(TORN)) {
        this.#torn = true;
        this.#faults.add("disk.tornWrite");
      }
    }
    for (const { request } of this.#queue) lost += request.entries.length;
    if (lost > 0) this.#faults.add("disk.lostUnsyncedWrite", lost);
    this.#group = undefined;
    this.#queue = [];
  }

  /** Whether the last crash left a part of a record, to be cut away when the disk is opened. */
  get isTorn(): boolean {
    return this.#torn;
  }
}
