/**
 * The state of all tables at one moment, and the means to read it and to change it: one tree per table. Readers of
 * published state, of a running batch and of a transaction share the scans below.
 */
import { CocoError, invariant } from "../../errors.ts";
import { type Bytes, compareBytes } from "../codec/bytes.ts";
import { INLINE_VALUE_BYTES } from "./record.ts";
import { Cursor, find, findVersion, type Tree, TreeWriter } from "./tree.ts";
import { MAX_TABLE_ID, PUBLIC_TABLE_PREFIX, type StateReader, type TableOptions } from "./types.ts";

/** Key and value of one record. */
export type Entry = readonly [key: Bytes, value: Bytes];

/** The tables of one store, in ascending order of their ids; a table's position is its place in that order. */
export class TableSet {
  readonly ids: readonly number[];
  readonly #isPublic: readonly boolean[];
  readonly #positions: ReadonlyMap<number, number>;

  /** Ids have to be different and at most {@link MAX_TABLE_ID}, names different: anything else is a broken invariant. */
  constructor(tables: readonly TableOptions[]) {
    const sorted = [...tables].sort((left, right) => left.id - right.id);
    for (const { id } of sorted)
      invariant(Number.isInteger(id) && id >= 0 && id <= MAX_TABLE_ID, `table id ${id} out of range`);
    this.ids = sorted.map((table) => table.id);
    this.#isPublic = sorted.map((table) => table.name.startsWith(PUBLIC_TABLE_PREFIX));
    this.#positions = new Map(this.ids.map((id, position) => [id, position]));
    invariant(this.#positions.size === tables.length, "two tables have the same id");
    invariant(new Set(tables.map((table) => table.name)).size === tables.length, "two tables have the same name");
  }

  /** Position of a table named by the program; an unknown one is a broken invariant. */
  position(id: number): number {
    const position = this.#positions.get(id);
    if (position === undefined) throw new CocoError("Internal", `unknown table ${id}`);
    return position;
  }

  /** Position of a table named by input; an unknown one is `MalformedInput`. */
  inputPosition(id: number): number {
    const position = this.#positions.get(id);
    if (position === undefined) throw new CocoError("MalformedInput", `unknown table ${id}`);
    return position;
  }

  /** Position of the table that a write in a transaction's public or private part names; `MalformedInput` when it belongs elsewhere. */
  partPosition(id: number, isPublicPart: boolean): number {
    const position = this.inputPosition(id);
    if (this.isPublic(position) !== isPublicPart)
      throw new CocoError("MalformedInput", `a write to table ${id} stands in the wrong part of its transaction`);
    return position;
  }

  /** Id of the table at a position. */
  id(position: number): number {
    return this.ids[position] as number;
  }

  /** Whether writes to the table at a position stand in plain in the ledger. */
  isPublic(position: number): boolean {
    return this.#isPublic[position] as boolean;
  }
}

/** The value as a tree may keep it: large values are not copied into pages, so they are copied here. */
export function ownValue(value: Bytes): Bytes {
  return value.length > INLINE_VALUE_BYTES ? value.slice() : value;
}

/** Changes the trees of all tables; those it starts from stay as they are. */
export class TablesWriter {
  readonly #trees: readonly Tree[];
  readonly #writers: (TreeWriter | undefined)[];
  readonly #version: number;
  readonly #again: boolean;

  /** Parameters as those of {@link TreeWriter}. */
  constructor(trees: readonly Tree[], version: number, again = false) {
    this.#again = again;
    this.#trees = trees;
    this.#writers = trees.map(() => undefined);
    this.#version = version;
  }

