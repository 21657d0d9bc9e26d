/**
 * A simulated machine with a validating node on it: the real manager, consensus, ledger, governance and adapter host, put
 * together as enclave/manager/validating-node.ts does, on simulated ports. A crash takes everything but the disk.
 */
import type { ClientResponse } from "../../src/adapters/adapter.ts";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { fromHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import { MAJORITY } from "../../src/core/consensus/quorum.ts";
import { Raft } from "../../src/core/consensus/raft.ts";
import type { Consensus, ConsensusStatus, LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import type { NodeEntry } from "../../src/core/governance/constitution.ts";
import { VersionedStore } from "../../src/core/kv/store.ts";
import { verifyBatch } from "../../src/core/ledger/batch.ts";
import { parseBatch } from "../../src/core/ledger/batch-format.ts";
import { LedgerTail } from "../../src/core/ledger/tail.ts";
import { Administration } from "../../src/enclave/manager/administration.ts";
import { Manager } from "../../src/enclave/manager/manager.ts";
import { Replicator } from "../../src/enclave/manager/replicator.ts";
import { Sealing } from "../../src/enclave/manager/sealing.ts";
import {
  APPENDS_IN_FLIGHT_MAX,
  ELECTION_TIMEOUT_MAX_MS,
  ELECTION_TIMEOUT_MIN_MS,
  HEARTBEAT_INTERVAL_MS,
} from "../../src/enclave/manager/validating-node.ts";
import type { Crypto, Disk, DiskContent } from "../../src/enclave/ports.ts";
import { AdapterHost } from "../../src/enclave/worker/adapter-host.ts";
import type { FromWorker, ToWorker } from "../../src/enclave/worker/protocol.ts";
import { CocoError, invariant } from "../../src/errors.ts";
import type { Checker } from "./checker.ts";
import { type Founded, KV_ADAPTER_ID, KV_MOUNT } from "./founding.ts";
import { createKvAdapter, prepareKv } from "./kv-adapter.ts";
import { type Scheduler, SeededRandom, SimulatedClock } from "./scheduler.ts";
import { SIMULATED_GOVERNANCE_CRYPTO } from "./simulated-crypto.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import type { SimulatedNetwork } from "./simulated-network.ts";

const HOP_MIN_MS = 0.02;
const HOP_SPREAD_MS = 0.2;
const CALLER = { actor: "owner", certificate: "00" };

/** What all nodes of a simulation share. */
export interface NodeWorld {
  readonly scheduler: Scheduler;
  readonly network: SimulatedNetwork;
  readonly founded: Founded;
  readonly checker: Checker;
  readonly trace: (text: string) => void;
  /** Log window and size of an append in bytes: small ones make followers read from disk. */
  readonly windowBytes: number;
  readonly appendBytes: number;
  /** Whether nodes that start again bring new code with its approval. */
  readonly upgrades: boolean;
  /** Longest time the execution of one transaction takes; 0: none. */
  readonly executionMaxMs: number;
}

/** A node that runs. */
interface Running {
  readonly clock: SimulatedClock;
  readonly manager: Manager;
  readonly raft: Raft;
  readonly consensus: WatchedConsensus;
  readonly tail: LedgerTail;
  readonly store: VersionedStore;
  readonly random: SeededRandom;
  alive: boolean;
  serving: boolean;
  openRequests: number;
}

/** Messages in one direction between manager and worker: in order, never inside the call. */
class Hop<T> {
  readonly #scheduler: Scheduler;
  readonly #deliver: (message: T) => void;
  #last = 0;

  constructor(scheduler: Scheduler, deliver: (message: T) => void) {
    this.#scheduler = scheduler;
    this.#deliver = deliver;
  }

  send(message: T): void {
    const { random, now } = this.#scheduler;
    this.#last = Math.max(this.#last, now + HOP_MIN_MS + random.next() * HOP_SPREAD_MS);
    this.#scheduler.after(this.#last - now, () => this.#deliver(message));
  }
}

/** Lets the checker see every step of a consensus core. */
class WatchedConsensus implements Consensus {
  readonly #raft: Raft;
  readonly #id: NodeId;
  readonly #world: NodeWorld;
  #deliveredIndex = 0;
  /** Whether the node led after the last step, and when it last stopped to. */
  #leads = false;
  stoppedLeadingAt = Number.NEGATIVE_INFINITY;

  constructor(raft: Raft, id: NodeId, world: NodeWorld) {
    this.#raft = raft;
    this.#id = id;
    this.#world = world;
  }

  step(event: Parameters<Consensus["step"]>[0]): ReturnType<Consensus["step"]> {
    const ready = this.#raft.step(event);
    const { checker } = this.#world;
    if (ready.roleChanged) {
      const { role, term } = this.#raft.status();
      if (this.#leads) this.stoppedLeadingAt = this.#world.scheduler.now;
      this.#leads = role === "leader";
      if (this.#leads) checker.leads(this.#id, term);
    }
    for (const entry of ready.committed) {
      checker.commits(this.#id, entry, this.#deliveredIndex);
      this.#deliveredIndex = entry.index;
    }
    return ready;
  }

  status(): ConsensusStatus {
    return this.#raft.status();
  }
}

/** See the module's header. */
export class SimulatedNode {
  readonly id: NodeId;
  readonly name: string;
  readonly disk: SimulatedDisk;
  readonly #world: NodeWorld;
  readonly #crypto: Crypto;
  #running: Running | undefined;
  /** Starts of the node so far. */
  boots = 0;
  /** How far the machine's wall clock is off. */
  skewMs = 0;

  constructor(world: NodeWorld, entry: NodeEntry, crypto: Crypto) {
    this.id = entry.nodeId;
    this.name = entry.address.split(".")[0] ?? "";
    this.disk = new SimulatedDisk(world.scheduler);
    this.#world = world;
    this.#crypto = crypto;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Whether the node answers clients: it knows the service's identity. */
  get isServing(): boolean {
    return this.#running?.serving === true;
  }

  /** What its consensus knows; undefined while it does not run. */
  get status(): ConsensusStatus | undefined {
    return this.#running?.raft.status();
  }

  /** Whether the node led at some time since then: what it said may be an execution that was not committed. */
  hasLedSince(time: number): boolean {
    return this.status?.role === "leader" || (this.#running?.consensus.stoppedLeadingAt ?? time) >= time;
  }

  /** Transactions of this node's clients without final outcome. */
  get pendingTransactions(): number {
    return this.#running?.manager.pendingTransactions ?? 0;
  }

  /** Requests of clients that are not answered. */
  get openRequests(): number {
    return this.#running?.openRequests ?? 0;
  }

  /** The committed state; undefined while the node does not run. */
  get committedState(): ReturnType<VersionedStore["reader"]> {
    const store = this.#running?.store;
    return store?.reader(store.committedVersion);
  }

  /** Merkle root over the node's whole log. */
  get root(): Bytes {
    invariant(this.#running, `${this.name} runs`);
    return this.#running.tail.root();
  }

  /** Starts the node on what its disk holds. */
  start(): void {
    invariant(this.#running === undefined, `${this.name} does not run yet`);
    this.boots++;
    const { scheduler, network, trace } = this.#world;
    const clock = new SimulatedClock(scheduler, () => this.skewMs);
    const { disk, content } = this.disk.open();
    const running = this.#assemble(clock, disk, content);
    this.#running = running;
    trace(`${this.name} starts with ${this.disk.entries.length} entries`);
    running.manager.start();
    const transport = network.attach(this.id, running.manager);
    this.#peers = transport;
  }

  #peers: ReturnType<SimulatedNetwork["attach"]> | undefined;

  /** Stops the node at once. `silent`: the peers are not told by a closed connection. */
  crash(silent: boolean): void {
    const running = this.#running;
    if (running === undefined) return;
    this.#world.trace(`${this.name} crashes`);
    running.alive = false;
    running.clock.stop();
    running.manager.stop();
    this.disk.crash();
    this.#running = undefined;
    this.#peers = undefined;
    this.#world.network.detach(this.id, silent);
  }

  /** A client's request; `undefined` answers a connection that was refused or broke. */
  request(body: string, respond: (response: ClientResponse | undefined) => void): void {
    const running = this.#running;
    if (running === undefined || !running.serving) {
      respond(undefined);
      return;
    }
    running.openRequests++;
    running.manager.request({ path: KV_MOUNT, body: utf8Encode(body), caller: CALLER }, (response) => {
      running.openRequests--;
      if (running.alive) respond(response);
    });
  }

  #assemble(clock: SimulatedClock, disk: Disk, content: DiskContent): Running {
    const { scheduler, founded, trace, upgrades } = this.#world;
    const { constitution, networkId } = founded;
    const random = new SeededRandom(scheduler.random.below(0x100000000));
    const administration = new Administration(constitution, networkId, SIMULATED_GOVERNANCE_CRYPTO);
    const tail = new LedgerTail(this.#crypto.sha256);
    const identity = { signer: fromHex(this.id), salt: random.bytes(16) };
    const sealing = new Sealing(tail, this.#crypto, clock, identity);
    const raft = this.#raft(clock, random, {
      hardState: content.hardState,
      entries: this.#verified(content.entries, administration, tail),
    });
    const consensus = new WatchedConsensus(raft, this.id, this.#world);
    const parts = { consensus, alive: true, serving: false, openRequests: 0, clock, raft, tail, random };
    const worker = this.#worker(parts, (message) => running.manager.fromWorker(KV_ADAPTER_ID, message));
    const manager = new Manager({
      nodeId: this.id,
      clock,
      randomBytes: (length) => random.bytes(length),
      tail,
      sealing,
      administration,
      peers: { send: (peer, frame) => this.#peers?.send(peer, frame) ?? false },
      adapters: [{ id: KV_ADAPTER_ID, name: "kv", mount: KV_MOUNT, executor: worker.executor }],
      tracer: { event: (_level, event, fields) => trace(`${this.name} ${event} ${JSON.stringify(fields ?? {})}`) },
      createReplicator: (callbacks) =>
        new Replicator({
          ...callbacks,
          consensus,
          tail,
          disk,
          clock,
          crypto: this.#crypto,
          publicKeyOf: (nodeId) => administration.publicKeyOf(nodeId),
        }),
      firstTransactions: () => founded.firstTransactions((length) => random.bytes(length)),
      // As after an upgrade: a node that started again brings code that the members have approved.
      approval: this.boots > 1 && upgrades ? founded.approval : undefined,
      onGovernance: () => {
        for (const record of administration.committed?.epochs ?? []) {
          sealing.addEpoch(record.epoch, founded.openEpoch(record, this.id));
          running.serving = true;
        }
      },
      onFatal: (error) => {
        throw new CocoError("Internal", `${this.name} cannot go on: ${error.message}`, {}, { cause: error });
      },
    });
    const running: Running = Object.assign(parts, { manager, store: worker.store });
    return running;
  }

  #raft(clock: SimulatedClock, random: SeededRandom, content: DiskContent): Raft {
    const { founded, windowBytes, appendBytes } = this.#world;
    return new Raft({
      id: this.id,
      initial: {
        current: { voters: founded.constitution.nodes.map((node) => node.nodeId), quorum: MAJORITY },
        previous: undefined,
        learners: [],
      },
      configurationOf: () => undefined,
      random: () => random.next(),
      electionTimeoutMinMs: ELECTION_TIMEOUT_MIN_MS,
      electionTimeoutMaxMs: ELECTION_TIMEOUT_MAX_MS,
      heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
      maxAppendBytes: appendBytes,
      maxInflightAppends: APPENDS_IN_FLIGHT_MAX,
      maxInflightBytes: APPENDS_IN_FLIGHT_MAX * appendBytes,
      windowBytes,
      hardState: content.hardState,
      trustDisk: true,
      tookPart: false,
      restored: { entries: content.entries },
      now: clock.now(),
    });
  }

  *#verified(entries: Iterable<LogEntry>, administration: Administration, tail: LedgerTail): Generator<LogEntry> {
    for (const entry of entries) {
      const batch = parseBatch(entry.data);
      administration.append(batch);
      verifyBatch(batch, tail, (nodeId) => administration.publicKeyOf(nodeId), this.#crypto);
      yield entry;
    }
  }

  /** The adapter's worker behind hops that take a little time. */
  #worker(life: { readonly alive: boolean; readonly random: SeededRandom }, toManager: (message: FromWorker) => void) {
    const { scheduler, checker, executionMaxMs, trace } = this.#world;
    const pause = (): Promise<void> | undefined =>
      executionMaxMs === 0
        ? undefined
        : new Promise((resolve) => this.#resolveLater(resolve, life.random.next() * executionMaxMs));
    const adapter = createKvAdapter({ pause })({
      sha256: this.#crypto.sha256,
      now: () => scheduler.now,
      nextTurn: () => Promise.resolve(),
      randomBytes: (length) => life.random.bytes(length),
      log: (message) => trace(`${this.name} adapter: ${message}`),
    });
    const store = new VersionedStore({ tables: adapter.tables, keptVersions: 4 });
    const back = new Hop<FromWorker>(scheduler, (message) => {
      if (life.alive) toManager(message);
    });
    const host = new AdapterHost({
      adapter: {
        ...adapter,
        committed: (state, place) => {
          if (life.alive) checker.commitsVersion(this.id, state, place);
        },
      },
      store,
      preparer: {
        prepare: (transactions, done) => {
          scheduler.after(life.random.next() * HOP_SPREAD_MS, () => done(prepareKv(transactions)));
        },
      },
      emit: (message) => back.send(message),
      defer: (callback) => scheduler.after(0, callback),
      log: (message) => trace(`${this.name} worker: ${message}`),
    });
    const hop = new Hop<ToWorker>(scheduler, (message) => {
      if (!life.alive) return;
      scheduler.settlePromises();
      host.handle(message);
    });
    return { executor: { send: (message: ToWorker) => hop.send(message) }, store };
  }

  #resolveLater(resolve: () => void, delayMs: number): void {
    this.#world.scheduler.after(delayMs, () => {
      this.#world.scheduler.settlePromises();
      resolve();
    });
  }
}
