/**
 * A record in the log of a page: key length u16 | value field u16 | version u48 | previous u16 | key | value. The value field
 * is the length of the value in the page, or says that the key is deleted, or that the value is large: then two bytes in the
 * place of the value say where it is beside the page. Previous is where the record is that this one replaced: it means
 * something as long as a version that is older than this record reads the page.
 */
import type { Bytes } from "../codec/bytes.ts";
import { readU16, SLOT_BYTES, writeU16 } from "./page-log.ts";

/** Longest value in bytes that lies in the page itself. */
export const INLINE_VALUE_BYTES = 1024;

/** Where the version is in a record. */
const VERSION_OFFSET = 4;
const PREVIOUS_OFFSET = VERSION_OFFSET + 6;
/** Where the key begins in a record. */
export const HEADER_BYTES = PREVIOUS_OFFSET + 2;
/** Bytes that say where a large value is. */
export const LARGE_INDEX_BYTES = 2;
/** Turned over, it gives unsigned numbers of 32 bits and signed ones the same order. */
const SIGN_BIT = 0x80000000;
/** Value field of a deletion. */
export const FIELD_DELETED = 0xffff;
/** Value field of a large value. */
export const FIELD_LARGE = 0xfffe;

/** Bytes a value takes in the page. */
export function bytesInPage(value: Bytes | undefined): number {
  return value === undefined ? 0 : value.length > INLINE_VALUE_BYTES ? LARGE_INDEX_BYTES : value.length;
}

/** Bytes a page needs for one more record, with its slot. */
export function recordBytes(key: Bytes, value: Bytes | undefined): number {
  return HEADER_BYTES + key.length + bytesInPage(value) + SLOT_BYTES;
}

/** The value field of a record with this value. */
export function fieldOf(value: Bytes | undefined): number {
  return value === undefined ? FIELD_DELETED : value.length > INLINE_VALUE_BYTES ? FIELD_LARGE : value.length;
}

/** What stands before the value of a record. */
interface RecordHead {
  readonly field: number;
  readonly version: number;
  readonly previous: number;
  readonly key: Bytes;
}

/** Writes a record without its value. */
export function writeHead(log: Uint8Array, offset: number, { field, version, previous, key }: RecordHead): void {
  writeU16(log, offset, key.length);
  writeU16(log, offset + 2, field);
  writeU16(log, offset + VERSION_OFFSET, Math.floor(version / 0x100000000));
  writeU16(log, offset + VERSION_OFFSET + 2, version >>> 16);
  writeU16(log, offset + VERSION_OFFSET + 4, version);
  writeU16(log, offset + PREVIOUS_OFFSET, previous);
  log.set(key, offset + HEADER_BYTES);
}

/** Version that wrote a record. */
export function versionOf(log: Uint8Array, offset: number): number {
  const at = offset + VERSION_OFFSET;
  return readU16(log, at) * 0x100000000 + readU16(log, at + 2) * 0x10000 + readU16(log, at + 4);
}

/** Where the record is that a record replaced. */
export function previousOf(log: Uint8Array, offset: number): number {
  return readU16(log, offset + PREVIOUS_OFFSET);
}

/** Bytes of a record. */
export function recordLength(log: Uint8Array, offset: number): number {
  const field = readU16(log, offset + 2);
  const inPage = field === FIELD_DELETED ? 0 : field === FIELD_LARGE ? LARGE_INDEX_BYTES : field;
  return HEADER_BYTES + readU16(log, offset) + inPage;
}

/** Compares the key of a record with another, which begins with the same `from` bytes. */
export function compareRecord(log: Uint8Array, offset: number, key: Bytes, from: number): number {
  const length = ((log[offset] as number) << 8) | (log[offset + 1] as number);
  const shared = length < key.length ? length : key.length;
  const start = offset + HEADER_BYTES;
  for (let at = from; at < shared; at++) {
    const difference = (log[start + at] as number) - (key[at] as number);
    if (difference !== 0) return difference;
  }
  return length - key.length;
}

/** Bytes, at most `limit`, that the key of a record, which is not shorter than that, and another begin with alike. */
export function sharedPrefix(log: Uint8Array, offset: number, key: Bytes, limit: number): number {
  const start = offset + HEADER_BYTES;
  const end = limit < key.length ? limit : key.length;
  let at = 0;
  while (at < end && log[start + at] === key[at]) at++;
  return at;
}

/** Two bytes of the key that lies in `bytes`, those behind its first `prefix`; zeros where it ends, which keeps the order. */
export function hintOf(bytes: Uint8Array, start: number, length: number, prefix: number): number {
  const at = start + prefix;
  const first = prefix < length ? (bytes[at] as number) << 8 : 0;
  return prefix + 1 < length ? first | (bytes[at + 1] as number) : first;
}

/**
 * Four bytes of the key that lies in `bytes`, those behind its first `prefix`, zeros where it ends, as a number between -2^31 and
 * 2^31 that keeps the order: an engine holds those as they are.
 */
export function wideHintOf(bytes: Uint8Array, start: number, length: number, prefix: number): number {
  const high = hintOf(bytes, start, length, prefix);
  return ((high << 16) | hintOf(bytes, start, length, prefix + 2)) ^ SIGN_BIT;
}
