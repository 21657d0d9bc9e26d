/**
 * The versioned, ordered store of an adapter's worker. A version is the result of one batch and a record of one tree
 * per table; the versions share what they have in common, so a snapshot costs nothing. Versions follow each other in one
 * row, and what a newer one writes may stand in a page of an older one, which does not see it. So what
 * is dropped is taken back from the pages of all versions that can still be built upon.
 *
 *   oldest kept ... committed ... head      commit moves `committed` up and drops the oldest,
 *                                           rollback drops from the head down to, at most, `committed`
 *
 * The caller bounds the uncommitted versions: it is who decides when to execute or apply another batch.
 */
import { CocoError, invariant } from "../../errors.ts";
import { Arena } from "./arena.ts";
import { ASYNC_TRANSACTIONS_MAX, AsyncTransaction } from "./async-transaction.ts";
import { BatchDraft } from "./draft.ts";
import type { StateBuilder } from "./state-builder.ts";
import { ownValue, TableSet, TablesWriter, VersionReader } from "./tables.ts";
import { emptyTree, type Tree } from "./tree.ts";
import type { AddedVersion, StateReader, TableOptions, WrittenKey } from "./types.ts";
import { checkWriteSet, WriteSetReader, WrittenParts } from "./write-set.ts";

/** Options of a store. */
export interface StoreOptions {
  readonly tables: readonly TableOptions[];
  /** Committed versions that stay readable besides the newest one. */
  readonly keptVersions: number;
}

interface VersionRecord {
  reader: VersionReader;
  trees: readonly Tree[];
  /** Needed as long as the version can be rolled back. */
  written: Iterable<WrittenKey>;
  /** Rolled back: no part of the history of the head, whatever number that has. */
  dropped: boolean;
}

/** Versions of a set of tables; version 0 is empty and committed. */
export class VersionedStore {
  readonly #tables: TableSet;
  readonly #keptVersions: number;
  /** One for all batches: a batch that begins with a chunk of its own pays for it. */
  readonly #arena = new Arena();
  /** Consecutive versions, the oldest first. */
  readonly #versions: VersionRecord[] = [];
  #committed = 0;
  /** The newest version that was ever begun on what the pages come from; it may have been dropped. */
  #newest = 0;
  #drafting = false;
  #openAsync = 0;
  /** How often everything was replaced. */
  #restores = 0;

