import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CocoError } from "../../errors.ts";
import { CALL_TIME_LIMIT_MS, CALL_WAITING_TIME_LIMIT_MS, CallGate, CALLS_WAITING_MAX } from "./call-gate.ts";

class TestClock {
  nowMs = 0;
  turns = 0;

  now = () => this.nowMs;
  nextTurn = () => {
    this.turns++;
    return new Promise<void>((resolve) => setImmediate(resolve));
  };
}

describe("the gate of calls", () => {
  test("lets one pass at a time, in order, with a turn of the others between two", async () => {
    const clock = new TestClock();
    const gate = new CallGate(clock);
    const events: string[] = [];
    const passages = ["a", "b", "c"].map((name) =>
      gate.pass(async () => {
        events.push(`${name} starts at turn ${clock.turns}`);
        await Promise.resolve();
        events.push(`${name} ends`);
        return name;
      }),
    );
    assert.deepEqual(
      await Promise.all(passages),
      ["a", "b", "c"].map((value) => ({ type: "done", value })),
    );
    assert.deepEqual(events, [
      "a starts at turn 0",
      "a ends",
      "b starts at turn 1",
      "b ends",
      "c starts at turn 2",
      "c ends",
    ]);
  });

  test("turns away what would wait behind too many others", async () => {
    const gate = new CallGate(new TestClock());
    let open: () => void = () => undefined;
    const first = gate.pass(() => new Promise<void>((resolve) => (open = resolve)));
    const others = Array.from({ length: CALLS_WAITING_MAX }, () => gate.pass(() => Promise.resolve()));
    const late = await gate.pass(() => assert.fail("it was not turned away"));
    assert.deepEqual(late, { type: "stopped", fault: { code: -32005, message: "too many calls are waiting" } });
    open();
    const passages = await Promise.all([first, ...others]);
    assert.ok(passages.every(({ type }) => type === "done"));
    assert.equal((await gate.pass(() => Promise.resolve(1))).type, "done");
  });

  test("gives up what waited too long, without running it", async () => {
    const clock = new TestClock();
    const gate = new CallGate(clock);
    let open: () => void = () => undefined;
    const first = gate.pass(() => new Promise<void>((resolve) => (open = resolve)));
    const second = gate.pass(() => assert.fail("it ran"));
    clock.nowMs += CALL_WAITING_TIME_LIMIT_MS;
    const third = gate.pass(() => Promise.resolve(3));
    open();
    await first;
    assert.deepEqual(await second, { type: "stopped", fault: { code: -32002, message: "request timed out" } });
    assert.deepEqual(await third, { type: "done", value: 3 });
  });

  test("reports a call that used up its time in go-ethereum's words and passes every other error on", async () => {
    const clock = new TestClock();
    const gate = new CallGate(clock);
    const late = gate.pass(async (pace) => {
      clock.nowMs += CALL_TIME_LIMIT_MS;
      await pace.check();
    });
    const fault = { code: -32000, message: "execution aborted (timeout = 1s)" };
    assert.deepEqual(await late, { type: "stopped", fault });
    const broken = gate.pass(() => Promise.reject(new CocoError("Internal", "broken")));
    await assert.rejects(broken, /broken/);
    assert.equal((await gate.pass(() => Promise.resolve(1))).type, "done");
  });
});
