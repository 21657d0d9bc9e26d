import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CocoError } from "../../errors.ts";
import { CALL_TURN_MS, Pace } from "./pace.ts";

function isTimeout(error: unknown): boolean {
  return error instanceof CocoError && error.code === "RequestTimeout";
}

/** A clock that is set by hand; a turn of the others takes `othersMs`. */
class HandClock {
  nowMs = 0;
  turns = 0;
  othersMs = 0;

  now = () => this.nowMs;
  nextTurn = () => {
    this.turns++;
    this.nowMs += this.othersMs;
    return Promise.resolve();
  };
}

describe("a pace", () => {
  test("lets others go first after each turn and not before", async () => {
    const clock = new HandClock();
    const pace = new Pace(clock, 1000);
    clock.nowMs += CALL_TURN_MS - 1;
    assert.equal(pace.check(), undefined);
    clock.nowMs += 1;
    await pace.check();
    assert.equal(clock.turns, 1);
    assert.equal(pace.check(), undefined);
  });

  test("counts the call's own time only", async () => {
    const clock = new HandClock();
    clock.othersMs = 10_000;
    const pace = new Pace(clock, 3 * CALL_TURN_MS);
    for (let turn = 0; turn < 2; turn++) {
      clock.nowMs += CALL_TURN_MS;
      await pace.check();
    }
    clock.nowMs += 10_000;
    pace.resume();
    assert.equal(pace.check(), undefined);
    clock.nowMs += CALL_TURN_MS;
    assert.throws(() => pace.check(), isTimeout);
    assert.throws(() => pace.check(), isTimeout, "it stays over");
  });

  test("looks at the clock sooner or later while steps are short", () => {
    const clock = new HandClock();
    const pace = new Pace(clock, 100);
    clock.nowMs = 100;
    assert.throws(() => {
      for (let step = 0; step < 1000; step++) void pace.step();
    }, isTimeout);
  });

  test("that is broken off stays so", () => {
    const pace = new Pace(new HandClock(), 100);
    assert.throws(() => pace.breakOff(), isTimeout);
    assert.throws(() => pace.check(), isTimeout);
  });
});
