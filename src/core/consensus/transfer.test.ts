import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { accepted, append, entryAt, ScriptedNode, sentTo, voteFor, votersOf } from "./testing/scriptedNode.ts";

/** Leads a, b, c in term 2 with one entry on its own disk. */
function leader(): ScriptedNode {
  const node = new ScriptedNode();
  node.lead();
  node.propose(3);
  node.sync();
  return node;
}

describe("handing over leadership", () => {
  test("takes no more proposals, waits for the whole log, then tells the other one to start", () => {
    const node = leader();
    assert.equal(sentTo(node.step({ type: "transfer", to: "b" }), "b", "timeoutNow").length, 0);
    assert.equal(node.status.transferring, true);
    assert.equal(node.propose(3).dropped.length, 1);
    const ready = node.receive("b", accepted(2, 1));
    assert.deepEqual(sentTo(ready, "b", "timeoutNow"), [{ type: "timeoutNow", term: 2 }]);
    assert.deepEqual([node.status.role, node.propose(3).dropped.length], ["leader", 1]);
  });

  test("goes to the voter whose log is closest when none is named", () => {
    const node = leader();
    node.receive("c", accepted(2, 1));
    assert.equal(sentTo(node.step({ type: "transfer" }), "c", "timeoutNow").length, 1);
  });

  test("is given up after an election timeout", () => {
    const node = leader();
    node.step({ type: "transfer", to: "b" });
    node.wait(99);
    assert.equal(node.status.transferring, true);
    node.wait(1);
    assert.deepEqual([node.status.transferring, node.status.role], [false, "leader"]);
    assert.equal(node.propose(3).dropped.length, 0);
  });

  test("to a node that is no voter, or to the leader itself, is no transfer", () => {
    for (const to of ["x", "a"]) {
      const node = leader();
      node.step({ type: "transfer", to });
      assert.equal(node.status.transferring, false);
    }
  });

  test("the other one campaigns at once, without a pre-vote, in a durable term", () => {
    const node = new ScriptedNode();
    node.receive("b", append(2, [0, 0], [entryAt(1, 2)]));
    node.sync();
    const ready = node.receive("b", { type: "timeoutNow", term: 2 });
    assert.deepEqual(ready.persist?.hardState, { term: 3, votedFor: "a" });
    assert.deepEqual(sentTo(node.sync(), "c", "vote"), [{ ...voteFor(3, [1, 2]), transfer: true }]);
  });

  test("only the leader of the term can ask for that", () => {
    const node = new ScriptedNode();
    node.receive("b", append(2, [0, 0], []));
    node.sync();
    for (const [from, term] of [
      ["c", 2],
      ["b", 1],
      ["b", 3],
      ["x", 9],
    ] as const) {
      assert.equal(node.receive(from, { type: "timeoutNow", term }).persist, undefined);
    }
    assert.deepEqual([node.status.role, node.status.term], ["follower", 2]);
  });

  test("such a vote is not declined because the leader is heard, by followers and by the leader", () => {
    const follower = new ScriptedNode();
    follower.receive("b", append(2, [0, 0], []));
    follower.sync();
    follower.receive("c", { ...voteFor(3), transfer: true });
    assert.equal(sentTo(follower.sync(), "c", "voteResponse")[0]?.granted, true);
    const old = leader();
    old.receive("b", { ...voteFor(3, [1, 2]), transfer: true });
    assert.deepEqual([old.status.role, old.status.term], ["follower", 3]);
    assert.equal(sentTo(old.sync(), "b", "voteResponse")[0]?.granted, true);
  });

  test("such a vote is declined all the same by who has more in its log", () => {
    const node = leader();
    node.receive("b", { ...voteFor(3, [0, 0]), transfer: true });
    assert.equal(sentTo(node.sync(), "b", "voteResponse")[0]?.granted, false);
  });
});

describe("a full disk", () => {
  test("makes a leader hand over and step down", () => {
    const node = leader();
    node.step({ type: "diskFull", full: true });
    assert.deepEqual([node.status.role, node.status.transferring], ["leader", true]);
    const ready = node.receive("b", accepted(2, 1));
    assert.equal(sentTo(ready, "b", "timeoutNow").length, 1);
    assert.equal(node.status.role, "follower");
    assert.equal(node.wait(1000).send.length, 0, "it does not campaign");
    node.step({ type: "diskFull", full: false });
    assert.equal(node.wait(1).send.length, 2);
  });

  test("makes a leader step down after an election timeout even if nobody can take over", () => {
    const node = leader();
    node.step({ type: "diskFull", full: true });
    node.wait(100);
    assert.equal(node.status.role, "follower");
    const alone = new ScriptedNode({ initial: votersOf("a") });
    alone.wait(0);
    alone.sync();
    assert.equal(alone.status.role, "leader");
    alone.step({ type: "diskFull", full: true });
    assert.equal(alone.status.role, "follower");
  });

  test("lets a follower follow", () => {
    const node = new ScriptedNode();
    node.step({ type: "diskFull", full: true });
    const ready = node.receive("b", append(2, [0, 0], [entryAt(1, 2)]));
    assert.deepEqual(ready.persist?.entries, [entryAt(1, 2)]);
    assert.equal(node.status.leader, "b");
  });
});
