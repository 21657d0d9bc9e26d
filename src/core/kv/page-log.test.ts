import { describe, test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { firstHint, guessSlot, HINT_OFFSET, SLOT_BYTES, writeU16 } from "./page-log.ts";

const TABLE = 10;

/** A log whose table has slots with these hints. */
function logOf(hints: readonly number[]): Uint8Array {
  const log = new Uint8Array(TABLE + hints.length * SLOT_BYTES);
  for (const [at, hint] of hints.entries()) writeU16(log, TABLE + at * SLOT_BYTES + HINT_OFFSET, hint);
  return log;
}

/** Hints in order: spread evenly, most of them near one end, or few different ones. */
const hintsInOrder = fc
  .tuple(fc.array(fc.nat(0xffff), { maxLength: 256, size: "max" }), fc.constantFrom(1, 4, 0x100, 0x8000))
  .map(([hints, divisor]) =>
    hints.map((hint, at) => (at % 9 === 0 ? hint : Math.floor(hint / divisor))).sort((a, b) => a - b),
  );

describe("search in a table of slots", () => {
  test("it finds the first hint that is not less, however hints are spread", () => {
    let guessed = 0;
    fc.assert(
      fc.property(hintsInOrder, fc.nat(0xffff), fc.nat(255), (hints, any, one) => {
        for (const hint of [any, hints[one % Math.max(1, hints.length)] ?? 0, 0, 0xffff]) {
          const expected = hints.findIndex((other) => other >= hint);
          const found = firstHint(logOf(hints), TABLE, hints.length, hint);
          assert.equal(found, expected < 0 ? hints.length : expected);
          const guess = guessSlot(logOf(hints), TABLE, hints.length, hint);
          assert.ok(guess >= 0 && guess <= Math.max(0, hints.length - 1));
          if (guess > 0) guessed++;
        }
      }),
      { numRuns: 1000 },
    );
    assert.ok(guessed > 1000);
  });

  test("a guess among even hints is near the slot", () => {
    const hints = Array.from({ length: 200 }, (_, at) => at * 300);
    const log = logOf(hints);
    for (const [at, hint] of hints.entries()) assert.ok(Math.abs(guessSlot(log, TABLE, 200, hint) - at) <= 1);
  });
});
