import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SnapshotNetwork, SnapshotNode } from "../../../test/support/snapshot-node.ts";
import { type Bytes, utf8Encode } from "../../core/codec/bytes.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { encodeAdministrative } from "../../core/governance/administrative.ts";
import type { DiskContent, StoredSnapshot } from "../ports.ts";
import { NodeCore } from "./node-core.ts";

/** The ledger of a network that has opened its second epoch. */
function ledgerOfTwoEpochs() {
  const network = new SnapshotNetwork();
  const node = new SnapshotNode(network);
  node.found();
  node.execute(7);
  node.run();
  node.confirm(node.unconfirmed);
  const state = node.administration.committed;
  assert.ok(state);
  const { founded } = network;
  const maker = founded.epochMaker((length) => new Uint8Array(length).fill(8));
  const bundle = founded.askForEpoch(state);
  node.administrate([{ type: "decision", bundle } as const, maker.epoch(state)].map(encodeAdministrative));
  return { network, node };
}

function flipped(bytes: Bytes, position: number): Bytes {
  return bytes.map((byte, at) => (at === position ? byte ^ 1 : byte));
}

/** A core that starts from what is on its disk, and hears of nobody. */
function start(
  { founded, entries }: SnapshotNetwork,
  snapshots: readonly StoredSnapshot[] = [],
  change = (entry: LogEntry) => entry,
): NodeCore {
  const { nodeId } = founded.constitution.nodes[1] ?? { nodeId: "" };
  const content: DiskContent = {
    hardState: { term: 2, votedFor: undefined },
    snapshots,
    firstIndex: 1,
    entriesFrom: (index) => entries.slice(index - 1).map(change),
    damage: undefined,
  };
  const unused = (): never => assert.fail("nothing is done before the node runs");
  return new NodeCore({
    nodeId,
    genesis: founded.constitution,
    networkId: founded.networkId,
    crypto: founded.cryptoOf(1),
    governanceCrypto: founded.governanceCrypto,
    clock: { now: () => 0, wallTime: () => 0, after: () => () => undefined },
    randomBytes: (length) => new Uint8Array(length),
    disk: { persist: unused, read: unused, createSnapshot: unused, readSnapshot: unused, removeSnapshot: unused },
    content,
    tookPart: true,
    peers: { send: unused },
    tracer: { event: () => undefined },
    startExecutor: () => ({ send: unused }),
    firstTransactions: unused,
    approval: undefined,
    openEpoch: (record) => founded.openEpoch(record, nodeId),
    epochMaker: founded.epochMaker((length) => new Uint8Array(length)),
    onGovernance: unused,
    onFatal: unused,
  });
}

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

  test("refuses a ledger with a byte changed in any batch, naming it", () => {
    const { network } = ledgerOfTwoEpochs();
    for (const { index, data } of network.entries) {
      // In the header, and in the signature.
      for (const position of [20, data.length - 1]) {
        const changed = (entry: LogEntry): LogEntry =>
          entry.index === index ? { ...entry, data: flipped(entry.data, position) } : entry;
        assert.throws(() => start(network, [], changed), { code: "LedgerCorrupt", data: { index } });
      }
    }
    const junk = (entry: LogEntry): LogEntry => (entry.index === 2 ? { ...entry, data: utf8Encode("junk") } : entry);
    assert.throws(() => start(network, [], junk), { code: "LedgerCorrupt", data: { index: 2 } });
  });
});
