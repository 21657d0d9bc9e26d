/**
 * Recursive Length Prefix (Ethereum Yellow Paper, appendix B), strict: there is exactly one encoding of every item and
 * only that one is read. Depth and size are bounded, so decoding hostile bytes takes time linear in their number.
 * Decoded byte strings are views on the input. Errors are `MalformedInput` (or `LimitExceeded`) in go-ethereum's words.
 */
import { type Bytes, EMPTY } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";

/** Deepest nesting of lists that is read or written; protocol objects need at most five. */
export const RLP_DEPTH_MAX = 16;

/** Largest input that is decoded, in bytes, unless the caller sets a smaller bound. */
export const RLP_BYTES_MAX = 32 * 1024 * 1024;

/** A byte string or a list of items. */
export type RlpItem = Bytes | readonly RlpItem[];

/** Throws `MalformedInput` with go-ethereum's prefix. */
export function rlpError(message: string): never {
  throw new CocoError("MalformedInput", `rlp: ${message}`);
}

function lengthOfLength(length: number): number {
  return length < 56 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4;
}

/** Bytes of the encoding of a byte string or list whose content takes `length` bytes (not for single bytes below 0x80). */
export function rlpLength(length: number): number {
  return 1 + lengthOfLength(length) + length;
}

function isList(item: RlpItem): item is readonly RlpItem[] {
  return Array.isArray(item);
}

/** Bytes the encoding of `item` takes. */
export function rlpSize(item: RlpItem, depth = 0): number {
  if (!isList(item)) return item.length === 1 && (item[0] as number) < 0x80 ? 1 : rlpLength(item.length);
  if (depth >= RLP_DEPTH_MAX) rlpError("nested too deeply");
  let length = 0;
  for (const child of item) length += rlpSize(child, depth + 1);
  return rlpLength(length);
}

/** Writes the header of a string (`base` 0x80) or list (0xc0) so that it ends at `end`; returns where it starts. */
function writeHeaderBackwards(target: Uint8Array, end: number, base: number, length: number): number {
  const extra = lengthOfLength(length);
  let at = end;
  if (extra === 0) target[--at] = base + length;
  else {
    for (let rest = length, count = 0; count < extra; count++, rest >>>= 8) target[--at] = rest & 0xff;
    target[--at] = base + 55 + extra;
  }
  return at;
}

/** Writes back to front: the length of a list is then known when its header is written. */
function writeBackwards(target: Uint8Array, end: number, item: RlpItem): number {
  if (!isList(item)) {
    if (item.length === 1 && (item[0] as number) < 0x80) {
      target[end - 1] = item[0] as number;
      return end - 1;
    }
    target.set(item, end - item.length);
    return writeHeaderBackwards(target, end - item.length, 0x80, item.length);
  }
  let at = end;
  for (let index = item.length - 1; index >= 0; index--) at = writeBackwards(target, at, item[index] as RlpItem);
  return writeHeaderBackwards(target, at, 0xc0, end - at);
}

/** The encoding of an item, after `prefix` (the type byte of EIP-2718, say). */
export function rlpEncode(item: RlpItem, prefix: Bytes = EMPTY): Bytes {
  const target = new Uint8Array(prefix.length + rlpSize(item));
  writeBackwards(target, target.length, item);
  target.set(prefix);
  return target;
}

/** A list whose `payload` is already encoded: header, the payload, and what follows it in the list. */
export function rlpEncodeList(payload: Bytes, following: Bytes = EMPTY, prefix: Bytes = EMPTY): Bytes {
  const length = payload.length + following.length;
  const target = new Uint8Array(prefix.length + rlpLength(length));
  target.set(following, target.length - following.length);
  target.set(payload, target.length - length);
  writeHeaderBackwards(target, target.length - length, 0xc0, length);
  target.set(prefix);
  return target;
}

/** One pass over the input; `at` is the next byte. */
class RlpReader {
  readonly #bytes: Bytes;
  at = 0;

  constructor(bytes: Bytes) {
    this.#bytes = bytes;
  }

  /** Reads a length of `count` bytes that must be minimal and above 55. */
  #longLength(count: number, end: number): number {
    if (count > 4 || this.at + count > end) rlpError("value size exceeds available input length");
    let length = 0;
    for (let index = 0; index < count; index++) length = length * 256 + (this.#bytes[this.at + index] as number);
    if (length < 56 || this.#bytes[this.at] === 0) rlpError("non-canonical size information");
    this.at += count;
    return length;
  }

  /** Checks that `length` bytes follow before `end`. */
  #fits(length: number, end: number, depth: number): void {
    if (length <= end - this.at) return;
    rlpError(depth === 0 ? "value size exceeds available input length" : "element is larger than containing list");
  }

