/**
 * The troubles of a simulated network. Each run draws how often each kind of fault comes, some not at all, so that runs
 * differ in more than their timing; then faults come one after the other until {@link Faults.stop}.
 */
import { invariant } from "../../src/errors.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SimulatedNetwork } from "./simulated-network.ts";
import type { SimulatedNode } from "./simulated-node.ts";

const PAUSE_MIN_MS = 100;
const PAUSE_SPREAD_MS = 1_500;
const DOWN_SPREAD_MS = 4_000;
const CUT_SPREAD_MS = 8_000;
const SLOW_SPREAD_MS = 3_000;
const SLOW_FACTOR_MAX = 200;
const SKEW_MS = 3_600_000;
const LATENCY_MAX_MS = 300;
/** Probability that a run leaves out a kind of fault. */
const LEFT_OUT = 0.35;

/** What faults act on. */
export interface FaultWorld {
  readonly scheduler: Scheduler;
  readonly network: SimulatedNetwork;
  readonly nodes: readonly SimulatedNode[];
  readonly trace: (text: string) => void;
}

type Fault = () => void;

/** See the module's header. */
export class Faults {
  readonly #world: FaultWorld;
  readonly #kinds: readonly Fault[];
  #active = true;

  constructor(world: FaultWorld) {
    this.#world = world;
    const all: readonly Fault[] = [
      () => this.#crash(this.#anyNode()),
      () => this.#crash(this.#leader()),
      () => this.#crashAll(),
      () => this.#isolate(this.#anyNode()),
      () => this.#isolate(this.#leader()),
      () => this.#cutOneWay(),
      () => this.#split(),
      () => this.#breakChannel(),
      () => this.#slowDisk(),
      () => this.#slowNetwork(),
      () => this.#skewClock(),
    ];
    this.#kinds = all.filter(() => !world.scheduler.random.chance(LEFT_OUT));
  }

  /** Starts to make trouble. */
  start(): void {
    const { scheduler } = this.#world;
    if (!this.#active || this.#kinds.length === 0) return;
    this.#later(PAUSE_MIN_MS + scheduler.random.next() * PAUSE_SPREAD_MS, () => {
      this.#kinds[scheduler.random.below(this.#kinds.length)]?.();
      this.start();
    });
  }

  /** Ends every fault: all nodes run, everything is connected and fast. */
  stop(): void {
    const { network, nodes, trace } = this.#world;
    trace("all faults end");
    this.#active = false;
    this.#calm();
    network.heal();
    for (const node of nodes) {
      node.disk.slowness = 1;
      if (!node.isRunning) node.start();
    }
  }

  #later(delayMs: number, run: () => void): void {
    this.#world.scheduler.after(delayMs, () => {
      if (this.#active) run();
    });
  }

  #anyNode(): SimulatedNode {
    const { nodes, scheduler } = this.#world;
    const node = nodes[scheduler.random.below(nodes.length)];
    invariant(node, "a network has a node");
    return node;
  }

  #leader(): SimulatedNode {
    return this.#world.nodes.find((node) => node.status?.role === "leader") ?? this.#anyNode();
  }

  #crash(node: SimulatedNode): void {
    const { random } = this.#world.scheduler;
    if (!node.isRunning) return;
    node.crash(random.chance(0.2));
    this.#later(random.next() * DOWN_SPREAD_MS, () => {
      if (!node.isRunning) node.start();
    });
  }

  #crashAll(): void {
    if (this.#world.scheduler.random.chance(0.5)) for (const node of this.#world.nodes) this.#crash(node);
  }

  #healLater(): void {
    this.#later(this.#world.scheduler.random.next() * CUT_SPREAD_MS, () => {
      this.#world.trace("cuts are mended");
      this.#world.network.heal();
    });
  }

  #isolate(node: SimulatedNode): void {
    const { network, nodes, trace } = this.#world;
    trace(`${node.name} is isolated`);
    for (const other of nodes) {
      if (other === node) continue;
      network.cut(node.id, other.id);
      network.cut(other.id, node.id);
    }
    this.#healLater();
  }

  #cutOneWay(): void {
    const { network, nodes, trace, scheduler } = this.#world;
    const node = this.#anyNode();
    const outgoing = scheduler.random.chance(0.5);
    trace(`${node.name} is cut one way, ${outgoing ? "out" : "in"}`);
    for (const other of nodes) {
      if (other === node) continue;
      if (outgoing) network.cut(node.id, other.id);
      else network.cut(other.id, node.id);
    }
    this.#healLater();
  }

  #split(): void {
    const { network, nodes, trace, scheduler } = this.#world;
    const side = new Set(nodes.filter(() => scheduler.random.chance(0.5)));
    trace(`a split: ${[...side].map((node) => node.name).join(" ")} alone`);
    for (const left of nodes) {
      for (const right of nodes) if (side.has(left) !== side.has(right)) network.cut(left.id, right.id);
    }
    this.#healLater();
  }

  #breakChannel(): void {
    const { network, scheduler } = this.#world;
    const pairs = network.pairs();
    const pair = pairs[scheduler.random.below(pairs.length)];
    if (pair !== undefined) network.break(...pair);
  }

  #slowDisk(): void {
    const { random } = this.#world.scheduler;
    const node = this.#anyNode();
    node.disk.slowness = 1 + random.next() * SLOW_FACTOR_MAX;
    this.#world.trace(`the disk of ${node.name} is slow`);
    this.#later(random.next() * SLOW_SPREAD_MS, () => {
      node.disk.slowness = 1;
    });
  }

  #slowNetwork(): void {
    const { network, scheduler, trace } = this.#world;
    network.latencyMaxMs = scheduler.random.next() * LATENCY_MAX_MS;
    trace("the network is slow");
    this.#later(scheduler.random.next() * SLOW_SPREAD_MS, () => this.#calm());
  }

  #calm(): void {
    this.#world.network.latencyMaxMs = 1.5;
  }

  #skewClock(): void {
    const { random } = this.#world.scheduler;
    this.#anyNode().skewMs = Math.floor((random.next() - 0.5) * SKEW_MS);
  }
}
