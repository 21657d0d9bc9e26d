/**
 * Validating nodes in this thread: the real node core with the real cryptography on real ledger files, an adapter host that
 * is called directly, and peers that hand each other encoded frames. Everything but HTTP, TLS and threads.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { VersionedStore } from "../../src/core/kv/store.ts";
import { createGovernanceCrypto, createNodeCrypto, nodeEntropy } from "../../src/enclave/manager/node-crypto.ts";
import { NodeCore } from "../../src/enclave/manager/node-core.ts";
import {
  carriesServiceKey,
  createGrant,
  firstTransactions,
  openEpochKey,
} from "../../src/enclave/manager/service-keys.ts";
import type { Disk, Executor, ExecutorEvents, PeerTransport, Tracer } from "../../src/enclave/ports.ts";
import { AdapterHost } from "../../src/enclave/worker/adapter-host.ts";
import type { ToWorker } from "../../src/enclave/worker/protocol.ts";
import { CocoError } from "../../src/errors.ts";
import { FILE_SYSTEM, type FileOperations } from "../../src/host/file-operations.ts";
import { type LedgerFiles, openLedgerFiles } from "../../src/host/ledger-files.ts";
import { systemClock } from "../../src/host/system.ts";
import { createCoreAdapter, prepareCore } from "./core-adapter.ts";
import type { FoundedNetwork, FoundedNode } from "./core-founding.ts";
import { sleep } from "./statistics.ts";

/** Versions of the state a worker keeps behind the committed one, as in a real node. */
const KEPT_VERSIONS = 4;
/** Longest wait for a leader. */
const LEADER_WAIT_MS = 30_000;
const POLL_MS = 5;

/** A node that runs. */
export interface CoreNode {
  readonly core: NodeCore;
  readonly store: VersionedStore;
  close(): Promise<void>;
}

/** Nodes that run together. */
export interface CoreNetwork {
  readonly nodes: readonly CoreNode[];
  readonly leader: CoreNode;
  /** Milliseconds of each fdatasync of all nodes so far. */
  readonly syncs: readonly number[];
  close(): Promise<void>;
}

/** How nodes run. */
export interface CoreNodeOptions {
  /** Fills a worker's state before it is used; what it holds stands in no ledger. */
  readonly prefill?: (store: VersionedStore) => void;
  /** Between a node and its disk. */
  readonly disk?: (disk: Disk) => Disk;
}

const SILENT: Tracer = {
  event(level, event, fields) {
    if (level === "error") console.error(event, fields);
  },
};

/** The file system, with a note of how long each fdatasync took. */
export function timedFiles(syncs: number[]): FileOperations {
  return {
    ...FILE_SYSTEM,
    async syncData(descriptor) {
      const start = performance.now();
      await FILE_SYSTEM.syncData(descriptor);
      syncs.push(performance.now() - start);
    },
  };
}

/** Peers of one process: frames arrive in order, in a later turn of the event loop, many in one turn. */
class CorePeers {
  readonly #nodes = new Map<string, NodeCore>();
  #frames: { readonly from: string; readonly to: string; readonly frame: Uint8Array }[] = [];

