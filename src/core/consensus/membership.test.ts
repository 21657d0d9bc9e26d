import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MAJORITY } from "./quorum.ts";
import {
  accepted,
  append,
  configurationEntry,
  entryAt,
  ScriptedNode,
  sentTo,
  votersOf,
} from "./testing/scriptedNode.ts";
import type { RaftOptions } from "./state.ts";
import type { Configuration, NodeId } from "./types.ts";

const set = (...voters: readonly NodeId[]) => ({ voters, quorum: MAJORITY });

/** The joint configuration from one set to another, each written as its letters. */
function joint(previous: string, current: string): Configuration {
  return { current: set(...current), previous: set(...previous), learners: [] };
}

/** Leads a, b, c in term 2 with a first entry of the term committed. */
function leader(options: Partial<RaftOptions> = {}): ScriptedNode {
  const node = new ScriptedNode(options);
  node.lead();
  node.propose(3);
  node.sync();
  node.receive("b", accepted(2, 1));
  assert.equal(node.status.commitIndex, 1);
  return node;
}

/** The leader has appended a joint configuration to d, e, f at index 2; it is not committed. */
function joining(): ScriptedNode {
  const node = leader();
  assert.equal(node.change(joint("abc", "def")).dropped.length, 0);
  node.sync();
  return node;
}

describe("a joint configuration", () => {
  test("is active when appended: newcomers get the log at once", () => {
    const node = leader();
    const ready = node.change(joint("abc", "def"));
    assert.equal(sentTo(ready, "d", "append").length > 0, true);
    assert.deepEqual([node.status.configurationIndex, node.status.configurationCommitted], [2, false]);
  });

  test("commits only with a quorum of each set, not with one of their union", () => {
    const node = joining();
    for (const peer of ["d", "e", "f"]) node.receive(peer, accepted(2, 2));
    assert.equal(node.status.commitIndex, 1, "four of six, but one of a, b, c only");
    node.receive("c", accepted(2, 2));
    assert.equal(node.status.commitIndex, 2);
  });

  test("elects only with a quorum of each set, not with one of their union", () => {
    const restored = { entries: [entryAt(1, 1), configurationEntry(2, 1, joint("abc", "def"))] };
    const node = new ScriptedNode({ restored, hardState: { term: 1, votedFor: undefined } });
    node.elect("d", "e", "f");
    assert.equal(node.status.role, "preCandidate", "four of six, but one of a, b, c only");
    const other = new ScriptedNode({ restored, hardState: { term: 1, votedFor: undefined } });
    other.elect("d", "e", "b");
    assert.equal(other.status.role, "leader");
  });

  test("asks the voters of both sets for votes, and no learner", () => {
    const configuration = { ...joint("abc", "de"), learners: ["x"] };
    const node = new ScriptedNode({ restored: { entries: [configurationEntry(1, 1, configuration)] } });
    const asked = node.wait(1).send.map(({ to }) => to);
    assert.deepEqual(asked.sort(), ["b", "c", "d", "e"]);
  });

  test("CheckQuorum needs a quorum of each set", () => {
    for (const [heard, role] of [
      ["bcd", "follower"],
      ["bde", "leader"],
    ] as const) {
      const node = joining();
      node.wait(150);
      for (const peer of heard) node.receive(peer, accepted(2, 1));
      node.wait(150);
      assert.equal(node.status.role, role, heard);
    }
  });

  test("ends with its truncation, and the one before is active again", () => {
    const node = new ScriptedNode();
    const entries = [entryAt(1, 2), configurationEntry(2, 2, joint("abc", "def"))];
    node.receive("b", append(2, [0, 0], entries, 1));
    assert.equal(node.status.configurationIndex, 2);
    node.receive("c", append(3, [1, 2], [entryAt(2, 3)], 1));
    assert.deepEqual([node.status.configuration, node.status.configurationIndex], [votersOf("a", "b", "c"), 0]);
  });

  test("is known after a restart", () => {
    const restored = { entries: [entryAt(1, 1), configurationEntry(2, 1, joint("abc", "def"))] };
    const { configuration, configurationIndex } = new ScriptedNode({ restored }).status;
    assert.deepEqual([configuration, configurationIndex], [joint("abc", "def"), 2]);
  });
});

describe("a change of configuration", () => {
  test("is given back while no entry of the leader's own term is committed", () => {
    const node = new ScriptedNode();
    node.lead();
    assert.equal(node.change(joint("abc", "def")).dropped.length, 1);
    assert.equal(node.status.lastIndex, 0);
  });

  test("is given back while the one before is not committed, with all that is behind it", () => {
    const node = joining();
    const entries = [entryAt(3, 2), configurationEntry(4, 2, votersOf("d", "e", "f")), entryAt(5, 2)];
    assert.deepEqual(node.step({ type: "propose", entries }).dropped, entries.slice(1));
    assert.equal(node.status.lastIndex, 3);
  });

  test("is given back when it is no legal step", () => {
    const wrong: readonly Configuration[] = [
      votersOf("a", "b", "d"),
      joint("abd", "def"),
      {
        current: set("d"),
        previous: { voters: ["a", "b", "c"], quorum: { type: "flexible", election: 3, replication: 2 } },
        learners: [],
      },
      { ...votersOf("a", "b", "c"), learners: ["x", "x"] },
      { ...votersOf("a", "b", "c"), learners: ["c"] },
      joint("abc", ""),
    ];
    for (const configuration of wrong) {
      const node = leader({ configurationOf: (data) => (data.length > 3 ? configuration : undefined) });
      assert.equal(node.change(votersOf("a")).dropped.length, 1, JSON.stringify(configuration));
    }
  });

  test("to the configuration that is active is none", () => {
    const node = leader();
    assert.equal(node.change(votersOf("c", "b", "a")).dropped.length, 0);
    assert.equal(node.status.configurationIndex, 0);
  });

  test("from a joint configuration leads to its new set only", () => {
    const node = joining();
    for (const peer of ["b", "d", "e"]) node.receive(peer, accepted(2, 2));
    assert.equal(node.change(votersOf("a", "b", "c")).dropped.length, 1);
    assert.equal(node.change(votersOf("d", "e", "f")).dropped.length, 0);
  });
});

