import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RealLedger, transactionOf } from "../../../test/support/real-ledger.ts";
import { type Bytes, utf8Encode } from "../../core/codec/bytes.ts";
import { MessageRefused } from "../../core/consensus/acceptance.ts";
import { Raft } from "../../core/consensus/raft.ts";
import type { AppendRequest, Consensus, ConsensusEvent, LogEntry, Ready } from "../../core/consensus/types.ts";
import { type ParsedBatch, parseBatch } from "../../core/ledger/batch-format.ts";
import { LedgerTail } from "../../core/ledger/tail.ts";
import { CocoError } from "../../errors.ts";
import { CheckedData } from "./checked-data.ts";
import { createNodeCrypto, sha256 } from "./node-crypto.ts";
import { Replicator, type SnapshotTransfer } from "./replicator.ts";
import { type LogGovernance, VerifiedLog } from "./verified-log.ts";

/** A ledger of four batches of one leader in one view, in the first of them genesis. */
function ledger(): RealLedger {
  const real = new RealLedger();
  real.found();
  for (const at of [1, 2, 3]) real.add([transactionOf({ publicPart: utf8Encode(`batch ${at}`) })]);
  return real;
}

/** Governance that knows every node, except one until the third batch, and refuses batches at the indexes it is told. */
class ScriptedGovernance implements LogGovernance {
  readonly appended = undefined;
  readonly keyOf: (id: string) => Bytes | undefined;
  listedLater: string | undefined;
  refuses: readonly number[] = [];
  indexes: readonly number[] = [];

  constructor(keyOf: (id: string) => Bytes | undefined) {
    this.keyOf = keyOf;
  }

  publicKeyOf(id: string): Bytes | undefined {
    return id === this.listedLater && this.indexes.length < 3 ? undefined : this.keyOf(id);
  }

  append({ header: { index } }: ParsedBatch): void {
    if (this.refuses.includes(index)) throw new CocoError("ProposalInvalid", "for the test");
    this.indexes = [...this.indexes, index];
  }

  truncate(fromIndex: number): void {
    this.indexes = this.indexes.filter((index) => index < fromIndex);
  }

  before(index: number): ScriptedGovernance {
    const copy = Object.assign(new ScriptedGovernance(this.keyOf), this);
    copy.truncate(index);
    return copy;
  }
}

/** A follower of "b"; its disk answers when told, and changes what it reads. */
class Follower {
  readonly real = ledger();
  readonly tail = new LedgerTail(sha256);
  readonly committed: number[] = [];
  readonly fatal: string[] = [];
  readonly stored: LogEntry[] = [];
  /** Offsets of the parts of snapshots that were handed out. */
  readonly parts: number[] = [];
  onRoom: (() => void) | undefined;
  /** What is found out about an arrived batch without the ledger. */
  onArrived = (_batch: ParsedBatch): void => undefined;
  readonly governance = new ScriptedGovernance((id) => this.#keyOf(id));
  change = (entry: LogEntry): LogEntry => entry;
  /** What consensus does instead of its work. */
  instead: ((event: ConsensusEvent) => Ready | undefined) | undefined;
  readonly replicator: Replicator;
  readonly #tasks: (() => void)[] = [];
  readonly view: number;

  /** @param restarted the whole ledger is on its disk, and none of it in memory */
  constructor(restarted = false) {
    this.view = this.real.entries[0]?.term ?? 0;
    if (restarted) this.stored.push(...this.real.entries);
    for (const { data } of this.stored) this.tail.append(parseBatch(data));
    const windowBytes = restarted ? 0 : 1_000_000;
    const voters = { voters: ["a", "b", "c"], quorum: { type: "majority" } } as const;
    const raft = new Raft({
      ...{ id: "a", initial: { current: voters, previous: undefined, learners: [] } },
      ...{ configurationOf: () => undefined, random: () => 0.5, electionTimeoutMinMs: 1e8, electionTimeoutMaxMs: 1e9 },
      ...{ heartbeatIntervalMs: 100, maxAppendBytes: 1e6, maxInflightAppends: 8, maxInflightBytes: 8e6, windowBytes },
      ...{
        hardState: undefined,
        trustDisk: () => true,
        tookPart: false,
        restored: { entries: [...this.stored] },
        now: 0,
      },
    });
    const consensus: Consensus = {
      step: (event) => this.instead?.(event) ?? raft.step(event),
      status: () => raft.status(),
    };
    this.replicator = this.#makeReplicator(consensus);
  }

  #makeReplicator(consensus: Consensus): Replicator {
    const nothing = (): void => undefined;
    const { tail, real } = this;
    const [node] = real.network.nodes;
    assert.ok(node);
    const unused = (): never => assert.fail("no snapshots here");
    return new Replicator({
      ...{ consensus, checked: new CheckedData(tail, sha256) },
      log: new VerifiedLog(tail, this.governance, createNodeCrypto(node.privateKey)),
      disk: {
        persist: ({ entries }, done) => {
          this.stored.push(...entries.map((entry) => ({ ...entry, data: entry.data.slice() })));
          this.#tasks.push(done);
        },
        read: (from, _maxBytes, done) =>
          void this.#tasks.push(() => done(this.stored.slice(from - 1).map((entry) => this.change(entry)))),
        ...{ createSnapshot: unused, readSnapshot: unused, removeSnapshot: unused },
      },
      clock: { now: () => 1, wallTime: () => 1, after: () => nothing },
      onArrived: (batch) => this.onArrived(batch),
      ...{ send: nothing, onRoleChanged: nothing, onDurable: nothing },
      ...{ onDropped: nothing, onReads: nothing, snapshots: this.#snapshots() },
      onCommitted: ({ header }) => this.committed.push(header.index),
      onFatal: ({ code }) => this.fatal.push(code),
    });
  }

  #keyOf(id: string): Bytes | undefined {
    return this.real.network.nodes.find(({ request }) => request.nodeId === id)?.request.publicKey;
  }

