import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { describe, test } from "node:test";
import { RequestSlots } from "./request-slots.ts";

describe("slots for requests", () => {
  test("are bounded in all and for each holder, and free when the answer is over", () => {
    const slots = new RequestSlots<string>(3, 2);
    const answers = Array.from({ length: 4 }, () => new EventEmitter());
    const [a, b, c, d] = answers as [EventEmitter, EventEmitter, EventEmitter, EventEmitter];
    assert.deepEqual([slots.take("x", a), slots.take("x", b), slots.take("x", c)], [true, true, false]);
    assert.deepEqual([slots.take("y", c), slots.take("z", d)], [true, false]);
    a.emit("close");
    a.emit("close");
    assert.deepEqual([slots.take("z", a), slots.take("x", d)], [true, false]);
    b.emit("close");
    assert.equal(slots.take("x", b), true);
  });
});
