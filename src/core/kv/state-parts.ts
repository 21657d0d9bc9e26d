/**
 * A version of the store as a sequence of byte strings, for snapshots: the same on every node, and made piece by piece
 * while later batches are executed, since a version never changes. Layout, integers big-endian; entries sorted strictly
 * ascending by table, then key:
 *   table u16 | key length u16 | key | version u48 | value length u32 | value
 * An entry that does not fit into what is left of a part begins the next one. A value that does not fit into a part of
 * its own goes on in the parts after it, which begin with its bytes; everything before the value stands in one part.
 */
import { invariant } from "../../errors.ts";
import { type Bytes, ByteWriter } from "../codec/bytes.ts";
import { MAX_KEY_BYTES, type StateReader, type TableOptions } from "./types.ts";

/** Bytes of an entry besides its key and its value. */
export const ENTRY_OVERHEAD_BYTES = 14;

/** Smallest bound of a part in bytes: the longest key and some of its value have room. */
export const SMALLEST_PART_BYTES = MAX_KEY_BYTES + 1024;

/** Room a part begins with: most states are small, and a megabyte for each costs more than the entries in it. */
const FIRST_BYTES = 4096;

/** Cuts entries into parts. */
class PartWriter {
  readonly #maxBytes: number;
  #writer: ByteWriter;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#writer = new ByteWriter(Math.min(maxBytes, FIRST_BYTES));
  }

  /** Adds an entry; yields the parts that are complete. */
  *add(table: number, [key, value]: readonly [Bytes, Bytes], version: number): Generator<Bytes> {
    const bytes = ENTRY_OVERHEAD_BYTES + key.length + value.length;
    if (this.#writer.length > 0 && bytes > this.#room) yield this.take();
    this.#writer.u16(table).bytes16(key);
    this.#writer
      .u16(Math.floor(version / 0x100000000))
      .u32(version % 0x100000000)
      .u32(value.length);
    for (let from = 0; from < value.length; ) {
      if (this.#room === 0) yield this.take();
      const piece = value.subarray(from, from + this.#room);
      this.#writer.bytes(piece);
      from += piece.length;
    }
  }

  /** What was written since the last part, as a byte string of its own. */
  take(): Bytes {
    const part = this.#writer.finish();
    this.#writer = new ByteWriter(Math.min(this.#maxBytes, FIRST_BYTES));
    return part.slice();
  }

  get #room(): number {
    return this.#maxBytes - this.#writer.length;
  }
}

/**
 * All entries of the tables in one version, as byte strings of at most `maxBytes`, none of them empty. Every part is made
 * when it is asked for. A bound below {@link SMALLEST_PART_BYTES} is a broken invariant. The reader must be one of a
 * published version or a transaction's; one of a running draft would not stand still.
 */
export function* exportState(
  reader: StateReader,
  tables: readonly TableOptions[],
  maxBytes: number,
): Generator<Bytes, void, undefined> {
  invariant(Number.isInteger(maxBytes) && maxBytes >= SMALLEST_PART_BYTES, "parts are too small");
  const writer = new PartWriter(maxBytes);
  const ids = tables.map((table) => table.id).sort((left, right) => left - right);
  for (const id of ids) {
    for (const entry of reader.scan(id)) {
      const version = reader.versionOf(id, entry[0]);
      invariant(version !== undefined, "state changed while it was exported");
      yield* writer.add(id, entry, version);
    }
  }
  const last = writer.take();
  if (last.length > 0) yield last;
}
