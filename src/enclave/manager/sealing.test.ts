import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { foundNetwork } from "../../../test/simulation/founding.ts";
import { NonceWatch } from "../../../test/simulation/simulated-crypto.ts";
import { EMPTY, fromHex, toHex, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { encodeAdministrative } from "../../core/governance/administrative-codec.ts";
import type { BatchTransaction } from "../../core/ledger/batch.ts";
import { type ParsedBatch, parseBatch } from "../../core/ledger/batch-format.ts";
import { LedgerTail } from "../../core/ledger/tail.ts";
import { Administration } from "./administration.ts";
import { EpochKeys } from "./epoch-keys.ts";
import { administrativeTransaction, Sealing } from "./sealing.ts";

const founded = foundNetwork({ nodeCount: 3, settings: { epoch: { lengthMs: 0, keyCacheMs: 1_000 } } });
const nodeId = founded.constitution.nodes[0]?.nodeId ?? "";

const secret = (text: string): BatchTransaction => ({
  id: EMPTY,
  publicPart: EMPTY,
  privatePart: utf8Encode(text),
  claimsDigest: undefined,
});

/** A node that seals, under a watch that lets no key and nonce, and no keystream, be used twice. */
class Bench {
  readonly administration = new Administration(founded.constitution, founded.networkId, founded.governanceCrypto);
  readonly tail: LedgerTail;
  readonly sealing: Sealing;
  readonly nonces = new NonceWatch();
  wallTime = 5_000;
  /** Lets the time of keys of ended epochs pass. */
  expire: () => void = () => undefined;
  #now = 0;
  /** A batch is opened with the keystream it was built with. */
  #opening = false;

  constructor() {
    const cheap = founded.cryptoOf(0);
    const streams = new Set<string>();
    const crypto = this.nonces.watch({
      ...cheap,
      keystream: (key, counter, length) => {
        const use = `${toHex(key)} ${toHex(counter)}`;
        assert.ok(this.#opening || !streams.has(use), "one keystream for two batches");
        streams.add(use);
        return cheap.keystream(key, counter, length);
      },
    });
    this.tail = new LedgerTail(cheap.sha256);
    const clock = {
      now: () => this.#now,
      wallTime: () => this.wallTime,
      after: (delayMs: number, callback: () => void) => {
        this.expire = () => {
          this.#now += delayMs;
          callback();
        };
        return () => undefined;
      },
    };
    const epochKeys = new EpochKeys({
      clock,
      committed: () => this.administration.committed,
      open: (record) => founded.openEpoch(record, nodeId),
    });
    const identity = { signer: fromHex(nodeId), salt: new Uint8Array(16), epochKeys };
    this.sealing = new Sealing(this.tail, crypto, clock, identity);
  }

  /** Builds a batch, which enters the log. */
  build(
    transactions: readonly BatchTransaction[],
    kind: "administrative" | "application" = "application",
  ): ParsedBatch {
    const adapterId = kind === "application" ? 1 : 0;
    const governanceVersion = this.administration.appended?.constitution.version ?? 0;
    const batch = parseBatch(this.sealing.build({ kind, view: 2, adapterId, governanceVersion, transactions }));
    this.administration.append(batch);
    return batch;
  }

  found(): this {
    this.build(
      founded.firstTransactions((length) => new Uint8Array(length).fill(9)).map(administrativeTransaction),
      "administrative",
    );
    this.commit();
    return this;
  }

  /** A batch that opens the next epoch, by a vote. */
  openEpoch(): ParsedBatch {
    const { appended } = this.administration;
    assert.ok(appended);
    const maker = founded.epochMaker((length) => new Uint8Array(length).fill(appended.epochs.length + 1));
    const requests = founded.askForEpoch(appended, appended.epochs.length * 1_000);
    const vote = requests.map((message) => ({ type: "request", ...message }) as const);
    const encoded = [...vote, maker.epoch(appended)].map((each) =>
      administrativeTransaction(encodeAdministrative(each)),
    );
    return this.build(encoded, "administrative");
  }

  /** The first private part of a batch. */
  open(batch: ParsedBatch): string {
    this.#opening = true;
    const opened = this.sealing.open(batch);
    this.#opening = false;
    return utf8Decode(opened.privatePart(0));
  }

  /** The newest `count` batches are undone. */
  undo(count: number): void {
    const fromIndex = this.tail.lastIndex - count + 1;
    this.tail.truncate(fromIndex);
    this.administration.truncate(fromIndex);
  }

  commit(): void {
    this.administration.commit(this.tail.lastIndex);
  }
}

describe("sealing", () => {
  test("uses no nonce and no keystream twice, also for batches in the place of undone ones", () => {
    const step = fc.record({ build: fc.integer({ min: 1, max: 4 }), undo: fc.integer({ min: 0, max: 4 }) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const bench = new Bench().found();
        let built = 0;
        for (const { build, undo } of steps) {
          for (let left = build; left > 0; left--) bench.build([secret(`batch ${built++}`)]);
          bench.undo(Math.min(undo, bench.tail.lastIndex - 1));
        }
        assert.equal(bench.nonces.sealedCount, built);
      }),
      { numRuns: 40 },
    );
  });

  test("seals different things in one place under different nonces", () => {
    const bench = new Bench().found();
    const first = bench.build([secret("first")]).header;
    bench.undo(1);
    const second = bench.build([secret("second")]).header;
    assert.equal(second.index, first.index);
    assert.deepEqual(second.salt, first.salt);
    assert.notEqual(second.nonceCounter, first.nonceCounter);
  });

  test("seals under an epoch only once it is committed", () => {
    const bench = new Bench();
    const first = bench.build(
      founded.firstTransactions((length) => new Uint8Array(length)).map(administrativeTransaction),
      "administrative",
    );
    assert.deepEqual([bench.sealing.epoch, first.header.epoch], [0, 0]);
    assert.throws(() => bench.build([secret("too early")]), { code: "Internal" });
    bench.commit();
    assert.equal(bench.build([secret("a")]).header.epoch, 1);
    assert.equal(bench.openEpoch().header.epoch, 0);
    assert.equal(bench.administration.appended?.epochs.length, 2);
    assert.equal(bench.build([secret("b")]).header.epoch, 1, "the second epoch may still be undone");
    bench.commit();
    assert.equal(bench.build([secret("c")]).header.epoch, 2);
  });

  test("goes on under the old epoch when the batch that opens the next is undone", () => {
    const bench = new Bench().found();
    bench.openEpoch();
    bench.undo(1);
    assert.equal(bench.build([secret("a")]).header.epoch, 1);
    bench.commit();
    assert.equal(bench.sealing.epoch, 1);
  });

  test("opens a batch of an ended epoch also after its keys were overwritten", () => {
    const bench = new Bench().found();
    const batch = bench.build([secret("kept")]);
    bench.openEpoch();
    bench.commit();
    const keys = bench.sealing.keys.batchKeys(1, batch.header.signer, batch.header.salt);
    assert.ok(keys);
    assert.equal(bench.sealing.epoch, 2);
    bench.expire();
    assert.ok([...keys.sealing, ...keys.evidence].every((byte) => byte === 0));
    assert.equal(bench.open(batch), "kept");
  });

  test("gives a batch no time before that of the batch it follows", () => {
    const bench = new Bench().found();
    bench.wallTime = 9_000.7;
    assert.equal(bench.build([secret("a")]).header.timeMs, 9_000);
    bench.wallTime = 1_000;
    assert.equal(bench.build([secret("b")]).header.timeMs, 9_000);
    assert.equal(bench.sealing.batchTime(), 9_000);
  });
});
