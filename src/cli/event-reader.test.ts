import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EventReader, MAX_EVENT_LENGTH } from "./event-reader.ts";

const TEXT =
  'retry: 2000\n\n: still here\n\nid: 7.1\nevent: ballot_cast\ndata: {"vote":"yes"}\n\nevent: reset\ndata: {}\n\n';
const EVENTS = [
  { id: "7.1", type: "ballot_cast", data: { vote: "yes" } },
  { id: undefined, type: "reset", data: {} },
];

describe("reading a feed", () => {
  test("events are the same however their text is cut", () => {
    for (const size of [1, 2, 7, TEXT.length]) {
      const reader = new EventReader();
      const parts = TEXT.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
      assert.deepEqual(
        parts.flatMap((part) => reader.read(part)),
        EVENTS,
      );
    }
  });

  test("what is no event, or never ends, is refused", () => {
    assert.throws(() => new EventReader().read("event: x\ndata: {\n\n"), { code: "AnswerInvalid" });
    const reader = new EventReader();
    assert.throws(
      () => {
        for (let at = 0; at < 3; at++) reader.read("x".repeat(MAX_EVENT_LENGTH / 2));
      },
      { code: "AnswerInvalid" },
    );
  });
});
