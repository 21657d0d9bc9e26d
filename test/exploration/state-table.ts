/**
 * All global states seen, each once: rows of whole numbers in one array, found through an open-addressing hash table.
 *
 * Rows are compared in full, so that no state is taken for another because two hashes agree. With each row goes where it was
 * reached from and by what, so that a trace to it can be told.
 */
import { invariant } from "../../src/errors.ts";

/** A growing set of rows of equal width. */
export class StateTable {
  readonly width: number;
  readonly #rows: Int32Array;
  readonly #parents: Int32Array;
  readonly #actions: Int32Array;
  readonly #depths: Uint16Array;
  readonly #slots: Int32Array;
  #count = 0;

  /** A table for at most `capacity` rows. */
  constructor(width: number, capacity: number) {
    this.width = width;
    this.#rows = new Int32Array(width * capacity);
    this.#parents = new Int32Array(capacity);
    this.#actions = new Int32Array(capacity);
    this.#depths = new Uint16Array(capacity);
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(capacity * 2)));
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === this.#parents.length;
  }

  /** Copies a row. */
  read(state: number, into: Int32Array): void {
    const start = state * this.width;
    for (let at = 0; at < this.width; at++) into[at] = this.#rows[start + at] as number;
  }

  parent(state: number): number {
    return this.#parents[state] as number;
  }

  action(state: number): number {
    return this.#actions[state] as number;
  }

  depth(state: number): number {
    return this.#depths[state] as number;
  }

  /** Number of a row, added if it is new; -1 - number when it was there before. */
  add(row: Int32Array, parent: number, action: number): number {
    const { width } = this;
    const mask = this.#slots.length - 1;
    let slot = hashOf(row) & mask;
    for (let held = this.#slots[slot] as number; held !== 0; held = this.#slots[slot] as number) {
      if (this.#holds(held - 1, row)) return -held;
      slot = (slot + 1) & mask;
    }
    invariant(!this.isFull, "the table has room");
    const state = this.#count++;
    this.#slots[slot] = state + 1;
    this.#rows.set(row, state * width);
    this.#parents[state] = parent;
    this.#actions[state] = action;
    this.#depths[state] = parent < 0 ? 0 : (this.#depths[parent] as number) + 1;
    return state;
  }

  #holds(state: number, row: Int32Array): boolean {
    const start = state * this.width;
    for (let at = 0; at < this.width; at++) if (this.#rows[start + at] !== row[at]) return false;
    return true;
  }
}

function hashOf(row: Int32Array): number {
  let hash = 0x9e3779b9;
  for (let at = 0; at < row.length; at++) {
    hash = Math.imul(hash ^ (row[at] as number), 0x85ebca6b);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
