/**
 * The real core of a node that starts from the ledger of a {@link SnapshotNetwork}, as its node 1. Time stands still and its
 * disk takes what it is asked to write without an answer, so that a test sees what one frame of a peer makes it do.
 */
import assert from "node:assert/strict";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import type { LogEntry } from "../../src/core/consensus/types.ts";
import { encodeFrame } from "../../src/enclave/manager/frames.ts";
import { NodeCore } from "../../src/enclave/manager/node-core.ts";
import type { DiskContent, DiskRequest, StoredSnapshot } from "../../src/enclave/ports.ts";
import type { ToWorker } from "../../src/enclave/worker/protocol.ts";
import type { SnapshotNetwork } from "./snapshot-node.ts";

/** Cores started so far: no two have the same random bytes. */
let boots = 0;

/** A clock that a test sets; its timers run when they are run. */
export class ManualClock {
  nowMs = 0;
  readonly #timers: (() => void)[] = [];

  now(): number {
    return this.nowMs;
  }

  wallTime(): number {
    return this.nowMs;
  }

  after(_delayMs: number, callback: () => void): () => void {
    this.#timers.push(callback);
    return () => undefined;
  }

  /** Sets the time and runs every timer that was set before, once. */
  advanceTo(nowMs: number): void {
    this.nowMs = nowMs;
    for (const callback of this.#timers.splice(0)) callback();
  }
}

/** What is wrong with a disk, and what was asked of it. */
export interface Disturbance {
  readonly change?: (entry: LogEntry) => LogEntry;
  readonly damage?: DiskContent["damage"];
  readonly persisted?: DiskRequest[];
  /** Frames to peers are lost instead of a failure of the test. */
  readonly hasPeers?: boolean;
  /** Codes of errors that ended the node, instead of a failure of the test. */
  readonly fatal?: string[];
  /** Takes what is sent to the adapter's worker, instead of a failure of the test. */
  readonly worker?: (message: ToWorker) => void;
  /** Frames to peers, which are lost. */
  readonly sent?: Bytes[];
  /** Timers run when the test runs them. */
  readonly clock?: ManualClock;
  /** Whether keys that are wrapped to this node open. */
  readonly opens?: boolean;
}

/** A core that starts from what is on its disk, and hears of nobody. */
export function startCore(
  { founded, entries }: SnapshotNetwork,
  snapshots: readonly StoredSnapshot[] = [],
  {
    change = (entry) => entry,
    damage,
    persisted = [],
    hasPeers = false,
    fatal,
    worker,
    sent,
    opens = true,
    ...parts
  }: Disturbance = {},
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
    clock: parts.clock ?? new ManualClock(),
    randomBytes: (length) => new Uint8Array(length).fill(++boots),
    disk: {
      persist: (request) => persisted.push(request),
      read: () => undefined,
      createSnapshot: unused,
      readSnapshot: unused,
      removeSnapshot: unused,
    },
    content,
    tookPart: true,
    peers: { send: hasPeers ? (_peer, frame) => (sent?.push(frame) ?? 0) < 0 : unused },
    tracer: { event: () => undefined },
    adapterProblem: () => undefined,
    startExecutor: () => ({
      send: worker ?? (({ type }) => void (type === "ping" || unused())),
      close: () => undefined,
    }),
    firstTransactions: unused,
    approval: undefined,
    carriesService: () => true,
    openEpoch: (record) => (opens ? founded.openEpoch(record, nodeId) : undefined),
    askTee: (reportData, done) => done(founded.attest(false, reportData)),
    epochMaker: founded.epochMaker((length) => new Uint8Array(length)),
    onGovernance: () => undefined,
    onFatal: (error) => (fatal === undefined ? unused() : void fatal.push(error.code)),
  });
}

/** A peer's message with the entries of a ledger from an index on. */
export function appendFrame(
  entries: readonly LogEntry[],
  fromIndex: number,
  { term = 2, commitIndex = 0 }: { readonly term?: number; readonly commitIndex?: number } = {},
): Bytes {
  const previous = entries[fromIndex - 2];
  const position = { previousIndex: fromIndex - 1, previousTerm: previous?.term ?? 0 };
  const sent = entries.slice(fromIndex - 1);
  return encodeFrame({
    type: "consensus",
    message: { type: "append", term, ...position, commitIndex, round: 0, entries: sent },
  });
}
