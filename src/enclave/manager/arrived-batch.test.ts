import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { KV_ADAPTER_ID } from "../../../test/simulation/founding.ts";
import { SnapshotNetwork, SnapshotNode } from "../../../test/support/snapshot-node.ts";
import { type Bytes, EMPTY } from "../../core/codec/bytes.ts";
import { type AdministrativeTransaction, encodeAdministrative } from "../../core/governance/administrative-codec.ts";
import { encodeWriteSet } from "../../core/kv/write-set.ts";
import { type ParsedBatch, parseBatch } from "../../core/ledger/batch-format.ts";
import { ArrivedBatches, type ArrivedBatchesParts } from "./arrived-batch.ts";

/** The check of node 1 of a network, which has the keys of no committed epoch yet. */
function arrivedOn(
  { network: { founded }, nodeId }: SnapshotNode,
  parts: Partial<ArrivedBatchesParts>,
): ArrivedBatches {
  return new ArrivedBatches({
    nodeId,
    crypto: founded.cryptoOf(1),
    openEpoch: (record) => founded.openEpoch(record, nodeId),
    carriesService: () => true,
    canOpen: () => false,
    open: () => assert.fail("the epoch is not committed"),
    snapshots: { contradicts: () => false },
    ...parts,
  });
}

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
      const arrived = arrivedOn(follower, { snapshots: follower.snapshots });
      const check = () => arrived.check(lastBatch(network), undefined);
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
    arrivedOn(follower, { snapshots: follower.snapshots }).check(lastBatch(network), undefined);
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
  const checkOf = (openEpoch: ArrivedBatchesParts["openEpoch"]) => {
    const { follower } = founded();
    const arrived = arrivedOn(follower, { openEpoch });
    return (nodeId: string) => arrived.check(batchOf(transaction(nodeId)), undefined);
  };

  test("granted to this node must open, those for others are theirs to judge", () => {
    const { follower } = founded();
    const closed = checkOf(() => undefined);
    assert.throws(() => closed(follower.nodeId), { code: "LedgerCorrupt" });
    closed("22".repeat(32));
    const key = new Uint8Array(32).fill(7);
    checkOf(() => key)(follower.nodeId);
    assert.deepEqual(key, new Uint8Array(32), "the key that was tried is overwritten");
  });
});

describe("an application's batch of a peer", () => {
  const write = (table: number) => encodeWriteSet([{ table, key: Uint8Array.of(1), value: Uint8Array.of(2) }]);
  const TABLES = [
    { id: 1, name: "sealed" },
    { id: 2, name: "public:plain" },
  ];
  const made = (
    { publicPart = EMPTY, privatePart = write(1) }: { publicPart?: Bytes; privatePart?: Bytes },
    changes = {},
  ) => {
    const { leader, follower } = founded();
    follower.follow();
    const batch = leader.forge([{ id: EMPTY, publicPart, privatePart, claimsDigest: undefined }], changes);
    const arrived = arrivedOn(follower, {});
    const check = (sent = batch) => arrived.check(sent, follower.administration.appended);
    return { arrived, batch, check };
  };
  const refused = { code: "LedgerCorrupt" };

  test("is opened with the key of its epoch, also before that is committed here, and once only", () => {
    const { arrived, batch, check } = made({});
    check();
    assert.deepEqual(arrived.take(batch).privatePart(0), write(1));
    assert.throws(() => arrived.take(batch), /not committed/, "what was taken is not kept");
  });

  test("is refused when it does not open", () => {
    const { batch, check } = made({});
    const sealedSection = batch.sealedSection.map((byte, at) => (at === 3 ? byte ^ 1 : byte));
    assert.throws(() => check({ ...batch, sealedSection }), refused);
  });

  test("is refused when what it writes could not be applied", () => {
    assert.throws(made({ privatePart: Uint8Array.of(1, 2, 3) }).check, refused);
    assert.throws(made({ publicPart: Uint8Array.of(1, 2, 3) }).check, refused);
    for (const [parts, holds] of [
      [{ privatePart: write(1), publicPart: write(2) }, true],
      [{ privatePart: write(2) }, false],
      [{ publicPart: write(1) }, false],
      [{ privatePart: write(3) }, false],
    ] as const) {
      const { arrived, check } = made(parts);
      check();
      arrived.mounted(KV_ADAPTER_ID, TABLES);
      if (holds) check();
      else assert.throws(() => check(), refused);
    }
  });

  test("is taken by a node that has no key for it", () => {
    const { leader, follower } = founded();
    const batch = leader.forge([{ id: EMPTY, publicPart: EMPTY, privatePart: write(1), claimsDigest: undefined }]);
    arrivedOn(follower, {}).check(batch, undefined);
  });
});
