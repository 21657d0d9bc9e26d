/**
 * Write sets: what one transaction wrote, final values only, as it stands in the ledger. The version is that of the
 * ledger batch and not repeated here. Layout, integers big-endian: count u32, then per write
 *   table u16 | key length u16 | key | flag u8 (1 put, 0 delete) | put only: value length u32 | value
 * The one encoding of a set is sorted strictly ascending by table, then key; the empty set is the empty byte string.
 */
import { CocoError, invariant } from "../../errors.ts";
import { ByteReader, compareBytes, EMPTY, type Bytes } from "../codec/bytes.ts";
import type { TableSet } from "./tables.ts";
import { checkKeyLength, checkValueLength, MAX_TABLE_ID, type WrittenKey } from "./types.ts";

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

/**
 * Goes through an encoded write set, write by write, without an object for each. Strict: throws `MalformedInput`, and
 * `LimitExceeded` for a set, key or value that is too long, at the write where it meets what is wrong; so a set holds when it was
 * gone through to its end. Whether a table exists is not known here.
 */
export class WriteSetReader {
  /** Table of the present write. */
  table = -1;
  readonly #encoded: Bytes;
  readonly #reader: ByteReader;
  #left: number;
  #keyAt = 0;
  #keyLength = 0;
  #valueAt = 0;
  /** Less than zero for a deletion. */
  #valueLength = -1;

  constructor(encoded: Bytes) {
    if (encoded.length > MAX_WRITE_SET_BYTES) {
      throw new CocoError("LimitExceeded", `write set of ${encoded.length} bytes, ${MAX_WRITE_SET_BYTES} allowed`);
    }
    this.#encoded = encoded;
    this.#reader = new ByteReader(encoded);
    this.#left = encoded.length === 0 ? 0 : this.#reader.u32();
    if (this.#left === 0 && encoded.length > 0)
      throw new CocoError("MalformedInput", "an empty write set has no count");
  }

  /** Key of the present write, as a view. */
  get key(): Bytes {
    return this.#encoded.subarray(this.#keyAt, this.#keyAt + this.#keyLength);
  }

  /** Value of the present write, as a view; undefined for a deletion. */
  get value(): Bytes | undefined {
    if (this.#valueLength < 0) return undefined;
    return this.#encoded.subarray(this.#valueAt, this.#valueAt + this.#valueLength);
  }

  /** Goes to the next write; false behind the last. */
  next(): boolean {
    const reader = this.#reader;
    if (this.#left === 0) {
      reader.end();
      return false;
    }
    this.#left--;
    const { table } = this;
    const keyAt = this.#keyAt;
    const keyLength = this.#keyLength;
    this.table = reader.u16();
    this.#keyLength = reader.u16();
    checkKeyLength(this.#keyLength);
    this.#keyAt = reader.skip(this.#keyLength);
    const inOrder = table < this.table || (table === this.table && this.#isBehind(keyAt, keyLength));
    if (!inOrder) throw new CocoError("MalformedInput", "write set is not in order");
    this.#readValue();
    return true;
  }

  #readValue(): void {
    const reader = this.#reader;
    const flag = reader.u8();
    if (flag > FLAG_PUT) throw new CocoError("MalformedInput", `unknown flag ${flag} in a write set`);
    this.#valueLength = -1;
    if (flag === FLAG_DELETE) return;
    const length = reader.u32();
    checkValueLength(length);
    this.#valueAt = reader.skip(length);
    this.#valueLength = length;
  }

  /** Whether the present key is greater than another. */
  #isBehind(keyAt: number, keyLength: number): boolean {
    const bytes = this.#encoded;
    const shared = Math.min(keyLength, this.#keyLength);
    for (let at = 0; at < shared; at++) {
      const difference = (bytes[this.#keyAt + at] as number) - (bytes[keyAt + at] as number);
      if (difference !== 0) return difference > 0;
    }
    return this.#keyLength > keyLength;
  }
}

/**
 * Goes through one part of a transaction; throws what {@link WriteSetReader} throws, and `MalformedInput` for a table that is unknown
 * or belongs to the other part. @param tables undefined: they are not known yet, and any will do
 */
export function checkWriteSet(encoded: Bytes, tables: TableSet | undefined, isPublicPart: boolean): void {
  if (encoded.length === 0) return;
  let table = -1;
  for (const reader = new WriteSetReader(encoded); reader.next(); ) {
    if (reader.table !== table) tables?.partPosition(reader.table, isPublicPart);
    table = reader.table;
  }
}

/** Decodes a write set whole, or throws what {@link WriteSetReader} throws. Keys and values are views on the input. */
export function decodeWriteSet(encoded: Bytes): Write[] {
  const writes: Write[] = [];
  for (const reader = new WriteSetReader(encoded); reader.next(); )
    writes.push({ table: reader.table, key: reader.key, value: reader.value });
  return writes;
}

/** The keys that parts of transactions write, found in the parts, which hold, whenever they are asked for: seldom they are. */
export class WrittenParts implements Iterable<WrittenKey> {
  readonly #parts: readonly Bytes[];

  constructor(parts: readonly Bytes[]) {
    this.#parts = parts;
  }

  *[Symbol.iterator](): Iterator<WrittenKey> {
    for (const part of this.#parts)
      for (const reader = new WriteSetReader(part); reader.next(); ) yield { table: reader.table, key: reader.key };
  }
}
