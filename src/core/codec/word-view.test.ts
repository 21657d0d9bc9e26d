import { describe, test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { WordView } from "./word-view.ts";

const bytes = fc.uint8Array({ minLength: 120, maxLength: 120 });

/** A view on bytes that do not begin where their buffer does. */
function inner(content: Uint8Array): WordView {
  const whole = new Uint8Array(content.length + 3);
  whole.set(content, 3);
  return new WordView(whole.subarray(3));
}

describe("bytes by words", () => {
  test("copies and compares what the places name, and nothing beside it", () => {
    fc.assert(
      fc.property(bytes, bytes, fc.nat(20), fc.nat(20), fc.nat(99), (left, right, from, at, length) => {
        const copied = inner(right);
        inner(left).copy(from, length, copied, at);
        const expected = right.slice();
        expected.set(left.subarray(from, from + length), at);
        assert.deepEqual(copied.bytes, expected);

        const digest = inner(right);
        inner(left).copyDigest(from, digest, at);
        const withDigest = right.slice();
        withDigest.set(left.subarray(from, from + 32), at);
        assert.deepEqual(digest.bytes, withDigest);
        assert.equal(digest.hasDigest(at, inner(left), from), true);
        for (const wrong of [0, 13, 31]) {
          const changed = inner(withDigest);
          changed.bytes[at + wrong] = (withDigest[at + wrong] as number) ^ 1;
          assert.equal(changed.hasDigest(at, inner(left), from), false);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("there is no digest beyond the end", () => {
    const zeros = new WordView(new Uint8Array(64));
    assert.equal(zeros.hasDigest(32, zeros, 0), true);
    assert.equal(zeros.hasDigest(33, zeros, 0), false);
    assert.equal(zeros.hasDigest(0, zeros, 33), false);
  });
});
