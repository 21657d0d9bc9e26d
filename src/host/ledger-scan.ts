/**
 * Reads all chunks of a folder and finds what does not fit; changes nothing.
 *
 * A crash can leave a remainder at the very end: a write that was not made durable, of which any parts have arrived. It is
 * told from damage by three signs: it is in the last chunk, no record of a later write stands behind it (then it was durable
 * once), and either the file ends within the record or a disk sector of it is zeros that cannot be zeros in a whole record
 * (the file system had grown the file before the data arrived). Everything else that does not fit is damage, also where it
 * might be either (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018: taking damage for a
 * remainder loses what was acknowledged).
 */
import * as path from "node:path";
import type { Bytes } from "../core/codec/bytes.ts";
import { CocoError, invariant } from "../errors.ts";
import type { FileOperations } from "./file-operations.ts";
import { type Chunk, chunkName, corrupt, listChunks, MAX_CHUNK_BYTES } from "./ledger-chunks.ts";
import { type LostEntries, tooNew } from "./ledger-layout.ts";
import {
  CHUNK_HEADER_LENGTH,
  hasZeroSector,
  LEDGER_FORMAT_VERSION,
  readChunkHeader,
  readRecordHeader,
  RECORD_HEADER_LENGTH,
  recordData,
} from "./ledger-record.ts";

/** Piece by which a file is read that cannot be read whole, in bytes. */
const PIECE_BYTES = 4096;
/** The end of the ledger that stays in memory while it is opened, in bytes: what consensus keeps of it anyway. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;

/** A place where the ledger does not fit, and why. */
export interface LedgerPlace {
  readonly file: string;
  readonly offset: number;
  readonly reason: string;
}

/** A remainder of a crash at the end of the ledger. */
export interface TornTail extends LedgerPlace {
  readonly removedBytes: number;
}

/** Entries that cannot be read, and where they begin. */
export interface LedgerDamage extends LostEntries, LedgerPlace {}

/** A chunk that is not there: it was taken away and can be brought back, so nothing is repaired. */
export interface LedgerGap extends LedgerPlace {
  /** The first entry that is missing. */
  readonly index: number;
}

/** What is in the chunks of a folder. */
export interface ScannedLedger {
  /** The chunks as far as they can be read, in order. */
  readonly chunks: readonly Chunk[];
  /** Index of the entry that would come next. */
  readonly nextIndex: number;
  /** Term of the last entry that can be read; 0 when there is none. */
  readonly lastTerm: number;
  readonly torn: TornTail | undefined;
  readonly damage: LedgerDamage | undefined;
  /** A missing chunk; chunks behind it are not looked at. */
  readonly gap: LedgerGap | undefined;
}

/** What a scan goes by. */
export interface ScanOptions {
  readonly directory: string;
  readonly files: FileOperations;
  /** Index with which the ledger begins. */
  readonly firstIndex: number;
  /** First index of the chunk that has to be there; 0 when none has to. */
  readonly newestChunk: number;
  /** Term of the hard state: no entry is newer. */
  readonly term: number;
}

interface ReadFile {
  readonly bytes: Bytes;
  /** Whether parts could not be read; they are zeros in `bytes`. */
  readonly holes: boolean;
}

/** A whole chunk file; parts that the disk cannot read are zeros. Errors other than EIO pass through. */
async function readChunkFile(file: string, files: FileOperations): Promise<ReadFile> {
  const size = await files.size(file);
  if (size > MAX_CHUNK_BYTES) throw corrupt(file, MAX_CHUNK_BYTES, "chunk is too large");
  const descriptor = await files.open(file, "r");
  try {
    return { bytes: await files.read(descriptor, 0, size), holes: false };
  } catch (error) {
    if (!isReadError(error)) throw error;
    return { bytes: await readPieces(descriptor, size, files), holes: true };
  } finally {
    await files.close(descriptor);
  }
}

/** Begins to read a chunk while the one before it is looked at; an error comes when the chunk is asked for. */
function readAhead(chunk: Chunk | undefined, files: FileOperations): () => Promise<ReadFile> {
  const reading = chunk === undefined ? undefined : readChunkFile(chunk.file, files);
  reading?.catch(() => undefined);
  return async () => {
    invariant(reading, "no chunk to be read");
    return reading;
  };
}

function isReadError(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EIO";
}

async function readPieces(descriptor: number, size: number, files: FileOperations): Promise<Bytes> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += PIECE_BYTES) {
    try {
      bytes.set(await files.read(descriptor, at, Math.min(PIECE_BYTES, size - at)), at);
    } catch (error) {
      if (!isReadError(error)) throw error;
    }
  }
  return bytes;
}

/**
 * Whether the record at `offset` can be what a crash left of a write: the file ends before it does, or a sector of it did not
 * arrive. Without its header nothing is known of its data: then a sector of the header itself has to be missing.
 */
