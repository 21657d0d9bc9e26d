import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fromHex, toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import {
  decodeAdministrative,
  encodeAdministrative,
  executeAdministrative,
  type AdministrativeTransaction,
  type GovernanceState,
} from "../../core/governance/administrative.ts";
import { configurationOfBatch } from "../../core/governance/administrative-batch.ts";
import {
  basisOf,
  proposalDigest,
  signBallot,
  signProposal,
  type Proposal,
  type ProposalBasis,
} from "../../core/governance/decision.ts";
import { parseBatch } from "../../core/ledger/batch-format.ts";
import { LedgerTail } from "../../core/ledger/tail.ts";
import { foundNetwork, makeNode, type TestFounder, type TestNode } from "../../../test/support/founders.ts";
import { signNodeEntry } from "../../host/genesis.ts";
import { systemClock } from "../../host/system.ts";
import type { Crypto } from "../ports.ts";
import { EpochKeys } from "./epoch-keys.ts";
import { createGovernanceCrypto, createNodeCrypto, nodeEntropy } from "./node-crypto.ts";
import { administrativeTransaction, Sealing } from "./sealing.ts";
import { createEpoch, createGrant, firstTransactions, openEpochKey, ServiceIdentity } from "./service-keys.ts";

const network = foundNetwork(3, 3);
const { constitution, networkId } = network;
const governanceCrypto = createGovernanceCrypto();
const [node0, node1, node2] = network.nodes as readonly [TestNode, TestNode, TestNode];
const ports = { crypto: createNodeCrypto(node0.privateKey), entropy: nodeEntropy, clock: systemClock };

const FIRST = firstTransactions(constitution, networkId, ports);
let place = { index: 1, firstSeqno: 1, timeMs: 0 };

function execute(state: GovernanceState | undefined, transaction: AdministrativeTransaction): GovernanceState {
  place = { ...place, index: place.index + 1, firstSeqno: place.firstSeqno + 2 };
  return executeAdministrative(state, decodeAdministrative(encodeAdministrative(transaction)), place, governanceCrypto);
}

const started = FIRST.map(decodeAdministrative).reduce<GovernanceState | undefined>(
  execute,
  undefined,
) as GovernanceState;

/** Keys as a node opens them from a state; nothing is cached. */
function keysOf(state: GovernanceState, { request, decryptionKey }: TestNode): (epoch: number) => Bytes | undefined {
  const node = { nodeId: request.nodeId, decryptionKey };
  return (epoch) => {
    const record = state.epochs[epoch - 1];
    return record && openEpochKey(record, networkId, node);
  };
}

type Content = Proposal extends infer One ? (One extends Proposal ? Omit<One, keyof ProposalBasis> : never) : never;

function decide(state: GovernanceState, content: Content): GovernanceState {
  const [first, second] = network.founders as readonly [TestFounder, TestFounder];
  const proposal = signProposal({ ...content, ...basisOf(state) }, first.signer);
  const ballot = { proposal: proposalDigest(proposal, governanceCrypto), vote: "for" } as const;
  const ballots = [first, second].map(({ signer }) => signBallot(ballot, signer));
  return execute(state, { type: "decision", bundle: { proposal, ballots } });
}

/** The state after a vote for an epoch and the epoch that `maker` opens. */
function nextEpoch(state: GovernanceState, maker: TestNode): GovernanceState {
  const voted = decide(state, { action: "open_epoch" });
  const service = new ServiceIdentity(voted, keysOf(voted, maker), ports);
  return execute(voted, createEpoch(voted, service, ports));
}

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
    assert.ok(before.follows(state, keysOf(state, node0)));
  });

  test("does not open to a node that was removed", () => {
    const voted = decide(started, { action: "change_nodes", nodes: constitution.nodes.slice(0, 2) });
    const ids = constitution.nodes.map(({ nodeId }) => nodeId);
    const joint = execute(voted, { type: "configure", current: ids.slice(0, 2), previous: ids, learners: [] });
    const left = execute(joint, { type: "configure", current: ids.slice(0, 2), previous: undefined, learners: [] });
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
    const voted = decide(state, { action: "change_nodes", nodes: [...constitution.nodes, entry] });
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
    const voted = decide(started, { action: "change_nodes", nodes: [...constitution.nodes, entry] });
    const state = nextEpoch(voted, node0);
    assert.equal(state.epochs[1]?.wraps.length, 4);
    assert.ok(keysOf(state, node2)(2));
  });

  test("that carries another service key is noticed, and the identity is found where it is", () => {
    const voted = decide(started, { action: "open_epoch" });
    const service = new ServiceIdentity(voted, keysOf(voted, node0), ports);
    const junk = { ...createEpoch(voted, service, ports), sealedServiceKey: new Uint8Array(64) };
    const state = execute(voted, junk);
    assert.equal(service.follows(state, keysOf(state, node0)), false);
    const restarted = new ServiceIdentity(state, keysOf(state, node1), ports);
    assert.equal(restarted.secret.privateKey, service.secret.privateKey);
    const healed = nextEpoch(state, node1);
    assert.ok(service.follows(healed, keysOf(healed, node0)));
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
    const configure = { type: "configure", current: ids, previous: ids.slice(0, 2), learners: [] } as const;
    const quorum = { type: "flexible", election: 3, replication: 1 } as const;
    const administrative = (transactions: readonly Bytes[]) =>
      sealing.build({
        kind: "administrative",
        view: 1,
        adapterId: 0,
        governanceVersion: 1,
        transactions: transactions.map(administrativeTransaction),
      });
    assert.equal(configurationOfBatch(administrative(FIRST), quorum), undefined);
    const batch = administrative([encodeAdministrative(configure)]);
    assert.deepEqual(configurationOfBatch(batch, quorum), {
      current: { voters: ids, quorum },
      previous: { voters: ids.slice(0, 2), quorum },
      learners: [],
    });
    assert.equal(configurationOfBatch(seal(sealing, 1), quorum), undefined);
    assert.equal(configurationOfBatch(administrative([utf8Encode("junk")]), quorum), undefined);
    for (let length = 0; length < batch.length; length += 5)
      assert.equal(configurationOfBatch(batch.subarray(0, length), quorum), undefined);
  });
});
