/**
 * Whether a byte string is the one encoding of a write set (core/kv/write-set.ts) that writes to given tables only. Nothing
 * is taken out of it, since this runs for every transaction a worker executes.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { TableSet } from "../../core/kv/tables.ts";
import { MAX_KEY_BYTES, MAX_VALUE_BYTES } from "../../core/kv/types.ts";
import { CocoError } from "../../errors.ts";

const COUNT_BYTES = 4;
const HEAD_BYTES = 4;

function u16(bytes: Bytes, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function u32(bytes: Bytes, at: number): number {
  return u16(bytes, at) * 0x10000 + u16(bytes, at + 2);
}

/**
 * Throws `MalformedInput` or `LimitExceeded` unless the write set can be applied.
 * @param isPublic whether it is the public part of a transaction
 */
export function checkWriteSet(bytes: Bytes, tables: TableSet, isPublic: boolean): void {
  const { length } = bytes;
  if (length === 0) return;
  let left = length < COUNT_BYTES ? 0 : u32(bytes, 0);
  if (left === 0) throw malformed("has no writes");
  let before: { readonly table: number; readonly from: number; readonly to: number } | undefined;
  let at = COUNT_BYTES;
  for (; left > 0; left--) {
    if (at + HEAD_BYTES > length) throw malformed("ends too early");
    const table = u16(bytes, at);
    const from = at + HEAD_BYTES;
    const to = from + u16(bytes, at + 2);
    if (to - from > MAX_KEY_BYTES) throw new CocoError("LimitExceeded", `key of ${to - from} bytes in a write set`);
    if (before?.table !== table) tables.partPosition(table, isPublic);
    at = endOfWrite(bytes, to);
    const isInOrder = before === undefined || before.table < table;
    if (!isInOrder && (before?.table !== table || !precedes(bytes, before, { from, to })))
      throw malformed("is not in order");
    before = { table, from, to };
  }
  if (at !== length) throw malformed("has bytes too many");
}

/** Position behind the flag at `at` and the value that may follow it. */
function endOfWrite(bytes: Bytes, at: number): number {
  const flag = bytes[at];
  if (flag === 0) return at + 1;
  if (flag !== 1 || at + 5 > bytes.length) throw malformed("ends too early, or has an unknown flag");
  const valueLength = u32(bytes, at + 1);
  if (valueLength > MAX_VALUE_BYTES)
    throw new CocoError("LimitExceeded", `value of ${valueLength} bytes in a write set`);
  const end = at + 5 + valueLength;
  if (end > bytes.length) throw malformed("ends too early");
  return end;
}

interface Range {
  readonly from: number;
  readonly to: number;
}

function precedes(bytes: Bytes, one: Range, other: Range): boolean {
  const shared = Math.min(one.to - one.from, other.to - other.from);
  for (let at = 0; at < shared; at++) {
    const difference = (bytes[one.from + at] as number) - (bytes[other.from + at] as number);
    if (difference !== 0) return difference < 0;
  }
  return one.to - one.from < other.to - other.from;
}

function malformed(what: string): CocoError {
  return new CocoError("MalformedInput", `a write set ${what}`);
}
