import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  constitutionOf,
  entryOf,
  GOVERNANCE_CRYPTO,
  GovernedNetwork,
  idOf,
  refusal,
  votersOf,
} from "../../../test/support/governed-network.ts";
import { simulatedMachineKey } from "../../../test/simulation/simulated-crypto.ts";
import { nodeListActions } from "../../../test/support/node-list-actions.ts";
import type { GovernanceState } from "./administrative.ts";
import { signingKeys } from "./departing-nodes.ts";
import type { Configuration } from "../consensus/types.ts";
import { checkNextConfiguration, isSettled } from "./configuration.ts";
import { MAX_NODES, type NodeEntry, type QuorumSetting } from "./constitution.ts";
import { MAX_VOTERS } from "../consensus/quorum.ts";
import { MAX_DEPARTING_NODES } from "./departing-nodes.ts";
import { nextStep } from "./next-step.ts";
import type { SignedMessage } from "./proposal.ts";

const ids = (nodes: readonly number[]) => nodes.map(idOf);
const simple = (current: readonly number[], learners: readonly number[] = []): Configuration => ({
  current: votersOf(ids(current)),
  previous: undefined,
  learners: ids(learners),
});
const joint = (previous: readonly number[], current: readonly number[]): Configuration => ({
  current: votersOf(ids(current)),
  previous: votersOf(ids(previous)),
  learners: [],
});

function configure(network: GovernedNetwork, configuration: Configuration): GovernanceState {
  return network.execute({ type: "configure", ...configuration });
}

/** Takes every step that governance wants, with learners that catch up at once; returns the types of the steps. */
function settle(network: GovernedNetwork): string[] {
  const taken: string[] = [];
  for (;;) {
    const { timeMs, firstSeqno } = network.place;
    const step = nextStep(
      network.state,
      { now: timeMs, nextSeqno: firstSeqno, learnersCaughtUp: true },
      GOVERNANCE_CRYPTO,
    );
    if (step === undefined) return taken;
    assert.ok(taken.length < 100, "membership comes to rest");
    taken.push(step.type);
    if (step.type === "configure") configure(network, step.configuration);
    else if (step.type === "epoch") network.execute(network.epoch());
    else if (step.type === "expel") network.execute(step);
    else {
      const keys = step.epochs.map((epoch) => ({ epoch, wrapped: Uint8Array.of(epoch) }));
      network.execute({ type: "grant", nodeId: step.nodeId, keys });
    }
  }
}

/** What a vote for other settings makes of the state. */
function setQuorum(network: GovernedNetwork, quorum: QuorumSetting): void {
  const { constitution } = network.state;
  const settings = { ...constitution.settings, quorum };
  network.state = { ...network.state, constitution: { ...constitution, settings } };
}

