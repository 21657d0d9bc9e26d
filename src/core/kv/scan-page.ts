/**
 * Scans in pages: a caller who comes back with the cursor of a page gets the next one, from whatever version is read
 * then. The cursor is the last key of the page, so it needs no state here and stays valid when that key is deleted.
 */
import { CocoError } from "../../errors.ts";
import { type Bytes, compareBytes } from "../codec/bytes.ts";
import { checkKeyLength, type StateReader } from "./types.ts";

/** Most entries in one page of a scan. */
export const MAX_PAGE_ENTRIES = 10_000;

/** A page of a scan ends with the entry that brings its keys and values to this many bytes. */
export const MAX_PAGE_ENTRY_BYTES = 16 * 1024 * 1024;

/** What to scan: the keys with the prefix, not below `from`, below `to`, and behind the cursor, as far as each is given. */
export interface PageRequest {
  readonly from?: Bytes | undefined;
  readonly to?: Bytes | undefined;
  readonly prefix?: Bytes | undefined;
  /** Most entries wanted, 1 to {@link MAX_PAGE_ENTRIES}. */
  readonly limit: number;
  /** Of the page before, from any version. */
  readonly cursor?: Bytes | undefined;
}

/** Entries in key order, as views, and the cursor to go on from; undefined when nothing more was there. */
export interface EntryPage {
  readonly entries: readonly (readonly [key: Bytes, value: Bytes])[];
  readonly cursor: Bytes | undefined;
}

/** Least byte string greater than all that begin with the prefix; undefined when there is none (empty, or all 0xff). */
export function prefixEnd(prefix: Bytes): Bytes | undefined {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return undefined;
  const end = prefix.slice(0, length);
  end[length - 1] = (end[length - 1] as number) + 1;
  return end;
}

/** Least byte string greater than this one. */
function successor(key: Bytes): Bytes {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

function greatest(bounds: readonly (Bytes | undefined)[]): Bytes | undefined {
  return bounds.reduce((best, bound) => {
    return best === undefined || (bound !== undefined && compareBytes(bound, best) > 0) ? bound : best;
  }, undefined);
}

function least(left: Bytes | undefined, right: Bytes | undefined): Bytes | undefined {
  if (left === undefined || right === undefined) return left ?? right;
  return compareBytes(left, right) <= 0 ? left : right;
}

/**
 * One page of a scan. Throws `MalformedInput` for a limit that is not a positive integer or an empty cursor, and
 * `LimitExceeded` for a limit or cursor above the bounds.
 */
export function scanPage(reader: StateReader, table: number, request: PageRequest): EntryPage {
  const { from, to, prefix, limit, cursor } = request;
  if (!Number.isInteger(limit) || limit < 1)
    throw new CocoError("MalformedInput", "page limit is not a positive integer");
  if (limit > MAX_PAGE_ENTRIES)
    throw new CocoError("LimitExceeded", `page of ${limit} entries, ${MAX_PAGE_ENTRIES} allowed`);
  if (cursor !== undefined) checkKeyLength(cursor.length);
  const start = greatest([from, prefix, cursor && successor(cursor)]);
  const end = least(to, prefix && prefixEnd(prefix));
  const entries: (readonly [Bytes, Bytes])[] = [];
  let bytes = 0;
  // One entry more than wanted tells whether there is another page.
  for (const entry of reader.scan(table, start, end, limit + 1)) {
    const last = entries.at(-1);
    if (last !== undefined && (entries.length === limit || bytes >= MAX_PAGE_ENTRY_BYTES))
      return { entries, cursor: last[0].slice() };
    bytes += entry[0].length + entry[1].length;
    entries.push(entry);
  }
  return { entries, cursor: undefined };
}