  /** Writer of the table at a position. */
  table(position: number): TreeWriter {
    let writer = this.#writers[position];
    if (writer === undefined) {
      writer = new TreeWriter(this.#trees[position] as Tree, this.#version, this.#again);
      this.#writers[position] = writer;
    }
    return writer;
  }

  /** The table at a position as it is now: for a read at once. */
  tree(position: number): Tree {
    return this.#writers[position] ?? (this.#trees[position] as Tree);
  }

  /** The table at a position as it is now, which no later write changes. */
  snapshot(position: number): Tree {
    return this.#writers[position]?.snapshot() ?? (this.#trees[position] as Tree);
  }

  /** All tables as they are now, which no later write changes. */
  snapshots(): Tree[] {
    return this.#trees.map((_, position) => this.snapshot(position));
  }
}

/** Bounds of a scan; the upper one is a copy, so that callers may use their buffer again. */
export interface ScanRange {
  readonly from: Bytes | undefined;
  readonly to: Bytes | undefined;
  readonly limit: number;
}

/** The range of the parameters of `scan`; a limit that is not a count is a broken invariant. */
export function scanRange(from: Bytes | undefined, to: Bytes | undefined, limit: number | undefined): ScanRange {
  invariant(
    limit === undefined || (limit >= 0 && (Number.isInteger(limit) || limit === Infinity)),
    "scan limit is not a count",
  );
  return { from, to: to?.slice(), limit: limit ?? Infinity };
}

function* entries(cursor: Cursor, { to, limit }: ScanRange): IterableIterator<Entry> {
  for (let left = limit; left > 0 && !cursor.done; left--) {
    const key = cursor.key;
    if (to !== undefined && compareBytes(key, to) >= 0) return;
    const value = cursor.value;
    invariant(value !== undefined, "deletion recorded outside a transaction");
    yield [key, value];
    cursor.advance();
  }
}

/** Entries of a tree that does not change any more. Starts at once, not with the first step. */
export function scanTree(tree: Tree, range: ScanRange): IterableIterator<Entry> {
  return entries(new Cursor(tree, range.from), range);
}

/** Both cursors move on behind the lesser of their keys; where both have it, the upper one counts. */
function* mergedEntries(lower: Cursor, upper: Cursor, { to, limit }: ScanRange): IterableIterator<Entry> {
  for (let left = limit; left > 0 && !(lower.done && upper.done); ) {
    const lowerKey = lower.done ? undefined : lower.key;
    const upperKey = upper.done ? undefined : upper.key;
    const order = lowerKey === undefined ? 1 : upperKey === undefined ? -1 : compareBytes(lowerKey, upperKey);
    const key = (order < 0 ? lowerKey : upperKey) as Bytes;
    if (to !== undefined && compareBytes(key, to) >= 0) return;
    const value = order < 0 ? lower.value : upper.value;
    if (value !== undefined) {
      left--;
      yield [key, value];
    }
    if (order <= 0) lower.advance();
    if (order >= 0) upper.advance();
  }
}

/** Entries of a tree with the writes of another laid over it; neither may change any more. Starts at once. */
export function scanMerged(lower: Tree, upper: Tree, range: ScanRange): IterableIterator<Entry> {
  return mergedEntries(new Cursor(lower, range.from), new Cursor(upper, range.from), range);
}

/** Reads one published version. */
export class VersionReader implements StateReader {
  readonly version: number;
  readonly #tables: TableSet;
  readonly #trees: readonly Tree[];

  constructor(version: number, tables: TableSet, trees: readonly Tree[]) {
    this.version = version;
    this.#tables = tables;
    this.#trees = trees;
  }

  get(table: number, key: Bytes): Bytes | undefined {
    return find(this.#tree(table), key) ?? undefined;
  }

  versionOf(table: number, key: Bytes): number | undefined {
    return findVersion(this.#tree(table), key);
  }

  scan(table: number, from?: Bytes, to?: Bytes, limit?: number): IterableIterator<Entry> {
    return scanTree(this.#tree(table), scanRange(from, to, limit));
  }

  #tree(table: number): Tree {
    return this.#trees[this.#tables.position(table)] as Tree;
  }
}
