import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rightsOf } from "../../../test/support/rights-of.ts";
import { type Bytes, EMPTY, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { ExecutedTransaction, ItemOutcome, ToWorker, TransactionItem } from "../worker/protocol.ts";
import { AdapterLane, UNCOMMITTED_BATCHES_MAX } from "./lane.ts";
import { QUEUE_BYTES_MAX, QUEUE_MAX, type SentItem } from "./transaction-queue.ts";

/** Both may transact. */
const RIGHTS = rightsOf({ alice: undefined, bob: undefined });
const SENDER = { actor: "alice", certificate: "00" };
const sent = (item: TransactionItem, actor = SENDER.actor): SentItem => ({ item, sender: { ...SENDER, actor } });
const item = (name: string, actor?: string): SentItem =>
  sent({ id: utf8Encode(name), body: utf8Encode(`body ${name}`) }, actor);
const named = (names: readonly string[]): SentItem[] => names.map((name) => item(name));
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
    /** An administrative batch is on its way. */
    closed: false,
    rights: RIGHTS,
    /** Most bytes of the ids of a batch that fit the ledger. */
    bytesMax: Infinity,
    dropped: [] as string[],
    index: 10,
    sent: [] as ToWorker[],
    delivered: [] as string[],
    timers: [] as (() => void)[],
  };
  const lane = new AdapterLane({
    adapterId: 1,
    executor: { send: (message) => world.sent.push(message), close: () => {} },
    limits: () => limits,
    rights: () => world.rights,
    batchTime: () => 1,
    randomBytes: (length) => new Uint8Array(length),
    maxDelayMs: () => maxDelayMs,
    after: (_delayMs, callback) => world.timers.push(callback),
    mayExecute: () => world.leading && !world.closed,
    propose: (transactions) => {
      if (transactions.reduce((sum, { id }) => sum + id.length, 0) > world.bytesMax)
        throw new CocoError("LimitExceeded", "batch of too many bytes");
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
  /** What the worker was given last. */
  const newest = () => world.sent.findLast((message) => message.type === "execute" || message.type === "genesis");
  /** The worker finishes what it was given last, or something from before. */
  const finish = (
    outcome: (at: number) => ItemOutcome = (at) => ({ type: "included", result: EMPTY, position: at }),
    last = newest(),
  ) => {
    assert.ok(last?.type === "execute" || last?.type === "genesis");
    const items = last.type === "execute" ? last.items : [];
    const outcomes = items.map((_, at) => outcome(at));
    const kept = items.filter((_, at) => outcomes[at]?.type === "included").map(({ id }) => transaction(id));
    const transactions = last.type === "genesis" ? [transaction(EMPTY)] : kept;
    const dropped = world.dropped.splice(0).map((name) => ({ id: utf8Encode(name), error: EMPTY }));
    lane.executed({ type: "executed", generation: last.generation, outcomes, transactions, dropped, more: false });
  };
  const commit = (index: number) => lane.committed({ index, view: 2, firstSeqno: index, count: 1 }, () => [EMPTY]);
  const begin = () => {
    lane.executeGenesis();
    finish();
    lane.durable(10);
    commit(10);
  };
  return { world, lane, executing, newest, finish, commit, begin };
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

  test("undoes a batch that is too large for the ledger, and nothing before it, and runs it again in halves", () => {
    const { lane, world, executing, finish, commit, begin } = fixture();
    begin();
    lane.enqueue([item("a")], "peer");
    finish();
    lane.enqueue(named(["b", "c", "d", "e", "f"]), "peer");
    lane.durable(11);
    assert.deepEqual(executing(), ["b", "c", "d", "e", "f"]);
    world.bytesMax = 3;
    finish();
    assert.deepEqual(world.sent.at(-2), { type: "rollback", version: 2, generation: 1 });
    assert.deepEqual(executing(), ["b", "c"]);
    assert.deepEqual(world.delivered.at(-1), "peer a included 11", "nobody hears of a batch that was undone");
    finish();
    assert.deepEqual(world.delivered.slice(-2), ["peer b included 12", "peer c included 12"]);
    lane.durable(12);
    assert.deepEqual(executing(), ["d", "e", "f"], "the size grows again");
    finish();
    assert.equal(world.delivered.at(-1), "peer f included 13");
    commit(11);
    const place = { version: 2, view: 2, firstSeqno: 11, count: 1 };
    assert.deepEqual(world.sent.at(-1), { type: "commit", batches: [place] });
  });

  test("fails a transaction that does not fit the ledger by itself, and no other", () => {
    const { lane, world, executing, finish, begin } = fixture();
    begin();
    world.bytesMax = 3;
    lane.enqueue([item("large")], "left");
    assert.deepEqual(executing(), ["large"]);
    finish();
    assert.deepEqual(world.delivered, ["left large unavailable 0"]);
    lane.enqueue([item("a")], undefined);
    finish();
    lane.enqueue(named(["b", "huge", "c", "d"]), "right");
    lane.durable(11);
    for (let rounds = 0; rounds < 10; rounds++) {
      finish();
      lane.durable(world.index - 1);
    }
    assert.deepEqual(world.delivered.map((line) => line.replace(/\d+$/, "")).sort(), [
      "here a included ",
      "left large unavailable ",
      "right b included ",
      "right c included ",
      "right d included ",
      "right huge unavailable ",
    ]);
  });

  test("runs again what the adapter kept waiting when a batch is undone", () => {
    const { lane, world, executing, finish, begin } = fixture();
    begin();
    lane.enqueue([item("w")], "left");
    finish(() => ({ type: "waiting", result: EMPTY }));
    lane.enqueue([item("aa"), item("bb")], "right");
    world.bytesMax = 3;
    finish();
    assert.deepEqual(executing(), ["aa"]);
    finish();
    lane.durable(11);
    assert.deepEqual(executing(), ["bb", "w"]);
  });

  test("tells the node of a transaction the adapter dropped, and answers for one that waits by itself", () => {
    const { lane, world, finish, begin } = fixture();
    begin();
    lane.enqueue([item("w")], "left");
    finish(() => ({ type: "waiting", result: EMPTY }));
    lane.enqueue([item("w")], "left");
    assert.deepEqual(world.delivered, ["left w waiting 0", "left w waiting 0"]);
    lane.enqueue([item("v")], "right");
    world.dropped.push("w", "unknown");
    finish(() => ({ type: "waiting", result: EMPTY }));
    assert.deepEqual(world.delivered.slice(2), ["right v waiting 0", "left w rejected 0"]);
  });

  test("refuses what is too many or too much", () => {
    const { lane, world } = fixture();
    const large = (at: number) => sent({ id: utf8Encode(String(at)), body: new Uint8Array(QUEUE_BYTES_MAX / 4) });
    lane.enqueue([1, 2, 3, 4, 5].map(large), "peer");
    assert.deepEqual(world.delivered, ["peer 5 unavailable 0"]);
    const other = fixture();
    other.lane.enqueue(
      Array.from({ length: QUEUE_MAX + 1 }, (_, at) => item(String(at))),
      "peer",
    );
    assert.deepEqual(other.world.delivered, [`peer ${QUEUE_MAX} unavailable 0`]);
  });

  test("starts anew from a state that took the place of its own", () => {
    const { lane, world, finish, begin } = fixture();
    begin();
    lane.enqueue([item("a")], undefined);
    lane.restore(40, 90);
    finish();
    assert.deepEqual([world.index, lane.isEmpty, lane.committedVersion], [11, false, 40], "late results are ignored");
    lane.committed({ index: 91, view: 3, firstSeqno: 500, count: 1 }, () => [EMPTY]);
    const batch = { version: 41, view: 3, firstSeqno: 500, count: 1 };
    assert.deepEqual(world.sent.slice(-2), [
      { type: "apply", generation: 1, parts: [EMPTY] },
      { type: "commit", batches: [batch] },
    ]);
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

  for (const [what, interrupt] of [
    ["its node stops leading and leads again", (lane: AdapterLane) => lane.stopLeading()],
    ["another state takes the place of its own", (lane: AdapterLane) => lane.restore(40, 90)],
  ] as const) {
    test(`takes no result from before ${what} for one of the batch that runs now`, () => {
      const { lane, world, executing, newest, finish, begin } = fixture();
      begin();
      lane.enqueue([item("a")], "left");
      const late = newest();
      interrupt(lane);
      lane.enqueue([item("b")], "right");
      assert.deepEqual(executing(), ["b"]);
      finish(undefined, late);
      assert.deepEqual([world.index, world.delivered, lane.isIdle], [11, [], false], "nothing was proposed");
      finish();
      assert.deepEqual([world.index, world.delivered, lane.isIdle], [12, ["right b included 11"], true]);
    });
  }

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

describe("the rights of senders in a lane", () => {
  const BANNED = rightsOf({ alice: { type: "banned" }, bob: undefined });
  const started = () => {
    const made = fixture();
    made.begin();
    return made;
  };

  test("are judged when a batch closes: what was queued under older rights is refused by the newer ones", () => {
    const { world, lane, executing, commit, finish } = started();
    lane.enqueue([item("a")], "left");
    world.closed = true;
    finish();
    lane.enqueue([item("b"), item("c", "bob")], "left");
    world.rights = BANNED;
    commit(11);
    lane.durable(11);
    world.closed = false;
    lane.pump();
    assert.deepEqual(executing(), ["c"]);
    assert.deepEqual(world.delivered, ["left a included 11", "left b refused 11"]);
    finish();
    assert.equal(world.delivered.at(-1), "left c included 12");
  });

  test("go on to the next batch when all of one are refused, and run nothing when all are", () => {
    const { world, lane, executing, finish } = fixture({ transactions: 2, bytes: 1000 });
    lane.executeGenesis();
    lane.enqueue([item("a"), item("b"), item("c"), item("d", "bob")], undefined);
    world.rights = BANNED;
    finish();
    assert.equal(world.sent.at(-1)?.type, "genesis", "the genesis of the adapter begins again behind the change");
    finish();
    lane.durable(world.index);
    lane.pump();
    assert.deepEqual(executing(), ["d"]);
    assert.deepEqual(
      world.delivered,
      ["a", "b", "c"].map((name) => `here ${name} refused 10`),
    );
    finish();
    lane.durable(world.index);
    const before = world.sent.length;
    lane.enqueue([item("e")], undefined);
    assert.equal(world.sent.length, before);
    assert.equal(world.delivered.at(-1), "here e refused 11");
  });

  test("that change while a batch executes undo it: it runs again behind the change, without who lost them", () => {
    const { world, lane, executing, finish } = started();
    lane.enqueue([item("a"), item("b", "bob")], "left");
    assert.deepEqual(executing(), ["a", "b"]);
    const late = world.sent.at(-1);
    world.rights = BANNED;
    world.closed = true;
    finish();
    assert.deepEqual(world.delivered, []);
    assert.deepEqual(world.sent.at(-1), { type: "rollback", version: 1, generation: 1 });
    world.closed = false;
    lane.pump();
    assert.deepEqual(executing(), ["b"]);
    // The worker's answer to the batch that was undone comes late.
    finish(undefined, late as Extract<ToWorker, { type: "execute" }>);
    assert.deepEqual(world.delivered, ["left a refused 10"]);
    finish();
    assert.deepEqual(world.delivered, ["left a refused 10", "left b included 11"]);
  });

  test("that change and are in force before a batch has executed let it begin again at once", () => {
    const { world, lane, executing, finish } = started();
    lane.enqueue([item("a"), item("b", "bob")], "left");
    world.rights = BANNED;
    finish();
    assert.deepEqual(executing(), ["b"]);
  });

  test("count for what the adapter keeps waiting, too: it is taken back and judged anew", () => {
    const { world, lane, executing, finish } = started();
    lane.enqueue([item("a"), item("b", "bob")], "left");
    finish(() => ({ type: "waiting", result: EMPTY }));
    world.rights = BANNED;
    lane.enqueue([item("c", "bob")], "right");
    assert.deepEqual(world.sent.at(-2), { type: "rollback", version: 1, generation: 1 });
    assert.deepEqual(executing(), ["b", "c"]);
    assert.deepEqual(world.delivered.slice(2), ["left a refused 10"]);
  });

  test("that do not change leave batches and the adapter's memory alone", () => {
    const { world, lane, finish } = started();
    lane.enqueue([item("a")], "left");
    finish();
    assert.ok(world.sent.every(({ type }) => type !== "rollback"));
    assert.deepEqual(world.delivered, ["left a included 11"]);
  });

  test("take in a network that is not open nobody's transactions", () => {
    const { world, lane } = started();
    world.rights = rightsOf({ alice: undefined }, false);
    const before = world.sent.length;
    lane.enqueue([item("a"), item("b", "acme"), item("c", "nobody")], undefined);
    assert.deepEqual(world.delivered, ["here a refused 10", "here b refused 10", "here c refused 10"]);
    assert.ok(world.sent.slice(before).every(({ type }) => type !== "execute"));
  });
});
