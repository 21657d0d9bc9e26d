import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GOVERNANCE_CRYPTO, GovernedNetwork, idOf, refusal, votersOf } from "../../../test/support/governed-network.ts";
import { executeAdministrative, type GovernanceState, placeAt } from "./administrative.ts";
import {
  epochIsDue,
  epochProgress,
  epochsBytes,
  MAX_EPOCHS_BYTES,
  MAX_SCHEDULED_EPOCHS_BYTES,
  missingEpochs,
} from "./epochs.ts";
import { nextStep } from "./next-step.ts";

const DAY = 86_400_000;
const key = (value: number) => Uint8Array.of(value);

function due(state: GovernanceState, now: number, nextSeqno: number): boolean {
  return epochIsDue(state, epochProgress(state, now, nextSeqno));
}

describe("the next epoch", () => {
  test("is due by time, by the ledger's clock and not before", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    const opened = network.state.epochs[0]?.openedAtMs ?? 0;
    assert.equal(due(network.state, opened + DAY - 1, 10), false);
    assert.equal(due(network.state, opened + DAY, 10), true);
    network.place = { ...network.place, timeMs: opened + DAY - 1 };
    assert.throws(() => network.execute(network.epoch()), refusal("EpochNotDue"));
    network.place = { ...network.place, timeMs: opened + DAY };
    assert.equal(network.execute(network.epoch()).epochs.length, 2);
    assert.throws(() => network.execute(network.epoch()), refusal("EpochNotDue"));
  });

  test("is due by the number of transactions", () => {
    const network = new GovernedNetwork([0, 1, 2], { epoch: { lengthMs: 0, transactions: 100 } });
    const opened = network.state.epochs[0]?.openedAtSeqno ?? 0;
    assert.equal(due(network.state, Number.MAX_SAFE_INTEGER, opened + 99), false);
    assert.equal(due(network.state, 0, opened + 100), true);
    network.place = { ...network.place, firstSeqno: opened + 100 };
    assert.equal(network.execute(network.epoch()).epochs.at(-1)?.openedAtSeqno, opened + 100);
  });

  test("is due by a vote, once", () => {
    const network = new GovernedNetwork([0, 1, 2], { epoch: { lengthMs: 0, transactions: 0 } });
    assert.equal(due(network.state, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER), false);
    network.decide({ name: "open_epoch", args: {} });
    assert.equal(network.state.constitution.version, 2);
    assert.equal(due(network.state, 0, 0), true);
    network.execute(network.epoch());
    assert.equal(network.state.epochDue, false);
    assert.throws(() => network.execute(network.epoch()), refusal("EpochNotDue"));
  });

  test("is due when a node was removed, and not when one was added", () => {
    const network = new GovernedNetwork([0, 1, 2], { epoch: { lengthMs: 0 } });
    network.changeNodes([0, 1, 2, 3]);
    assert.equal(network.state.epochDue, false);
    network.changeNodes([0, 1, 3]);
    assert.equal(network.state.epochDue, true);
  });

  test("is wrapped to exactly the nodes of the constitution in force, and counts on", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.decide({ name: "open_epoch", args: {} });
    const epoch = network.epoch();
    const wraps = (change: typeof epoch.wraps) => () => network.execute({ ...epoch, wraps: change });
    assert.throws(wraps(epoch.wraps.slice(1)), refusal("EpochWraps"));
    assert.throws(wraps(epoch.wraps.toReversed()), refusal("EpochWraps"));
    assert.throws(wraps([...epoch.wraps, { nodeId: idOf(9), wrapped: key(1) }]), refusal("EpochWraps"));
    for (const number of [1, 3])
      assert.throws(() => network.execute({ ...epoch, epoch: number }), refusal("EpochNumber"));
  });

  test("by time or transactions leaves room for those by vote and removal, and for grants", () => {
    const network = new GovernedNetwork([0, 1, 2], { epoch: { lengthMs: DAY, transactions: 100 } });
    const record = { epoch: 1, wraps: [], sealedServiceKey: new Uint8Array(1024), openedAtMs: 0, openedAtSeqno: 1 };
    const epochs = Array.from({ length: Math.floor(MAX_SCHEDULED_EPOCHS_BYTES / 1152) }, (_, at) => ({
      ...record,
      epoch: at + 1,
    }));
    assert.ok(epochsBytes(epochs) <= MAX_SCHEDULED_EPOCHS_BYTES);
    network.state = { ...network.state, epochs };
    network.place = { ...network.place, timeMs: 10 * DAY, firstSeqno: 1_000 };
    assert.equal(due(network.state, 10 * DAY, 1_000), false);
    assert.throws(() => network.execute(network.epoch()), refusal("EpochsFull"));
    network.execute({ type: "grant", nodeId: idOf(0), keys: [{ epoch: 1, wrapped: key(1) }] });
    network.changeNodes([0, 1]);
    // Who was voted out loses its vote first.
    for (const configuration of [
      { current: votersOf([idOf(0), idOf(1)]), previous: votersOf([idOf(0), idOf(1), idOf(2)]), learners: [] },
      { current: votersOf([idOf(0), idOf(1)]), previous: undefined, learners: [] },
    ])
      network.execute({ type: "configure", ...configuration });
    assert.equal(due(network.state, 10 * DAY, 1_000), true);
    assert.equal(network.execute(network.epoch()).epochs.length, epochs.length + 1);
  });

  test("has room, or there is none: then nobody proposes one", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.decide({ name: "open_epoch", args: {} });
    const record = { epoch: 1, wraps: [], sealedServiceKey: new Uint8Array(1024), openedAtMs: 0, openedAtSeqno: 1 };
    const epochs = Array.from({ length: Math.floor(MAX_EPOCHS_BYTES / 1152) }, (_, at) => ({
      ...record,
      epoch: at + 1,
    }));
    assert.ok(epochsBytes(epochs) <= MAX_EPOCHS_BYTES);
    network.state = { ...network.state, epochs };
    assert.throws(() => network.execute(network.epoch()), refusal("EpochsFull"));
    assert.equal(due(network.state, 0, 0), false);
    assert.deepEqual(missingEpochs(network.state, idOf(0)), []);
    assert.equal(
      nextStep(network.state, { now: 0, nextSeqno: 0, learnersCaughtUp: true }, GOVERNANCE_CRYPTO),
      undefined,
    );
  });
});

