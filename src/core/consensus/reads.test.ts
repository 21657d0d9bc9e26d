import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MAX_WAITING_READS } from "./reads.ts";
import { accepted, append, entryAt, logOf, ScriptedNode, sentTo, votersOf } from "./testing/scriptedNode.ts";

/** Leads a, b, c in term 2 with its first entry committed. */
function leader(): ScriptedNode {
  const node = new ScriptedNode();
  node.lead();
  node.propose(3);
  node.sync();
  node.receive("b", accepted(2, 1));
  return node;
}

const agrees = (round: number, matchIndex = 1) => ({ ...accepted(2, matchIndex), round });

describe("linearizable reads", () => {
  test("are answered with the commit index once a quorum has answered a round begun after them", () => {
    const node = leader();
    const ready = node.step({ type: "read", id: 7 });
    assert.deepEqual([ready.reads, sentTo(ready, "c", "append")[0]?.round], [[], 1]);
    assert.deepEqual(node.receive("c", agrees(0)).reads, [], "an answer to something older proves nothing");
    assert.deepEqual(node.receive("c", agrees(1)).reads, [{ id: 7, index: 1 }]);
  });

  test("a follower echoes the round, on success and on refusal", () => {
    const node = new ScriptedNode({ hardState: { term: 2, votedFor: undefined } });
    for (const previous of [
      [0, 0],
      [5, 2],
    ] as const) {
      const ready = node.receive("b", { ...append(2, previous, []), round: 9 });
      assert.equal(sentTo(ready, "b", "appendResponse")[0]?.round, 9);
    }
  });

  test("share rounds: one is under way, those that come meanwhile wait for the next", () => {
    const node = leader();
    node.step({ type: "read", id: 1 });
    assert.equal(node.step({ type: "read", id: 2 }).send.length, 0);
    const ready = node.receive("b", agrees(1));
    assert.deepEqual([ready.reads, sentTo(ready, "b", "append")[0]?.round], [[{ id: 1, index: 1 }], 2]);
    assert.deepEqual(node.receive("c", agrees(2)).reads, [{ id: 2, index: 1 }]);
  });

  test("wait for a commit of the leader's own term: before it, what is committed is not known (figure 8)", () => {
    const node = new ScriptedNode({ restored: { entries: logOf(1, 1) }, hardState: { term: 1, votedFor: undefined } });
    node.lead();
    assert.equal(node.step({ type: "read", id: 1 }).send.length, 0);
    node.propose(3);
    node.sync();
    node.receive("b", accepted(2, 3));
    assert.deepEqual(node.receive("b", agrees(1, 3)).reads, [{ id: 1, index: 3 }]);
  });

  test("are answered with nothing by who does not lead, and by who loses leadership meanwhile", () => {
    assert.deepEqual(new ScriptedNode().step({ type: "read", id: 3 }).reads, [{ id: 3, index: undefined }]);
    const node = leader();
    node.step({ type: "read", id: 4 });
    assert.deepEqual(node.receive("b", append(3, [1, 2], [])).reads, [{ id: 4, index: undefined }]);
    const silent = leader();
    silent.step({ type: "read", id: 5 });
    assert.deepEqual(silent.wait(200).reads, [{ id: 5, index: undefined }]);
  });

  test("need a quorum of each set, and no answer of a learner or of a node that recovers helps", () => {
    const node = leader();
    node.change({
      current: votersOf("d", "e", "f").current,
      previous: votersOf("a", "b", "c").current,
      learners: ["x"],
    });
    node.step({ type: "read", id: 1 });
    for (const peer of ["b", "c", "x", "d"]) assert.deepEqual(node.receive(peer, agrees(1)).reads, []);
    assert.deepEqual(node.receive("e", { ...agrees(1), recovering: true }).reads, []);
    assert.deepEqual(node.receive("f", agrees(1)).reads, [{ id: 1, index: 1 }]);
  });

  test("a lost round is made up for by the next heartbeat, and a round nobody began is ignored", () => {
    const node = leader();
    node.step({ type: "read", id: 1 });
    assert.deepEqual(node.receive("b", agrees(2 ** 52)).reads, []);
    assert.equal(sentTo(node.wait(20), "b", "append")[0]?.round, 1);
  });

  test("a lone voter answers at once", () => {
    const node = new ScriptedNode({ initial: votersOf("a") });
    node.wait(0);
    node.sync();
    node.propose(3);
    assert.deepEqual(node.sync().committed, [entryAt(1, 2)]);
    assert.deepEqual(node.step({ type: "read", id: 1 }).reads, [{ id: 1, index: 1 }]);
  });

  test("are bounded in number", () => {
    const node = leader();
    for (let id = 0; id < MAX_WAITING_READS; id++) node.step({ type: "read", id });
    assert.deepEqual(node.step({ type: "read", id: -1 }).reads, [{ id: -1, index: undefined }]);
  });
});
