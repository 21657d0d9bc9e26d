import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  accepted,
  append,
  entryAt,
  logOf,
  refused,
  ScriptedNode,
  sentTo,
  voteFor,
  votersOf,
} from "./testing/scriptedNode.ts";
import type { Ready, SnapshotMark, SnapshotPart, SnapshotResponse } from "./types.ts";

function mark(index: number, term: number): SnapshotMark {
  return { index, term, configuration: { ...votersOf("a", "b", "c"), learners: ["x"] }, configurationIndex: 1 };
}

const part = (snapshot: SnapshotMark, offset: number, size: number, last = false): SnapshotPart => ({
  type: "snapshotPart",
  term: 2,
  snapshot,
  offset,
  data: new Uint8Array(size),
  last,
});

const got = (index: number, offset: number, installed = false): SnapshotResponse => ({
  type: "snapshotResponse",
  term: 2,
  index,
  offset,
  installed,
});

/** Leads in term 2 with five committed entries of which the first three are compacted. */
function leader(): ScriptedNode {
  const node = new ScriptedNode({ restored: { entries: logOf(1, 1, 1) }, hardState: { term: 1, votedFor: undefined } });
  node.lead();
  node.propose(3, 3);
  node.sync();
  node.receive("b", accepted(2, 5));
  node.step({ type: "compact", snapshot: mark(3, 1) });
  assert.equal(node.status.firstIndex, 4);
  return node;
}

function loaded(
  node: ScriptedNode,
  snapshot: SnapshotMark | undefined,
  offset: number,
  size: number,
  last = false,
): Ready {
  return node.step({ type: "snapshotLoaded", peer: "c", snapshot, offset, data: new Uint8Array(size), last });
}

