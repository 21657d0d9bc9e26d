/** Reads little-endian structures from front to back; throws `MalformedInput` past the end, or for bytes that must be zero. */
import { ByteReader, toHex, type Bytes } from "../core/codec/bytes.ts";
import { CocoError } from "../errors.ts";

/** See the module's header. */
export class LittleEndianReader {
  readonly #reader: ByteReader;
  readonly #what: string;

  /** `what` names the structure in errors. */
  constructor(bytes: Bytes, what: string) {
    this.#reader = new ByteReader(bytes);
    this.#what = what;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#reader.remaining;
  }

  /** An error that says what is wrong with the structure. */
  malformed(problem: string): CocoError {
    return new CocoError("MalformedInput", `${this.#what}: ${problem}`);
  }

  u32(): number {
    const [first = 0, second = 0, third = 0, fourth = 0] = this.bytes(4);
    return (first | (second << 8) | (third << 16) | (fourth << 24)) >>> 0;
  }

  /** The next `length` bytes, as a view on the input. */
  bytes(length: number): Bytes {
    if (length > this.remaining) throw this.malformed("ends too early");
    return this.#reader.bytes(length);
  }

  /** The next `length` bytes in lower-case hex. */
  hex(length: number): string {
    return toHex(this.bytes(length));
  }

  /** The next number, which must be this one. */
  exactly(name: string, expected: number): void {
    const actual = this.u32();
    if (actual !== expected) throw this.malformed(`${name} is ${actual}, expected ${expected}`);
  }

  /** Passes over bytes that must be zero. */
  zeros(length: number): void {
    if (this.bytes(length).some((byte) => byte !== 0)) throw this.malformed("bytes that must be zero are not");
  }

  /** Throws unless everything was read. */
  end(): void {
    if (this.remaining !== 0) throw this.malformed(`${this.remaining} bytes too many`);
  }
}
