/**
 * Copies of small byte strings side by side in larger arrays: an array of its own for each would cost more than all else
 * a small transaction does. Bytes are written once, so views on them last.
 */
import type { Bytes } from "../codec/bytes.ts";
import { INLINE_VALUE_BYTES } from "./page.ts";

const SMALLEST_CHUNK_BYTES = 1024;
const LARGEST_CHUNK_BYTES = 64 * 1024;

/** Room for copies that live about as long as each other: a chunk goes when no view on it is left. */
export class Arena {
  #chunk: Uint8Array = new Uint8Array(0);
  #end = 0;
  #chunkBytes = SMALLEST_CHUNK_BYTES;

  /** A copy, as a view. */
  copy(bytes: Bytes): Bytes {
    const { length } = bytes;
    // Pages keep large values by reference: one of them must not hold a whole chunk.
    if (length > INLINE_VALUE_BYTES) return bytes.slice();
    if (this.#end + length > this.#chunk.length) this.#nextChunk(length);
    const start = this.#end;
    this.#end = start + length;
    this.#chunk.set(bytes, start);
    return this.#chunk.subarray(start, this.#end);
  }

  #nextChunk(needed: number): void {
    this.#chunk = new Uint8Array(Math.max(this.#chunkBytes, needed));
    this.#end = 0;
    this.#chunkBytes = Math.min(2 * this.#chunkBytes, LARGEST_CHUNK_BYTES);
  }
}
