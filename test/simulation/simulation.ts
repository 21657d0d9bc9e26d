/**
 * One simulated run of a whole network: nodes, clients and faults under one seed. The same seed gives the same run, event
 * by event; its trace hash says so. Three phases:
 *
 * 1. Everything suffers; what must never happen does not.
 * 2. A core, a quorum, is healed, while the other nodes suffer on: it takes a transaction within a bounded time.
 * 3. All is healed, the clients come to an end, and all nodes hold the same, in memory and on disk.
 */
import { bytesEqual, toHex } from "../../src/core/codec/bytes.ts";
import { ELECTION_TIMEOUT_MAX_MS } from "../../src/enclave/manager/node-core.ts";
import { isQuarantined } from "../../src/core/governance/leases.ts";
import { CocoError, invariant } from "../../src/errors.ts";
import { Checker } from "./checker.ts";
import { FaultCounts } from "./fault-counts.ts";
import { Faults } from "./faults.ts";
import { SECOND_MOUNT, secondAdapter } from "./adapter-faults.ts";
import { rightsRestored } from "./rights-faults.ts";
import { CHEAP_CRYPTOGRAPHY, type Founded, foundNetwork, OWNER } from "./founding.ts";
import { HostileFrames } from "./hostile-frames.ts";
import { KV_PROTOCOL } from "./kv-protocol.ts";
import { LogMatching } from "./log-matching.ts";
import { drawPlan, type Plan, protocolOf, quorumSize, type SimulationOptions } from "./plan.ts";
import type { Client, SimulatedProtocol } from "./protocol.ts";
import type { PortWatch } from "./port-watch.ts";
import { realCryptography } from "./real-cryptography.ts";
import { Scheduler } from "./scheduler.ts";
import { NonceWatch } from "./simulated-crypto.ts";
import { SimulatedNetwork } from "./simulated-network.ts";
import { SimulatedNode } from "./simulated-node.ts";
import type { LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import type { NodeEntry } from "../../src/core/governance/constitution.ts";
import { Trace } from "./trace.ts";
import { TransactionWatch } from "./transaction-watch.ts";

/** A healed core must take a transaction within so many of the longest election timeouts. */
export const LIVENESS_ELECTIONS = 10;
/** Longest calm in which the network must elect a leader, catch up and answer everybody: before anything times out. */
const CALM_LIMIT_MS = 20_000;
/** Where frames get lost, the answer to a query does too: the request then ends by its time limit. */
const DATAGRAM_CALM_LIMIT_MS = 60_000;
const CALM_STEP_MS = 250;
const ASK_INTERVAL_MS = 300;
const EPOCH_KEY_CACHE_MS = 1_000;

/** What a run was. */
export interface SimulationResult {
  readonly seed: number;
  readonly traceHash: string;
  readonly virtualMs: number;
  readonly events: number;
  readonly entries: number;
  readonly transactions: number;
  /** Most starts of one node. */
  readonly boots: number;
  readonly terms: number;
  /** Answers about transaction ids, and reads, that were checked. */
  readonly statusAnswers: number;
  readonly reads: number;
  readonly faults: Readonly<Record<string, number>>;
}

/** A network under a seeded scheduler. */
export class Simulation {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly nodes: readonly SimulatedNode[];
  readonly checker: Checker;
  readonly network: SimulatedNetwork;
  readonly clients: readonly Client[];
  readonly faults: Faults;
  readonly counts = new FaultCounts();
  /** Told when a node starts, before anything passes its ports. */
  onStarts: (node: SimulatedNode, watch: PortWatch) => void = () => {};
  readonly #seed: number;
  readonly #trace: Trace;
  readonly #founded: Founded;
  readonly #logs = new LogMatching();
  readonly #watch: TransactionWatch;
  readonly #prober: Client;
  readonly #protocol: SimulatedProtocol;
  #settling = false;
  #listed: readonly NodeEntry[] | undefined;
  #members: readonly SimulatedNode[] = [];

  /** @param protocol what the plan names, loaded */
  constructor(options: SimulationOptions, protocol: SimulatedProtocol = KV_PROTOCOL) {
    this.#seed = options.seed;
    this.#protocol = protocol;
    this.scheduler = new Scheduler(options.seed);
    const { random } = this.scheduler;
    this.plan = drawPlan(options, random.fork());
    this.#trace = new Trace(() => this.scheduler.now, options.onTrace);
    this.#trace.say(() => `seed ${options.seed}: ${JSON.stringify(this.plan)}`);
    this.#founded = this.#found();
    this.checker = new Checker(this.#founded, this.#founded.cryptoOf(0), protocol);
    this.network = this.#createNetwork();
    this.nodes = this.#createNodes();
    const { answerAfter, thinkMs, retryMs, clientCount } = this.plan;
    const { scheduler, nodes, checker } = this;
    const members = () => this.members;
    const world = { scheduler, members, checker, trace: this.#trace, answerAfter, thinkMs, retryMs };
    this.clients = Array.from({ length: clientCount }, (_, at) =>
      protocol.createClient({ ...world, actor: protocol.senderOf(`c${at}-`) }, `c${at}`, at),
    );
    this.#prober = protocol.createClient({ ...world, actor: OWNER, retryMs: 100 }, "probe", clientCount);
    this.#watch = new TransactionWatch({
      random: random.fork(),
      committedView: (seqno) => checker.committedView(seqno),
      lossesOf: (node) => this.#logs.lossesOf(node),
    });
    this.#logs.onNew = (entry) => this.#watch.entered(entry);
    const faultWorld = {
      scheduler,
      network: this.network,
      nodes,
      members,
      founded: this.#founded,
      readmits: this.plan.readmits,
      faults: this.counts,
      trace: this.#trace,
    };
    this.faults = new Faults(faultWorld, this.plan.network === "datagram");
  }

  #found(): Founded {
    const { quorum, trustDisk } = this.plan;
    const {
      nodeCount,
      spareMachines,
      answerAfter,
      maxBatch,
      epochTransactions,
      epochMs,
      leaseMs,
      snapshotTransactions,
    } = this.plan;
    const cryptography = this.plan.realCryptography ? realCryptography(this.#seed) : CHEAP_CRYPTOGRAPHY;
    const settings = {
      quorum,
      trustDisk,
      answerAfter,
      maxBatch,
      leaseMs,
      epoch: { lengthMs: epochMs, transactions: epochTransactions, keyCacheMs: EPOCH_KEY_CACHE_MS },
      snapshot: { everyTransactions: snapshotTransactions },
    };
    const { adapter } = this.#protocol;
    return foundNetwork({ nodeCount, machineCount: nodeCount + spareMachines, settings, cryptography, adapter });
  }

  #createNetwork(): SimulatedNetwork {
    const { hostileRate, network, latencyMs } = this.plan;
    const hostile =
      hostileRate === undefined ? undefined : new HostileFrames(this.scheduler.random.fork(), hostileRate);
    const made = new SimulatedNetwork({
      scheduler: this.scheduler,
      trace: this.#trace,
      faults: this.counts,
      nodes: this.#founded.machines.map(({ nodeId, address }) => ({
        id: nodeId,
        name: address.split(".")[0] ?? "",
      })),
      kind: network,
      intruder: hostile === undefined ? undefined : (passing) => hostile.intrude(passing),
      onRefused: (from, to, error) => {
        throw new CocoError("Internal", `${to} refused a frame of ${from}: ${String(error)}`, {}, { cause: error });
      },
    });
    made.conditions.latencyMaxMs = latencyMs;
    return made;
  }

  #createNodes(): SimulatedNode[] {
    const { plan, scheduler, network, checker } = this;
    const { windowBytes, appendBytes, upgrades, executionMaxMs } = plan;
    const nonces = new NonceWatch();
    const world = {
      scheduler,
      network,
      founded: this.#founded,
      protocol: this.#protocol,
      checker,
      logs: this.#logs,
      faults: this.counts,
      trace: this.#trace,
      windowBytes,
      appendBytes,
      upgrades,
      executionMaxMs,
      holds: (id: NodeId, entry: LogEntry) => this.nodes.some((node) => node.id === id && node.disk.held(entry)),
      isMember: (id: NodeId) => this.members.some((node) => node.id === id),
      isVoter: (id: NodeId) => this.checker.governance?.configuration.current.voters.includes(id) ?? true,
      onStarts: (node: SimulatedNode, watch: PortWatch) => this.onStarts(node, watch),
      onEnded: (node: SimulatedNode) => this.faults.onEnded(node),
    };
    return this.#founded.machines.map((entry, place) => {
      const clock = { ...(plan.clocks[place] ?? { skewMs: 0, rate: 1, grainMs: 0 }) };
      return new SimulatedNode(world, entry, { crypto: nonces.watch(this.#founded.cryptoOf(place)), clock });
    });
  }

  /** Nodes that the committed constitution lists; those of genesis before it is committed. */
  get members(): readonly SimulatedNode[] {
    const { nodes } = this.checker.governance?.constitution ?? this.#founded.constitution;
    if (this.#listed !== nodes) {
      this.#listed = nodes;
      this.#members = this.nodes.filter(({ id }) => nodes.some(({ nodeId }) => nodeId === id));
    }
    return this.#members;
  }

  /** All three phases; throws when anything does not hold. */
  async run(): Promise<SimulationResult> {
    this.start();
    if (this.plan.faults) this.faults.start();
    await this.scheduler.runUntil(this.plan.durationMs);
    if (this.plan.faults) await this.#proveLiveness();
    await this.settle();
    return this.result();
  }

  /** Starts nodes, clients, and who asks for transactions. */
  start(): void {
    for (const node of this.members) node.start();
    for (const client of this.clients) client.start();
    this.#askLater();
    this.#useSecondLater(0);
  }

  /** Somebody uses what is mounted beside the first adapter; what becomes of that the checker sees. */
  #useSecondLater(count: number): void {
    const { scheduler } = this;
    scheduler.after(scheduler.random.waiting(ASK_INTERVAL_MS), () => {
      const entry = secondAdapter(this.checker.governance?.constitution ?? this.#founded.constitution);
      if (entry !== undefined && !this.#settling) {
        const node = scheduler.random.pick(this.members);
        node.request({ body: `second-${count}|key=${count}`, actor: OWNER, path: SECOND_MOUNT }, () => undefined);
      }
      this.#useSecondLater(count + 1);
    });
  }

  #askLater(): void {
    const { scheduler } = this;
    scheduler.after(scheduler.random.waiting(ASK_INTERVAL_MS), () => {
      this.#watch.ask(scheduler.random.pick(this.nodes));
      this.#askLater();
    });
  }

  /** A quorum of sound nodes is enough to be served by, whatever the others do. */
  async #proveLiveness(): Promise<void> {
    const { scheduler } = this;
    const core = this.#drawCore();
    if (core === undefined) {
      // Damage and a change of membership met: what nodes bear is a promise about one set of voters. Or too many started
      // again whose disks are not trusted: then all have to come back.
      this.counts.add("liveness.noSoundQuorum");
      return;
    }
    this.faults.spare(core);
    // Who was voted out may still count in an older configuration that somebody knows, but serves nobody.
    this.#prober.probe(core.filter((node) => this.members.includes(node)));
    const limit = scheduler.now + LIVENESS_ELECTIONS * ELECTION_TIMEOUT_MAX_MS;
    await scheduler.runUntil(limit, () => this.#prober.pending === 0);
    const names = core.map((node) => node.name).join(" ");
    invariant(this.#prober.pending === 0, `the core ${names} takes no transaction: ${this.#openEnds()}`);
  }

  /**
   * Sound nodes in a random order until they are a quorum of every set of voters that may count: while membership changes
   * nodes differ in which these are.
   */
  #drawCore(): SimulatedNode[] | undefined {
    const { random } = this.scheduler;
    const sets = new Map<string, readonly NodeId[]>([
      ["", this.#founded.constitution.nodes.map(({ nodeId }) => nodeId)],
    ]);
    for (const { status } of this.nodes) {
      if (status === undefined || status.configurationIndex === 0) continue;
      if (status.configurationCommitted) sets.delete("");
      const { current, previous } = status.configuration;
      for (const { voters } of previous === undefined ? [current] : [current, previous])
        sets.set(voters.join(), voters);
    }
    const isQuorum = (core: readonly SimulatedNode[]) =>
      [...sets.values()].every(
        (voters) => core.filter(({ id }) => voters.includes(id)).length >= quorumSize(this.plan.quorum, voters.length),
      );
    const sound = random.sample(
      this.nodes.filter(
        (node) => node.isSound && !this.#isQuarantined(node) && (node.boots > 0 || this.members.includes(node)),
      ),
      this.nodes.length,
    );
    const core: SimulatedNode[] = [];
    for (const node of sound) if (!isQuorum(core) || random.chance(0.3)) core.push(node);
    invariant(
      isQuorum(core) ||
        this.plan.spareMachines > 0 ||
        !this.plan.trustDisk ||
        this.plan.leaseMs > 0 ||
        this.plan.quorum.type === "flexible" ||
        [...sets.values()].some(({ length }) => length < this.nodes.length),
      `only ${sound.length} of ${this.nodes.length} nodes are sound`,
    );
    return isQuorum(core) ? core : undefined;
  }

  /** Its votes do not count with somebody who knows of its quarantine, whatever else it does. */
  #isQuarantined({ id }: SimulatedNode): boolean {
    const told = [this.checker.governance, ...this.nodes.map((node) => node.governance)];
    return told.some((governance) => governance !== undefined && isQuarantined(governance, id));
  }

  /** Ends the faults and lets time pass until nothing is left to do. */
  async settle(): Promise<void> {
    this.faults.stop();
    this.#settling = true;
    for (const client of this.clients) client.finish();
    const calmMs = this.plan.network === "datagram" ? DATAGRAM_CALM_LIMIT_MS : CALM_LIMIT_MS;
    const limit = this.scheduler.now + calmMs;
    while (!this.#isSettled) {
      this.#restoreRights();
      invariant(this.scheduler.now < limit, `not settled ${calmMs} ms after the last fault: ${this.#openEnds()}`);
      await this.scheduler.runUntil(this.scheduler.now + CALM_STEP_MS);
    }
    for (const node of this.members) {
      invariant(bytesEqual(node.root, this.checker.root), `${node.name} ends with another Merkle root`);
      invariant(node.committedState, `${node.name} has a state`);
      this.checker.endsWith(node.name, node.committedState);
      this.checker.endsOnDisk(node.name, node.disk);
      this.#endsWithAdapters(node);
    }
  }

  /** The members decide on actions. */
  decide(...how: Parameters<Founded["decide"]>): ReturnType<Founded["decide"]> {
    return this.#founded.decide(...how);
  }

  /** The adapters of the constitution run on every node, with the states of the ledger, and no others. */
  #endsWithAdapters(node: SimulatedNode): void {
    const { others, governance } = this.checker;
    const ids = governance?.constitution.adapters.map(({ id }) => id) ?? [];
    invariant(node.adapterIds.join() === ids.join(), `${node.name} runs the adapters ${node.adapterIds.join()}`);
    for (const id of ids) {
      const state = node.committedStateOf(id);
      if (id === this.#protocol.adapter.id || state === undefined) continue;
      invariant(
        state.version === others.versionOf(id),
        `${node.name} ends with version ${state.version} of adapter ${id}`,
      );
      if (state.version > 0) others.check(id, node.name, state);
    }
  }

  /** Clients go on until everything they sent is included: the members give back what they took. */
  #restoreRights(): void {
    const actions = rightsRestored(this.checker.governance?.constitution ?? this.#founded.constitution);
    const leader = this.members.find(({ status }) => status?.role === "leader");
    if (actions.length > 0) leader?.govern((state, nowMs) => this.#founded.decide(state, actions, nowMs));
  }

  get #isSettled(): boolean {
    const index = this.checker.committedIndex;
    const { members } = this;
    const versions = new Set(
      members.map((node) => node.adapterIds.map((id) => node.committedStateOf(id)?.version).join()),
    );
    return (
      index > 0 &&
      versions.size === 1 &&
      members.every(
        ({ status }) => status?.commitIndex === index && status.lastIndex === index && status.durableIndex === index,
      ) &&
      this.clients.every((client) => client.pending === 0) &&
      members.every((node) => node.pendingTransactions === 0 && node.openRequests === 0)
    );
  }

  #openEnds(): string {
    const clients = this.clients.map((client) => client.pending).join(" ");
    const nodes = this.nodes.map(({ name, status, pendingTransactions, openRequests, committedState }) => {
      const place = `${status?.role} term ${status?.term} commit ${status?.commitIndex} of ${status?.lastIndex}`;
      return `${name} ${place}, version ${committedState?.version}, ${pendingTransactions} transactions and ${openRequests} requests pending`;
    });
    return `clients wait for ${clients}; ${nodes.join("; ")}`;
  }

  /** What the run was so far. */
  result(): SimulationResult {
    const { scheduler, checker } = this;
    const { committedIndex, includedCount, root, reads } = checker;
    this.#trace.event(
      "end",
      "network",
      committedIndex,
      includedCount,
      scheduler.steps,
      scheduler.random.below(1 << 30),
    );
    if (!this.plan.realCryptography) this.#trace.event(toHex(root), "root");
    return {
      seed: this.#seed,
      traceHash: this.#trace.hash,
      virtualMs: scheduler.now,
      events: scheduler.steps,
      entries: committedIndex,
      transactions: includedCount,
      boots: Math.max(...this.nodes.map((node) => node.boots)),
      terms: Math.max(...this.nodes.map((node) => node.status?.term ?? 0)),
      statusAnswers: this.#watch.answers,
      reads: reads.localCount + reads.linearizableCount,
      faults: this.counts.toJson(),
    };
  }
}

async function loadProtocol(name: Plan["protocol"]): Promise<SimulatedProtocol> {
  return name === "kv" ? KV_PROTOCOL : (await import("./ethereum-protocol.ts")).loadEthereumProtocol();
}

/** A simulation with what its network runs, loaded. */
export async function createSimulation(options: SimulationOptions): Promise<Simulation> {
  return new Simulation(options, await loadProtocol(protocolOf(options)));
}

/** Runs one seed; an error names it. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  try {
    return await (await createSimulation(options)).run();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CocoError("Internal", `seed ${options.seed}: ${reason}`, {}, { cause: error });
  }
}
