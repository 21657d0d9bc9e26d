import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { KV_ADAPTER_ID } from "../../../test/simulation/founding.ts";
import { SnapshotNetwork, SnapshotNode } from "../../../test/support/snapshot-node.ts";
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import type { DiskContent } from "../ports.ts";
import type { ToWorker } from "../worker/protocol.ts";
import { IMPORT_PARTS_WAITING_MAX, type SnapshotOpening } from "./snapshot-receiver.ts";
import { CocoError } from "../../errors.ts";
import { type Beginning, chooseSnapshot, importStored } from "./stored-snapshot.ts";

/** A network of one ledger, and every snapshot file that a node of it ever had. */
class Bench {
  readonly network = new SnapshotNetwork();
  readonly node = new SnapshotNode(this.network);
  readonly files = new Map<number, Bytes>();
  readonly traced: string[] = [];

  constructor() {
    this.node.found();
  }

  /** Commits batches until a snapshot is due, and makes it; its index. */
  snapshot(): number {
    this.node.execute(9);
    this.node.run();
    const { index } = this.node.unconfirmed.mark;
    this.files.set(index, this.node.disk.files.get(index) ?? new Uint8Array());
    return index;
  }

  /** Commits evidence of the newest snapshot, true or with another digest; the index of its batch. */
  evidence(digest?: Bytes): number {
    return this.node.confirm(this.node.unconfirmed, digest);
  }

  /** What a disk holds: the entries between two indexes, and the files, newest first. */
  content({ firstIndex = 1, lastIndex = Number.POSITIVE_INFINITY, files = this.files } = {}): DiskContent {
    return {
      hardState: undefined,
      snapshots: [...files]
        .sort(([left], [right]) => right - left)
        .map(([index, bytes]) => ({ index, bytes: bytes.length, parts: () => [bytes] })),
      firstIndex,
      entriesFrom: (index) =>
        this.network.entriesFrom(Math.max(index, firstIndex)).filter((entry) => entry.index <= lastIndex),
      damage: undefined,
    };
  }

  /** Index of the snapshot that a node begins from; undefined when it reads its ledger from the first entry. */
  choose(content: DiskContent, opening: SnapshotOpening = this.node.opening): number | undefined {
    const tracer = { event: (_level: string, event: string) => void this.traced.push(event) };
    const beginning = chooseSnapshot(content, opening, this.node, tracer);
    assert.equal(beginning?.stored.index, beginning?.snapshot.mark.index);
    return beginning?.stored.index;
  }
}

/** A ledger with two snapshots and evidence of both. */
function withTwo() {
  const bench = new Bench();
  const first = bench.snapshot();
  const firstEvidence = bench.evidence();
  const second = bench.snapshot();
  const secondEvidence = bench.evidence();
  bench.node.execute(1);
  return { bench, first, firstEvidence, second, secondEvidence };
}

