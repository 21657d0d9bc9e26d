/**
 * Chunk files of the ledger: what is in them and where each record starts.
 *
 * A chunk `ledger_<index of its first record, 10 digits>` is a row of records, and a record is
 *   length of the data u32 ‖ Raft index u64 ‖ Raft term u64 ‖ data (one sealed batch), big-endian.
 * Opening reads every chunk once and keeps 4 bytes per record. What a crash can leave behind is cut away: a last record
 * that is incomplete, or whose data the check refuses, or zeros up to the end of the last file (a file system may have
 * grown it before its data arrived). A record whose length overruns the file while a later record is still there is not such
 * a remainder. Everything else that does not fit is damage: `LedgerCorrupt`, nothing is changed.
 */
import * as fs from "node:fs";
import { readFile } from "node:fs/promises";
import * as path from "node:path";
import { type Bytes, ByteReader, type ByteWriter } from "../core/codec/bytes.ts";
import type { LogEntry } from "../core/consensus/types.ts";
import { MAX_BATCH_BYTES } from "../core/ledger/batch-format.ts";
import { CocoError } from "../errors.ts";

/** Bytes of a record before its data. */
export const RECORD_HEADER_LENGTH = 20;
/** Largest chunk file that is read, in bytes. */
export const MAX_CHUNK_BYTES = 1024 * 1024 * 1024;
/** Most records in one chunk; a new one is begun before it has more. */
export const MAX_CHUNK_RECORDS = 1_000_000;

const NAME_PATTERN = /^ledger_([0-9]{10,16})$/;
const FIRST_CAPACITY = 16;

/** Where the records of one chunk file start. */
export class Chunk {
  readonly file: string;
  readonly firstIndex: number;
  /** Start of each record, then the end of the last. */
  #offsets = new Uint32Array(FIRST_CAPACITY);
  #count = 0;

  constructor(directory: string, firstIndex: number) {
    this.file = path.join(directory, `ledger_${String(firstIndex).padStart(10, "0")}`);
    this.firstIndex = firstIndex;
  }

  /** Number of records. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of all records. */
  get size(): number {
    return this.#offsets[this.#count] ?? 0;
  }

  /** Index of the record that comes next. */
  get nextIndex(): number {
    return this.firstIndex + this.#count;
  }

