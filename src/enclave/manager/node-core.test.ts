import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SnapshotNetwork, SnapshotNode } from "../../../test/support/snapshot-node.ts";
import { type Bytes, utf8Encode } from "../../core/codec/bytes.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { encodeAdministrative } from "../../core/governance/administrative.ts";
import type { DiskContent, DiskRequest, StoredSnapshot } from "../ports.ts";
import { encodeFrame } from "./frames.ts";
import { NodeCore } from "./node-core.ts";

/** The ledger of a network that has opened its second epoch. */
function ledgerOfTwoEpochs() {
  const network = new SnapshotNetwork();
  const node = new SnapshotNode(network, 1);
  node.found();
  node.execute(7);
  node.run();
  node.confirm(node.unconfirmed);
  const state = node.administration.committed;
  assert.ok(state);
  const { founded } = network;
  const maker = founded.epochMaker((length) => new Uint8Array(length).fill(8));
  const vote = founded.askForEpoch(state, 0).map((message) => ({ type: "request", ...message }) as const);
  node.administrate([...vote, maker.epoch(state)].map(encodeAdministrative));
  return { network, node };
}

function flipped(bytes: Bytes, position: number): Bytes {
  return bytes.map((byte, at) => (at === position ? byte ^ 1 : byte));
}

/** What is wrong with a disk, and what was asked of it. */
interface Disturbance {
  readonly change?: (entry: LogEntry) => LogEntry;
  readonly damage?: DiskContent["damage"];
  readonly persisted?: DiskRequest[];
  /** Frames to peers are lost instead of a failure of the test. */
  readonly hasPeers?: boolean;
}

/** A core that starts from what is on its disk, and hears of nobody. */
function start(
  { founded, entries }: SnapshotNetwork,
  snapshots: readonly StoredSnapshot[] = [],
  { change = (entry) => entry, damage, persisted = [], hasPeers = false }: Disturbance = {},
): NodeCore {
  const { nodeId } = founded.constitution.nodes[1] ?? { nodeId: "" };
  const content: DiskContent = {
    hardState: { term: 2, votedFor: undefined },
    snapshots,
    firstIndex: 1,
    entriesFrom: (index) => entries.slice(index - 1, damage && damage.index - 1).map(change),
    damage,
  };
  const unused = (): never => assert.fail("nothing is done before the node runs");
  return new NodeCore({
    nodeId,
    publicKey: founded.constitution.nodes.find((node) => node.nodeId === nodeId)?.publicKey ?? new Uint8Array(0),
    genesis: founded.constitution,
    networkId: founded.networkId,
    crypto: founded.cryptoOf(1),
    governanceCrypto: founded.governanceCrypto,
    clock: { now: () => 0, wallTime: () => 0, after: () => () => undefined },
    randomBytes: (length) => new Uint8Array(length),
    disk: {
      persist: (request) => persisted.push(request),
      read: unused,
      createSnapshot: unused,
      readSnapshot: unused,
      removeSnapshot: unused,
    },
    content,
    tookPart: true,
    peers: { send: hasPeers ? () => false : unused },
    tracer: { event: () => undefined },
    startExecutor: () => ({ send: unused }),
    firstTransactions: unused,
    approval: undefined,
    carriesService: () => true,
    openEpoch: (record) => founded.openEpoch(record, nodeId),
    epochMaker: founded.epochMaker((length) => new Uint8Array(length)),
    onGovernance: unused,
    onFatal: unused,
  });
}

/** The leader's message with the last batch of a ledger. */
function lastBatchOf({ entries }: SnapshotNetwork): Bytes {
  const [previous, last] = entries.slice(-2);
  assert.ok(previous && last);
  const position = { previousIndex: previous.index, previousTerm: previous.term };
  const message = { type: "append", term: 2, ...position, commitIndex: 0, round: 0, entries: [last] } as const;
  return encodeFrame({ type: "consensus", message });
}

/** A leader that has wrapped the second key to node 1 in its own way, and node 1 before it gets that batch. */
function wrappedTo1(wrap: (wrapped: Bytes) => Bytes) {
  const network = new SnapshotNetwork();
  const leader = new SnapshotNode(network);
  leader.found();
  const state = leader.administration.committed;
  assert.ok(state);
  const { founded } = network;
  const epoch = founded.epochMaker((length) => new Uint8Array(length).fill(8)).epoch(state);
  const wraps = epoch.wraps.map((one, place) => (place === 1 ? { ...one, wrapped: wrap(one.wrapped) } : one));
  const vote = founded.askForEpoch(state, 0).map((message) => ({ type: "request", ...message }) as const);
  leader.administrate([...vote, { ...epoch, wraps }].map(encodeAdministrative));
  const persisted: DiskRequest[] = [];
  const before = Object.assign(Object.create(network) as SnapshotNetwork, { entries: network.entries.slice(0, -1) });
  const core = start(before, [], { persisted, hasPeers: true });
  return { network, core, persisted, leader: leader.nodeId };
}

