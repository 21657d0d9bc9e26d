/**
 * A deterministic network of Raft cores with simulated disks, channels and time; one thread, one seed, one outcome.
 *
 * Fault model. Network: loss, doubling, any order, partitions, channels that break and come back. Disk: slow, at times
 * stalled; a crash loses what was not synced, or leaves a first part of the next write (truncation, some entries, no hard
 * state). Nodes: crash and restart. Every message passes through its byte encoding. Safety is checked at every step.
 */
import { invariant } from "../../../errors.ts";
import { decodeMessage, encodeMessage } from "../messages.ts";
import { Quorum } from "../quorum.ts";
import { Raft } from "../raft.ts";
import type {
  ConsensusEvent,
  ConsensusMessage,
  ConsensusStatus,
  HardState,
  LogEntry,
  NodeId,
  PersistRequest,
  QuorumPolicy,
  Ready,
} from "../types.ts";
import { SafetyObserver, sameEntry } from "./invariants.ts";
import { SeededRandom } from "./random.ts";

/** Probabilities and delays of the simulated world. */
export interface Faults {
  readonly loss: number;
  readonly duplicate: number;
  readonly delayMaxMs: number;
  readonly diskDelayMaxMs: number;
  /** Probability that a write stalls for `diskStallMs`. */
  readonly diskStall: number;
}

/** A world in which nothing goes wrong. */
export const NO_FAULTS: Faults = { loss: 0, duplicate: 0, delayMaxMs: 3, diskDelayMaxMs: 3, diskStall: 0 };

const TICK_MS = 10;
const DISK_STALL_MS = 150;

/** What a simulation is made of. */
export interface SimulatorOptions {
  readonly seed: number;
  readonly nodeCount: number;
  readonly quorum: QuorumPolicy;
  readonly windowBytes: number;
}

/** One simulated machine: its core while it runs, and its disk always. */
class SimulatedNode {
  readonly id: NodeId;
  raft: Raft | undefined;
  /** Grows with each crash, so that what was under way before it is ignored. */
  incarnation = 0;
  disk: LogEntry[] = [];
  hardState: HardState | undefined;
  writes: PersistRequest[] = [];
  /** The log as the core has it in memory, rebuilt from its persist requests. */
  log: LogEntry[] = [];
  deliveredIndex = 0;

  constructor(id: NodeId) {
    this.id = id;
  }
}

/** The simulated network. */
export class Simulator {
  readonly random: SeededRandom;
  readonly observer = new SafetyObserver();
  readonly ids: readonly NodeId[];
  faults: Faults = NO_FAULTS;
  nowMs = 0;
  loadCount = 0;
  readonly #options: SimulatorOptions;
  readonly #quorum: Quorum;
  readonly #nodes: readonly SimulatedNode[];
  readonly #agenda = new Map<number, (() => void)[]>();
  readonly #cut = new Set<string>();
  #nextData = 1;

  constructor(options: SimulatorOptions) {
    this.#options = options;
    this.random = new SeededRandom(options.seed);
    this.ids = Array.from({ length: options.nodeCount }, (_, at) => `n${at + 1}`);
    this.#quorum = new Quorum(this.ids, options.quorum);
    this.#nodes = this.ids.map((id) => new SimulatedNode(id));
    for (const id of this.ids) this.restart(id);
  }

  /** Ids of the nodes that run. */
  get running(): readonly NodeId[] {
    return this.#nodes.filter((node) => node.raft !== undefined).map((node) => node.id);
  }

  /** Status of a node that runs. */
  status(id: NodeId): ConsensusStatus {
    const { raft } = this.#node(id);
    invariant(raft !== undefined, `${id} runs`);
    return raft.status();
  }

  /** Highest index a node handed out as committed in this run. */
  deliveredIndex(id: NodeId): number {
    return this.#node(id).deliveredIndex;
  }

  /** The leader of the highest term, if any node leads. */
  leader(): NodeId | undefined {
    const leaders = this.running.map((id) => this.status(id)).filter(({ role }) => role === "leader");
    return leaders.sort((left, right) => right.term - left.term)[0]?.id;
  }

