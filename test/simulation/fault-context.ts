/** What faults act on, and how long they last. */
import type { NodeId } from "../../src/core/consensus/types.ts";
import type { Founded } from "./founding.ts";
import type { FaultCounts } from "./fault-counts.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { Conditions, SimulatedNetwork } from "./simulated-network.ts";
import type { SimulatedNode } from "./simulated-node.ts";
import type { Trace } from "./trace.ts";

/** What faults act on. */
export interface FaultWorld {
  readonly scheduler: Scheduler;
  readonly network: SimulatedNetwork;
  /** All machines. */
  readonly nodes: readonly SimulatedNode[];
  /** Nodes of the network now. */
  readonly members: () => readonly SimulatedNode[];
  readonly founded: Founded;
  /** Whether nodes that were voted out are voted in again, with what they had. */
  readonly readmits: boolean;
  readonly faults: FaultCounts;
  readonly trace: Trace;
}

/** One kind of fault: it begins one, counts it and sees to its end. */
export interface FaultKind {
  /** What it is counted as. */
  readonly name: string;
  readonly strike: (context: FaultContext) => void;
}

/** See the module's header. */
export class FaultContext {
  readonly world: FaultWorld;
  readonly random: SeededRandom;
  /** What ends the faults under way. */
  readonly #ends = new Set<() => void>();
  /** What the conditions of the network are while nothing makes them worse, and what does. */
  readonly #base: Conditions;
  readonly #worse: { readonly condition: keyof Conditions; readonly value: number }[] = [];
  /** Nodes that may be struck; links with one of them at an end may be, too. */
  targets: readonly SimulatedNode[];

  /** Fewest nodes that any list so far had. */
  fewestNodes: number;

  constructor(world: FaultWorld) {
    this.world = world;
    this.fewestNodes = world.founded.constitution.nodes.length;
    this.random = world.scheduler.random.fork();
    this.targets = world.nodes;
    this.#base = { ...world.network.conditions };
  }

  /** How many of so many nodes may have lost what they promised so that nothing committed is lost and the network goes on. */
  bearableLosses(count: number): number {
    const { nodes, settings } = this.world.founded.constitution;
    // Where machines come, the voters may be down to three before the damage is repaired.
    const minority = this.world.nodes.length > nodes.length ? 1 : Math.floor((count - 1) / 2);
    const { quorum } = settings;
    if (quorum.type !== "flexible") return minority;
    return Math.min(minority, quorum.replication - 1, count - quorum.election);
  }

  /** Makes a condition of the whole network worse for a while. */
  worsen(condition: keyof Conditions, value: number, durationMs: number): void {
    // The network belongs to the core, too.
    if (this.targets.length < this.world.nodes.length) return;
    const cause = { condition, value };
    this.#worse.push(cause);
    this.#applyConditions();
    this.endLater(durationMs, () => {
      this.#worse.splice(this.#worse.indexOf(cause), 1);
      this.#applyConditions();
    });
  }

  #applyConditions(): void {
    const { conditions } = this.world.network;
    Object.assign(conditions, this.#base);
    for (const { condition, value } of this.#worse) conditions[condition] = Math.max(conditions[condition], value);
  }

  /** Lets a fault end after a while, or when all are ended. */
  endLater(durationMs: number, end: () => void): void {
    const once = () => {
      if (this.#ends.delete(once)) end();
    };
    this.#ends.add(once);
    this.world.scheduler.after(durationMs, once);
  }

  /** Ends every fault under way. */
  endAll(): void {
    for (const end of [...this.#ends]) end();
  }

  /** Starts a node after a while, unless it runs by then. */
  startLater(node: SimulatedNode, delayMs: number): void {
    this.world.scheduler.after(delayMs, () => {
      if (!node.isRunning) node.start();
    });
  }

  /** Counts a fault and notes it. */
  note(kind: string, place: string, ...numbers: readonly number[]): void {
    this.world.faults.add(kind);
    this.world.trace.event(kind, place, ...numbers);
  }

  /** A node that may be struck. */
  target(): SimulatedNode {
    const begun = this.targets.filter((node) => node.boots > 0);
    return this.random.pick(begun.length > 0 ? begun : this.targets);
  }

  /** The leader, when it may be struck; otherwise any node that may be. */
  leader(): SimulatedNode {
    return this.targets.find((node) => node.status?.role === "leader") ?? this.target();
  }

  /** Whether a link may be struck. */
  mayStrike(left: SimulatedNode, right: SimulatedNode): boolean {
    return left !== right && (this.targets.includes(left) || this.targets.includes(right));
  }

  /** Cuts those of these directions that may be struck, for a while. */
  cut(directions: readonly (readonly [SimulatedNode, SimulatedNode])[], durationMs: number): void {
    const allowed = directions.filter(([from, to]) => this.mayStrike(from, to));
    const mend = this.world.network.cut(allowed.map(([from, to]): [NodeId, NodeId] => [from.id, to.id]));
    this.endLater(durationMs, mend);
  }
}
