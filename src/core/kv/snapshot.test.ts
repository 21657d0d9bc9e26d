import { describe, test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { CocoError, type ErrorCode } from "../../errors.ts";
import { type Bytes, ByteWriter, bytesEqual, concatBytes, fromHex, toHex } from "../codec/bytes.ts";
import { StateBuilder } from "./state-builder.ts";
import { exportState, SMALLEST_PART_BYTES } from "./state-parts.ts";
import { VersionedStore } from "./store.ts";
import { MAX_KEY_BYTES, MAX_VALUE_BYTES, type StateReader } from "./types.ts";

const TABLES = [
  { id: 2, name: "public:open" },
  { id: 9, name: "sealed" },
  { id: 300, name: "more" },
];

const make = (): VersionedStore => new VersionedStore({ tables: TABLES, keptVersions: 3 });

function refused(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof CocoError && error.code === code;
}

function numberKey(number: number): Bytes {
  return new ByteWriter(4).u32(number).finish();
}

function describedState(reader: StateReader | undefined): string[] {
  assert.ok(reader);
  return TABLES.flatMap(({ id }) =>
    [...reader.scan(id)].map(([key, value]) => {
      assert.ok(bytesEqual(reader.get(id, key) as Bytes, value));
      return `${id}/${toHex(key)}=${toHex(value)} of ${reader.versionOf(id, key)}`;
    }),
  );
}

type Writes = readonly (readonly [table: number, key: Bytes, value: Bytes | undefined])[];

function writeBatch(store: VersionedStore, writes: Writes): void {
  const draft = store.beginBatch();
  const transaction = draft.begin();
  for (const [table, key, value] of writes) {
    if (value === undefined) transaction.delete(table, key);
    else transaction.put(table, key, value);
  }
  transaction.keep();
  draft.publish();
}

function restored(version: number, parts: Iterable<Bytes>): VersionedStore {
  const builder = new StateBuilder(TABLES);
  for (const part of parts) builder.add(part);
  const store = make();
  store.restore(version, builder);
  return store;
}

const bigValue = fc.nat(9000).map((length) => new Uint8Array(length).fill(length));
const write = fc.tuple(
  fc.constantFrom(2, 9, 300),
  fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 3 }), fc.constant(new Uint8Array(MAX_KEY_BYTES).fill(5))),
  fc.option(fc.oneof({ weight: 4, arbitrary: fc.uint8Array({ maxLength: 9 }) }, bigValue), { nil: undefined }),
);