describe("a change of the VN list", () => {
  test("adds a node: keys first, then it learns, then it votes", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.changeNodes([0, 1, 2, 3]);
    assert.equal(network.state.epochDue, false);
    assert.deepEqual(settle(network), ["grant", "configure", "configure", "configure"]);
    assert.deepEqual(network.state.configuration, simple([0, 1, 2, 3]));
    assert.deepEqual(network.state.epochs[0]?.wraps.at(-1)?.nodeId, idOf(3));
  });

  test("waits for newcomers to catch up before they vote", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.changeNodes([0, 1, 3]);
    const view = { now: 0, nextSeqno: 10, learnersCaughtUp: false };
    network.execute({ type: "grant", nodeId: idOf(3), keys: [{ epoch: 1, wrapped: Uint8Array.of(1) }] });
    configure(network, simple([0, 1, 2], [3]));
    assert.equal(nextStep(network.state, view, GOVERNANCE_CRYPTO), undefined);
    const step = nextStep(network.state, { ...view, learnersCaughtUp: true }, GOVERNANCE_CRYPTO);
    assert.deepEqual(step, { type: "configure", configuration: joint([0, 1, 2], [0, 1, 3]) });
  });

  test("removes a node: it loses its vote, and then the key changes, which it does not get", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.changeNodes([0, 1]);
    assert.equal(network.state.epochDue, true);
    assert.throws(() => network.execute(network.epoch()), refusal("VotersNotListed"));
    assert.deepEqual(settle(network), ["configure", "configure", "epoch"]);
    assert.equal(network.state.epochDue, false);
    assert.deepEqual(
      network.state.epochs.map(({ wraps }) => wraps.map(({ nodeId }) => nodeId)),
      [ids([0, 1]), ids([0, 1])],
    );
  });

  test("keeps the signatures of a removed node valid until the next epoch: it may lead until it is gone", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.changeNodes([1, 2]);
    assert.ok(signingKeys(network.state).has(idOf(0)));
    configure(network, joint([0, 1, 2], [1, 2]));
    configure(network, simple([1, 2]));
    assert.ok(signingKeys(network.state).has(idOf(0)));
    network.execute(network.epoch());
    assert.deepEqual([...signingKeys(network.state).keys()], ids([1, 2]));
  });

  test("goes from any list to any list, also while another change is on its way", () => {
    const list = fc.uniqueArray(fc.nat(6), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(list, fc.array(fc.tuple(list, fc.nat(6)), { minLength: 1, maxLength: 4 }), (first, changes) => {
        const network = new GovernedNetwork(first);
        for (const [nodes, steps] of changes) {
          const before = network.state.constitution.nodes.map(({ nodeId }) => nodeId);
          // Another order of the same nodes is no change.
          if (ids(nodes).sort().join() !== before.sort().join()) network.changeNodes(nodes);
          for (let at = 0; at < steps; at++) {
            const view = { now: 0, nextSeqno: network.place.firstSeqno, learnersCaughtUp: true };
            const step = nextStep(network.state, view, GOVERNANCE_CRYPTO);
            if (step?.type === "configure") configure(network, step.configuration);
            else break;
          }
        }
        settle(network);
        const { configuration, constitution, departing, epochDue, epochs } = network.state;
        assert.ok(isSettled(configuration, constitution));
        assert.equal(epochDue, false);
        const listed = new Set(constitution.nodes.map(({ nodeId }) => nodeId));
        for (const { wraps } of epochs) {
          const holders = wraps.map(({ nodeId }) => nodeId);
          assert.equal(new Set(holders).size, holders.length);
          assert.ok([...listed].every((nodeId) => holders.includes(nodeId)));
        }
        assert.ok(departing.every(({ nodeId }) => !listed.has(nodeId)));
      }),
      { numRuns: 150 },
    );
  });

  test("takes no step but the next one", () => {
    const list = fc.uniqueArray(fc.nat(4), { maxLength: 4 });
    const configuration = fc.record({ current: list, previous: fc.option(list, { nil: undefined }), learners: list });
    const network = new GovernedNetwork([0, 1, 2]);
    network.changeNodes([0, 1, 3]);
    const { state } = network;
    const allowed = [simple([0, 1, 2], [3]), joint([0, 1, 2], [0, 1, 3])].map((next) => JSON.stringify(next));
    fc.assert(
      fc.property(configuration, ({ current, previous, learners }) => {
        const next = {
          current: votersOf(ids(current)),
          previous: previous && votersOf(ids(previous)),
          learners: ids(learners),
        };
        const check = () => checkNextConfiguration(state.configuration, next, state.constitution);
        if (allowed.includes(JSON.stringify(next))) assert.doesNotThrow(check);
        else assert.throws(check, refusal("NotTheNextConfiguration"));
      }),
      { numRuns: 2000, examples: [[{ current: [0, 1, 2], previous: undefined, learners: [3] }]] },
    );
    const wrong: readonly Configuration[] = [
      simple([0, 1, 2]),
      simple([0, 1, 3]),
      simple([0, 1, 2], [3, 3]),
      simple([0, 1, 2], [4]),
      joint([0, 1, 2], [0, 1, 2, 3]),
      joint([0, 1], [0, 1, 3]),
      joint([2, 1, 0], [0, 1, 3]),
      { ...joint([0, 1, 2], [0, 1, 3]), learners: ids([3]) },
    ];
    for (const next of wrong) assert.throws(() => configure(network, next), refusal("NotTheNextConfiguration"));
  });

  test("leaves a joint configuration into its own new set, whatever was voted meanwhile", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.changeNodes([0, 1, 3]);
    configure(network, joint([0, 1, 2], [0, 1, 3]));
    network.changeNodes([0, 4]);
    for (const next of [joint([0, 1, 3], [0, 4]), joint([0, 1, 2], [0, 4]), simple([0, 4]), simple([0, 1, 2])])
      assert.throws(() => configure(network, next), refusal("NotTheNextConfiguration"));
    configure(network, simple([0, 1, 3]));
    settle(network);
    assert.deepEqual(network.state.configuration, simple([0, 4]));
  });
});

