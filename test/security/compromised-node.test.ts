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
import { encodeAdministrative } from "../../src/core/governance/administrative-codec.ts";
import { type Bytes, EMPTY } from "../../src/core/codec/bytes.ts";
import type { BatchInput, BatchTransaction } from "../../src/core/ledger/batch.ts";
import { encodeWriteSet } from "../../src/core/kv/write-set.ts";
import { SnapshotNetwork, SnapshotNode } from "../support/snapshot-node.ts";
import { appendFrame, startCore } from "../support/started-core.ts";
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
      items: [
        {
          item: { id: new Uint8Array(33), body: new Uint8Array(1) },
          sender: { actor: "member1", certificate: "00" },
        },
      ],
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

/** A write that an adapter's worker can apply. */
const WRITE = encodeWriteSet([{ table: 1, key: Uint8Array.of(1), value: Uint8Array.of(2) }]);

function transactionOf(parts: Partial<BatchTransaction>): BatchTransaction {
  return { id: EMPTY, publicPart: EMPTY, privatePart: EMPTY, claimsDigest: undefined, ...parts };
}

/** What a node has that a compromised one sends to: a ledger of three batches, of which two are committed. */
function attacked() {
  const network = new SnapshotNetwork();
  const leader = new SnapshotNode(network);
  leader.found();
  for (const _ of [1, 2]) leader.forge([transactionOf({ privatePart: WRITE })]);
  const fatal: string[] = [];
  const core = startCore(network.upTo(2), [], { hasPeers: true, fatal, worker: () => undefined });
  const { entries } = network;
  core.manager.frame(leader.nodeId, appendFrame(entries, 3, { commitIndex: 2 }));
  assert.deepEqual([core.manager.committedSeqno, core.tail.lastIndex, fatal], [entries.length + 2, 3, []]);
  return { network, leader, core, fatal };
}

/** What a compromised node makes of a ledger that it knows up to an index: a batch that it signs itself. */
function forgedAfter(index: number, network: SnapshotNetwork, make: (liar: SnapshotNode) => void) {
  const branch = network.upTo(index);
  const liar = new SnapshotNode(branch, 2);
  liar.follow();
  make(liar);
  return { nodeId: liar.nodeId, entries: branch.entries };
}

const administrative: Partial<BatchInput> = { kind: "administrative", adapterId: 0, epoch: 0 };

/** Batches that no node can follow, though the header fits and (but for the first) the signature is a listed node's. */
const FORGED: readonly (readonly [title: string, make: (liar: SnapshotNode, view: number) => void])[] = [
  [
    "that is not signed",
    (liar, view) => {
      liar.forge([transactionOf({ privatePart: WRITE })], { view });
      const { entries } = liar.network;
      const last = entries.pop();
      assert.ok(last);
      entries.push({ ...last, data: last.data.map((byte, at) => (at === last.data.length - 1 ? byte ^ 1 : byte)) });
    },
  ],
  [
    "with an administrative transaction that does not hold",
    (liar, view) => {
      const { constitution } = liar.network.founded;
      const second = encodeAdministrative({ type: "genesis", constitution });
      liar.forge([transactionOf({ publicPart: second })], { ...administrative, view });
    },
  ],
  [
    "with an administrative transaction that is none",
    (liar, view) => {
      liar.forge([transactionOf({ publicPart: Uint8Array.of(1, 2, 3) })], { ...administrative, view });
    },
  ],
  [
    "with an epoch that is not due, behind one that holds",
    (liar, view) => {
      const state = liar.administration.appended;
      assert.ok(state);
      const { epochMaker } = liar.network.founded;
      const epoch = encodeAdministrative(epochMaker((length) => new Uint8Array(length).fill(8)).epoch(state));
      liar.forge([transactionOf({ privatePart: WRITE })], { view });
      liar.forge([transactionOf({ publicPart: epoch })], { ...administrative, view });
    },
  ],
  [
    "of an adapter that is not mounted",
    (liar, view) => void liar.forge([transactionOf({ privatePart: WRITE })], { adapterId: 77, view }),
  ],
  [
    "with writes that are none",
    (liar, view) => void liar.forge([transactionOf({ privatePart: Uint8Array.of(9, 9, 9) })], { view }),
  ],
];

describe("a batch of a compromised node", () => {
  for (const [title, make] of FORGED) {
    const refuse = (frame: Bytes, nodeId: string, { core, fatal }: ReturnType<typeof attacked>) => {
      const { term } = core.manager.status;
      assert.throws(() => core.manager.frame(nodeId, frame), "the channel ends with this error");
      assert.deepEqual([core.manager.refusedFrames, fatal], [1, []]);
      assert.deepEqual([core.tail.lastIndex, core.manager.status.lastIndex, core.manager.status.term], [3, 3, term]);
      assert.equal(core.administration.appended?.epochs.length, 1);
    };
    const goesOn = ({ network, leader, core, fatal }: ReturnType<typeof attacked>) => {
      leader.forge([transactionOf({ privatePart: WRITE })]);
      core.manager.frame(leader.nodeId, appendFrame(network.entries, 4, { commitIndex: 2 }));
      assert.deepEqual([core.tail.lastIndex, core.manager.refusedFrames, fatal], [4, 1, []]);
    };

    test(`${title} is refused when its sender leads, and the node goes on`, () => {
      const scene = attacked();
      const { nodeId, entries } = forgedAfter(3, scene.network, (liar) => make(liar, 2));
      // It leads the term when nobody else was heard in it.
      refuse(appendFrame(entries, 4, { term: 3, commitIndex: 2 }), nodeId, scene);
      goesOn(scene);
    });

    test(`${title} does not replace what is not committed`, () => {
      const scene = attacked();
      const { nodeId, entries } = forgedAfter(2, scene.network, (liar) => make(liar, 3));
      refuse(appendFrame(entries, 3, { term: 3, commitIndex: 2 }), nodeId, scene);
      goesOn(scene);
    });
  }

  test("that holds does replace it", () => {
    const { network, core, fatal } = attacked();
    const { nodeId, entries } = forgedAfter(2, network, (liar) => {
      liar.forge([transactionOf({ privatePart: WRITE })], { view: 3 });
    });
    core.manager.frame(nodeId, appendFrame(entries, 3, { term: 3, commitIndex: 2 }));
    assert.deepEqual([core.tail.lastIndex, core.tail.lastView, core.manager.refusedFrames, fatal], [3, 3, 0, []]);
  });
});
