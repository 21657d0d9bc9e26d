import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AnswerEnd } from "./answer-ends.ts";
import { RequestSlots } from "./request-slots.ts";

describe("slots for requests", () => {
  test("are bounded in all and for each holder, and free when the answer is over", () => {
    const slots = new RequestSlots<string>(3, 2);
    const answers = Array.from({ length: 6 }, () => new AnswerEnd());
    const [a, b, c, d, e, f] = answers as [AnswerEnd, AnswerEnd, AnswerEnd, AnswerEnd, AnswerEnd, AnswerEnd];
    assert.deepEqual([slots.take("x", a), slots.take("x", b), slots.take("x", c)], [true, true, false]);
    assert.deepEqual([slots.take("y", c), slots.take("z", d)], [true, false]);
    a.finish();
    a.finish();
    assert.deepEqual([slots.take("z", e), slots.take("x", d)], [true, false]);
    b.finish();
    assert.equal(slots.take("x", f), true);
  });
});
