/**
 * A batch on its way: transactions run one after another on top of the newest version, each is kept or leaves nothing
 * behind. A transaction buffers its writes in trees of its own (deletions are records there), so that they are ordered,
 * cheap for a handful and for a hundred thousand, and readable over the state below. Keeping it encodes them and merges
 * them into the trees of the draft, whose pages are changed in place until a scan or the publication freezes them.
 */
import { CocoError, invariant } from "../../errors.ts";
import type { Bytes } from "../codec/bytes.ts";
import {
  type Entry,
  ownValue,
  scanMerged,
  scanRange,
  scanTree,
  type TableSet,
  TablesWriter,
  WrittenKeys,
} from "./tables.ts";
import { Cursor, emptyTree, find, type TreeNode } from "./tree.ts";
import { type AddedVersion, checkKeyLength, checkValueLength, type StateReader, type StateWriter } from "./types.ts";
import { encodedWriteBytes, encodeWriteSet, MAX_WRITE_SET_BYTES, type Write } from "./write-set.ts";

/** The largest sum of encoded writes of one transaction, in bytes; a key written twice counts twice, which bounds the work too. */
export const MAX_TRANSACTION_WRITE_BYTES = MAX_WRITE_SET_BYTES - 4;

/** What a kept transaction wrote, encoded: tables that are public, and all others. */
export interface WriteSetParts {
  readonly publicPart: Bytes;
  readonly privatePart: Bytes;
}

/** What a transaction needs of its draft. */
interface TransactionHome {
  readonly version: number;
  readonly tables: TableSet;
  /** State under the transaction; nothing but the transaction changes it. */
  readonly state: TablesWriter;
  readonly written: WrittenKeys;
  /** Called once, when the transaction ends. */
  ended(): void;
}

/** One transaction of a draft. After `keep` or `discard` any use of it is a broken invariant. */
export class DraftTransaction implements StateWriter {
  readonly version: number;
  readonly #home: TransactionHome;
  readonly #overlay: TablesWriter;
  /** Positions of the tables written, since most transactions write few of many. */
  readonly #touched = new Set<number>();
  #writtenBytes = 0;
  #open = true;

  constructor(home: TransactionHome, empty: readonly TreeNode[]) {
    this.version = home.version;
    this.#home = home;
    this.#overlay = new TablesWriter(empty);
  }

