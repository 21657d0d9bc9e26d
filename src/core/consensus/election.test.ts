import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MAJORITY } from "./quorum.ts";
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
import { NO_FAULTS } from "./testing/faults.ts";
import { Simulator } from "./testing/simulator.ts";
import type { Ready, VoteResponse } from "./types.ts";

const granted = (term: number, preVote = false): VoteResponse => ({
  type: "voteResponse",
  preVote,
  term,
  granted: true,
});
const declined = (term: number, preVote = false): VoteResponse => ({
  type: "voteResponse",
  preVote,
  term,
  granted: false,
});
const answer = (ready: Ready, to = "b"): VoteResponse | undefined => sentTo(ready, to, "voteResponse")[0];

describe("elections", () => {
  test("the channel that makes an election possible starts one soon: earlier pre-votes had nobody to reach", () => {
    const node = new ScriptedNode();
    node.wait(1);
    assert.equal(node.wait(50).send.length, 0, "the timer runs anew after a lost pre-vote");
    node.step({ type: "channel", peer: "b", up: true });
    assert.deepEqual(sentTo(node.wait(1), "b", "vote"), [voteFor(2, [0, 0], true)]);
  });

  test("a channel does not hasten anything while a leader is known, nor when a quorum was connected before", () => {
    const following = new ScriptedNode();
    following.receive("b", append(2, [0, 0], []));
    following.step({ type: "channel", peer: "b", up: true });
    assert.equal(following.wait(50).send.length, 0);
    const connected = new ScriptedNode();
    connected.step({ type: "channel", peer: "b", up: true });
    connected.wait(1);
    connected.step({ type: "channel", peer: "c", up: true });
    assert.equal(connected.wait(50).send.length, 0);
  });

  test("a fresh node asks for a pre-vote in term 2 and changes nothing by it", () => {
    const node = new ScriptedNode();
    const ready = node.wait(1);
    assert.deepEqual(sentTo(ready, "b", "vote"), [voteFor(2, [0, 0], true)]);
    assert.deepEqual(sentTo(ready, "c", "vote"), [voteFor(2, [0, 0], true)]);
    assert.equal(ready.persist, undefined);
    assert.equal(node.status.term, 1);
    assert.equal(node.status.role, "preCandidate");
  });

  test("after a pre-vote quorum a candidate asks for votes once its term and vote are durable", () => {
    const node = new ScriptedNode();
    const ready = node.campaign();
    assert.deepEqual(ready.persist?.hardState, { term: 2, votedFor: "a" });
    assert.equal(ready.send.length, 0);
    assert.deepEqual(sentTo(node.sync(), "c", "vote"), [voteFor(2)]);
    assert.equal(node.status.role, "candidate");
  });

  test("a quorum of votes makes a leader, which tells the others at once", () => {
    const node = new ScriptedNode();
    const ready = node.lead();
    assert.equal(ready.roleChanged, true);
    assert.deepEqual([node.status.role, node.status.term, node.status.leader], ["leader", 2, "a"]);
    assert.deepEqual(sentTo(ready, "b", "append"), [append(2, [0, 0], [])]);
    assert.deepEqual(sentTo(ready, "c", "append"), [append(2, [0, 0], [])]);
    assert.equal(node.status.lastIndex, 0, "the driver proposes the first entry of the term, not the core");
  });

  test("a node whose entries the others would not take does not campaign, whatever asks it to", () => {
    let mayLead = false;
    const node = new ScriptedNode({ mayLead: () => mayLead });
    assert.deepEqual(node.wait(500).send, []);
    node.receive("b", append(2, [0, 0], []));
    assert.deepEqual(node.receive("b", { type: "timeoutNow", term: 2 }).persist, undefined);
    assert.equal(node.wait(500).send.length, 0);
    assert.deepEqual([node.status.role, node.status.term], ["follower", 2]);
    node.receive("b", voteFor(3));
    assert.equal(answer(node.sync())?.granted, true, "it votes for others");
    mayLead = true;
    assert.deepEqual(sentTo(node.wait(500), "b", "vote"), [voteFor(4, [0, 0], true)]);
  });

  test("refusals, and the same vote twice, do not elect", () => {
    const node = new ScriptedNode({ initial: votersOf("a", "b", "c", "d", "e") });
    node.wait(1);
    node.receive("b", granted(2, true));
    node.receive("b", granted(2, true));
    node.receive("c", declined(1, true));
    assert.equal(node.status.role, "preCandidate");
  });

  test("votes of an earlier term are not counted", () => {
    const node = new ScriptedNode();
    node.campaign();
    node.sync();
    node.campaign();
    node.sync();
    assert.equal(node.status.term, 3);
    node.receive("b", granted(2));
    assert.equal(node.status.role, "candidate");
    node.receive("b", granted(3));
    assert.equal(node.status.role, "leader");
  });

  test("a pre-vote is not a vote", () => {
    const node = new ScriptedNode();
    node.campaign();
    node.sync();
    node.receive("b", granted(2, true));
    assert.equal(node.status.role, "candidate");
  });

  test("a split election is tried again in a later term", () => {
    const node = new ScriptedNode();
    node.campaign();
    node.sync();
    node.receive("b", declined(2));
    node.receive("c", declined(2));
    const ready = node.wait(100);
    assert.deepEqual(sentTo(ready, "b", "vote"), [voteFor(3, [0, 0], true)]);
  });

  test("a candidate that hears a leader of its term follows it and sends no held request any more", () => {
    const node = new ScriptedNode();
    node.campaign();
    node.receive("b", append(2, [0, 0], []));
    assert.deepEqual([node.status.role, node.status.leader], ["follower", "b"]);
    assert.equal(sentTo(node.sync(), "c", "vote").length, 0);
    node.receive("c", granted(2));
    assert.equal(node.status.role, "follower");
  });

  test("a single voter elects itself at once and commits when its own disk has the entry", () => {
    const node = new ScriptedNode({ initial: votersOf("a") });
    node.wait(0);
    node.step({ type: "persisted", id: 0 });
    assert.equal(node.status.role, "candidate", "its own vote counts only when durable");
    assert.equal(node.sync().roleChanged, true);
    assert.equal(node.status.role, "leader");
    assert.equal(node.propose(3).committed.length, 0);
    assert.deepEqual(node.sync().committed, [entryAt(1, 2)]);
  });
});

