/**
 * The bytes of chunk files: a header, then records. Every byte is under a checksum, so that damage has a place.
 *
 * Chunk header, 24 bytes: ASCII `coco ledger` ‖ format version u8 ‖ index of the first record u64 ‖ CRC-32 of these 20 bytes.
 * These 24 bytes keep their layout in every version, so that an older program knows a newer ledger.
 *
 * Record: length of the data u32 ‖ Raft index u64 ‖ Raft term u64 ‖ flags u8 (1: sparse) ‖ number of records before it in the
 * same write u24 ‖ CRC-32 of the data ‖ CRC-32 of these 28 bytes ‖ data (one sealed batch) ‖ fill. Big-endian. Fill is up to 11
 * bytes 0xff, so that no record has less than 12 bytes in a disk sector.
 *
 * The checksum of the header is its own, so that a record whose data is damaged still says where the next one starts. The
 * place in the write tells what a crash can have done: each write is made durable before the next one begins, so a record that
 * is damaged while one of a later write stands behind it was durable once and is no remainder of a crash. A disk sector of
 * zeros did not arrive, unless the data has zeros there: a record says whether it does. It is sparse when its data, as it
 * stands in the file, has a sector of zeros, or one with so few other bytes that little damage would make it zeros. Shorter
 * parts of a sector would often be like that, hence the fill.
 * The checksums are against accidents; who changes the ledger on purpose meets the batches' signatures.
 */
import { crc32 } from "node:zlib";
import { type Bytes, ByteReader, bytesEqual, ByteWriter, concatBytes, utf8Encode } from "../core/codec/bytes.ts";
import type { LogEntry } from "../core/consensus/types.ts";
import { MAX_BATCH_BYTES } from "../core/ledger/batch-format.ts";

/** Version of the format that this program reads and writes. */
export const LEDGER_FORMAT_VERSION = 3;
/** Bytes of a chunk before its first record. */
export const CHUNK_HEADER_LENGTH = 24;
/** Bytes of a record before its data. */
export const RECORD_HEADER_LENGTH = 32;

/** Smallest unit of a disk that arrives whole or not at all, in bytes. */
const SECTOR_BYTES = 512;
/**
 * Smallest part of a sector that a record may have, in bytes: length and index, with which a record begins, are never 0, so
 * that no change of one byte makes zeros of this much of it.
 */
const SECTOR_PART_BYTES = 12;
const FILL = 0xff;
/** A sector with fewer bytes that are not 0 is sparse. */
const SPARSE_BELOW = 4;
const SPARSE_FLAG = 1;
const POSITION_END = 2 ** 24;

const MAGIC = utf8Encode("coco ledger");
const CHECKED_CHUNK_HEADER = CHUNK_HEADER_LENGTH - 4;
const CHECKED_RECORD_HEADER = RECORD_HEADER_LENGTH - 4;

/** The header of a chunk that begins with the record of this index. */
export function chunkHeader(firstIndex: number): Bytes {
  const writer = new ByteWriter(CHUNK_HEADER_LENGTH).bytes(MAGIC).u8(LEDGER_FORMAT_VERSION).u64(firstIndex);
  const checked = writer.finish();
  return new ByteWriter(CHUNK_HEADER_LENGTH).bytes(checked).u32(crc32(checked)).finish();
}

/** What a chunk's first bytes say; undefined when they are no header. */
export function readChunkHeader(bytes: Bytes): { readonly version: number; readonly firstIndex: number } | undefined {
  if (bytes.length < CHUNK_HEADER_LENGTH) return undefined;
  const checked = bytes.subarray(0, CHECKED_CHUNK_HEADER);
  const reader = new ByteReader(bytes);
  if (!bytesEqual(reader.bytes(MAGIC.length), MAGIC)) return undefined;
  try {
    const [version, firstIndex] = [reader.u8(), reader.u64()];
    return reader.u32() === crc32(checked) ? { version, firstIndex } : undefined;
  } catch {
    return undefined;
  }
}

/** Whether fewer than so many bytes are not 0 in some sector of `bytes`, which begin at this byte of their file. */
function hasSectorBelow(bytes: Bytes, offset: number, filled: number): boolean {
  for (let start = 0; start < bytes.length; ) {
    const end = Math.min(bytes.length, start + SECTOR_BYTES - ((offset + start) % SECTOR_BYTES));
    if (!isFilled(bytes.subarray(start, end), filled)) return true;
    start = end;
  }
  return false;
}

function isFilled(part: Bytes, filled: number): boolean {
  let count = 0;
  return part.some((byte) => byte !== 0 && ++count >= filled);
}

/** Whether a disk sector of a file is zeros, from one byte on to the end of the sector that another one is the end of. */
export function hasZeroSector(file: Bytes, from: number, to: number): boolean {
  return hasSectorBelow(file.subarray(from, Math.ceil(to / SECTOR_BYTES) * SECTOR_BYTES), from, 1);
}

