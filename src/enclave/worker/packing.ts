/**
 * Lists of byte strings and prepare results as one byte string, so that a batch crosses a thread boundary as a single
 * transferable buffer instead of many cloned objects (a clone costs about 1 us per object, a transfer nothing per byte).
 */
import type { PrepareResult } from "../../adapters/adapter.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { ByteReader, ByteWriter } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";

/** One byte string out of a list of them. */
export function packList(list: readonly Bytes[]): Bytes {
  const writer = new ByteWriter(4 + list.reduce((sum, entry) => sum + entry.length + 4, 0));
  writer.u32(list.length);
  for (const entry of list) writer.bytes32(entry);
  return writer.finish();
}

/** The list that {@link packList} packed; entries are views on the input. */
export function unpackList(packed: Bytes): Bytes[] {
  const reader = new ByteReader(packed);
  const list: Bytes[] = [];
  for (let left = reader.u32(); left > 0; left--) list.push(reader.bytes32());
  reader.end();
  return list;
}

/** One byte string out of prepare results. */
export function packResults(results: readonly PrepareResult[]): Bytes {
  const writer = new ByteWriter(256 * results.length + 4);
  writer.u32(results.length);
  for (const result of results) {
    if (result.type === "invalid") writer.u8(0).bytes32(result.error);
    else writer.u8(1).bytes16(result.transaction.id).bytes32(result.transaction.body);
  }
  return writer.finish();
}

/** The results that {@link packResults} packed; byte strings are views on the input. */
export function unpackResults(packed: Bytes): PrepareResult[] {
  const reader = new ByteReader(packed);
  const results: PrepareResult[] = [];
  for (let left = reader.u32(); left > 0; left--) {
    const kind = reader.u8();
    if (kind === 0) results.push({ type: "invalid", error: reader.bytes32() });
    else if (kind === 1)
      results.push({ type: "prepared", transaction: { id: reader.bytes16(), body: reader.bytes32() } });
    else throw new CocoError("MalformedInput", "unknown kind of prepare result");
  }
  reader.end();
  return results;
}
