import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { type Bytes, ByteWriter, concatBytes, toHex } from "../codec/bytes.ts";
import type { BatchHeader } from "./batch-format.ts";
import { indexOfSeqno } from "./batch-table.ts";
import { sha256 } from "./fixture.test.ts";
import { BLOCK_LEAVES, rootFromPath } from "./merkle-tree.ts";
import { LedgerTail, type LeavesOf, type TailSnapshot } from "./tail.ts";

/** Leaf of a sequence number. */
const leafAt = (seqno: number): Bytes => sha256(new ByteWriter(8).u64(seqno).finish());

/** Extends tails by the same batch of `count` transactions. */
function extend(tails: readonly LedgerTail[], count: number, view: number): void {
  for (const tail of tails) {
    const firstSeqno = tail.lastSeqno + 1;
    const header: BatchHeader = {
      kind: "application",
      view,
      index: tail.lastIndex + 1,
      firstSeqno,
      count,
      adapterId: 1,
      governanceVersion: 1,
      timeMs: 1000 + firstSeqno,
      epoch: 1,
      salt: new Uint8Array(16),
      nonceCounter: firstSeqno,
      previousDigest: tail.lastDigest,
      signer: new Uint8Array(32),
      publicLength: 0,
      sealedLength: 0,
    };
    tail.extend(header, concatBytes(...Array.from({ length: count + 1 }, (_, at) => leafAt(firstSeqno + at))));
  }
}

const leavesOf: LeavesOf = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => leafAt(from + at));

/** Everything a compacted tail must still answer as the whole one does. */
function assertSame(compacted: LedgerTail, whole: LedgerTail, seqnos: readonly number[]): void {
  assert.equal(compacted.lastIndex, whole.lastIndex);
  assert.equal(compacted.lastSeqno, whole.lastSeqno);
  assert.equal(compacted.lastView, whole.lastView);
  assert.deepEqual(compacted.last, whole.last);
  assert.deepEqual(compacted.viewHistory(), whole.viewHistory());
  assert.equal(toHex(compacted.root()), toHex(whole.root()));
  for (const seqno of seqnos) {
    assert.equal(compacted.viewOfSeqno(seqno), whole.viewOfSeqno(seqno));
    const record = whole.batchOfSeqno(seqno);
    assert.ok(record !== undefined);
    const found = compacted.batchOfSeqno(seqno);
    if (record.index >= compacted.firstIndex - 1) assert.deepEqual(found, record);
    else assert.equal(found, undefined);
    const path = compacted.path(seqno, record.signatureSeqno, leavesOf);
    assert.deepEqual(path, whole.path(seqno, record.signatureSeqno));
    assert.equal(toHex(rootFromPath(leafAt(seqno), path, sha256)), toHex(whole.root(record.signatureSeqno)));
  }
}

const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 300, max: 1200 })), {
  minLength: 2,
  maxLength: 9,
});

