/**
 * A growable list of 32-byte digests in one byte array: no object per digest, which matters for ledgers of millions of
 * transactions. The array doubles as it grows.
 */
import type { Bytes } from "../codec/bytes.ts";
import { invariant } from "../../errors.ts";

const WIDTH = 32;
const FIRST_CAPACITY = 8;

/** Digests by position. */
export class DigestList {
  #bytes: Uint8Array = new Uint8Array(FIRST_CAPACITY * WIDTH);
  #length = 0;

  /** Number of digests. */
  get length(): number {
    return this.#length;
  }

  /** Adds a digest of 32 bytes at the end. */
  append(digest: Bytes): void {
    invariant(digest.length === WIDTH, "digest must have 32 bytes");
    const at = this.#length * WIDTH;
    if (at === this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(digest, at);
    this.#length++;
  }

  /** The digest at a position, as a view that is valid until the list changes. */
  view(position: number): Bytes {
    invariant(position >= 0 && position < this.#length, "no digest at this position");
    return this.#bytes.subarray(position * WIDTH, (position + 1) * WIDTH);
  }

  /** Keeps the first `length` digests. */
  truncate(length: number): void {
    invariant(length >= 0 && length <= this.#length, "digest list truncated beyond its length");
    this.#length = length;
  }
}
