import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SnapshotNetwork, SnapshotNode } from "../../../test/support/snapshot-node.ts";
import { EMPTY } from "../../core/codec/bytes.ts";
import { encodeAdministrative } from "../../core/governance/administrative-codec.ts";
import { parseBatch } from "../../core/ledger/batch-format.ts";
import { VerifiedLog } from "./verified-log.ts";

/** A log of two batches, and the node whose ledger it follows. */
function followed() {
  const network = new SnapshotNetwork();
  const leader = new SnapshotNode(network);
  leader.found();
  leader.execute(2);
  const follower = new SnapshotNode(network, 1);
  const log = new VerifiedLog(follower.tail, follower.administration, network.founded.cryptoOf(1));
  for (const { data } of network.entries) log.append(parseBatch(data));
  return { network, leader, log };
}

describe("a log that batches are verified against", () => {
  test("takes nothing of a batch whose transactions do not hold", () => {
    const { network, leader, log } = followed();
    const before = { root: log.tail.root(), state: log.governance.appended };
    const { constitution } = network.founded;
    const publicPart = encodeAdministrative({ type: "genesis", constitution });
    const forged = leader.forge([{ id: EMPTY, publicPart, privatePart: EMPTY, claimsDigest: undefined }], {
      ...{ kind: "administrative", adapterId: 0, epoch: 0 },
    });
    assert.throws(() => log.append(forged), { code: "ProposalInvalid" });
    assert.deepEqual([log.tail.lastIndex, log.tail.root(), log.governance.appended], [2, before.root, before.state]);
  });

  test("is copied up to an index, and the copy changes nothing in it", () => {
    const { network, log } = followed();
    for (const index of [1, 2, 3]) {
      const copy = log.before(index);
      assert.equal(copy.tail.lastIndex, index - 1);
      assert.equal(copy.governance.appended, index === 1 ? undefined : log.governance.appended);
      for (const { data } of network.entriesFrom(index)) copy.append(parseBatch(data));
      assert.deepEqual([copy.tail.lastIndex, copy.tail.root()], [2, log.tail.root()]);
      copy.truncate(index);
      assert.deepEqual([copy.tail.lastIndex, log.tail.lastIndex], [index - 1, 2]);
    }
  });
});
