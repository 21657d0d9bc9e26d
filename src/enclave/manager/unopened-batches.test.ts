import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EMPTY } from "../../core/codec/bytes.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { buildBatch } from "../../core/ledger/batch.ts";
import { type BatchKind, type ParsedBatch, parseBatch } from "../../core/ledger/batch-format.ts";
import { makeNode } from "../../core/ledger/fixture.test.ts";
import { LedgerKeys } from "../../core/ledger/keys.ts";
import { LedgerTail } from "../../core/ledger/tail.ts";
import { CheckedData } from "./checked-data.ts";
import { UnopenedBatches } from "./unopened-batches.ts";

/** A ledger of application batches of several epochs, and a node that applies what it can open. */
class Bench {
  readonly entries: LogEntry[] = [];
  readonly applied: number[] = [];
  readonly held = new Set<number>();
  ends = 0;
  committedIndex = 0;
  readonly #node = makeNode();
  readonly #tail = new LedgerTail(this.#node.crypto.sha256);
  readonly #reads: (() => void)[] = [];
  readonly #checked = new CheckedData(this.#tail, this.#node.crypto.sha256);
  readonly fatal: string[] = [];
  /** What the disk makes of an entry. */
  change = (entry: LogEntry): LogEntry => entry;
  /** Entries that one read of the disk gives. */
  readBatch = 2;
  readonly unopened = new UnopenedBatches({
    disk: {
      read: (fromIndex, _maxBytes, done) =>
        void this.#reads.push(() =>
          done(this.entries.slice(fromIndex - 1, fromIndex - 1 + this.readBatch).map(this.change)),
        ),
    },
    check: (entry) => this.#checked.batchOf(entry),
    onFatal: ({ code }) => this.fatal.push(code),
    canOpen: (epoch) => this.held.has(epoch),
    committedIndex: () => this.committedIndex,
    apply: (batch) => this.#apply(batch),
    onEnd: () => this.ends++,
  });

  #apply({ header }: ParsedBatch): void {
    assert.ok(this.held.has(header.epoch), "opened by its key");
    this.applied.push(header.index);
  }

  /** Appends a batch to the log. */
  append(epoch: number, kind: BatchKind = "application"): ParsedBatch {
    const transaction = { id: EMPTY, publicPart: EMPTY, privatePart: EMPTY, claimsDigest: undefined };
    const { bytes } = buildBatch(
      {
        ...{ kind, view: 2, governanceVersion: 1, timeMs: 0, epoch, nonceCounter: this.entries.length + 1 },
        adapterId: kind === "application" ? 1 : 0,
        salt: new Uint8Array(16),
        signer: this.#node.id,
        transactions: [transaction],
      },
      this.#tail,
      new LedgerKeys(this.#node.crypto, () => new Uint8Array(32)),
      this.#node.crypto,
    );
    const batch = parseBatch(bytes);
    this.entries.push({ index: batch.header.index, term: 2, data: bytes });
    return batch;
  }

  /** Commits a batch: it is applied at once unless it has to wait. */
  commit(batch: ParsedBatch): void {
    this.committedIndex = batch.header.index;
    if (!this.unopened.holds(batch) && batch.header.kind === "application") this.#apply(batch);
  }

  /** The key of an epoch comes. */
  grant(epoch: number): void {
    this.held.add(epoch);
    this.unopened.keysChanged();
  }

  /** The disk answers what it was asked. */
  answer(): void {
    while (this.#reads.length > 0) this.#reads.shift()?.();
  }
}

describe("batches that a node cannot open yet", () => {
  test("are applied in order when their keys come, and before what follows them", () => {
    const bench = new Bench();
    bench.held.add(3);
    for (const epoch of [1, 1, 2, 3]) bench.commit(bench.append(epoch));
    assert.deepEqual([bench.applied, bench.unopened.waiting], [[], true], "the last could be opened, and has to wait");
    bench.grant(2);
    bench.answer();
    assert.deepEqual(bench.applied, []);
    bench.grant(1);
    bench.answer();
    assert.deepEqual([bench.applied, bench.unopened.waiting, bench.ends], [[1, 2, 3, 4], false, 1]);
    bench.commit(bench.append(3));
    assert.deepEqual(bench.applied, [1, 2, 3, 4, 5]);
  });

  test("are applied as far as the keys go", () => {
    const bench = new Bench();
    for (const epoch of [1, 1, 2, 1]) bench.commit(bench.append(epoch));
    bench.grant(1);
    bench.answer();
    assert.deepEqual([bench.applied, bench.unopened.waiting, bench.ends], [[1, 2], true, 0]);
    bench.grant(2);
    bench.answer();
    assert.deepEqual([bench.applied, bench.ends], [[1, 2, 3, 4], 1]);
  });

  test("are applied only when they are committed, also while the disk reads", () => {
    const bench = new Bench();
    bench.commit(bench.append(1));
    bench.grant(1);
    const second = bench.append(1);
    bench.append(1);
    bench.commit(second);
    bench.answer();
    assert.deepEqual([bench.applied, bench.ends], [[1, 2], 1]);
  });

  test("let administrative batches pass, which nobody needs a key for", () => {
    const bench = new Bench();
    bench.commit(bench.append(0, "administrative"));
    assert.equal(bench.unopened.waiting, false);
    bench.commit(bench.append(1));
    bench.commit(bench.append(0, "administrative"));
    bench.grant(1);
    bench.answer();
    assert.deepEqual([bench.applied, bench.unopened.waiting], [[2], false]);
  });

  test("are not applied when the disk returns others than were verified", () => {
    const flipped = ({ data, ...entry }: LogEntry): LogEntry => ({
      ...entry,
      data: data.map((byte, at) => (at === 70 ? byte ^ 1 : byte)),
    });
    for (const change of [flipped, (entry: LogEntry) => ({ ...entry, index: entry.index + 1 })]) {
      const bench = new Bench();
      for (const epoch of [1, 1]) bench.commit(bench.append(epoch));
      bench.change = change;
      bench.grant(1);
      bench.answer();
      assert.deepEqual([bench.applied, bench.fatal, bench.ends], [[], ["LedgerCorrupt"], 0]);
    }
  });

  test("are forgotten when a snapshot takes their place, whatever the disk still reads", () => {
    const bench = new Bench();
    for (const epoch of [1, 1]) bench.commit(bench.append(epoch));
    bench.grant(1);
    bench.unopened.forget();
    bench.answer();
    assert.deepEqual([bench.applied, bench.unopened.waiting, bench.ends], [[], false, 0]);
  });
});
