import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Bytes } from "../../core/codec/bytes.ts";
import { decodePrepared } from "./prepare.ts";
import { TransactionPool, WAITING_PER_SENDER_LIMIT, type WaitingTransaction } from "./pool.ts";
import { addressOfKey, signedTransaction } from "./test-signing.ts";
import { prepareAll } from "./test-state.ts";

function waiting(nonce: number, maxFeePerGas = 100n, maxPriorityFeePerGas = 10n): WaitingTransaction {
  const [prepared] = prepareAll([signedTransaction(1, { nonce, maxFeePerGas, maxPriorityFeePerGas })]);
  assert.ok(prepared);
  return { prepared, transaction: decodePrepared(prepared.body) };
}

function droppedIds(pool: TransactionPool): Bytes[] {
  return pool.takeDropped().map(({ id }) => id);
}

describe("the pool of waiting transactions", () => {
  test("releases a run without gaps in nonce order and drops what fell behind", () => {
    const pool = new TransactionPool();
    const [one, two, three, five] = [1, 2, 3, 5].map((nonce) => waiting(nonce));
    assert.ok(one && two && three && five);
    for (const entry of [five, three, one, two]) assert.equal(pool.add(entry), undefined);
    assert.deepEqual(pool.release(addressOfKey(1), 2), [two.prepared, three.prepared]);
    assert.deepEqual(pool.list(), [five.transaction]);
    assert.equal(pool.size, 1);
    assert.deepEqual(droppedIds(pool), [one.prepared.id]);
    assert.deepEqual(droppedIds(pool), [], "told once");
  });

  test("replaces only for ten percent more of both fees", () => {
    const pool = new TransactionPool();
    assert.equal(pool.add(waiting(1)), undefined);
    assert.equal(pool.add(waiting(1))?.message, "already known");
    assert.equal(pool.add(waiting(1, 109n, 20n))?.message, "replacement transaction underpriced");
    assert.equal(pool.add(waiting(1, 200n, 10n))?.message, "replacement transaction underpriced");
    const dearer = waiting(1, 110n, 11n);
    assert.equal(pool.add(dearer), undefined);
    assert.equal(pool.size, 1);
    assert.equal(pool.find(dearer.transaction.hash), dearer.transaction);
    assert.deepEqual(droppedIds(pool), [waiting(1).prepared.id]);
  });

  test("is bounded per sender", () => {
    const pool = new TransactionPool();
    const { prepared, transaction } = waiting(1);
    for (let nonce = 1; nonce <= WAITING_PER_SENDER_LIMIT; nonce++)
      pool.add({ prepared, transaction: { ...transaction, nonce } });
    assert.equal(
      pool.add({ prepared, transaction: { ...transaction, nonce: WAITING_PER_SENDER_LIMIT + 1 } })?.message,
      "txpool is full",
    );
    pool.clear();
    assert.equal(pool.size, 0);
    assert.equal(pool.add({ prepared, transaction }), undefined);
  });
});
