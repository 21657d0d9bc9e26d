/**
 * CBOR in its core deterministic encoding (RFC 8949, 4.2.1), the part of it this project uses: integers of 64 bits, byte
 * and text strings, arrays, maps with integer or text keys, booleans, null, and tags that the caller asks for. There are
 * no floating-point numbers, no other simple values and no indefinite lengths. The decoder accepts exactly what the
 * encoder writes: shortest heads, map keys in bytewise order of their encoding, none twice. So a value has one encoding.
 */
import { CocoError } from "../../errors.ts";
import { isAscii } from "./ascii.ts";
import { type Bytes, ByteReader, ByteWriter, compareBytes, utf8Decode, utf8Encode } from "./bytes.ts";

/** Keys of a CBOR map. Integers must be safe. */
export type CborKey = number | string;

/** A tagged value; the tag number is a safe integer. */
export interface CborTag {
  readonly tag: number;
  readonly value: CborValue;
}

/** What CBOR can say here. `number` is a safe integer; `bigint` stands for the rest of the range -2^64 to 2^64 - 1. */
export type CborValue =
  | number
  | bigint
  | string
  | boolean
  | null
  | Bytes
  | readonly CborValue[]
  | ReadonlyMap<CborKey, CborValue>
  | CborTag;

/** Most arrays, maps and tags inside each other. */
export const MAX_CBOR_DEPTH = 16;
/** Largest encoding read or written when the caller names no other limit, in bytes. */
export const MAX_CBOR_BYTES = 16 * 1024 * 1024;

/** Options of {@link decodeCbor}. */
export interface CborDecodeOptions {
  /** Tag numbers that may appear; every other tag is refused. None when not given. */
  readonly tags?: readonly number[];
  /** Largest input in bytes. */
  readonly maxBytes?: number;
  /** Accept map keys in any order, none twice: for messages that other programs write. */
  readonly anyKeyOrder?: boolean;
}

const UNSIGNED = 0;
const NEGATIVE = 1;
const BYTE_STRING = 2;
const TEXT_STRING = 3;
const ARRAY = 4;
const MAP = 5;
const TAG = 6;
const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;
const TWO_TO_32 = 0x100000000;
const MAX_UINT64 = 0xffffffffffffffffn;

function malformed(message: string): CocoError {
  return new CocoError("MalformedInput", `CBOR: ${message}`);
}

function writeHead(writer: ByteWriter, major: number, argument: number): void {
  const type = major << 5;
  if (argument < 24) writer.u8(type | argument);
  else if (argument < 0x100) writer.u8(type | 24).u8(argument);
  else if (argument < 0x10000) writer.u8(type | 25).u16(argument);
  else if (argument < TWO_TO_32) writer.u8(type | 26).u32(argument);
  else writer.u8(type | 27).u64(argument);
}

function writeNumber(writer: ByteWriter, value: number): void {
  if (!Number.isSafeInteger(value)) throw malformed("a number is not a safe integer");
  if (value >= 0) writeHead(writer, UNSIGNED, value);
  else writeHead(writer, NEGATIVE, -1 - value);
}

function writeBigint(writer: ByteWriter, value: bigint): void {
  const argument = value >= 0n ? value : -1n - value;
  if (argument > MAX_UINT64) throw malformed("an integer has more than 64 bits");
  const major = value >= 0n ? UNSIGNED : NEGATIVE;
  if (argument <= BigInt(Number.MAX_SAFE_INTEGER)) {
    writeHead(writer, major, Number(argument));
    return;
  }
  writer
    .u8((major << 5) | 27)
    .u32(Number(argument >> 32n))
    .u32(Number(argument & 0xffffffffn));
}

/** Encodings of map keys: documents have few names of fields and many fields. */
const encodedKeys = new Map<CborKey, Bytes>();
/** Keys whose encoding is kept, and the longest of them; other keys are encoded each time. */
const ENCODED_KEYS_MAX = 512;
const ENCODED_KEY_LENGTH_MAX = 64;

