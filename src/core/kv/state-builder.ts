/**
 * The way back from the parts of a snapshot to a version of the store. What comes is hostile until its evidence was
 * checked, which is at the end: every entry is judged by itself and by the one before, and nothing reaches the store
 * before {@link VersionedStore.restore}.
 */
import { CocoError, invariant } from "../../errors.ts";
import { type Bytes, ByteReader, compareBytes } from "../codec/bytes.ts";
import { ownValue, TableSet } from "./tables.ts";
import { TreeBuilder } from "./tree-builder.ts";
import { emptyTree, type Tree } from "./tree.ts";
import { checkKeyLength, MAX_VALUE_BYTES, MAX_VERSION, type TableOptions } from "./types.ts";

/** An entry whose value goes on in the next part. */
interface OpenEntry {
  readonly key: Bytes;
  readonly version: number;
  readonly value: Uint8Array;
  filled: number;
}

function malformed(message: string): CocoError {
  return new CocoError("MalformedInput", `snapshot: ${message}`);
}

/** Takes the parts of one snapshot in order. After an error, or after it was restored, any use is a broken invariant. */
export class StateBuilder {
  readonly #tables: TableSet;
  readonly #trees: Tree[];
  /** Position of the table whose entries come; those before it are complete. */
  #position = 0;
  #tree = new TreeBuilder();
  #open: OpenEntry | undefined;
  #newest = 0;
  #usable = true;

  /** @param tables those of the store that is to be restored */
  constructor(tables: readonly TableOptions[]) {
    this.#tables = new TableSet(tables);
    const empty = emptyTree();
    this.#trees = this.#tables.ids.map(() => empty);
  }

  /**
   * Takes one part; it is not needed afterwards. Throws `MalformedInput` for entries cut short, out of order or repeated,
   * an unknown table, an empty key or a version that cannot be, `LimitExceeded` for a key or value above its limit.
   */
  add(part: Bytes): void {
    this.#use();
    const reader = new ByteReader(part);
    this.#continueValue(reader);
    while (reader.remaining > 0) this.#addEntry(reader);
    this.#usable = true;
  }

  /** The trees for a store with these tables. Throws `MalformedInput` for a value cut short or an entry newer than the version. */
  finish(version: number, tables: TableSet): Tree[] {
    this.#use();
    invariant(Number.isInteger(version) && version >= 0 && version <= MAX_VERSION, `version ${version} out of range`);
    invariant(
      tables.ids.length === this.#tables.ids.length && tables.ids.every((id, at) => id === this.#tables.ids[at]),
      "builder of other tables",
    );
    if (this.#open !== undefined) throw malformed("ends within a value");
    if (this.#newest > version) throw malformed(`entry of version ${this.#newest} in a snapshot of ${version}`);
    this.#closeTable();
    return this.#trees;
  }

  /** Usable again only when the call has come to its end. */
  #use(): void {
    invariant(this.#usable, "builder has failed or ended");
    this.#usable = false;
  }

  #addEntry(reader: ByteReader): void {
    this.#enterTable(reader.u16());
    const keyLength = reader.u16();
    checkKeyLength(keyLength);
    const key = reader.bytes(keyLength);
    const last = this.#tree.lastKey;
    if (last !== undefined && compareBytes(last, key) >= 0) throw malformed("keys are not in order");
    const version = reader.u16() * 0x100000000 + reader.u32();
    if (version === 0) throw malformed("entry of version 0");
    this.#newest = Math.max(this.#newest, version);
    const length = reader.u32();
    if (length > MAX_VALUE_BYTES)
      throw new CocoError("LimitExceeded", `value of ${length} bytes, ${MAX_VALUE_BYTES} allowed`);
    if (length <= reader.remaining) {
      this.#tree.add(key, ownValue(reader.bytes(length)), version);
      return;
    }
    this.#open = { key: key.slice(), version, value: new Uint8Array(length), filled: 0 };
    this.#continueValue(reader);
  }

  #continueValue(reader: ByteReader): void {
    const entry = this.#open;
    if (entry === undefined) return;
    const piece = reader.bytes(Math.min(reader.remaining, entry.value.length - entry.filled));
    entry.value.set(piece, entry.filled);
    entry.filled += piece.length;
    if (entry.filled < entry.value.length) return;
    this.#tree.add(entry.key, entry.value, entry.version);
    this.#open = undefined;
  }

  #enterTable(id: number): void {
    const position = this.#tables.inputPosition(id);
    if (position < this.#position) throw malformed("tables are not in order");
    if (position === this.#position) return;
    this.#closeTable();
    this.#position = position;
  }

  #closeTable(): void {
    if (this.#position < this.#trees.length) this.#trees[this.#position] = this.#tree.finish();
    this.#tree = new TreeBuilder();
  }
}
