import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { ByteWriter, toHex } from "../codec/bytes.ts";
import { decodeMessage, encodeMessage, isWellFormed, MAX_NUMBER } from "./messages.ts";
import { accepted, append, entryAt, refused, ScriptedNode, voteFor, votersOf } from "./testing/scriptedNode.ts";
import { MAJORITY } from "./quorum.ts";
import type { ConsensusMessage, SnapshotMark } from "./types.ts";

const MARK: SnapshotMark = {
  index: 9,
  term: 3,
  configuration: { ...votersOf("a", "b"), learners: ["x"] },
  configurationIndex: 2,
};

const JOINT_MARK: SnapshotMark = {
  ...MARK,
  configuration: {
    current: { voters: ["d"], quorum: MAJORITY },
    previous: { voters: ["a", "b", "c"], quorum: { type: "flexible", election: 3, replication: 1 } },
    learners: [],
  },
};

function u64(value: number): string {
  return value.toString(16).padStart(16, "0");
}

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
  { ...accepted(7, 12), round: 3, recovering: true },
  { ...append(3, [4, 2], [], 4), round: 9 },
  { ...voteFor(9, [8, 7]), transfer: true },
  { type: "snapshotPart", term: 4, snapshot: MARK, offset: 7, data: Uint8Array.of(1, 2, 3), last: false },
  { type: "snapshotPart", term: 4, snapshot: JOINT_MARK, offset: 0, data: new Uint8Array(0), last: true },
  { type: "snapshotResponse", term: 4, index: 9, offset: 10, installed: false },
  { type: "snapshotResponse", term: 4, index: 9, offset: 0, installed: true },
  { type: "timeoutNow", term: 5 },
  { type: "restartQuery", term: 5 },
  { type: "restartAnswer", term: 5, lastIndex: 4, lastTerm: 3, recovering: true },
];

/** The first bytes of a message of each type never change: nodes of different versions speak to each other. */
const GOLDEN: readonly (readonly [ConsensusMessage, string])[] = [
  [
    { ...append(3, [4, 2], [{ index: 5, term: 3, data: Uint8Array.of(0xab) }], 4), round: 6 },
    `01${u64(3)}${u64(4)}${u64(2)}${u64(4)}${u64(6)}00000001${u64(3)}00000001ab`,
  ],
  [{ ...accepted(7, 12), round: 3 }, `02${u64(7)}01${u64(12)}${u64(0)}${u64(0)}${u64(3)}00`],
  [{ ...voteFor(9, [8, 7]), transfer: true }, `03${u64(9)}0001${u64(8)}${u64(7)}`],
  [{ type: "voteResponse", preVote: true, term: 9, granted: false }, `04${u64(9)}0100`],
  [
    { type: "snapshotPart", term: 4, snapshot: MARK, offset: 7, data: Uint8Array.of(0xab), last: true },
    `05${u64(4)}${u64(9)}${u64(3)}${u64(2)}02016101620000010178${u64(7)}0100000001ab`,
  ],
  [{ type: "snapshotResponse", term: 4, index: 9, offset: 10, installed: true }, `06${u64(4)}${u64(9)}${u64(10)}01`],
  [{ type: "timeoutNow", term: 5 }, `07${u64(5)}`],
  [{ type: "restartQuery", term: 5 }, `08${u64(5)}`],
  [{ type: "restartAnswer", term: 5, lastIndex: 4, lastTerm: 3, recovering: true }, `09${u64(5)}${u64(4)}${u64(3)}01`],
];

function leading(): ScriptedNode {
  const node = new ScriptedNode();
  node.lead();
  node.propose(3);
  node.sync();
  return node;
}

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
  test("the bytes of each type are what they were", () => {
    for (const [message, hex] of GOLDEN) assert.equal(toHex(encodeMessage(message)), hex, message.type);
  });

  test("a bomb in any numeric field is refused, or harmless to a node that is given it", () => {
    const fields = [
      "term",
      "previousIndex",
      "previousTerm",
      "commitIndex",
      "round",
      "matchIndex",
      "hintIndex",
      "hintTerm",
    ];
    fields.push("lastIndex", "lastTerm", "index", "offset");
    let tried = 0;
    for (const sample of SAMPLES) {
      for (const field of fields.filter((name) => name in sample)) {
        for (const bomb of [
          2 ** 52,
          2 ** 53 - 1,
          2 ** 53,
          2 ** 64 - 1,
          -1,
          Number.NaN,
          Number.POSITIVE_INFINITY,
          0.5,
        ]) {
          const message = { ...sample, [field]: bomb } as ConsensusMessage;
          for (const node of [new ScriptedNode(), leading()]) {
            const { term } = node.status;
            for (const from of ["b", "x"]) node.receive(from, message);
            assert.ok(node.status.term <= Math.max(term, sample.term), `${field} of ${sample.type}`);
            assert.ok(node.status.commitIndex <= node.status.lastIndex, `${field} of ${sample.type}`);
            tried++;
          }
        }
      }
    }
    assert.ok(tried > 500);
  });

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
      const bytes = new ByteWriter().u8(3).u32(high).u32(1).u8(0).u8(0).u64(0).u64(0).finish();
      assert.throws(() => decodeMessage(bytes), { code: "MalformedInput" });
    }
  });

  test("an entry count larger than the input is refused without reserving memory for it", () => {
    const bytes = new ByteWriter().u8(1).u64(1).u64(0).u64(0).u64(0).u64(0).u32(0xffffffff).finish();
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
      { ...append(3, [4, 2], []), round: -1 },
      { ...voteFor(3, [0, 0], true), transfer: true },
      { type: "restartAnswer", term: 3, lastIndex: 4, lastTerm: 4, recovering: false },
      { type: "snapshotResponse", term: 3, index: 0, offset: 0, installed: false },
      { type: "snapshotPart", term: 2, snapshot: MARK, offset: 0, data: Uint8Array.of(1), last: false },
      { type: "snapshotPart", term: 4, snapshot: MARK, offset: 0, data: new Uint8Array(0), last: false },
      {
        type: "snapshotPart",
        term: 4,
        snapshot: { ...MARK, configurationIndex: 10 },
        offset: 0,
        data: new Uint8Array(0),
        last: true,
      },
      {
        type: "snapshotPart",
        term: 4,
        snapshot: { ...MARK, configuration: votersOf("a", "a") },
        offset: 0,
        data: new Uint8Array(0),
        last: true,
      },
    ];
    for (const message of wrong) assert.equal(isWellFormed(message), false, JSON.stringify(message));
    for (const message of SAMPLES) assert.equal(isWellFormed(message), true, JSON.stringify(message));
  });
});
