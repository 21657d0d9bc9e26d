/**
 * Byte strings: compare, concatenate, hex, and a strict reader and writer for the project's binary formats.
 * All integers are big-endian. Every read is checked against the end of the input; a reader that is not at the end
 * when its caller says it should be is an error, so that two byte strings never mean the same thing.
 */
import { CocoError, invariant } from "../../errors.ts";
import { asciiBytes, asciiText, isAscii } from "./ascii.ts";

/** A byte string; never changed after it was handed over. */
export type Bytes = Uint8Array;

/** SHA-256 (or, where named so, Keccak-256) of one byte string: 32 bytes. */
export interface HashFunction {
  (data: Bytes): Bytes;
  /**
   * Writes the digests of all of `messages`, of `length` bytes each and side by side, into `target`, side by side as well: one
   * call for many, and no array for each digest.
   */
  readonly many?: (messages: Bytes, length: number, target: Uint8Array) => void;
}

const DIGEST_BYTES = 32;

/** Writes the digests of messages of `length` bytes, which stand side by side, into `target`. */
export function hashMany(hash: HashFunction, messages: Bytes, length: number, target: Uint8Array): void {
  if (hash.many !== undefined) {
    hash.many(messages, length, target);
    return;
  }
  for (let [from, place] = [0, 0]; from < messages.length; from += length, place += DIGEST_BYTES)
    target.set(hash(messages.subarray(from, from + length)), place);
}

/** The empty byte string. */
export const EMPTY: Bytes = new Uint8Array(0);

const HEX_DIGITS = Uint8Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0));
/** Value of each ASCII character as a hex digit; 255 for all that are none. */
const HEX_VALUES = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(value) ? 255 : value;
});
/** Bytes turned into text by one call: well below what engines take as arguments. */
const HEX_SLICE = 4096;

/** Lower-case hex without prefix. */
export function toHex(bytes: Bytes): string {
  let text = "";
  for (let start = 0; start < bytes.length; start += HEX_SLICE) {
    const end = Math.min(start + HEX_SLICE, bytes.length);
    const codes = new Array<number>(2 * (end - start));
    for (let at = start, code = 0; at < end; at++) {
      const byte = bytes[at] as number;
      codes[code++] = HEX_DIGITS[byte >> 4] as number;
      codes[code++] = HEX_DIGITS[byte & 15] as number;
    }
    text += String.fromCharCode.apply(null, codes);
  }
  return text;
}

/** A short byte string as a key of maps and sets: one character per byte. Much cheaper than hex, and not for people. */
export function bytesKey(bytes: Bytes): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[]);
}

/** Bytes of an even-length hex string without prefix; upper and lower case are read. */
export function fromHex(text: string): Bytes {
  const bytes = new Uint8Array(text.length >> 1);
  let invalid = text.length & 1;
  for (let at = 0; at < bytes.length; at++) {
    const high = HEX_VALUES[text.charCodeAt(2 * at)] ?? 255;
    const low = HEX_VALUES[text.charCodeAt(2 * at + 1)] ?? 255;
    invalid |= (high | low) & 0xf0;
    bytes[at] = (high << 4) | low;
  }
  if (invalid !== 0) throw new CocoError("MalformedInput", "not a hex string");
  return bytes;
}

/** Whether two byte strings are the same. Not constant-time: never for secrets. */
export function bytesEqual(left: Bytes, right: Bytes): boolean {
  if (left.length !== right.length) return false;
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return false;
  return true;
}