  /** Adds a record with `dataLength` bytes of data. */
  add(dataLength: number): void {
    const end = this.size + RECORD_HEADER_LENGTH + dataLength;
    if (this.#count + 1 === this.#offsets.length) {
      const larger = new Uint32Array(this.#offsets.length * 2);
      larger.set(this.#offsets);
      this.#offsets = larger;
    }
    this.#count++;
    this.#offsets[this.#count] = end;
  }

  /** Drops the records from `index` on. */
  truncate(index: number): void {
    this.#count = Math.max(0, Math.min(this.#count, index - this.firstIndex));
  }

  /** Byte position of a record, or the end of the last one for `nextIndex`. */
  offsetOf(index: number): number {
    return this.#offsets[index - this.firstIndex] ?? 0;
  }

  /** The last index so that the records from `fromIndex` to it take at most `maxBytes`; at least `fromIndex`. */
  lastWithin(fromIndex: number, maxBytes: number): number {
    const limit = this.offsetOf(fromIndex) + maxBytes;
    let last = fromIndex;
    while (last + 1 < this.nextIndex && this.offsetOf(last + 2) <= limit) last++;
    return last;
  }
}

/** The bytes of a record. */
export function writeRecord(writer: ByteWriter, { index, term, data }: LogEntry): void {
  writer.u32(data.length).u64(index).u64(term).bytes(data);
}

/** Reads records whose place is known; throws `LedgerCorrupt` when the bytes are not those records any more. */
export function* readRecords(bytes: Bytes, fromIndex: number, file: string): Generator<LogEntry> {
  const reader = new ByteReader(bytes);
  for (let index = fromIndex; reader.remaining > 0; index++) {
    const at = reader.position;
    const record = readRecord(reader);
    if (typeof record === "string" || record.index !== index)
      throw corrupt(file, at, "record has changed since the ledger was opened");
    yield { index, term: record.term, data: new Uint8Array(record.data) };
  }
}

/** A damaged place in a chunk file. */
export function corrupt(file: string, offset: number, what: string): CocoError {
  return new CocoError("LedgerCorrupt", `${file} at byte ${offset}: ${what}`, { file, offset });
}

/** The next record, or why there is none: the input ends before it does, or it is not a record. */
function readRecord(reader: ByteReader): LogEntry | "incomplete" | "malformed" {
  if (reader.remaining < RECORD_HEADER_LENGTH) return "incomplete";
  const length = reader.u32();
  if (length === 0 || length > MAX_BATCH_BYTES) return "malformed";
  try {
    const [index, term] = [reader.u64(), reader.u64()];
    if (length > reader.remaining) return "incomplete";
    return { index, term, data: reader.bytes(length) };
  } catch {
    return "malformed";
  }
}

/** What was cut away after a crash. */
export interface LedgerRepair {
  readonly file: string;
  /** Bytes kept. */
  readonly offset: number;
  /** Bytes cut away. */
  readonly removedBytes: number;
  readonly reason: string;
}

/** Chunks in order, and what has to be cut off the last one. */
export interface ScannedLedger {
  readonly chunks: readonly Chunk[];
  readonly repair: LedgerRepair | undefined;
}

/**
 * Whether a complete record with this index stands somewhere after `offset` and is followed by another or by the end. Then
 * the record at `offset` was not the last one: its length is damaged, and cutting would lose what was durable.
 */
function recordFollows(bytes: Bytes, offset: number, index: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [high, low] = [Math.floor(index / 0x100000000), index >>> 0];
  for (let at = offset + RECORD_HEADER_LENGTH; at + RECORD_HEADER_LENGTH <= bytes.length; at++) {
    if (view.getUint32(at + 8) !== low || view.getUint32(at + 4) !== high) continue;
    const reader = new ByteReader(bytes.subarray(at));
    if (typeof readRecord(reader) === "string") continue;
    if (reader.remaining === 0) return true;
    const next = at + reader.position;
    if (next + RECORD_HEADER_LENGTH <= bytes.length && view.getUint32(next + 8) === (index + 1) >>> 0) return true;
  }
  return false;
}

interface ChunkScan {
  readonly bytes: Bytes;
  readonly chunk: Chunk;
  readonly isLast: boolean;
  readonly check: (data: Bytes) => boolean;
}

function scanChunk(
  { bytes, chunk, isLast, check }: ChunkScan,
  previousTerm: number,
): { term: number; repair: LedgerRepair | undefined } {
  const reader = new ByteReader(bytes);
  let term = previousTerm;
  while (reader.remaining > 0) {
    const offset = reader.position;
    const torn = (reason: string): LedgerRepair => ({
      file: chunk.file,
      offset,
      removedBytes: bytes.length - offset,
      reason,
    });
    const record = readRecord(reader);
    if (isLast && record === "incomplete" && !recordFollows(bytes, offset, chunk.nextIndex + 1)) {
      return { term, repair: torn("the last record is incomplete") };
    }
    if (isLast && bytes.subarray(offset).every((byte) => byte === 0))
      return { term, repair: torn("zeros after the last record") };
    if (record === "incomplete" || record === "malformed") throw corrupt(chunk.file, offset, "not a record");
    if (record.index !== chunk.nextIndex) {
      throw corrupt(chunk.file, offset, `record has index ${record.index}, expected ${chunk.nextIndex}`);
    }
    if (record.term < term) throw corrupt(chunk.file, offset, `record has term ${record.term} after term ${term}`);
    if (isLast && reader.remaining === 0 && !check(record.data))
      return { term, repair: torn("the last record is damaged") };
    chunk.add(record.data.length);
    term = record.term;
  }
  return { term, repair: undefined };
}

function listChunks(directory: string): readonly Chunk[] {
  const firstIndexes: number[] = [];
  for (const name of fs.readdirSync(directory)) {
    const digits = NAME_PATTERN.exec(name)?.[1];
    if (digits !== undefined) firstIndexes.push(Number(digits));
  }
  return firstIndexes.sort((left, right) => left - right).map((firstIndex) => new Chunk(directory, firstIndex));
}

/**
 * Reads all chunks of a folder. `check` judges the data of the very last record. Changes nothing on disk. Throws
 * `LedgerCorrupt` naming file and offset.
 */
export async function scanLedger(directory: string, check: (data: Bytes) => boolean): Promise<ScannedLedger> {
  const chunks = listChunks(directory);
  let term = 1;
  let nextIndex = 1;
  for (const [position, chunk] of chunks.entries()) {
    if (chunk.firstIndex !== nextIndex) throw corrupt(chunk.file, 0, `chunk does not start at index ${nextIndex}`);
    if (fs.statSync(chunk.file).size > MAX_CHUNK_BYTES)
      throw corrupt(chunk.file, MAX_CHUNK_BYTES, "chunk is too large");
    const bytes = await readFile(chunk.file);
    const result = scanChunk({ bytes, chunk, isLast: position === chunks.length - 1, check }, term);
    if (result.repair !== undefined) return { chunks, repair: result.repair };
    term = result.term;
    nextIndex = chunk.nextIndex;
  }
  return { chunks, repair: undefined };
}

/** All entries of the chunks, read one chunk at a time; to be consumed before anything is written. */
export function* entriesOf(chunks: readonly Chunk[]): Generator<LogEntry> {
  for (const chunk of chunks) {
    const bytes = fs.readFileSync(chunk.file).subarray(0, chunk.size);
    yield* readRecords(bytes, chunk.firstIndex, chunk.file);
  }
}
