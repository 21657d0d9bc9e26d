import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { confirmed, load, PART_BYTES, transfer, withSnapshot } from "../../../test/support/snapshot-transfer.ts";
import { SnapshotNetwork, SnapshotNode, stateOf } from "../../../test/support/snapshot-node.ts";
import { type Bytes, concatBytes, EMPTY, toHex } from "../../core/codec/bytes.ts";
import { encodeAdministrative } from "../../core/governance/administrative-codec.ts";
import { DOUBTED_BEGINNINGS, DOUBTED_SNAPSHOT_INTERVAL_MS } from "./snapshot-doubts.ts";
import { SENT_SNAPSHOT_IDLE_MS, SENT_SNAPSHOT_KEPT_MS } from "./sent-snapshots.ts";

describe("a snapshot of one's own", () => {
  test("is taken where the transactions pass a multiple of the setting, and is the same on every node", () => {
    const { network, node, index } = withSnapshot();
    assert.deepEqual([...node.disk.files.keys()], [index]);
    assert.equal(node.unconfirmed.mark.index, index);
    assert.equal(node.unconfirmed.seqno, node.tail.lastSeqno);
    const other = new SnapshotNode(network, 1);
    other.follow();
    assert.equal(other.snapshots.unconfirmed, undefined, "not before it is durable");
    other.run();
    assert.deepEqual(other.unconfirmed, node.unconfirmed);
    assert.notDeepEqual(
      other.disk.files.get(index),
      node.disk.files.get(index),
      "each node seals under a salt of its own",
    );
    node.execute(1);
    node.run();
    assert.deepEqual([...node.disk.files.keys()], [index]);
  });

  test("holds the state of its place, though batches are committed while it is written", () => {
    const still = withSnapshot();
    const { network } = still;
    const busy = new SnapshotNode(network, 1);
    busy.follow();
    still.node.execute(1);
    for (let step = 0; step < 40; step++) {
      busy.run(1);
      busy.follow();
    }
    assert.deepEqual(busy.unconfirmed, still.node.unconfirmed);
  });

  test("compacts the log when evidence of it is committed and on this node's own disk, once", () => {
    const { node, index } = withSnapshot();
    const own = node.unconfirmed;
    node.durable();
    node.confirm(own);
    assert.deepEqual(node.compacted, [], "a crash would lose the evidence");
    assert.equal(load(node, 0).snapshot, undefined);
    node.durable();
    assert.deepEqual(node.compacted, [own.mark]);
    assert.deepEqual([node.tail.firstIndex, node.snapshots.unconfirmed], [index + 1, undefined]);
    node.execute(1);
    node.durable();
    assert.equal(node.compacted.length, 1);
    assert.deepEqual(node.fatal, []);
  });

  test("may be finished after its evidence", () => {
    const { network, node, index } = confirmed();
    const slow = new SnapshotNode(network, 1);
    slow.follow();
    slow.durable();
    assert.deepEqual(slow.compacted, []);
    slow.run();
    assert.deepEqual(slow.compacted, node.compacted);
    assert.equal(slow.tail.firstIndex, index + 1);
  });

  for (const order of ["before", "after"] as const) {
    test(`that differs from the evidence stops the node: finished ${order} the evidence`, () => {
      const { network, node, index } = withSnapshot();
      const evidence = node.unconfirmed;
      const astray = new SnapshotNode(network, 1);
      astray.follow(({ header }) => new Uint8Array(10).fill(header.index === index ? 0 : header.index));
      if (order === "before") astray.run();
      node.confirm(evidence);
      astray.follow();
      astray.durable();
      astray.run();
      assert.ok(astray.fatal.length > 0);
      for (const { code, data } of astray.fatal) assert.deepEqual([code, data], ["StateDiverged", { index }]);
      assert.deepEqual([astray.compacted, astray.tail.firstIndex], [[], 1], "its log is still there to be looked at");
      assert.equal(load(astray, 0).snapshot, undefined, "no peer gets that state");
    });
  }

  test("is given up when the disk is full, which frees its room; the next one is made at its time", () => {
    const node = new SnapshotNode(new SnapshotNetwork());
    node.found();
    node.execute(7);
    node.run(1);
    node.snapshots.diskFull(true);
    node.run();
    assert.deepEqual([node.disk.files.size, node.snapshots.unconfirmed], [0, undefined]);
    assert.deepEqual(node.traced, ["snapshot_skipped"]);
    node.snapshots.diskFull(true);
    assert.deepEqual(node.traced, ["snapshot_skipped"], "nothing is under way");
    node.execute(10);
    node.run();
    assert.equal(node.disk.files.size, 1);
    assert.ok(node.snapshots.unconfirmed);
  });

  test("stays until one that took its place is confirmed", () => {
    const { node, index } = confirmed();
    node.execute(9);
    node.run();
    const second = node.unconfirmed;
    assert.deepEqual([...node.disk.files.keys()], [index, second.mark.index]);
    node.execute(9);
    node.run();
    const third = node.unconfirmed;
    assert.deepEqual([...node.disk.files.keys()], [index, third.mark.index], "the second will never have evidence");
    node.confirm(third);
    node.run();
    assert.deepEqual([...node.disk.files.keys()], [index, third.mark.index]);
    node.durable();
    assert.deepEqual([...node.disk.files.keys()], [third.mark.index]);
    assert.deepEqual(node.compacted.at(-1), third.mark);
  });

  test("stays as long as a peer is being sent it, however many take its place; one at a time, and not for longer", () => {
    const { node, index } = confirmed();
    const next = (): number => {
      node.execute(7);
      node.run();
      const { mark } = node.unconfirmed;
      node.confirm(node.unconfirmed);
      node.durable();
      node.run();
      return mark.index;
    };
    const readOn = (sent: number, offset: number): boolean => load(node, offset, sent).snapshot?.index === sent;
    const { data } = load(node, 0);
    const file = node.disk.files.get(index) ?? assert.fail("no snapshot");
    const pieces = [data];
    let newest = 0;
    for (let offset = data.length; offset < file.length; ) {
      newest = next();
      node.nowMs += SENT_SNAPSHOT_IDLE_MS - 1;
      const part = load(node, offset, index);
      assert.equal(part.snapshot?.index, index);
      assert.ok(load(node, 1, newest).snapshot, "another peer begins with the newest");
      pieces.push(part.data);
      offset += part.data.length;
      assert.deepEqual([...node.disk.files.keys()], [index, newest]);
    }
    assert.ok(pieces.length > 2);
    assert.deepEqual(concatBytes(...pieces), file);
    node.nowMs += SENT_SNAPSHOT_IDLE_MS;
    node.execute(1);
    assert.deepEqual([...node.disk.files.keys()], [newest], "nobody was sent any of it for a while");
    load(node, 0);
    const last = next();
    for (let passedMs = 0; passedMs < SENT_SNAPSHOT_KEPT_MS - 1_000; passedMs += 1_000) {
      assert.ok(readOn(newest, 1));
      node.nowMs += 1_000;
    }
    node.nowMs += 1_000;
    assert.ok(!readOn(newest, 1), "a transfer without end");
    assert.deepEqual([...node.disk.files.keys()], [last]);
  });

  test("is given up when the worker does not keep its state, and the next one is made all the same", () => {
    const network = new SnapshotNetwork();
    const node = new SnapshotNode(network);
    node.found();
    node.execute(7);
    const sealed = network.nonces.sealedCount;
    node.run(4);
    node.worker.keeps = false;
    node.run();
    assert.ok(network.nonces.sealedCount > sealed, "a part of it was written");
    assert.deepEqual(
      [node.snapshots.unconfirmed, [...node.disk.files], node.traced],
      [undefined, [], ["snapshot_skipped"]],
    );
    node.worker.keeps = true;
    const index = node.execute(9);
    node.run();
    // The watch over nonces of the network has seen both.
    assert.equal(node.unconfirmed.mark.index, index);
  });

  test("is not taken of a state that waits for keys", () => {
    const { network, node } = withSnapshot();
    const without = new SnapshotNode(network, 1);
    without.opens = false;
    without.follow();
    without.run();
    assert.deepEqual([without.snapshots.unconfirmed, [...without.disk.files]], [undefined, []]);
    node.confirm(node.unconfirmed);
    without.follow();
    without.durable();
    assert.deepEqual([without.compacted, without.fatal], [[], []], "it has nothing to compare the evidence with");
  });

  test("is left out while the one before is being written", () => {
    const { node, index } = withSnapshot();
    const first = node.execute(9);
    node.execute(9);
    assert.deepEqual(node.traced, ["snapshot", "snapshot_skipped"]);
    node.run();
    assert.equal(node.unconfirmed.mark.index, first);
    assert.ok(first > index);
  });

  test("made because of doubts gives way to the one that is due, whose state it does not mix up with its own", () => {
    const { network, node, index } = confirmed();
    node.execute(18 - node.tail.lastSeqno);
    const doubt = (): void => {
      for (let count = 0; count < DOUBTED_BEGINNINGS; count++)
        node.snapshots.load({ peer: "peer", index: undefined, offset: 0, maxBytes: 9, heard: true }, () => undefined);
    };
    const isExporting = () => node.worker.sent.filter(({ type }) => type === "nextPart").length;
    const asked = isExporting();
    doubt();
    while (isExporting() === asked) node.run(1);
    // A batch of governance: the adapter's version stays the one that is being exported.
    const state = node.administration.committed ?? assert.fail("no governance");
    const requests = network.founded.askForEpoch(state, 0);
    const due = node.administrate(requests.map((message) => encodeAdministrative({ type: "request", ...message })));
    node.run();
    assert.deepEqual([...node.disk.files.keys()], [index, due]);
    assert.equal(node.unconfirmed.mark.index, due);
    const other = new SnapshotNode(network, 1);
    for (const last of [index, due]) {
      other.follow(stateOf, last);
      other.run();
    }
    assert.deepEqual(other.unconfirmed, node.unconfirmed, "the same as on a node that doubted nothing");
  });

  test("is made because of doubts when a peer that answers begins it again and again, not while the next waits for evidence", () => {
    const { node, index } = confirmed();
    const begin = (heard: boolean): void => {
      for (let count = 0; count < 9; count++)
        node.snapshots.load({ peer: "peer", index: undefined, offset: 0, maxBytes: 9, heard }, () => undefined);
      node.run();
    };
    begin(false);
    assert.deepEqual(
      [...node.disk.files.keys(), node.traced.length],
      [index, 1],
      "a peer that is down says nothing of it",
    );
    begin(true);
    const again = node.unconfirmed.mark.index;
    assert.deepEqual([...node.disk.files.keys()], [index, again]);
    node.execute(1);
    node.nowMs = 10 * DOUBTED_SNAPSHOT_INTERVAL_MS;
    begin(true);
    assert.equal(node.unconfirmed.mark.index, again);
  });

  test("after a grant is made up for when it was left out: without it the new node could open none", () => {
    const node = new SnapshotNode(new SnapshotNetwork(0));
    node.found();
    const [first, second] = node.admitAll();
    assert.deepEqual(node.traced, ["snapshot_skipped"], "the one after the first grant is not finished");
    node.run();
    assert.deepEqual([...node.disk.files.keys()], [second]);
    assert.equal(node.unconfirmed.mark.index, second);
    assert.ok(first !== undefined && second !== undefined && second > first);
  });

  test("after a grant is made up for when the disk had no room", () => {
    const node = new SnapshotNode(new SnapshotNetwork(0));
    node.found();
    const [, second] = node.admitAll();
    node.run(1);
    node.snapshots.diskFull(true);
    node.run();
    assert.equal(node.disk.files.size, 0);
    node.snapshots.diskFull(false);
    node.run();
    assert.equal(node.unconfirmed.mark.index, second);
  });
});