  transportOf(from: string): PeerTransport {
    return {
      send: (to, frame) => {
        if (!this.#nodes.has(to)) return false;
        if (this.#frames.push({ from, to, frame }) === 1) setImmediate(() => this.#deliver());
        return true;
      },
    };
  }

  #deliver(): void {
    const frames = this.#frames;
    this.#frames = [];
    for (const { from, to, frame } of frames) this.#nodes.get(to)?.manager.frame(from, frame);
  }

  add(nodeId: string, core: NodeCore): void {
    for (const [other, { manager }] of this.#nodes) {
      manager.channelUp(nodeId);
      core.manager.channelUp(other);
    }
    this.#nodes.set(nodeId, core);
  }
}

/** Stops the benchmark: its figures would mean nothing. */
function fatal(error: CocoError): void {
  setImmediate(() => {
    throw error;
  });
}

/** Versions that were there before the manager's first one are its version 0. */
function shifted(message: ToWorker, by: number): ToWorker {
  if (by === 0) return message;
  if (message.type !== "commit") return message;
  return { type: "commit", batches: message.batches.map((batch) => ({ ...batch, version: batch.version + by })) };
}

function startWorker(
  onMessage: ExecutorEvents,
  prefill: CoreNodeOptions["prefill"],
): { readonly executor: Executor; readonly store: VersionedStore } {
  const adapter = createCoreAdapter();
  const store = new VersionedStore({ tables: adapter.tables, keptVersions: KEPT_VERSIONS });
  prefill?.(store);
  const before = store.headVersion;
  const host = new AdapterHost({
    adapter,
    recreate: createCoreAdapter,
    store,
    preparer: { prepare: (transactions, done) => done(prepareCore(transactions)) },
    emit: onMessage,
    defer: (callback) => setImmediate(callback),
    log: (message) => console.error(message),
  });
  queueMicrotask(() => onMessage({ type: "ready", tables: adapter.tables }));
  const send = (message: ToWorker): void => queueMicrotask(() => host.handle(shifted(message, before)));
  return { executor: { send, close: () => undefined }, store };
}

/** A node of a founded network on an open ledger folder. */
export interface CoreNodePlace extends CoreNodeOptions {
  readonly founded: FoundedNetwork;
  readonly node: FoundedNode;
  readonly files: LedgerFiles;
  readonly peers: PeerTransport;
}

/** Makes a node; it reads its ledger, but does not start. */
export function createCoreNode({ founded, node, files, peers, disk, prefill }: CoreNodePlace): CoreNode {
  const { constitution, networkId } = founded;
  const crypto = createNodeCrypto(node.signingKey);
  const ports = { crypto, entropy: nodeEntropy, clock: systemClock };
  let store: VersionedStore | undefined;
  const core = new NodeCore({
    nodeId: node.nodeId,
    publicKey: constitution.nodes.find(({ nodeId }) => nodeId === node.nodeId)?.publicKey ?? new Uint8Array(0),
    genesis: constitution,
    networkId,
    crypto,
    governanceCrypto: createGovernanceCrypto(),
    clock: systemClock,
    randomBytes: (length) => nodeEntropy.bytes(length),
    disk: disk?.(files.disk) ?? files.disk,
    content: files.content,
    tookPart: false,
    peers,
    tracer: SILENT,
    adapterProblem: () => undefined,
    startExecutor: (_adapter, onMessage) => {
      const worker = startWorker(onMessage, prefill);
      store = worker.store;
      return worker.executor;
    },
    firstTransactions: () => firstTransactions(constitution, networkId, ports),
    approval: undefined,
    carriesService: (epoch, key) => carriesServiceKey(epoch, networkId, key, crypto),
    openEpoch: (record) => openEpochKey(record, networkId, node),
    epochMaker: {
      epoch: () => {
        throw new CocoError("Internal", "a benchmark stays in its first epoch");
      },
      grant: (state, nodeId, keyOf) => createGrant(state, nodeId, keyOf, ports),
    },
    askTee: (reportData, done) => setImmediate(() => done(founded.attest(reportData))),
    onGovernance: () => undefined,
    onFatal: fatal,
  });
  if (store === undefined) throw new CocoError("Internal", "a node has a worker");
  const close = async (): Promise<void> => {
    core.close();
    await files.close();
  };
  return { core, store, close };
}

/** Opens the ledger folder of a node. */
export function openCoreLedger(directory: string, syncs: number[]): Promise<LedgerFiles> {
  mkdirSync(directory, { recursive: true });
  return openLedgerFiles(directory, {
    repair: "refuse",
    onRepair: () => undefined,
    onFatal: fatal,
    files: timedFiles(syncs),
  });
}

/** Waits until a condition holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + LEADER_WAIT_MS;
  while (!condition()) {
    if (performance.now() > end) throw new CocoError("RequestTimeout", `benchmark waited for ${what} in vain`);
    await sleep(POLL_MS);
  }
}

/** Starts all nodes of a network, with ledgers below `directory`, and waits until one leads and has a state. */
export async function startCoreNetwork(
  founded: FoundedNetwork,
  directory: string,
  options: CoreNodeOptions = {},
): Promise<CoreNetwork> {
  const peers = new CorePeers();
  const syncs: number[] = [];
  const nodes: CoreNode[] = [];
  for (const node of founded.nodes) {
    const files = await openCoreLedger(join(directory, node.nodeId), syncs);
    const made = createCoreNode({ founded, node, files, peers: peers.transportOf(node.nodeId), ...options });
    nodes.push(made);
    made.core.manager.start();
    peers.add(node.nodeId, made.core);
  }
  const leading = (): CoreNode | undefined => nodes.find(({ core }) => core.manager.leadership.serving);
  await until(() => leading() !== undefined && nodes.every(({ store }) => store.committedVersion > 0), "a leader");
  const leader = leading();
  if (leader === undefined) throw new CocoError("NoLeader", "the benchmark's network has no leader");
  const close = async (): Promise<void> => {
    for (const node of nodes) await node.close();
  };
  return { nodes, leader, syncs, close };
}