describe("votes", () => {
  test("a vote is answered once it is durable", () => {
    const node = new ScriptedNode();
    const ready = node.receive("b", voteFor(2));
    assert.deepEqual(ready.persist?.hardState, { term: 2, votedFor: "b" });
    assert.equal(ready.send.length, 0);
    assert.deepEqual(answer(node.sync()), granted(2));
  });

  test("a node votes once per term; the same candidate gets the same answer again", () => {
    const node = new ScriptedNode();
    node.receive("b", voteFor(2));
    node.sync();
    assert.deepEqual(answer(node.receive("c", voteFor(2)), "c"), declined(2));
    assert.deepEqual(answer(node.receive("b", voteFor(2))), granted(2));
    assert.deepEqual(answer(node.receive("c", voteFor(3)), "c"), undefined, "held until durable");
    assert.deepEqual(answer(node.sync(), "c"), granted(3));
  });

  test("a node that restarts remembers its vote", () => {
    const node = new ScriptedNode({ hardState: { term: 5, votedFor: "b" } });
    assert.deepEqual(answer(node.receive("c", voteFor(5)), "c"), declined(5));
    assert.deepEqual(answer(node.receive("b", voteFor(5))), granted(5));
  });

  test("a vote goes only to a log at least as new: first the last term counts, then the length", () => {
    const restored = { entries: logOf(1, 2, 2) };
    const vote = (last: readonly [number, number]): boolean | undefined => {
      const node = new ScriptedNode({ restored, hardState: { term: 2, votedFor: undefined } });
      node.receive("b", voteFor(5, last));
      return answer(node.sync())?.granted;
    };
    assert.equal(vote([2, 2]), false);
    assert.equal(vote([9, 1]), false);
    assert.equal(vote([3, 2]), true);
    assert.equal(vote([1, 3]), true);
  });

  test("a later term is taken over even when the vote is refused", () => {
    const node = new ScriptedNode({ restored: { entries: logOf(1, 2) } });
    node.receive("b", voteFor(7));
    assert.deepEqual(answer(node.sync()), declined(7));
    assert.equal(node.status.term, 7);
  });

  test("a candidate of an earlier term is refused and told the term", () => {
    const node = new ScriptedNode({ hardState: { term: 5, votedFor: undefined } });
    assert.deepEqual(answer(node.receive("b", voteFor(4))), declined(5));
    assert.deepEqual(answer(node.receive("b", voteFor(4, [0, 0], true))), declined(5, true));
  });

  test("a node that follows a leader does not vote for another in the same term", () => {
    const node = new ScriptedNode();
    node.receive("b", append(2, [0, 0], []));
    node.sync();
    node.nowMs += 150;
    assert.deepEqual(answer(node.receive("c", voteFor(2)), "c"), declined(2));
  });

  test("answers of nodes that were not asked count for nothing, nor does the term they name", () => {
    const node = new ScriptedNode();
    node.campaign();
    node.sync();
    for (const message of [granted(2), declined(90), declined(90, true), refused(90, 0, 0), accepted(90, 5)]) {
      const ready = node.receive("x", message);
      assert.deepEqual(
        [ready.send.length, ready.persist, node.status.term, node.status.role],
        [0, undefined, 2, "candidate"],
      );
    }
  });
});