describe("snapshot of a version", () => {
  test("what is restored equals what was exported in keys, values and versions, and goes on as the original does", () => {
    fc.assert(
      fc.property(fc.array(fc.array(write, { maxLength: 30 }), { maxLength: 8 }), fc.nat(5000), (batches, extra) => {
        const store = make();
        for (const writes of batches) writeBatch(store, writes);
        const reader = store.reader(batches.length) as StateReader;
        const maxBytes = SMALLEST_PART_BYTES + extra;
        const parts = [...exportState(reader, TABLES, maxBytes)];
        for (const part of parts) assert.ok(part.length > 0 && part.length <= maxBytes);
        const copy = restored(batches.length, parts);
        assert.deepEqual(describedState(copy.reader(batches.length)), describedState(reader));
        for (const one of [store, copy]) {
          writeBatch(one, [[2, Uint8Array.of(1), undefined], ...(batches[0] ?? [])]);
          writeBatch(one, [[300, Uint8Array.of(7, 7), Uint8Array.of(1)]]);
        }
        const head = batches.length + 2;
        assert.deepEqual(describedState(copy.reader(head)), describedState(store.reader(head)));
      }),
    );
  });

  test("parts are the same whatever is drafted, published, committed and rolled back between two of them", () => {
    const store = make();
    writeBatch(
      store,
      Array.from({ length: 3000 }, (_, at) => [at % 2 === 0 ? 2 : 9, numberKey(at), numberKey(at)] as const),
    );
    const reader = store.reader(1) as StateReader;
    const expected = [...exportState(reader, TABLES, SMALLEST_PART_BYTES)].map(toHex);
    const found: string[] = [];
    for (const part of exportState(reader, TABLES, SMALLEST_PART_BYTES)) {
      found.push(toHex(part));
      writeBatch(store, [
        [2, numberKey(found.length * 131), undefined],
        [9, numberKey(found.length * 57), numberKey(7)],
        [9, numberKey(3000 + found.length), numberKey(8)],
      ]);
      if (found.length % 3 === 0) store.rollback(store.headVersion - 1);
      store.commit(store.headVersion);
    }
    assert.ok(expected.length > 20);
    assert.equal(store.reader(1), undefined);
    assert.deepEqual(found, expected);
  });

  test("100,000 records become a tree with well-filled pages that takes writes", () => {
    const store = make();
    writeBatch(
      store,
      Array.from(
        { length: 100_000 },
        (_, at) => [9, numberKey(Math.imul(at, 2654435761) >>> 0), numberKey(at)] as const,
      ),
    );
    const copy = restored(1, exportState(store.reader(1) as StateReader, TABLES, 1 << 20));
    for (const one of [store, copy]) {
      writeBatch(
        one,
        Array.from({ length: 5000 }, (_, at) => [9, numberKey(at * 77), at % 3 === 0 ? undefined : numberKey(at)]),
      );
    }
    assert.deepEqual(describedState(copy.reader(2)), describedState(store.reader(2)));
  });

  test("has the documented layout", () => {
    const store = make();
    writeBatch(store, [[9, fromHex("aabb"), fromHex("ff")]]);
    writeBatch(store, [[2, fromHex("00"), fromHex("")]]);
    const parts = [...exportState(store.reader(2) as StateReader, TABLES, SMALLEST_PART_BYTES)];
    assert.deepEqual(parts.map(toHex), [
      `0002${"000100"}${"000000000002"}00000000${"0009"}${"0002aabb"}${"000000000001"}00000001ff`,
    ]);
  });

  test("an asynchronous transaction of before does not survive a restored store", () => {
    const store = make();
    writeBatch(store, [[2, Uint8Array.of(1), Uint8Array.of(1)]]);
    const transaction = store.beginAsync();
    transaction.get(2, Uint8Array.of(1));
    transaction.put(2, Uint8Array.of(2), Uint8Array.of(2));
    const builder = new StateBuilder(TABLES);
    for (const part of exportState(store.reader(1) as StateReader, TABLES, SMALLEST_PART_BYTES)) builder.add(part);
    store.restore(1, builder);
    assert.equal(store.beginBatch().merge(transaction), "conflict");
  });
});

const entry = (table: number, key: string, version = 1, value = "ff"): string =>
  toHex(
    new ByteWriter()
      .u16(table)
      .bytes16(fromHex(key))
      .u16(Math.floor(version / 2 ** 32))
      .u32(version % 2 ** 32)
      .bytes32(fromHex(value))
      .finish(),
  );

