import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ENTRY_OVERHEAD_BYTES } from "./log.ts";
import { accepted, append, entryAt, logOf, refused, ScriptedNode, sentTo, votersOf } from "./testing/scriptedNode.ts";
import type { RaftOptions } from "./state.ts";
import type { AppendRequest, Ready } from "./types.ts";

/** A leader of term 5 with a durable log of the given terms. */
function leader(terms: readonly number[] = [], options: Partial<RaftOptions> = {}): ScriptedNode {
  const node = new ScriptedNode({
    restored: { entries: logOf(...terms) },
    hardState: { term: 4, votedFor: undefined },
    ...options,
  });
  node.lead();
  return node;
}

const appends = (ready: Ready, to = "b"): readonly AppendRequest[] => sentTo(ready, to, "append");
const indexes = (ready: Ready, to = "b"): readonly (readonly number[])[] =>
  appends(ready, to).map(({ entries }) => entries.map(({ index }) => index));

describe("a leader", () => {
  test("writes an entry to its disk and sends it to all in the same step", () => {
    const node = leader();
    const ready = node.propose(3);
    assert.deepEqual(ready.persist?.entries, [entryAt(1, 5)]);
    assert.deepEqual(appends(ready, "b"), [append(5, [0, 0], [entryAt(1, 5)])]);
    assert.deepEqual(appends(ready, "c"), [append(5, [0, 0], [entryAt(1, 5)])]);
  });

  test("commits what its own disk and one of two followers hold", () => {
    const node = leader();
    node.propose(3);
    assert.equal(node.sync().committed.length, 0);
    assert.deepEqual(node.receive("b", accepted(5, 1)).committed, [entryAt(1, 5)]);
  });

  test("does not count itself before its own disk has the entry", () => {
    const node = leader();
    node.propose(3);
    assert.equal(node.receive("b", accepted(5, 1)).committed.length, 0);
    assert.deepEqual(node.sync().committed, [entryAt(1, 5)]);
  });

  test("commits by its followers alone while its own disk is slow", () => {
    const node = leader();
    node.propose(3);
    node.receive("b", accepted(5, 1));
    assert.deepEqual(node.receive("c", accepted(5, 1)).committed, [entryAt(1, 5)]);
    assert.equal(node.status.durableIndex, 0);
  });

  test("tells the followers a new commit index at once, with an empty append if there is nothing to send", () => {
    const node = leader();
    node.propose(3);
    node.sync();
    const ready = node.receive("b", accepted(5, 1));
    assert.deepEqual(appends(ready, "b"), [append(5, [1, 5], [], 1)]);
    assert.deepEqual(appends(ready, "c"), [append(5, [1, 5], [], 1)]);
    assert.equal(node.receive("c", accepted(5, 1)).send.length, 0, "once");
  });

  test("does not commit an entry of an earlier term by counting, however many hold it (figure 8)", () => {
    const node = leader([2, 4]);
    node.receive("b", accepted(5, 2));
    node.receive("c", accepted(5, 2));
    assert.equal(node.status.commitIndex, 0);
    node.propose(3);
    node.sync();
    assert.deepEqual(node.receive("b", accepted(5, 3)).committed, [entryAt(1, 2), entryAt(2, 4), entryAt(3, 5)]);
  });

  test("a refusal never commits anything", () => {
    const node = leader();
    node.propose(3, 3);
    node.sync();
    node.receive("b", refused(5, 2, 5));
    node.receive("c", refused(5, 1, 5));
    assert.equal(node.status.commitIndex, 0);
    assert.deepEqual([...node.status.matchIndex.values()], [0, 0]);
  });

  test("acknowledgements of an earlier term count for nothing", () => {
    const node = leader();
    node.propose(3);
    node.sync();
    node.receive("b", accepted(4, 1));
    assert.equal(node.status.commitIndex, 0);
  });

  test("late, doubled and impossible acknowledgements move nothing back or too far", () => {
    const node = leader();
    node.propose(3, 3);
    node.sync();
    node.receive("b", accepted(5, 2));
    node.receive("b", accepted(5, 1));
    node.receive("b", accepted(5, 99));
    node.receive("b", refused(5, 0, 0));
    assert.equal(node.status.matchIndex.get("b"), 2);
    assert.equal(node.status.commitIndex, 2);
  });

  test("gives entries back that do not continue its log in its term, and those behind them", () => {
    const node = leader([4]);
    const wrongTerm = [entryAt(2, 4)];
    assert.deepEqual(node.step({ type: "propose", entries: wrongTerm }).dropped, wrongTerm);
    const entries = [entryAt(2, 5), entryAt(4, 5), entryAt(5, 5)];
    assert.deepEqual(node.step({ type: "propose", entries }).dropped, entries.slice(1));
    assert.equal(node.status.lastIndex, 2);
  });

  test("sends heartbeats only to whom nothing else was sent", () => {
    const node = leader();
    assert.equal(node.wait(19).send.length, 0);
    assert.deepEqual(appends(node.wait(1)), [append(5, [0, 0], [])]);
    node.nowMs += 15;
    node.propose(3);
    assert.equal(node.wait(10).send.length, 0);
    assert.deepEqual(appends(node.wait(10)), [append(5, [1, 5], [])]);
  });

  test("keeps at most the allowed number of appends in flight and goes on with each acknowledgement", () => {
    const node = leader();
    for (let count = 0; count < 3; count++) assert.equal(indexes(node.propose(3)).length, 1);
    assert.equal(node.propose(3).send.length, 0);
    node.propose(3);
    assert.deepEqual(indexes(node.receive("b", accepted(5, 1))), [[4, 5]]);
  });

  test("fills an append up to its size, with at least one entry", () => {
    const node = leader([], { maxAppendBytes: 2 * (ENTRY_OVERHEAD_BYTES + 10) });
    assert.deepEqual(indexes(node.propose(10, 10, 500, 10, 10)), [[1, 2], [3], [4, 5]]);
  });

  test("a refusal leads back to where the logs agree, with entries in the first try", () => {
    const node = leader([1, 1, 2, 2, 4, 4]);
    const ready = node.receive("b", refused(5, 5, 3));
    assert.deepEqual(appends(ready), [append(5, [4, 2], [entryAt(5, 4), entryAt(6, 4)])]);
    assert.deepEqual(indexes(node.receive("b", refused(5, 2, 1))), [[3, 4, 5, 6]]);
    node.receive("b", accepted(5, 6));
    assert.equal(node.status.matchIndex.get("b"), 6);
  });

  test("one refusal per try: the refusals of the appends behind it start nothing", () => {
    const node = leader([1, 1, 2]);
    node.propose(3);
    node.propose(3);
    assert.equal(node.receive("b", refused(5, 1, 1)).send.length, 1);
    assert.equal(node.receive("b", refused(5, 1, 1)).send.length, 0);
    assert.equal(node.receive("b", refused(5, 2, 1)).send.length, 0);
  });

  test("sends nothing ahead while it looks for agreement", () => {
    const node = leader([1, 1, 2]);
    node.receive("b", refused(5, 1, 1));
    assert.equal(appends(node.propose(3), "b").length, 0);
    assert.deepEqual(indexes(node.receive("b", accepted(5, 3))), [[4]]);
  });

  test("a lost append is found by the next heartbeat and sent again", () => {
    const node = leader();
    node.propose(3);
    assert.deepEqual(appends(node.wait(20)), [append(5, [1, 5], [])]);
    assert.deepEqual(indexes(node.receive("b", refused(5, 0, 0))), [[1]]);
  });

  test("a lost acknowledgement is made up for by the answer to a heartbeat", () => {
    const node = leader();
    for (let count = 0; count < 4; count++) node.propose(3);
    assert.equal(node.propose(3).send.length, 0);
    assert.deepEqual(indexes(node.receive("b", accepted(5, 3))), [[4, 5]]);
  });

  test("when a channel comes back the leader asks at once where the peer stands", () => {
    const node = leader();
    node.propose(3);
    assert.equal(node.step({ type: "channel", peer: "b", up: false }).send.length, 0);
    assert.deepEqual(appends(node.step({ type: "channel", peer: "b", up: true })), [append(5, [1, 5], [])]);
    assert.deepEqual(indexes(node.receive("b", refused(5, 0, 0))), [[1]]);
  });

  test("a peer that comes back with less than it acknowledged is given it again", () => {
    const node = leader();
    node.propose(3);
    node.propose(3);
    node.sync();
    node.receive("b", accepted(5, 2));
    assert.equal(node.status.commitIndex, 2);
    node.step({ type: "channel", peer: "b", up: false });
    assert.deepEqual(appends(node.step({ type: "channel", peer: "b", up: true })), [append(5, [2, 5], [], 2)]);
    assert.equal(node.status.matchIndex.get("b"), 0);
    assert.deepEqual(indexes(node.receive("b", refused(5, 1, 5))), [[2]]);
    node.receive("b", accepted(5, 2));
    assert.deepEqual([node.status.matchIndex.get("b"), node.status.commitIndex], [2, 2]);
  });

  test("with a smaller replication quorum commits on two of five", () => {
    const node = new ScriptedNode({
      initial: {
        ...votersOf(),
        current: { voters: ["a", "b", "c", "d", "e"], quorum: { type: "flexible", election: 4, replication: 2 } },
      },
    });
    node.wait(1);
    for (const preVote of [true, false]) {
      for (const voter of ["b", "c", "d"]) {
        assert.notEqual(node.status.role, "leader");
        node.receive(voter, { type: "voteResponse", preVote, term: 2, granted: true });
      }
      node.sync();
    }
    assert.equal(node.status.role, "leader");
    node.propose(3);
    node.sync();
    assert.deepEqual(node.receive("e", accepted(2, 1)).committed, [entryAt(1, 2)]);
    node.wait(190);
    node.receive("e", accepted(2, 1));
    node.wait(190);
    assert.equal(node.status.role, "leader", "one follower suffices to go on");
  });
});
