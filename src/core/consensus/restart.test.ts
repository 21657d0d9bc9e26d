import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ENTRY_OVERHEAD_BYTES } from "./log.ts";
import { MAJORITY } from "./quorum.ts";
import { DELIVERY_BYTES_MAX } from "./state.ts";
import {
  accepted,
  append,
  entryAt,
  logOf,
  refused,
  ScriptedNode,
  sentTo,
  votersOf,
  voteFor,
} from "./testing/scriptedNode.ts";
import { Simulator } from "./testing/simulator.ts";

/** Two entries of the size of `entryAt`. */
const WINDOW_BYTES = 2 * (ENTRY_OVERHEAD_BYTES + 3);
const LOG = logOf(2, 2, 3, 3, 4, 4);

/** A restarted node with six durable entries of which the last two are in memory. */
function restarted(): ScriptedNode {
  return new ScriptedNode({
    restored: { entries: LOG },
    hardState: { term: 4, votedFor: "b" },
    windowBytes: WINDOW_BYTES,
  });
}

describe("a restart", () => {
  test("entries on disk are durable but not known to be committed", () => {
    const { commitIndex, lastIndex, lastTerm, durableIndex, term, role } = restarted().status;
    assert.deepEqual([commitIndex, lastIndex, lastTerm, durableIndex, term, role], [0, 6, 4, 6, 4, "follower"]);
  });

  test("committed entries outside the window are loaded for this node itself, in order and one load at a time", () => {
    const node = restarted();
    const ready = node.receive("b", append(4, [6, 4], [], 5));
    assert.deepEqual([ready.load, ready.committed], [[{ peer: "a", fromIndex: 1, maxBytes: 1000 }], []]);
    assert.equal(node.receive("b", append(4, [6, 4], [], 5)).load.length, 0);
    const first = node.step({ type: "loaded", peer: "a", entries: LOG.slice(0, 3) });
    assert.deepEqual([first.committed, first.load], [LOG.slice(0, 3), [{ peer: "a", fromIndex: 4, maxBytes: 1000 }]]);
    const second = node.step({ type: "loaded", peer: "a", entries: LOG.slice(3, 6) });
    assert.deepEqual([second.committed, second.load], [LOG.slice(3, 5), []], "entry 6 is not committed");
    assert.deepEqual(node.receive("b", append(4, [6, 4], [], 6)).committed, LOG.slice(5));
  });

  test("loaded entries are followed by those in memory in the same step", () => {
    const node = restarted();
    node.receive("b", append(4, [6, 4], [], 6));
    assert.deepEqual(node.step({ type: "loaded", peer: "a", entries: LOG.slice(0, 4) }).committed, LOG);
  });

  test("a large committed log is handed out in parts, each bounded, without a gap", () => {
    const large = Array.from({ length: 10 }, (_, at) => ({
      index: at + 1,
      term: 2,
      data: new Uint8Array(DELIVERY_BYTES_MAX / 4),
    }));
    const node = new ScriptedNode({
      restored: { entries: large },
      hardState: { term: 2, votedFor: "b" },
      windowBytes: 64 * DELIVERY_BYTES_MAX,
    });
    const parts = [node.receive("b", append(2, [10, 2], [], 10)).committed];
    while ((parts.at(-1)?.length ?? 0) > 0) parts.push(node.wait(1).committed);
    assert.deepEqual(parts.flat(), large);
    for (const part of parts) assert.ok(part.length <= 4, `part of ${part.length} entries`);
  });

  test("an empty load is asked again with the next tick, not in a loop", () => {
    const node = restarted();
    node.receive("b", append(4, [6, 4], [], 6));
    assert.equal(node.step({ type: "loaded", peer: "a", entries: [] }).load.length, 0);
    assert.deepEqual(node.wait(1).load, [{ peer: "a", fromIndex: 1, maxBytes: 1000 }]);
  });

  test("a disk that returns another entry at a committed index stops the node", () => {
    const node = restarted();
    node.receive("b", append(4, [6, 4], [], 6));
    assert.throws(() => node.step({ type: "loaded", peer: "a", entries: [entryAt(1, 1)] }), { code: "LedgerCorrupt" });
  });

  test("a conflict outside the window is found and truncated by its term", () => {
    const node = restarted();
    assert.equal(sentTo(node.receive("c", append(5, [4, 4], [])), "c", "appendResponse").length, 0);
    assert.deepEqual(sentTo(node.sync(), "c", "appendResponse"), [refused(5, 3, 3)]);
    const ready = node.receive("c", append(5, [2, 2], [entryAt(3, 5)], 3));
    assert.deepEqual([ready.persist?.truncateFrom, ready.persist?.entries], [3, [entryAt(3, 5)]]);
    assert.deepEqual([node.status.lastIndex, node.status.lastTerm], [3, 5]);
    assert.deepEqual(node.step({ type: "loaded", peer: "a", entries: LOG.slice(0, 3) }).committed, [
      ...LOG.slice(0, 2),
      entryAt(3, 5),
    ]);
  });

  test("entries of a term above the hard state are a torn write: the term is known, no vote in it was given", () => {
    const node = new ScriptedNode({ restored: { entries: logOf(2, 7) }, hardState: { term: 6, votedFor: "b" } });
    assert.equal(node.status.term, 7);
    node.receive("c", voteFor(7, [2, 7]));
    assert.deepEqual(sentTo(node.sync(), "c", "voteResponse")[0]?.granted, true);
  });

  test("options that do not fit together are refused", () => {
    const doubled = { initial: votersOf("a", "a") };
    const votingLearner = { initial: { ...votersOf("a", "b"), learners: ["b"] } };
    for (const wrong of [
      { heartbeatIntervalMs: 100 },
      { electionTimeoutMaxMs: 99 },
      { maxInflightAppends: 0 },
      { maxInflightBytes: 0 },
      doubled,
      votingLearner,
    ]) {
      assert.throws(() => new ScriptedNode(wrong), { code: "ConfigurationInvalid" });
    }
    assert.throws(() => new ScriptedNode({ hardState: { term: 0, votedFor: undefined } }), { code: "LedgerCorrupt" });
  });
});