  /** Lets time pass. */
  run(durationMs: number): void {
    for (const end = this.nowMs + durationMs; this.nowMs < end; this.nowMs++) {
      const due = this.#agenda.get(this.nowMs);
      this.#agenda.delete(this.nowMs);
      for (const action of due ?? []) action();
      if (this.nowMs % TICK_MS === 0)
        for (const node of this.#nodes) this.#step(node, { type: "tick", now: this.nowMs });
    }
  }

  /** Lets time pass until the condition holds; false when it does not within the limit. */
  runUntil(condition: () => boolean, limitMs: number): boolean {
    for (const end = this.nowMs + limitMs; this.nowMs < end; ) {
      if (condition()) return true;
      this.run(TICK_MS);
    }
    return condition();
  }

  /** Proposes entries on a node, whatever it believes to be; returns the index of the last one. */
  propose(id: NodeId, count: number): number {
    const { term, lastIndex } = this.status(id);
    const entries = Array.from({ length: count }, (_, at) => ({ index: lastIndex + 1 + at, term, data: this.#data() }));
    this.#step(this.#node(id), { type: "propose", entries, now: this.nowMs });
    return lastIndex + count;
  }

  /** Stops a node; what it had not synced is lost, or with `torn` partly written. */
  crash(id: NodeId, torn = false): void {
    const node = this.#node(id);
    const write = node.writes[0];
    if (torn && write !== undefined) {
      const entries = write.entries.slice(0, this.random.between(0, write.entries.length));
      this.#apply(node, { ...write, entries }, false);
    }
    node.raft = undefined;
    node.incarnation++;
    node.writes = [];
    for (const peer of this.ids) if (peer !== id) this.#channel(peer, id, false, this.random.between(0, 20));
  }

  /** Starts a node from its disk. */
  restart(id: NodeId): void {
    const node = this.#node(id);
    node.log = [...node.disk];
    node.deliveredIndex = 0;
    node.raft = new Raft({
      id,
      initial: { current: { voters: this.ids, quorum: this.#options.quorum }, previous: undefined, learners: [] },
      configurationOf: () => undefined,
      random: this.random.next,
      electionTimeoutMinMs: 150,
      electionTimeoutMaxMs: 300,
      heartbeatIntervalMs: 40,
      maxAppendBytes: 200,
      maxInflightAppends: 4,
      maxInflightBytes: 1000,
      windowBytes: this.#options.windowBytes,
      hardState: node.hardState,
      trustDisk: true,
      tookPart: false,
      restored: { entries: node.disk },
      now: this.nowMs,
    });
    for (const peer of this.ids) if (peer !== id) this.#channel(peer, id, true, this.random.between(0, 20));
  }

  /** Cuts every link between the group and the others; with `noticed` their channels report it. */
  partition(group: readonly NodeId[], noticed: boolean): void {
    for (const inside of group) {
      for (const outside of this.ids.filter((id) => !group.includes(id))) this.cut(inside, outside, noticed);
    }
  }

  /** Cuts the link between two nodes. */
  cut(left: NodeId, right: NodeId, noticed: boolean): void {
    this.#cut.add(`${left}>${right}`).add(`${right}>${left}`);
    if (!noticed) return;
    this.#channel(left, right, false, this.random.between(0, 20));
    this.#channel(right, left, false, this.random.between(0, 20));
  }

  /** Mends every link. */
  heal(): void {
    for (const link of this.#cut) {
      const [from, to] = link.split(">") as [NodeId, NodeId];
      this.#channel(from, to, true, this.random.between(0, 20));
    }
    this.#cut.clear();
  }

  #node(id: NodeId): SimulatedNode {
    const node = this.#nodes.find((candidate) => candidate.id === id);
    invariant(node !== undefined, `${id} exists`);
    return node;
  }

  #data(): Uint8Array {
    const data = new Uint8Array(this.random.between(4, 40));
    new DataView(data.buffer).setUint32(0, this.#nextData++);
    return data;
  }

  #later(delayMs: number, action: () => void): void {
    const atMs = this.nowMs + Math.max(1, delayMs);
    const due = this.#agenda.get(atMs);
    if (due === undefined) this.#agenda.set(atMs, [action]);
    else due.push(action);
  }

  #channel(at: NodeId, peer: NodeId, up: boolean, delayMs: number): void {
    this.#later(delayMs, () => this.#step(this.#node(at), { type: "channel", peer, up, now: this.nowMs }));
  }

  #step(node: SimulatedNode, event: ConsensusEvent): void {
    const { raft } = node;
    if (raft === undefined) return;
    const wasLeader = raft.status().role === "leader";
    const ready = raft.step(event);
    const status = raft.status();
    if (ready.persist !== undefined) this.#write(node, ready.persist);
    invariant(
      status.lastIndex === node.log.length && status.durableIndex <= status.lastIndex,
      `${node.id} knows its log`,
    );
    invariant(status.role !== "leader" || wasLeader || ready.roleChanged, `${node.id} reports that it leads`);
    if (ready.roleChanged && status.role === "leader") this.observer.leads(node.id, status.term, node.log);
    for (const { to, message } of ready.send) this.#send(node, to, message);
    this.#deliver(node, ready, status.term);
    for (const load of ready.load) this.#load(node, load);
    if (ready.roleChanged && status.role === "leader") this.propose(node.id, 1);
  }

  #write(node: SimulatedNode, request: PersistRequest): void {
    if (request.truncateFrom !== undefined) {
      invariant(request.truncateFrom > node.deliveredIndex, `${node.id} truncates a committed entry`);
      node.log.length = request.truncateFrom - 1;
    }
    for (const entry of request.entries) {
      this.observer.appends(entry, node.log.at(-1)?.term ?? 0);
      node.log.push(entry);
    }
    node.writes.push(request);
    if (node.writes.length === 1) this.#sync(node);
  }

  /** Writes the first request, or at times all that wait, and reports the last. */
  #sync(node: SimulatedNode): void {
    const { incarnation } = node;
    const stall = this.random.chance(this.faults.diskStall) ? DISK_STALL_MS : 0;
    this.#later(stall + this.random.between(1, this.faults.diskDelayMaxMs), () => {
      if (node.incarnation !== incarnation) return;
      const synced = node.writes.splice(0, this.random.chance(0.5) ? 1 : node.writes.length);
      for (const request of synced) this.#apply(node, request, true);
      if (node.writes.length > 0) this.#sync(node);
      this.#step(node, { type: "persisted", id: synced.at(-1)?.id ?? 0, now: this.nowMs });
    });
  }

  #apply(node: SimulatedNode, request: PersistRequest, whole: boolean): void {
    if (request.truncateFrom !== undefined) node.disk.length = request.truncateFrom - 1;
    node.disk.push(...request.entries);
    if (whole && request.hardState !== undefined) node.hardState = request.hardState;
  }

  #send(node: SimulatedNode, to: NodeId, message: ConsensusMessage): void {
    this.#checkPromise(node, to, message);
    if (this.#cut.has(`${node.id}>${to}`) || this.random.chance(this.faults.loss)) return;
    const bytes = encodeMessage(message);
    for (let copies = this.random.chance(this.faults.duplicate) ? 2 : 1; copies > 0; copies--) {
      this.#later(this.random.between(1, this.faults.delayMaxMs), () => {
        if (this.#cut.has(`${node.id}>${to}`)) return;
        this.#step(this.#node(to), { type: "message", from: node.id, message: decodeMessage(bytes), now: this.nowMs });
      });
    }
  }

  /** What a message promises must be on the disk of its sender. */
  #checkPromise(node: SimulatedNode, to: NodeId, message: ConsensusMessage): void {
    const { id, hardState } = node;
    if (message.type === "appendResponse" && message.success && message.matchIndex > 0) {
      const at = message.matchIndex - 1;
      invariant(
        node.disk[at] !== undefined && sameEntry(node.disk[at], node.log[at]),
        `${id} acknowledges ${at + 1} before it is durable`,
      );
    }
    if (message.type === "voteResponse" && message.granted && !message.preVote) {
      invariant(
        hardState?.term === message.term && hardState.votedFor === to,
        `${id} answers a vote before it is durable`,
      );
    }
    if (message.type === "vote" && !message.preVote) {
      const durable =
        hardState?.term === message.term && hardState.votedFor === id && node.disk.length >= message.lastIndex;
      invariant(durable, `${id} asks for votes before its term and log are durable`);
    }
  }

  #deliver(node: SimulatedNode, ready: Ready, term: number): void {
    for (const entry of ready.committed) {
      invariant(entry.index === ++node.deliveredIndex, `${node.id} hands out committed entries in order`);
      const count = this.#nodes.filter(({ disk }) => sameEntry(disk[entry.index - 1], entry)).length;
      this.observer.commits(entry, term, { count, needed: this.#quorum.replicationSize });
    }
  }

  #load(node: SimulatedNode, load: Ready["load"][number]): void {
    const { incarnation } = node;
    this.loadCount++;
    this.#later(this.random.between(1, this.faults.diskDelayMaxMs), () => {
      if (node.incarnation !== incarnation) return;
      const entries = node.disk.slice(load.fromIndex - 1, load.fromIndex - 1 + this.random.between(1, 5));
      this.#step(node, { type: "loaded", peer: load.peer, entries, now: this.nowMs });
    });
  }
}
