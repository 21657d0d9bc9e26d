import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import { sha256 } from "./node-crypto.ts";
import { createLaneHash, LANE_MESSAGE_BYTES, LANES } from "./sha256-lanes.ts";

const expected = (message: Bytes): string => createHash("sha256").update(message).digest("hex");

/** The digests of `count` random messages by `many`, each beside what the runtime's own hash makes of it. */
function assertSame(
  many: (messages: Bytes, length: number, target: Uint8Array) => void,
  length: number,
  count: number,
): void {
  const messages = new Uint8Array(randomBytes(length * count));
  const digests = new Uint8Array(32 * count + 8).fill(7);
  many(messages, length, digests.subarray(4));
  for (let at = 0; at < count; at++) {
    const digest = toHex(digests.subarray(4 + 32 * at, 36 + 32 * at));
    assert.equal(
      digest,
      expected(messages.subarray(length * at, length * (at + 1))),
      `length ${length}, message ${at}`,
    );
  }
  assert.deepEqual([...digests.subarray(0, 4), ...digests.subarray(-4)], new Array(8).fill(7));
}

describe("SHA-256 in lanes", () => {
  const laneHash = createLaneHash();

  test("gives the digests of FIPS 180-4 for every length up to its limit", { skip: laneHash === undefined }, () => {
    assert.ok(laneHash);
    for (let length = 1; length <= LANE_MESSAGE_BYTES; length++) assertSame(laneHash, length, LANES);
  });

  test("takes more messages than its memory has room for", { skip: laneHash === undefined }, () => {
    assert.ok(laneHash);
    assertSame(laneHash, 64, 4000);
    assertSame(laneHash, LANE_MESSAGE_BYTES, 1000);
    assertSame(laneHash, 33, 8000);
  });

  test("the hash of a node takes any number of messages of any length", () => {
    assert.ok(sha256.many);
    for (const count of [1, 3, 4, 5, 17])
      for (const length of [1, 55, 56, 64, LANE_MESSAGE_BYTES, LANE_MESSAGE_BYTES + 1, 5000])
        assertSame(sha256.many, length, count);
  });
});