describe("a leader with a snapshot", () => {
  test("sends it to a peer that needs compacted entries, one part under way at a time", () => {
    const node = leader();
    const ready = node.receive("c", refused(2, 2, 1));
    assert.deepEqual(ready.loadSnapshot, [{ peer: "c", index: undefined, offset: 0, maxBytes: 1000, heard: true }]);
    assert.deepEqual(sentTo(loaded(node, mark(3, 1), 0, 10), "c", "snapshotPart"), [part(mark(3, 1), 0, 10)]);
    assert.equal(loaded(node, mark(3, 1), 0, 10).send.length, 0, "once");
    const next = node.receive("c", got(3, 10));
    assert.deepEqual(next.loadSnapshot, [{ peer: "c", index: 3, offset: 10, maxBytes: 1000, heard: true }]);
    loaded(node, mark(3, 1), 10, 5, true);
    assert.equal(node.receive("c", got(3, 15)).loadSnapshot.length, 0);
    const done = node.receive("c", got(3, 0, true));
    assert.equal(node.status.matchIndex.get("c"), 3);
    assert.deepEqual(
      sentTo(done, "c", "append").map(({ entries }) => entries.map(({ index }) => index)),
      [[4, 5]],
    );
  });

  test("does not send it to a peer that has what it stands for", () => {
    const node = leader();
    const ready = node.receive("c", refused(2, 3, 1));
    assert.deepEqual([ready.loadSnapshot, sentTo(ready, "c", "append")[0]?.previousIndex], [[], 3]);
  });

  test("asks again for a part that was not answered for an election timeout", () => {
    const node = leader();
    node.receive("c", refused(2, 0, 0));
    loaded(node, mark(3, 1), 0, 10);
    node.wait(150);
    node.receive("b", accepted(2, 5));
    node.receive("c", refused(2, 0, 0));
    assert.deepEqual(node.wait(50).loadSnapshot, [
      { peer: "c", index: undefined, offset: 0, maxBytes: 1000, heard: true },
    ]);
  });

  test("goes on where the follower says, also back at the beginning", () => {
    const node = leader();
    node.receive("c", refused(2, 0, 0));
    loaded(node, mark(3, 1), 0, 10);
    node.receive("c", got(3, 10));
    loaded(node, mark(3, 1), 10, 10);
    assert.deepEqual(node.receive("c", got(3, 0)).loadSnapshot[0]?.offset, 0);
    assert.deepEqual(node.receive("c", got(9, 7)).loadSnapshot, [], "another snapshot's answer");
  });

  test("keeps what follows a snapshot that is being sent, although a newer one is there", () => {
    const node = leader();
    node.receive("c", refused(2, 0, 0));
    loaded(node, mark(3, 1), 0, 10, true);
    node.step({ type: "compact", snapshot: mark(5, 2) });
    assert.equal(node.status.firstIndex, 4);
    const done = node.receive("c", got(3, 0, true));
    assert.equal(sentTo(done, "c", "append").length + done.load.length > 0, true);
  });

  test("two back to back: a peer that falls behind again gets the newer one", () => {
    const node = leader();
    node.receive("c", refused(2, 0, 0));
    node.step({ type: "compact", snapshot: mark(5, 2) });
    assert.equal(loaded(node, mark(3, 1), 0, 10, true).send.length, 0, "the older one leads nowhere");
    node.wait(150);
    node.receive("b", accepted(2, 5));
    assert.equal(node.wait(50).loadSnapshot[0]?.index, undefined);
    assert.equal(sentTo(loaded(node, mark(5, 2), 0, 10, true), "c", "snapshotPart").length, 1);
  });

  test("learns by a heartbeat that the snapshot is there when the answer was lost", () => {
    const node = leader();
    node.receive("c", refused(2, 0, 0));
    loaded(node, mark(3, 1), 0, 10, true);
    const heartbeat = sentTo(node.wait(20), "c", "append")[0];
    assert.deepEqual([heartbeat?.previousIndex, heartbeat?.entries.length], [3, 0]);
    assert.equal(sentTo(node.receive("c", accepted(2, 3)), "c", "append")[0]?.entries.length, 2);
  });

  test("says nothing when the driver has none, and asks again later", () => {
    const node = leader();
    node.receive("c", refused(2, 0, 0));
    assert.equal(loaded(node, undefined, 0, 0, true).send.length, 0);
    node.wait(150);
    node.receive("b", accepted(2, 5));
    node.receive("c", refused(2, 0, 0));
    assert.equal(node.wait(50).loadSnapshot.length, 1);
  });

  /** Time passes in which one follower answers, and the one that is sent the snapshot does not. Parts that are read meanwhile. */
  function passWithout(node: ScriptedNode): number {
    let reads = 0;
    for (let step = 0; step < 20; step++) {
      node.receive("b", accepted(2, 5));
      reads += node.wait(50).loadSnapshot.length;
    }
    return reads;
  }

  test("reads nothing again for a peer that is down, and goes on when it is heard", () => {
    for (const offset of [0, 10]) {
      const node = leader();
      node.receive("c", refused(2, 0, 0));
      loaded(node, mark(3, 1), 0, 10);
      if (offset > 0) node.receive("c", got(3, 10));
      if (offset > 0) loaded(node, mark(3, 1), 10, 10);
      assert.equal(passWithout(node), 0);
      node.receive("c", refused(2, 0, 0));
      assert.deepEqual(
        node.wait(1).loadSnapshot.map((load) => load.offset),
        [offset],
      );
    }
  });

  test("tells whether a peer has answered since it was begun with last", () => {
    const node = leader();
    const begun = (ready: Ready) => ready.loadSnapshot.map(({ heard }) => heard);
    const upAgain = () => begun(node.step({ type: "channel", peer: "c", up: true }));
    assert.deepEqual(begun(node.receive("c", refused(2, 0, 0))), [true]);
    node.step({ type: "channel", peer: "c", up: false });
    assert.deepEqual(begun(node.wait(20)), [false], "a channel that comes and goes is no answer");
    upAgain();
    node.receive("c", refused(2, 0, 0));
    node.step({ type: "channel", peer: "c", up: false });
    assert.deepEqual(begun(node.wait(20)), [true]);
  });

  test("keeps the log for a peer whose parts take longer than an election timeout", () => {
    const node = leader();
    node.receive("c", refused(2, 0, 0));
    loaded(node, mark(3, 1), 0, 10);
    passWithout(node);
    node.step({ type: "compact", snapshot: mark(5, 2) });
    assert.equal(node.status.firstIndex, 4);
    assert.deepEqual(
      node.receive("c", got(3, 10)).loadSnapshot.map(({ index, offset }) => [index, offset]),
      [[3, 10]],
    );
  });

  test("keeps nothing of the log for a peer that is down", () => {
    const node = leader();
    node.receive("c", refused(2, 0, 0));
    loaded(node, mark(3, 1), 0, 10);
    for (let times = 0; times < 20; times++) passWithout(node);
    node.step({ type: "compact", snapshot: mark(5, 2) });
    assert.equal(node.status.firstIndex, 6);
    node.receive("c", got(3, 10));
    loaded(node, mark(3, 1), 10, 10);
    assert.equal(passWithout(node), 0);
    node.receive("c", refused(2, 0, 0));
    assert.equal(node.wait(1).loadSnapshot[0]?.index, undefined, "it begins anew");
    assert.equal(sentTo(loaded(node, mark(5, 2), 0, 10), "c", "snapshotPart").length, 1);
  });
});