describe("a decision on the VN list", () => {
  const network = new GovernedNetwork([0, 1, 2]);
  const change = (nodes: readonly NodeEntry[]) => () =>
    network.decide(...nodeListActions(network.state.constitution, nodes));
  const add = (entry: NodeEntry) => () => network.decide({ name: "add_node", args: { entry } });
  const listed = [entryOf(0), entryOf(1), entryOf(2)];

  test("is refused when it leaves no voter, or changes nothing", () => {
    assert.throws(change([]), refusal("NoNodeLeft"));
    assert.throws(change(listed), refusal("NoActions"));
    const [entry] = listed as [NodeEntry];
    const replace = { name: "replace_node", args: { nodeId: entry.nodeId, entry } } as const;
    assert.throws(() => network.decide(replace), refusal("NothingChanged"));
  });

  test("is refused when it lists a node, key or address twice", () => {
    assert.throws(add(entryOf(1)), refusal("NodeExists"));
    assert.throws(add(entryOf(3, { encryptionKey: entryOf(1).encryptionKey })), refusal("NodeKeyInUse"));
    assert.throws(add(entryOf(3, { address: entryOf(2).address })), refusal("NodeAddressInUse"));
    assert.throws(add(entryOf(3, { clientAddress: entryOf(2).address.toUpperCase() })), refusal("NodeAddressInUse"));
  });

  test("is refused when an entry is not signed by its owner, a listed actor", () => {
    const entry = entryOf(3);
    const forged = [
      { ...entry, address: "evil.test:1" },
      { ...entry, owner: "globex" },
      { ...entry, signature: Uint8Array.of(1) },
      { ...entry, nodeId: idOf(4) },
    ];
    for (const each of forged) assert.throws(add(each), refusal("NodeSignatureInvalid"));
    assert.throws(add({ ...entry, owner: "nobody" }), refusal("OwnerUnknown"));
  });

  test("is refused when a listed node comes back with another key to encrypt to", () => {
    const replace = (entry: NodeEntry) => () =>
      network.decide({ name: "replace_node", args: { nodeId: idOf(1), entry } });
    assert.throws(replace(entryOf(1, { encryptionKey: entryOf(9).encryptionKey })), refusal("NodeKeysChanged"));
    assert.doesNotThrow(replace(entryOf(1, { address: "moved.test:1" })));
  });

  test("holds as many nodes as consensus counts, and no more", () => {
    assert.ok(MAX_NODES <= MAX_VOTERS);
    const entries = Array.from({ length: MAX_NODES + 1 }, (_, at) => entryOf(at));
    assert.throws(change(entries), refusal("NodesFull"));
    assert.doesNotThrow(change(entries.slice(0, -1)));
  });

  test("is refused while too many removed nodes may still sign", () => {
    const half = MAX_NODES / 2;
    const block = (from: number) => Array.from({ length: half }, (_, at) => from + at);
    const full = new GovernedNetwork(block(0));
    for (let from = half; from <= MAX_DEPARTING_NODES; from += half) full.changeNodes(block(from));
    assert.equal(full.state.departing.length, MAX_DEPARTING_NODES);
    const { state } = full;
    assert.throws(() => full.changeNodes(block(MAX_DEPARTING_NODES + half)), refusal("ChangeInProgress"));
    assert.equal(full.state, state);
  });

  test("is taken once: nothing of it can be brought in again after another change", () => {
    const replayed = new GovernedNetwork([0, 1, 2]);
    const [proposal, ...ballots] = replayed.requests({ name: "remove_node", args: { nodeId: idOf(2) } });
    for (const message of [proposal, ...ballots]) replayed.execute({ type: "request", ...message });
    replayed.changeNodes([0, 1, 2]);
    const again = (message: SignedMessage) => () => replayed.execute({ type: "request", ...message });
    assert.throws(again(proposal), refusal("ProposalReplay"));
    for (const ballot of ballots) assert.throws(again(ballot), refusal("ProposalNotOpen"));
  });

  test("adds machines for new nodes to the TEE manifest, each once", () => {
    const machine = {
      tee: "virtual",
      machineKey: simulatedMachineKey(new Uint8Array(32).fill(3)),
      note: "second machine",
    } as const;
    const grown = new GovernedNetwork([0, 1, 2]);
    grown.decide({ name: "add_node", args: { entry: entryOf(3), tee: machine } });
    assert.deepEqual(grown.state.constitution.teeManifest.at(-1), machine);
    grown.decide({ name: "add_node", args: { entry: entryOf(4), tee: machine } });
    assert.equal(grown.state.constitution.teeManifest.length, 2);
  });
});

