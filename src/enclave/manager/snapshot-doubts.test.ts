import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DOUBTED_BEGINNINGS, DOUBTED_SNAPSHOT_INTERVAL_MS, SnapshotDoubts } from "./snapshot-doubts.ts";

function watched() {
  const world = { nowMs: 0, made: 0, canMake: true };
  const doubts = new SnapshotDoubts({
    clock: { now: () => world.nowMs },
    remake: () => {
      if (world.canMake) world.made++;
      return world.canMake;
    },
  });
  const begin = (peer: string, index: number, times: number) => {
    for (let count = 0; count < times; count++) doubts.begins(peer, index);
  };
  return { world, doubts, begin };
}

describe("a snapshot that is sent", () => {
  test("is doubted when one peer begins it again and again", () => {
    const { world, begin } = watched();
    begin("one", 7, DOUBTED_BEGINNINGS - 1);
    begin("other", 7, DOUBTED_BEGINNINGS - 1);
    assert.equal(world.made, 0);
    begin("one", 7, 1);
    assert.equal(world.made, 1);
  });

  test("is not doubted for what became of another one", () => {
    const { world, begin } = watched();
    for (let index = 1; index < 9; index++) begin("one", index, DOUBTED_BEGINNINGS - 1);
    assert.equal(world.made, 0);
  });

  test("is doubted at once when it cannot be read", () => {
    const { world, doubts } = watched();
    doubts.doubt();
    assert.equal(world.made, 1);
  });

  test("is made anew once in a while at most, and as soon as that can be done", () => {
    const { world, doubts, begin } = watched();
    world.canMake = false;
    doubts.doubt();
    world.canMake = true;
    begin("one", 7, 50);
    assert.equal(world.made, 1);
    world.nowMs = DOUBTED_SNAPSHOT_INTERVAL_MS;
    begin("one", 7, DOUBTED_BEGINNINGS);
    assert.equal(world.made, 2);
  });
});
