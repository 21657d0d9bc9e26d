/**
 * What one listed node that runs other code may do to the others: it is not trusted beyond crash faults, so a single frame
 * of it must not end a process, and not for good.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeMessage } from "../../src/core/consensus/messages.ts";
import { MAJORITY } from "../../src/core/consensus/quorum.ts";
import { Raft } from "../../src/core/consensus/raft.ts";
import type { ConsensusMessage, HardState } from "../../src/core/consensus/types.ts";
import { decodeFrame, encodeFrame } from "../../src/enclave/manager/frames.ts";
import { OpenRequests } from "../../src/enclave/manager/open-requests.ts";

function raft(hardState: HardState | undefined = undefined): Raft {
  return new Raft({
    id: "a",
    voters: ["a", "b", "c"],
    quorum: MAJORITY,
    random: () => 0,
    electionTimeoutMinMs: 100,
    electionTimeoutMaxMs: 200,
    heartbeatIntervalMs: 20,
    maxAppendBytes: 1000,
    maxInflightAppends: 4,
    windowBytes: 1000,
    hardState,
    restored: { entries: [] },
    now: 0,
  });
}

describe("one compromised node", () => {
  const huge: readonly ConsensusMessage[] = [
    { type: "appendResponse", term: 2 ** 52, success: false, matchIndex: 0, hintIndex: 0, hintTerm: 0 },
    { type: "append", term: 2 ** 52, previousIndex: 0, previousTerm: 0, commitIndex: 0, entries: [] },
    { type: "vote", preVote: false, term: 2 ** 52, lastIndex: 0, lastTerm: 0 },
    { type: "voteResponse", preVote: false, term: 2 ** 52, granted: false },
  ];
  for (const message of huge) {
    test(`cannot use up the terms with one ${message.type}: elections go on`, () => {
      const core = raft();
      core.step({ type: "message", from: "b", message, now: 1 });
      // What is sent from now on must have an encoding; what is in the hard state would survive a restart.
      for (let now = 2; now < 2_000; now += 15) {
        const ready = core.step({ type: "tick", now });
        if (ready.persist !== undefined) core.step({ type: "persisted", id: ready.persist.id, now });
        for (const { message: sent } of ready.send) assert.doesNotThrow(() => encodeMessage(sent));
      }
    });
  }

  test("does not stop a follower by an unsigned claim to lead the term of another leader", () => {
    const core = raft();
    const heartbeat = {
      type: "append",
      term: 5,
      previousIndex: 0,
      previousTerm: 0,
      commitIndex: 0,
      entries: [],
    } as const;
    core.step({ type: "message", from: "b", message: heartbeat, now: 1 });
    assert.doesNotThrow(() => core.step({ type: "message", from: "c", message: heartbeat, now: 2 }));
    assert.equal(core.status().leader, "b");
  });

  test("cannot name a transaction longer than a batch can hold", () => {
    // Included, it makes the leader's next batch impossible to build.
    const frame = encodeFrame({
      type: "forward",
      adapter: 1,
      items: [{ id: new Uint8Array(33), body: new Uint8Array(1) }],
    });
    assert.throws(() => decodeFrame(frame));
  });

  test("cannot answer for the leader", () => {
    const requests = new OpenRequests(() => 0);
    const answers: string[] = [];
    const open = requests.open({
      adapterId: 1,
      path: "/eth",
      body: new Uint8Array(0),
      caller: { actor: "member1", certificate: "00" },
      fromPeer: false,
      respond: ({ contentType }) => answers.push(contentType),
    });
    assert.ok(open !== undefined);
    open.forLeader = "sent";
    open.sentTo = "b";
    const response = { status: 200, contentType: "text/plain", body: new Uint8Array(0) };
    requests.answerFromLeader(open.id, response, "c");
    assert.deepEqual(answers, []);
    requests.answerFromLeader(open.id, response, "b");
    assert.deepEqual(answers, ["text/plain"]);
  });
});
