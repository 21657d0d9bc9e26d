import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MessageRefused } from "./acceptance.ts";
import {
  accepted,
  append,
  configurationEntry,
  entryAt,
  logOf,
  refused,
  ScriptedNode,
  sentTo,
  voteFor,
  votersOf,
} from "./testing/scriptedNode.ts";
import type { AppendResponse, Ready } from "./types.ts";

const answers = (ready: Ready): readonly AppendResponse[] => sentTo(ready, "b", "appendResponse");

/** A follower of b in term 5 with the given log, all durable. */
function follower(...terms: readonly number[]): ScriptedNode {
  const node = new ScriptedNode({ restored: { entries: logOf(...terms) }, hardState: { term: 5, votedFor: "b" } });
  node.receive("b", append(5, [0, 0], []));
  return node;
}

describe("a follower", () => {
  test("acknowledges entries only once they are durable", () => {
    const node = follower();
    const ready = node.receive("b", append(5, [0, 0], [entryAt(1, 5), entryAt(2, 5)]));
    assert.deepEqual(ready.persist, { id: 1, entries: [entryAt(1, 5), entryAt(2, 5)] });
    assert.deepEqual(answers(ready), []);
    assert.deepEqual([node.status.lastIndex, node.status.durableIndex], [2, 0]);
    assert.deepEqual(answers(node.sync()), [accepted(5, 2)]);
    assert.equal(node.status.durableIndex, 2);
  });

  test("acknowledges each append with the persist request that covers it", () => {
    const node = follower();
    node.receive("b", append(5, [0, 0], [entryAt(1, 5)]));
    node.receive("b", append(5, [1, 5], [entryAt(2, 5)]));
    assert.deepEqual(answers(node.step({ type: "persisted", id: 1 })), [accepted(5, 1)]);
    assert.deepEqual(answers(node.step({ type: "persisted", id: 1 })), []);
    assert.deepEqual(answers(node.step({ type: "persisted", id: 2 })), [accepted(5, 2)]);
  });

  test("holds the answer to a doubled append until the first one is durable", () => {
    const node = follower();
    node.receive("b", append(5, [0, 0], [entryAt(1, 5)]));
    const again = node.receive("b", append(5, [0, 0], [entryAt(1, 5)]));
    assert.deepEqual([again.persist, answers(again)], [undefined, []]);
    assert.deepEqual(answers(node.sync()), [accepted(5, 1), accepted(5, 1)]);
  });

  test("answers heartbeats at once with what is durable, so that a slow disk looks alive", () => {
    const node = follower();
    node.receive("b", append(5, [0, 0], [entryAt(1, 5)]));
    assert.deepEqual(answers(node.receive("b", append(5, [1, 5], []))), [accepted(5, 0)]);
  });

  test("answers in a new term only when that term is durable", () => {
    const node = new ScriptedNode();
    const ready = node.receive("b", append(3, [0, 0], []));
    assert.deepEqual(ready.persist?.hardState, { term: 3, votedFor: undefined });
    assert.deepEqual(answers(ready), []);
    assert.deepEqual(answers(node.sync()), [accepted(3, 0)]);
  });

  test("sends no held acknowledgement of an earlier term", () => {
    const node = follower();
    node.receive("b", append(5, [0, 0], [entryAt(1, 5)]));
    node.receive("c", append(6, [0, 0], []));
    const ready = node.sync();
    assert.deepEqual(answers(ready), []);
    assert.deepEqual(sentTo(ready, "c", "appendResponse"), [accepted(6, 0)]);
  });

  test("refuses entries behind a gap and names its last index", () => {
    const node = follower(1, 2);
    assert.deepEqual(answers(node.receive("b", append(5, [9, 5], [entryAt(10, 5)]))), [refused(5, 2, 2)]);
    assert.equal(node.status.lastIndex, 2);
  });

  test("refuses a conflict and skips all entries of terms that cannot match", () => {
    const node = follower(1, 1, 4, 4, 4, 4);
    assert.deepEqual(answers(node.receive("b", append(5, [6, 5], []))), [refused(5, 5, 4)]);
    assert.deepEqual(answers(node.receive("b", append(5, [5, 2], []))), [refused(5, 2, 1)]);
    assert.equal(node.status.lastIndex, 6, "a refusal truncates nothing");
  });

  test("replaces a conflicting suffix", () => {
    const node = follower(1, 2, 2, 2);
    const ready = node.receive("b", append(5, [1, 1], [entryAt(2, 2), entryAt(3, 5)]));
    assert.deepEqual(ready.persist, { id: 1, truncateFrom: 3, entries: [entryAt(3, 5)] });
    assert.deepEqual([node.status.lastIndex, node.status.lastTerm, node.status.durableIndex], [3, 5, 2]);
    assert.deepEqual(answers(node.sync()), [accepted(5, 3)]);
  });

  test("counts nothing as durable that was replaced while it was being written", () => {
    const node = follower();
    node.receive("b", append(5, [0, 0], [entryAt(1, 5), entryAt(2, 5)]));
    node.receive("c", append(6, [0, 0], [entryAt(1, 5), entryAt(2, 6)]));
    node.step({ type: "persisted", id: 1 });
    assert.equal(node.status.durableIndex, 1);
    assert.deepEqual(sentTo(node.sync(), "c", "appendResponse"), [accepted(6, 2)]);
    assert.equal(node.status.durableIndex, 2);
  });

  test("keeps what follows the entries of a late or early append of the same leader", () => {
    const node = follower();
    node.receive("b", append(5, [0, 0], [entryAt(1, 5), entryAt(2, 5), entryAt(3, 5)], 3));
    node.sync();
    for (const late of [append(5, [0, 0], [entryAt(1, 5)]), append(5, [1, 5], []), append(5, [0, 0], [])]) {
      const ready = node.receive("b", late);
      assert.equal(ready.persist, undefined);
      assert.equal(node.status.lastIndex, 3);
    }
  });

  test("never acknowledges more than the request carried, since what follows may be of another history", () => {
    const node = follower(1, 1, 3, 3);
    assert.deepEqual(answers(node.receive("b", append(5, [1, 1], []))), [accepted(5, 1)]);
    assert.deepEqual(answers(node.receive("b", append(5, [1, 1], [entryAt(2, 1)]))), [accepted(5, 2)]);
  });

  test("never commits more than the request covered", () => {
    const node = follower(1, 1, 3, 3);
    assert.equal(node.receive("b", append(5, [1, 1], [entryAt(2, 1)], 4)).committed.length, 2);
    assert.equal(node.status.commitIndex, 2);
  });

  test("never moves its commit index back", () => {
    const node = follower(1, 1, 3);
    node.receive("b", append(5, [3, 3], [], 3));
    node.receive("b", append(5, [3, 3], [], 1));
    node.receive("b", append(5, [1, 1], [], 2));
    assert.equal(node.status.commitIndex, 3);
  });

  test("refuses to truncate a committed entry before anything changes, and goes on", () => {
    for (const fork of [
      append(5, [1, 1], [entryAt(2, 5)]),
      append(5, [2, 4], []),
      append(6, [0, 0], [entryAt(1, 6)]),
    ]) {
      const node = follower(1, 1, 3);
      node.receive("b", append(5, [2, 1], [], 2));
      const before = node.status;
      assert.throws(
        () => node.receive("b", fork),
        (error) => error instanceof MessageRefused && error.code === "LedgerForked",
      );
      assert.deepEqual(node.status, before);
      assert.deepEqual(answers(node.receive("b", append(5, [3, 3], []))), [accepted(5, 3)]);
    }
  });

  test("refuses entries with a configuration that nothing can be decided in, before anything changes", () => {
    const node = follower(1, 1, 3);
    const impossible = configurationEntry(3, 6, votersOf("b", "b"));
    const before = node.status;
    assert.throws(() => node.receive("c", append(6, [2, 1], [impossible])), MessageRefused);
    assert.deepEqual(node.status, before);
  });

  test("refuses to lose more configurations than it remembers", () => {
    const node = follower(1);
    const sets = [["a"], ["a", "b"], ["a", "c"], ["a", "b", "d"]];
    const entries = sets.map((voters, at) => configurationEntry(at + 2, 5, votersOf(...voters)));
    node.receive("b", append(5, [1, 1], entries));
    const before = node.status;
    assert.throws(() => node.receive("c", append(6, [1, 1], [entryAt(2, 6)])), MessageRefused);
    assert.deepEqual(node.status, before);
  });

  test("hints no further back than its snapshot", () => {
    const snapshot = { index: 100, term: 5, configuration: votersOf("a", "b", "c"), configurationIndex: 0 };
    const node = new ScriptedNode({ restored: { snapshot, entries: [] }, hardState: { term: 6, votedFor: "b" } });
    assert.deepEqual(answers(node.receive("b", append(6, [101, 1], []))), [refused(6, 100, 5)]);
  });

  test("ignores a second node that claims to lead the term: the claim is not signed", () => {
    const node = follower();
    assert.equal(node.receive("c", append(5, [0, 0], [entryAt(1, 5)])).send.length, 0);
    assert.deepEqual([node.status.leader, node.status.lastIndex], ["b", 0]);
  });

  test("ignores messages that no correct node sends", () => {
    const node = follower(1);
    const ready = node.receive("b", append(5, [1, 1], [entryAt(2, 3), entryAt(3, 2)]));
    assert.deepEqual([ready.send.length, node.status.lastIndex], [0, 1]);
  });

  test("gives proposed entries back", () => {
    const node = follower(1);
    assert.deepEqual(node.step({ type: "propose", entries: [entryAt(2, 5)] }).dropped, [entryAt(2, 5)]);
    assert.equal(node.status.lastIndex, 1);
  });

  test("keeps its timer from running out as long as it hears the leader", () => {
    const node = follower(1);
    for (let round = 0; round < 5; round++) {
      node.wait(90);
      node.receive("b", append(5, [1, 1], []));
    }
    assert.equal(node.status.role, "follower");
    assert.deepEqual(sentTo(node.wait(100), "b", "vote"), [voteFor(6, [1, 1], true)]);
  });
});