describe("a snapshot for a peer", () => {
  test("is read in parts, by index, and only while it is the confirmed one", () => {
    const { node, index } = confirmed();
    const pieces: Bytes[] = [];
    for (let offset = 0, ended = false; !ended; ) {
      const { snapshot, data, last } = load(node, offset, offset === 0 ? undefined : index);
      assert.equal(snapshot?.index, index);
      assert.ok(data.length <= PART_BYTES);
      pieces.push(data);
      offset += data.length;
      ended = last;
    }
    assert.ok(pieces.length > 1);
    assert.deepEqual(concatBytes(...pieces), node.disk.files.get(index));
    assert.deepEqual(load(node, 0, index - 1), { snapshot: undefined, data: EMPTY, last: true });
    node.disk.files.clear();
    assert.equal(load(node, 0, index).snapshot, undefined, "gone from the disk");
  });

  test("takes the place of ledger, governance and state there, once consensus says so", () => {
    const { node, index, other } = confirmed();
    const mark = transfer(node, other);
    assert.deepEqual(other.stored, [], "not before it is durable");
    other.run();
    assert.deepEqual(other.stored, [mark]);
    assert.deepEqual([other.tail.lastIndex, other.worker.version], [0, 0], "nothing is replaced yet");
    other.snapshots.install(mark);
    other.run();
    assert.deepEqual([other.tail.firstIndex, other.tail.lastIndex], [index + 1, index]);
    assert.deepEqual(other.tail.toSnapshot(), node.tail.toSnapshot(index));
    assert.deepEqual([other.worker.version, other.worker.restoredIndex], [2, index]);
    assert.deepEqual(other.worker.states.get(2), node.worker.states.get(2));
    assert.equal(load(other, 0).snapshot?.index, index, "and is there for others");
    other.follow();
    assert.equal(toHex(other.tail.root()), toHex(node.tail.root()));
    assert.deepEqual([other.administration.committed, other.fatal], [node.administration.committed, []]);
  });

  test("is refused with any byte changed, and can be sent again", () => {
    const { node, index, other } = confirmed();
    const length = node.disk.files.get(index)?.length ?? 0;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: length - 1 }), fc.integer({ min: 0, max: 7 }), (position, bit) => {
        other.stored.length = 0;
        other.worker.sent.length = 0;
        transfer(node, other, {
          data: (data, offset) => data.map((byte, at) => (offset + at === position ? byte ^ (1 << bit) : byte)),
        });
        other.run();
        assert.deepEqual(other.stored, [undefined]);
        assert.deepEqual([...other.disk.files], []);
        assert.ok(other.worker.sent.every((message) => message.type === "importSnapshot" && !message.last));
      }),
      { numRuns: 60 },
    );
    const mark = transfer(node, other);
    other.run();
    assert.deepEqual(other.stored.at(-1), mark);
    assert.deepEqual([...other.disk.files.keys()], [index]);
  });

  test("is refused when it ends too early or is not the one that was announced", () => {
    const { node, other } = confirmed();
    const { snapshot, data } = load(node, 0);
    assert.ok(snapshot);
    other.snapshots.receive({ from: node.nodeId, snapshot, offset: 0, data, last: true });
    for (const mark of [{ index: snapshot.index + 1 }, { term: 9 }, { configurationIndex: 1 }])
      transfer(node, other, { mark });
    other.run();
    assert.deepEqual(other.stored, [undefined, undefined, undefined, undefined]);
    assert.deepEqual([...other.disk.files], []);
  });

  test("ends one that is being written there, which makes the next one all the same", () => {
    const { node, index, other } = confirmed();
    node.execute(9);
    node.run();
    const second = node.unconfirmed;
    node.confirm(second);
    node.durable();
    other.follow(stateOf, index);
    const mark = transfer(node, other);
    other.run(2);
    other.snapshots.install(mark);
    other.run();
    assert.deepEqual([other.traced, mark], [["snapshot_skipped", "snapshot_installed"], second.mark]);
    node.execute(9);
    node.run();
    other.follow();
    other.run();
    assert.deepEqual([other.unconfirmed, other.fatal], [node.unconfirmed, []]);
  });
});
