import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Bytes, concatBytes, type HashFunction } from "../codec/bytes.ts";
import { DigestRun } from "./digest-run.ts";

const sha256 = (data: Bytes): Bytes => new Uint8Array(createHash("sha256").update(data).digest());

function digestsOf(messages: readonly Bytes[], hash: HashFunction): Bytes {
  const run = new DigestRun(hash, new Uint8Array(32 * messages.length));
  for (const message of messages) {
    const at = run.next(message.length);
    run.room.bytes.set(message, at);
  }
  return run.finish();
}

describe("digests of many messages", () => {
  test("are those of each message, in order, whatever the lengths", () => {
    const message = fc
      .tuple(fc.constantFrom(1, 32, 33, 64, 20_000), fc.nat(255))
      .map(([length, value]) => new Uint8Array(length).fill(value));
    fc.assert(
      fc.property(fc.array(message, { maxLength: 30 }), (messages) => {
        assert.deepEqual(digestsOf(messages, sha256), concatBytes(...messages.map(sha256)));
      }),
      { numRuns: 60 },
    );
  });

  test("take one call for messages of one length, as far as there is room", () => {
    const calls: number[] = [];
    const counting: HashFunction = Object.assign((data: Bytes) => sha256(data), {
      many: (messages: Bytes, length: number) => void calls.push(messages.length / length),
    });
    digestsOf(
      Array.from({ length: 300 }, () => new Uint8Array(64)),
      counting,
    );
    assert.deepEqual(calls, [256, 44]);
  });

  test("two runs at the same time do not disturb each other", () => {
    const [first, second] = [new DigestRun(sha256, new Uint8Array(32)), new DigestRun(sha256, new Uint8Array(32))];
    for (const [value, run] of [first, second].entries()) {
      const at = run.next(40);
      run.room.bytes.fill(value, at, at + 40);
    }
    assert.deepEqual(first.finish(), sha256(new Uint8Array(40)));
    assert.deepEqual(second.finish(), sha256(new Uint8Array(40).fill(1)));
  });
});
