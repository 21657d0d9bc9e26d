/**
 * A version of an adapter's state on its way out of one worker and into another, in parts that the receiving side pulls.
 *
 * The first part is a preface: the version, and where its newest batches stand in the ledger, which no table can hold at
 * the time the batch is executed. The parts after it are entries of all tables in order (core/kv). All parts are the same
 * on every node that has applied the version, since their digest stands in the ledger.
 */
import type { CommittedBatch, StateReader, TableDefinition } from "../../adapters/adapter.ts";
import { type Bytes, ByteReader, ByteWriter } from "../../core/codec/bytes.ts";
import { StateBuilder } from "../../core/kv/state-builder.ts";
import { exportState, SMALLEST_PART_BYTES } from "../../core/kv/state-parts.ts";
import { CocoError } from "../../errors.ts";

/** Largest part of an exported state in bytes. */
export const STATE_PART_BYTES_MAX = 1024 * 1024;
/** The newest committed batches of which an exported state tells the place in the ledger. */
export const RECENT_BATCHES_MAX = 64;
/** The newest committed batches a worker remembers the places of: exports begin at versions that are kept. */
export const REMEMBERED_BATCHES_MAX = 1024;

const PREFACE_FORMAT = 1;

/** Places of the newest committed batches, in the order of their versions. */
export class RecentBatches {
  #batches: CommittedBatch[] = [];

  /** Adds the next committed batch. */
  add(batch: CommittedBatch): void {
    this.#batches.push(batch);
    if (this.#batches.length > REMEMBERED_BATCHES_MAX) this.#batches = this.#batches.slice(-REMEMBERED_BATCHES_MAX / 2);
  }

  /** The newest ones up to a version. */
  upTo(version: number): readonly CommittedBatch[] {
    return this.#batches.filter((batch) => batch.version <= version).slice(-RECENT_BATCHES_MAX);
  }

  /** Starts anew from what came with an imported state. */
  replace(batches: readonly CommittedBatch[]): void {
    this.#batches = [...batches];
  }
}

function encodePreface(version: number, recent: readonly CommittedBatch[]): Bytes {
  const writer = new ByteWriter(16 + 28 * recent.length).u8(PREFACE_FORMAT).u64(version).u16(recent.length);
  for (const batch of recent) writer.u64(batch.version).u64(batch.view).u64(batch.firstSeqno).u32(batch.count);
  return writer.finish();
}

function decodePreface(part: Bytes, version: number): readonly CommittedBatch[] {
  const reader = new ByteReader(part);
  if (reader.u8() !== PREFACE_FORMAT) throw new CocoError("MalformedInput", "unknown format of an exported state");
  if (reader.u64() !== version) throw new CocoError("MalformedInput", "an exported state is of another version");
  const count = reader.u16();
  if (count > RECENT_BATCHES_MAX)
    throw new CocoError("LimitExceeded", `places of ${count} batches in an exported state`);
  const recent: CommittedBatch[] = [];
  for (let left = count, previous = 0; left > 0; left--) {
    const batch = { version: reader.u64(), view: reader.u64(), firstSeqno: reader.u64(), count: reader.u32() };
    if (batch.version <= previous || batch.version > version)
      throw new CocoError("MalformedInput", "batches of an exported state are not in order");
    previous = batch.version;
    recent.push(batch);
  }
  reader.end();
  return recent;
}

/** What a {@link StateExport} reads. */
export interface ExportSource {
  /** A committed version; it is held until the last part is taken. */
  readonly reader: StateReader;
  readonly tables: readonly TableDefinition[];
  /** Bytes of a part, brought between {@link SMALLEST_PART_BYTES} and {@link STATE_PART_BYTES_MAX}. */
  readonly maxBytes: number;
  readonly recent: readonly CommittedBatch[];
}

/** The parts of one version; versions after it may come and go meanwhile. */
export class StateExport {
  readonly version: number;
  readonly #parts: Iterator<Bytes>;
  /** The part to hand out next: one is read ahead to know the last. */
  #ahead: Bytes | undefined;

  constructor({ reader, tables, maxBytes, recent }: ExportSource) {
    this.version = reader.version;
    const bytes = Math.max(SMALLEST_PART_BYTES, Math.min(maxBytes, STATE_PART_BYTES_MAX));
    this.#parts = exportState(reader, tables, bytes);
    this.#ahead = encodePreface(reader.version, recent);
  }

  /** The next part; undefined after the last. */
  next(): { readonly part: Bytes; readonly last: boolean } | undefined {
    const part = this.#ahead;
    if (part === undefined) return undefined;
    const following = this.#parts.next();
    this.#ahead = following.done === true ? undefined : following.value;
    return { part, last: this.#ahead === undefined };
  }
}

/** A state that is being built beside the one in use. Parts are hostile until the last has been taken. */
export class StateImport {
  readonly version: number;
  readonly builder: StateBuilder;
  #recent: readonly CommittedBatch[] | undefined;

  constructor(version: number, tables: readonly TableDefinition[]) {
    this.version = version;
    this.builder = new StateBuilder(tables);
  }

  /** Takes the next part. Throws `MalformedInput` or `LimitExceeded` for a part that is not what an export makes. */
  add(part: Bytes): void {
    if (this.#recent === undefined) this.#recent = decodePreface(part, this.version);
    else this.builder.add(part);
  }

  /** Places of the newest batches, as the preface says. */
  get recent(): readonly CommittedBatch[] {
    return this.#recent ?? [];
  }
}
