import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { ByteWriter } from "../codec/bytes.ts";
import { decodeMessage, encodeMessage, isWellFormed, MAX_NUMBER } from "./messages.ts";
import { accepted, append, entryAt, refused, voteFor } from "./testing/scriptedNode.ts";
import type { ConsensusMessage } from "./types.ts";

const SAMPLES: readonly ConsensusMessage[] = [
  append(3, [4, 2], [entryAt(5, 2), entryAt(6, 3, 0)], 4),
  append(1, [0, 0], []),
  accepted(7, 12),
  refused(7, 11, 5),
  refused(7, 0, 0),
  voteFor(9, [8, 7]),
  voteFor(9, [0, 0], true),
  { type: "voteResponse", preVote: true, term: 9, granted: true },
  { type: "voteResponse", preVote: false, term: MAX_NUMBER, granted: false },
];

const number = fc.integer({ min: 1, max: 2 ** 40 });

const appends = fc
  .tuple(
    number,
    number,
    number,
    fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.uint8Array({ maxLength: 20 })), { maxLength: 5 }),
  )
  .map(([previousIndex, previousTerm, commitIndex, parts]): ConsensusMessage => {
    let term = previousTerm;
    const entries = parts.map(([step, data], at) => {
      term += step;
      return { index: previousIndex + 1 + at, term, data: Uint8Array.from(data) };
    });
    return append(term, [previousIndex, previousTerm], entries, commitIndex);
  });

describe("consensus messages", () => {
  test("every message comes back as it was sent", () => {
    for (const message of SAMPLES) assert.deepEqual(decodeMessage(encodeMessage(message)), message);
    fc.assert(
      fc.property(appends, (message) => assert.deepEqual(decodeMessage(encodeMessage(message)), message)),
      { numRuns: 200 },
    );
  });

  test("no two byte strings mean the same message, whatever is changed in one", () => {
    let decoded = 0;
    fc.assert(
      fc.property(
        fc.constantFrom(...SAMPLES),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (message, position, flip) => {
          const bytes = Uint8Array.from(encodeMessage(message));
          const at = position % bytes.length;
          bytes[at] = (bytes[at] as number) ^ flip;
          try {
            const changed = decodeMessage(bytes);
            decoded++;
            assert.deepEqual(encodeMessage(changed), bytes);
          } catch (error) {
            assert.ok(
              error instanceof CocoError && (error.code === "MalformedInput" || error.code === "LimitExceeded"),
              String(error),
            );
          }
        },
      ),
      { numRuns: 2000 },
    );
    assert.ok(decoded > 0);
  });

  test("a message cut short or with bytes after it is refused", () => {
    for (const message of SAMPLES) {
      const bytes = encodeMessage(message);
      for (let length = 0; length < bytes.length; length++)
        assert.throws(() => decodeMessage(bytes.subarray(0, length)), { code: "MalformedInput" });
      assert.throws(() => decodeMessage(Uint8Array.of(...bytes, 0)), { code: "MalformedInput" });
    }
  });

  test("numbers beyond the limit are refused, not rounded", () => {
    for (const high of [0x00100000, 0x00200000, 0xffffffff]) {
      const bytes = new ByteWriter().u8(3).u32(high).u32(1).u8(0).u64(0).u64(0).finish();
      assert.throws(() => decodeMessage(bytes), { code: "MalformedInput" });
    }
  });

  test("an entry count larger than the input is refused without reserving memory for it", () => {
    const bytes = new ByteWriter().u8(1).u64(1).u64(0).u64(0).u64(0).u32(0xffffffff).finish();
    assert.throws(() => decodeMessage(bytes), { code: "MalformedInput" });
  });

  test("a message above the size limit is refused", () => {
    const bytes = encodeMessage(append(1, [0, 0], [entryAt(1, 1, 100)]));
    assert.throws(() => decodeMessage(bytes, 100), { code: "LimitExceeded" });
    assert.equal(decodeMessage(bytes, bytes.length).type, "append");
  });

  test("messages that no correct node sends are refused", () => {
    const wrong: readonly ConsensusMessage[] = [
      append(0, [0, 0], []),
      append(3, [4, 0], []),
      append(3, [0, 2], []),
      append(3, [4, 5], []),
      append(3, [4, 2], [entryAt(5, 4)]),
      append(3, [4, 2], [entryAt(5, 1)]),
      append(3, [4, 2], [entryAt(5, 3), entryAt(6, 2)]),
      append(3, [4, 2], [entryAt(6, 3)]),
      { ...accepted(3, 4), hintIndex: 1, hintTerm: 1 },
      { ...refused(3, 4, 1), matchIndex: 4 },
      refused(3, 4, 0),
      voteFor(3, [2, 4]),
      voteFor(MAX_NUMBER + 2),
      append(3, [MAX_NUMBER, 2], [entryAt(MAX_NUMBER + 1, 3)]),
    ];
    for (const message of wrong) assert.equal(isWellFormed(message), false, JSON.stringify(message));
    for (const message of SAMPLES) assert.equal(isWellFormed(message), true, JSON.stringify(message));
  });
});
