import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { KV_ADAPTER_ID } from "../../../test/simulation/founding.ts";
import { SnapshotNetwork, SnapshotNode } from "../../../test/support/snapshot-node.ts";
import { type Bytes, concatBytes } from "../../core/codec/bytes.ts";
import type { Ready, SnapshotMark } from "../../core/consensus/types.ts";
import { SnapshotWriter } from "../../core/ledger/snapshot.ts";
import { makeKeeperSeal } from "../../core/ledger/snapshot-keeper.ts";
import { IMPORT_PARTS_WAITING_MAX, OpenedSnapshot, SNAPSHOT_BYTES_MAX, SnapshotReceiver } from "./snapshot-receiver.ts";

type Part = Ready["snapshotParts"][number];

/** A snapshot cut into parts, and a node that receives it: its disk and its worker answer when told. */
class Bench {
  readonly prepared: number[] = [];
  readonly #target = {
    executor: { send: () => this.untaken++, close: () => undefined },
    keepsState: true,
    isRestoring: false,
    committedVersion: () => 0,
    restore: () => assert.fail("nothing is installed"),
  };
  readonly parts: Part[] = [];
  /** Writes the disk has not answered. */
  readonly writes: (() => void)[] = [];
  /** Parts the worker has not taken. */
  untaken = 0;
  abandoned = 0;
  readonly stored: (SnapshotMark | undefined)[] = [];
  readonly receiver: SnapshotReceiver;

  /** @param make what the leader makes of its snapshot */
  constructor(pieceBytes: number, make: (file: Bytes, from: SnapshotNode) => Bytes = (file) => file) {
    const from = new SnapshotNode(new SnapshotNetwork(100));
    from.found();
    for (let batches = 0; batches < 20; batches++) from.execute(9);
    from.run();
    const snapshot = from.unconfirmed.mark;
    const data = make(from.disk.files.get(snapshot.index) as Bytes, from);
    for (let offset = 0; offset < data.length; offset += pieceBytes) {
      const piece = data.subarray(offset, offset + pieceBytes);
      this.parts.push({ from: from.nodeId, snapshot, offset, data: piece, last: offset + pieceBytes >= data.length });
    }
    const unused = (): never => assert.fail("only snapshots are written");
    this.receiver = new SnapshotReceiver({
      ...from.opening,
      nodeId: from.nodeId,
      publicKeyOf: (nodeId) => from.administration.publicKeyOf(nodeId),
      requireContinuation: () => undefined,
      disk: {
        ...{ persist: unused, read: unused, readSnapshot: unused, removeSnapshot: unused },
        createSnapshot: () => ({
          append: (_data, done) => void this.writes.push(done),
          finish: (done) => void this.writes.push(done),
          abandon: () => {
            this.writes.length = 0;
            this.abandoned++;
          },
        }),
      },
      targets: (adapterId) => (adapterId === KV_ADAPTER_ID ? this.#target : undefined),
      prepare: (adapters) => this.prepared.push(...adapters.map(({ id }) => id)),
      tracer: { event: () => undefined },
      stored: (mark) => this.stored.push(mark),
    });
  }

  /** Whether a part was taken at once, or waits. */
  offer(part: Part | undefined): boolean {
    assert.ok(part);
    let taken = false;
    this.receiver.whenRoom(() => {
      taken = true;
      this.receiver.receive(part);
    });
    return taken;
  }

  take(): void {
    this.untaken--;
    this.receiver.taken(KV_ADAPTER_ID);
  }
}

describe("a snapshot that is received", () => {
  test("never has more than one part that is not written, and is taken whole", () => {
    const bench = new Bench(200);
    const [first, ...others] = bench.parts;
    assert.ok(others.length > 5 && bench.offer(first));
    for (const part of others) {
      assert.equal(bench.offer(part), false);
      assert.equal(bench.writes.length, 1);
      bench.writes.shift()?.();
      while (bench.untaken > 0) bench.take();
    }
    while (bench.writes.length > 0) bench.writes.shift()?.();
    assert.deepEqual(bench.stored, [first?.snapshot]);
  });

  test("waits for workers that have not taken what they were sent", () => {
    const bench = new Bench(60);
    for (const part of bench.parts) {
      if (bench.untaken >= IMPORT_PARTS_WAITING_MAX) {
        assert.equal(bench.offer(part), false);
        while (bench.writes.length > 0 && bench.untaken > 0) bench.take();
        assert.equal(bench.writes.length, 0);
        while (bench.untaken > 0) bench.take();
        assert.ok(bench.writes.length > 0, "it was taken when there was room");
      } else assert.equal(bench.offer(part), true);
      bench.writes.shift()?.();
    }
    assert.deepEqual(bench.stored.length, 0, "the disk has not finished it");
    while (bench.writes.length > 0) bench.writes.shift()?.();
    assert.deepEqual(bench.stored, [bench.parts[0]?.snapshot]);
  });

  test("keeps only the newest part that waits", () => {
    const bench = new Bench(200);
    const [first, second, third] = bench.parts;
    assert.equal(bench.offer(first), true);
    assert.equal(bench.offer(third), false);
    assert.equal(bench.offer(second), false);
    bench.writes.shift()?.();
    assert.deepEqual([bench.writes.length, bench.stored], [1, []], "the third alone would not have fitted");
    bench.writes.shift()?.();
    assert.deepEqual([bench.writes.length, bench.abandoned], [0, 0]);
  });

  test("is refused without the state of an adapter that it names: installing it would end the node", () => {
    const bench = new Bench(1_000_000, (file, { opening, nodeId }) => {
      const opened = new OpenedSnapshot(opening, () => undefined);
      opened.feed(file);
      const { complete } = opened;
      assert.ok(complete);
      const epochKey = opening.epochKeyOf(1, complete.state);
      assert.ok(epochKey);
      const { crypto, networkId } = opening;
      const sealing = { signer: new Uint8Array(32), salt: new Uint8Array(16).fill(0xee), counter: 0 };
      const writer = new SnapshotWriter(complete.manifest, sealing, { crypto, epochKey });
      const body = concatBytes(...writer.begin(), writer.end());
      const kept = { networkId, index: complete.mark.index, digest: writer.digest() };
      return concatBytes(body, makeKeeperSeal(kept, nodeId, crypto));
    });
    for (const part of bench.parts) bench.offer(part);
    assert.deepEqual([bench.parts.length, bench.stored, bench.abandoned], [1, [undefined], 1]);
  });

  test("is refused when it does not end", () => {
    const bench = new Bench(200);
    const [first, second] = bench.parts;
    assert.ok(first && second);
    bench.offer(first);
    bench.offer({ ...second, offset: SNAPSHOT_BYTES_MAX - second.data.length + 1 });
    bench.writes.shift()?.();
    assert.deepEqual([bench.stored, bench.abandoned], [[undefined], 1]);
    assert.equal(bench.offer(first), true, "and can begin anew");
  });
});
