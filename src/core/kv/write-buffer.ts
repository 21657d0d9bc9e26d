/**
 * What a transaction has written and not yet kept: deletions are records there. A handful of writes lies in a sorted
 * array, which is far cheaper than a tree; more of them, or a scan over them, need trees, one per table.
 */
import { CocoError } from "../../errors.ts";
import { type Bytes, compareBytes } from "../codec/bytes.ts";
import type { Arena } from "./arena.ts";
import { ownValue, type TableSet, TablesWriter } from "./tables.ts";
import { Cursor, emptyTree, find, type Tree } from "./tree.ts";
import { checkKeyLength } from "./types.ts";
import { encodedWriteBytes, MAX_WRITE_SET_BYTES, type Write } from "./write-set.ts";

/** The largest sum of encoded writes of one transaction, in bytes; a key written twice counts twice, which bounds the work too. */
export const MAX_TRANSACTION_WRITE_BYTES = MAX_WRITE_SET_BYTES - 4;

/** Writes that are kept in an array; more go to trees. */
export const ARRAY_WRITES_MAX = 16;

/** What a transaction wrote, final values only: public tables and the others, each sorted by table, then key. */
export interface CollectedWrites {
  readonly publicWrites: Write[];
  readonly privateWrites: Write[];
}

const EMPTY_TREE = emptyTree();

/** Uncommitted writes of one transaction; see the module's header. */
export class WriteBuffer {
  readonly #tables: TableSet;
  readonly #arena: Arena;
  /** Sorted by table, then key; empty once there are trees. */
  #writes: Write[] = [];
  #trees: TablesWriter | undefined;
  #bytes = 0;

  /** @param arena takes copies of keys and small values; they live as long as the writes */
  constructor(tables: TableSet, arena: Arena) {
    this.#tables = tables;
    this.#arena = arena;
  }

  /** What was written to a key: a value (a view), `undefined` for a deletion, `null` when it was not written. */
  find(table: number, key: Bytes): Bytes | undefined | null {
    if (this.#trees !== undefined) return find(this.#trees.tree(this.#tables.position(table)), key);
    const at = this.#search(table, key);
    return at < 0 ? null : (this.#writes[at] as Write).value;
  }

  /**
   * Notes a write, `undefined` for a deletion; key and value are copied. The table is one that exists. Throws what
   * {@link checkKeyLength} throws, and `LimitExceeded` above {@link MAX_TRANSACTION_WRITE_BYTES}.
   */
  write(table: number, key: Bytes, value: Bytes | undefined): void {
    checkKeyLength(key.length);
    const bytes = this.#bytes + encodedWriteBytes(key, value);
    if (bytes > MAX_TRANSACTION_WRITE_BYTES) {
      throw new CocoError("LimitExceeded", `transaction writes more than ${MAX_TRANSACTION_WRITE_BYTES} bytes`);
    }
    this.#bytes = bytes;
    if (this.#trees === undefined && this.#writes.length < ARRAY_WRITES_MAX) this.#writeInArray(table, key, value);
    else this.#writeInTree(this.#inTrees(), { table, key, value });
  }

  /** The writes of a table as a tree that no later write changes, deletions included; undefined when there are none. */
  snapshot(table: number): Tree | undefined {
    if (this.#trees === undefined && !this.#writes.some((write) => write.table === table)) return undefined;
    const tree = this.#inTrees().snapshot(this.#tables.position(table));
    return tree === EMPTY_TREE ? undefined : tree;
  }

  /** The final writes: views that last. */
  collect(): CollectedWrites {
    const publicWrites: Write[] = [];
    const privateWrites: Write[] = [];
    const writes = this.#trees === undefined ? this.#writes : this.#inOrder(this.#trees);
    for (const write of writes)
      (this.#tables.isPublic(this.#tables.position(write.table)) ? publicWrites : privateWrites).push(write);
    return { publicWrites, privateWrites };
  }

  #inOrder(trees: TablesWriter): readonly Write[] {
    const writes: Write[] = [];
    for (const [position, table] of this.#tables.ids.entries()) {
      for (const cursor = new Cursor(trees.tree(position)); !cursor.done; cursor.advance()) {
        writes.push({ table, key: cursor.key, value: cursor.value });
      }
    }
    return writes;
  }

  /** Index of a write; when it is not there, the bitwise complement of the index it belongs at. */
  #search(table: number, key: Bytes): number {
    const writes = this.#writes;
    for (let at = writes.length - 1; at >= 0; at--) {
      const write = writes[at] as Write;
      const order = write.table - table || compareBytes(write.key, key);
      if (order === 0) return at;
      if (order < 0) return ~(at + 1);
    }
    return ~0;
  }

  #writeInArray(table: number, key: Bytes, value: Bytes | undefined): void {
    const at = this.#search(table, key);
    const copy = value === undefined ? undefined : this.#arena.copy(value);
    if (at >= 0) this.#writes[at] = { table, key: (this.#writes[at] as Write).key, value: copy };
    else if (~at === this.#writes.length) this.#writes.push({ table, key: this.#arena.copy(key), value: copy });
    else this.#writes.splice(~at, 0, { table, key: this.#arena.copy(key), value: copy });
  }

  #writeInTree(trees: TablesWriter, { table, key, value }: Write): void {
    trees.table(this.#tables.position(table)).put(key, value === undefined ? undefined : ownValue(value));
  }

  #inTrees(): TablesWriter {
    if (this.#trees === undefined) {
      const trees = new TablesWriter(
        this.#tables.ids.map(() => EMPTY_TREE),
        0,
      );
      for (const write of this.#writes) this.#writeInTree(trees, write);
      this.#writes = [];
      this.#trees = trees;
    }
    return this.#trees;
  }
}