  item(end: number, depth: number): RlpItem {
    const lead = this.#bytes[this.at++] as number;
    if (lead < 0x80) return this.#bytes.subarray(this.at - 1, this.at);
    if (lead >= 0xc0) return this.#list(lead, end, depth);
    const length = lead <= 0xb7 ? lead - 0x80 : this.#longLength(lead - 0xb7, end);
    this.#fits(length, end, depth);
    if (length === 1 && (this.#bytes[this.at] as number) < 0x80) rlpError("non-canonical size information");
    this.at += length;
    return length === 0 ? EMPTY : this.#bytes.subarray(this.at - length, this.at);
  }

  #list(lead: number, end: number, depth: number): readonly RlpItem[] {
    const length = lead <= 0xf7 ? lead - 0xc0 : this.#longLength(lead - 0xf7, end);
    this.#fits(length, end, depth);
    if (depth >= RLP_DEPTH_MAX) rlpError("nested too deeply");
    const items: RlpItem[] = [];
    for (const listEnd = this.at + length; this.at < listEnd; ) items.push(this.item(listEnd, depth + 1));
    return items;
  }
}

/** The one item `bytes` encodes. Refuses other than the shortest form, bytes after the item, and input above `limit` bytes. */
export function rlpDecode(bytes: Bytes, limit: number = RLP_BYTES_MAX): RlpItem {
  if (bytes.length > limit)
    throw new CocoError("LimitExceeded", `rlp: input of ${bytes.length} bytes, ${limit} allowed`);
  if (bytes.length === 0) rlpError("unexpected end of input");
  const reader = new RlpReader(bytes);
  const item = reader.item(bytes.length, 0);
  if (reader.at !== bytes.length) rlpError("input contains more than one value");
  return item;
}

/** The items of a list of `least` to `most` items. */
export function rlpList(
  item: RlpItem | undefined,
  least = 0,
  most: number = Number.MAX_SAFE_INTEGER,
): readonly RlpItem[] {
  if (item === undefined) rlpError("too few elements");
  if (!isList(item)) rlpError("expected input list");
  if (item.length < least) rlpError("too few elements");
  if (item.length > most) rlpError("input list has too many elements");
  return item;
}

/** A byte string of any length, or of exactly `length` bytes. */
export function rlpBytes(item: RlpItem | undefined, length?: number): Bytes {
  if (item === undefined) rlpError("too few elements");
  if (isList(item)) rlpError("expected input string or byte");
  if (length !== undefined && item.length !== length)
    rlpError(`input string too ${item.length < length ? "short" : "long"}`);
  return item;
}

function integerBytes(item: RlpItem | undefined, bytesMax: number): Bytes {
  const bytes = rlpBytes(item);
  if (bytes.length > bytesMax) rlpError("input string too long");
  if (bytes[0] === 0) rlpError("non-canonical integer (leading zero bytes)");
  return bytes;
}

/** A number from 0 to 2^53 - 1. */
export function rlpNumber(item: RlpItem | undefined): number {
  const bytes = integerBytes(item, 8);
  let value = 0;
  for (let at = 0; at < bytes.length; at++) value = value * 256 + (bytes[at] as number);
  if (value > Number.MAX_SAFE_INTEGER) rlpError("integer above 2^53 - 1");
  return value;
}

/** An integer of at most `bytesMax` bytes. */
export function rlpBigint(item: RlpItem | undefined, bytesMax = 32): bigint {
  return bigintOfBytes(integerBytes(item, bytesMax));
}

const word = new Uint8Array(32);
const wordView = new DataView(word.buffer);

/** The big-endian integer of at most 32 bytes; leading zeros are allowed. */
export function bigintOfBytes(bytes: Bytes): bigint {
  const { length } = bytes;
  if (length <= 6) {
    let value = 0;
    for (let at = 0; at < length; at++) value = value * 256 + (bytes[at] as number);
    return BigInt(value);
  }
  if (length > 32) rlpError("input string too long");
  word.fill(0, 0, 32 - length);
  word.set(bytes, 32 - length);
  const low = wordView.getBigUint64(24);
  if (length <= 8) return low;
  const lower = (wordView.getBigUint64(16) << 64n) | low;
  if (length <= 16) return lower;
  return (((wordView.getBigUint64(0) << 64n) | wordView.getBigUint64(8)) << 128n) | lower;
}

/** The shortest big-endian bytes of a number from 0 to 2^53 - 1; zero is empty. */
export function bytesOfNumber(value: number): Bytes {
  if (!Number.isSafeInteger(value) || value < 0) rlpError("not an integer from 0 to 2^53 - 1");
  if (value === 0) return EMPTY;
  let length = 1;
  for (let rest = value; rest >= 256; rest = Math.floor(rest / 256)) length++;
  const bytes = new Uint8Array(length);
  for (let rest = value, at = length - 1; at >= 0; at--, rest = Math.floor(rest / 256)) bytes[at] = rest % 256;
  return bytes;
}

/** The shortest big-endian bytes of an integer of at most 256 bits; zero is empty. */
export function bytesOfBigint(value: bigint): Bytes {
  if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return bytesOfNumber(Number(value));
  const bytes = bytes32OfBigint(value);
  let zeros = 0;
  while (bytes[zeros] === 0) zeros++;
  return bytes.subarray(zeros);
}

/** An integer of at most 256 bits as 32 big-endian bytes, written into `target` at `at` where given. */
export function bytes32OfBigint(value: bigint, target: Uint8Array = new Uint8Array(32), at = 0): Bytes {
  if (value < 0n || value >> 256n !== 0n) rlpError("not an integer of at most 256 bits");
  const view = new DataView(target.buffer, target.byteOffset + at, 32);
  for (let word = 3, rest = value; word >= 0; word--, rest >>= 64n)
    view.setBigUint64(word * 8, rest & 0xffffffffffffffffn);
  return target;
}
