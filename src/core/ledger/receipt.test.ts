import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CocoError } from "../../errors.ts";
import { type Bytes, toHex } from "../codec/bytes.ts";
import { parseBatch, type ParsedBatch } from "./batch-format.ts";
import { privateTransaction, publicTransaction, ADMINISTRATIVE, sha256, TestLedger } from "./fixture.test.ts";
import { batchLeaves, leafAt } from "./leaf.ts";
import { makeReceipt, type Receipt, type ReceiptPorts, verifyReceipt } from "./receipt.ts";
import type { LeavesOf } from "./tail.ts";

const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nnode\n-----END CERTIFICATE-----\n";
const CLAIMS = sha256(Uint8Array.of(1));

/** A ledger with receipts; the certificate check is a comparison, since certificates are not this module's matter. */
function setUp(): {
  readonly receiptOf: (batch: number, position: number) => Receipt;
  readonly ports: ReceiptPorts;
  readonly ledger: TestLedger;
} {
  const ledger = new TestLedger();
  const batches: readonly ParsedBatch[] = [
    ledger.build([publicTransaction(1)], ADMINISTRATIVE),
    ledger.build([privateTransaction(30, CLAIMS), publicTransaction(2), privateTransaction(10)], { view: 3 }),
    ledger.build([privateTransaction(10)]),
  ].map(({ bytes }) => parseBatch(bytes));
  const receiptOf = (index: number, position: number): Receipt => {
    const batch = batches[index - 1];
    assert.ok(batch !== undefined);
    const { tail, keys } = ledger;
    return makeReceipt({
      batch,
      position,
      tail,
      keys,
      crypto: ledger.node.crypto,
      certificate: CERTIFICATE,
      serviceEndorsements: ["endorsement"],
    });
  };
  const checkNodeCertificate = (certificate: string, endorsements: readonly string[]): Bytes | undefined =>
    certificate === CERTIFICATE && endorsements.join() === "endorsement" ? ledger.node.publicKey : undefined;
  return { receiptOf, ledger, ports: { sha256, verify: ledger.node.crypto.verify, checkNodeCertificate } };
}

/** Every JSON value that differs from `value` in one text, or lacks or has one field or item more. */
function* mutationsOf(value: unknown): Generator<unknown> {
  if (typeof value === "string") {
    for (let at = 0; at < value.length; at++) {
      yield value.slice(0, at) + (value[at] === "1" ? "2" : "1") + value.slice(at + 1);
      yield value.slice(0, at) + value.slice(at + 1);
    }
    yield `${value}0`;
    yield 7;
  } else if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at++) {
      for (const changed of mutationsOf(value[at])) yield value.with(at, changed);
      yield value.toSpliced(at, 1);
      yield value.toSpliced(at, 0, value[at]);
    }
    if (value.length > 1) yield value.toReversed();
  } else if (typeof value === "object" && value !== null) {
    for (const [name, field] of Object.entries(value)) {
      for (const changed of mutationsOf(field)) yield { ...value, [name]: changed };
      if (name !== "transaction_id")
        yield Object.fromEntries(Object.entries(value).filter(([other]) => other !== name));
    }
    yield { ...value, another: 1 };
  }
}

const isInvalid = (error: unknown): boolean => error instanceof CocoError && error.code === "ReceiptInvalid";

describe("receipt", () => {
  test("every transaction of the ledger has a receipt that proves its id and claims", () => {
    const { receiptOf, ports, ledger } = setUp();
    for (const { index, view, firstSeqno, count, signatureSeqno } of [1, 2, 3]
      .map((at) => ledger.tail.record(at))
      .filter((record) => record !== undefined)) {
      for (let position = 0; position < count; position++) {
        const verified = verifyReceipt(JSON.parse(JSON.stringify(receiptOf(index, position))), ports);
        assert.equal(verified.transactionId, `${view}.${firstSeqno + position}`);
        assert.equal(toHex(verified.root), toHex(ledger.tail.root(signatureSeqno)));
        assert.equal(verified.nodeId, toHex(ledger.node.id));
        const claims = index === 2 && position === 0 ? CLAIMS : new Uint8Array(32);
        assert.equal(toHex(verified.claimsDigest ?? Uint8Array.of(0)), toHex(claims));
      }
    }
  });

  test("a signature transaction has a receipt of its leaf, without an id", () => {
    const { receiptOf, ports } = setUp();
    const receipt = receiptOf(2, 3);
    assert.equal(receipt.leaf_components, undefined);
    assert.equal(verifyReceipt(receipt, ports).transactionId, undefined);
  });

  test("of the compacted past is the one made before, from leaves that are read back", () => {
    const ledger = new TestLedger();
    const batches = [700, 500, 900].map((count) =>
      parseBatch(ledger.build(Array.from({ length: count }, () => privateTransaction(1))).bytes),
    );
    const leaves = batches.flatMap((batch) => {
      const all = batchLeaves(batch, sha256);
      return Array.from({ length: batch.header.count + 1 }, (_, position) => leafAt(all, position));
    });
    const leavesOf: LeavesOf = (from, to) => leaves.slice(from - 1, to);
    const { tail, keys, node } = ledger;
    const places = [0, 1, 2].flatMap((at) =>
      [0, 450, batches[at]?.header.count ?? 0].map((position) => [at, position]),
    );
    const all = (source?: LeavesOf) =>
      places.map(([at = 0, position = 0]) => {
        const batch = batches[at];
        assert.ok(batch !== undefined);
        const input = { batch, position, tail, keys, crypto: node.crypto, certificate: CERTIFICATE };
        return makeReceipt(source === undefined ? input : { ...input, leavesOf: source });
      });
    const before = all();
    tail.compact(3);
    assert.deepEqual(all(leavesOf), before);
    assert.throws(() => all(), /leaves 1 to 1024 are not on this node/);
  });

  test("the id beside the commit evidence may be missing", () => {
    const { receiptOf, ports } = setUp();
    const { transaction_id: transactionId, ...receipt } = receiptOf(2, 0);
    assert.equal(verifyReceipt(receipt, ports).transactionId, transactionId);
  });

  test("any change of any field makes a receipt invalid", () => {
    const { receiptOf, ports } = setUp();
    for (const receipt of [receiptOf(2, 0), receiptOf(2, 3)]) {
      let count = 0;
      for (const mutation of mutationsOf(receipt)) {
        count++;
        assert.throws(() => verifyReceipt(mutation, ports), isInvalid, JSON.stringify(mutation));
      }
      assert.ok(count > 500);
    }
  });

  test("the proof of one transaction does not prove another", () => {
    const { receiptOf, ports } = setUp();
    const [first, second] = [receiptOf(2, 0), receiptOf(2, 1)];
    assert.throws(() => verifyReceipt({ ...first, proof: second.proof }, ports), isInvalid);
    assert.throws(
      () =>
        verifyReceipt(
          { ...first, leaf_components: second.leaf_components, transaction_id: second.transaction_id },
          ports,
        ),
      isInvalid,
    );
  });

  test("what is not a receipt at all is refused with the same code", () => {
    const { ports } = setUp();
    for (const value of [undefined, null, 1, "", [], {}, { proof: [] }])
      assert.throws(() => verifyReceipt(value, ports), isInvalid);
  });
});