describe("a follower that is given a snapshot", () => {
  function follower(...terms: readonly number[]): ScriptedNode {
    const node = new ScriptedNode({ restored: { entries: logOf(...terms) }, hardState: { term: 2, votedFor: "b" } });
    node.receive("b", append(2, [0, 0], []));
    return node;
  }

  const answers = (ready: Ready): readonly SnapshotResponse[] => sentTo(ready, "b", "snapshotResponse");

  test("hands the parts over in order and takes none twice", () => {
    const node = follower();
    const first = node.receive("b", part(mark(5, 2), 0, 10));
    assert.deepEqual([first.snapshotParts.length, answers(first)], [1, [got(5, 10)]]);
    const again = node.receive("b", part(mark(5, 2), 20, 10));
    assert.deepEqual([again.snapshotParts.length, answers(again)], [0, [got(5, 10)]]);
    const anew = node.receive("b", part(mark(5, 2), 0, 10));
    assert.equal(anew.snapshotParts[0]?.offset, 0);
  });

  test("replaces log, configuration and state by it once it is stored, and acknowledges when that is durable", () => {
    const node = follower(1, 1, 1);
    node.receive("b", part(mark(5, 2), 0, 10, true));
    const ready = node.step({ type: "snapshotStored", snapshot: mark(5, 2) });
    assert.deepEqual([ready.installed, ready.persist?.snapshot, answers(ready)], [mark(5, 2), mark(5, 2), []]);
    const { commitIndex, lastIndex, lastTerm, firstIndex, durableIndex, configuration, configurationIndex } =
      node.status;
    assert.deepEqual([commitIndex, lastIndex, lastTerm, firstIndex, durableIndex], [5, 5, 2, 6, 0]);
    assert.deepEqual([configuration, configurationIndex], [mark(5, 2).configuration, 1]);
    assert.deepEqual(answers(node.sync()), [got(5, 0, true)]);
    assert.equal(node.status.durableIndex, 5);
    const after = node.receive("b", append(2, [5, 2], [entryAt(6, 2)], 6));
    assert.deepEqual(after.committed, [entryAt(6, 2)]);
  });

  test("answers an older one as being there, durably", () => {
    const node = follower(2, 2, 2);
    node.receive("b", append(2, [3, 2], [], 3));
    assert.deepEqual(answers(node.receive("b", part(mark(2, 2), 0, 10))), [got(2, 0, true)]);
    const ready = follower(2, 2, 2).receive("b", part(mark(3, 2), 0, 10));
    assert.deepEqual([answers(ready), ready.committed.length], [[got(3, 0, true)], 3], "the log has the same history");
  });

  test("keeps what it has when the log came further while the snapshot was stored", () => {
    const node = follower();
    node.receive("b", part(mark(2, 2), 0, 10, true));
    node.receive("b", append(2, [0, 0], [entryAt(1, 2), entryAt(2, 2), entryAt(3, 2)], 3));
    const ready = node.step({ type: "snapshotStored", snapshot: mark(2, 2) });
    assert.deepEqual([ready.installed, node.status.lastIndex], [undefined, 3]);
    assert.deepEqual(answers(node.sync()).at(-1), got(2, 0, true));
  });

  test("begins anew after one that did not hold, and when the leader sends another", () => {
    const node = follower();
    node.receive("b", part(mark(5, 2), 0, 10, true));
    node.step({ type: "snapshotRefused" });
    assert.deepEqual(answers(node.receive("b", part(mark(5, 2), 10, 5))), [got(5, 0)]);
    node.receive("b", part(mark(5, 2), 0, 10));
    node.receive("b", part(mark(7, 2), 0, 10, true));
    assert.equal(node.step({ type: "snapshotStored", snapshot: mark(5, 2) }).installed, undefined, "the one given up");
    assert.deepEqual(node.step({ type: "snapshotStored", snapshot: mark(7, 2) }).installed, mark(7, 2));
  });

  test("tells a deposed leader the term, and takes none from a second leader of the term", () => {
    const node = follower();
    assert.deepEqual(answers(node.receive("b", { ...part(mark(1, 1), 0, 10), term: 1 })), [got(1, 0)]);
    assert.equal(node.receive("c", part(mark(5, 2), 0, 10)).snapshotParts.length, 0);
  });

  test("follows nobody for it: whose appends it did not hear is not its leader", () => {
    const node = leader();
    for (const term of [2, 3]) {
      const ready = node.receive("b", { ...part(mark(9, 3), 0, 10, true), term });
      assert.deepEqual([ready.send, ready.snapshotParts, ready.persist], [[], [], undefined]);
    }
    assert.deepEqual([node.status.role, node.status.term], ["leader", 2]);
    const waiting = new ScriptedNode({ hardState: { term: 2, votedFor: undefined } });
    assert.deepEqual(waiting.receive("b", part(mark(5, 2), 0, 10)).snapshotParts, []);
    assert.equal(waiting.status.leader, undefined);
  });

  test("takes appends that begin before the snapshot, and is not confused by them", () => {
    const node = follower();
    node.receive("b", part(mark(2, 2), 0, 10, true));
    node.step({ type: "snapshotStored", snapshot: mark(2, 2) });
    const ready = node.receive("b", append(2, [0, 0], [entryAt(1, 1), entryAt(2, 2), entryAt(3, 2)], 3));
    assert.deepEqual(ready.committed, [entryAt(3, 2)]);
    assert.deepEqual(sentTo(node.sync(), "b", "appendResponse").at(-1), accepted(2, 3));
    assert.throws(() => node.receive("b", append(2, [0, 0], [entryAt(1, 1), entryAt(2, 1)])), { code: "LedgerForked" });
  });

  test("starts again from it: what it stands for is committed, votes count its place", () => {
    const restored = { snapshot: mark(5, 2), entries: [entryAt(6, 2)] };
    const node = new ScriptedNode({ restored, hardState: { term: 2, votedFor: undefined } });
    const { commitIndex, firstIndex, lastIndex, configurationIndex } = node.status;
    assert.deepEqual([commitIndex, firstIndex, lastIndex, configurationIndex], [5, 6, 6, 1]);
    assert.deepEqual(node.receive("b", append(2, [6, 2], [], 6)).committed, [entryAt(6, 2)]);
    const voter = new ScriptedNode({ restored: { snapshot: mark(5, 2), entries: [] } });
    voter.receive("b", voteFor(3, [4, 2]));
    assert.equal(sentTo(voter.sync(), "b", "voteResponse")[0]?.granted, false);
    assert.throws(() => new ScriptedNode({ restored: { snapshot: mark(5, 2), entries: logOf(1) } }), {
      code: "LedgerCorrupt",
    });
  });
});
