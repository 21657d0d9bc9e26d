/**
 * Write sets: what one transaction wrote, final values only, as it stands in the ledger. The version is that of the
 * ledger batch and not repeated here. Layout, integers big-endian: count u32, then per write
 *   table u16 | key length u16 | key | flag u8 (1 put, 0 delete) | put only: value length u32 | value
 * The one encoding of a set is sorted strictly ascending by table, then key; the empty set is the empty byte string.
 */
import { CocoError, invariant } from "../../errors.ts";
import { ByteReader, compareBytes, EMPTY, type Bytes } from "../codec/bytes.ts";
import { checkKeyLength, checkValueLength, MAX_TABLE_ID, MAX_VALUE_BYTES } from "./types.ts";

/** Largest encoded write set in bytes: bounds what one transaction may write. */
export const MAX_WRITE_SET_BYTES = 256 * 1024 * 1024;

const COUNT_BYTES = 4;
const DELETE_OVERHEAD_BYTES = 5;
const PUT_OVERHEAD_BYTES = 9;
const FLAG_DELETE = 0;
const FLAG_PUT = 1;

/** One write: the new value of a key, or `undefined` when the key was deleted. */
export interface Write {
  readonly table: number;
  readonly key: Bytes;
  readonly value: Bytes | undefined;
}

/** Bytes one write takes in an encoded set. */
export function encodedWriteBytes(key: Bytes, value: Bytes | undefined): number {
  return value === undefined ? DELETE_OVERHEAD_BYTES + key.length : PUT_OVERHEAD_BYTES + key.length + value.length;
}

function precedes(left: Write, right: Write): boolean {
  return left.table < right.table || (left.table === right.table && compareBytes(left.key, right.key) < 0);
}

/** Writes one write at a position and returns the position behind it. */
function encodeWrite(bytes: Uint8Array, start: number, { table, key, value }: Write): number {
  bytes[start] = table >>> 8;
  bytes[start + 1] = table;
  bytes[start + 2] = key.length >>> 8;
  bytes[start + 3] = key.length;
  bytes.set(key, start + 4);
  let at = start + 4 + key.length;
  bytes[at++] = value === undefined ? FLAG_DELETE : FLAG_PUT;
  if (value === undefined) return at;
  setU32(bytes, at, value.length);
  bytes.set(value, at + 4);
  return at + 4 + value.length;
}

function setU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/**
 * Encodes writes that are sorted strictly ascending by table, then key. Anything else is a broken invariant; lengths out
 * of bounds are `MalformedInput` or `LimitExceeded`. The byte string is one of its own unless `room` gives others.
 */
export function encodeWriteSet(
  writes: readonly Write[],
  room: (length: number) => Uint8Array = (bytes) => new Uint8Array(bytes),
): Bytes {
  if (writes.length === 0) return EMPTY;
  let length = COUNT_BYTES;
  let previous: Write | undefined;
  for (const write of writes) {
    invariant(
      Number.isInteger(write.table) && write.table >= 0 && write.table <= MAX_TABLE_ID,
      "table id out of range",
    );
    invariant(previous === undefined || precedes(previous, write), "writes are not in order");
    checkKeyLength(write.key.length);
    checkValueLength(write.value?.length ?? 0);
    length += encodedWriteBytes(write.key, write.value);
    previous = write;
  }
  if (length > MAX_WRITE_SET_BYTES)
    throw new CocoError("LimitExceeded", `write set of ${length} bytes, ${MAX_WRITE_SET_BYTES} allowed`);
  const bytes = room(length);
  setU32(bytes, 0, writes.length);
  let at = COUNT_BYTES;
  for (const write of writes) at = encodeWrite(bytes, at, write);
  return bytes;
}

function decodeWrite(reader: ByteReader): Write {
  const table = reader.u16();
  const keyLength = reader.u16();
  checkKeyLength(keyLength);
  const key = reader.bytes(keyLength);
  const flag = reader.u8();
  if (flag === FLAG_DELETE) return { table, key, value: undefined };
  if (flag !== FLAG_PUT) throw new CocoError("MalformedInput", `unknown flag ${flag} in a write set`);
  return { table, key, value: reader.bytes32(MAX_VALUE_BYTES) };
}

/**
 * Decodes a write set whole or throws `MalformedInput` (`LimitExceeded` for a set, key or value that is too long).
 * Keys and values are views on the input. Whether a table exists is not known here.
 */
export function decodeWriteSet(encoded: Bytes): Write[] {
  if (encoded.length === 0) return [];
  if (encoded.length > MAX_WRITE_SET_BYTES) {
    throw new CocoError("LimitExceeded", `write set of ${encoded.length} bytes, ${MAX_WRITE_SET_BYTES} allowed`);
  }
  const reader = new ByteReader(encoded);
  const count = reader.u32();
  if (count === 0) throw new CocoError("MalformedInput", "an empty write set has no count");
  // Most sets have one write, and an array that grows makes room for many.
  let previous = decodeWrite(reader);
  const writes = [previous];
  for (let left = count - 1; left > 0; left--) {
    const write = decodeWrite(reader);
    if (!precedes(previous, write)) throw new CocoError("MalformedInput", "write set is not in order");
    writes.push(write);
    previous = write;
  }
  reader.end();
  return writes;
}