describe("a batch of a peer", () => {
  test("with a key for this node is taken when the key opens", () => {
    const { network, core, leader, persisted } = wrappedTo1((wrapped) => wrapped);
    core.manager.frame(leader, lastBatchOf(network));
    assert.equal(core.manager.refusedFrames, 0);
    assert.equal(core.tail.lastIndex, network.entries.length);
    assert.deepEqual(
      persisted.at(-1)?.entries.map(({ index }) => index),
      [network.entries.length],
    );
  });

  test("is refused when the key for this node does not open: nothing of it is stored or acknowledged", () => {
    for (const wrap of [
      (wrapped: Bytes) => flipped(wrapped, 0),
      (wrapped: Bytes) => new Uint8Array(wrapped.length),
      () => new Uint8Array(1),
    ]) {
      const { network, core, leader, persisted } = wrappedTo1(wrap);
      assert.throws(() => core.manager.frame(leader, lastBatchOf(network)), { code: "LedgerCorrupt" });
      assert.equal(core.manager.refusedFrames, 1);
      assert.equal(core.tail.lastIndex, network.entries.length - 1);
      assert.deepEqual(persisted, []);
    }
  });

  test("that is on this node's own disk costs it the key only", () => {
    const { network } = wrappedTo1((wrapped) => flipped(wrapped, 0));
    const core = start(network);
    assert.equal(core.administration.appended?.epochs.length, 2);
    core.administration.commit(network.entries.length);
    assert.equal(core.epochKeys.keyOf(2), undefined);
    assert.equal(core.epochKeys.keyOf(1)?.length, 32);
  });
});

describe("the core of a node that starts", () => {
  test("has read its whole ledger, and uses no epoch of it that it does not know to be committed", () => {
    const { network } = ledgerOfTwoEpochs();
    const core = start(network);
    assert.equal(core.tail.lastIndex, network.entries.length);
    assert.equal(core.administration.appended?.epochs.length, 2);
    assert.equal(core.administration.committed, undefined);
    assert.deepEqual([core.sealing.epoch, core.epochKeys.newest], [0, 0]);
    assert.deepEqual([core.epochKeys.keyOf(1), core.epochKeys.keyOf(2)], [undefined, undefined]);
  });

  test("knows what a snapshot holds to be committed, and nothing behind it", () => {
    const { network, node } = ledgerOfTwoEpochs();
    const core = start(network, node.disk.stored);
    assert.equal(core.tail.lastIndex, network.entries.length);
    assert.equal(core.administration.appended?.epochs.length, 2);
    assert.deepEqual([core.sealing.epoch, core.epochKeys.newest], [1, 1]);
    assert.deepEqual([core.epochKeys.keyOf(1)?.length, core.epochKeys.keyOf(2)], [32, undefined]);
  });

  test("goes on behind its snapshot when the entries before it are damaged, and only then drops them", () => {
    const { network, node } = ledgerOfTwoEpochs();
    const [snapshot] = node.disk.stored;
    assert.ok(snapshot);
    const lastIndex = network.entries.length;
    for (const index of [snapshot.index, snapshot.index + 1]) {
      const persisted: DiskRequest[] = [];
      const core = start(network, node.disk.stored, { damage: { index, lastIndex, lastTerm: 2 }, persisted });
      assert.equal(core.tail.lastIndex, snapshot.index);
      assert.equal(core.manager.status.recovering, true, "it decides nothing before its peers have sent what it lost");
      const dropped = persisted.map((request) => request.snapshot?.index);
      assert.deepEqual(dropped, index <= snapshot.index ? [snapshot.index] : []);
    }
  });

  test("refuses a ledger with a byte changed in any batch, naming it", () => {
    const { network } = ledgerOfTwoEpochs();
    for (const { index, data } of network.entries) {
      // In the header, and in the signature.
      for (const position of [20, data.length - 1]) {
        const changed = (entry: LogEntry): LogEntry =>
          entry.index === index ? { ...entry, data: flipped(entry.data, position) } : entry;
        assert.throws(() => start(network, [], { change: changed }), { code: "LedgerCorrupt", data: { index } });
      }
    }
    const junk = (entry: LogEntry): LogEntry => (entry.index === 2 ? { ...entry, data: utf8Encode("junk") } : entry);
    assert.throws(() => start(network, [], { change: junk }), { code: "LedgerCorrupt", data: { index: 2 } });
  });
});
