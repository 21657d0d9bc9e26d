import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  GOVERNANCE_CRYPTO,
  GovernedNetwork,
  idOf,
  refusal,
  requestSignerOf,
} from "../../../test/support/governed-network.ts";
import { attestOf, LEASE_MS, lapsedNetwork, leasedNetwork, pass } from "../../../test/support/leased-network.ts";
import { sha256 } from "../../enclave/manager/node-crypto.ts";
import { fromHex } from "../codec/bytes.ts";
import { executeAdministrativeBatch } from "./administrative-batch.ts";
import { encodeAdministrative } from "./administrative-codec.ts";
import { missingEpochs } from "./epochs.ts";
import { isQuarantined, lapsedNodes, leaseEndsAtMs, quarantinable, renewalIsDue } from "./leases.ts";
import { nextStep } from "./next-step.ts";
import { LEDGER_PROPOSER } from "./removal-proposals.ts";
import { ballotPayload, signRequest } from "./request-signing.ts";
import { decodeGovernanceState, encodeGovernanceState } from "./state-codec.ts";
import { prospectOf } from "./vote-count.ts";

const quarantine = (...nodes: readonly number[]) => ({ type: "quarantine", nodeIds: nodes.map(idOf) }) as const;

function stepOf({ state, place }: GovernedNetwork) {
  const view = { now: place.timeMs, nextSeqno: place.firstSeqno, learnersCaughtUp: true };
  return nextStep(state, view, GOVERNANCE_CRYPTO);
}

describe("a lease", () => {
  test("begins with the record of evidence, and is renewed in its second half, not before a quarter of it has passed", () => {
    const network = leasedNetwork([0, 1, 2]);
    const began = network.place.timeMs;
    assert.equal(leaseEndsAtMs(network.state, idOf(0)), began + LEASE_MS);
    pass(network, LEASE_MS / 4 - 1);
    assert.throws(() => network.execute(attestOf(network, 0)), refusal("NothingChanged"));
    assert.equal(renewalIsDue(network.state, idOf(0), began + LEASE_MS / 2 - 1), false);
    assert.equal(renewalIsDue(network.state, idOf(0), began + LEASE_MS / 2), true);
    pass(network, 1);
    network.execute(attestOf(network, 0));
    assert.equal(leaseEndsAtMs(network.state, idOf(0)), began + LEASE_MS / 4 + LEASE_MS);
  });

  test("is of every listed node from its listing on, whether it was attested or not", () => {
    const network = new GovernedNetwork([0, 1, 2], { leaseMs: LEASE_MS });
    network.changeNodes([0, 1, 2, 3]);
    assert.equal(leaseEndsAtMs(network.state, idOf(3)), network.place.timeMs + LEASE_MS);
    network.changeNodes([0, 1, 2]);
    assert.equal(network.state.leases.has(idOf(3)), false);
  });

  test("begins anew when members change its length, so that no node lapses by their vote", () => {
    const network = leasedNetwork([0, 1, 2]);
    pass(network, LEASE_MS - 1);
    network.decide({ name: "set_settings", args: { leaseMs: 5_000 } });
    assert.deepEqual(lapsedNodes(network.state, network.place.timeMs + 4_999), []);
    assert.equal(lapsedNodes(network.state, network.place.timeMs + 5_000).length, 3);
  });

  test("is without end where there are none, as in networks founded before there were leases", () => {
    const network = new GovernedNetwork([0, 1, 2], { leaseMs: 0 });
    assert.deepEqual(lapsedNodes(network.state, Number.MAX_SAFE_INTEGER), []);
    network.execute(attestOf(network, 0));
    pass(network, LEASE_MS);
    assert.throws(() => network.execute(attestOf(network, 0)), refusal("NothingChanged"));
  });
});