function isUnfinished(bytes: Bytes, offset: number): boolean {
  // The header of a chunk comes together with its first record.
  const headerEnd = offset + RECORD_HEADER_LENGTH;
  if (bytes.length < headerEnd) return true;
  const header = offset === 0 ? undefined : readRecordHeader(bytes, offset);
  if (header === undefined) return hasZeroSector(bytes, offset, headerEnd);
  return header.end > bytes.length || (!header.sparse && hasZeroSector(bytes, offset, header.end));
}

/** What stands behind a place that does not fit. */
interface Survey {
  /** The last record that is still known by its header, and its term; 0 when there is none. */
  lastIndex: number;
  lastTerm: number;
  /** Everything before this index was durable when some record behind the place was written. */
  durableBefore: number;
  /** Whether bytes are left behind the last known record. */
  remainder: boolean;
}

function survey(bytes: Bytes, from: number, minIndex: number, term: number): Survey {
  const found: Survey = { lastIndex: 0, lastTerm: 0, durableBefore: 0, remainder: from < bytes.length };
  // A row of bytes within a batch can look like a header; it cannot make believe more records than there is room for.
  const maxIndex = minIndex + Math.floor(bytes.length / RECORD_HEADER_LENGTH);
  for (let at = from; at + RECORD_HEADER_LENGTH <= bytes.length; ) {
    const header = readRecordHeader(bytes, at);
    if (
      header === undefined ||
      header.end > bytes.length ||
      header.index < Math.max(minIndex, found.lastIndex + 1) ||
      header.index > maxIndex ||
      header.term > term
    ) {
      at++;
      continue;
    }
    found.lastIndex = header.index;
    found.lastTerm = Math.max(found.lastTerm, header.term);
    found.durableBefore = Math.max(found.durableBefore, header.index - header.position);
    found.remainder = header.end < bytes.length;
    at = header.end;
  }
  return found;
}

/** One pass over the chunks of a folder. */
class Scan {
  readonly #options: ScanOptions;
  readonly #chunks: Chunk[] = [];
  #nextIndex: number;
  #keptBytes = 0;
  #lastTerm = 0;
  #anyHeader = false;
  #torn: TornTail | undefined;
  #damage: LedgerDamage | undefined;

  constructor(options: ScanOptions) {
    this.#options = options;
    this.#nextIndex = options.firstIndex;
  }

