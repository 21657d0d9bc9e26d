import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { RaftOptions } from "./state.ts";
import { accepted, append, entryAt, logOf, ScriptedNode, sentTo, voteFor, votersOf } from "./testing/scriptedNode.ts";
import type { ConsensusMessage, Ready } from "./types.ts";

const tells = (term: number, last: readonly [number, number], recovering = false): ConsensusMessage => ({
  type: "restartAnswer",
  term,
  lastIndex: last[0],
  lastTerm: last[1],
  recovering,
});

/** A node that took part, restarted with a disk that is not believed; its log ends at (3, 2), in term 2. */
function restarted(options: Partial<RaftOptions> = {}): ScriptedNode {
  const restored = { entries: logOf(1, 2, 2) };
  const hardState = { term: 2, votedFor: undefined };
  return new ScriptedNode({ tookPart: true, trustDisk: () => false, restored, hardState, ...options });
}

function vote(node: ScriptedNode, term: number, last: readonly [number, number], from = "c"): boolean | undefined {
  const ready = node.receive(from, voteFor(term, last));
  const synced = node.sync();
  return [...sentTo(ready, from, "voteResponse"), ...sentTo(synced, from, "voteResponse")][0]?.granted;
}

const campaigns = (ready: Ready): boolean => ready.send.some(({ message }) => message.type === "vote");

describe("a node that may have lost what it promised", () => {
  test("neither votes nor campaigns, nor takes over when asked, and says so in its answers", () => {
    const node = restarted();
    assert.equal(node.status.recovering, true);
    assert.equal(campaigns(node.wait(1000)), false);
    assert.equal(vote(node, 3, [9, 2]), false);
    const ready = node.receive("b", append(3, [3, 2], []));
    assert.equal(sentTo(ready, "b", "appendResponse")[0]?.recovering, true);
    node.receive("b", { type: "timeoutNow", term: 3 });
    assert.equal(node.status.role, "follower");
  });

  test("is any node that took part when disks are not believed, else one whose log or vote is gone or damaged", () => {
    const recovering = (options: Partial<RaftOptions>): boolean => restarted(options).status.recovering;
    assert.equal(recovering({ trustDisk: () => true }), false);
    assert.equal(recovering({ tookPart: false }), false);
    assert.equal(recovering({ trustDisk: () => true, restored: { entries: [] } }), true);
    assert.equal(recovering({ trustDisk: () => true, hardState: undefined }), true);
    assert.equal(recovering({ trustDisk: () => true, tookPart: false, damaged: { index: 5, term: 2 } }), true);
  });

  test("asks whether its disk is trusted once it has read the log, which may say so", () => {
    for (const said of [true, false]) {
      let trusted = !said;
      function* entries() {
        yield* logOf(1, 2, 2);
        trusted = said;
      }
      const node = restarted({ trustDisk: () => trusted, restored: { entries: entries() } });
      assert.equal(node.status.recovering, !said);
    }
  });

  test("asks every other voter, again until it has answered", () => {
    const node = restarted();
    assert.deepEqual(
      node.wait(1).send.map(({ to, message }) => [to, message.type]),
      [
        ["b", "restartQuery"],
        ["c", "restartQuery"],
      ],
    );
    node.receive("b", tells(2, [3, 2]));
    assert.deepEqual(
      node.wait(100).send.map(({ to }) => to),
      ["c"],
    );
  });

  test("is not counted by a leader, for a commit, a read or CheckQuorum", () => {
    const node = new ScriptedNode();
    node.lead();
    node.propose(3);
    node.sync();
    node.receive("b", { ...accepted(2, 1), recovering: true });
    assert.equal(node.status.commitIndex, 0);
    assert.equal(node.status.matchIndex.get("b"), 1);
    node.wait(150);
    node.receive("b", { ...accepted(2, 1), recovering: true });
    node.wait(50);
    assert.equal(node.status.role, "follower");
  });
});

