import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SnapshotNetwork, SnapshotNode } from "../../../test/support/snapshot-node.ts";
import { type AdministrativeTransaction, encodeAdministrative } from "../../core/governance/administrative.ts";
import { type ParsedBatch, parseBatch } from "../../core/ledger/batch-format.ts";
import { checkArrived, opensOwnWrap } from "./arrived-batch.ts";

function founded() {
  const network = new SnapshotNetwork();
  const leader = new SnapshotNode(network);
  const follower = new SnapshotNode(network, 1);
  leader.found();
  return { network, leader, follower };
}

function lastBatch({ entries }: SnapshotNetwork): ParsedBatch {
  const last = entries.at(-1);
  assert.ok(last);
  return parseBatch(last.data);
}

describe("evidence of a peer", () => {
  for (const [digest, title] of [
    [0, "is refused when this node's snapshot has another digest, so that nobody dies of it"],
    [1, "is taken when the digest is the same"],
  ] as const)
    test(title, () => {
      const { network, leader, follower } = founded();
      leader.execute(9);
      leader.run();
      follower.follow();
      follower.run();
      const own = leader.unconfirmed;
      leader.confirm(own, digest === 0 ? new Uint8Array(32) : own.digest);
      const check = () => checkArrived(lastBatch(network), () => true, follower.snapshots);
      if (digest === 0) assert.throws(check, { code: "LedgerCorrupt" });
      else check();
      assert.deepEqual(follower.fatal, []);
    });

  test("is taken by a node that has not finished its own snapshot", () => {
    const { network, leader, follower } = founded();
    leader.execute(9);
    leader.run();
    follower.follow();
    leader.confirm(leader.unconfirmed, new Uint8Array(32));
    checkArrived(lastBatch(network), () => true, follower.snapshots);
    assert.equal(follower.snapshots.unconfirmed, undefined);
  });
});

describe("keys of a peer", () => {
  const transaction = (nodeId: string): AdministrativeTransaction => ({
    type: "grant",
    nodeId,
    keys: [{ epoch: 1, wrapped: new Uint8Array(48) }],
  });
  const batchOf = (granted: AdministrativeTransaction): ParsedBatch => {
    const { network, leader } = founded();
    leader.execute(1);
    const batch = lastBatch(network);
    const [first] = batch.transactions;
    assert.ok(first);
    const transactions = [{ ...first, publicPart: encodeAdministrative(granted) }];
    return { ...batch, header: { ...batch.header, kind: "administrative" }, transactions };
  };
  const snapshots = { contradicts: () => false };
  const never = (): never => assert.fail("a grant carries no service key");

  test("granted to this node must open, those for others are theirs to judge", () => {
    const [own, other] = ["11".repeat(32), "22".repeat(32)];
    const batch = batchOf(transaction(own));
    assert.throws(
      () =>
        checkArrived(
          batch,
          opensOwnWrap(own, () => undefined, never),
          snapshots,
        ),
      { code: "LedgerCorrupt" },
    );
    checkArrived(
      batch,
      opensOwnWrap(other, () => undefined, never),
      snapshots,
    );
    const key = new Uint8Array(32).fill(7);
    checkArrived(
      batch,
      opensOwnWrap(own, () => key, never),
      snapshots,
    );
    assert.deepEqual(key, new Uint8Array(32), "the key that was tried is overwritten");
  });
});
