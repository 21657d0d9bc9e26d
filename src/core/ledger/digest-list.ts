/**
 * A growable list of 32-byte digests in one byte array: no object per digest, which matters for ledgers of millions of
 * transactions. The array doubles as it grows. The front of the list can be dropped; positions stay what they were.
 */
import { type Bytes, type HashFunction, hashMany } from "../codec/bytes.ts";
import { invariant } from "../../errors.ts";

const WIDTH = 32;
const FIRST_CAPACITY = 8;

/** Digests by position. */
export class DigestList {
  #bytes: Uint8Array = new Uint8Array(FIRST_CAPACITY * WIDTH);
  /** Digests that are not kept any more. */
  #start: number;
  #length: number;

  /** @param start position of the first digest that will be there */
  constructor(start = 0) {
    this.#start = start;
    this.#length = start;
  }

  /** Number of digests, counting those that were dropped from the front. */
  get length(): number {
    return this.#length;
  }

  /** Position of the first digest that is kept. */
  get start(): number {
    return this.#start;
  }

  /** Adds a digest of 32 bytes at the end. */
  append(digest: Bytes): void {
    invariant(digest.length === WIDTH, "digest must have 32 bytes");
    const at = this.#room(1);
    this.#bytes.set(digest, at);
  }

  /** Adds digests that stand one after the other. */
  appendAll(digests: Bytes): void {
    invariant(digests.length % WIDTH === 0, "digests must have 32 bytes each");
    const at = this.#room(digests.length / WIDTH);
    this.#bytes.set(digests, at);
  }

  /** Adds the digests of messages of `length` bytes that stand side by side, not in this list. */
  appendHashes(hash: HashFunction, messages: Bytes, length: number): void {
    const at = this.#room(messages.length / length);
    hashMany(hash, messages, length, this.#bytes.subarray(at));
  }

  /** Makes room for more digests, which count from now on; the place of the first. */
  #room(count: number): number {
    const at = (this.#length - this.#start) * WIDTH;
    const needed = at + count * WIDTH;
    if (needed > this.#bytes.length) {
      let capacity = this.#bytes.length * 2;
      while (capacity < needed) capacity *= 2;
      const larger = new Uint8Array(capacity);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#length += count;
    return at;
  }

  /** The digest at a position, as a view that is valid until the list changes. */
  view(position: number): Bytes {
    return this.views(position, position + 1);
  }

  /** The digests from `start` to before `end`, one after the other, as a view that is valid until the list changes. */
  views(start: number, end: number): Bytes {
    invariant(start >= this.#start && start <= end && end <= this.#length, "no digest at this position");
    return this.#bytes.subarray((start - this.#start) * WIDTH, (end - this.#start) * WIDTH);
  }

  /** Keeps the first `length` digests. */
  truncate(length: number): void {
    invariant(length >= this.#start && length <= this.#length, "digest list truncated beyond its length");
    this.#length = length;
  }

  /** Drops the digests before a position and gives their memory back. */
  dropBefore(position: number): void {
    invariant(position <= this.#length, "digests dropped beyond the end of the list");
    if (position <= this.#start) return;
    const kept = this.views(position, this.#length);
    const bytes = new Uint8Array(Math.max(FIRST_CAPACITY * WIDTH, kept.length));
    bytes.set(kept);
    this.#bytes = bytes;
    this.#start = position;
  }
}
