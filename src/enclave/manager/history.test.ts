import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { RealLedger, transactionOf } from "../../../test/support/real-ledger.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { BLOCK_LEAVES } from "../../core/ledger/merkle-tree.ts";
import { History, HISTORY_QUERIES_MAX, HISTORY_RANGE_MAX } from "./history.ts";
import { sha256 } from "./node-crypto.ts";

const BATCHES = 1_700;

/** A ledger of small batches, compacted but for the newest two, and how often each batch was read from its disk. */
class PastLedger {
  readonly ledger = new RealLedger();
  readonly reads = new Map<number, number>();
  readonly history: History;
  change = (entry: LogEntry): LogEntry => entry;
  /** Batches before this index are not on this disk. */
  firstStored = 1;

  constructor() {
    const { ledger } = this;
    ledger.found();
    for (let at = 0; at < BATCHES; at++) ledger.add([transactionOf({ publicPart: Uint8Array.of(at % 256) })]);
    ledger.tail.compact(ledger.tail.lastIndex - 2);
    const disk = { read: this.#read.bind(this) };
    this.history = new History({ tail: ledger.tail, disk, sha256 });
  }

  #read(fromIndex: number, maxBytes: number, done: (entries: readonly LogEntry[]) => void): void {
    const found: LogEntry[] = [];
    let bytes = 0;
    for (const entry of fromIndex < this.firstStored ? [] : this.ledger.entries.slice(fromIndex - 1)) {
      bytes += entry.data.length;
      if (found.length > 0 && bytes > maxBytes) break;
      found.push(this.change(entry));
    }
    for (const { index } of found) this.reads.set(index, (this.reads.get(index) ?? 0) + 1);
    setImmediate(() => done(found));
  }

  /** Entries read since the last call, and how often the one that was read most. */
  count(): { readonly entries: number; readonly most: number } {
    const counts = [...this.reads.values()];
    this.reads.clear();
    return { entries: counts.reduce((total, one) => total + one, 0), most: Math.max(0, ...counts) };
  }
}

describe("the past", () => {
  let past: PastLedger;
  before(() => {
    past = new PastLedger();
  });

  test("of a range is read and proven a few times at most, however many batches it has", async () => {
    const from = BLOCK_LEAVES - 200;
    const batches = await past.history.query((query) => query.range(from, from + 500));
    assert.equal(batches.length, 251);
    assert.ok((batches[0]?.header.firstSeqno ?? 0) <= from);
    const { most, entries } = past.count();
    assert.ok(most <= 8, `one batch was read ${most} times`);
    assert.ok(entries <= 4 * past.ledger.entries.length, `${entries} reads for ${batches.length} batches`);
  });

  test("goes on where a range that was too long ended", async () => {
    const seen: number[] = [];
    const { lastSeqno } = past.ledger.tail;
    let pages = 0;
    for (let next = 1; next <= lastSeqno; pages++) {
      const batches = await past.history.query((query) => query.range(next, lastSeqno));
      assert.ok(batches.length > 0 && batches.length <= HISTORY_RANGE_MAX);
      seen.push(...batches.map(({ header }) => header.index));
      const last = batches.at(-1)?.header;
      next = last === undefined ? lastSeqno + 1 : last.firstSeqno + last.count + 1;
    }
    assert.deepEqual(
      seen,
      past.ledger.entries.map(({ index }) => index),
    );
    assert.equal(pages, Math.ceil(past.ledger.entries.length / HISTORY_RANGE_MAX));
  });

  test("gives the leaves that the path of a compacted transaction needs", async () => {
    const { tail } = past.ledger;
    for (const seqno of [1, BLOCK_LEAVES, BLOCK_LEAVES + 1, 3 * BLOCK_LEAVES, tail.lastSeqno - 1]) {
      await past.history.query(async (query) => {
        const { firstSeqno, count } = (await query.batchOf(seqno)).header;
        assert.ok(firstSeqno <= seqno && seqno <= firstSeqno + count);
        const leavesOf = await query.leavesFor(seqno, firstSeqno + count);
        assert.ok(tail.path(seqno, firstSeqno + count, leavesOf).length > 0);
      });
    }
  });

  test("that was changed on disk is refused, whichever batch of the block it is in", async () => {
    const asked = 500;
    for (const changed of [asked, asked + 20]) {
      past.change = (entry) =>
        entry.index === changed ? { ...entry, data: past.ledger.entries[changed]?.data ?? entry.data } : entry;
      const query = past.history.query((one) => one.range(2 * asked, 2 * asked));
      await assert.rejects(query, { code: "LedgerCorrupt" });
    }
    past.change = (entry) => entry;
  });

  test("that is not on this disk is not found", async () => {
    past.firstStored = 900;
    await assert.rejects(
      past.history.query((one) => one.range(100, 110)),
      { code: "NotFound" },
    );
    past.firstStored = 1;
    for (const seqno of [0, past.ledger.tail.lastSeqno + 1])
      await assert.rejects(
        past.history.query((one) => one.batchOf(seqno)),
        { code: "NotFound" },
      );
  });

  test("is asked for by a few at a time; an ended query makes room", async () => {
    const running = Array.from({ length: HISTORY_QUERIES_MAX }, () => past.history.query((one) => one.batchOf(5)));
    await assert.rejects(
      past.history.query((one) => one.batchOf(5)),
      { code: "TooManyRequests" },
    );
    await Promise.all(running);
    await past.history.query((one) => one.batchOf(5));
  });
});
