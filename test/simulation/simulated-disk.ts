/**
 * A simulated ledger disk with the rules of the real one: requests that wait are carried out as one group of which only
 * the first may truncate; a group is durable after a delay, in the order hard state, truncation, entries. A crash loses
 * what waits, and leaves any first part of the group under way, the last record of it perhaps only in part.
 *
 * What goes wrong with it is drawn elsewhere (machine-faults.ts); here is what follows from it.
 */
import { type Bytes, bytesEqual } from "../../src/core/codec/bytes.ts";
import type { HardState, LogEntry } from "../../src/core/consensus/types.ts";
import type { Disk, DiskContent, DiskEvents, DiskRequest } from "../../src/enclave/ports.ts";
import { invariant } from "../../src/errors.ts";
import { DiskRoom, type RoomStep } from "./disk-room.ts";
import type { FaultCounts } from "./fault-counts.ts";
import type { Scheduler } from "./scheduler.ts";
import { type SnapshotDamage, type SnapshotImage, SimulatedSnapshots } from "./simulated-snapshots.ts";

const SYNC_MIN_MS = 0.3;
const SYNC_SPREAD_MS = 1.5;
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

/** What a whole ledger follows. */
const BEGINNING: LostPosition = { lastIndex: 0, lastTerm: 0 };

/** What was durable at some time. */
export interface DiskImage {
  readonly records: readonly Stored[];
  readonly base: LostPosition;
  readonly snapshots: SnapshotImage;
  readonly hardState: HardState | undefined;
}

/** Why a node must end because of its disk. */
export type DiskFailure = "fsyncFailure" | "readError" | "bitFlipAtRead";

