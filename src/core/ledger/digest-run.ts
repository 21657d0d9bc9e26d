/**
 * Digests of many short messages: messages of one length are collected side by side and hashed by one call, which costs far
 * less than a call for each where the hash function has lanes.
 */
import { type Bytes, EMPTY, type HashFunction, hashMany } from "../codec/bytes.ts";
import { WordView } from "../codec/word-view.ts";
import { invariant } from "../../errors.ts";

const DIGEST = 32;
/** Room for messages that wait to be hashed; a longer one has it for itself. */
const ROOM_BYTES = 16 * 1024;

/** The room of the run before, if it has ended: runs follow each other, and fresh memory costs more than what it is for. */
const NO_ROOM = new WordView(EMPTY);
let spare = NO_ROOM;

/** Messages in a row, and then their digests in the same order. */
export class DigestRun {
  readonly #hash: HashFunction;
  readonly #digests: Uint8Array;
  #room: WordView;
  /** Length of the messages that wait, and the end of the last of them. */
  #length = 0;
  #end = 0;
  #hashed = 0;

  /** @param digests where the digests are to stand, so long that all of them have room */
  constructor(hash: HashFunction, digests: Uint8Array) {
    this.#hash = hash;
    this.#room = spare;
    spare = NO_ROOM;
    this.#digests = digests;
  }

  /** Where the next message is to be written, after {@link DigestRun.next} and before anything else is asked for. */
  get room(): WordView {
    return this.#room;
  }

  /** Makes room for the next message, which has at least one byte; its place in {@link DigestRun.room}. */
  next(length: number): number {
    if (length !== this.#length || this.#end + length > this.#room.bytes.length) this.#begin(length);
    const at = this.#end;
    this.#end += length;
    return at;
  }

  #begin(length: number): void {
    this.#flush();
    this.#length = length;
    const left = this.#digests.length / DIGEST - this.#hashed;
    const needed = Math.max(length, Math.min(ROOM_BYTES, left * length));
    if (needed > this.#room.bytes.length) this.#room = new WordView(new Uint8Array(needed));
  }

  #flush(): void {
    if (this.#end === 0) return;
    invariant(
      (this.#hashed + this.#end / this.#length) * DIGEST <= this.#digests.length,
      "more messages than announced",
    );
    const target = this.#digests.subarray(this.#hashed * DIGEST);
    hashMany(this.#hash, this.#room.bytes.subarray(0, this.#end), this.#length, target);
    this.#hashed += this.#end / this.#length;
    this.#end = 0;
  }

  /** The digests of all messages, side by side from the first place on; nothing is added after it. */
  finish(): Bytes {
    this.#flush();
    if (this.#room.bytes.length <= ROOM_BYTES) spare = this.#room;
    this.#room = NO_ROOM;
    return this.#digests;
  }
}
