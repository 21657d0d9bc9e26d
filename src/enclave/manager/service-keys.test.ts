import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fromHex, toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { encodeAdministrative } from "../../core/governance/administrative-codec.ts";
import { configurationOfBatch } from "../../core/governance/administrative-batch.ts";
import { parseBatch } from "../../core/ledger/batch-format.ts";
import { LedgerTail } from "../../core/ledger/tail.ts";
import { makeNode, type TestFounder, type TestNode } from "../../../test/support/founders.ts";
import { signNodeEntry } from "../../host/genesis.ts";
import { systemClock } from "../../host/system.ts";
import type { Crypto } from "../ports.ts";
import { EpochKeys } from "./epoch-keys.ts";
import { createNodeCrypto, nodeEntropy } from "./node-crypto.ts";
import { administrativeTransaction, Sealing } from "./sealing.ts";
import { carriesServiceKey, createEpoch, createGrant, openEpochKey, ServiceIdentity } from "./service-keys.ts";
import {
  decide,
  execute,
  FIRST,
  keysOf,
  network,
  nextEpoch,
  ports,
  started,
  withoutLastNode,
} from "./test-service-network.ts";

const { constitution, networkId } = network;
const [node0, node1, node2] = network.nodes as readonly [TestNode, TestNode, TestNode];

describe("the next epoch", () => {
  test("has a new key that every listed node opens, and the same service identity", () => {
    const state = nextEpoch(started, node1);
    const keys = [node0, node1, node2].map((node) => toHex(keysOf(state, node)(2) ?? new Uint8Array()));
    assert.equal(new Set(keys).size, 1);
    assert.notEqual(keys[0], toHex(keysOf(state, node0)(1) ?? new Uint8Array()));
    const before = new ServiceIdentity(started, keysOf(started, node0), ports);
    const after = new ServiceIdentity(state, keysOf(state, node2), ports);
    assert.equal(after.certificate, before.certificate);
    assert.equal(after.secret.privateKey, before.secret.privateKey);
    assert.ok(before.isOf(state));
  });

  test("does not open to a node that was removed", () => {
    const left = withoutLastNode(started);
    const service = new ServiceIdentity(left, keysOf(left, node0), ports);
    const state = execute(left, createEpoch(left, service, ports));
    assert.ok(keysOf(state, node0)(2));
    assert.equal(keysOf(state, node2)(2), undefined);
    const stolen = state.epochs[1]?.wraps[0];
    assert.ok(stolen);
    const asOwn = { epoch: 2, wraps: [{ ...stolen, nodeId: node2.request.nodeId }] };
    const thief = { nodeId: node2.request.nodeId, decryptionKey: node2.decryptionKey };
    assert.equal(openEpochKey(asOwn, networkId, thief), undefined);
  });

  test("opens to a newcomer only after a grant, and so do the ones before", () => {
    const state = nextEpoch(started, node0);
    const newcomer = makeNode(9, network.machine);
    const owner = network.founders[0] as TestFounder;
    const { entry } = signNodeEntry(newcomer.request, owner.issuer.privateKey, owner.founder.id, "test");
    const voted = decide(state, { name: "add_node", args: { entry } });
    assert.deepEqual([1, 2].map(keysOf(voted, newcomer)), [undefined, undefined]);
    assert.throws(() => new ServiceIdentity(voted, keysOf(voted, newcomer), ports), { code: "LedgerCorrupt" });
    const grant = createGrant(voted, entry.nodeId, keysOf(voted, node1), ports);
    assert.ok(grant);
    const granted = execute(voted, grant);
    assert.deepEqual([1, 2].map(keysOf(granted, newcomer)), [1, 2].map(keysOf(granted, node0)));
    assert.doesNotThrow(() => new ServiceIdentity(granted, keysOf(granted, newcomer), ports));
    assert.equal(createGrant(granted, entry.nodeId, keysOf(granted, node1), ports), undefined);
    assert.equal(
      createGrant(voted, entry.nodeId, () => undefined, ports),
      undefined,
    );
  });

  test("is not kept from all others by one node with a key that is none", () => {
    const owner = network.founders[0] as TestFounder;
    const weak = { ...makeNode(10, network.machine).request, encryptionKey: new Uint8Array(32) };
    const { entry } = signNodeEntry(weak, owner.issuer.privateKey, owner.founder.id, "test");
    const voted = decide(started, { name: "add_node", args: { entry } });
    const state = nextEpoch(voted, node0);
    assert.equal(state.epochs[1]?.wraps.length, 4);
    assert.ok(keysOf(state, node2)(2));
  });

  test("that carries another service key is refused by whoever opens it, and the identity is found where it is", () => {
    const voted = decide(started, { name: "open_epoch", args: {} });
    const service = new ServiceIdentity(voted, keysOf(voted, node0), ports);
    const made = createEpoch(voted, service, ports);
    const junk = { ...made, sealedServiceKey: new Uint8Array(64) };
    const state = execute(voted, junk);
    const key = keysOf(state, node0)(2) as Bytes;
    assert.ok(carriesServiceKey(made, networkId, key, ports.crypto));
    assert.equal(carriesServiceKey(junk, networkId, key, ports.crypto), false);
    const restarted = new ServiceIdentity(state, keysOf(state, node1), ports);
    assert.equal(restarted.secret.privateKey, service.secret.privateKey);
  });
});