describe("compacted ledger tail", () => {
  test("has the roots, paths, views and statuses of the whole one, also when it grows, shrinks or is restored", () => {
    const at = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(sizes, at, at, fc.array(at, { minLength: 6, maxLength: 6 }), (counts, cut, undone, places) => {
        const whole = new LedgerTail(sha256);
        const compacted = new LedgerTail(sha256);
        counts.forEach((count, position) => extend([whole, compacted], count, 1 + Math.floor(position / 2)));
        const index = 1 + Math.floor(cut * (counts.length - 1));
        const restored = LedgerTail.fromSnapshot(sha256, whole.toSnapshot(index));
        const replaced = new LedgerTail(sha256);
        extend([replaced], 5, 1);
        replaced.restore(LedgerTail.fromSnapshot(sha256, whole.toSnapshot(index)));
        assert.deepEqual(replaced.toSnapshot(), restored.toSnapshot());
        compacted.compact(index);
        assert.equal(compacted.firstIndex, index + 1);
        assert.equal(restored.firstIndex, index + 1);
        assert.deepEqual(compacted.toSnapshot(index), restored.toSnapshot());
        for (const count of counts.slice(index)) {
          const view = whole.record(restored.lastIndex + 1)?.view ?? 0;
          extend([restored], count, view);
        }
        const from = index + 1 + Math.floor(undone * (counts.length - index));
        for (const tail of [whole, compacted, restored]) tail.truncate(from);
        extend([whole, compacted, restored], 700, 99);
        const seqnos = places.map((place) => 1 + Math.floor(place * (whole.lastSeqno - 1)));
        for (const tail of [compacted, restored]) assertSame(tail, whole, seqnos);
        // Compacting again gives the tail that was compacted once.
        compacted.compact(compacted.lastIndex);
        assertSame(compacted, whole, seqnos);
      }),
      { numRuns: 25 },
    );
  });

  test("keeps one block of leaves and the batch it was compacted to", () => {
    const tail = new LedgerTail(sha256);
    for (let batch = 0; batch < 40; batch++) extend([tail], 99, 1);
    tail.compact(39);
    const snapshot = tail.toSnapshot(39);
    assert.equal(snapshot.blocks.length, 3 * 32);
    assert.equal(snapshot.leaves.length, (3900 - 3 * BLOCK_LEAVES) * 32);
    assert.equal(tail.record(38), undefined);
    assert.equal(tail.record(39)?.firstSeqno, 3801);
    assert.equal(tail.batchOfSeqno(3800), undefined);
    assert.equal(tail.status(1, 5, 4000), "Committed");
    assert.deepEqual(tail.missingLeaves(5, 100), [{ from: 1, to: 1024 }]);
    assert.deepEqual(tail.missingLeaves(1020, 1100), [
      { from: 1, to: 1024 },
      { from: 1025, to: 2048 },
    ]);
    assert.deepEqual(tail.missingLeaves(3801, 3900), []);
  });

  test("leaves of an old block that are missing or not the ledger's are refused by name", () => {
    const tail = new LedgerTail(sha256);
    for (let batch = 0; batch < 3; batch++) extend([tail], 1023, 1);
    tail.compact(3);
    const refuses = (source: LeavesOf | undefined, code: string): void =>
      assert.throws(
        () => tail.path(1500, 2048, source),
        (error) => error instanceof CocoError && error.code === code && error.data["from"] === 1025,
      );
    refuses(undefined, "NotFound");
    refuses(() => undefined, "NotFound");
    refuses((from, to) => leavesOf(from, to - 1), "LedgerCorrupt");
    refuses((from, to) => leavesOf(from + 1, to + 1), "LedgerCorrupt");
    assert.equal(tail.path(1500, 2048, leavesOf).length, 11);
  });

  test("a tail snapshot that does not fit together is refused", () => {
    const tail = new LedgerTail(sha256);
    for (let batch = 0; batch < 4; batch++) extend([tail], 500, 1 + batch);
    const good = tail.toSnapshot();
    const last = good.last;
    const wrong: readonly TailSnapshot[] = [
      { ...good, blocks: good.blocks.subarray(1) },
      { ...good, leaves: good.leaves.subarray(32) },
      { ...good, leaves: good.leaves.map((byte, at) => (at === 40 ? byte ^ 1 : byte)) },
      { ...good, blocks: good.blocks.map((byte, at) => (at === 7 ? byte ^ 1 : byte)) },
      { ...good, views: [] },
      { ...good, views: good.views.toReversed() },
      { ...good, views: good.views.slice(0, -1) },
      { ...good, views: good.views.slice(1) },
      { ...good, last: { ...last, count: last.count + 1 } },
      { ...good, last: { ...last, index: 0 } },
      { ...good, last: { ...last, digest: sha256(last.digest) } },
      { ...good, last: { ...last, digest: last.digest.subarray(1) } },
    ];
    for (const snapshot of wrong) {
      assert.throws(
        () => LedgerTail.fromSnapshot(sha256, snapshot),
        (error) => error instanceof CocoError && error.code === "MalformedInput",
      );
    }
    assert.equal(LedgerTail.fromSnapshot(sha256, good).lastSeqno, tail.lastSeqno);
  });

  test("a batch is found by sequence number over looked-up batches as over the table", () => {
    const tail = new LedgerTail(sha256);
    for (const count of [3, 1, 50, 7, 2, 900]) extend([tail], count, 1);
    const bounds = { first: 1, last: tail.lastIndex };
    let lookups = 0;
    const lookup = (index: number) => {
      lookups++;
      return tail.record(index);
    };
    for (let seqno = 1; seqno <= tail.lastSeqno; seqno++)
      assert.equal(indexOfSeqno(seqno, lookup, bounds), tail.batchOfSeqno(seqno)?.index);
    assert.ok(lookups <= 3 * tail.lastSeqno);
    assert.equal(indexOfSeqno(tail.lastSeqno + 1, lookup, bounds), undefined);
    assert.equal(indexOfSeqno(1, lookup, { first: 2, last: 3 }), undefined);
    assert.equal(
      indexOfSeqno(1, () => undefined, bounds),
      undefined,
    );
  });
});

describe("a ledger that goes on where another is committed", () => {
  /** A tail of these batches (transactions, view), one leaf of which differs; 0: none. */
  function tailOf(batches: readonly (readonly [count: number, view: number])[], different = 0): LedgerTail {
    const tail = new LedgerTail(sha256);
    for (const [count, view] of batches) {
      const firstSeqno = tail.lastSeqno + 1;
      const header: BatchHeader = {
        kind: "application",
        view,
        index: tail.lastIndex + 1,
        firstSeqno,
        count,
        adapterId: 1,
        governanceVersion: 1,
        timeMs: 1000,
        epoch: 1,
        salt: new Uint8Array(16),
        nonceCounter: firstSeqno,
        previousDigest: tail.lastDigest,
        signer: new Uint8Array(32),
        publicLength: 0,
        sealedLength: 0,
      };
      const leafOf = (seqno: number) => (seqno === different ? sha256(leafAt(seqno)) : leafAt(seqno));
      tail.extend(header, concatBytes(...Array.from({ length: count + 1 }, (_, at) => leafOf(firstSeqno + at))));
    }
    return tail;
  }

  const committed = [
    [700, 2],
    [700, 2],
    [100, 4],
  ] as const;
  const own = tailOf(committed);
  const { lastSeqno } = own;
  const compacted = (tail: LedgerTail) => LedgerTail.fromSnapshot(sha256, tail.toSnapshot());

  test("has the same views and the same complete blocks, however it goes on", () => {
    for (const more of [[], [[900, 4]], [[5, 5]]] as const)
      assert.equal(own.isContinuedBy(compacted(tailOf([...committed, ...more])), lastSeqno), true);
  });

  test("is none that is shorter, differs in a complete block, or was made in other views", () => {
    const longer = [...committed, [2_000, 6]] as const;
    const others = [
      tailOf(committed.slice(0, 2)),
      tailOf(longer, 1),
      tailOf(longer, BLOCK_LEAVES),
      tailOf([
        [700, 2],
        [700, 3],
        [100, 4],
        [2_000, 6],
      ]),
      tailOf([
        [700, 2],
        [700, 2],
        [100, 2],
        [2_000, 6],
      ]),
    ];
    for (const [at, other] of others.entries())
      assert.equal(own.isContinuedBy(compacted(other), lastSeqno), false, `ledger ${at}`);
  });
});