describe("grants", () => {
  function withNewcomer(): GovernedNetwork {
    const network = new GovernedNetwork([0, 1, 2]);
    network.decide({ name: "open_epoch", args: {} });
    network.execute(network.epoch());
    network.changeNodes([0, 1, 2, 3]);
    return network;
  }

  test("give a newcomer the keys from before it came", () => {
    const network = withNewcomer();
    assert.deepEqual(missingEpochs(network.state, idOf(3)), [1, 2]);
    assert.deepEqual(missingEpochs(network.state, idOf(0)), []);
    network.execute({ type: "grant", nodeId: idOf(3), keys: [{ epoch: 1, wrapped: key(7) }] });
    assert.deepEqual(network.state.epochs[0]?.wraps.at(-1), { nodeId: idOf(3), wrapped: key(7) });
    assert.deepEqual(missingEpochs(network.state, idOf(3)), [2]);
  });

  test("are refused for unlisted nodes, unknown epochs, epochs named twice or known already", () => {
    const network = withNewcomer();
    const grant =
      (at: number, ...epochs: number[]) =>
      () =>
        network.execute({ type: "grant", nodeId: idOf(at), keys: epochs.map((epoch) => ({ epoch, wrapped: key(1) })) });
    assert.throws(grant(4, 1), refusal("NodeNotListed"));
    for (const epochs of [[3], [1, 1], [], [1, 3], [Number.MAX_SAFE_INTEGER]])
      assert.throws(grant(3, ...epochs), refusal("GrantNotNeeded"));
    assert.throws(grant(0, 1), refusal("GrantNotNeeded"));
    grant(3, 1)();
    assert.throws(grant(3, 1), refusal("GrantNotNeeded"));
    assert.throws(grant(3, 1, 2), refusal("GrantNotNeeded"));
  });
});

describe("evidence of snapshots", () => {
  const digest = new Uint8Array(32);
  const at = (state: GovernanceState, index: number, seqno: number) =>
    executeAdministrative(
      state,
      { type: "snapshot", index, seqno, digest, bytes: 1 },
      { ...placeAt(0), index: 100, firstSeqno: 200 },
      GOVERNANCE_CRYPTO,
    );

  test("is of a batch before its own", () => {
    const { state } = new GovernedNetwork([0]);
    assert.deepEqual(at(state, 99, 199).snapshot, { index: 99, seqno: 199, digest });
    for (const [index, seqno] of [
      [100, 199],
      [101, 199],
      [99, 200],
      [99, 98],
      [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    ] as const)
      assert.throws(() => at(state, index, seqno), refusal("SnapshotOfTheFuture"));
  });

  test("grows: neither the same snapshot again nor an older one", () => {
    const state = at(new GovernedNetwork([0]).state, 50, 80);
    assert.throws(() => at(state, 50, 80), refusal("SnapshotNotNewer"));
    assert.throws(() => at(state, 49, 90), refusal("SnapshotNotNewer"));
    assert.throws(() => at(state, 51, 80), refusal("SnapshotNotNewer"));
    assert.equal(at(state, 51, 81).snapshot?.index, 51);
  });
});