/** Cryptography that records which key sealed under which nonce. */
function recording(crypto: Crypto, uses: string[]): Crypto {
  return {
    ...crypto,
    seal: (key, nonce, plaintext, associatedData) => {
      uses.push(`${toHex(key)}.${toHex(nonce)}`);
      return crypto.seal(key, nonce, plaintext, associatedData);
    },
  };
}

describe("sealing over epochs", () => {
  /** A boot of a node on a log that all share: what it builds, it builds on the same tail. */
  function boot(node: TestNode, uses: string[], state: { committed: GovernanceState }, tail: LedgerTail): Sealing {
    const crypto = recording(createNodeCrypto(node.privateKey), uses);
    const owner = { nodeId: node.request.nodeId, decryptionKey: node.decryptionKey };
    const epochKeys = new EpochKeys({
      clock: { now: () => 0, after: () => () => {} },
      committed: () => state.committed,
      open: (record) => openEpochKey(record, networkId, owner),
    });
    const identity = { signer: fromHex(node.request.nodeId), salt: nodeEntropy.bytes(16), epochKeys };
    return new Sealing(tail, crypto, systemClock, identity);
  }

  const request = [
    {
      id: Uint8Array.of(1),
      publicPart: utf8Encode("public"),
      privatePart: utf8Encode("private"),
      claimsDigest: undefined,
    },
  ];

  function seal(sealing: Sealing, view: number): Bytes {
    return sealing.build({ kind: "application", view, adapterId: 1, governanceVersion: 1, transactions: request });
  }

  test("uses no key and nonce twice: not over a change of epoch, a failover, a restart or a batch undone", () => {
    const uses: string[] = [];
    const tail = new LedgerTail(ports.crypto.sha256);
    const state = { committed: started };
    const batches: Bytes[] = [];
    const first = boot(node0, uses, state, tail);
    const opening = FIRST.map(administrativeTransaction);
    first.build({ kind: "administrative", view: 1, adapterId: 0, governanceVersion: 0, transactions: opening });
    for (let at = 0; at < 3; at++) batches.push(seal(first, 1));
    tail.truncate(tail.lastIndex);
    batches.push(seal(first, 1));
    state.committed = nextEpoch(started, node0);
    batches.push(seal(first, 1));
    for (const [at, node] of [node1, node0, node0].entries()) batches.push(seal(boot(node, uses, state, tail), 2 + at));
    assert.equal(uses.length, batches.length);
    assert.equal(new Set(uses).size, uses.length);
    assert.deepEqual(
      batches.map((batch) => parseBatch(batch).header.epoch),
      [1, 1, 1, 1, 2, 2, 2, 2],
    );
    const reader = boot(node2, [], state, tail);
    for (const batch of batches)
      assert.deepEqual(reader.open(parseBatch(batch)).privatePart(0), request[0]?.privatePart);
  });

  test("overwrites what was derived from a key together with it", () => {
    const tail = new LedgerTail(ports.crypto.sha256);
    const listeners: ((epoch: number) => void)[] = [];
    const epochKeys = {
      newest: 1,
      keyOf: () => new Uint8Array(32).fill(1),
      onWiped: (listener: (epoch: number) => void) => listeners.push(listener),
    };
    const salt = new Uint8Array(16);
    const signer = fromHex(node0.request.nodeId);
    const sealing = new Sealing(tail, ports.crypto, systemClock, { signer, salt, epochKeys });
    const [one, two] = [1, 2].map((epoch) => sealing.keys.batchKeys(epoch, signer, salt));
    assert.ok(one && two);
    for (const listener of listeners) listener(1);
    assert.ok([...one.sealing, ...one.evidence].every((byte) => byte === 0));
    assert.ok(two.sealing.some((byte) => byte !== 0));
    assert.notDeepEqual(sealing.keys.batchKeys(1, signer, salt), one);
    sealing.keys.clear();
    assert.ok(two.sealing.every((byte) => byte === 0));
  });

  test("tells consensus the configuration of a batch, from its public bytes alone", () => {
    const tail = new LedgerTail(ports.crypto.sha256);
    const sealing = boot(node0, [], { committed: started }, tail);
    const ids = constitution.nodes.map(({ nodeId }) => nodeId);
    const quorum = { type: "flexible", election: 3, replication: 1 } as const;
    const groups = [ids.slice(0, 2), ids.slice(2)];
    const configuration = {
      current: { voters: ids, quorum: { type: "grouped", groups } },
      previous: { voters: ids, quorum },
      learners: [],
    } as const;
    const administrative = (transactions: readonly Bytes[]) =>
      sealing.build({
        kind: "administrative",
        view: 1,
        adapterId: 0,
        governanceVersion: 1,
        transactions: transactions.map(administrativeTransaction),
      });
    assert.equal(configurationOfBatch(administrative(FIRST)), undefined);
    const batch = administrative([encodeAdministrative({ type: "configure", ...configuration })]);
    assert.deepEqual(configurationOfBatch(batch), configuration);
    assert.equal(configurationOfBatch(seal(sealing, 1)), undefined);
    assert.equal(configurationOfBatch(administrative([utf8Encode("junk")])), undefined);
    for (let length = 0; length < batch.length; length += 5)
      assert.equal(configurationOfBatch(batch.subarray(0, length)), undefined);
  });
});