describe("the window", () => {
  test("entries stay in it until they are durable here, even when the others have committed them", () => {
    const node = new ScriptedNode({
      windowBytes: 0,
      initial: {
        ...votersOf(),
        current: { voters: ["a", "b", "c", "d"], quorum: { type: "flexible", election: 3, replication: 2 } },
      },
    });
    node.wait(1);
    for (const preVote of [true, false]) {
      for (const voter of ["b", "c"]) node.receive(voter, { type: "voteResponse", preVote, term: 2, granted: true });
      node.sync();
    }
    node.propose(3, 3);
    node.receive("b", accepted(2, 2));
    assert.equal(node.receive("c", accepted(2, 2)).committed.length, 2);
    const early = node.receive("d", refused(2, 0, 0));
    assert.deepEqual([sentTo(early, "d", "append")[0]?.entries.length, early.load.length], [2, 0]);
    node.sync();
    const wake = node.step({ type: "channel", peer: "d", up: true });
    assert.deepEqual([sentTo(wake, "d", "append")[0]?.entries.length, wake.load.length], [0, 0]);
    assert.deepEqual(node.receive("d", accepted(2, 0)).load, [{ peer: "d", fromIndex: 1, maxBytes: 1000 }]);
  });

  test("entries stay in it until they are committed", () => {
    const node = new ScriptedNode({ windowBytes: 0 });
    node.lead();
    node.propose(3, 3);
    node.sync();
    const ready = node.receive("b", refused(2, 0, 0));
    assert.deepEqual([sentTo(ready, "b", "append")[0]?.entries.length, ready.load.length], [2, 0]);
  });

  test("a follower far behind is served from the disk, one load at a time, then from memory", () => {
    const node = restarted();
    node.lead();
    const ready = node.receive("c", refused(5, 1, 2));
    assert.deepEqual(sentTo(ready, "c", "append"), [append(5, [1, 2], [])]);
    assert.deepEqual(node.receive("c", accepted(5, 1)).load, [{ peer: "c", fromIndex: 2, maxBytes: 1000 }]);
    assert.equal(node.wait(1).load.length, 0);
    const loaded = node.step({ type: "loaded", peer: "c", entries: LOG.slice(1, 3) });
    assert.deepEqual(sentTo(loaded, "c", "append"), [append(5, [1, 2], LOG.slice(1, 3))]);
    assert.deepEqual(loaded.load, [{ peer: "c", fromIndex: 4, maxBytes: 1000 }]);
    const last = node.step({ type: "loaded", peer: "c", entries: LOG.slice(3, 4) });
    assert.deepEqual(sentTo(last, "c", "append"), [
      append(5, [3, 3], LOG.slice(3, 4)),
      append(5, [4, 3], LOG.slice(4)),
    ]);
  });

  test("a load is asked again when the channel changed, and stale or foreign answers are not sent", () => {
    const node = restarted();
    node.lead();
    node.receive("c", refused(5, 1, 2));
    node.receive("c", accepted(5, 1));
    const wrong = node.step({ type: "loaded", peer: "c", entries: [entryAt(2, 1)] });
    assert.deepEqual([wrong.send, wrong.load], [[], []]);
    assert.equal(node.wait(1).load.length, 1);
    node.step({ type: "channel", peer: "c", up: false });
    node.step({ type: "channel", peer: "c", up: true });
    assert.deepEqual(node.receive("c", accepted(5, 1)).load, [{ peer: "c", fromIndex: 2, maxBytes: 1000 }]);
    assert.equal(node.step({ type: "loaded", peer: "b", entries: LOG }).send.length, 0);
  });

  test("a leader that steps down forgets its loads and does not send their answers", () => {
    const node = restarted();
    node.lead();
    node.receive("c", refused(5, 1, 2));
    node.receive("c", accepted(5, 1));
    node.receive("b", append(6, [0, 0], []));
    assert.equal(node.step({ type: "loaded", peer: "c", entries: LOG.slice(1) }).send.length, 0);
  });

  test("a whole network restarts from long logs and a follower that was away catches up from the disks", () => {
    const network = new Simulator({ seed: 5, nodeCount: 3, quorum: MAJORITY, windowBytes: 300 });
    network.run(1000);
    const away = network.ids.find((id) => id !== network.leader()) ?? "";
    network.crash(away);
    let last = 0;
    for (let count = 0; count < 40; count++) {
      last = network.propose(network.leader() ?? "", 5);
      network.run(20);
    }
    for (const id of network.running) network.crash(id);
    for (const id of network.ids) network.restart(id);
    assert.ok(network.runUntil(() => network.ids.every((id) => network.deliveredIndex(id) > last), 5000));
    assert.ok(network.loadCount > 50);
  });
});