describe("the snapshot to begin from", () => {
  test("is the newest of which the ledger behind it has evidence", () => {
    const { bench, first, firstEvidence, second, secondEvidence } = withTwo();
    assert.equal(bench.choose(bench.content()), second);
    assert.equal(bench.choose(bench.content({ lastIndex: secondEvidence })), second);
    assert.deepEqual(bench.traced, []);
    assert.equal(bench.choose(bench.content({ lastIndex: secondEvidence - 1 })), first);
    assert.equal(bench.choose(bench.content({ lastIndex: firstEvidence })), first);
    assert.equal(bench.choose(bench.content({ lastIndex: firstEvidence - 1 })), undefined);
    assert.ok(bench.traced.length > 0 && bench.traced.every((event) => event === "snapshot_passed_over"));
  });

  test("is none of which the evidence has another digest", () => {
    const bench = new Bench();
    const first = bench.snapshot();
    bench.evidence();
    bench.snapshot();
    bench.evidence(new Uint8Array(32).fill(1));
    assert.equal(bench.choose(bench.content()), first);
  });

  test("needs evidence of itself: that of another snapshot does not count", () => {
    const { bench, first, second } = withTwo();
    bench.files.delete(first);
    const onlySecond = bench.content({ lastIndex: second });
    assert.equal(bench.choose(onlySecond), undefined);
  });

  test("may be without evidence where the log begins right after it, since nothing else is there", () => {
    const { bench, first, second } = withTwo();
    const at = (firstIndex: number) => bench.content({ firstIndex, lastIndex: firstIndex });
    assert.equal(bench.choose(at(second + 1)), second);
    assert.equal(bench.choose(at(first + 1)), first, "the newer one has no evidence there");
  });

  test("may be without evidence on a node that lost entries, to which its peers send them again", () => {
    const { bench, firstEvidence, second } = withTwo();
    const damage = { index: firstEvidence, lastIndex: second + 1, lastTerm: 2 };
    assert.equal(bench.choose({ ...bench.content({ lastIndex: firstEvidence - 1 }), damage }), second);
    const gap = { ...bench.content({ firstIndex: second + 2 }), damage };
    assert.throws(() => bench.choose(gap), { code: "LedgerCorrupt" }, "a gap stays a gap");
  });

  test("leaves no gap before the first entry of the log", () => {
    const bench = new Bench();
    const index = bench.snapshot();
    bench.node.execute(1);
    bench.node.execute(1);
    bench.evidence();
    assert.equal(bench.choose(bench.content()), index);
    const lost = { code: "LedgerCorrupt", data: { index: index + 2 } };
    assert.throws(() => bench.choose(bench.content({ firstIndex: index + 2 })), lost);
    const none = { firstIndex: index + 2, files: new Map<number, Bytes>() };
    assert.throws(() => bench.choose(bench.content(none)), lost);
    assert.equal(bench.choose(bench.content({ files: none.files })), undefined, "the log begins with the first entry");
  });

  test("is not one with a byte changed, or cut off: the one before it is taken", () => {
    const { bench, first, second } = withTwo();
    const whole = bench.files.get(second) ?? new Uint8Array();
    // The name of the network is compared before anything else, and ends the start: see below.
    const networkAt = toHex(whole).indexOf(bench.node.opening.networkId) / 2;
    assert.ok(networkAt > 0);
    const namesNetwork = (position: number) => position >= networkAt && position < networkAt + 32;
    const changed = (bytes: Bytes) => bench.choose(bench.content({ files: new Map(bench.files).set(second, bytes) }));
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 7 }), fc.boolean(), (position, bit, cut) => {
        fc.pre(cut || !namesNetwork(position));
        const bytes = cut
          ? whole.slice(0, position)
          : whole.map((byte, at) => (at === position ? byte ^ (1 << bit) : byte));
        assert.equal(changed(bytes), first);
      }),
      { numRuns: 60 },
    );
    assert.ok(bench.traced.every((event) => event === "snapshot_damaged"));
  });

  test("is the one of its index, whatever its file is called", () => {
    const { bench, first, second } = withTwo();
    const files = new Map([[second, bench.files.get(first) ?? new Uint8Array()]]);
    assert.equal(bench.choose(bench.content({ files })), undefined);
    assert.deepEqual(bench.traced, ["snapshot_damaged"]);
  });

  test("is none that this node has no key for", () => {
    const { bench } = withTwo();
    const opening = { ...bench.node.opening, epochKeyOf: () => undefined };
    assert.equal(bench.choose(bench.content(), opening), undefined);
  });

  test("is of this network: a folder of another one ends the start", () => {
    const { bench } = withTwo();
    const opening = { ...bench.node.opening, networkId: "00".repeat(32) };
    const foreign = { code: "FolderOfAnotherNetwork" };
    assert.throws(() => bench.choose(bench.content(), opening), foreign);
  });

  test("goes to the workers piece by piece, no further ahead than the bound, and is whole there before the node begins", () => {
    const { bench, second } = withTwo();
    const { opening } = bench.node;
    const bytes = bench.files.get(second) ?? new Uint8Array();
    // As the disk gives it: in pieces, here one byte each.
    const stored = {
      index: second,
      bytes: bytes.length,
      parts: () => Array.from(bytes, (byte) => Uint8Array.of(byte)),
    };
    const beginning = chooseSnapshot({ ...bench.content(), snapshots: [stored] }, opening, bench.node, {
      event: () => undefined,
    });
    assert.ok(beginning);
    const { sent, timers, restored, done, workers } = startImport(beginning, opening);
    let taken = 0;
    const settle = (): void => {
      while (timers.length > 0) timers.shift()?.();
    };
    for (settle(); restored.length === 0; settle()) {
      assert.ok(sent.length - taken <= IMPORT_PARTS_WAITING_MAX, `${sent.length - taken} parts wait`);
      assert.equal(done.count, 0);
      taken++;
      workers.taken(KV_ADAPTER_ID);
    }
    assert.deepEqual([done.count, restored], [1, [[2, second]]]);
    assert.ok(sent.length > IMPORT_PARTS_WAITING_MAX);
    const parts = sent.map((message) => (message.type === "importSnapshot" ? [message.first, message.last] : []));
    assert.deepEqual(
      [parts[0], parts.at(-1)],
      [
        [true, false],
        [false, true],
      ],
    );
    assert.ok(parts.slice(1, -1).every(([first, last]) => first === false && last === false));
  });

  test("is read again to be handed out: what cannot be read, or is another one by then, ends the start", () => {
    const { bench, first, second } = withTwo();
    const { opening } = bench.node;
    const whole = bench.files.get(second) ?? new Uint8Array();
    const unreadable = (): Iterable<Uint8Array> => {
      throw new CocoError("DiskFailed", "cannot be read");
    };
    const others: readonly (() => Iterable<Uint8Array>)[] = [
      () => [bench.files.get(first) ?? new Uint8Array()],
      () => [whole.slice(0, whole.length / 2)],
      () => [],
      unreadable,
    ];
    for (const other of others) {
      let reads = 0;
      const stored = { index: second, bytes: whole.length, parts: () => (reads++ === 0 ? [whole] : other()) };
      const beginning = chooseSnapshot({ ...bench.content(), snapshots: [stored] }, opening, bench.node, {
        event: () => undefined,
      });
      assert.ok(beginning);
      const { timers, restored, done, failures } = startImport(beginning, opening);
      while (timers.length > 0) timers.shift()?.();
      assert.deepEqual([done.count, restored, failures.map(({ code }) => code)], [0, [], ["DiskFailed"]]);
    }
  });
});

/** Imports a snapshot into a worker that says nothing by itself. */
function startImport(beginning: Beginning, opening: SnapshotOpening) {
  const sent: ToWorker[] = [];
  const timers: (() => void)[] = [];
  const restored: (readonly [version: number, index: number])[] = [];
  const after = (_delayMs: number, callback: () => void) => {
    timers.push(callback);
    return () => undefined;
  };
  const adapter = {
    executor: { send: (message: ToWorker) => sent.push(message), close: () => undefined },
    keepsState: true,
    isRestoring: false,
    committedVersion: () => 0,
    restore: (version: number, index: number) => restored.push([version, index]),
  };
  const done = { count: 0 };
  const failures: CocoError[] = [];
  const world = {
    targets: () => adapter,
    clock: { now: () => 0, wallTime: () => 0, after },
    onFatal: (error: CocoError) => failures.push(error),
  };
  const workers = importStored(beginning, opening, world, () => done.count++);
  return { sent, timers, restored, done, workers, failures };
}
