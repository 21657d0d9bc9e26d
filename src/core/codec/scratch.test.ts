import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MAX_SCRATCH_BYTES, Scratch } from "./scratch.ts";

describe("room for a moment", () => {
  test("has the length that is asked for, and is the same memory while it is long enough", () => {
    const scratch = new Scratch();
    const first = scratch.take(3000);
    assert.equal(first.length, 3000);
    for (const length of [0, 1, 3000]) {
      const again = scratch.take(length);
      assert.equal(again.length, length);
      assert.equal(again.buffer, first.buffer);
    }
    const longer = scratch.take(100_000);
    assert.equal(longer.length, 100_000);
    assert.notEqual(longer.buffer, first.buffer);
  });

  test("beyond the bound it is fresh memory, which is not kept", () => {
    const scratch = new Scratch();
    const kept = scratch.take(MAX_SCRATCH_BYTES);
    const large = scratch.take(MAX_SCRATCH_BYTES + 1);
    assert.equal(large.length, MAX_SCRATCH_BYTES + 1);
    assert.equal(scratch.take(MAX_SCRATCH_BYTES).buffer, kept.buffer);
  });

  test("two of them share nothing", () => {
    assert.notEqual(new Scratch().take(8).buffer, new Scratch().take(8).buffer);
  });
});