describe("pre-votes", () => {
  test("a granted pre-vote promises nothing: no term, no vote, no timer, and another one can be granted", () => {
    const node = new ScriptedNode();
    const ready = node.receive("b", voteFor(2, [0, 0], true));
    assert.deepEqual(answer(ready), granted(2, true));
    assert.equal(ready.persist, undefined);
    assert.deepEqual(answer(node.receive("c", voteFor(2, [0, 0], true)), "c"), granted(2, true));
    assert.equal(node.status.term, 1);
  });

  test("who hears a leader refuses pre-votes and ignores votes of later terms", () => {
    const node = new ScriptedNode();
    node.receive("b", append(2, [0, 0], []));
    node.sync();
    node.nowMs += 99;
    assert.deepEqual(answer(node.receive("c", voteFor(3, [0, 0], true)), "c"), declined(2, true));
    const ready = node.receive("c", voteFor(3));
    assert.deepEqual([ready.send.length, ready.persist, node.status.term], [0, undefined, 2]);
    node.nowMs += 1;
    assert.deepEqual(answer(node.receive("c", voteFor(3, [0, 0], true)), "c"), granted(3, true));
  });

  test("a leader ignores votes of later terms while it leads", () => {
    const node = new ScriptedNode();
    node.lead();
    assert.deepEqual(answer(node.receive("c", voteFor(9, [0, 0], true)), "c"), declined(2, true));
    node.receive("c", voteFor(9));
    assert.deepEqual([node.status.role, node.status.term], ["leader", 2]);
  });

  test("a pre-candidate behind in terms catches up by the refusal and asks again above it", () => {
    const node = new ScriptedNode();
    node.wait(1);
    node.receive("b", declined(6, true));
    assert.deepEqual([node.status.role, node.status.term], ["follower", 6]);
    assert.deepEqual(sentTo(node.wait(100), "b", "vote"), [voteFor(7, [0, 0], true)]);
  });

  test("a node that was cut off does not disrupt the others when it comes back", () => {
    const network = new Simulator({ seed: 1, nodeCount: 3, quorum: MAJORITY, windowBytes: 10_000 });
    network.run(1000);
    const leader = network.leader();
    const follower = network.ids.find((id) => id !== leader) ?? "";
    const term = network.status(follower).term;
    network.partition([follower], false);
    network.run(3000);
    assert.equal(network.status(follower).term, term, "alone it does not reach a new term");
    network.heal();
    network.run(1000);
    assert.deepEqual(
      [network.leader(), network.status(follower).term, network.status(follower).leader],
      [leader, term, leader],
    );
  });
});

