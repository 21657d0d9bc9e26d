import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  DOUBTED_BEGINNINGS,
  DOUBTED_SNAPSHOT_INTERVAL_MAX_MS,
  DOUBTED_SNAPSHOT_INTERVAL_MS,
  DOUBTED_SNAPSHOT_REST_FACTOR,
  SnapshotDoubts,
} from "./snapshot-doubts.ts";

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
    doubts.unreadable();
    assert.equal(world.made, 1);
  });

  test("is made anew once in a while at most, and as soon as that can be done", () => {
    const { world, doubts, begin } = watched();
    world.canMake = false;
    doubts.unreadable();
    world.canMake = true;
    begin("one", 7, 50);
    assert.equal(world.made, 1);
    world.nowMs = DOUBTED_SNAPSHOT_INTERVAL_MS;
    begin("one", 7, DOUBTED_BEGINNINGS);
    assert.equal(world.made, 2);
  });

  test("is made anew for a small share of the time at most, however long it takes", () => {
    const { world, doubts } = watched();
    const tookMs = 60_000;
    doubts.unreadable();
    world.nowMs = tookMs;
    doubts.ended(true);
    world.nowMs = DOUBTED_SNAPSHOT_REST_FACTOR * tookMs - 1;
    for (const peer of ["one", "other"]) for (let count = 0; count < 9; count++) doubts.begins(peer, 7);
    assert.equal(world.made, 1);
    world.nowMs++;
    doubts.begins("one", 7);
    assert.equal(world.made, 2);
    // Given up at once: the next one would take as long as those before all the same.
    doubts.ended(false);
    world.nowMs += DOUBTED_SNAPSHOT_REST_FACTOR * tookMs - 1;
    for (let count = 0; count < 9; count++) doubts.begins("other", 7);
    assert.equal(world.made, 2);
  });

  /** Beginnings by a peer ten times a second. When snapshots were made of it. */
  function beginAllTheTime({ world, doubts, begin }: ReturnType<typeof watched>, peer: string, forMs: number) {
    const times: number[] = [];
    for (const untilMs = world.nowMs + forMs; world.nowMs < untilMs; world.nowMs += 100) {
      const { made } = world;
      begin(peer, 7, 1);
      if (world.made === made) continue;
      times.push(world.nowMs);
      doubts.ended(true);
    }
    return times;
  }

  test("is made anew within an hour, however long the last one took", () => {
    const { world, doubts } = watched();
    doubts.unreadable();
    world.nowMs += 2 * DOUBTED_SNAPSHOT_INTERVAL_MAX_MS;
    doubts.ended(false);
    doubts.unreadable();
    assert.equal(world.made, 2);
    world.nowMs += DOUBTED_SNAPSHOT_INTERVAL_MAX_MS;
    doubts.unreadable();
    assert.equal(world.made, 3);
  });

  test("is made anew ever less often for the same peer, up to a bound; not less often for the others", () => {
    const network = watched();
    const { world, begin, doubts } = network;
    const times = beginAllTheTime(network, "one", 6 * DOUBTED_SNAPSHOT_INTERVAL_MAX_MS);
    const waits = times.slice(1).map((time, at) => time - (times[at] ?? 0));
    assert.ok(waits.length > 9);
    for (const [at, wait] of waits.entries()) {
      const expected = Math.min(DOUBTED_SNAPSHOT_INTERVAL_MS * 2 ** at, DOUBTED_SNAPSHOT_INTERVAL_MAX_MS);
      assert.ok(wait >= expected && wait < expected + 1_000, `${at}: ${wait}`);
    }
    world.nowMs = (times.at(-1) ?? 0) + DOUBTED_SNAPSHOT_INTERVAL_MS;
    const { made } = world;
    begin("other", 7, DOUBTED_BEGINNINGS);
    assert.equal(world.made, made + 1);
    doubts.ended(true);
    world.nowMs += 2 * DOUBTED_SNAPSHOT_INTERVAL_MAX_MS;
    const anew = beginAllTheTime(network, "one", 3 * DOUBTED_SNAPSHOT_INTERVAL_MS);
    assert.equal(anew.length, 2, "what was long ago is forgotten");
  });
});
