/**
 * One simulated run of a whole network: nodes, clients and faults under one seed, then calm, in which everything must come
 * to an end. The same seed gives the same run, event by event; its trace hash says so.
 */
import { createHash } from "node:crypto";
import { bytesEqual, toHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import { CocoError, invariant } from "../../src/errors.ts";
import { Checker } from "./checker.ts";
import { Faults } from "./faults.ts";
import { foundNetwork } from "./founding.ts";
import { Scheduler } from "./scheduler.ts";
import { SimulatedClient } from "./simulated-client.ts";
import { SimulatedCrypto } from "./simulated-crypto.ts";
import { SimulatedNetwork } from "./simulated-network.ts";
import { SimulatedNode } from "./simulated-node.ts";

const CLIENT_COUNT = 4;
/** Longest calm in which the network must elect a leader, catch up and answer everybody: before anything times out. */
const CALM_LIMIT_MS = 20_000;
const CALM_STEP_MS = 250;

/** How a run is made; what is not given is drawn from the seed. */
export interface SimulationOptions {
  readonly seed: number;
  readonly nodeCount?: number;
  /** How long clients and faults are at work, in virtual milliseconds. */
  readonly durationMs?: number;
  readonly faults?: boolean;
  readonly clientCount?: number;
  readonly answerAfter?: "commit" | "execution";
  /** Gets every line of the trace. */
  readonly onTrace?: (line: string) => void;
}

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
}

/** A network under a seeded scheduler. */
export class Simulation {
  readonly scheduler: Scheduler;
  readonly nodes: readonly SimulatedNode[];
  readonly checker: Checker;
  readonly network: SimulatedNetwork;
  readonly clients: readonly SimulatedClient[];
  readonly faults: Faults;
  readonly #options: SimulationOptions;
  readonly #durationMs: number;
  readonly #trace = createHash("sha256");

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.scheduler = new Scheduler(options.seed);
    const { random } = this.scheduler;
    const nodeCount = options.nodeCount ?? (random.chance(0.3) ? 5 : 3);
    const answerAfter = options.answerAfter ?? (random.chance(0.3) ? "execution" : "commit");
    this.#durationMs = options.durationMs ?? 5_000 + random.below(15_000);
    const maxBatch = { transactions: 1 + random.below(30), bytes: 4096 };
    const founded = foundNetwork(nodeCount, { answerAfter, maxBatch });
    const crypto = new SimulatedCrypto();
    this.checker = new Checker(founded, crypto.of(utf8Encode("checker")), () =>
      this.nodes.map((node) => node.disk.entries),
    );
    const trace = (text: string) => this.#note(text);
    this.network = new SimulatedNetwork(
      this.scheduler,
      founded.constitution.nodes.map((node) => node.nodeId),
      {
        event: trace,
        refused: (from, to, error) => {
          throw new CocoError("Internal", `${to} refused a frame of ${from}: ${String(error)}`, {}, { cause: error });
        },
      },
    );
    const world = {
      scheduler: this.scheduler,
      network: this.network,
      founded,
      checker: this.checker,
      trace,
      windowBytes: random.chance(0.5) ? 64 * 1024 * 1024 : random.below(8_000),
      appendBytes: random.chance(0.5) ? 2 * 1024 * 1024 : 1 + random.below(8_000),
      upgrades: random.chance(0.5),
      executionMaxMs: random.chance(0.4) ? 0 : random.next() ** 2 * 100,
    };
    this.nodes = founded.constitution.nodes.map((entry) => new SimulatedNode(world, entry, crypto.of(entry.publicKey)));
    const clientWorld = { scheduler: this.scheduler, nodes: this.nodes, checker: this.checker, trace, answerAfter };
    this.clients = Array.from(
      { length: options.clientCount ?? CLIENT_COUNT },
      (_, at) => new SimulatedClient(clientWorld, `c${at}`),
    );
    this.faults = new Faults({ scheduler: this.scheduler, network: this.network, nodes: this.nodes, trace });
    trace(
      `seed ${options.seed}: ${nodeCount} nodes, answers after ${answerAfter}, window ${world.windowBytes}, append ${world.appendBytes}`,
    );
  }

  #note(text: string): void {
    const line = `${this.scheduler.now.toFixed(3)} ${text}\n`;
    this.#trace.update(line);
    this.#options.onTrace?.(line);
  }

  /** Runs clients and faults for their time, then until everything is settled; throws when anything does not hold. */
  async run(): Promise<SimulationResult> {
    for (const node of this.nodes) node.start();
    for (const client of this.clients) client.start();
    if (this.#options.faults !== false) this.faults.start();
    await this.scheduler.runUntil(this.#durationMs);
    await this.settle();
    return this.result();
  }

  /** Ends the faults and lets time pass until nothing is left to do. */
  async settle(): Promise<void> {
    this.faults.stop();
    for (const client of this.clients) client.finish();
    const limit = this.scheduler.now + CALM_LIMIT_MS;
    while (!this.#isSettled) {
      invariant(
        this.scheduler.now < limit,
        `not settled ${CALM_LIMIT_MS} ms after the last fault: ${this.#openEnds()}`,
      );
      await this.scheduler.runUntil(this.scheduler.now + CALM_STEP_MS);
    }
    for (const node of this.nodes) {
      invariant(bytesEqual(node.root, this.checker.root), `${node.name} ends with another Merkle root`);
      invariant(node.committedState, `${node.name} has a state`);
      this.checker.endsWith(node.name, node.committedState);
    }
  }

  get #isSettled(): boolean {
    const index = this.checker.committedIndex;
    const versions = new Set(this.nodes.map((node) => node.committedState?.version));
    return (
      index > 0 &&
      versions.size === 1 &&
      this.nodes.every(({ status }) => status?.commitIndex === index && status.lastIndex === index) &&
      this.clients.every((client) => client.pending === 0) &&
      this.nodes.every((node) => node.pendingTransactions === 0 && node.openRequests === 0)
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
    this.#note(`end: ${checker.committedIndex} entries, root ${toHex(checker.root)}`);
    return {
      seed: this.#options.seed,
      traceHash: toHex(new Uint8Array(this.#trace.copy().digest())).slice(0, 32),
      virtualMs: scheduler.now,
      events: scheduler.steps,
      entries: checker.committedIndex,
      transactions: checker.includedCount,
      boots: Math.max(...this.nodes.map((node) => node.boots)),
      terms: Math.max(...this.nodes.map((node) => node.status?.term ?? 0)),
    };
  }
}

/** Runs one seed; an error names it and the way to run it again. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  try {
    return await new Simulation(options).run();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CocoError(
      "Internal",
      `seed ${options.seed}: ${reason} (replay: npm run sim -- --seed ${options.seed})`,
      {},
      { cause: error },
    );
  }
}
