/**
 * A transaction that waits for the outside world while batches go on: it reads a version of its own, remembers what it
 * read, and is kept later if all of that is still so (optimistic concurrency control; Kung and Robinson, 1981, with
 * backward validation). What is compared are the versions of records, and for ranges their keys too, so that an entry
 * that came into a range (a phantom) counts as a change. The reads are compared with the very version they were made on.
 */
import { CocoError, invariant } from "../../errors.ts";
import { type Bytes, compareBytes, EMPTY } from "../codec/bytes.ts";
import { Arena } from "./arena.ts";
import { type Entry, type ScanRange, scanMerged, scanRange, scanTree, type TableSet, TablesWriter } from "./tables.ts";
import { Cursor, emptyTree, find, findVersion, type Tree } from "./tree.ts";
import { checkKeyLength, checkValueLength, type StateWriter } from "./types.ts";
import { WriteBuffer } from "./write-buffer.ts";

/** Keys and entries one asynchronous transaction may read, repetitions included: bounds its memory and its validation. */
export const ASYNC_READS_MAX = 100_000;

/** Asynchronous transactions open at a time in one store: each keeps the pages of its version in memory. */
export const ASYNC_TRANSACTIONS_MAX = 1024;

/** What an asynchronous transaction needs of its store. */
export interface AsyncHome {
  /** The version it reads. */
  readonly version: number;
  readonly tables: TableSet;
  readonly trees: readonly Tree[];
  /** Whether the version was rolled back or replaced meanwhile. */
  dropped(): boolean;
  /** Called once, when the transaction ends. */
  ended(): void;
}

/** A part of a table that was scanned: from a bound up to the last key the caller saw, or to the end of the range. */
interface RangeRead {
  readonly position: number;
  readonly from: Bytes | undefined;
  readonly to: Bytes | undefined;
  /** Last key the caller saw. */
  last: Bytes | undefined;
  /** Whether the caller saw that nothing more is in the range. */
  finished: boolean;
}

/** Whether a key lies behind what was seen of a range. */
function isBehind(read: RangeRead, key: Bytes): boolean {
  if (read.finished) return read.to !== undefined && compareBytes(key, read.to) >= 0;
  return read.last === undefined || compareBytes(key, read.last) > 0;
}

/** Whether a range has the same keys, written by the same versions, in both trees. */
function isSameRange(read: RangeRead, before: Tree, now: Tree): boolean {
  const left = new Cursor(before, read.from);
  const right = new Cursor(now, read.from);
  for (;;) {
    const leftEnds = left.done || isBehind(read, left.key);
    const rightEnds = right.done || isBehind(read, right.key);
    if (leftEnds || rightEnds) return leftEnds === rightEnds;
    if (left.version !== right.version || compareBytes(left.key, right.key) !== 0) return false;
    left.advance();
    right.advance();
  }
}

/** A transaction on a version that stays as it is. After it ended, any use of it is a broken invariant. */
export class AsyncTransaction implements StateWriter {
  /** The earliest version it can become part of; its own writes count as of this version. */
  readonly version: number;
  readonly #home: AsyncHome;
  readonly #buffer: WriteBuffer;
  /** The keys read, as trees without values. */
  readonly #points: TablesWriter;
  readonly #ranges: RangeRead[] = [];
  #reads = 0;
  #open = true;

  /** Made by {@link VersionedStore.beginAsync}. */
  constructor(home: AsyncHome) {
    this.version = home.version + 1;
    this.#home = home;
    this.#buffer = new WriteBuffer(home.tables, new Arena());
    const empty = emptyTree();
    this.#points = new TablesWriter(
      home.trees.map(() => empty),
      0,
    );
  }

  /** As {@link StateWriter.get}; throws `LimitExceeded` above {@link ASYNC_READS_MAX}, as do the other reads. */
  get(table: number, key: Bytes): Bytes | undefined {
    const position = this.#position(table);
    const own = this.#buffer.find(table, key);
    if (own !== null) return own;
    this.#notePoint(position, key);
    return find(this.#home.trees[position] as Tree, key) ?? undefined;
  }

  versionOf(table: number, key: Bytes): number | undefined {
    const position = this.#position(table);
    const own = this.#buffer.find(table, key);
    if (own !== null) return own === undefined ? undefined : this.version;
    this.#notePoint(position, key);
    return findVersion(this.#home.trees[position] as Tree, key);
  }

  scan(table: number, from?: Bytes, to?: Bytes, limit?: number): IterableIterator<Entry> {
    const position = this.#position(table);
    const range = scanRange(from?.slice(), to, limit);
    const below = this.#home.trees[position] as Tree;
    const own = this.#buffer.snapshot(table);
    const entries = own === undefined ? scanTree(below, range) : scanMerged(below, own, range);
    return this.#noteRange(position, range, entries);
  }

  put(table: number, key: Bytes, value: Bytes): void {
    this.#position(table);
    checkValueLength(value.length);
    this.#buffer.write(table, key, value);
  }

  delete(table: number, key: Bytes): void {
    this.#position(table);
    this.#buffer.write(table, key, undefined);
  }

  /** Drops the writes. */
  discard(): void {
    invariant(this.#open, "transaction has ended");
    this.#open = false;
    this.#home.ended();
  }

  /**
   * Ends the transaction; for the draft that takes it in. Returns its writes, undefined when something it read differs
   * in the state whose tables are given by position. A draft of another store is a broken invariant.
   */
  end(tables: TableSet, treeNow: (position: number) => Tree): WriteBuffer | undefined {
    invariant(tables === this.#home.tables, "transaction of another store");
    this.discard();
    const valid = !this.#home.dropped() && this.#samePoints(treeNow) && this.#sameRanges(treeNow);
    return valid ? this.#buffer : undefined;
  }

  #position(table: number): number {
    invariant(this.#open, "transaction has ended");
    return this.#home.tables.position(table);
  }

  /** Noted before the bound is checked: who catches the error has learnt something all the same. */
  #countRead(): void {
    this.#reads++;
    if (this.#reads > ASYNC_READS_MAX)
      throw new CocoError("LimitExceeded", `asynchronous transaction reads more than ${ASYNC_READS_MAX} entries`);
  }

  #notePoint(position: number, key: Bytes): void {
    checkKeyLength(key.length);
    this.#countRead();
    this.#points.table(position).put(key, EMPTY);
  }

  *#noteRange(position: number, range: ScanRange, entries: IterableIterator<Entry>): IterableIterator<Entry> {
    const { from, to, limit } = range;
    const read: RangeRead = { position, from, to, last: undefined, finished: false };
    this.#countRead();
    this.#ranges.push(read);
    let count = 0;
    for (const entry of entries) {
      read.last = entry[0];
      this.#countRead();
      count++;
      yield entry;
    }
    read.finished = count < limit;
  }

  #samePoints(treeNow: (position: number) => Tree): boolean {
    for (const [position, before] of this.#home.trees.entries()) {
      const now = treeNow(position);
      if (now === before) continue;
      for (const cursor = new Cursor(this.#points.tree(position)); !cursor.done; cursor.advance()) {
        if (findVersion(before, cursor.key) !== findVersion(now, cursor.key)) return false;
      }
    }
    return true;
  }

  #sameRanges(treeNow: (position: number) => Tree): boolean {
    return this.#ranges.every((read) => {
      const before = this.#home.trees[read.position] as Tree;
      const now = treeNow(read.position);
      return now === before || isSameRange(read, before, now);
    });
  }
}
