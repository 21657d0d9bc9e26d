/**
 * One simulated machine: its core while it runs, and its disk always.
 *
 * The state that a node applies is stood for by a running hash over its committed entries; a snapshot is that hash with the
 * index and some padding, so that it goes over in several parts and a wrong one is noticed.
 */
import { type Bytes, ByteReader, ByteWriter } from "../../codec/bytes.ts";
import type { Raft } from "../raft.ts";
import type { Configuration, HardState, LogEntry, NodeId, PersistRequest, SnapshotMark } from "../types.ts";

/** Snapshots a simulated disk keeps. */
const SNAPSHOTS_KEPT_MAX = 2;

/** A log that begins after some index. */
export class SimulatedLog {
  startIndex = 0;
  startTerm = 0;
  entries: LogEntry[] = [];

  /** Index of the last entry. */
  get lastIndex(): number {
    return this.startIndex + this.entries.length;
  }

  /** Term at the last index. */
  get lastTerm(): number {
    return this.entries.at(-1)?.term ?? this.startTerm;
  }

  /** The entry at an index, if it is there. */
  at(index: number): LogEntry | undefined {
    return this.entries[index - this.startIndex - 1];
  }

  /** Drops every entry from this index on. */
  truncate(fromIndex: number): void {
    this.entries.length = fromIndex - this.startIndex - 1;
  }

  /** Begins anew after a snapshot. */
  reset({ index, term }: SnapshotMark): void {
    this.startIndex = index;
    this.startTerm = term;
    this.entries = [];
  }

  /** Entries from an index on, up to a number of them. */
  slice(fromIndex: number, count = Number.POSITIVE_INFINITY): readonly LogEntry[] {
    const start = fromIndex - this.startIndex - 1;
    return start < 0 ? [] : this.entries.slice(start, start + count);
  }

  /** A log of its own with the same content. */
  copy(): SimulatedLog {
    const copy = new SimulatedLog();
    copy.startIndex = this.startIndex;
    copy.startTerm = this.startTerm;
    copy.entries = [...this.entries];
    return copy;
  }
}

/** A finished snapshot on a disk. */
export interface StoredSnapshot {
  readonly mark: SnapshotMark;
  readonly data: Bytes;
}

/** What survives a crash. */
export class SimulatedDisk {
  log = new SimulatedLog();
  hardState: HardState | undefined;
  snapshots: StoredSnapshot[] = [];

  /** Carries out a request; a torn one leaves only its first part. */
  apply(request: PersistRequest, whole: boolean): void {
    if (request.snapshot !== undefined) this.log.reset(request.snapshot);
    if (request.truncateFrom !== undefined) this.log.truncate(request.truncateFrom);
    this.log.entries.push(...request.entries);
    if (whole && request.hardState !== undefined) this.hardState = request.hardState;
  }

  /** Keeps a finished snapshot and few before it. */
  keep(snapshot: StoredSnapshot): void {
    this.snapshots = this.snapshots.filter(({ mark }) => mark.index !== snapshot.mark.index);
    this.snapshots.push(snapshot);
    this.snapshots.sort((left, right) => right.mark.index - left.mark.index);
    // What the log begins after must stay.
    const needed = this.snapshots.find(({ mark }) => mark.index === this.log.startIndex);
    this.snapshots.length = Math.min(this.snapshots.length, SNAPSHOTS_KEPT_MAX);
    if (needed !== undefined && !this.snapshots.includes(needed)) this.snapshots.push(needed);
  }

  /** The newest snapshot that the log can be read from. */
  usable(): StoredSnapshot | undefined {
    const { startIndex, lastIndex } = this.log;
    return this.snapshots.find(({ mark }) => mark.index >= startIndex && mark.index <= lastIndex);
  }

  /** A part of the snapshot of an index, or of the newest. */
  part(index: number | undefined, offset: number, size: number) {
    const stored = this.snapshots.find(({ mark }) => index === undefined || mark.index === index);
    const data = stored?.data.subarray(offset, offset + size) ?? new Uint8Array(0);
    return { stored, data, last: offset + data.length >= (stored?.data.length ?? 0) };
  }

  /** A disk of its own with the same content. */
  copy(): SimulatedDisk {
    const copy = new SimulatedDisk();
    copy.log = this.log.copy();
    copy.hardState = this.hardState;
    copy.snapshots = [...this.snapshots];
    return copy;
  }
}

/** See the module's header. */
export class SimulatedNode {
  readonly id: NodeId;
  raft: Raft | undefined;
  /** Grows with each crash, so that what was under way before it is ignored. */
  incarnation = 0;
  disk = new SimulatedDisk();
  /** What the disk held some time ago: what a host may bring back. */
  backup = new SimulatedDisk();
  tookPart = false;
  diskFull = false;
  writes: PersistRequest[] = [];
  /** The log as the core has it in memory, rebuilt from its persist requests. */
  log = new SimulatedLog();
  deliveredIndex = 0;
  stateHash = 0;
  /** The configuration of what is applied. */
  applied: { configuration: Configuration; index: number };
  staging: { readonly mark: SnapshotMark; parts: Bytes[] } | undefined;

  constructor(id: NodeId, initial: Configuration) {
    this.id = id;
    this.applied = { configuration: initial, index: 0 };
  }

  /** Begins with what the disk has: a snapshot's state, or none. */
  restore(snapshot: StoredSnapshot | undefined, initial: Configuration): void {
    this.log = this.disk.log.copy();
    this.staging = undefined;
    this.diskFull = false;
    this.deliveredIndex = 0;
    this.stateHash = 0;
    this.applied = { configuration: initial, index: 0 };
    if (snapshot !== undefined) this.takeOver(snapshot);
  }

  /** Takes the state of a snapshot for its own. */
  takeOver({ mark, data }: StoredSnapshot): void {
    this.deliveredIndex = mark.index;
    this.stateHash = readSnapshotData(data).hash;
    this.applied = { configuration: mark.configuration, index: mark.configurationIndex };
  }
}

/** Continues the hash over committed entries. */
export function hashEntry(hash: number, { index, term, data }: LogEntry): number {
  let next = Math.imul(hash ^ index, 0x01000193) ^ term;
  for (const byte of data) next = Math.imul(next ^ byte, 0x01000193);
  return next >>> 0;
}

/** The bytes of a snapshot of this index and state. */
export function snapshotData(index: number, hash: number): Bytes {
  const padding = 20 + (hash % 700);
  return new ByteWriter()
    .u64(index)
    .u32(hash)
    .bytes(new Uint8Array(padding).fill(index & 255))
    .finish();
}

/** Index and state of a snapshot made by {@link snapshotData}. */
export function readSnapshotData(data: Bytes): { readonly index: number; readonly hash: number } {
  const reader = new ByteReader(data);
  return { index: reader.u64(), hash: reader.u32() };
}