describe("recovery by the answers of all other voters", () => {
  test("needs all of them, and no others", () => {
    const node = restarted();
    node.receive("b", tells(2, [3, 2]));
    node.receive("x", tells(2, [3, 2]));
    assert.equal(node.status.recovering, true);
    node.receive("c", tells(2, [2, 2], true));
    assert.equal(node.status.recovering, false);
    assert.equal(campaigns(node.wait(1000)), true);
  });

  test("votes in no term that was told, and in later ones only for who has all that was told", () => {
    const node = restarted();
    node.receive("b", tells(5, [4, 2]));
    node.receive("c", tells(3, [7, 2]));
    assert.equal(node.status.term, 5);
    assert.equal(vote(node, 5, [9, 2]), false);
    assert.equal(vote(node, 6, [6, 2]), false);
    assert.equal(vote(node, 7, [7, 2]), true);
  });

  test("gives no second vote in the term it was in, if nobody told a later one", () => {
    const node = restarted();
    for (const peer of ["b", "c"]) node.receive(peer, tells(2, [3, 2]));
    assert.equal(vote(node, 2, [9, 2]), false);
    assert.equal(vote(node, 3, [9, 2]), true);
  });

  test("campaigns only once its own log has all that was told", () => {
    const node = restarted();
    for (const peer of ["b", "c"]) node.receive(peer, tells(2, [4, 2]));
    assert.equal(campaigns(node.wait(1000)), false);
    assert.equal(node.status.recovering, true, "it still waits for what it may have had");
    node.receive("b", append(3, [3, 2], [entryAt(4, 2)]));
    node.sync();
    assert.equal(campaigns(node.wait(1000)), true);
  });

  test("must hear from the voters of both sets", () => {
    const { current } = votersOf("a", "b", "c");
    const node = restarted({ initial: { current: votersOf("a", "d").current, previous: current, learners: ["x"] } });
    for (const peer of ["b", "c"]) node.receive(peer, tells(2, [3, 2]));
    assert.equal(node.status.recovering, true);
    node.receive("d", tells(2, [3, 2]));
    assert.equal(node.status.recovering, false);
  });

  test("a node tells its newest durable position, or a newer one that it is known to have had", () => {
    const node = new ScriptedNode({ restored: { entries: logOf(1, 2) }, hardState: { term: 4, votedFor: undefined } });
    assert.deepEqual(sentTo(node.receive("c", { type: "restartQuery", term: 1 }), "c", "restartAnswer"), [
      tells(4, [2, 2]),
    ]);
    node.receive("b", append(4, [2, 2], [entryAt(3, 4)]));
    assert.equal(node.receive("c", { type: "restartQuery", term: 1 }).send.length, 0, "not before it is durable");
    assert.deepEqual(sentTo(node.sync(), "c", "restartAnswer"), [tells(4, [3, 4])]);
    const damaged = restarted({ damaged: { index: 9, term: 2 } });
    const ready = damaged.receive("c", { type: "restartQuery", term: 1 });
    assert.deepEqual(sentTo(ready, "c", "restartAnswer"), [tells(2, [9, 2], true)]);
  });

  test("a damaged disk's lost entries count although the others have fewer", () => {
    const node = restarted({ trustDisk: () => true, damaged: { index: 5, term: 2 } });
    for (const peer of ["b", "c"]) node.receive(peer, tells(2, [4, 2]));
    assert.equal(vote(node, 3, [4, 2]), false);
    assert.equal(vote(node, 4, [5, 2]), true);
  });

  test("a lone voter goes on with the disk it has, unless that is known to have lost something", () => {
    const alone = restarted({ initial: votersOf("a") });
    alone.wait(1);
    alone.sync();
    assert.equal(alone.status.role, "leader");
    const wiped = restarted({ initial: votersOf("a"), restored: { entries: [] } });
    wiped.wait(1000);
    assert.deepEqual([wiped.status.role, wiped.status.recovering], ["follower", true]);
  });
});

describe("recovery under a live leader", () => {
  /** Follows b in term 3 long enough after the restart, and b told that its log ended at (4, 3) then. */
  function anchored(): ScriptedNode {
    const node = restarted({ initial: votersOf("a", "b", "c", "d", "e") });
    node.receive("b", append(3, [3, 2], [entryAt(4, 3)], 3));
    node.sync();
    node.wait(200);
    node.receive("b", append(3, [4, 3], [], 3));
    node.receive("b", tells(3, [4, 3]));
    return node;
  }

  test("ends with a commit, in the leader's own term, of an entry appended after the restart", () => {
    const node = anchored();
    node.receive("b", append(3, [4, 3], [], 4));
    assert.equal(node.status.recovering, true, "entry 4 may have been committed with what this node forgot");
    node.receive("b", append(3, [4, 3], [entryAt(5, 3)], 5));
    assert.equal(node.status.recovering, true, "not before it is durable here");
    node.sync();
    node.receive("b", append(3, [5, 3], [], 5));
    assert.equal(node.status.recovering, false);
  });

  test("not with what an earlier leader told, nor soon after the restart, when lost votes may still be counted", () => {
    const changed = anchored();
    changed.receive("c", append(4, [4, 3], [entryAt(5, 4)], 5));
    changed.sync();
    changed.receive("c", append(4, [5, 4], [], 5));
    assert.equal(changed.status.recovering, true);
    const early = restarted({ initial: votersOf("a", "b", "c", "d", "e") });
    early.receive("b", append(3, [3, 2], [entryAt(4, 3)], 3));
    early.receive("b", tells(3, [4, 3]));
    early.receive("b", append(3, [4, 3], [entryAt(5, 3)], 5));
    early.sync();
    early.receive("b", append(3, [5, 3], [], 5));
    assert.equal(early.status.recovering, true);
  });

  test("a wiped node that comes back under its old id does not vote for whoever asks", () => {
    const wiped = restarted({ trustDisk: () => true, restored: { entries: [] }, hardState: undefined });
    assert.equal(vote(wiped, 2, [9, 1]), false);
    wiped.receive("b", append(3, [0, 0], [entryAt(1, 2), entryAt(2, 3)], 2));
    wiped.sync();
    wiped.receive("b", append(3, [2, 3], [], 2));
    assert.equal(wiped.status.recovering, true);
  });
});

describe("recovery by the members' decision", () => {
  test("ends at once, also for a node that waits for entries nobody has, and gives no second vote in its term", () => {
    const node = restarted();
    node.step({ type: "resume" });
    assert.equal(node.status.recovering, false);
    assert.equal(vote(node, 2, [9, 2]), false);
    const waiting = restarted();
    for (const peer of ["b", "c"]) waiting.receive(peer, tells(2, [9, 2]));
    waiting.step({ type: "resume" });
    assert.equal(waiting.status.recovering, false);
    assert.equal(campaigns(waiting.wait(1000)), true);
  });
});
