/**
 * Reading DER (X.690, chapters 8, 10 and 11): certificates, revocation lists and signatures. There is one encoding per value:
 * definite and shortest lengths, no constructed strings, shortest integers and object identifiers, TRUE as 0xff, sets in
 * order, times in UTC with seconds. What BER allows beyond that, a tag number above 30, and bytes left over are
 * `MalformedInput`. Callers say what they expect; what a reader hands out is a view on the input.
 */
import { CocoError } from "../../errors.ts";
import { type Bytes, compareBytes, utf8Decode } from "./bytes.ts";

/** Most elements inside each other. */
export const MAX_DER_DEPTH = 16;
/** Largest encoding read when the caller names no other limit, in bytes. */
export const MAX_DER_BYTES = 1024 * 1024;
/** Longest object identifier, in bytes of its content. */
export const MAX_OBJECT_IDENTIFIER_BYTES = 64;

/** Identifier octets of the universal types that are read here. */
export const DER = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One element as it stands in the input. */
export interface DerElement {
  /** Identifier octet: class, constructed or primitive, tag number. */
  readonly tag: number;
  readonly content: Bytes;
  /** Identifier, length and content. */
  readonly encoding: Bytes;
}

/** Bits, the first one being the highest of the first byte. */
export interface DerBits {
  readonly bytes: Bytes;
  /** How many bits of the last byte do not count; they are zero. */
  readonly unusedBits: number;
}

const CONSTRUCTED = 0x20;
const CLASS_MASK = 0xc0;
const NUMBER_MASK = 0x1f;
/** Universal types that are constructed: EXTERNAL, EMBEDDED PDV, SEQUENCE, SET. */
const CONSTRUCTED_TYPES: readonly number[] = [8, 11, 16, 17];
/** Length bytes after the first: lengths up to 16 MiB. */
const LENGTH_BYTES_MAX = 3;
const PRINTABLE = /^[A-Za-z0-9 '()+,\-./:=?]*$/;

/** The identifier octet of a context-specific tag. */
export function contextTag(number: number, form: "primitive" | "constructed"): number {
  return 0x80 | number | (form === "constructed" ? CONSTRUCTED : 0);
}

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", `DER: ${problem}`);
}

/** Reads a byte string that is one DER value and nothing else; larger ones than `maxBytes` are not looked at. */
export function readDer<T>(bytes: Bytes, read: (reader: DerReader) => T, maxBytes = MAX_DER_BYTES): T {
  if (bytes.length > maxBytes) throw malformed(`${bytes.length} bytes, ${maxBytes} allowed`);
  return inside(bytes, 0, read);
}

function inside<T>(content: Bytes, depth: number, read: (reader: DerReader) => T): T {
  if (depth > MAX_DER_DEPTH) throw malformed("too many elements inside each other");
  const reader = new DerReader(content, depth);
  const value = read(reader);
  if (!reader.atEnd) throw malformed("more elements than expected");
  return value;
}

/** Reads the elements of one content from front to back; made by {@link readDer}. */
export class DerReader {
  readonly #content: Bytes;
  readonly #depth: number;
  #at = 0;

  constructor(content: Bytes, depth: number) {
    this.#content = content;
    this.#depth = depth;
  }

  /** Whether every element was read. */
  get atEnd(): boolean {
    return this.#at === this.#content.length;
  }

  /** Whether the next element has this identifier octet. */
  nextIs(tag: number): boolean {
    return this.#content[this.#at] === tag;
  }

