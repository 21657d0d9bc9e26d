/** Placeholder of the kv branch's export. */
import { type Bytes, ByteReader, ByteWriter } from "../codec/bytes.ts";
import { ownValue, TableSet, TablesWriter } from "./tables.ts";
import { emptyTree, type TreeNode } from "./tree.ts";
import type { StateReader, TableOptions } from "./types.ts";

/** Placeholder. */
export function* exportState(reader: StateReader, tables: readonly TableOptions[], maxBytes: number): Generator<Bytes> {
  let writer = new ByteWriter(1024);
  for (const { id } of tables)
    for (const [key, value] of reader.scan(id)) {
      if (writer.length > 0 && writer.length + key.length + value.length + 8 > maxBytes) {
        yield writer.finish();
        writer = new ByteWriter(1024);
      }
      writer.u16(id).bytes16(key).bytes32(value);
    }
  if (writer.length > 0) yield writer.finish();
}

/** Placeholder. */
export class StateBuilder {
  readonly #tables: TableSet;
  readonly #state: TablesWriter;

  constructor({ tables }: { readonly tables: readonly TableOptions[] }) {
    this.#tables = new TableSet(tables);
    this.#state = new TablesWriter(tables.map(() => emptyTree()));
  }

  /** Placeholder. */
  add(part: Bytes): void {
    const reader = new ByteReader(part);
    while (reader.remaining > 0)
      this.#state.table(this.#tables.inputPosition(reader.u16())).put(reader.bytes16(), ownValue(reader.bytes32()));
  }

  /** Placeholder. */
  roots(): readonly TreeNode[] {
    return this.#state.snapshots();
  }
}