  get(table: number, key: Bytes): Bytes | undefined {
    const position = this.#position(table);
    const own = this.#touched.has(position) ? find(this.#overlay.root(position), key) : null;
    return own === null ? (find(this.#home.state.root(position), key) ?? undefined) : own;
  }

  scan(table: number, from?: Bytes, to?: Bytes, limit?: number): IterableIterator<Entry> {
    const position = this.#position(table);
    const range = scanRange(from, to, limit);
    const below = this.#home.state.snapshot(position);
    return this.#touched.has(position)
      ? scanMerged(below, this.#overlay.snapshot(position), range)
      : scanTree(below, range);
  }

  put(table: number, key: Bytes, value: Bytes): void {
    checkValueLength(value.length);
    this.#write(table, key, value);
  }

  delete(table: number, key: Bytes): void {
    this.#write(table, key, undefined);
  }

  /**
   * Makes the writes part of the draft and returns them encoded: the final value of each key, or its deletion (also
   * where there was nothing to delete).
   */
  keep(): WriteSetParts {
    invariant(this.#open, "transaction has ended");
    const { tables, state, written } = this.#home;
    const publicWrites: Write[] = [];
    const privateWrites: Write[] = [];
    const positions = [...this.#touched].sort((left, right) => left - right);
    for (const position of positions) {
      this.#collect(position, tables.isPublic(position) ? publicWrites : privateWrites);
    }
    const parts = { publicPart: encodeWriteSet(publicWrites), privatePart: encodeWriteSet(privateWrites) };
    for (const writes of [publicWrites, privateWrites]) {
      for (const { table, key, value } of writes) {
        const tree = state.table(tables.position(table));
        if (value === undefined) tree.remove(key);
        else tree.put(key, value);
        written.add(table, key);
      }
    }
    this.#end();
    return parts;
  }

  /** Drops the writes. */
  discard(): void {
    invariant(this.#open, "transaction has ended");
    this.#end();
  }

  #end(): void {
    this.#open = false;
    this.#home.ended();
  }

  #collect(position: number, writes: Write[]): void {
    const table = this.#home.tables.id(position);
    for (const cursor = new Cursor(this.#overlay.root(position)); !cursor.done; cursor.advance()) {
      writes.push({ table, key: cursor.key, value: cursor.value });
    }
  }

  #position(table: number): number {
    invariant(this.#open, "transaction has ended");
    return this.#home.tables.position(table);
  }

  #write(table: number, key: Bytes, value: Bytes | undefined): void {
    const position = this.#position(table);
    checkKeyLength(key.length);
    const bytes = this.#writtenBytes + encodedWriteBytes(key, value);
    if (bytes > MAX_TRANSACTION_WRITE_BYTES) {
      throw new CocoError("LimitExceeded", `transaction writes more than ${MAX_TRANSACTION_WRITE_BYTES} bytes`);
    }
    this.#writtenBytes = bytes;
    this.#overlay.table(position).put(key, value === undefined ? undefined : ownValue(value));
    this.#touched.add(position);
  }
}

/** Reads the draft with every transaction kept so far: each call sees the state of its time. */
class DraftReader implements StateReader {
  readonly version: number;
  readonly #tables: TableSet;
  readonly #state: TablesWriter;

  constructor(version: number, tables: TableSet, state: TablesWriter) {
    this.version = version;
    this.#tables = tables;
    this.#state = state;
  }

  get(table: number, key: Bytes): Bytes | undefined {
    return find(this.#state.root(this.#tables.position(table)), key) ?? undefined;
  }

  scan(table: number, from?: Bytes, to?: Bytes, limit?: number): IterableIterator<Entry> {
    return scanTree(this.#state.snapshot(this.#tables.position(table)), scanRange(from, to, limit));
  }
}

/** What a draft needs of its store. */
export interface DraftHome {
  /** The version the draft will become. */
  readonly version: number;
  readonly tables: TableSet;
  /** Roots of the version below. */
  readonly roots: readonly TreeNode[];
  publish(roots: readonly TreeNode[], written: WrittenKeys): void;
  abandon(): void;
}

/** A batch on top of the newest version. After `publish` or `abandon`, beginning a transaction is a broken invariant. */
export class BatchDraft {
  /** State with all kept transactions; its version is the one the draft will become. It stays readable after the end of the draft. */
  readonly reader: StateReader;
  readonly #home: DraftHome;
  readonly #state: TablesWriter;
  readonly #written = new WrittenKeys();
  readonly #empty: readonly TreeNode[];
  #open = true;
  #transaction: DraftTransaction | undefined;

  constructor(home: DraftHome) {
    this.#home = home;
    this.#state = new TablesWriter(home.roots);
    const empty = emptyTree();
    this.#empty = home.roots.map(() => empty);
    this.reader = new DraftReader(home.version, home.tables, this.#state);
  }

  /** Begins a transaction; the one before must have ended. */
  begin(): DraftTransaction {
    this.#requireIdle();
    const { version, tables } = this.#home;
    const ended = (): void => {
      this.#transaction = undefined;
    };
    this.#transaction = new DraftTransaction(
      { version, tables, state: this.#state, written: this.#written, ended },
      this.#empty,
    );
    return this.#transaction;
  }

  /** Makes the draft the newest version of the store, also when no transaction was kept. */
  publish(): AddedVersion {
    this.#requireIdle();
    this.#open = false;
    this.#home.publish(this.#state.snapshots(), this.#written);
    return { version: this.#home.version, written: this.#written.list() };
  }

  /** Drops the draft; a transaction still open is discarded. */
  abandon(): void {
    invariant(this.#open, "draft has ended");
    this.#transaction?.discard();
    this.#open = false;
    this.#home.abandon();
  }

  #requireIdle(): void {
    invariant(this.#open, "draft has ended");
    invariant(this.#transaction === undefined, "a transaction is still open");
  }
}
