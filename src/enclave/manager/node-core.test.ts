import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { appendFrame, ManualClock, startCore } from "../../../test/support/started-core.ts";
import { SnapshotNetwork, SnapshotNode } from "../../../test/support/snapshot-node.ts";
import { type Bytes, concatBytes, EMPTY, utf8Encode } from "../../core/codec/bytes.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { encodeAdministrative } from "../../core/governance/administrative-codec.ts";
import { BATCH_FORMAT_VERSION } from "../../core/ledger/batch-format.ts";
import { SNAPSHOT_FORMAT_VERSION } from "../../core/ledger/snapshot-format.ts";
import type { DiskRequest } from "../ports.ts";
import { decodeFrame } from "./frames.ts";

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

/** The leader's message with the last batch of a ledger. */
function lastBatchOf({ entries }: SnapshotNetwork): Bytes {
  return appendFrame(entries, entries.length);
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
  const core = startCore(network.upTo(network.entries.length - 1), [], { persisted, hasPeers: true });
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
    const core = startCore(network);
    assert.equal(core.administration.appended?.epochs.length, 2);
    core.administration.commit(network.entries.length);
    assert.equal(core.epochKeys.keyOf(2), undefined);
    assert.equal(core.epochKeys.keyOf(1)?.length, 32);
  });
});

describe("the core of a node that starts", () => {
  test("has read its whole ledger, and uses no epoch of it that it does not know to be committed", () => {
    const { network } = ledgerOfTwoEpochs();
    const core = startCore(network);
    assert.equal(core.tail.lastIndex, network.entries.length);
    assert.equal(core.administration.appended?.epochs.length, 2);
    assert.equal(core.administration.committed, undefined);
    assert.deepEqual([core.sealing.epoch, core.epochKeys.newest], [0, 0]);
    assert.deepEqual([core.epochKeys.keyOf(1), core.epochKeys.keyOf(2)], [undefined, undefined]);
  });

  test("knows what a snapshot holds to be committed, and nothing behind it", () => {
    const { network, node } = ledgerOfTwoEpochs();
    const core = startCore(network, node.disk.stored);
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
      const core = startCore(network, node.disk.stored, { damage: { index, lastIndex, lastTerm: 2 }, persisted });
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
        assert.throws(() => startCore(network, [], { change: changed }), { code: "LedgerCorrupt", data: { index } });
      }
    }
    const junk = (entry: LogEntry): LogEntry =>
      entry.index === 2 ? { ...entry, data: utf8Encode("\u0001junk") } : entry;
    assert.throws(() => startCore(network, [], { change: junk }), { code: "LedgerCorrupt", data: { index: 2 } });
  });

  test("refuses a ledger with a batch of a later version, which is no damage", () => {
    const { network } = ledgerOfTwoEpochs();
    for (const { index } of network.entries) {
      const later = (entry: LogEntry): LogEntry =>
        entry.index === index ? { ...entry, data: entry.data.with(0, BATCH_FORMAT_VERSION + 1) } : entry;
      assert.throws(() => startCore(network, [], { change: later }), { code: "LedgerTooNew" });
    }
  });

  test("refuses a snapshot of a later version, though the ledger holds without it", () => {
    const { network, node } = ledgerOfTwoEpochs();
    const [snapshot] = node.disk.stored;
    assert.ok(snapshot);
    const version = SNAPSHOT_FORMAT_VERSION + 1;
    const file = concatBytes(...snapshot.parts())
      .with(7, version)
      .with(14, version);
    const later = { ...snapshot, parts: () => [file] };
    assert.throws(() => startCore(network, [later]), {
      code: "LedgerTooNew",
      data: { version },
    });
  });
});

describe("a node that the others would not follow", () => {
  /** Whether a node that starts and hears of nobody wants to be elected. */
  const campaigns = (network: SnapshotNetwork): boolean => {
    const [sent, clock]: [Bytes[], ManualClock] = [[], new ManualClock()];
    startCore(network, [], { hasPeers: true, sent, clock }).manager.start();
    clock.advanceTo(60_000);
    return sent.some(isVoteRequest);
  };
  const isVoteRequest = (bytes: Bytes): boolean => {
    const frame = decodeFrame(bytes);
    return frame.type === "consensus" && frame.message.type === "vote";
  };

  test("does not campaign when its signature does not count any more", () => {
    const network = new SnapshotNetwork();
    const node = new SnapshotNode(network);
    node.found();
    assert.equal(campaigns(network), true, "a listed node does");
    const state = () => {
      const { committed } = node.administration;
      assert.ok(committed);
      return committed;
    };
    const { founded } = network;
    const remaining = founded.constitution.nodes.filter((_, place) => place !== 1);
    const requests = founded.changeNodes(state(), remaining, 0);
    node.administrate(requests.map((message) => encodeAdministrative({ type: "request", ...message })));
    assert.equal(campaigns(network), true, "one that was voted out does while its vote is needed");
    const previous = state().configuration.current;
    const current = { ...previous, voters: remaining.map(({ nodeId }) => nodeId) };
    for (const before of [previous, undefined])
      node.administrate([encodeAdministrative({ type: "configure", current, previous: before, learners: [] })]);
    node.administrate([
      encodeAdministrative(founded.epochMaker((length) => new Uint8Array(length).fill(8)).epoch(state())),
    ]);
    // It does not know yet that this is committed: consensus alone would let it try.
    assert.equal(campaigns(network), false);
  });

  test("does not campaign while it waits for the key of what is committed", () => {
    for (const opens of [true, false]) {
      const network = new SnapshotNetwork();
      const leader = new SnapshotNode(network);
      leader.found();
      leader.forge([{ id: EMPTY, publicPart: EMPTY, privatePart: EMPTY, claimsDigest: undefined }]);
      const [sent, clock]: [Bytes[], ManualClock] = [[], new ManualClock()];
      const core = startCore(network, [], { hasPeers: true, sent, clock, opens, worker: () => undefined });
      core.manager.frame(leader.nodeId, appendFrame(network.entries, 3, { commitIndex: 2 }));
      assert.deepEqual([core.manager.status.commitIndex, core.manager.waitsForKeys], [2, !opens]);
      core.manager.start();
      clock.advanceTo(60_000);
      assert.equal(sent.some(isVoteRequest), opens);
    }
  });
});
