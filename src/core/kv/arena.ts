/**
 * Copies of small byte strings side by side in larger arrays: an array of its own for each would cost more than all else
 * a small transaction does. Bytes are written once, so views on them last.
 */
import type { Bytes } from "../codec/bytes.ts";
import { INLINE_VALUE_BYTES } from "./record.ts";

const SMALLEST_CHUNK_BYTES = 1024;
const LARGEST_CHUNK_BYTES = 64 * 1024;
/** What is longer has an array of its own. */
const LARGEST_TAKEN_BYTES = 4096;

/** Room for copies that live about as long as each other: a chunk goes when no view on it is left. */
export class Arena {
  #chunk: Uint8Array = new Uint8Array(0);
  #end = 0;
  #chunkBytes = SMALLEST_CHUNK_BYTES;

  /** A copy, as a view; one above {@link INLINE_VALUE_BYTES} has an array of its own, because pages keep it by reference. */
  copy(bytes: Bytes): Bytes {
    const { length } = bytes;
    if (length > INLINE_VALUE_BYTES) return bytes.slice();
    const copy = this.take(length);
    copy.set(bytes);
    return copy;
  }

  /** Room for so many bytes, to be written once. */
  take(length: number): Uint8Array {
    if (length > LARGEST_TAKEN_BYTES) return new Uint8Array(length);
    if (this.#end + length > this.#chunk.length) this.#nextChunk(length);
    const start = this.#end;
    this.#end = start + length;
    return this.#chunk.subarray(start, this.#end);
  }

  #nextChunk(needed: number): void {
    this.#chunk = new Uint8Array(Math.max(this.#chunkBytes, needed));
    this.#end = 0;
    this.#chunkBytes = Math.min(2 * this.#chunkBytes, LARGEST_CHUNK_BYTES);
  }
}
