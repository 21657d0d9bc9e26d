/**
 * The network of a scenario: real consensus cores with disks in memory, and messages that move only when the script says so.
 *
 * Clocks go together and stand still between commands. Disks finish their writes at once unless told to be slow. Whatever
 * happens, the properties of Raft are checked (test/exploration/history.ts).
 */
import { type CoreOptions, configurationOf, ELECTION_MS, labelOf, simple } from "../exploration/core-options.ts";
import { commits, type History, leads, NO_HISTORY, quorumHolds } from "../exploration/history.ts";
import { BLANK, type Effects, entryIn, Machine, type Stable, type TimelessEvent } from "../exploration/machine.ts";
import { sameEntry } from "../../src/core/consensus/testing/invariants.ts";
import type { Configuration, ConsensusMessage, LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import { CocoError, invariant } from "../../src/errors.ts";

/** Deliveries of one `settle` before a scenario is taken for one without end. */
const SETTLE_MESSAGES_MAX = 20_000;

/** A message on its way. */
export interface InFlight {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly message: ConsensusMessage;
}

/** One node of a scenario: its core while it runs, and its disk always. */
export interface ScenarioNode {
  readonly id: NodeId;
  machine: Machine | undefined;
  stable: Stable;
  slowDisk: boolean;
  /** Code of the error that stopped it. */
  stoppedBy: string | undefined;
  /** Labels of proposals that came back. */
  readonly refused: string[];
  /** Answers to reads, by their number. */
  readonly reads: Map<number, number | undefined>;
}

/** What every node of a scenario is made with. */
export type NodeOptions = Omit<CoreOptions, "id" | "initial">;

/** See the module's header. */
export class World {
  readonly nodes = new Map<NodeId, ScenarioNode>();
  readonly queue: InFlight[] = [];
  /** Links whose messages wait, as `from->to`. */
  readonly held = new Set<string>();
  /** Links whose messages are lost, as `from->to`. */
  readonly cut = new Set<string>();
  /** Whether leaders end a joint configuration by themselves. */
  leavesJoint = true;
  nowMs = 1000;
  /** Told about every step that changed what is on a disk. */
  onDisk: (id: NodeId, stable: Stable) => void = () => {};
  readonly #options: NodeOptions;
  readonly #initial: Configuration;
  #history: History = NO_HISTORY;

  constructor(ids: readonly NodeId[], initial: Configuration | undefined, options: NodeOptions) {
    this.#options = options;
    this.#initial = initial ?? simple(ids);
    for (const id of ids) {
      const rest = { slowDisk: false, stoppedBy: undefined, refused: [], reads: new Map() };
      this.nodes.set(id, { id, machine: undefined, stable: BLANK, ...rest });
    }
    for (const id of ids) this.restart(id);
  }

  /** Everything that was committed anywhere. */
  get committed(): readonly LogEntry[] {
    return this.#history.committed.map(({ entry }) => entry);
  }

  node(id: NodeId): ScenarioNode {
    const node = this.nodes.get(id);
    invariant(node !== undefined, `there is no node ${id}`);
    return node;
  }

  /** The machine of a node that runs. */
  machine(id: NodeId): Machine {
    const { machine } = this.node(id);
    invariant(machine !== undefined, `node ${id} is down`);
    return machine;
  }

  get running(): readonly ScenarioNode[] {
    return [...this.nodes.values()].filter((node) => node.machine !== undefined);
  }

  /** Gives a node an event now. */
  step(id: NodeId, event: TimelessEvent): void {
    this.act(id, (machine) => machine.step(event));
  }

  /** Lets a node do something now, and takes what comes of it. */
  act(id: NodeId, action: (machine: Machine) => Effects): void {
    const node = this.node(id);
    const { machine } = node;
    if (machine === undefined) return;
    machine.nowMs = this.nowMs;
    const before = machine.deliveredIndex;
    let effects: Effects;
    try {
      effects = action(machine);
    } catch (error) {
      if (!(error instanceof CocoError) || error.code === "Internal") throw error;
      node.stoppedBy = error.code;
      node.stable = machine.crash(undefined);
      node.machine = undefined;
      return;
    }
    this.#take(node, machine, effects, before);
    while (!node.slowDisk && node.machine === machine && machine.writes.length > 0) {
      this.act(id, (current) => current.finishWrite());
    }
    if (this.leavesJoint && node.machine === machine && machine.mayLeave) this.act(id, (current) => current.leave());
  }

  #take(node: ScenarioNode, machine: Machine, effects: Effects, deliveredBefore: number): void {
    const { id } = node;
    this.onDisk(id, machine.stable);
    if (effects.leads) {
      const base = machine.snapshot?.mark.index ?? 0;
      const log = { base, entryAt: (index: number) => entryIn(machine.log, index) };
      this.#history = leads(this.#history, id, machine.status.term, log);
    }
    if (effects.committed.length > 0) {
      const { configuration, term } = machine.status;
      const isDurable = (entry: LogEntry) => quorumHolds(configuration, (voter) => this.#holds(voter, entry));
      this.#history = commits(this.#history, effects.committed, term, isDurable);
    }
    if (effects.installed !== undefined) {
      const committed = this.#history.committed.slice(0, effects.installed).map(({ entry }) => labelOf(entry));
      const same = machine.applied.slice(0, effects.installed).join() === committed.join();
      invariant(effects.installed > deliveredBefore && same, `node ${id} installs what was committed`);
    }
    node.refused.push(...effects.dropped.map(labelOf));
    for (const { id: number, index } of effects.reads) node.reads.set(number, index);
    for (const { to, message } of effects.sent) {
      if (!this.cut.has(`${id}->${to}`)) this.queue.push({ from: id, to, message });
    }
  }

  #holds(id: NodeId, entry: LogEntry): boolean {
    const node = this.nodes.get(id);
    const snapshot = node?.machine?.snapshot ?? node?.stable.snapshot;
    if (node === undefined) return false;
    if (snapshot !== undefined && snapshot.mark.index >= entry.index) return true;
    return sameEntry(entryIn(node.machine?.disk ?? node.stable.entries, entry.index), entry);
  }

  /** Delivers a message that is not on the queue. */
  deliver({ from, to, message }: InFlight): void {
    if (!this.cut.has(`${from}->${to}`) && this.nodes.has(to)) this.step(to, { type: "message", from, message });
  }

  /** Takes the messages of a link, or of all that are not held, from the queue. */
  take(link: string | undefined): InFlight[] {
    const isTaken = ({ from, to }: InFlight) =>
      link === undefined ? !this.held.has(`${from}->${to}`) : link === `${from}->${to}`;
    const taken = this.queue.filter(isTaken);
    const left = this.queue.filter((item) => !isTaken(item));
    this.queue.splice(0, this.queue.length, ...left);
    return taken;
  }

  /** Delivers until nothing that is not held is on its way. */
  settle(): void {
    for (let count = 0; ; count++) {
      invariant(count < SETTLE_MESSAGES_MAX, "the network does not come to rest");
      const at = this.queue.findIndex(({ from, to }) => !this.held.has(`${from}->${to}`));
      const [next] = at < 0 ? [] : this.queue.splice(at, 1);
      if (next === undefined) return;
      this.deliver(next);
    }
  }

  /** An election timeout passes for everybody, but only this node notices. */
  timeout(id: NodeId): void {
    this.nowMs += ELECTION_MS;
    this.step(id, { type: "tick" });
  }

  /** Stops a node; what it had not written is lost. */
  crash(id: NodeId): void {
    const node = this.node(id);
    node.stable = this.machine(id).crash(undefined);
    node.machine = undefined;
    for (const peer of this.running) this.step(peer.id, { type: "channel", peer: id, up: false });
  }

  /** Starts a node from its disk. */
  restart(id: NodeId): void {
    const node = this.node(id);
    invariant(node.machine === undefined, `node ${id} is down`);
    node.stoppedBy = undefined;
    node.machine = new Machine({ ...this.#options, id, initial: this.#initial }, node.stable, this.nowMs);
    for (const peer of this.running) {
      if (peer.id === id) continue;
      this.step(peer.id, { type: "channel", peer: id, up: true });
      this.step(id, { type: "channel", peer: peer.id, up: true });
    }
  }
}

/** A log as a script writes it: requests by name, `#2` for the first entry of term 2, `members` for a change of membership. */
export function scriptLog(labels: readonly string[]): string[] {
  return labels.map((label) => {
    if (label.startsWith("first of term ")) return `#${label.slice("first of term ".length)}`;
    return configurationOf(new TextEncoder().encode(label)) === undefined ? label : "members";
  });
}
