import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { toHex } from "../codec/bytes.ts";
import { parseBatch } from "./batch-format.ts";
import { makeNode, publicTransaction, sha256, TestLedger } from "./fixture.test.ts";
import { LedgerTail } from "./tail.ts";

/** Batches of the given sizes, one view each. */
function ledgerOf(batches: readonly { readonly view: number; readonly count: number }[]): {
  readonly ledger: TestLedger;
  readonly bytes: readonly Uint8Array[];
} {
  const ledger = new TestLedger();
  const bytes = batches.map(({ view, count }) => {
    const transactions = Array.from({ length: count }, (_, at) => publicTransaction(at));
    return ledger.build(transactions, { view }).bytes;
  });
  return { ledger, bytes };
}

describe("ledger tail", () => {
  test("a sequence number leads to its batch and view, and no other does", () => {
    const { tail } = ledgerOf([
      { view: 2, count: 3 },
      { view: 2, count: 1 },
      { view: 5, count: 2 },
    ]).ledger;
    const found = Array.from({ length: 11 }, (_, seqno) => [tail.batchOfSeqno(seqno)?.index, tail.viewOfSeqno(seqno)]);
    const [none, first, second, third] = [
      [undefined, undefined],
      [1, 2],
      [2, 2],
      [3, 5],
    ];
    assert.deepEqual(found, [none, first, first, first, first, second, second, third, third, third, none]);
    assert.deepEqual(tail.viewHistory(), [
      { view: 2, firstSeqno: 1 },
      { view: 5, firstSeqno: 7 },
    ]);
    assert.deepEqual(tail.viewHistory(6), [{ view: 2, firstSeqno: 1 }]);
  });

  test("transaction ids have the status CCF gives them", () => {
    const { tail } = ledgerOf([
      { view: 2, count: 3 },
      { view: 4, count: 1 },
    ]).ledger;
    assert.equal(tail.status(2, 3, 4), "Committed");
    assert.equal(tail.status(1, 3, 4), "Invalid");
    assert.equal(tail.status(3, 3, 4), "Invalid");
    assert.equal(tail.status(4, 5, 4), "Pending");
    assert.equal(tail.status(2, 5, 4), "Unknown");
    assert.equal(tail.status(1, 5, 4), "Invalid");
    assert.equal(tail.status(2, 5, 6), "Invalid");
    assert.equal(tail.status(4, 7, 6), "Unknown");
    assert.equal(tail.status(2, 7, 6), "Invalid");
    assert.equal(tail.status(5, 7, 6), "Unknown");
    assert.equal(tail.status(2, 1, 0), "Pending");
    assert.equal(tail.status(9, 1, 0), "Unknown");
  });

  test("a suffix that is undone leaves the ledger as if it had never been", () => {
    const sizes = fc.array(fc.record({ view: fc.constant(1), count: fc.integer({ min: 1, max: 4 }) }), {
      minLength: 1,
      maxLength: 6,
    });
    const node = makeNode();
    fc.assert(
      fc.property(sizes, fc.nat(5), (batches, cut) => {
        const ledger = new TestLedger(node);
        const expected = new LedgerTail(sha256);
        const kept = Math.min(cut, batches.length);
        batches.forEach(({ count }, at) => {
          const transactions = Array.from({ length: count }, (_, value) => publicTransaction(value));
          const { bytes } = ledger.build(transactions, { view: 1 + at });
          if (at < kept) expected.append(parseBatch(bytes));
        });
        ledger.tail.truncate(kept + 1);
        assert.deepEqual(ledger.tail.last, expected.last);
        assert.deepEqual(ledger.tail.viewHistory(), expected.viewHistory());
        assert.equal(ledger.tail.lastSeqno, expected.lastSeqno);
        const next = ledger.build([publicTransaction(7)], { view: 9 });
        expected.append(parseBatch(next.bytes));
        assert.equal(toHex(ledger.tail.root()), toHex(expected.root()));
      }),
      { numRuns: 30 },
    );
  });

  test("a batch out of its place is refused with its index, and changes nothing", () => {
    const { bytes } = ledgerOf([
      { view: 1, count: 1 },
      { view: 1, count: 1 },
      { view: 1, count: 2 },
    ]);
    const [first, second, third] = bytes.map((batch) => parseBatch(batch));
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    const tail = new LedgerTail(sha256);
    const refusesBatch = (index: number) => (error: unknown) =>
      error instanceof CocoError && error.code === "LedgerCorrupt" && error.data["index"] === index;
    assert.throws(() => tail.append(second), refusesBatch(2));
    tail.append(first);
    assert.throws(() => tail.append(first), refusesBatch(1));
    assert.throws(() => tail.append(third), refusesBatch(3));
    assert.throws(() => tail.append({ ...second, root: first.root }), refusesBatch(2));
    assert.throws(
      () => tail.append({ ...second, header: { ...second.header, previousDigest: first.root } }),
      refusesBatch(2),
    );
    assert.equal(tail.lastIndex, 1);
    tail.append(second);
    assert.equal(tail.lastSeqno, 4);
  });
});
