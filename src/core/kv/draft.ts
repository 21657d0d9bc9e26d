/**
 * A batch on its way: transactions run one after another on top of the newest version, each is kept or leaves nothing
 * behind. A transaction buffers its writes, readable over the state below. Keeping it encodes them and merges them into
 * the trees of the draft, whose pages are changed in place until a scan or the publication freezes them. A transaction
 * that ran elsewhere meanwhile is merged the same way when what it read is still so.
 */
import { invariant } from "../../errors.ts";
import type { Bytes } from "../codec/bytes.ts";
import type { Arena } from "./arena.ts";
import type { AsyncTransaction } from "./async-transaction.ts";
import { type Entry, scanMerged, scanRange, scanTree, type TableSet, TablesWriter } from "./tables.ts";
import { find, findVersion, type Tree } from "./tree.ts";
import { type AddedVersion, checkValueLength, type StateReader, type StateWriter, type WrittenKey } from "./types.ts";
import { WriteBuffer } from "./write-buffer.ts";
import { encodeWriteSet, type Write } from "./write-set.ts";

/** What a kept transaction wrote, encoded: tables that are public, and all others. Views, as those of {@link StateReader}. */
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
  readonly arena: Arena;
  /** Makes writes part of the draft. */
  keep(buffer: WriteBuffer): WriteSetParts;
  /** Called once, when the transaction ends. */
  ended(): void;
}

/** One transaction of a draft. After `keep` or `discard` any use of it is a broken invariant. */
export class DraftTransaction implements StateWriter {
  readonly version: number;
  readonly #home: TransactionHome;
  readonly #buffer: WriteBuffer;
  #open = true;

  constructor(home: TransactionHome) {
    this.version = home.version;
    this.#home = home;
    this.#buffer = new WriteBuffer(home.tables, home.arena);
  }

  get(table: number, key: Bytes): Bytes | undefined {
    const position = this.#position(table);
    const own = this.#buffer.find(table, key);
    return own === null ? (find(this.#home.state.tree(position), key) ?? undefined) : own;
  }

  versionOf(table: number, key: Bytes): number | undefined {
    const position = this.#position(table);
    const own = this.#buffer.find(table, key);
    if (own === null) return findVersion(this.#home.state.tree(position), key);
    return own === undefined ? undefined : this.version;
  }

  scan(table: number, from?: Bytes, to?: Bytes, limit?: number): IterableIterator<Entry> {
    const position = this.#position(table);
    const range = scanRange(from, to, limit);
    const below = this.#home.state.snapshot(position);
    const own = this.#buffer.snapshot(table);
    return own === undefined ? scanTree(below, range) : scanMerged(below, own, range);
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

  /**
   * Makes the writes part of the draft and returns them encoded: the final value of each key, or its deletion (also
   * where there was nothing to delete).
   */
  keep(): WriteSetParts {
    invariant(this.#open, "transaction has ended");
    const parts = this.#home.keep(this.#buffer);
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

  #position(table: number): number {
    invariant(this.#open, "transaction has ended");
    return this.#home.tables.position(table);
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
    return find(this.#state.tree(this.#tables.position(table)), key) ?? undefined;
  }

  versionOf(table: number, key: Bytes): number | undefined {
    return findVersion(this.#state.tree(this.#tables.position(table)), key);
  }

  scan(table: number, from?: Bytes, to?: Bytes, limit?: number): IterableIterator<Entry> {
    return scanTree(this.#state.snapshot(this.#tables.position(table)), scanRange(from, to, limit));
  }
}

/** What a draft needs of its store. */
export interface DraftHome {
  /** The version the draft will become. */
  readonly version: number;
  /** Whether there was such a version before, which was dropped. */
  readonly again: boolean;
  readonly tables: TableSet;
  /** Room for what transactions write until it is in the trees and in their encoded write sets. */
  readonly arena: Arena;
  /** Tables of the version below. */
  readonly trees: readonly Tree[];
  publish(trees: readonly Tree[], written: readonly WrittenKey[]): void;
  /** Called in the place of `publish`, with what kept transactions wrote. */
  abandon(written: readonly WrittenKey[]): void;
}

/** A batch on top of the newest version. After `publish` or `abandon`, beginning a transaction is a broken invariant. */
export class BatchDraft {
  /** State with all kept transactions; its version is the one the draft will become. It stays readable after the end of the draft. */
  readonly reader: StateReader;
  readonly #home: DraftHome;
  readonly #state: TablesWriter;
  readonly #written: WrittenKey[] = [];
  readonly #transactionHome: TransactionHome;
  readonly #room = (bytes: number): Uint8Array => this.#home.arena.take(bytes);
  #open = true;
  #transaction: DraftTransaction | undefined;

  constructor(home: DraftHome) {
    const { version, again, tables } = home;
    this.#home = home;
    this.#state = new TablesWriter(home.trees, version, again);
    this.reader = new DraftReader(version, tables, this.#state);
    this.#transactionHome = {
      version,
      tables,
      state: this.#state,
      arena: home.arena,
      keep: (buffer) => this.#keep(buffer),
      ended: () => {
        this.#transaction = undefined;
      },
    };
  }

  /** Begins a transaction; the one before must have ended. */
  begin(): DraftTransaction {
    this.#requireIdle();
    this.#transaction = new DraftTransaction(this.#transactionHome);
    return this.#transaction;
  }

  /**
   * Keeps a transaction that ran on an older version, as if it ran now, unless something it read has changed since: then
   * nothing happens and the answer is `conflict`. Either way it has ended. It must be one of the same store.
   */
  merge(transaction: AsyncTransaction): WriteSetParts | "conflict" {
    this.#requireIdle();
    const buffer = transaction.end(this.#home.tables, (position) => this.#state.tree(position));
    return buffer === undefined ? "conflict" : this.#keep(buffer);
  }

  /** Makes the draft the newest version of the store, also when no transaction was kept. */
  publish(): AddedVersion {
    this.#requireIdle();
    this.#open = false;
    this.#home.publish(this.#state.snapshots(), this.#written);
    return { version: this.#home.version, written: this.#written };
  }

  /** Drops the draft; a transaction still open is discarded. */
  abandon(): void {
    invariant(this.#open, "draft has ended");
    this.#transaction?.discard();
    this.#open = false;
    // What waits to be written is written first: it must not come into pages of versions that stand, after what is there was taken back.
    this.#state.snapshots();
    this.#home.abandon(this.#written);
  }

  #keep(buffer: WriteBuffer): WriteSetParts {
    const { publicWrites, privateWrites } = buffer.collect();
    const publicPart = encodeWriteSet(publicWrites, this.#room);
    const privatePart = encodeWriteSet(privateWrites, this.#room);
    this.#merge(publicWrites);
    this.#merge(privateWrites);
    return { publicPart, privatePart };
  }

  #merge(writes: readonly Write[]): void {
    for (const { table, key, value } of writes) {
      const tree = this.#state.table(this.#home.tables.position(table));
      if (value === undefined) tree.remove(key);
      else tree.gather(key, value);
      this.#written.push({ table, key });
    }
  }

  #requireIdle(): void {
    invariant(this.#open, "draft has ended");
    invariant(this.#transaction === undefined, "a transaction is still open");
  }
}