describe("losing the leader", () => {
  test("a leader that hears from no quorum for an election timeout steps down, in its own term", () => {
    const node = new ScriptedNode();
    node.lead();
    node.wait(150);
    node.receive("c", accepted(2, 0));
    node.wait(199);
    assert.equal(node.status.role, "leader");
    assert.equal(node.wait(1).roleChanged, true);
    assert.deepEqual([node.status.role, node.status.term, node.status.leader], ["follower", 2, undefined]);
  });

  test("refusals count as being heard", () => {
    const node = new ScriptedNode();
    node.lead();
    for (let round = 0; round < 10; round++) {
      node.wait(100);
      node.receive("c", refused(2, 0, 0));
    }
    assert.equal(node.status.role, "leader");
  });

  test("a leader that hears of a later term steps down", () => {
    const node = new ScriptedNode();
    node.lead();
    node.receive("b", refused(4, 0, 0));
    assert.deepEqual([node.status.role, node.status.term, node.status.leader], ["follower", 4, undefined]);
  });

  test("a deposed leader is told the term by whoever it writes to", () => {
    const node = new ScriptedNode({ hardState: { term: 6, votedFor: undefined }, restored: { entries: logOf(2, 6) } });
    assert.deepEqual(sentTo(node.receive("b", append(5, [0, 0], [])), "b", "appendResponse"), [refused(6, 2, 6)]);
  });

  test("when the channel to the leader breaks, the election starts early and pre-votes are granted again", () => {
    const node = new ScriptedNode();
    node.receive("b", append(2, [0, 0], []));
    node.sync();
    node.step({ type: "channel", peer: "c", up: false });
    assert.equal(node.wait(1).send.length, 0, "only the channel to the leader matters");
    node.step({ type: "channel", peer: "b", up: false });
    assert.deepEqual(answer(node.receive("c", voteFor(3, [0, 0], true)), "c"), granted(3, true));
    assert.deepEqual(sentTo(node.wait(0), "c", "vote"), [voteFor(3, [0, 0], true)]);
  });

  test("the early election is spread over a quarter of the shortest timeout", () => {
    const node = new ScriptedNode({ random: () => 0.9 });
    node.receive("b", append(2, [0, 0], []));
    node.sync();
    node.step({ type: "channel", peer: "b", up: false });
    assert.equal(node.wait(22).send.length, 0);
    assert.equal(node.wait(1).send.length, 2);
  });

  test("one broken channel does not depose a leader whom the others hear", () => {
    const network = new Simulator({ seed: 3, nodeCount: 3, quorum: MAJORITY, windowBytes: 10_000 });
    network.run(1000);
    const leader = network.leader() ?? "";
    const term = network.status(leader).term;
    network.cut(leader, network.ids.find((id) => id !== leader) ?? "", true);
    network.run(2000);
    assert.deepEqual([network.leader(), network.status(leader).term], [leader, term]);
  });

  test("after a crash of the leader with noticed channels the next one leads well before an election timeout", () => {
    let sumMs = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const network = new Simulator({ seed, nodeCount: 3, quorum: MAJORITY, windowBytes: 10_000 });
      network.faults = NO_FAULTS;
      network.run(1000);
      const startMs = network.nowMs;
      network.crash(network.leader() ?? "");
      assert.ok(
        network.runUntil(() => network.leader() !== undefined, 2000),
        `seed ${seed}: a leader is elected`,
      );
      sumMs += network.nowMs - startMs;
    }
    assert.ok(
      sumMs / 20 < 150,
      `${sumMs / 20} ms of simulated time on average; the shortest election timeout is 150 ms`,
    );
  });
});