/** What may become of a record at rest: a bit flips, or a write that belongs elsewhere landed on it. */
export type RecordDamage = "bitFlip" | "misdirectedWrite";

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
  /** What the first record follows. */
  #base: LostPosition = BEGINNING;
  readonly #snapshots: SimulatedSnapshots;
  #hardState: HardState | undefined;
  #queue: Queued[] = [];
  #group: readonly Queued[] | undefined;
  /** Grows with each crash: what an earlier node asked for is not answered any more. */
  #generation = 0;
  #events: SimulatedDiskEvents = { died: () => undefined, diskFull: () => undefined };
  /** Whether a node on this machine ever took part: known even when the ledger is lost. */
  tookPart = false;
  /** Factor by which everything takes longer. */
  slowness = 1;
  /** What needs room waits for it here. */
  readonly room: DiskRoom;
  /** Entries up to here were durable and were lost to damage. */
  #lost: LostPosition | undefined;
  /** Entries up to here were durable before an older image was put back, which nobody knows. */
  #hidden: LostPosition | undefined;
  /** The next sync, or the next read, fails. */
  failNextSync = false;
  failNextRead = false;
  /** Whether a read failed since the disk was opened. */
  hadReadError = false;

  constructor(scheduler: Scheduler, faults: FaultCounts) {
    this.#scheduler = scheduler;
    this.#faults = faults;
    this.room = new DiskRoom(scheduler, faults);
    this.#snapshots = new SimulatedSnapshots({
      ...{ scheduler, faults, room: this.room },
      duration: () => this.#duration(),
      takeSyncFailure: () => this.#takeSyncFailure(),
      takeReadFailure: () => this.#takeReadFailure(),
      died: () => this.#events.died("fsyncFailure"),
    });
  }

  get #firstIndex(): number {
    return this.#base.lastIndex + 1;
  }

  #takeSyncFailure(): boolean {
    const fails = this.failNextSync;
    this.failNextSync = false;
    return fails;
  }

  #takeReadFailure(): boolean {
    const fails = this.failNextRead;
    this.failNextRead = false;
    this.hadReadError ||= fails;
    return fails;
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
    return this.#snapshots.count > 0;
  }

  /** Whether the file of a snapshot is begun and not finished. */
  get isWritingSnapshot(): boolean {
    return this.#snapshots.unfinished > 0;
  }

  /** Index the log begins with. */
  get firstIndex(): number {
    return this.#firstIndex;
  }

  /** Whether entries that this disk called durable are missing, or will be found to be. */
  get hasLost(): boolean {
    const isKnown = this.#lost !== undefined || this.#hidden !== undefined;
    return isKnown || this.damagedIndex !== undefined || this.hasDamagedBeginning;
  }

  /** Whether any snapshot is damaged. */
  get hasDamagedSnapshot(): boolean {
    return this.#snapshots.isDamagedFrom(0);
  }

  /** Whether the log begins with a snapshot, and that one or a later one is damaged: a node may be unable to begin. */
  get hasDamagedBeginning(): boolean {
    return this.#base.lastIndex > 0 && this.#snapshots.isDamagedFrom(this.#base.lastIndex);
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
    this.hadReadError = false;
    this.room.open((full) => events.diskFull(full));
    const disk: Disk = {
      persist: (request, done) => {
        if (generation === this.#generation) this.#persist(request, done);
      },
      read: (fromIndex, maxBytes, done) => {
        this.#scheduler.after(this.#duration(), () => {
          if (generation === this.#generation) this.#read(fromIndex, maxBytes, done);
        });
      },
      ...this.#snapshots.open(),
    };
    const entries = this.#records.map(({ entry, damaged }) =>
      damaged === undefined ? entry : { ...entry, data: damaged },
    );
    const firstIndex = this.#firstIndex;
    const snapshots = this.#snapshots.stored();
    const entriesFrom = (index: number) => entries.slice(Math.max(0, index - firstIndex));
    const damage = this.#lost && { ...this.#lost, index: this.length + 1 };
    return { disk, content: { hardState: this.#hardState, snapshots, firstIndex, entriesFrom, damage } };
  }

  /** Sets records from an index on aside, because one of them is damaged: peers have them. What was lost stays known. */
  setAside(fromIndex: number): void {
    const last = this.#records.at(-1)?.entry;
    const position = last === undefined ? this.#base : { lastIndex: last.index, lastTerm: last.term };
    if (position.lastIndex > 0 && hasCaughtUp(position, this.#lost)) this.#lost = position;
    this.#records.length = Math.max(0, fromIndex - this.#firstIndex);
  }

  /** The operator moves what is there away; that it was lost stays known. */
  moveAway(): void {
    this.setAside(this.#firstIndex);
    this.#base = BEGINNING;
    this.#snapshots.replace(new Map());
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
      const failure = this.#takeReadFailure() ? "readError" : "bitFlipAtRead";
      this.#faults.add(`disk.${failure}`);
      this.#events.died(failure);
    } else done(records.map(({ entry }) => entry));
  }

  #persist(request: DiskRequest, done: () => void): void {
    this.tookPart = true;
    this.#queue.push({ request, done });
    if (this.#queue.length === 1 && this.#group === undefined) this.#nextGroup();
  }

  /** Begins a group in the next turn, when there is room; requests of the same turn join it. */
  #nextGroup(): void {
    const generation = this.#generation;
    const isWanted = () => generation === this.#generation && this.#queue.length > 0;
    // What a write without room left of itself is cut off again; nothing is acknowledged.
    const step: RoomStep = { kind: "disk.full.write", isWanted, go: () => this.#beginGroup(step) };
    this.#scheduler.after(0, () => {
      if (isWanted()) this.room.enter(step);
    });
  }

  #beginGroup(step: RoomStep): void {
    const generation = this.#generation;
    let count = 1;
    while (count < this.#queue.length && !beginsAnew(this.#queue[count]?.request)) count++;
    const group = this.#queue.splice(0, count);
    this.#group = group;
    this.#scheduler.after(this.#duration(), () => {
      if (generation === this.#generation) this.#finish(group, step);
    });
  }

  #finish(group: readonly Queued[], step: RoomStep): void {
    if (this.#takeSyncFailure()) {
      this.#faults.add("disk.fsyncFailure");
      this.#events.died("fsyncFailure");
      return;
    }
    this.#carryOut(group, Number.POSITIVE_INFINITY);
    this.#group = undefined;
    const generation = this.#generation;
    this.room.leave(step);
    if (generation !== this.#generation) return;
    for (const { done } of group) {
      done();
      if (generation !== this.#generation) return;
    }
    if (this.#queue.length > 0) this.#nextGroup();
  }

  /** Carries out the first `steps` steps of a group: hard state, truncation, then entry by entry. Returns how many entries it left out. */
  #carryOut(group: readonly Queued[], steps: number): number {
    const hardState = group.findLast(({ request }) => request.hardState !== undefined)?.request.hardState;
    if (steps >= 1 && hardState !== undefined) this.#hardState = hardState;
    const { truncateFrom, snapshot } = group[0]?.request ?? {};
    if (steps >= 2 && snapshot !== undefined) {
      this.#records = [];
      this.#base = { lastIndex: snapshot.index, lastTerm: snapshot.term };
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

  /** A bit of a durable record flips while nobody looks, or another record was written over it; false when there is none. */
  damageRecord(kind: RecordDamage): boolean {
    const { random } = this.#scheduler;
    const record = this.#records[random.below(this.#records.length)];
    if (record === undefined || record.damaged !== undefined) return false;
    const damaged = new Uint8Array(record.entry.data);
    if (kind === "bitFlip") {
      const at = random.below(damaged.length);
      damaged[at] = (damaged[at] as number) ^ (1 << random.below(8));
      record.damaged = damaged;
      return true;
    }
    const other = random.pick(this.#records);
    if (other === record) return false;
    record.damaged = other.entry.data;
    return true;
  }

  /** Something befalls a snapshot that the log has come to or begins with; false when there is none that is whole. */
  damageSnapshot(kind: SnapshotDamage): boolean {
    return this.#snapshots.damage(kind, this.length);
  }

  /** What is durable now. */
  image(): DiskImage {
    const snapshots = this.#snapshots.image();
    return { records: [...this.#records], base: this.#base, snapshots, hardState: this.#hardState };
  }

  /** While no node uses the disk an older image is put back; false when it is the same. */
  putBack({ records, base, snapshots, hardState }: DiskImage): boolean {
    const last = this.#records.at(-1)?.entry;
    if (records.at(-1)?.entry === last && hardState === this.#hardState) return false;
    // Without an entry what was promised lies before the first, in a snapshot.
    this.#hidden = { lastIndex: this.length, lastTerm: last?.term ?? this.#hardState?.term ?? 0 };
    this.#records = [...records];
    this.#base = base;
    this.#hardState = hardState;
    this.#snapshots.replace(snapshots);
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
    this.room.crash();
    this.#snapshots.crash();
    let lost = 0;
    if (this.#group !== undefined) {
      lost = this.#carryOut(this.#group, random.below(6));
      if (lost > 0 && random.chance(TORN)) this.#faults.add("disk.tornWrite");
    }
    for (const { request } of this.#queue) lost += request.entries.length;
    if (lost > 0) this.#faults.add("disk.lostUnsyncedWrite", lost);
    this.#group = undefined;
    this.#queue = [];
  }
}