/** Where the record of an entry will stand: its byte in the file, and the number of records before it in the same write. */
export interface RecordPlace {
  readonly offset: number;
  readonly position: number;
}

/** Where the record that begins at a byte of its file ends: behind the data and what fill they need. */
export function recordEnd(offset: number, dataLength: number): number {
  const end = offset + RECORD_HEADER_LENGTH + dataLength;
  const inSector = end % SECTOR_BYTES;
  if (inSector > 0 && inSector < SECTOR_PART_BYTES) return end + SECTOR_PART_BYTES - inSector;
  return inSector > SECTOR_BYTES - SECTOR_PART_BYTES ? end + SECTOR_BYTES - inSector : end;
}

/** Whether data with its fill is sparse. Where much of the header shares a sector with it, that is no sector of zeros. */
function isSparse(content: Bytes, offset: number): boolean {
  const inSector = offset % SECTOR_BYTES;
  const from = inSector >= SECTOR_PART_BYTES ? SECTOR_BYTES - inSector : 0;
  return hasSectorBelow(content.subarray(from), offset + from, SPARSE_BELOW);
}

/** Appends the record of an entry. */
export function writeRecord(writer: ByteWriter, { index, term, data }: LogEntry, place: RecordPlace): void {
  const dataOffset = place.offset + RECORD_HEADER_LENGTH;
  const fill = recordEnd(place.offset, data.length) - dataOffset - data.length;
  const content = fill === 0 ? data : concatBytes(data, new Uint8Array(fill).fill(FILL));
  const flags = isSparse(content, dataOffset) ? SPARSE_FLAG : 0;
  const header = new ByteWriter(RECORD_HEADER_LENGTH).u32(data.length).u64(index).u64(term);
  const checked = header
    .u32(flags * POSITION_END + place.position)
    .u32(crc32(data))
    .finish();
  writer.bytes(checked).u32(crc32(checked)).bytes(content);
}

/** Header of a record. */
export interface RecordHeader {
  readonly length: number;
  readonly index: number;
  readonly term: number;
  /** Whether a sector of zeros in its data may be what was written. */
  readonly sparse: boolean;
  /** Number of records before it in the same write. */
  readonly position: number;
  readonly dataChecksum: number;
  /** End of the record among the bytes in which the header was found. */
  readonly end: number;
}

/** Whether length, index and term can be what they have to be: the first bytes of each are small numbers. */
function isPlausible(bytes: Bytes, offset: number): boolean {
  return (bytes[offset] as number) <= 1 && bytes[offset + 4] === 0 && bytes[offset + 12] === 0;
}

/**
 * The header of a record at `offset`; undefined when the bytes there are none.
 * @param base where in their file the bytes begin
 */
export function readRecordHeader(bytes: Bytes, offset: number, base = 0): RecordHeader | undefined {
  // Cheap checks first: the search for a header after damage tries every byte.
  if (offset + RECORD_HEADER_LENGTH > bytes.length || !isPlausible(bytes, offset)) return undefined;
  const header = bytes.subarray(offset, offset + RECORD_HEADER_LENGTH);
  const reader = new ByteReader(header);
  const length = reader.u32();
  if (length === 0 || length > MAX_BATCH_BYTES) return undefined;
  try {
    const [index, term, place, dataChecksum] = [reader.u64(), reader.u64(), reader.u32(), reader.u32()];
    if (reader.u32() !== crc32(header.subarray(0, CHECKED_RECORD_HEADER))) return undefined;
    const flags = Math.floor(place / POSITION_END);
    if (flags > SPARSE_FLAG) return undefined;
    const end = recordEnd(base + offset, length) - base;
    return { length, index, term, sparse: flags === SPARSE_FLAG, position: place % POSITION_END, dataChecksum, end };
  } catch {
    return undefined;
  }
}

/** The data of a record whose header stands at `offset`; undefined when it is incomplete, or not what was written. */
export function recordData(bytes: Bytes, offset: number, header: RecordHeader): Bytes | undefined {
  const data = uncheckedData(bytes, offset, header);
  if (data === undefined || crc32(data) !== header.dataChecksum) return undefined;
  const fill = bytes.subarray(offset + RECORD_HEADER_LENGTH + header.length, header.end);
  return fill.every((byte) => byte === FILL) ? data : undefined;
}

/** As {@link recordData}, where these very bytes were verified before. */
export function uncheckedData(bytes: Bytes, offset: number, { length, end }: RecordHeader): Bytes | undefined {
  const start = offset + RECORD_HEADER_LENGTH;
  return end > bytes.length ? undefined : bytes.subarray(start, start + length);
}
