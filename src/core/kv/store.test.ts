import { describe, test } from "node:test";
import assert from "node:assert/strict";
import type * as contract from "../../adapters/adapter.ts";
import { CocoError, type ErrorCode } from "../../errors.ts";
import { toHex, utf8Encode, type Bytes } from "../codec/bytes.ts";
import type { BatchDraft, DraftTransaction } from "./draft.ts";
import { VersionedStore } from "./store.ts";
import {
  MAX_KEY_BYTES,
  MAX_VALUE_BYTES,
  type StateReader,
  type StateWriter,
  type TableOptions,
  type WrittenKey,
} from "./types.ts";
import { decodeWriteSet, encodeWriteSet } from "./write-set.ts";

const PUBLIC = 3;
const PRIVATE = 1;
const NOTHING = encodeWriteSet([]);
const tables = [
  { id: PUBLIC, name: "public:open" },
  { id: PRIVATE, name: "sealed" },
];

const make = (keptVersions = 2): VersionedStore => new VersionedStore({ tables, keptVersions });
const bytes = (text: string): Bytes => utf8Encode(text);

function refused(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof CocoError && error.code === code;
}

function lines(entries: Iterable<readonly [Bytes, Bytes]>): string[] {
  return [...entries].map(([key, value]) => `${toHex(key)}=${toHex(value)}`);
}

function content(reader: StateReader | undefined): string[] | undefined {
  return reader && [PRIVATE, PUBLIC].flatMap((table) => lines(reader.scan(table)).map((line) => `${table}/${line}`));
}

/** Publishes a batch of one transaction and returns its encoded parts. */
function publish(store: VersionedStore, write: (transaction: DraftTransaction) => void): Bytes[] {
  const draft = store.beginBatch();
  const transaction = draft.begin();
  write(transaction);
  const { publicPart, privatePart } = transaction.keep();
  draft.publish();
  return [publicPart, privatePart];
}

type Same<Left, Right> = [Left, Right] extends [Right, Left] ? true : false;

