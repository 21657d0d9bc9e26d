import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Bytes, EMPTY, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { ExecutedTransaction, ItemOutcome, ToWorker, TransactionItem } from "../worker/protocol.ts";
import { AdapterLane, UNCOMMITTED_BATCHES_MAX } from "./lane.ts";

const item = (name: string): TransactionItem => ({ id: utf8Encode(name), body: utf8Encode(`body ${name}`) });
const transaction = (id: Bytes): ExecutedTransaction => ({
  id,
  publicPart: EMPTY,
  privatePart: EMPTY,
  claimsDigest: undefined,
});

/** A lane whose worker does what the test says, in a ledger that starts at index 10. */
function fixture(limits = { transactions: 10, bytes: 1000 }, maxDelayMs = 0) {
  const world = {
    leading: true,
    tooLarge: false,
    index: 10,
    sent: [] as ToWorker[],
    delivered: [] as string[],
    timers: [] as (() => void)[],
  };
  const lane = new AdapterLane({
    adapterId: 1,
    executor: { send: (message) => world.sent.push(message) },
    limits,
    batchTime: () => 1,
    randomBytes: (length) => new Uint8Array(length),
    maxDelayMs,
    after: (_delayMs, callback) => world.timers.push(callback),
    mayExecute: () => world.leading,
    propose: () => {
      if (world.tooLarge) throw new CocoError("LimitExceeded", "batch of too many bytes");
      return world.leading ? world.index++ : undefined;
    },
    deliver: (origin, outcomes) => {
      for (const { id, outcome, index } of outcomes) {
        world.delivered.push(`${origin ?? "here"} ${utf8Decode(id)} ${outcome.type} ${index}`);
      }
    },
  });
  const executing = () => {
    const last = world.sent.findLast((message) => message.type === "execute");
    return last?.type === "execute" ? last.items.map(({ id }) => utf8Decode(id)) : undefined;
  };
  /** The worker finishes what it was given last. */
  const finish = (
    outcome: (at: number) => ItemOutcome = (at) => ({ type: "included", result: EMPTY, position: at }),
  ) => {
    const last = world.sent.findLast((message) => message.type === "execute" || message.type === "genesis");
    assert.ok(last?.type === "execute" || last?.type === "genesis");
    const items = last.type === "execute" ? last.items : [];
    const outcomes = items.map((_, at) => outcome(at));
    const kept = items.filter((_, at) => outcomes[at]?.type === "included").map(({ id }) => transaction(id));
    const transactions = last.type === "genesis" ? [transaction(EMPTY)] : kept;
    lane.executed({ type: "executed", generation: last.generation, outcomes, transactions, more: false });
  };
  const commit = (index: number) => lane.committed({ index, view: 2, firstSeqno: index, count: 1 }, () => [EMPTY]);
  const begin = () => {
    lane.executeGenesis();
    finish();
    lane.durable(10);
    commit(10);
  };
  return { world, lane, executing, finish, commit, begin };
}

