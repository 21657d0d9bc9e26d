import { describe, test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { bytesEqual, toHex, type Bytes } from "../codec/bytes.ts";
import type { BatchDraft, DraftTransaction } from "./draft.ts";
import { StateBuilder } from "./state-builder.ts";
import { exportState, SMALLEST_PART_BYTES } from "./state-parts.ts";
import { VersionedStore } from "./store.ts";
import type { StateReader } from "./types.ts";

const KEPT = 2;
const TABLES = [
  { id: 0, name: "public:open" },
  { id: 7, name: "sealed" },
];

/** Table and key as text to value and version as text: what a version of the store is, without any cleverness. */
type Content = ReadonlyMap<string, string>;

const name = (table: number, key: Bytes): string => `${table}/${toHex(key)}`;

const described = (value: Bytes, version: number | undefined): string => `${toHex(value)} of ${version}`;

function check(reader: StateReader | undefined, expected: Content | undefined): void {
  assert.equal(reader === undefined, expected === undefined);
  if (reader === undefined || expected === undefined) return;
  const found = TABLES.flatMap(({ id }) =>
    [...reader.scan(id)].map(([key, value]) => [name(id, key), described(value, reader.versionOf(id, key))]),
  );
  assert.deepEqual(
    found,
    [...expected].sort(([left], [right]) => (left < right ? -1 : 1)),
  );
}

/** The store beside its model, and a second store that only applies what the first one publishes. */
class System {
  readonly store = new VersionedStore({ tables: TABLES, keptVersions: KEPT });
  readonly follower = new VersionedStore({ tables: TABLES, keptVersions: KEPT });
  versions: Content[] = [new Map()];
  committed = 0;
  draft: BatchDraft | undefined;
  draftContent = new Map<string, string>();
  parts: Bytes[] = [];
  transaction: DraftTransaction | undefined;
  transactionContent = new Map<string, string>();
  /** Names of keys written per version, to check what rollback tells. */
  written: string[][] = [[]];
  keptWrites: string[] = [];
  /** Readers somebody still has, also of versions that were dropped, with what they read when they were handed out. */
  readonly held: (readonly [reader: StateReader, expected: Content])[] = [];
  transactionWrites = new Set<string>();

  open(): DraftTransaction {
    if (this.draft === undefined) {
      this.draft = this.store.beginBatch();
      this.draftContent = new Map(this.versions.at(-1));
      this.parts = [];
      this.keptWrites = [];
    }
    if (this.transaction === undefined) {
      this.transaction = this.draft.begin();
      this.transactionContent = new Map(this.draftContent);
      this.transactionWrites = new Set();
    }
    return this.transaction;
  }

  put(table: number, key: Bytes, value: Bytes): void {
    this.open().put(table, key, value);
    this.transactionContent.set(name(table, key), described(value, this.versions.length));
    this.transactionWrites.add(name(table, key));
  }

  remove(table: number, key: Bytes): void {
    this.open().delete(table, key);
    assert.equal(this.open().versionOf(table, key), undefined);
    this.transactionContent.delete(name(table, key));
    this.transactionWrites.add(name(table, key));
  }

  scan(table: number, from: Bytes | undefined, to: Bytes | undefined, limit: number | undefined): void {
    const transaction = this.open();
    const found = [...transaction.scan(table, from, to, limit)].map(
      ([key, value]) => `${name(table, key)}=${described(value, transaction.versionOf(table, key))}`,
    );
    const expected = [...this.transactionContent]
      .filter(([key]) => key.startsWith(`${table}/`))
      .filter(
        ([key]) => (from === undefined || key >= name(table, from)) && (to === undefined || key < name(table, to)),
      )
      .map(([key, value]) => `${key}=${value}`)
      .sort((left, right) => ((left.split("=")[0] as string) < (right.split("=")[0] as string) ? -1 : 1));
    assert.deepEqual(found, expected.slice(0, limit));
  }

  endTransaction(keep: boolean): void {
    const transaction = this.open();
    check(transaction, this.transactionContent);
    this.transaction = undefined;
    if (!keep) return transaction.discard();
    const { publicPart, privatePart } = transaction.keep();
    this.parts.push(publicPart, privatePart);
    this.draftContent = this.transactionContent;
    this.keptWrites.push(...[...this.transactionWrites].sort());
  }

  endDraft(publish: boolean): void {
    if (this.transaction !== undefined) this.endTransaction(publish);
    if (this.draft === undefined) return;
    check(this.draft.reader, this.draftContent);
    this.held.push([this.draft.reader, this.draftContent]);
    const { draft } = this;
    this.draft = undefined;
    if (!publish) return draft.abandon();
    const added = draft.publish();
    const applied = this.follower.apply(this.parts);
    assert.equal(added.version, this.versions.length);
    assert.equal(applied.version, this.versions.length);
    for (const { written } of [added, applied]) {
      assert.deepEqual(
        Array.from(written, ({ table, key }) => name(table, key)),
        this.keptWrites,
      );
    }
    this.versions.push(this.draftContent);
    for (const store of [this.store, this.follower])
      this.held.push([store.reader(store.headVersion) as StateReader, this.draftContent]);
    this.written.push(this.keptWrites);
  }

  commit(part: number): void {
    this.committed += part % (this.versions.length - this.committed);
    for (const store of [this.store, this.follower]) store.commit(this.committed);
  }

  rollback(part: number): void {
    this.endDraft(false);
    const version = this.committed + (part % (this.versions.length - this.committed));
    const expected = this.written.slice(version + 1).flat();
    for (const store of [this.store, this.follower]) {
      assert.deepEqual(
        store.rollback(version).map(({ table, key }) => name(table, key)),
        expected,
      );
    }
    this.versions = this.versions.slice(0, version + 1);
    this.written = this.written.slice(0, version + 1);
  }

  checkAll(): void {
    for (const store of [this.store, this.follower]) {
      assert.equal(store.headVersion, this.versions.length - 1);
      assert.equal(store.committedVersion, this.committed);
      for (let version = 0; version <= this.versions.length; version++) {
        check(store.reader(version), version < this.committed - KEPT ? undefined : this.versions[version]);
      }
    }
    this.checkSnapshots();
    for (const [reader, expected] of this.held) check(reader, expected);
  }

  /** Every kept version exports the same on both stores, and what is restored from it is that version. */
  checkSnapshots(): void {
    for (let version = Math.max(0, this.committed - KEPT); version < this.versions.length; version++) {
      const [parts, others] = [this.store, this.follower].map((store) => [
        ...exportState(store.reader(version) as StateReader, TABLES, SMALLEST_PART_BYTES),
      ]) as [Bytes[], Bytes[]];
      assert.deepEqual(parts.map(toHex), others.map(toHex));
      const builder = new StateBuilder(TABLES);
      for (const part of parts) builder.add(part);
      const restored = new VersionedStore({ tables: TABLES, keptVersions: KEPT });
      restored.restore(version, builder);
      assert.deepEqual([restored.headVersion, restored.committedVersion], [version, version]);
      check(restored.reader(version), this.versions[version]);
    }
  }
}

const table = fc.constantFrom(0, 7);
const key = fc.uint8Array({ minLength: 1, maxLength: 2, max: 12 });
const bound = fc.option(key, { nil: undefined });
const part = fc.nat(20);
const value = fc.oneof(
  fc.uint8Array({ maxLength: 5 }),
  fc.constantFrom(new Uint8Array(900).fill(1), new Uint8Array(1500).fill(2)),
);
type Step = (system: System) => void;
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.tuple(table, key, value).map(
      ([at, one, other]): Step =>
        (system) =>
          system.put(at, one, other),
    ),
  },
  {
    weight: 5,
    arbitrary: fc.tuple(table, key).map(
      ([at, one]): Step =>
        (system) =>
          system.remove(at, one),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(table, bound, bound, fc.option(fc.nat(5), { nil: undefined })).map(
      ([at, from, to, limit]): Step =>
        (system) =>
          system.scan(at, from, to, limit),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.boolean().map(
      (keep): Step =>
        (system) =>
          system.endTransaction(keep),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.nat(4).map(
      (odds): Step =>
        (system) =>
          system.endDraft(odds > 0),
    ),
  },
  {
    weight: 1,
    arbitrary: part.map(
      (at): Step =>
        (system) =>
          system.commit(at),
    ),
  },
  {
    weight: 1,
    arbitrary: part.map(
      (at): Step =>
        (system) =>
          system.rollback(at),
    ),
  },
);

describe("versioned store against sorted maps", () => {
  test("any sequence of writes, scans, batches, commits and rollbacks gives the same versions, and so does applying", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 150, size: "max" }), (steps) => {
        const system = new System();
        for (const run of steps) run(system);
        system.endDraft(true);
        system.checkAll();
      }),
      { numRuns: 150 },
    );
  });

  test("a get agrees with the scan for every key", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value), { maxLength: 60 }), (writes) => {
        const system = new System();
        for (const [one, other] of writes) system.put(7, one, other);
        const transaction = system.open();
        for (const [one, other] of transaction.scan(7)) assert.ok(bytesEqual(transaction.get(7, one) as Bytes, other));
        assert.equal(transaction.get(0, Uint8Array.of(1)), undefined);
        assert.equal([...transaction.scan(7)].length, new Set(writes.map(([one]) => toHex(one))).size);
      }),
    );
  });
});
