/**
 * The state of all tables at one moment, and the means to read it and to change it: one tree per table. Readers of
 * published state, of a running batch and of a transaction share the scans below.
 */
import { CocoError, invariant } from "../../errors.ts";
import { type Bytes, compareBytes } from "../codec/bytes.ts";
import { INLINE_VALUE_BYTES } from "./record.ts";
import { Cursor, find, findVersion, type TreeNode, TreeWriter } from "./tree.ts";
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

/** Changes the trees of all tables; the roots it starts from stay as they are. */
export class TablesWriter {
  readonly #roots: readonly TreeNode[];
  readonly #writers: (TreeWriter | undefined)[];
  readonly #version: number;

  /** @param version what the records written are marked with */
  constructor(roots: readonly TreeNode[], version: number) {
    this.#roots = roots;
    this.#writers = roots.map(() => undefined);
    this.#version = version;
  }

  /** Writer of the table at a position. */
  table(position: number): TreeWriter {
    let writer = this.#writers[position];
    if (writer === undefined) {
      writer = new TreeWriter(this.#roots[position] as TreeNode, this.#version);
      this.#writers[position] = writer;
    }
    return writer;
  }

  /** Root of the table at a position as it is now: for a read at once. */
  root(position: number): TreeNode {
    return this.#writers[position]?.root ?? (this.#roots[position] as TreeNode);
  }

  /** Root of the table at a position that no later write changes. */
  snapshot(position: number): TreeNode {
    return this.#writers[position]?.snapshot() ?? (this.#roots[position] as TreeNode);
  }

  /** Roots of all tables that no later write changes. */
  snapshots(): TreeNode[] {
    return this.#roots.map((_, position) => this.snapshot(position));
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
export function scanTree(root: TreeNode, range: ScanRange): IterableIterator<Entry> {
  return entries(new Cursor(root, range.from), range);
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
export function scanMerged(lower: TreeNode, upper: TreeNode, range: ScanRange): IterableIterator<Entry> {
  return mergedEntries(new Cursor(lower, range.from), new Cursor(upper, range.from), range);
}

/** Reads one published version: a record of roots that never change. */
export class VersionReader implements StateReader {
  readonly version: number;
  readonly #tables: TableSet;
  readonly #roots: readonly TreeNode[];

  constructor(version: number, tables: TableSet, roots: readonly TreeNode[]) {
    this.version = version;
    this.#tables = tables;
    this.#roots = roots;
  }

  get(table: number, key: Bytes): Bytes | undefined {
    return find(this.#root(table), key) ?? undefined;
  }

  versionOf(table: number, key: Bytes): number | undefined {
    return findVersion(this.#root(table), key);
  }

  scan(table: number, from?: Bytes, to?: Bytes, limit?: number): IterableIterator<Entry> {
    return scanTree(this.#root(table), scanRange(from, to, limit));
  }

  #root(table: number): TreeNode {
    return this.#roots[this.#tables.position(table)] as TreeNode;
  }
}
