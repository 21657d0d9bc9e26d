/**
 * The process of a simulated node: the real node core put together on simulated ports, with a watch on each of them. What
 * starts and ends it is the machine (simulated-node.ts).
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import type { LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import { NodeCore } from "../../src/enclave/manager/node-core.ts";
import type { Crypto, PeerTransport } from "../../src/enclave/ports.ts";
import type { FromWorker } from "../../src/enclave/worker/protocol.ts";
import { type CocoError, invariant } from "../../src/errors.ts";
import type { Checker } from "./checker.ts";
import type { Founded } from "./founding.ts";
import type { LogMatching } from "./log-matching.ts";
import type { PortWatch } from "./port-watch.ts";
import type { ProcessGate } from "./process-gate.ts";
import type { SimulatedProtocol } from "./protocol.ts";
import type { Scheduler } from "./scheduler.ts";
import { type MachineClock, SimulatedClock, WALL_START_MS } from "./simulated-clock.ts";
import type { OpenedDisk } from "./simulated-disk.ts";
import { simulatedTee } from "./simulated-tee.ts";
import { type SimulatedWorker, startWorker } from "./simulated-worker.ts";
import type { Trace } from "./trace.ts";
import { WatchedConsensus } from "./watched-consensus.ts";

/** What all processes of a simulation share. */
export interface ProcessWorld {
  readonly scheduler: Scheduler;
  readonly founded: Founded;
  readonly protocol: SimulatedProtocol;
  readonly checker: Checker;
  readonly logs: LogMatching;
  readonly trace: Trace;
  /** Log window and size of an append in bytes: small ones make followers read from disk. */
  readonly windowBytes: number;
  readonly appendBytes: number;
  /** Whether nodes that start again bring new code with its approval. */
  readonly upgrades: boolean;
  /** Longest time the execution of one transaction takes; 0: none. */
  readonly executionMaxMs: number;
  /** Whether the disk of a node holds an entry, or did when it said so. */
  readonly holds: (node: NodeId, entry: LogEntry) => boolean;
}

/** A process from its start to its end. */
export interface Life {
  readonly gate: ProcessGate;
  readonly watch: PortWatch;
  alive: boolean;
  serving: boolean;
  openRequests: number;
}

/** What a process has once it is put together. */
export interface Running {
  readonly core: NodeCore;
  readonly consensus: WatchedConsensus;
  /** By adapter. */
  readonly workers: ReadonlyMap<number, SimulatedWorker>;
}

/** The machine a process runs on, as far as the process depends on it. */
export interface Machine {
  readonly id: NodeId;
  readonly name: string;
  readonly publicKey: Bytes;
  readonly crypto: Crypto;
  readonly clock: MachineClock;
  readonly isFirstBoot: boolean;
  /** Whether a node on this machine ever served. */
  readonly tookPart: boolean;
  readonly teeIsSilent: () => boolean;
  readonly send: PeerTransport["send"];
  readonly onServing: () => void;
  readonly onFatal: (error: CocoError) => void;
}

/** Puts the core of a node together on the ports of its machine; throws when the ledger on its disk does not hold. */
export function assembleProcess(
  world: ProcessWorld,
  life: Life,
  { disk, content }: OpenedDisk,
  machine: Machine,
): Running {
  const { scheduler, founded, trace, upgrades, logs, checker, holds } = world;
  const { constitution, networkId, governanceCrypto } = founded;
  const { id, name, publicKey, crypto, tookPart, send, onFatal } = machine;
  const random = scheduler.random.fork();
  const { gate, watch } = life;
  const enter = (input: () => void) => gate.enter(input);
  const entropy = (length: number) => watch.pass("entropy.bytes", () => random.bytes(length));
  const isUpgraded = !machine.isFirstBoot && upgrades;
  const workers = new Map<number, SimulatedWorker>();
  let consensus: WatchedConsensus | undefined;
  const core = new NodeCore({
    ...{ nodeId: id, publicKey, genesis: constitution, networkId, crypto, governanceCrypto },
    clock: watch.clock(new SimulatedClock(scheduler, machine.clock, enter)),
    randomBytes: entropy,
    disk: watch.disk(disk, enter),
    ...{ content, tookPart, peers: { send } },
    tracer: {
      event: (_level, event, fields) => {
        trace.event(event, name, Number(fields?.["term"] ?? 0));
        trace.say(() => `${name} ${event} ${JSON.stringify(fields ?? {})}`);
      },
    },
    adapterProblem: () => undefined,
    startExecutor: (adapter, onMessage) => {
      const ends = { adapterId: adapter.id, toManager: onMessage, random: random.fork() };
      const started = watch.pass("executor.start", () => startWatchedWorker(world, life, machine, ends));
      workers.set(adapter.id, started);
      const { executor } = started;
      return {
        send: (message) => watch.pass("executor.send", () => executor.send(message)),
        close: () =>
          watch.pass("executor.close", () => {
            executor.close();
            if (workers.get(adapter.id) === started) workers.delete(adapter.id);
          }),
      };
    },
    firstTransactions: () => founded.firstTransactions(entropy),
    // As after an upgrade: a node that starts again brings new code, and what the members who know the network signed for it.
    approval: isUpgraded ? founded.approve(checker.governance, WALL_START_MS + scheduler.now) : undefined,
    carriesService: () => true,
    openEpoch: (record) => founded.openEpoch(record, id),
    epochMaker: founded.epochMaker(entropy),
    askTee: watch.tee(
      simulatedTee({
        ...{ scheduler, random: random.fork(), isSilent: machine.teeIsSilent },
        evidence: (reportData) => founded.attest(isUpgraded, reportData),
      }),
      enter,
    ),
    onGovernance: () => {
      life.serving = true;
      machine.onServing();
    },
    onFatal,
    watch: (made) => {
      // A node that lost what lies before its snapshot begins behind it.
      const { firstIndex } = made.status();
      const from = content.damage === undefined ? content.firstIndex : firstIndex;
      logs.starts(id, from, content.entriesFrom(from));
      consensus = new WatchedConsensus(made, id, { checker, logs, holds, now: () => scheduler.now });
      return consensus;
    },
    sizes: world,
  });
  invariant(consensus !== undefined, "a node has consensus");
  return { core, consensus, workers };
}

interface WorkerEnds {
  readonly adapterId: number;
  readonly toManager: (message: FromWorker) => void;
  readonly random: ReturnType<Scheduler["random"]["fork"]>;
}

function startWatchedWorker(
  { scheduler, protocol, executionMaxMs, checker, trace }: ProcessWorld,
  life: Life,
  { id, name, crypto }: Machine,
  { adapterId, toManager, random }: WorkerEnds,
): SimulatedWorker {
  return startWorker({
    scheduler,
    protocol,
    random,
    executionMaxMs,
    sha256: crypto.sha256,
    enter: (input) => life.gate.enter(input),
    toManager: (message) => life.watch.pass("executor.message", () => toManager(message)),
    committed: (state, place) => {
      if (life.alive) checker.commitsVersion({ node: id, adapterId }, state, place);
    },
    restored: (state) => {
      if (life.alive) checker.restores({ node: id, adapterId }, state);
    },
    log: (message) => trace.say(() => `${name} worker: ${message}`),
  });
}