  #byte(): number {
    const byte = this.#content[this.#at++];
    if (byte === undefined) throw malformed("ends too early");
    return byte;
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const size = first & 0x7f;
    if (size === 0 || size > LENGTH_BYTES_MAX) throw malformed("an indefinite length, or one above 16 MiB");
    let length = 0;
    for (let at = 0; at < size; at++) length = (length << 8) | this.#byte();
    if (length < 0x80 || length >> (8 * (size - 1)) === 0) throw malformed("a length that is not in its shortest form");
    return length;
  }

  #element(): DerElement {
    const start = this.#at;
    const tag = this.#byte();
    if ((tag & NUMBER_MASK) === NUMBER_MASK || tag === 0) throw malformed("a tag number above 30, or zero");
    const length = this.#length();
    const from = this.#at;
    if (length > this.#content.length - from) throw malformed("ends too early");
    this.#at = from + length;
    return {
      tag,
      content: this.#content.subarray(from, this.#at),
      encoding: this.#content.subarray(start, this.#at),
    };
  }

  /** The next element, whatever it is: tags and lengths of all that is inside it are checked, too. */
  any(): DerElement {
    const element = this.#element();
    const isConstructed = (element.tag & CONSTRUCTED) !== 0;
    if ((element.tag & CLASS_MASK) === 0 && isConstructed !== CONSTRUCTED_TYPES.includes(element.tag & NUMBER_MASK))
      throw malformed("a constructed string, or a sequence that is not constructed");
    if (isConstructed) {
      inside(element.content, this.#depth + 1, (reader) => {
        while (!reader.atEnd) reader.any();
      });
    }
    return element;
  }

  /** The next element, which must have this identifier octet. */
  element(tag: number): DerElement {
    if (!this.nextIs(tag)) throw malformed(`expected tag 0x${tag.toString(16)}`);
    return this.#element();
  }

  /** The content of the next element, which must have this identifier octet. */
  content(tag: number): Bytes {
    return this.element(tag).content;
  }

  /** Reads what is inside the next element, all of it. */
  within<T>(tag: number, read: (reader: DerReader) => T): T {
    return inside(this.content(tag), this.#depth + 1, read);
  }

  /** {@link within} when the next element has this identifier octet; undefined when there is none. */
  optional<T>(tag: number, read: (reader: DerReader) => T): T | undefined {
    return this.nextIs(tag) ? this.within(tag, read) : undefined;
  }

  /** What a function reads, with the bytes it read. */
  withEncoding<T>(read: () => T): { readonly value: T; readonly encoding: Bytes } {
    const start = this.#at;
    const value = read();
    return { value, encoding: this.#content.subarray(start, this.#at) };
  }

  /** Reads DER that stands inside a string of this content. */
  parse<T>(bytes: Bytes, read: (reader: DerReader) => T): T {
    return inside(bytes, this.#depth + 1, read);
  }

  /** A SEQUENCE. */
  sequence<T>(read: (reader: DerReader) => T): T {
    return this.within(DER.sequence, read);
  }

  /** The remaining elements of this content, from 1 to `limit` of them. */
  list<T>(limit: number, read: (reader: DerReader) => T): T[] {
    const items: T[] = [];
    do {
      if (items.length === limit) throw malformed(`more than ${limit} elements`);
      items.push(read(this));
    } while (!this.atEnd);
    return items;
  }

  /** A SET OF 1 to `limit` elements, in ascending order of their encodings (X.690, 11.6). */
  setOf<T>(limit: number, read: (reader: DerReader) => T): T[] {
    return this.within(DER.set, (set) => {
      let previous: Bytes | undefined;
      return set.list(limit, (reader) => {
        const { value: item, encoding } = reader.withEncoding(() => read(reader));
        if (previous !== undefined && compareBytes(previous, encoding) > 0) throw malformed("a set out of order");
        previous = encoding;
        return item;
      });
    });
  }

  /** A BOOLEAN. */
  boolean(): boolean {
    const [value, ...rest] = this.content(DER.boolean);
    if (rest.length > 0 || (value !== 0 && value !== 0xff))
      throw malformed("a truth value that is neither 0x00 nor 0xff");
    return value === 0xff;
  }

  /** A BOOLEAN that is false when it is left out; then DER does not have it written. */
  trueOrAbsent(): boolean {
    if (!this.nextIs(DER.boolean)) return false;
    if (!this.boolean()) throw malformed("a default value that is written");
    return true;
  }

  /** The bytes of an INTEGER: two's complement in the shortest form. */
  integer(tag: number = DER.integer): Bytes {
    const bytes = this.content(tag);
    const [first, second = 0] = bytes;
    if (first === undefined) throw malformed("an integer without a byte");
    if (bytes.length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
      throw malformed("an integer that is not in its shortest form");
    return bytes;
  }

  /** An INTEGER from 0 to `limit`, which is below 2^31. */
  smallInteger(limit: number, tag: number = DER.integer): number {
    const bytes = this.integer(tag);
    let value = 0;
    for (const byte of bytes) value = value * 256 + byte;
    if ((bytes[0] ?? 0) >= 0x80 || value > limit) throw malformed(`an integer that is not from 0 to ${limit}`);
    return value;
  }

  /** A BIT STRING. */
  bits(): DerBits {
    const content = this.content(DER.bitString);
    const [unusedBits] = content;
    const bytes = content.subarray(1);
    if (unusedBits === undefined || unusedBits > 7 || (bytes.length === 0 && unusedBits > 0))
      throw malformed("a bit string with a wrong number of unused bits");
    if (((bytes.at(-1) ?? 0) & ((1 << unusedBits) - 1)) !== 0) throw malformed("unused bits that are set");
    return { bytes, unusedBits };
  }

  /** A BIT STRING of whole bytes. */
  bitBytes(): Bytes {
    const { bytes, unusedBits } = this.bits();
    if (unusedBits !== 0) throw malformed("expected whole bytes");
    return bytes;
  }

  /**
   * The numbers of the bits that are set in a BIT STRING whose bits have names. DER leaves zeros at its end out (X.690, 11.2.2);
   * they are read all the same, because AMD's CA certificates, which are what they are until 2045, have them.
   */
  namedBits(): ReadonlySet<number> {
    const { bytes } = this.bits();
    const set = new Set<number>();
    for (let bit = 0; bit < 8 * bytes.length; bit++)
      if (((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0) set.add(bit);
    return set;
  }

  /** An OCTET STRING. */
  octets(tag: number = DER.octetString): Bytes {
    return this.content(tag);
  }

  /** A NULL. */
  null(): void {
    if (this.content(DER.null).length > 0) throw malformed("a null with content");
  }

  /** An OBJECT IDENTIFIER in dotted form. */
  objectIdentifier(): string {
    return dotted(this.content(DER.objectIdentifier));
  }

  /** A UTCTime (1950 to 2049) or GeneralizedTime, in milliseconds since 1970 (RFC 5280, 4.1.2.5). */
  time(): number {
    const isShort = this.nextIs(DER.utcTime);
    const text = ascii(this.content(isShort ? DER.utcTime : DER.generalizedTime));
    return timeOf(isShort ? `${text < "5" ? "20" : "19"}${text}` : text);
  }

  /** Whether the next element is one of the strings that {@link DerReader.text} reads. */
  get nextIsText(): boolean {
    return TEXT_DECODERS.has(this.#content[this.#at] ?? 0);
  }

  /** A character string in ASCII under this identifier octet. */
  ascii(tag: number = DER.ia5String): string {
    return ascii(this.content(tag));
  }

  /** A character string of any of the types that stand in names. */
  text(): string {
    const { tag, content } = this.#element();
    const decode = TEXT_DECODERS.get(tag);
    if (decode === undefined) throw malformed("expected a character string");
    return decode(content);
  }
}

/** Base-128 arcs in their shortest form; the first two are one number (X.690, 8.19). */
function dotted(content: Bytes): string {
  if (content.length === 0 || content.length > MAX_OBJECT_IDENTIFIER_BYTES || (content.at(-1) as number) >= 0x80)
    throw malformed("an object identifier that is empty, too long or cut off");
  let text = "";
  let arc = 0n;
  let short = 0;
  let isStart = true;
  for (const byte of content) {
    if (isStart && byte === 0x80) throw malformed("an object identifier that is not in its shortest form");
    // Nearly all arcs are short; those of more than 28 bits (identifiers out of UUIDs) need more than a number holds.
    if (short < 1 << 21 && arc === 0n) short = short * 128 + (byte & 0x7f);
    else {
      arc = (arc === 0n ? BigInt(short) : arc) * 128n + BigInt(byte & 0x7f);
    }
    isStart = byte < 0x80;
    if (!isStart) continue;
    if (text !== "") text += `.${arc === 0n ? short : arc}`;
    else if (arc !== 0n) text = `2.${arc - 80n}`;
    else text = short < 80 ? `${Math.floor(short / 40)}.${short % 40}` : `2.${short - 80}`;
    arc = 0n;
    short = 0;
  }
  return text;
}

function ascii(content: Bytes): string {
  let text = "";
  for (const byte of content) {
    if (byte > 0x7f) throw malformed("a character outside of ASCII");
    text += String.fromCharCode(byte);
  }
  return text;
}

function printable(content: Bytes): string {
  const text = ascii(content);
  if (!PRINTABLE.test(text)) throw malformed("a character that a PrintableString does not have");
  return text;
}

/** Teletex strings are read as Latin-1, as everybody does who writes them. */
function latin1(content: Bytes): string {
  return Array.from(content, (byte) => String.fromCharCode(byte)).join("");
}

/** Big-endian characters of two (BMPString) or four bytes (UniversalString). */
function wide(size: 2 | 4): (content: Bytes) => string {
  return (content) => {
    if (content.length % size !== 0) throw malformed("a character that is cut off");
    let text = "";
    for (let at = 0; at < content.length; at += size) {
      let code = 0;
      for (const byte of content.subarray(at, at + size)) code = code * 256 + byte;
      if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) throw malformed("no character");
      text += String.fromCodePoint(code);
    }
    return text;
  };
}

const TEXT_DECODERS: ReadonlyMap<number, (content: Bytes) => string> = new Map<number, (content: Bytes) => string>([
  [DER.utf8String, utf8Decode],
  [DER.printableString, printable],
  [DER.teletexString, latin1],
  [DER.ia5String, ascii],
  [DER.universalString, wide(4)],
  [DER.bmpString, wide(2)],
]);

function timeOf(text: string): number {
  const match = /^([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z$/.exec(text);
  if (match === null) throw malformed("a time that is not in UTC with whole seconds");
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  // A field out of its range moves the others, and years before 100 are moved, too.
  const again = new Date(time).toISOString().replace(/[-:T]|\.000/g, "");
  if (again !== text) throw malformed("a time that does not exist");
  return time;
}
