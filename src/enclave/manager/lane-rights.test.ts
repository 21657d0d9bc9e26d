import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { item, laneFixture } from "../../../test/support/lane-fixture.ts";
import { rightsOf } from "../../../test/support/rights-of.ts";
import { EMPTY } from "../../core/codec/bytes.ts";
import type { ToWorker } from "../worker/protocol.ts";

describe("the rights of senders in a lane", () => {
  const BANNED = rightsOf({ alice: { type: "banned" }, bob: undefined });
  const started = () => {
    const made = laneFixture();
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
    const { world, lane, executing, finish } = laneFixture({ transactions: 2, bytes: 1000 });
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