function encodeKey(key: CborKey): Bytes {
  const known = encodedKeys.get(key);
  if (known !== undefined) return known;
  const writer = new ByteWriter();
  if (typeof key === "string") writeText(writer, key);
  else writeNumber(writer, key);
  const encoded = writer.finish();
  if (encodedKeys.size < ENCODED_KEYS_MAX && encoded.length <= ENCODED_KEY_LENGTH_MAX) encodedKeys.set(key, encoded);
  return encoded;
}

function writeString(writer: ByteWriter, major: number, value: Bytes): void {
  writeHead(writer, major, value.length);
  writer.bytes(value);
}

function writeText(writer: ByteWriter, text: string): void {
  if (!isAscii(text)) return writeString(writer, TEXT_STRING, utf8Encode(text));
  writeHead(writer, TEXT_STRING, text.length);
  writer.ascii(text);
}

function writeMap(writer: ByteWriter, map: ReadonlyMap<CborKey, CborValue>, depth: number): void {
  const entries: { readonly key: Bytes; readonly value: CborValue }[] = [];
  for (const [key, value] of map) entries.push({ key: encodeKey(key), value });
  entries.sort((left, right) => compareBytes(left.key, right.key));
  writeHead(writer, MAP, entries.length);
  for (const { key, value } of entries) {
    writer.bytes(key);
    writeValue(writer, value, depth);
  }
}

function writeValue(writer: ByteWriter, value: CborValue, depth: number): void {
  if (typeof value === "number") return writeNumber(writer, value);
  if (typeof value === "bigint") return writeBigint(writer, value);
  if (typeof value === "string") return writeText(writer, value);
  if (value instanceof Uint8Array) return writeString(writer, BYTE_STRING, value);
  if (typeof value === "boolean" || value === null) {
    writer.u8(value === null ? NULL : value ? TRUE : FALSE);
    return;
  }
  if (depth >= MAX_CBOR_DEPTH) throw new CocoError("LimitExceeded", `CBOR: more than ${MAX_CBOR_DEPTH} levels`);
  if (isArray(value)) {
    writeHead(writer, ARRAY, value.length);
    for (const item of value) writeValue(writer, item, depth + 1);
    return;
  }
  if (value instanceof Map) return writeMap(writer, value, depth + 1);
  if (!("tag" in value)) throw malformed("a value of an unknown kind");
  if (!Number.isSafeInteger(value.tag) || value.tag < 0) throw malformed("a tag is not a safe integer");
  writeHead(writer, TAG, value.tag);
  writeValue(writer, value.value, depth + 1);
}

function isArray(value: CborValue): value is readonly CborValue[] {
  return Array.isArray(value);
}

/**
 * The one encoding of a value. Throws `MalformedInput` for numbers that are not safe integers, integers beyond 64 bits and
 * text with lone surrogates, `LimitExceeded` beyond {@link MAX_CBOR_DEPTH} levels or {@link MAX_CBOR_BYTES}.
 */
export function encodeCbor(value: CborValue): Bytes {
  const writer = new ByteWriter();
  writeValue(writer, value, 0);
  if (writer.length > MAX_CBOR_BYTES) throw new CocoError("LimitExceeded", `CBOR: encoding of ${writer.length} bytes`);
  return writer.finish();
}

/** One decoding: the input and what may appear in it. */
class Decoder {
  readonly #input: Bytes;
  readonly #reader: ByteReader;
  readonly #tags: readonly number[];
  readonly #anyKeyOrder: boolean;

  constructor(input: Bytes, { tags, anyKeyOrder }: CborDecodeOptions) {
    this.#input = input;
    this.#reader = new ByteReader(input);
    this.#tags = tags ?? [];
    this.#anyKeyOrder = anyKeyOrder === true;
  }

  /** Reads the one value the input must consist of. */
  whole(): CborValue {
    const value = this.#value(0);
    this.#reader.end();
    return value;
  }