describe("a leader that leaves", () => {
  /** The leader has appended the new set d, e, f at index 3. */
  function leaving(): ScriptedNode {
    const node = joining();
    for (const peer of ["b", "d", "e"]) node.receive(peer, accepted(2, 2));
    node.change(votersOf("d", "e", "f"));
    node.sync();
    return node;
  }

  test("leads until the configuration without it is committed, and is not counted for that", () => {
    const node = leaving();
    node.wait(50);
    assert.equal(node.status.role, "leader");
    node.receive("d", accepted(2, 3));
    assert.deepEqual([node.status.role, node.status.commitIndex], ["leader", 2], "a and d are no quorum of d, e, f");
  });

  test("then hands over to a voter that has everything, and does not campaign again", () => {
    const node = leaving();
    node.receive("d", accepted(2, 3));
    const ready = node.receive("e", accepted(2, 3));
    assert.equal(ready.send.filter(({ message }) => message.type === "timeoutNow").length, 1);
    assert.deepEqual([node.status.commitIndex, node.status.role], [3, "follower"]);
    assert.equal(node.wait(1000).send.length, 0);
  });

  test("a follower that left goes on being sent the log until it knows that it left", () => {
    const node = leaving();
    assert.equal(sentTo(node.wait(30), "b", "append").length, 1);
  });

  test("a node outside the newest configuration still campaigns while that is not known to be committed", () => {
    const entries = [configurationEntry(1, 1, joint("abc", "def")), configurationEntry(2, 1, votersOf("d", "e", "f"))];
    const node = new ScriptedNode({ restored: { entries }, hardState: { term: 1, votedFor: undefined } });
    assert.deepEqual(
      node.wait(1).send.map(({ to }) => to),
      ["d", "e", "f"],
    );
    node.elect("d");
    assert.equal(node.status.role, "preCandidate", "its own vote does not count there");
    node.elect("d", "e");
    assert.equal(node.status.role, "leader");
  });

  test("and not once that is known", () => {
    const entries = [configurationEntry(1, 1, joint("abc", "def")), configurationEntry(2, 1, votersOf("d", "e", "f"))];
    const node = new ScriptedNode({ restored: { entries }, hardState: { term: 1, votedFor: undefined } });
    node.receive("d", append(2, [2, 1], [], 2));
    assert.equal(node.wait(1000).send.length, 0);
    assert.equal(node.status.role, "follower");
  });
});

describe("learners", () => {
  const withLearner = { ...votersOf("a", "b", "c"), learners: ["x"] };

  test("receive the log but count for nothing", () => {
    const node = leader();
    const ready = node.change(withLearner);
    assert.equal(sentTo(ready, "x", "append").length > 0, true);
    node.sync();
    node.receive("x", accepted(2, 2));
    assert.equal(node.status.commitIndex, 1);
    node.wait(150);
    node.receive("x", accepted(2, 2));
    node.wait(150);
    assert.equal(node.status.role, "follower", "who hears learners alone hears no quorum");
  });

  test("do not campaign, and their votes are not counted", () => {
    const learner = new ScriptedNode({ id: "x", initial: withLearner });
    assert.equal(learner.wait(1000).send.length, 0);
    const voter = new ScriptedNode({ initial: withLearner });
    voter.elect("x");
    assert.equal(voter.status.role, "preCandidate");
  });

  test("are caught up when they follow within an election timeout", () => {
    const node = leader();
    node.change(withLearner);
    assert.equal(node.status.learnersCaughtUp, false);
    node.receive("x", accepted(2, 0));
    node.receive("x", accepted(2, 2));
    assert.equal(node.status.learnersCaughtUp, true);
    node.propose(3);
    node.receive("b", accepted(2, 3));
    node.wait(20);
    node.receive("b", accepted(2, 3));
    assert.equal(node.status.learnersCaughtUp, true, "a round trip behind is near enough");
    node.wait(101);
    assert.equal(node.status.learnersCaughtUp, false);
  });

  test("a newcomer that no configuration lists yet takes the log and campaigns never", () => {
    const node = new ScriptedNode({ id: "x" });
    assert.equal(node.wait(1000).send.length, 0);
    node.receive("b", append(2, [0, 0], [entryAt(1, 2)], 1));
    assert.deepEqual(sentTo(node.sync(), "b", "appendResponse"), [accepted(2, 1)]);
    assert.equal(node.wait(1000).send.length, 0);
  });
});
