import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OWNER_SIGNER } from "../../../test/simulation/founding.ts";
import { SnapshotNetwork, SnapshotNode } from "../../../test/support/snapshot-node.ts";
import { ManualClock, startCore } from "../../../test/support/started-core.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { encodeMessages } from "../../core/governance/proposal-codec.ts";
import { signRequest } from "../../core/governance/request-signing.ts";
import { resumePayload, type ResumingNode } from "../../core/governance/resume.ts";
import { decodeFrame } from "./frames.ts";

/** A node that starts on a disk it does not trust, and hears of nobody. */
function restarted() {
  const network = new SnapshotNetwork(10, { trustDisk: false });
  const node = new SnapshotNode(network);
  node.found();
  node.execute(2);
  const [sent, clock]: [Bytes[], ManualClock] = [[], new ManualClock()];
  const core = startCore(network, [], { hasPeers: true, sent, clock });
  core.manager.start();
  const campaigns = (): boolean => {
    sent.length = 0;
    for (const step of [1, 2, 3]) clock.advanceTo(clock.nowMs + step * 20_000);
    return sent.some((bytes) => {
      const frame = decodeFrame(bytes);
      return frame.type === "consensus" && frame.message.type === "vote";
    });
  };
  const { networkId, governanceCrypto } = network.founded;
  const origin = { signer: OWNER_SIGNER, networkId, createdAt: 0, sha256: governanceCrypto.sha256 };
  const resumeOf = (waiting: ResumingNode): Bytes =>
    encodeMessages([signRequest("resume", resumePayload([waiting]), origin)]);
  return { core, campaigns, resumeOf, tail: node.tail };
}

describe("a node that may have forgotten what it promised", () => {
  test("takes part again when the members say so, and not before", () => {
    const { core, campaigns, resumeOf, tail } = restarted();
    const { waiting } = core.recovery.view;
    assert.ok(waiting);
    assert.deepEqual([waiting.view, waiting.seqno], [2, tail.lastSeqno]);
    assert.deepEqual(core.recovery.view.waiting, waiting, "the same for every member that asks");
    const other = waiting.nonce.map((byte) => byte ^ 1);
    for (const wrong of [{ nonce: other }, { seqno: waiting.seqno - 1 }])
      assert.throws(() => core.recovery.take(resumeOf({ ...waiting, ...wrong })), { code: "ProposalInvalid" });
    assert.equal(campaigns(), false);
    core.recovery.take(resumeOf(waiting));
    assert.deepEqual([core.manager.status.recovering, core.recovery.view.waiting], [false, undefined]);
    assert.equal(campaigns(), true);
  });

  test("takes no resume of another start, and none twice", () => {
    const before = restarted().core.recovery.view.waiting;
    const { core, resumeOf } = restarted();
    assert.ok(before);
    assert.throws(() => core.recovery.take(resumeOf(before)), { code: "ProposalInvalid" });
    const { waiting } = core.recovery.view;
    assert.ok(waiting);
    core.recovery.take(resumeOf(waiting));
    assert.throws(() => core.recovery.take(resumeOf(waiting)), { code: "NotReady" });
  });
});
