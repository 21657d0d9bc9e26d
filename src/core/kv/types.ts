/**
 * What the store offers to those who read and write state. The interfaces are the ones of the adapter contract, stated
 * again here because the core knows nothing of adapters; a test holds the two equal.
 */
import { CocoError } from "../../errors.ts";
import type { Bytes } from "../codec/bytes.ts";

/** Longest key in bytes; the shortest is one byte. */
export const MAX_KEY_BYTES = 1024;

/** Longest value in bytes; a value may be empty. */
export const MAX_VALUE_BYTES = 8 * 1024 * 1024;

/** Largest table id: it has two bytes in a write set. */
export const MAX_TABLE_ID = 0xffff;

/** Start of the name of a table whose writes stand in plain in the ledger. */
export const PUBLIC_TABLE_PREFIX = "public:";

/** A table: its id stands in the ledger and is never reused. */
export interface TableOptions {
  readonly id: number;
  readonly name: string;
}

/** Ordered read access to one consistent version of all tables. */
export interface StateReader {
  /** Number of batches this version is the result of; for the state of a running batch, the version it will become. */
  readonly version: number;
  /** The value under a key, as a view that stays as it is: never write into it or transfer it, copy it to keep it for long. */
  get(table: number, key: Bytes): Bytes | undefined;
  /**
   * Version of the batch that wrote a key last, undefined when the key is not there. A batch that is being executed
   * counts as the version it will become. The same on every node, whether it executed the batch or applied it.
   */
  versionOf(table: number, key: Bytes): number | undefined;
  /**
   * At most `limit` entries with `from <= key < to` in key order; either bound may be open. What is iterated is the
   * state at the time of the call, whatever is written meanwhile. The bytes are views, as those of `get`.
   */
  scan(table: number, from?: Bytes, to?: Bytes, limit?: number): IterableIterator<readonly [key: Bytes, value: Bytes]>;
}

/** Read and write access inside one transaction. */
export interface StateWriter extends StateReader {
  /** Sets a value; key and value are copied. */
  put(table: number, key: Bytes, value: Bytes): void;
  /** Removes a key, if it is there. */
  delete(table: number, key: Bytes): void;
}

/** A table and key that were written. */
export interface WrittenKey {
  readonly table: number;
  readonly key: Bytes;
}

/** A version that was made: its number and the keys its batch wrote, which may repeat. */
export interface AddedVersion {
  readonly version: number;
  readonly written: Iterable<WrittenKey>;
}

/** Largest version: it has six bytes in a record. */
export const MAX_VERSION = 2 ** 48 - 1;

/** Throws `MalformedInput` for an empty key and `LimitExceeded` for one above {@link MAX_KEY_BYTES}. */
export function checkKeyLength(length: number): void {
  if (length === 0) throw new CocoError("MalformedInput", "empty key");
  if (length > MAX_KEY_BYTES) throw new CocoError("LimitExceeded", `key of ${length} bytes, ${MAX_KEY_BYTES} allowed`);
}

/** Throws `LimitExceeded` for a value above {@link MAX_VALUE_BYTES}. */
export function checkValueLength(length: number): void {
  if (length > MAX_VALUE_BYTES)
    throw new CocoError("LimitExceeded", `value of ${length} bytes, ${MAX_VALUE_BYTES} allowed`);
}
