import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JOIN_RETRY_MS, joinDelayMs } from "./join-command.ts";

describe("the waiting time of a newcomer", () => {
  test("grows to a few seconds and no further, and is not the same for all", () => {
    const longest = JOIN_RETRY_MS.map((_, attempt) => joinDelayMs(attempt, 0));
    assert.deepEqual(longest, [...JOIN_RETRY_MS]);
    assert.ok(joinDelayMs(1_000, 0) <= 5_000, "somebody waits for the node");
    for (let attempt = 0; attempt < 10; attempt++) {
      const shortest = joinDelayMs(attempt, 1);
      assert.ok(shortest < joinDelayMs(attempt, 0.5) && shortest >= 300, String(shortest));
    }
  });
});
