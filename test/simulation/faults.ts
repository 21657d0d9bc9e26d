/**
 * The troubles of a simulated network. Each run draws which kinds of fault come and how often each does ("swarm": Groce et
 * al., "Swarm Testing", 2012), so that runs differ in more than their timing; then faults come one after the other.
 *
 * First anything may be struck. Then a core, a quorum of sound nodes, is left alone while the others suffer on. Then all
 * faults end.
 */
import { ADAPTER_FAULTS } from "./adapter-faults.ts";
import { FaultContext, type FaultKind, type FaultWorld } from "./fault-context.ts";
import { LEASE_FAULTS } from "./lease-faults.ts";
import { DISTRUSTED_FAULTS, MACHINE_FAULTS } from "./machine-faults.ts";
import { MEMBERSHIP_FAULTS } from "./membership-faults.ts";
import { DATAGRAM_FAULTS, NETWORK_FAULTS } from "./network-faults.ts";
import { RIGHTS_FAULTS } from "./rights-faults.ts";
import type { SimulatedNode } from "./simulated-node.ts";

/** Probability that a run leaves out a kind of fault. */
const LEFT_OUT = 0.4;
/** How much more often one kind comes than another. */
const INTENSITY_MIN = 0.05;
const INTERVAL_MIN_MS = 400;
const INTERVAL_MAX_MS = 8_000;
const DOWN_MIN_MS = 20;
const DOWN_MAX_MS = 5_000;
/** A node that ends while nothing may be struck is started again at once, as a supervisor does. */
const RESTART_MS = 50;

interface Drawn {
  readonly kind: FaultKind;
  /** Kinds up to this one come this often. */
  readonly upTo: number;
}

/** See the module's header. */
export class Faults {
  readonly #context: FaultContext;
  readonly #drawn: readonly Drawn[];
  readonly #intervalMs: number;
  #active = true;

  /** @param datagrams whether frames travel alone */
  constructor(world: FaultWorld, datagrams: boolean) {
    this.#context = new FaultContext(world);
    const { random } = this.#context;
    this.#intervalMs = random.magnitude(INTERVAL_MIN_MS, INTERVAL_MAX_MS);
    let upTo = 0;
    const drawn: Drawn[] = [];
    for (const kind of [
      ...NETWORK_FAULTS,
      ...MACHINE_FAULTS,
      ...MEMBERSHIP_FAULTS,
      ...RIGHTS_FAULTS,
      ...ADAPTER_FAULTS,
      ...(datagrams ? DATAGRAM_FAULTS : []),
      ...(world.founded.constitution.settings.leaseMs ? LEASE_FAULTS : []),
      ...(world.founded.constitution.settings.trustDisk ? [] : DISTRUSTED_FAULTS),
    ]) {
      if (random.chance(LEFT_OUT)) continue;
      upTo += random.magnitude(INTENSITY_MIN, 1);
      drawn.push({ kind, upTo });
    }
    this.#drawn = drawn;
  }

  /** Starts to make trouble. */
  start(): void {
    const { random, world } = this.#context;
    if (!this.#active || this.#drawn.length === 0) return;
    world.scheduler.after(random.waiting(this.#intervalMs), () => {
      if (!this.#active) return;
      const at = random.next() * (this.#drawn.at(-1)?.upTo ?? 0);
      this.#drawn.find(({ upTo }) => at < upTo)?.kind.strike(this.#context);
      this.start();
    });
  }

  /** A node ended: it is started again after a while. */
  onEnded(node: SimulatedNode): void {
    const { random, targets } = this.#context;
    const downMs = this.#active && targets.includes(node) ? random.magnitude(DOWN_MIN_MS, DOWN_MAX_MS) : RESTART_MS;
    this.#context.startLater(node, downMs);
  }

  /** Heals a core; the other nodes suffer on. */
  spare(core: readonly SimulatedNode[]): void {
    this.#context.world.trace.event("core is spared", "network", core.length);
    this.#heal(core);
    this.#context.targets = this.#begun().filter((node) => !core.includes(node));
    if (this.#context.targets.length === 0) this.#active = false;
    for (const node of this.#context.targets) this.#fate(node);
  }

  /** Machines that never were nodes have no part in anything. */
  #begun(): SimulatedNode[] {
    return this.#context.world.nodes.filter((node) => node.boots > 0);
  }

  /** A node outside the core stays away for good, or alone, or is left to chance. */
  #fate(node: SimulatedNode): void {
    const { random, world } = this.#context;
    const fate = random.below(3);
    if (fate === 0) node.end({ silent: random.chance(0.5), byItself: false });
    if (fate !== 1) return;
    const directions = world.nodes.flatMap((other): [SimulatedNode, SimulatedNode][] => [
      [node, other],
      [other, node],
    ]);
    this.#context.cut(directions, Number.POSITIVE_INFINITY);
  }

  /** Ends every fault: all nodes run, everything is connected and fast. */
  stop(): void {
    this.#context.world.trace.event("all faults end", "network");
    this.#active = false;
    this.#heal(this.#context.world.nodes);
    this.#context.targets = [];
  }

  #heal(nodes: readonly SimulatedNode[]): void {
    this.#context.endAll();
    for (const node of nodes) {
      node.disarm();
      // Damage that nobody has met yet is found by a new start, and repaired.
      if (node.disk.damagedIndex !== undefined) node.end({ silent: false, byItself: false });
      if (!node.isRunning && (node.boots > 0 || this.#context.world.members().includes(node))) node.start();
    }
  }
}
