/**
 * Bytes that are needed for a moment only. Fresh memory costs more than what is done with it: it is filled with zeros, counted by
 * the garbage collector and given back elsewhere.
 */
import { EMPTY } from "./bytes.ts";

const LEAST_ROOM_BYTES = 4096;
/** Longest room that is kept for the next use; more than what most batches need. */
export const MAX_SCRATCH_BYTES = 1024 * 1024;

/** Room for one thing at a time. */
export class Scratch {
  #room: Uint8Array = EMPTY;

  /** So many bytes, with anything in them, to be used until the next call: what the call before gave is then used again. */
  take(length: number): Uint8Array {
    if (length > MAX_SCRATCH_BYTES) return new Uint8Array(length);
    if (length > this.#room.length)
      this.#room = new Uint8Array(Math.min(MAX_SCRATCH_BYTES, Math.max(LEAST_ROOM_BYTES, 2 * length)));
    return this.#room.subarray(0, length);
  }
}