describe("versioned store", () => {
  test("its interfaces are those of the adapter contract", () => {
    const same: [
      Same<StateReader, contract.StateReader>,
      Same<StateWriter, contract.StateWriter>,
      Same<WrittenKey, contract.WrittenKey>,
      Same<TableOptions, contract.TableDefinition>,
    ] = [true, true, true, true];
    const store = make();
    const draft = store.beginBatch();
    const writer: contract.StateWriter = draft.begin();
    const readers: (contract.StateReader | undefined)[] = [store.reader(0), draft.reader, writer];
    assert.deepEqual(
      readers.map((reader) => reader?.version),
      [0, 1, 1],
    );
    assert.equal(same.length, 4);
  });

  test("starts empty and committed", () => {
    const store = make();
    assert.deepEqual([store.headVersion, store.committedVersion], [0, 0]);
    assert.deepEqual(content(store.reader(0)), []);
    assert.equal(store.reader(1), undefined);
    assert.equal(store.reader(-1), undefined);
    assert.equal(store.reader(0.5), undefined);
  });

  test("a transaction reads its own writes, the draft those of kept ones, the store none before publication", () => {
    const store = make();
    const draft = store.beginBatch();
    const first = draft.begin();
    first.put(PRIVATE, bytes("a"), bytes("1"));
    first.put(PRIVATE, bytes("b"), bytes("2"));
    first.delete(PRIVATE, bytes("a"));
    assert.equal(first.get(PRIVATE, bytes("a")), undefined);
    assert.deepEqual(first.get(PRIVATE, bytes("b")), bytes("2"));
    assert.equal(draft.reader.get(PRIVATE, bytes("b")), undefined);
    first.keep();
    const second = draft.begin();
    second.put(PRIVATE, bytes("c"), bytes("3"));
    second.discard();
    assert.deepEqual(content(draft.reader), ["1/62=32"]);
    assert.deepEqual(content(store.reader(0)), []);
    const { version, written } = draft.publish();
    assert.equal(version, 1);
    assert.deepEqual(
      Array.from(written, ({ table, key }) => [table, key]),
      [
        [PRIVATE, bytes("a")],
        [PRIVATE, bytes("b")],
      ],
    );
    assert.deepEqual(content(store.reader(1)), ["1/62=32"]);
    assert.deepEqual(content(draft.reader), ["1/62=32"]);
  });

  test("write sets hold final values in order, public tables apart", () => {
    const [publicPart, privatePart] = publish(make(), (transaction) => {
      transaction.put(PRIVATE, bytes("b"), bytes("1"));
      transaction.put(PUBLIC, bytes("z"), bytes("2"));
      transaction.put(PRIVATE, bytes("a"), bytes("3"));
      transaction.put(PRIVATE, bytes("b"), bytes("4"));
      transaction.delete(PRIVATE, bytes("c"));
    }) as [Bytes, Bytes];
    assert.deepEqual(decodeWriteSet(publicPart), [{ table: PUBLIC, key: bytes("z"), value: bytes("2") }]);
    assert.deepEqual(decodeWriteSet(privatePart), [
      { table: PRIVATE, key: bytes("a"), value: bytes("3") },
      { table: PRIVATE, key: bytes("b"), value: bytes("4") },
      { table: PRIVATE, key: bytes("c"), value: undefined },
    ]);
    assert.deepEqual(
      publish(make(), () => {}),
      [new Uint8Array(0), new Uint8Array(0)],
    );
  });

  test("a scan goes through the state at its call, whatever is written meanwhile", () => {
    const store = make();
    const draft = store.beginBatch();
    const first = draft.begin();
    for (const key of ["a", "c", "e"]) first.put(PRIVATE, bytes(key), bytes("old"));
    first.keep();
    const transaction = draft.begin();
    transaction.put(PRIVATE, bytes("b"), bytes("own"));
    const to = bytes("e");
    const own = transaction.scan(PRIVATE, bytes("a"), to);
    const kept = draft.reader.scan(PRIVATE);
    to.fill(0);
    transaction.put(PRIVATE, bytes("bb"), bytes("new"));
    transaction.put(PRIVATE, bytes("b"), bytes("new"));
    transaction.delete(PRIVATE, bytes("c"));
    assert.deepEqual(
      lines(transaction.scan(PRIVATE, undefined, undefined, 2)),
      lines([
        [bytes("a"), bytes("old")],
        [bytes("b"), bytes("new")],
      ]),
    );
    transaction.keep();
    draft.publish();
    assert.deepEqual(
      lines(own),
      lines([
        [bytes("a"), bytes("old")],
        [bytes("b"), bytes("own")],
        [bytes("c"), bytes("old")],
      ]),
    );
    assert.equal([...kept].length, 3);
    assert.throws(() => store.reader(1)?.scan(PRIVATE, undefined, undefined, -1), refused("Internal"));
    assert.deepEqual(lines(store.reader(1)?.scan(PRIVATE, undefined, undefined, 0) ?? []), []);
  });

  test("views and readers handed out stay as they are while later transactions and batches overwrite", () => {
    const store = make(0);
    const seen: { view: Bytes; copy: string }[] = [];
    const readers: { reader: StateReader; expected: string[] | undefined }[] = [];
    for (let round = 0; round < 30; round++) {
      const draft = store.beginBatch();
      for (let each = 0; each < 10; each++) {
        const transaction = draft.begin();
        const key = bytes(`key ${(round * each) % 17}`);
        transaction.put(PRIVATE, key, new Uint8Array(each === 9 ? 2000 : 100).fill(round + each));
        for (const view of [transaction.get(PRIVATE, key), draft.reader.get(PRIVATE, key)]) {
          if (view) seen.push({ view, copy: toHex(view) });
        }
        transaction.keep();
      }
      store.commit(draft.publish().version);
      const reader = store.reader(store.headVersion) as StateReader;
      readers.push({ reader, expected: content(reader) });
    }
    for (const { view, copy } of seen) assert.equal(toHex(view), copy);
    for (const { reader, expected } of readers) assert.deepEqual(content(reader), expected);
  });

  test("callers may use the buffers of keys and values again, whatever their size", () => {
    for (const size of [5, 5000]) {
      const store = make();
      const key = bytes("key");
      const value = new Uint8Array(size).fill(1);
      const parts = publish(store, (transaction) => {
        transaction.put(PRIVATE, key, value);
        key.fill(0);
        value.fill(0);
      });
      const follower = make();
      follower.apply(parts);
      follower.commit(1);
      for (const part of parts) part.fill(0);
      for (const one of [store, follower])
        assert.deepEqual(one.reader(1)?.get(PRIVATE, bytes("key")), new Uint8Array(size).fill(1));
    }
  });

  test("commit keeps as many older versions as asked for", () => {
    const store = make(2);
    for (let version = 1; version <= 6; version++)
      publish(store, (transaction) => transaction.put(PUBLIC, bytes("k"), Uint8Array.of(version)));
    store.commit(4);
    const readable = [0, 1, 2, 3, 4, 5, 6, 7].filter((version) => store.reader(version) !== undefined);
    assert.deepEqual(readable, [2, 3, 4, 5, 6]);
    assert.deepEqual(store.reader(2)?.get(PUBLIC, bytes("k")), Uint8Array.of(2));
    assert.throws(() => store.commit(3), refused("Internal"));
    assert.throws(() => store.commit(7), refused("Internal"));
    assert.deepEqual([store.committedVersion, store.headVersion], [4, 6]);
  });

  test("rollback drops versions down to the committed one and names the keys they wrote", () => {
    const store = make();
    for (const key of ["a", "b", "c"]) publish(store, (transaction) => transaction.put(PUBLIC, bytes(key), bytes("v")));
    store.commit(1);
    assert.throws(() => store.rollback(0), refused("Internal"));
    assert.deepEqual(
      store.rollback(1).map(({ key }) => key),
      [bytes("b"), bytes("c")],
    );
    assert.deepEqual(store.rollback(1), []);
    assert.equal(store.headVersion, 1);
    publish(store, (transaction) => transaction.put(PUBLIC, bytes("d"), bytes("w")));
    assert.deepEqual(content(store.reader(2)), ["3/61=76", "3/64=77"]);
  });

  test("a batch with one bad part adds nothing", () => {
    const store = make();
    const good = encodeWriteSet([{ table: PUBLIC, key: bytes("k"), value: bytes("v") }]);
    const unknown = encodeWriteSet([{ table: 2, key: bytes("k"), value: bytes("v") }]);
    assert.throws(() => store.apply([good, unknown]), refused("MalformedInput"));
    assert.throws(() => store.apply([good, NOTHING, good.subarray(0, 9)]), refused("MalformedInput"));
    assert.equal(store.headVersion, 0);
    assert.deepEqual(content(store.reader(0)), []);
    assert.equal(store.apply([]).version, 1);
    assert.equal([...store.apply([good, NOTHING, good, NOTHING]).written].length, 2);
    assert.deepEqual(content(store.reader(2)), ["3/6b=76"]);
    const other = encodeWriteSet([{ table: PUBLIC, key: bytes("k"), value: bytes("w") }]);
    assert.throws(() => store.apply([other, unknown]), refused("MalformedInput"));
    store.apply([]);
    for (const version of [2, 3]) assert.deepEqual(content(store.reader(version)), ["3/6b=76"]);
  });

  test("a public part writes public tables only, a private part the others only", () => {
    const store = make();
    const open = encodeWriteSet([{ table: PUBLIC, key: bytes("k"), value: bytes("v") }]);
    const sealed = encodeWriteSet([{ table: PRIVATE, key: bytes("k"), value: bytes("v") }]);
    for (const parts of [
      [sealed, NOTHING],
      [NOTHING, open],
      [open, sealed, sealed, open],
      [sealed, open],
    ])
      assert.throws(() => store.apply(parts), refused("MalformedInput"));
    assert.equal(store.headVersion, 0);
    assert.equal([...store.apply([open, sealed, NOTHING, sealed]).written].length, 3);
  });

  test("misuse is refused", () => {
    const store = make();
    const draft: BatchDraft = store.beginBatch();
    assert.throws(() => store.beginBatch(), refused("Internal"));
    assert.throws(() => store.apply([]), refused("Internal"));
    assert.throws(() => store.rollback(0), refused("Internal"));
    const transaction = draft.begin();
    assert.throws(() => draft.begin(), refused("Internal"));
    assert.throws(() => draft.publish(), refused("Internal"));
    assert.throws(() => transaction.put(2, bytes("k"), bytes("v")), refused("Internal"));
    assert.throws(() => transaction.get(2, bytes("k")), refused("Internal"));
    assert.throws(() => transaction.put(PUBLIC, new Uint8Array(0), bytes("v")), refused("MalformedInput"));
    assert.throws(
      () => transaction.put(PUBLIC, new Uint8Array(MAX_KEY_BYTES + 1), bytes("v")),
      refused("LimitExceeded"),
    );
    assert.throws(
      () => transaction.put(PUBLIC, bytes("k"), new Uint8Array(MAX_VALUE_BYTES + 1)),
      refused("LimitExceeded"),
    );
    draft.abandon();
    assert.throws(() => transaction.keep(), refused("Internal"));
    assert.throws(() => transaction.put(PUBLIC, bytes("k"), bytes("v")), refused("Internal"));
    assert.throws(() => draft.begin(), refused("Internal"));
    assert.throws(() => draft.abandon(), refused("Internal"));
    assert.equal(store.headVersion, 0);
    assert.equal(store.beginBatch().publish().version, 1);
    assert.throws(
      () => new VersionedStore({ tables: [...tables, { id: PUBLIC, name: "again" }], keptVersions: 0 }),
      refused("Internal"),
    );
    assert.throws(
      () => new VersionedStore({ tables: [{ id: 65536, name: "big" }], keptVersions: 0 }),
      refused("Internal"),
    );
    assert.throws(() => new VersionedStore({ tables, keptVersions: -1 }), refused("Internal"));
  });

  test("a transaction of 100,000 writes is kept as a whole", () => {
    const store = make();
    const key = new Uint8Array(8);
    const view = new DataView(key.buffer);
    const parts = publish(store, (transaction) => {
      for (let at = 0; at < 100_000; at++) {
        view.setUint32(0, Math.imul(at, 2654435761));
        view.setUint32(4, at);
        transaction.put(PRIVATE, key, key);
      }
    });
    let count = 0;
    for (const [found, value] of store.reader(1)?.scan(PRIVATE) ?? []) {
      assert.equal(found.join(), value.join());
      count++;
    }
    assert.equal(count, 100_000);
    assert.equal([...make().apply(parts).written].length, 100_000);
  });

  test("nothing of a draft that was abandoned comes into a version, whoever reads the draft afterwards", () => {
    const store = make();
    const key = (number: number): Bytes => bytes(`${Math.imul(number, 0x9e3779b1) >>> 0}`.padStart(10, "0"));
    const write = (draft: BatchDraft, numbers: number, value: string): void => {
      const transaction = draft.begin();
      for (let number = 0; number < numbers; number++) transaction.put(PRIVATE, key(number), bytes(value));
      transaction.keep();
    };
    // Many leaves, as puts are gathered only in a large tree.
    const first = store.beginBatch();
    write(first, 30_000, "stands as it was");
    store.commit(first.publish().version);
    const abandoned = store.beginBatch();
    write(abandoned, 30, "gone");
    abandoned.abandon();
    assert.deepEqual(abandoned.reader.get(PRIVATE, key(5)), bytes("gone"));
    const next = store.beginBatch();
    write(next, 1, "next");
    next.publish();
    for (const version of [1, 2])
      for (let number = 1; number < 30; number++) {
        assert.deepEqual(store.reader(version)?.get(PRIVATE, key(number)), bytes("stands as it was"));
        assert.equal(store.reader(version)?.versionOf(PRIVATE, key(number)), 1);
      }
  });
});
