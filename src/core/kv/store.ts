/**
 * The versioned, ordered store of an adapter's worker. A version is the result of one batch and an immutable record of
 * one tree root per table; the versions share what they have in common, so snapshots and rollback cost nothing.
 *
 *   oldest kept ... committed ... head      commit moves `committed` up and drops the oldest,
 *                                           rollback drops from the head down to, at most, `committed`
 *
 * The caller bounds the uncommitted versions: it is who decides when to execute or apply another batch.
 */
import { CocoError, invariant } from "../../errors.ts";
import type { StateBuilder } from "./snapshot.ts";
import { BatchDraft } from "./draft.ts";
import { ownValue, TableSet, TablesWriter, VersionReader, WrittenKeys } from "./tables.ts";
import { emptyTree, type TreeNode } from "./tree.ts";
import type { AddedVersion, StateReader, TableOptions, WrittenKey } from "./types.ts";
import { decodeWriteSet } from "./write-set.ts";

/** Options of a store. */
export interface StoreOptions {
  readonly tables: readonly TableOptions[];
  /** Committed versions that stay readable besides the newest one. */
  readonly keptVersions: number;
}

interface VersionRecord {
  readonly reader: VersionReader;
  readonly roots: readonly TreeNode[];
  /** Needed as long as the version can be rolled back. */
  written: WrittenKeys | undefined;
}

/** Versions of a set of tables; version 0 is empty and committed. */
export class VersionedStore {
  readonly #tables: TableSet;
  readonly #keptVersions: number;
  /** Consecutive versions, the oldest first. */
  readonly #versions: VersionRecord[] = [];
  #committed = 0;
  #drafting = false;

  /** Table ids have to be different and at most 65535, table names different. */
  constructor(options: StoreOptions) {
    invariant(Number.isInteger(options.keptVersions) && options.keptVersions >= 0, "keptVersions is not a count");
    this.#tables = new TableSet(options.tables);
    this.#keptVersions = options.keptVersions;
    this.#add(
      0,
      this.#tables.ids.map(() => emptyTree()),
      undefined,
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
      tables: this.#tables,
      roots: this.#head.roots,
      publish: (roots, written) => {
        this.#drafting = false;
        this.#add(version, roots, written);
      },
      abandon: () => {
        this.#drafting = false;
      },
    });
  }

  /**
   * Adds the version that results from a batch executed elsewhere: the encoded write sets of its transactions, in order.
   * Throws what {@link decodeWriteSet} throws, and `MalformedInput` for an unknown table; then nothing was added.
   */
  apply(parts: readonly Uint8Array[]): AddedVersion {
    this.#requireNoDraft();
    const state = new TablesWriter(this.#head.roots);
    const written = new WrittenKeys();
    for (const part of parts) {
      for (const { table, key, value } of decodeWriteSet(part)) {
        const tree = state.table(this.#tables.inputPosition(table));
        if (value === undefined) tree.remove(key);
        else tree.put(key, ownValue(value));
        written.add(table, key);
      }
    }
    const version = this.headVersion + 1;
    this.#add(version, state.snapshots(), written);
    return { version, written: written.list() };
  }

  /** Marks a version and all before it committed and drops the ones that are too old. Not below what is committed, nor above the head. */
  commit(version: number): void {
    this.#requireUncommittedRange(version);
    for (let at = this.#committed; at <= version; at++) this.#record(at).written = undefined;
    this.#committed = version;
    const surplus = version - this.#keptVersions - this.#oldestVersion;
    if (surplus > 0) this.#versions.splice(0, surplus);
  }

  /** Drops every version after `version`, which must not be below the committed one; returns the keys they wrote, which may repeat. */
  rollback(version: number): WrittenKey[] {
    this.#requireNoDraft();
    this.#requireUncommittedRange(version);
    const dropped = this.#versions.splice(version + 1 - this.#oldestVersion);
    return dropped.flatMap((record) => record.written?.list() ?? []);
  }

  /** Placeholder. */
  restore(version: number, builder: StateBuilder): void {
    this.#requireNoDraft();
    this.#versions.length = 0;
    this.#add(version, builder.roots(), undefined);
    this.#committed = version;
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

  #add(version: number, roots: readonly TreeNode[], written: WrittenKeys | undefined): void {
    this.#versions.push({ reader: new VersionReader(version, this.#tables, roots), roots, written });
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
