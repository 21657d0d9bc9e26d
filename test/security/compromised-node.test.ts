/**
 * What one listed node that runs other code may do to the others: it is not trusted beyond crash faults, so a single frame
 * of it must not end a process, and not for good.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeMessage } from "../../src/core/consensus/messages.ts";
import { append, ScriptedNode } from "../../src/core/consensus/testing/scriptedNode.ts";
import type { ConsensusMessage } from "../../src/core/consensus/types.ts";
import { decodeFrame, encodeFrame } from "../../src/enclave/manager/frames.ts";
import { OpenRequests } from "../../src/enclave/manager/open-requests.ts";

describe("one compromised node", () => {
  const huge: readonly ConsensusMessage[] = [
    {
      type: "appendResponse",
      term: 2 ** 52,
      success: false,
      matchIndex: 0,
      hintIndex: 0,
      hintTerm: 0,
      round: 0,
      recovering: false,
    },
    { type: "append", term: 2 ** 52, previousIndex: 0, previousTerm: 0, commitIndex: 0, round: 0, entries: [] },
    { type: "vote", preVote: false, transfer: false, term: 2 ** 52, lastIndex: 0, lastTerm: 0 },
    { type: "voteResponse", preVote: false, term: 2 ** 52, granted: false },
  ];
  for (const message of huge) {
    test(`cannot use up the terms with one ${message.type}: elections go on`, () => {
      const node = new ScriptedNode();
      node.receive("b", message);
      // What is sent from now on must have an encoding; what is in the hard state would survive a restart.
      for (let round = 0; round < 100; round++) {
        for (const { message: sent } of [...node.wait(15).send, ...node.sync().send]) {
          assert.doesNotThrow(() => encodeMessage(sent));
        }
      }
    });
  }

  test("does not stop a follower by an unsigned claim to lead the term of another leader", () => {
    const node = new ScriptedNode();
    const heartbeat = append(5, [0, 0], []);
    node.receive("b", heartbeat);
    assert.doesNotThrow(() => node.receive("c", heartbeat));
    assert.equal(node.status.leader, "b");
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
    const requests = new OpenRequests(() => 0, 1);
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