/** Lexicographic order: negative, zero or positive. */
export function compareBytes(left: Bytes, right: Bytes): number {
  const shared = Math.min(left.length, right.length);
  for (let at = 0; at < shared; at++) {
    const difference = (left[at] as number) - (right[at] as number);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** One byte string out of several. */
export function concatBytes(...parts: readonly Bytes[]): Bytes {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** UTF-8 bytes of a string; lone surrogates are refused because they have no encoding. */
export function utf8Encode(text: string): Bytes {
  if (isAscii(text)) return asciiBytes(text);
  // Three bytes per UTF-16 unit are always enough.
  const out = new Uint8Array(text.length * 3);
  let length = 0;
  for (let at = 0; at < text.length; at++) {
    let code = text.charCodeAt(at);
    if (code < 0x80) {
      out[length++] = code;
      continue;
    }
    if (code >= 0xd800 && code <= 0xdfff) {
      code = text.codePointAt(at) as number;
      if (code <= 0xdfff) throw new CocoError("MalformedInput", "lone surrogate in text");
      at++;
    }
    if (code >= 0x10000) out[length++] = 0xf0 | (code >> 18);
    if (code >= 0x800) out[length++] = (code >= 0x10000 ? 0x80 : 0xe0) | ((code >> 12) & (code >= 0x10000 ? 63 : 15));
    out[length++] = (code >= 0x800 ? 0x80 : 0xc0) | ((code >> 6) & (code >= 0x800 ? 63 : 31));
    out[length++] = 0x80 | (code & 63);
  }
  return out.slice(0, length);
}

const UTF8_MINIMUM = [0, 0, 0x80, 0x800, 0x10000];

/** The string of UTF-8 bytes; overlong forms, surrogates and truncated characters are refused. */
export function utf8Decode(bytes: Bytes): string {
  let at = 0;
  while (at < bytes.length && (bytes[at] as number) < 0x80) at++;
  let text = asciiText(bytes, at);
  while (at < bytes.length) {
    const lead = bytes[at] as number;
    const length =
      lead < 0x80
        ? 1
        : lead >= 0xc2 && lead < 0xe0
          ? 2
          : lead >= 0xe0 && lead < 0xf0
            ? 3
            : lead >= 0xf0 && lead < 0xf5
              ? 4
              : 0;
    if (length === 0 || at + length > bytes.length) throw new CocoError("MalformedInput", "not UTF-8");
    let code = length === 1 ? lead : lead & (0xff >> (length + 1));
    for (let next = 1; next < length; next++) {
      const byte = bytes[at + next] as number;
      if ((byte & 0xc0) !== 0x80) throw new CocoError("MalformedInput", "not UTF-8");
      code = (code << 6) | (byte & 63);
    }
    if (code < (UTF8_MINIMUM[length] as number) || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
      throw new CocoError("MalformedInput", "not UTF-8");
    }
    text += String.fromCodePoint(code);
    at += length;
  }
  return text;
}

/** Upper 32 bits of the largest safe integer. */
const MAX_SAFE_HIGH = 0x1fffff;

/** The 32-bit number at a position. */
function word(bytes: Bytes, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

/** Reads a byte string from front to back; throws `MalformedInput` past its end. */
export class ByteReader {
  readonly #bytes: Bytes;
  #at = 0;

  constructor(bytes: Bytes) {
    this.#bytes = bytes;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** Position of the next byte. */
  get position(): number {
    return this.#at;
  }

  #take(length: number): number {
    if (length > this.remaining) throw new CocoError("MalformedInput", "input ends too early");
    const at = this.#at;
    this.#at += length;
    return at;
  }

  u8(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  u16(): number {
    const at = this.#take(2);
    return ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number);
  }

  u32(): number {
    return word(this.#bytes, this.#take(4));
  }

  /** A 64-bit number that is a safe integer; larger ones are refused, not rounded. */
  u64(): number {
    const at = this.#take(8);
    const high = word(this.#bytes, at);
    if (high > MAX_SAFE_HIGH) throw new CocoError("MalformedInput", "number above 2^53 - 1");
    return high * 0x100000000 + word(this.#bytes, at + 4);
  }

  /** The next `length` bytes, as a view on the input. */
  bytes(length: number): Bytes {
    const at = this.#take(length);
    if (length === 0) return EMPTY;
    return this.#bytes.subarray(at, at + length);
  }

  /** Passes over the next `length` bytes and returns the position of the first of them. */
  skip(length: number): number {
    return this.#take(length);
  }

  /** A byte string with a 32-bit length before it, of at most `limit` bytes. */
  bytes32(limit = 0xffffffff): Bytes {
    const length = this.u32();
    if (length > limit) throw new CocoError("LimitExceeded", `byte string of ${length} bytes, ${limit} allowed`);
    return this.bytes(length);
  }

  /** A byte string with a 16-bit length before it. */
  bytes16(): Bytes {
    return this.bytes(this.u16());
  }

  /** Everything not read yet. */
  rest(): Bytes {
    return this.bytes(this.remaining);
  }

  /** Throws unless everything was read. */
  end(): void {
    if (this.remaining !== 0) throw new CocoError("MalformedInput", `${this.remaining} bytes too many`);
  }
}

/** V8 keeps arrays up to this length in its heap; longer ones cost several times as much. */
const HEAP_BYTES_MAX = 64;
/** A loop copies so many bytes faster than a call does. */
const LOOP_BYTES_MAX = 32;
/** Room of a writer that was not told how much comes. */
const ROOM_BYTES = 4096;
/** Rooms that wait for the next writers; one that is not needed more is left to the garbage collector. */
const SPARE_ROOMS_MAX = 4;
/** Rooms of writers that have ended: writers follow each other, and fresh memory costs more than what is written into it. */
const spareRooms: Uint8Array[] = [];

/** Builds a byte string from front to back. */
export class ByteWriter {
  #bytes: Uint8Array;
  /** Whether nobody else has the bytes. */
  readonly #own: boolean;
  #at = 0;

  /** @param room length of the whole, or the bytes it is to be written into, where that is known: then it is not copied in the end */
  constructor(room?: number | Uint8Array) {
    if (room === undefined) this.#bytes = spareRooms.pop() ?? new Uint8Array(ROOM_BYTES);
    else this.#bytes = typeof room === "number" ? new Uint8Array(room) : room;
    this.#own = typeof room !== "object";
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#at;
  }

  #grow(length: number): number {
    const at = this.#at;
    this.#at = at + length;
    if (this.#at > this.#bytes.length) this.#enlarge(at);
    return at;
  }

  #enlarge(used: number): void {
    invariant(this.#own, "more bytes than announced");
    const before = this.#bytes;
    this.#bytes = new Uint8Array(Math.max(this.#at, before.length * 2, ROOM_BYTES));
    this.#bytes.set(before.subarray(0, used));
    spare(before);
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
    return this;
  }

  u32(value: number): this {
    this.#word(this.#grow(4), value);
    return this;
  }

  u64(value: number): this {
    const at = this.#grow(8);
    this.#word(at, Math.floor(value / 0x100000000));
    this.#word(at + 4, value >>> 0);
    return this;
  }

  #word(at: number, value: number): void {
    const bytes = this.#bytes;
    bytes[at] = value >>> 24;
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
  }

  bytes(value: Bytes): this {
    const { length } = value;
    const at = this.#grow(length);
    const bytes = this.#bytes;
    if (length > LOOP_BYTES_MAX) bytes.set(value, at);
    else for (let offset = 0; offset < length; offset++) bytes[at + offset] = value[offset] as number;
    return this;
  }

  /** One byte for each character of a text that is known to be ASCII. */
  ascii(text: string): this {
    const at = this.#grow(text.length);
    const bytes = this.#bytes;
    for (let offset = 0; offset < text.length; offset++) bytes[at + offset] = text.charCodeAt(offset);
    return this;
  }

  bytes32(value: Bytes): this {
    return this.u32(value.length).bytes(value);
  }

  bytes16(value: Bytes): this {
    return this.u16(value.length).bytes(value);
  }

  /** The bytes written; the writer is empty after it. */
  finish(): Bytes {
    const bytes = this.#bytes;
    const length = this.#at;
    this.#bytes = EMPTY;
    this.#at = 0;
    if (length === bytes.length) return bytes;
    if (!this.#own || bytes.length > ROOM_BYTES) return bytes.subarray(0, length);
    const whole = length > HEAP_BYTES_MAX ? bytes.slice(0, length) : shortCopy(bytes, length);
    spare(bytes);
    return whole;
  }
}

/** Keeps the room of a writer for the next ones. */
function spare(room: Uint8Array): void {
  if (room.length === ROOM_BYTES && spareRooms.length < SPARE_ROOMS_MAX) spareRooms.push(room);
}

function shortCopy(bytes: Bytes, length: number): Bytes {
  const copy = new Uint8Array(length);
  for (let at = 0; at < length; at++) copy[at] = bytes[at] as number;
  return copy;
}