describe("a lane", () => {
  test("executes nothing before the adapter's genesis, and each transaction once", () => {
    const { lane, executing, world, begin } = fixture();
    lane.enqueue([item("a")], "peer");
    assert.equal(world.sent.length, 0);
    begin();
    lane.enqueue([item("a"), item("b")], "peer");
    assert.equal(world.sent.filter((message) => message.type === "execute").length, 1);
    assert.deepEqual(executing(), ["a"]);
  });

  test("closes a batch when the one before it is durable", () => {
    const { lane, executing, finish, begin } = fixture();
    begin();
    lane.enqueue([item("a")], undefined);
    finish();
    lane.enqueue([item("b")], undefined);
    lane.enqueue([item("c")], undefined);
    assert.deepEqual(executing(), ["a"]);
    lane.durable(11);
    assert.deepEqual(executing(), ["b", "c"]);
  });

  test("undoes a batch that is too large for the ledger, and nothing before it", () => {
    const { lane, world, executing, finish, begin } = fixture();
    begin();
    lane.enqueue([item("a")], "peer");
    finish();
    lane.durable(11);
    lane.enqueue([item("b")], "peer");
    world.tooLarge = true;
    finish();
    assert.deepEqual(world.sent.at(-1), { type: "rollback", version: 2, generation: 1 });
    assert.equal(world.delivered.at(-1), "peer b unavailable 0");
    world.tooLarge = false;
    lane.enqueue([item("c")], "peer");
    assert.deepEqual(executing(), ["c"]);
  });

  test("lets a batch that is not full wait for more, as the settings say", () => {
    const { lane, world, executing, finish, begin } = fixture({ transactions: 3, bytes: 1000 }, 50);
    begin();
    lane.enqueue([item("a")], undefined);
    lane.enqueue([item("b")], undefined);
    assert.deepEqual([executing(), world.timers.length], [undefined, 1]);
    world.timers.shift()?.();
    assert.deepEqual(executing(), ["a", "b"]);
    finish();
    lane.durable(11);
    lane.enqueue([item("c"), item("d"), item("e")], undefined);
    assert.deepEqual(executing(), ["c", "d", "e"], "a full batch does not wait");
  });

  test("does not wait for the disk when a batch is full, and keeps to the limits of a batch", () => {
    const { lane, executing, finish, begin } = fixture({ transactions: 2, bytes: 1000 });
    begin();
    lane.enqueue([item("a"), item("b"), item("c"), item("d"), item("e")], undefined);
    assert.deepEqual(executing(), ["a", "b"]);
    finish();
    assert.deepEqual(executing(), ["c", "d"]);
    finish();
    assert.deepEqual(executing(), ["c", "d"], "the last batch is not full");
    const bytes = fixture({ transactions: 10, bytes: 10 });
    bytes.begin();
    bytes.lane.enqueue([item("a"), item("b")], undefined);
    assert.deepEqual(bytes.executing(), ["a"]);
  });

  test("has a bounded number of uncommitted batches under way", () => {
    const { lane, world, finish, commit, begin } = fixture({ transactions: 1, bytes: 1000 });
    begin();
    lane.enqueue(
      Array.from({ length: 20 }, (_, at) => item(String(at))),
      undefined,
    );
    for (let count = 0; count < UNCOMMITTED_BATCHES_MAX; count++) finish();
    const executed = () => world.sent.filter((message) => message.type === "execute").length;
    assert.equal(executed(), UNCOMMITTED_BATCHES_MAX);
    commit(11);
    assert.equal(executed(), UNCOMMITTED_BATCHES_MAX + 1);
  });

  test("tells each node its outcomes with the batch they are judged by, and queues deferred ones again, first", () => {
    const { lane, world, executing, finish, begin } = fixture();
    begin();
    lane.enqueue([item("a")], undefined);
    finish(() => ({ type: "waiting", result: EMPTY }));
    lane.enqueue([item("b")], "left");
    lane.enqueue([item("c"), item("d"), item("e")], "right");
    finish();
    lane.durable(11);
    assert.deepEqual(executing(), ["c", "d", "e"]);
    const made: ItemOutcome[] = [
      { type: "included", result: EMPTY, position: 0 },
      { type: "duplicate", result: EMPTY },
      { type: "deferred" },
    ];
    finish((at) => made[at] ?? { type: "deferred" });
    assert.deepEqual(world.delivered, [
      "here a waiting 0",
      "left b included 11",
      "right c included 12",
      "right d duplicate 12",
    ]);
    lane.durable(12);
    assert.deepEqual(executing(), ["e"]);
  });

  test("undoes what is not committed when its node stops leading, and ignores late results", () => {
    const { lane, world, finish, commit, begin } = fixture();
    begin();
    lane.enqueue([item("a")], undefined);
    finish();
    lane.durable(11);
    lane.enqueue([item("b")], undefined);
    world.leading = false;
    lane.stopLeading();
    assert.deepEqual(world.sent.at(-1), { type: "rollback", version: 1, generation: 1 });
    world.delivered.length = 0;
    finish();
    assert.deepEqual(world.delivered, []);
    commit(11);
    const [apply, committed] = world.sent.slice(-2);
    assert.deepEqual(apply, { type: "apply", generation: 1, parts: [EMPTY] });
    assert.ok(committed?.type === "commit" && committed.batches[0]?.version === 2);
  });
});
