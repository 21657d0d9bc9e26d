/**
 * The bytes of chunk files: a header, then records. Every byte is under a checksum, so that damage has a place.
 *
 * Chunk header, 24 bytes: ASCII `coco ledger` ‖ format version u8 ‖ index of the first record u64 ‖ CRC-32 of these 20 bytes.
 * These 24 bytes keep their layout in every version, so that an older program knows a newer ledger.
 *
 * Record: length of the data u32 ‖ Raft index u64 ‖ Raft term u64 ‖ number of records before it in the same write u32 ‖
 * CRC-32 of the data ‖ CRC-32 of these 28 bytes ‖ data (one sealed batch). Big-endian.
 *
 * The checksum of the header is its own, so that a record whose data is damaged still says where the next one starts. The
 * place in the write tells what a crash can have done: each write is made durable before the next one begins, so a record that
 * is damaged while one of a later write stands behind it was durable once and is no remainder of a crash.
 * The checksums are against accidents; who changes the ledger on purpose meets the batches' signatures.
 */
import { crc32 } from "node:zlib";
import { type Bytes, ByteReader, bytesEqual, ByteWriter, utf8Encode } from "../core/codec/bytes.ts";
import type { LogEntry } from "../core/consensus/types.ts";
import { MAX_BATCH_BYTES } from "../core/ledger/batch-format.ts";

/** Version of the format that this program reads and writes. */
export const LEDGER_FORMAT_VERSION = 2;
/** Bytes of a chunk before its first record. */
export const CHUNK_HEADER_LENGTH = 24;
/** Bytes of a record before its data. */
export const RECORD_HEADER_LENGTH = 32;

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

/** Appends the record of an entry; `position` is the number of records before it in the same write. */
export function writeRecord(writer: ByteWriter, { index, term, data }: LogEntry, position: number): void {
  const header = new ByteWriter(RECORD_HEADER_LENGTH).u32(data.length).u64(index).u64(term).u32(position);
  const checked = header.u32(crc32(data)).finish();
  writer.bytes(checked).u32(crc32(checked)).bytes(data);
}

/** Header of a record. */
export interface RecordHeader {
  readonly length: number;
  readonly index: number;
  readonly term: number;
  /** Number of records before it in the same write. */
  readonly position: number;
  readonly dataChecksum: number;
}

/** Whether length, index and term can be what they have to be: the first bytes of each are small numbers. */
function isPlausible(bytes: Bytes, offset: number): boolean {
  return (bytes[offset] as number) <= 1 && bytes[offset + 4] === 0 && bytes[offset + 12] === 0;
}

/** The header of a record at `offset`; undefined when the bytes there are none. */
export function readRecordHeader(bytes: Bytes, offset: number): RecordHeader | undefined {
  // Cheap checks first: the search for a header after damage tries every byte.
  if (offset + RECORD_HEADER_LENGTH > bytes.length || !isPlausible(bytes, offset)) return undefined;
  const header = bytes.subarray(offset, offset + RECORD_HEADER_LENGTH);
  const reader = new ByteReader(header);
  const length = reader.u32();
  if (length === 0 || length > MAX_BATCH_BYTES) return undefined;
  try {
    const fields = { length, index: reader.u64(), term: reader.u64(), position: reader.u32() };
    const dataChecksum = reader.u32();
    if (reader.u32() !== crc32(header.subarray(0, CHECKED_RECORD_HEADER))) return undefined;
    return { ...fields, dataChecksum };
  } catch {
    return undefined;
  }
}

/** The data of a record whose header stands at `offset`; undefined when it is incomplete or its checksum does not fit. */
export function recordData(bytes: Bytes, offset: number, header: RecordHeader): Bytes | undefined {
  const data = uncheckedData(bytes, offset, header);
  return data !== undefined && crc32(data) === header.dataChecksum ? data : undefined;
}

/** As {@link recordData}, where the checksum of these very bytes was verified before. */
export function uncheckedData(bytes: Bytes, offset: number, header: RecordHeader): Bytes | undefined {
  const start = offset + RECORD_HEADER_LENGTH;
  return start + header.length > bytes.length ? undefined : bytes.subarray(start, start + header.length);
}
