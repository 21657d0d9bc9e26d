import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { item, laneFixture, named, sent } from "../../../test/support/lane-fixture.ts";
import { EMPTY, utf8Encode } from "../../core/codec/bytes.ts";
import type { ItemOutcome } from "../worker/protocol.ts";
import { type AdapterLane, UNCOMMITTED_BATCHES_MAX } from "./lane.ts";
import { UNDONE_BATCHES_MAX } from "./lane-parts.ts";
import { QUEUE_BYTES_MAX, QUEUE_MAX } from "./transaction-queue.ts";

const executed = { publicPart: EMPTY, privatePart: EMPTY, claimsDigest: undefined };

describe("a lane", () => {
  test("executes nothing before the adapter's genesis, and each transaction once", () => {
    const { lane, executing, world, begin } = laneFixture();
    lane.enqueue([item("a")], "peer");
    assert.equal(world.sent.length, 0);
    begin();
    lane.enqueue([item("a"), item("b")], "peer");
    assert.equal(world.sent.filter((message) => message.type === "execute").length, 1);
    assert.deepEqual(executing(), ["a"]);
  });

  test("closes a batch when the one before it is durable", () => {
    const { lane, executing, finish, begin } = laneFixture();
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
    const { lane, world, executing, finish, commit, begin } = laneFixture();
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

  test("has a worker ended that makes every batch too large, and its transactions fail", () => {
    const { lane, world, begin, newest } = laneFixture();
    begin();
    lane.enqueue(named(["a", "b", "c", "d"]), "peer");
    const tooLarge = (): void => {
      const last = newest();
      assert.ok(last?.type === "execute");
      // It says of every batch that others ran in it, too.
      const transactions = ["x", "y"].map((id) => ({ ...executed, id: utf8Encode(id) }));
      const outcomes = last.items.map((): ItemOutcome => ({ type: "waiting", result: EMPTY }));
      const { generation } = last;
      lane.executed({ type: "executed", generation, outcomes, transactions, dropped: [], more: false, tooLarge: true });
    };
    for (let batches = 0; batches < UNDONE_BATCHES_MAX; batches++) tooLarge();
    assert.deepEqual(world.ended, []);
    tooLarge();
    assert.deepEqual(world.ended, ["its batches are too large for the ledger, however small"]);
    assert.deepEqual(world.delivered, ["peer a unavailable 0"], "what was executing is not executed again");
    tooLarge();
    assert.equal(world.ended.length, 1);
  });

  test("fails a transaction that does not fit the ledger by itself, and no other", () => {
    const { lane, world, executing, finish, begin } = laneFixture();
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
    const { lane, world, executing, finish, begin } = laneFixture();
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
    const { lane, world, finish, begin } = laneFixture();
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
    const { lane, world } = laneFixture();
    const large = (at: number) => sent({ id: utf8Encode(String(at)), body: new Uint8Array(QUEUE_BYTES_MAX / 4) });
    lane.enqueue([1, 2, 3, 4, 5].map(large), "peer");
    assert.deepEqual(world.delivered, ["peer 5 unavailable 0"]);
    const other = laneFixture();
    other.lane.enqueue(
      Array.from({ length: QUEUE_MAX + 1 }, (_, at) => item(String(at))),
      "peer",
    );
    assert.deepEqual(other.world.delivered, [`peer ${QUEUE_MAX} unavailable 0`]);
  });

  test("starts anew from a state that took the place of its own", () => {
    const { lane, world, finish, begin } = laneFixture();
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
    const { lane, world, executing, finish, begin } = laneFixture({ transactions: 3, bytes: 1000 }, 50);
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
    const { lane, executing, finish, begin } = laneFixture({ transactions: 2, bytes: 1000 });
    begin();
    lane.enqueue([item("a"), item("b"), item("c"), item("d"), item("e")], undefined);
    assert.deepEqual(executing(), ["a", "b"]);
    finish();
    assert.deepEqual(executing(), ["c", "d"]);
    finish();
    assert.deepEqual(executing(), ["c", "d"], "the last batch is not full");
    const bytes = laneFixture({ transactions: 10, bytes: 10 });
    bytes.begin();
    bytes.lane.enqueue([item("a"), item("b")], undefined);
    assert.deepEqual(bytes.executing(), ["a"]);
  });

  test("has a bounded number of uncommitted batches under way", () => {
    const { lane, world, finish, commit, begin } = laneFixture({ transactions: 1, bytes: 1000 });
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
    const { lane, world, executing, finish, begin } = laneFixture();
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
      const { lane, world, executing, newest, finish, begin } = laneFixture();
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
    const { lane, world, finish, commit, begin } = laneFixture();
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