  /** Table ids have to be different and at most 65535, table names different. */
  constructor(options: StoreOptions) {
    invariant(Number.isInteger(options.keptVersions) && options.keptVersions >= 0, "keptVersions is not a count");
    this.#tables = new TableSet(options.tables);
    this.#keptVersions = options.keptVersions;
    this.#add(
      0,
      this.#tables.ids.map(() => emptyTree()),
      [],
    );
  }

  /** The newest version. */
  get headVersion(): number {
    return this.#oldestVersion + this.#versions.length - 1;
  }

  /** The newest version that is committed. */
  get committedVersion(): number {
    return this.#committed;
  }

  /** Reader of a version, undefined when there is no such version (any more). A reader in hand outlives its version. */
  reader(version: number): StateReader | undefined {
    return this.#versions[version - this.#oldestVersion]?.reader;
  }

  /** Begins a batch on top of the newest version. Until it ends no other may begin, and nothing be applied or rolled back. */
  beginBatch(): BatchDraft {
    this.#requireNoDraft();
    this.#drafting = true;
    const version = this.headVersion + 1;
    return new BatchDraft({
      version,
      again: this.#isAgain(version),
      tables: this.#tables,
      arena: this.#arena,
      trees: this.#head.trees,
      publish: (trees, written) => {
        this.#drafting = false;
        this.#add(version, trees, written);
      },
      abandon: (written) => {
        this.#drafting = false;
        this.#takeBack(written);
      },
    });
  }

  /**
   * Begins a transaction on the newest version, or on another that is kept, that {@link BatchDraft.merge} takes in later.
   * Throws `TooManyRequests` while {@link ASYNC_TRANSACTIONS_MAX} are open.
   */
  beginAsync(version = this.headVersion): AsyncTransaction {
    if (this.#openAsync >= ASYNC_TRANSACTIONS_MAX)
      throw new CocoError("TooManyRequests", `${ASYNC_TRANSACTIONS_MAX} asynchronous transactions are open`);
    const record = this.#record(version);
    this.#openAsync++;
    const restores = this.#restores;
    return new AsyncTransaction({
      version,
      tables: this.#tables,
      trees: record.trees,
      dropped: () => record.dropped || restores !== this.#restores,
      ended: () => {
        this.#openAsync--;
      },
    });
  }

  /**
   * Adds the version that results from a batch executed elsewhere: the encoded write sets of its transactions, in order, the
   * public and the private part of each. They are kept as long as the version can be
   * rolled back: nobody may change them. Throws what {@link checkWriteSet} throws; then nothing was added.
   */
  apply(parts: readonly Uint8Array[]): AddedVersion {
    this.#requireNoDraft();
    // All is checked before anything is written, because what is written may stand in pages of the versions that are there.
    for (const [at, part] of parts.entries()) checkWriteSet(part, this.#tables, at % 2 === 0);
    const version = this.headVersion + 1;
    const state = new TablesWriter(this.#head.trees, version, this.#isAgain(version));
    for (const part of parts) if (part.length > 0) this.#applyPart(part, state);
    const written = new WrittenParts(parts);
    this.#add(version, state.snapshots(), written);
    return { version, written };
  }

  /** Marks a version and all before it committed and drops the ones that are too old. Not below what is committed, nor above the head. */
  commit(version: number): void {
    this.#requireUncommittedRange(version);
    for (let at = this.#committed; at <= version; at++) this.#record(at).written = [];
    this.#committed = version;
    const surplus = version - this.#keptVersions - this.#oldestVersion;
    if (surplus > 0) this.#versions.splice(0, surplus);
  }

  /** Drops every version after `version`, which must not be below the committed one; returns the keys they wrote, which may repeat. */
  rollback(version: number): WrittenKey[] {
    this.#requireNoDraft();
    this.#requireUncommittedRange(version);
    const dropped = this.#versions.splice(version + 1 - this.#oldestVersion);
    for (const record of dropped) record.dropped = true;
    const written = dropped.flatMap((record) => [...record.written]);
    this.#takeBack(written);
    return written;
  }

  /**
   * Replaces everything by one committed version made of the entries a builder was given. Throws `MalformedInput` for
   * what {@link StateBuilder.finish} refuses and for an entry newer than the version; then nothing has changed.
   */
  restore(version: number, builder: StateBuilder): void {
    this.#requireNoDraft();
    const trees = builder.finish(version, this.#tables);
    this.#restores++;
    this.#versions.length = 0;
    this.#committed = version;
    this.#newest = version;
    this.#add(version, trees, []);
  }

  get #oldestVersion(): number {
    return this.#versions[0]?.reader.version ?? 0;
  }

  get #head(): VersionRecord {
    return this.#record(this.headVersion);
  }

  #record(version: number): VersionRecord {
    const record = this.#versions[version - this.#oldestVersion];
    if (record === undefined) throw new CocoError("Internal", `no version ${version}`);
    return record;
  }

  /** Whether a version of this number was begun before; from now on it was. */
  #isAgain(version: number): boolean {
    const again = version <= this.#newest;
    this.#newest = Math.max(this.#newest, version);
    return again;
  }

  #applyPart(part: Uint8Array, state: TablesWriter): void {
    for (const reader = new WriteSetReader(part); reader.next(); ) {
      const tree = state.table(this.#tables.position(reader.table));
      const { key, value } = reader;
      if (value === undefined) tree.remove(key);
      else tree.gather(key, ownValue(value));
    }
  }

  /** Gives the versions that can be built upon pages of their own without what versions wrote that are gone. */
  #takeBack(written: readonly WrittenKey[]): void {
    for (let version = this.#committed; version <= this.headVersion; version++) {
      const record = this.#record(version);
      const state = new TablesWriter(record.trees, version);
      for (const { table, key } of written) state.table(this.#tables.position(table)).revert(key);
      record.trees = state.snapshots();
      record.reader = new VersionReader(version, this.#tables, record.trees);
    }
  }

  #add(version: number, trees: readonly Tree[], written: Iterable<WrittenKey>): void {
    this.#versions.push({
      reader: new VersionReader(version, this.#tables, trees),
      trees,
      written,
      dropped: false,
    });
  }

  #requireNoDraft(): void {
    invariant(!this.#drafting, "a batch is being drafted");
  }

  #requireUncommittedRange(version: number): void {
    invariant(
      Number.isInteger(version) && version >= this.#committed && version <= this.headVersion,
      `version ${version} out of range`,
    );
  }
}
