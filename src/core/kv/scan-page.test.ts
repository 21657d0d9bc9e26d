import { describe, test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { CocoError, type ErrorCode } from "../../errors.ts";
import { type Bytes, compareBytes, toHex } from "../codec/bytes.ts";
import { MAX_PAGE_ENTRIES, MAX_PAGE_ENTRY_BYTES, prefixEnd, scanPage } from "./scan-page.ts";
import { VersionedStore } from "./store.ts";
import { MAX_KEY_BYTES, MAX_VALUE_BYTES, type StateReader } from "./types.ts";

const TABLE = 4;

function storeOf(keys: readonly Bytes[], value: Bytes = Uint8Array.of(1)): VersionedStore {
  const store = new VersionedStore({ tables: [{ id: TABLE, name: "values" }], keptVersions: 0 });
  const draft = store.beginBatch();
  const transaction = draft.begin();
  for (const key of keys) transaction.put(TABLE, key, value);
  transaction.keep();
  draft.publish();
  return store;
}

const readerOf = (store: VersionedStore): StateReader => store.reader(store.headVersion) as StateReader;

function refused(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof CocoError && error.code === code;
}

const key = fc
  .uint8Array({ minLength: 1, maxLength: 3, max: 255 })
  .map((bytes) => bytes.map((byte) => (byte < 128 ? byte & 3 : 255)));
const bound = fc.option(key, { nil: undefined });

function startsWith(bytes: Bytes, prefix: Bytes): boolean {
  return toHex(bytes).startsWith(toHex(prefix));
}

describe("scan in pages", () => {
  test("the pages put together are the entries in the bounds, each page as long as asked for", () => {
    fc.assert(
      fc.property(
        fc.array(key, { maxLength: 40 }),
        fc.record({
          from: bound,
          to: bound,
          prefix: fc.option(fc.oneof(key, fc.constant(new Uint8Array(0))), { nil: undefined }),
        }),
        fc.integer({ min: 1, max: 7 }),
        (keys, bounds, limit) => {
          const reader = readerOf(storeOf(keys));
          const { from, to, prefix } = bounds;
          const found: string[] = [];
          let cursor: Bytes | undefined;
          do {
            const page = scanPage(reader, TABLE, { ...bounds, limit, cursor });
            assert.ok(page.entries.length === limit || page.cursor === undefined);
            found.push(...page.entries.map(([one]) => toHex(one)));
            cursor = page.cursor;
          } while (cursor !== undefined);
          const expected = [...reader.scan(TABLE)]
            .map(([one]) => one)
            .filter((one) => from === undefined || compareBytes(one, from) >= 0)
            .filter((one) => to === undefined || compareBytes(one, to) < 0)
            .filter((one) => prefix === undefined || startsWith(one, prefix));
          assert.deepEqual(found, expected.map(toHex));
        },
      ),
    );
  });

  test("a cursor goes on in a later version, also when its key is gone", () => {
    const store = storeOf([1, 3, 5, 7].map((byte) => Uint8Array.of(byte)));
    const first = scanPage(readerOf(store), TABLE, { limit: 2 });
    assert.deepEqual(first.cursor, Uint8Array.of(3));
    const draft = store.beginBatch();
    const transaction = draft.begin();
    transaction.delete(TABLE, Uint8Array.of(3));
    transaction.put(TABLE, Uint8Array.of(2), Uint8Array.of(1));
    transaction.put(TABLE, Uint8Array.of(3, 0), Uint8Array.of(1));
    transaction.keep();
    draft.publish();
    const second = scanPage(readerOf(store), TABLE, { limit: 2, cursor: first.cursor });
    assert.deepEqual(
      second.entries.map(([one]) => toHex(one)),
      ["0300", "05"],
    );
    const behind = scanPage(readerOf(store), TABLE, { limit: 2, cursor: Uint8Array.of(1), from: Uint8Array.of(6) });
    assert.deepEqual(
      behind.entries.map(([one]) => toHex(one)),
      ["07"],
    );
  });

  test("a page of large values ends early", () => {
    const large = new Uint8Array(MAX_VALUE_BYTES - 1);
    const store = storeOf(
      [1, 2, 3, 4].map((byte) => Uint8Array.of(byte)),
      large,
    );
    const page = scanPage(readerOf(store), TABLE, { limit: 4 });
    assert.equal(page.entries.length, MAX_PAGE_ENTRY_BYTES / MAX_VALUE_BYTES);
    assert.deepEqual(page.cursor, Uint8Array.of(2));
  });

  test("the end of a prefix is the least key behind all that have it", () => {
    assert.equal(prefixEnd(new Uint8Array(0)), undefined);
    assert.equal(prefixEnd(Uint8Array.of(255, 255)), undefined);
    assert.deepEqual(prefixEnd(Uint8Array.of(1, 255, 255)), Uint8Array.of(2));
    const prefix = Uint8Array.of(1, 2);
    assert.deepEqual(prefixEnd(prefix), Uint8Array.of(1, 3));
    assert.deepEqual(prefix, Uint8Array.of(1, 2));
  });

  test("limits and cursors out of bounds are refused", () => {
    const reader = readerOf(storeOf([Uint8Array.of(1)]));
    for (const limit of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => scanPage(reader, TABLE, { limit }), refused("MalformedInput"));
    }
    assert.throws(() => scanPage(reader, TABLE, { limit: MAX_PAGE_ENTRIES + 1 }), refused("LimitExceeded"));
    assert.throws(() => scanPage(reader, TABLE, { limit: 1, cursor: new Uint8Array(0) }), refused("MalformedInput"));
    const long = new Uint8Array(MAX_KEY_BYTES + 1);
    assert.throws(() => scanPage(reader, TABLE, { limit: 1, cursor: long }), refused("LimitExceeded"));
    assert.equal(scanPage(reader, TABLE, { limit: MAX_PAGE_ENTRIES }).entries.length, 1);
  });
});