describe("a quarantine", () => {
  test("is of nodes whose lease has ended by the ledger's clock, each named once and in order", () => {
    const network = lapsedNetwork();
    for (const nodes of [[], [0], [0, 2], [2, 2]])
      assert.throws(() => network.execute(quarantine(...nodes)), refusal("QuarantineNotDue"), String(nodes));
    pass(network, -1);
    assert.throws(() => network.execute(quarantine(2)), refusal("QuarantineNotDue"));
    pass(network, 1);
    assert.ok(isQuarantined(network.execute(quarantine(2)), idOf(2)));
    assert.throws(() => network.execute(quarantine(2)), refusal("QuarantineNotDue"));
  });

  test("leaves enough nodes to elect and to replicate, and never the only one", () => {
    const network = leasedNetwork([0, 1, 2, 3, 4]);
    pass(network, LEASE_MS);
    const lapsed = lapsedNodes(network.state, network.place.timeMs);
    assert.equal(lapsed.length, 5);
    assert.deepEqual(quarantinable(network.state, lapsed), [idOf(0), idOf(1)]);
    assert.throws(() => network.execute(quarantine(0, 1, 2)), refusal("QuarantineNotDue"));
    network.execute(quarantine(0, 1));
    assert.throws(() => network.execute(quarantine(2)), refusal("QuarantineNotDue"));
    const single = leasedNetwork([0]);
    pass(single, LEASE_MS);
    assert.throws(() => single.execute(quarantine(0)), refusal("QuarantineNotDue"));
  });

  test("keeps the node from the next epoch, which is due at once and not opened by that node", () => {
    const network = lapsedNetwork();
    assert.equal(stepOf(network), undefined);
    network.execute(quarantine(2));
    assert.deepEqual(stepOf(network), { type: "epoch" });
    const before = network.state;
    const epoch = network.epoch();
    const all = { ...epoch, wraps: [...epoch.wraps, { nodeId: idOf(2), wrapped: Uint8Array.of(1) }] };
    assert.throws(() => network.execute(all), refusal("EpochWraps"));
    const header = { index: 9, firstSeqno: 99, timeMs: network.place.timeMs };
    const publicPart = encodeAdministrative(epoch);
    const signed = { ...header, previousDigest: new Uint8Array(32), signer: fromHex(idOf(2)) };
    const batch = {
      header: signed,
      transactions: [{ publicPart, privateCommitment: undefined, claimsDigest: undefined }],
    };
    assert.throws(
      () => executeAdministrativeBatch(before, batch as never, GOVERNANCE_CRYPTO),
      refusal("EpochByQuarantinedNode"),
    );
    network.execute(epoch);
    assert.equal(stepOf(network), undefined, "one epoch, and no grant");
    assert.deepEqual(missingEpochs(network.state, idOf(2)), []);
    const grant = { type: "grant", nodeId: idOf(2), keys: [{ epoch: 2, wrapped: Uint8Array.of(1) }] } as const;
    assert.throws(() => network.execute(grant), refusal("NodeInQuarantine"));
  });

  test("ends with the record of fresh evidence: the node is granted what it missed", () => {
    const network = lapsedNetwork();
    network.execute(quarantine(2));
    network.execute(network.epoch());
    network.execute(attestOf(network, 2));
    assert.equal(isQuarantined(network.state, idOf(2)), false);
    assert.deepEqual(stepOf(network), { type: "grant", nodeId: idOf(2), epochs: [2] });
    const grant = { type: "grant", nodeId: idOf(2), keys: [{ epoch: 2, wrapped: Uint8Array.of(1) }] } as const;
    network.execute(grant);
    assert.equal(stepOf(network), undefined);
  });

  test("and its proposal come back from the state's bytes", () => {
    const network = lapsedNetwork();
    const state = network.execute(quarantine(2));
    assert.deepEqual(decodeGovernanceState(encodeGovernanceState(state), sha256), state);
  });
});

describe("the proposal to remove a quarantined node", () => {
  const removalOf = ({ state }: GovernedNetwork) =>
    state.proposals.find(({ proposer }) => proposer === LEDGER_PROPOSER);

  test("is opened by the quarantine, and withdrawn when the node renews its lease", () => {
    const network = lapsedNetwork();
    network.execute(quarantine(2));
    const opened = removalOf(network) ?? assert.fail("no proposal");
    assert.deepEqual([opened.state, opened.actions], ["Open", [{ name: "remove_node", args: { nodeId: idOf(2) } }]]);
    network.execute(attestOf(network, 2));
    assert.equal(removalOf(network)?.state, "Withdrawn");
  });

  test("is voted on like any other, and removes the node with its keys", () => {
    const network = lapsedNetwork();
    network.execute(quarantine(2));
    network.execute(network.epoch());
    const { id, actions } = removalOf(network) ?? assert.fail("no proposal");
    const nowMs = network.place.timeMs;
    const prospect = prospectOf(network.state, { id, actions }, nowMs, GOVERNANCE_CRYPTO);
    const effect = prospect.type === "effect" ? prospect.digest : assert.fail("it can be done");
    const { networkId } = network.state;
    for (const name of ["acme", "globex"]) {
      const origin = { signer: requestSignerOf(name), networkId, createdAt: Math.floor(nowMs / 1000), sha256 };
      network.execute({ type: "request", ...signRequest("ballot", ballotPayload("yes", effect), origin, id) });
    }
    assert.equal(removalOf(network)?.state, "Accepted");
    assert.equal(network.state.leases.has(idOf(2)), false);
    assert.ok(network.state.serviceRotationDue && network.state.epochDue);
  });

  test("is withdrawn when the node is removed by another decision", () => {
    const network = lapsedNetwork();
    network.execute(quarantine(2));
    network.changeNodes([0, 1]);
    assert.equal(removalOf(network)?.state, "Withdrawn");
  });
});