  #snapshots(): SnapshotTransfer {
    const unused = (): never => assert.fail("only parts are received here");
    return {
      ...{ load: unused, install: unused },
      whenRoom: (callback) => {
        this.onRoom = callback;
      },
      receive: ({ offset }) => this.parts.push(offset),
    };
  }

  /** Receives the batches between two indexes, with copies of their data. */
  receive(from: string, [first, last]: readonly [number, number], changes: Partial<AppendRequest> = {}): void {
    const entries = this.real.entries.slice(first - 1, last).map((entry) => ({ ...entry, data: entry.data.slice() }));
    this.replicator.receive(from, {
      ...{ type: "append", term: this.view, previousIndex: first - 1, previousTerm: first === 1 ? 0 : this.view },
      ...{ commitIndex: 0, round: 0, entries, ...changes },
    });
  }

  /** The disk does what it was asked for. */
  run(): void {
    while (this.#tasks.length > 0) this.#tasks.shift()?.();
  }
}

describe("the consensus driver", () => {
  test("refuses a message that contradicts what is committed, and goes on", () => {
    const node = new Follower();
    node.receive("b", [1, 2], { commitIndex: 2 });
    node.run();
    const claim = { term: node.view + 1, previousTerm: 1 };
    assert.throws(() => node.receive("c", [3, 3], claim), { code: "LedgerForked" });
    assert.throws(() => node.receive("c", [3, 2], claim), { code: "LedgerForked" });
    assert.deepEqual([node.fatal, node.tail.lastIndex, node.replicator.status().lastIndex], [[], 2, 2]);
    node.receive("b", [3, 4], { commitIndex: 4 });
    node.run();
    assert.deepEqual([node.committed, node.fatal], [[1, 2, 3, 4], []]);
  });

  test("takes back a batch whose transactions do not hold, with all that came with it, before consensus sees it", () => {
    const node = new Follower();
    node.receive("b", [1, 2], { commitIndex: 2 });
    node.governance.refuses = [4];
    assert.throws(() => node.receive("b", [3, 4]), { code: "ProposalInvalid" });
    assert.deepEqual([node.fatal, node.tail.lastIndex, node.replicator.status().lastIndex], [[], 2, 2]);
    assert.deepEqual(node.governance.indexes, [1, 2]);
    node.governance.refuses = [];
    node.receive("b", [3, 4]);
    assert.deepEqual([node.governance.indexes, node.replicator.status().lastIndex], [[1, 2, 3, 4], 4]);
  });

  test("tries batches that would replace others on a copy: what does not hold replaces nothing", () => {
    const other = (node: Follower, change: (data: Bytes) => Bytes) => {
      node.receive("b", [1, 4], { commitIndex: 2 });
      const branch = node.real.branch(2);
      branch.add([transactionOf({ publicPart: utf8Encode("instead") })], { view: node.view + 1 }, 1);
      const [entry] = branch.entries.slice(2);
      assert.ok(entry);
      return [{ ...entry, data: change(entry.data.slice()) }];
    };
    const receive = (node: Follower, entries: readonly LogEntry[]) =>
      node.receive("c", [3, 3], { term: node.view + 1, previousTerm: node.view, entries });
    const tampered = new Follower();
    const signature = (data: Bytes) => data.map((byte, at) => (at === data.length - 1 ? byte ^ 1 : byte));
    assert.throws(() => receive(tampered, other(tampered, signature)), { code: "LedgerCorrupt" });
    const refused = new Follower();
    const valid = other(refused, (data) => data);
    refused.governance.refuses = [3];
    assert.throws(() => receive(refused, valid), { code: "ProposalInvalid" });
    const unwanted = new Follower();
    unwanted.onArrived = ({ header }) => assert.ok(header.view === unwanted.view, "for the test");
    assert.throws(
      () =>
        receive(
          unwanted,
          other(unwanted, (data) => data),
        ),
      { message: "for the test" },
    );
    for (const node of [tampered, refused, unwanted]) {
      assert.deepEqual([node.fatal, node.tail.lastIndex, node.replicator.status().term], [[], 4, node.view]);
      assert.deepEqual(node.governance.indexes, [1, 2, 3, 4]);
    }
    refused.governance.refuses = [];
    receive(refused, valid);
    assert.deepEqual([refused.fatal, refused.tail.lastIndex, refused.governance.indexes], [[], 3, [1, 2, 3]]);
    assert.equal(refused.tail.lastView, refused.view + 1);
  });

  test("does not hold it against a leader that was deposed that its entries differ from what is committed", () => {
    const node = new Follower();
    node.receive("b", [1, 2], { commitIndex: 2 });
    node.receive("c", [5, 4], { term: node.view + 2, previousIndex: 2, previousTerm: node.view });
    const branch = node.real.branch(1);
    branch.add([transactionOf({ publicPart: utf8Encode("late") })], { view: node.view + 1 }, 1);
    node.receive("b", [2, 2], { term: node.view + 1, entries: branch.entries.slice(1) });
    assert.deepEqual([node.fatal, node.tail.lastIndex], [[], 2]);
  });

  test("takes back what it verified ahead when consensus refuses the message", () => {
    const node = new Follower();
    node.receive("b", [1, 2], { commitIndex: 2 });
    node.instead = () => {
      throw new MessageRefused("LedgerCorrupt", "for the test");
    };
    assert.throws(() => node.receive("b", [3, 4]), { code: "LedgerCorrupt" });
    assert.deepEqual([node.fatal, node.tail.lastIndex], [[], 2]);
  });

  test("holds a part of a snapshot back until there is room for it, and nothing else", () => {
    const node = new Follower();
    const { configuration } = node.replicator.status();
    const snapshot = { index: 100, term: node.view, configuration, configurationIndex: 0 };
    const part = { type: "snapshotPart", term: node.view, snapshot, offset: 0, data: Uint8Array.of(1), last: false };
    node.replicator.receive("b", { ...part, type: "snapshotPart" });
    assert.deepEqual(node.parts, []);
    node.receive("b", [1, 2], { commitIndex: 2 });
    node.run();
    assert.deepEqual([node.committed, node.parts], [[1, 2], []]);
    node.onRoom?.();
    assert.deepEqual(node.parts, [0]);
  });

  test("takes batches of a node together with the batch that lists it", () => {
    const node = new Follower();
    node.governance.listedLater = node.real.network.nodes[1]?.request.nodeId;
    node.real.add([transactionOf({ publicPart: utf8Encode("by the new node") })], {}, 1);
    node.receive("b", [1, 5], { commitIndex: 5 });
    node.run();
    assert.deepEqual([node.committed, node.fatal], [[1, 2, 3, 4, 5], []]);
  });

  test("stops for an error of consensus that is no refusal of a message", () => {
    const node = new Follower();
    node.instead = () => {
      throw new Error("a fault");
    };
    node.receive("b", [1, 1]);
    assert.deepEqual(node.fatal, ["Internal"]);
  });

  test("compares committed batches that the disk gave back with the ones it verified", () => {
    const changes = [
      (entry: LogEntry) => entry,
      ({ data, ...entry }: LogEntry) => ({ ...entry, data: data.map((byte, at) => (at === 160 ? byte ^ 1 : byte)) }),
    ];
    const outcomes = changes.map((change) => {
      const node = new Follower(true);
      node.change = change;
      node.receive("b", [5, 4], { commitIndex: 4 });
      node.run();
      return [node.committed, node.fatal];
    });
    assert.deepEqual(outcomes[0], [[1, 2, 3, 4], []]);
    assert.deepEqual(outcomes[1], [[], ["LedgerCorrupt"]]);
  });
});