  #value(depth: number): CborValue {
    const head = this.#reader.u8();
    const major = head >> 5;
    if (major === 7) return simpleValue(head);
    const argument = this.#argument(head & 31);
    if (major === UNSIGNED) return argument;
    if (major === NEGATIVE) return negative(argument);
    if (typeof argument === "bigint") throw malformed("a length or tag beyond 2^53 - 1");
    if (major === BYTE_STRING) return this.#reader.bytes(argument);
    if (major === TEXT_STRING) return utf8Decode(this.#reader.bytes(argument));
    if (depth >= MAX_CBOR_DEPTH) throw new CocoError("LimitExceeded", `CBOR: more than ${MAX_CBOR_DEPTH} levels`);
    if (major === ARRAY) return this.#array(argument, depth + 1);
    if (major === MAP) return this.#map(argument, depth + 1);
    if (!this.#tags.includes(argument)) throw malformed(`tag ${argument} is not expected here`);
    return { tag: argument, value: this.#value(depth + 1) };
  }

  #argument(information: number): number | bigint {
    if (information < 24) return information;
    if (information === 24) return shortest(this.#reader.u8(), 24);
    if (information === 25) return shortest(this.#reader.u16(), 0x100);
    if (information === 26) return shortest(this.#reader.u32(), 0x10000);
    if (information !== 27) throw malformed("indefinite or reserved length");
    const high = shortest(this.#reader.u32(), 1);
    const low = this.#reader.u32();
    const value = high * TWO_TO_32 + low;
    return Number.isSafeInteger(value) ? value : (BigInt(high) << 32n) | BigInt(low);
  }

  #array(length: number, depth: number): readonly CborValue[] {
    if (length > this.#reader.remaining) throw malformed("input ends too early");
    const items: CborValue[] = [];
    for (let at = 0; at < length; at++) items.push(this.#value(depth));
    return items;
  }

  /** Whether the bytes of one key come before those of another. */
  #isBefore(left: number, leftEnd: number, right: number, rightEnd: number): boolean {
    const input = this.#input;
    for (let [one, other] = [left, right]; one < leftEnd && other < rightEnd; one++, other++) {
      if (input[one] !== input[other]) return (input[one] as number) < (input[other] as number);
    }
    return leftEnd - left <= rightEnd - right;
  }

  #map(length: number, depth: number): ReadonlyMap<CborKey, CborValue> {
    if (length * 2 > this.#reader.remaining) throw malformed("input ends too early");
    const map = new Map<CborKey, CborValue>();
    let before = 0;
    let beforeEnd = 0;
    for (let at = 0; at < length; at++) {
      const start = this.#reader.position;
      // A key has no parts: at this depth nothing with parts is read.
      const key = this.#value(MAX_CBOR_DEPTH);
      if (typeof key !== "number" && typeof key !== "string")
        throw malformed("a map key is neither a safe integer nor text");
      const end = this.#reader.position;
      if (map.has(key)) throw malformed("a map key comes twice");
      if (!this.#anyKeyOrder && at > 0 && !this.#isBefore(before, beforeEnd, start, end))
        throw malformed("map keys out of order");
      before = start;
      beforeEnd = end;
      map.set(key, this.#value(depth));
    }
    return map;
  }
}

function shortest(argument: number, minimum: number): number {
  if (argument < minimum) throw malformed("a number is not in its shortest form");
  return argument;
}

function negative(argument: number | bigint): number | bigint {
  const value = typeof argument === "number" ? -1 - argument : -1n - argument;
  return typeof value === "number" && !Number.isSafeInteger(value) ? BigInt(-1) - BigInt(argument) : value;
}

function simpleValue(head: number): CborValue {
  if (head === FALSE) return false;
  if (head === TRUE) return true;
  if (head === NULL) return null;
  throw malformed("floating-point number or unknown simple value");
}

/**
 * The value of a deterministic encoding; byte strings are views on the input. Throws `MalformedInput` for anything else
 * and for tags not asked for, `LimitExceeded` beyond {@link MAX_CBOR_DEPTH} levels or the byte limit.
 */
export function decodeCbor(bytes: Bytes, options: CborDecodeOptions = {}): CborValue {
  const maxBytes = options.maxBytes ?? MAX_CBOR_BYTES;
  if (bytes.length > maxBytes)
    throw new CocoError("LimitExceeded", `CBOR: input of ${bytes.length} bytes, ${maxBytes} allowed`);
  return new Decoder(bytes, options).whole();
}
