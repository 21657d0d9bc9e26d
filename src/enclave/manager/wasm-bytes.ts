/** Reading and writing the binary form of WebAssembly modules (WebAssembly core specification 2.0, chapter 5). */
import type { Bytes } from "../../core/codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";

/** Reads a module byte by byte. */
export class WasmReader {
  at: number;
  readonly end: number;
  readonly #bytes: Bytes;

  constructor(bytes: Bytes, at: number, end: number) {
    this.#bytes = bytes;
    this.at = at;
    this.end = end;
  }

  byte(): number {
    const byte = this.#bytes[this.at];
    invariant(byte !== undefined && this.at < this.end, "the script engine ends within an item");
    this.at += 1;
    return byte;
  }

  /** An unsigned LEB128 number of at most 32 bits. */
  number(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new CocoError("Internal", "a number of the script engine is too long");
  }

  skipNumber(): void {
    while (this.byte() >= 0x80);
  }

  skip(length: number): void {
    this.at += length;
    invariant(this.at <= this.end, "the script engine ends within an item");
  }

  /** What was read since `from`. */
  bytes(from: number): Bytes {
    return this.range(from, this.at);
  }

  range(from: number, to: number): Bytes {
    return this.#bytes.subarray(from, to);
  }

  part(length: number): WasmReader {
    const from = this.at;
    this.skip(length);
    return new WasmReader(this.#bytes, from, this.at);
  }
}

/** A number as an unsigned LEB128. */
export function lebUnsigned(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  do {
    const byte = left % 128;
    left = Math.floor(left / 128);
    bytes.push(left > 0 ? byte + 128 : byte);
  } while (left > 0);
  return bytes;
}

/** A number below 2^31 as a signed LEB128: one more byte where the sign bit would be set. */
export function lebSigned(value: number): number[] {
  const bytes = lebUnsigned(value);
  const last = bytes.at(-1) ?? 0;
  return last < 0x40 ? bytes : [...bytes.slice(0, -1), last + 128, 0];
}

/** Collects bytes and slices of the module. */
export class WasmWriter {
  readonly #parts: Bytes[] = [];
  #length = 0;

  add(part: Bytes | readonly number[]): this {
    const bytes = part instanceof Uint8Array ? part : Uint8Array.from(part);
    this.#parts.push(bytes);
    this.#length += bytes.length;
    return this;
  }

  /** Everything written to another writer, with its length before it. */
  addSized(inner: WasmWriter): this {
    this.add(lebUnsigned(inner.#length));
    for (const part of inner.#parts) this.add(part);
    return this;
  }

  finish(): Bytes {
    const bytes = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }
}
