/**
 * Chunk files of the ledger, `ledger_<index of its first record, at least 10 digits>`: where each record starts. Four bytes per
 * record are kept in memory.
 */
import * as path from "node:path";
import type { Bytes } from "../core/codec/bytes.ts";
import type { LogEntry } from "../core/consensus/types.ts";
import { CocoError } from "../errors.ts";
import type { FileOperations } from "./file-operations.ts";
import { CHUNK_HEADER_LENGTH, readRecordHeader, recordData, recordEnd, uncheckedData } from "./ledger-record.ts";

/** Largest chunk file that is read, in bytes. */
export const MAX_CHUNK_BYTES = 1024 * 1024 * 1024;
/** Most records in one chunk; a new one is begun before it has more. */
export const MAX_CHUNK_RECORDS = 1_000_000;

const NAME_PATTERN = /^ledger_([0-9]{10,16})$/;
const FIRST_CAPACITY = 16;

/** The name of the chunk file that begins with this index. */
export function chunkName(firstIndex: number): string {
  return `ledger_${String(firstIndex).padStart(10, "0")}`;
}

/** Where the records of one chunk file start. */
export class Chunk {
  readonly file: string;
  readonly firstIndex: number;
  /** Start of each record, then the end of the last. */
  #offsets = new Uint32Array(FIRST_CAPACITY);
  #count = 0;
  /**
   * The whole file, its checksums already verified: while the ledger is opened, so that what is used next is not read twice.
   */
  kept: Bytes | undefined;

  constructor(directory: string, firstIndex: number) {
    this.file = path.join(directory, chunkName(firstIndex));
    this.firstIndex = firstIndex;
    this.#offsets[0] = CHUNK_HEADER_LENGTH;
  }

  /** Number of records. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the header and all records; 0 without records, since the header comes with the first of them. */
  get size(): number {
    return this.#count === 0 ? 0 : (this.#offsets[this.#count] ?? 0);
  }

  /** Index of the record that comes next. */
  get nextIndex(): number {
    return this.firstIndex + this.#count;
  }

  /** Adds a record with `dataLength` bytes of data. */
  add(dataLength: number): void {
    const end = recordEnd(this.#offsets[this.#count] ?? 0, dataLength);
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

/** The chunks of a folder by their names, in order; nothing is read. */
export async function listChunks(directory: string, files: FileOperations): Promise<readonly Chunk[]> {
  const firstIndexes: number[] = [];
  for (const name of await files.list(directory)) {
    const digits = NAME_PATTERN.exec(name)?.[1];
    if (digits !== undefined && name === chunkName(Number(digits))) firstIndexes.push(Number(digits));
  }
  return firstIndexes.sort((left, right) => left - right).map((firstIndex) => new Chunk(directory, firstIndex));
}

/** A damaged place in a file of the ledger. */
export function corrupt(file: string, offset: number, what: string, cause?: unknown): CocoError {
  return new CocoError("LedgerCorrupt", `${file} at byte ${offset}: ${what}`, { file, offset }, { cause });
}

/** Bytes of a chunk file that begin with the record of an index. */
export interface RecordBytes {
  readonly bytes: Bytes;
  readonly file: string;
  readonly fromIndex: number;
  /** Place of the bytes in the file. */
  readonly offset: number;
  /** Whether the checksums of these very bytes were verified before. */
  readonly checked?: boolean;
}

/**
 * Reads records whose place is known, as views on the bytes; throws `LedgerCorrupt` when the bytes are not those records any
 * more.
 */
export function* readRecords({ bytes, file, fromIndex, offset, checked = false }: RecordBytes): Generator<LogEntry> {
  for (let [at, index] = [0, fromIndex]; at < bytes.length; index++) {
    const header = readRecordHeader(bytes, at, offset);
    const data = header && (checked ? uncheckedData : recordData)(bytes, at, header);
    if (header === undefined || data === undefined || header.index !== index)
      throw corrupt(file, offset + at, "record has changed since the ledger was opened");
    yield { index, term: header.term, data };
    at = header.end;
  }
}

/**
 * The entries of the chunks from an index on, read one chunk at a time; to be consumed before anything is written. A chunk that
 * was kept is given free when its last entry was taken, or passed over.
 */
export function* entriesOf(chunks: readonly Chunk[], fromIndex: number, files: FileOperations): Generator<LogEntry> {
  for (const chunk of chunks) {
    const first = Math.max(fromIndex, chunk.firstIndex);
    if (first >= chunk.nextIndex) {
      chunk.kept = undefined;
      continue;
    }
    const offset = chunk.offsetOf(first);
    const checked = chunk.kept !== undefined;
    const bytes = chunk.kept?.subarray(offset, chunk.size) ?? readChunk(chunk, offset, files);
    yield* readRecords({ bytes, file: chunk.file, fromIndex: first, offset, checked });
    chunk.kept = undefined;
  }
}

function readChunk(chunk: Chunk, offset: number, files: FileOperations): Bytes {
  const length = chunk.size - offset;
  try {
    const bytes = files.readSync(chunk.file, offset, length);
    if (bytes.length === length) return bytes;
    throw corrupt(chunk.file, offset + bytes.length, "file ends too early");
  } catch (error) {
    if (error instanceof CocoError) throw error;
    throw corrupt(chunk.file, offset, "cannot be read", error);
  }
}