  async run(chunks: readonly Chunk[]): Promise<ScannedLedger> {
    const { files } = this.#options;
    let gap: LedgerGap | undefined;
    let ahead = readAhead(chunks[0], files);
    for (const [position, chunk] of chunks.entries()) {
      if (this.#damage === undefined) gap = this.#gapBefore(chunk);
      if (gap !== undefined) break;
      const read = await ahead();
      ahead = readAhead(chunks[position + 1], files);
      if (this.#damage === undefined) this.#scan(chunk, read, position === chunks.length - 1);
      else {
        this.#anyHeader ||= readChunkHeader(read.bytes) !== undefined;
        const behind = survey(read.bytes, 0, chunk.firstIndex, this.#term);
        this.#extend(this.#damage, behind, position === chunks.length - 1);
      }
    }
    // Not one chunk that begins like one: this is no damage, but no ledger of this program.
    if (this.#damage !== undefined && !this.#anyHeader)
      throw corrupt(this.#damage.file, 0, "not a chunk of a ledger in a format that this program knows");
    return {
      chunks: this.#chunks,
      nextIndex: this.#nextIndex,
      lastTerm: this.#lastTerm,
      torn: this.#torn,
      damage: this.#damage,
      gap: gap ?? this.#newestGap(chunks),
    };
  }

  get #term(): number {
    return this.#options.term === 0 ? Number.MAX_SAFE_INTEGER : this.#options.term;
  }

  #gapBefore({ file, firstIndex }: Chunk): LedgerGap | undefined {
    const index = this.#nextIndex;
    if (firstIndex === index) return undefined;
    const what = firstIndex > index ? "the chunk before it is missing" : "it overlaps the chunk before it";
    return { file, offset: 0, index, reason: `${what}: the ledger has to go on with index ${index}` };
  }

  /** What was written behind the last chunk that is there cannot be told from what was never written, but for its name. */
  #newestGap(chunks: readonly Chunk[]): LedgerGap | undefined {
    const { directory, newestChunk } = this.#options;
    if (newestChunk === 0 || chunks.some(({ firstIndex }) => firstIndex === newestChunk)) return undefined;
    const reason = `the newest chunk is missing: entries from ${newestChunk} on stood there`;
    return { file: path.join(directory, chunkName(newestChunk)), offset: 0, index: this.#nextIndex, reason };
  }

  #scan(chunk: Chunk, { bytes, holes }: ReadFile, isLast: boolean): void {
    const problem = this.#readRecords(chunk, bytes);
    if (chunk.count > 0) {
      this.#chunks.push(chunk);
      this.#keep(chunk, bytes);
    }
    this.#nextIndex = chunk.nextIndex;
    if (problem === undefined) return;
    const behind = survey(bytes, problem.offset, this.#nextIndex, this.#term);
    const { file } = chunk;
    const removedBytes = bytes.length - problem.offset;
    const unfinished = isUnfinished(bytes, problem.offset);
    if (isLast && !holes && unfinished && behind.durableBefore <= this.#nextIndex)
      this.#torn = { file, removedBytes, ...problem };
    else {
      const index = this.#nextIndex;
      this.#extend({ file, ...problem, index, lastIndex: index - 1, lastTerm: this.#lastTerm }, behind, isLast);
    }
  }

  /** Keeps the newest chunks. */
  #keep(chunk: Chunk, bytes: Bytes): void {
    chunk.kept = bytes;
    this.#keptBytes += bytes.length;
    for (const oldest of this.#chunks) {
      if (this.#keptBytes <= KEPT_BYTES_MAX) return;
      this.#keptBytes -= oldest.kept?.length ?? 0;
      oldest.kept = undefined;
    }
  }

  /** Reads the records of a chunk into it, up to the first that does not fit. */
  #readRecords(chunk: Chunk, bytes: Bytes): { readonly offset: number; readonly reason: string } | undefined {
    const start = readChunkHeader(bytes);
    if (start === undefined) return { offset: 0, reason: "the chunk has no header" };
    if (start.version > LEDGER_FORMAT_VERSION) throw tooNew(chunk.file, start.version);
    this.#anyHeader = true;
    if (start.version < LEDGER_FORMAT_VERSION)
      throw corrupt(chunk.file, 0, `format version ${start.version} is not read any more`);
    if (start.firstIndex !== chunk.firstIndex) return { offset: 0, reason: "the chunk's header does not fit its name" };
    let offset = CHUNK_HEADER_LENGTH;
    while (offset < bytes.length) {
      const header = readRecordHeader(bytes, offset);
      if (header === undefined) return { offset, reason: "not a record" };
      if (header.index !== chunk.nextIndex)
        return { offset, reason: `record has index ${header.index}, expected ${chunk.nextIndex}` };
      if (header.term < this.#lastTerm)
        return { offset, reason: `record has term ${header.term} after term ${this.#lastTerm}` };
      if (recordData(bytes, offset, header) === undefined)
        return { offset, reason: "the record's data is damaged or incomplete" };
      chunk.add(header.length);
      this.#lastTerm = header.term;
      offset = header.end;
    }
    if (chunk.count === 0) return { offset: 0, reason: "the chunk has no record" };
    return undefined;
  }

  /** Adds what is known of the entries behind the damage. */
  #extend(damage: LedgerDamage, behind: Survey, isLast: boolean): void {
    let lastIndex = Math.max(damage.lastIndex, behind.lastIndex);
    let lastTerm = Math.max(damage.lastTerm, behind.lastTerm);
    // Something stood there whose header cannot be read: at least one entry, of a term that was known by then.
    if (isLast && behind.remainder) [lastIndex, lastTerm] = [lastIndex + 1, Math.max(lastTerm, this.#options.term)];
    this.#damage = { ...damage, lastIndex: Math.max(lastIndex, damage.index), lastTerm };
  }
}

/**
 * Reads all chunks of a folder, up to one that is missing. Changes nothing on disk. Throws `LedgerCorrupt` naming the file when
 * nothing can be told of the ledger at all, `LedgerTooNew` for a later format version.
 */
export async function scanLedger(options: ScanOptions): Promise<ScannedLedger> {
  return new Scan(options).run(await listChunks(options.directory, options.files));
}

/** A scan in which the entries from an index on are taken as damaged: somebody found out that they do not hold. */
export function damagedFrom(scan: ScannedLedger, index: number): ScannedLedger {
  const chunk = scan.chunks.findLast(({ firstIndex }) => firstIndex <= index);
  if (scan.chunks.length === 0 && index === scan.nextIndex) return withoutSnapshot(scan, index);
  if (chunk === undefined || index >= scan.nextIndex)
    throw new CocoError("Internal", `no entry ${index} in the ledger to be damaged`);
  const damage: LedgerDamage = {
    file: chunk.file,
    offset: chunk.offsetOf(index),
    reason: "the batch does not hold",
    index,
    lastIndex: scan.damage?.lastIndex ?? scan.nextIndex - 1,
    lastTerm: scan.damage?.lastTerm ?? scan.lastTerm,
  };
  const chunks = scan.chunks.filter(({ firstIndex }) => firstIndex < index);
  if (chunk.firstIndex < index) chunk.truncate(index);
  return { ...scan, chunks, nextIndex: index, torn: undefined, damage };
}

/** A ledger of which there was nothing but the snapshot before its first entry, which cannot be read. */
function withoutSnapshot(scan: ScannedLedger, index: number): ScannedLedger {
  const reason = `the snapshot before entry ${index} cannot be read`;
  const last = { lastIndex: scan.damage?.lastIndex ?? index - 1, lastTerm: scan.damage?.lastTerm ?? scan.lastTerm };
  return { ...scan, torn: undefined, damage: { file: "", offset: 0, reason, index, ...last } };
}