describe("quorums and protocols of a changed VN list", () => {
  test("a flexible quorum has to fit the new list", () => {
    const network = new GovernedNetwork([0, 1, 2, 3], { quorum: { type: "flexible", election: 4, replication: 2 } });
    network.changeNodes([0, 1, 2, 4, 5]);
    assert.throws(() => network.changeNodes([0, 1, 2]), refusal("QuorumNotPossible"));
  });

  test("a flexible quorum has to fit each set of a configuration", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.changeNodes([0, 1, 2, 3]);
    const { constitution, configuration } = network.state;
    const quorum = { type: "flexible", election: 4, replication: 1 } as const;
    const changed = { ...constitution, settings: { ...constitution.settings, quorum } };
    const next = { ...joint([0, 1, 2], [0, 1, 2, 3]), current: { voters: ids([0, 1, 2, 3]), quorum } };
    assert.doesNotThrow(() => checkNextConfiguration(configuration, next, changed));
    const other = { type: "flexible", election: 3, replication: 1 } as const;
    const unfit = { ...next, current: { voters: ids([0, 1, 2, 3]), quorum: other } };
    const misled = { ...constitution, settings: { ...constitution.settings, quorum: other } };
    assert.throws(() => checkNextConfiguration(configuration, unfit, misled), refusal("QuorumDoesNotFit"));
  });

  test("another quorum comes by a joint configuration of the old one and the new one", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    const before = network.state.configuration.current;
    const quorum = { type: "flexible", election: 3, replication: 1 } as const;
    setQuorum(network, quorum);
    assert.equal(isSettled(network.state.configuration, network.state.constitution), false);
    const after = { voters: ids([0, 1, 2]), quorum };
    assert.throws(
      () => configure(network, { current: after, previous: undefined, learners: [] }),
      refusal("NotTheNextConfiguration"),
    );
    const view = { now: 1_000, nextSeqno: network.place.firstSeqno, learnersCaughtUp: true };
    const step = { type: "configure", configuration: { current: after, previous: before, learners: [] } };
    assert.deepEqual(nextStep(network.state, view, GOVERNANCE_CRYPTO), step);
    assert.deepEqual(settle(network), ["configure", "configure"]);
    assert.deepEqual(network.state.configuration, { current: after, previous: undefined, learners: [] });
    assert.ok(isSettled(network.state.configuration, network.state.constitution));
  });

  test("per actor, the nodes of each owner are a group; a node that comes changes the groups", () => {
    const network = new GovernedNetwork([0, 1, 2, 3], { quorum: { type: "perActor" } });
    const groups = [[0, 3], [1], [2]].map(ids);
    assert.deepEqual(network.state.configuration.current.quorum, { type: "grouped", groups });
    network.changeNodes([0, 1, 2, 3, 4]);
    settle(network);
    const { current, previous } = network.state.configuration;
    const grown = [[0, 3], [1, 4], [2]].map(ids);
    assert.deepEqual(
      [current, previous],
      [{ voters: ids([0, 1, 2, 3, 4]), quorum: { type: "grouped", groups: grown } }, undefined],
    );
    setQuorum(network, { type: "majority" });
    assert.deepEqual(settle(network), ["configure", "configure"]);
    assert.deepEqual(network.state.configuration, simple([0, 1, 2, 3, 4]));
  });

  test("one node that runs alone takes no step, whatever quorum is named", () => {
    const constitution = constitutionOf([0], { consensus: "solo", quorum: { type: "perActor" } });
    assert.ok(isSettled(simple([0]), constitution));
  });

  test("solo stays on its one node", () => {
    const network = new GovernedNetwork([0], { consensus: "solo" });
    assert.throws(() => network.changeNodes([0, 1]), refusal("SoloHasOneNode"));
    assert.throws(() => network.changeNodes([1]), refusal("SoloHasOneNode"));
  });
});