describe("restoring from hostile parts", () => {
  const cases: readonly (readonly [promise: string, parts: readonly string[], code: ErrorCode])[] = [
    ["a repeated key", [entry(2, "aa") + entry(2, "aa")], "MalformedInput"],
    ["a key out of order in another part", [entry(2, "bb"), entry(2, "aa")], "MalformedInput"],
    ["a table out of order", [entry(9, "aa") + entry(2, "bb")], "MalformedInput"],
    ["an unknown table", [entry(3, "aa")], "MalformedInput"],
    ["an empty key", [entry(2, "")], "MalformedInput"],
    ["a key above its limit", [entry(2, "aa".repeat(MAX_KEY_BYTES + 1))], "LimitExceeded"],
    [
      "a value above its limit",
      [`0002 0001 aa 000000000001 ${(MAX_VALUE_BYTES + 1).toString(16).padStart(8, "0")}`],
      "LimitExceeded",
    ],
    ["an entry of version 0", [entry(2, "aa", 0)], "MalformedInput"],
    ["an entry newer than the version", [entry(2, "aa", 6)], "MalformedInput"],
    ["an entry of the largest version", [entry(2, "aa", 2 ** 48 - 1)], "MalformedInput"],
    ["a header cut short", [entry(2, "aa").slice(0, 10), entry(2, "bb")], "MalformedInput"],
    ["a value cut short", [entry(2, "aa", 1, "ffffff").slice(0, -2)], "MalformedInput"],
    [
      "an entry where a value goes on",
      [entry(2, "aa", 1, "ff".repeat(40)).slice(0, -2), entry(2, "bb")],
      "MalformedInput",
    ],
  ];
  for (const [promise, parts, code] of cases) {
    test(`${promise} is refused and changes nothing`, () => {
      const store = make();
      writeBatch(store, [[9, Uint8Array.of(1), Uint8Array.of(1)]]);
      const builder = new StateBuilder(TABLES);
      assert.throws(() => {
        for (const part of parts) builder.add(fromHex(part.replaceAll(" ", "")));
        store.restore(5, builder);
      }, refused(code));
      assert.throws(() => store.restore(5, builder), refused("Internal"));
      assert.throws(() => builder.add(fromHex(entry(9, "aa"))), refused("Internal"));
      assert.deepEqual([store.headVersion, store.committedVersion], [1, 0]);
      assert.deepEqual(describedState(store.reader(1)), ["9/01=01 of 1"]);
    });
  }

  test("any bytes are refused or export again as they were", () => {
    const mutated = fc.tuple(fc.nat(), fc.nat(255), fc.nat(3)).map(([at, byte, cut]) => {
      const bytes = fromHex(entry(2, "aa") + entry(2, "aabb", 2, "") + entry(9, "01", 3, "0102"));
      bytes[at % bytes.length] = byte;
      return bytes.subarray(0, bytes.length - cut);
    });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 40 })), fc.nat(50), (input, cut) => {
        let store: VersionedStore;
        try {
          store = restored(9, [input.subarray(0, cut), input.subarray(cut)]);
        } catch (error) {
          assert.ok(error instanceof CocoError);
          assert.ok(error.code === "MalformedInput" || error.code === "LimitExceeded");
          return;
        }
        const parts = exportState(store.reader(9) as StateReader, TABLES, SMALLEST_PART_BYTES);
        assert.ok(bytesEqual(concatBytes(...parts), input));
      }),
      { numRuns: 1000 },
    );
  });

  test("misuse is refused", () => {
    const store = make();
    const draft = store.beginBatch();
    assert.throws(() => store.restore(1, new StateBuilder(TABLES)), refused("Internal"));
    draft.abandon();
    assert.throws(() => store.restore(1, new StateBuilder(TABLES.slice(1))), refused("Internal"));
    assert.throws(() => store.restore(-1, new StateBuilder(TABLES)), refused("Internal"));
    assert.throws(
      () => [...exportState(store.reader(0) as StateReader, TABLES, SMALLEST_PART_BYTES - 1)],
      refused("Internal"),
    );
    store.restore(0, new StateBuilder(TABLES));
    assert.deepEqual(describedState(store.reader(0)), []);
  });

  test("what a transaction read of a version that is no longer kept is not taken for what was restored", () => {
    const [store, other] = [make(), make()];
    for (let version = 1; version <= 9; version++) {
      writeBatch(store, [[9, numberKey(version), numberKey(1)]]);
      writeBatch(other, [[9, numberKey(version), numberKey(2)]]);
    }
    const transaction = store.beginAsync(1);
    assert.deepEqual(transaction.get(9, numberKey(1)), numberKey(1));
    store.commit(9);
    assert.equal(store.reader(1), undefined);
    const builder = new StateBuilder(TABLES);
    for (const part of exportState(other.reader(9) ?? assert.fail(), TABLES, SMALLEST_PART_BYTES)) builder.add(part);
    store.restore(9, builder);
    assert.equal(store.beginBatch().merge(transaction), "conflict");
  });
});
