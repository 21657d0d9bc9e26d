/**
 * A deterministic network of Raft cores with simulated disks, channels and time; one thread, one seed, one outcome.
 *
 * Fault model. Network: loss, doubling, any order, partitions, channels that break and come back. Disk: slow, at times
 * stalled or full; a crash loses what was not synced, or leaves a first part of the next write (truncation, some entries, no
 * hard state); a host may bring back an old disk. Nodes: crash and restart, join and leave. Every message passes through
 * its byte encoding. Safety is checked at every step.
 */
import { invariant } from "../../../errors.ts";
import { concatBytes } from "../../codec/bytes.ts";
import { decodeMessage, encodeMessage } from "../messages.ts";
import { JointQuorum } from "../quorum.ts";
import { Raft } from "../raft.ts";
import type {
  Configuration,
  ConsensusEvent,
  ConsensusMessage,
  ConsensusStatus,
  NodeId,
  PersistRequest,
  Ready,
} from "../types.ts";
import { Agenda, CutLinks } from "./agenda.ts";
import { checkPromise, holds, SafetyObserver } from "./invariants.ts";
import { SeededRandom } from "./random.ts";
import { type Faults, NO_FAULTS, type SimulatorOptions, TIMES_AND_LIMITS } from "./faults.ts";
import { configurationEntry, configurationIn } from "./scriptedNode.ts";
import { hashEntry, readSnapshotData, SimulatedNode, snapshotData } from "./simulatedNode.ts";

const TICK_MS = 10;
const DISK_STALL_MS = 150;

/** The simulated network. */
export class Simulator {
  readonly random: SeededRandom;
  readonly observer = new SafetyObserver();
  readonly ids: readonly NodeId[];
  faults: Faults = NO_FAULTS;
  loadCount = 0;
  installCount = 0;
  readCount = 0;
  /** Configurations that nodes applied. */
  configurationCount = 0;
  /** Restarts of nodes that did not believe their disks and recovered. */
  recoveryCount = 0;
  readonly initial: Configuration;
  readonly #options: SimulatorOptions;
  /** What was committed anywhere when a read was asked for, by its id. */
  readonly #reads: number[] = [];
  readonly #nodes: readonly SimulatedNode[];
  readonly #agenda = new Agenda();
  readonly #cut = new CutLinks();
  #nextData = 1;

  constructor(options: SimulatorOptions) {
    this.#options = options;
    this.random = new SeededRandom(options.seed);
    this.ids = Array.from({ length: options.nodeCount }, (_, at) => `n${at + 1}`);
    const voters = this.ids.slice(0, options.voterCount ?? options.nodeCount);
    this.initial = { current: { voters, quorum: options.quorum }, previous: undefined, learners: [] };
    this.#nodes = this.ids.map((id) => new SimulatedNode(id, this.initial));
    for (const id of this.ids) this.restart(id);
  }

  /** Simulated time. */
  get nowMs(): number {
    return this.#agenda.nowMs;
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
    for (const end = this.nowMs + durationMs; this.nowMs < end; this.#agenda.nowMs++) {
      this.#agenda.perform();
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

  /** Proposes a configuration on a node, legal or not; returns its index. */
  proposeConfiguration(id: NodeId, configuration: Configuration): number {
    const { term, lastIndex } = this.status(id);
    const entries = [configurationEntry(lastIndex + 1, term, configuration)];
    this.#step(this.#node(id), { type: "propose", entries, now: this.nowMs });
    return lastIndex + 1;
  }

  /** Asks a node for a linearizable read; its answer is checked when it comes. */
  read(id: NodeId): void {
    this.#reads.push(this.observer.committedCount);
    this.#step(this.#node(id), { type: "read", id: this.#reads.length - 1, now: this.nowMs });
  }

  /** Asks a node to hand over leadership. */
  transfer(id: NodeId, to: NodeId | undefined): void {
    this.#step(this.#node(id), { type: "transfer", to, now: this.nowMs });
  }

  /** Has the members end a node's recovery. */
  resume(id: NodeId): void {
    this.#step(this.#node(id), { type: "resume", now: this.nowMs });
  }

  /** Makes a snapshot of what a node has applied and forgets the log before it. */
  compact(id: NodeId): void {
    const node = this.#node(id);
    const { durableIndex } = this.status(id);
    const { deliveredIndex: index, stateHash, applied } = node;
    const term = node.log.at(index)?.term;
    if (term === undefined || durableIndex < index) return;
    const mark = { index, term, configuration: applied.configuration, configurationIndex: applied.index };
    node.disk.keep({ mark, data: snapshotData(index, stateHash) });
    this.#step(node, { type: "compact", snapshot: mark, now: this.nowMs });
  }

  /** Fills a node's disk, or frees it. */
  fillDisk(id: NodeId, full: boolean): void {
    const node = this.#node(id);
    node.diskFull = full;
    if (node.raft === undefined) return;
    this.#step(node, { type: "diskFull", full, now: this.nowMs });
    if (!full && node.writes.length > 0) this.#sync(node);
  }

  /** Remembers what a node's disk holds now. */
  backUp(id: NodeId): void {
    this.#node(id).backup = this.#node(id).disk.copy();
  }

  /** Brings back what was remembered; only while the node is down. */
  rollBack(id: NodeId): void {
    const node = this.#node(id);
    invariant(node.raft === undefined, `${id} is down`);
    node.disk = node.backup.copy();
  }

  /** Stops a node; what it had not synced is lost, or with `torn` partly written. */
  crash(id: NodeId, torn = false): void {
    const node = this.#node(id);
    const write = node.writes[0];
    if (torn && write !== undefined) {
      const entries = write.entries.slice(0, this.random.between(0, write.entries.length));
      node.disk.apply({ ...write, entries }, false);
    }
    node.raft = undefined;
    node.incarnation++;
    node.writes = [];
    for (const peer of this.ids) if (peer !== id) this.#channel(peer, id, false, this.random.between(0, 20));
  }

  /** Starts a node from its disk. */
  restart(id: NodeId): void {
    const node = this.#node(id);
    const { log, hardState } = node.disk;
    // The log is there from where it began: an older snapshot, or none, would do as well.
    const snapshot = log.startIndex > 0 || this.random.chance(0.7) ? node.disk.usable() : undefined;
    node.restore(snapshot, this.initial);
    node.raft = new Raft({
      ...TIMES_AND_LIMITS,
      id,
      initial: this.initial,
      random: this.random.next,
      windowBytes: this.#options.windowBytes,
      hardState,
      trustDisk: () => this.#options.trustDisk ?? true,
      tookPart: node.tookPart,
      restored: { snapshot: snapshot?.mark, entries: log.slice(node.deliveredIndex + 1) },
      now: this.nowMs,
    });
    // A disk that is believed is one that is never lost.
    node.tookPart = this.#options.trustDisk === false;
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
    this.#cut.add(left, right);
    if (!noticed) return;
    this.#channel(left, right, false, this.random.between(0, 20));
    this.#channel(right, left, false, this.random.between(0, 20));
  }

  /** Mends every link. */
  heal(): void {
    for (const [from, to] of this.#cut.clear()) this.#channel(from, to, true, this.random.between(0, 20));
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

  #channel(at: NodeId, peer: NodeId, up: boolean, delayMs: number): void {
    this.#agenda.later(delayMs, () => this.#step(this.#node(at), { type: "channel", peer, up, now: this.nowMs }));
  }

  #step(node: SimulatedNode, event: ConsensusEvent): void {
    const { raft } = node;
    if (raft === undefined) return;
    const before = raft.status();
    const ready = raft.step(event);
    const status = raft.status();
    if (ready.installed !== undefined) this.#install(node, ready.installed);
    if (ready.persist !== undefined) this.#write(node, ready.persist);
    invariant(
      status.lastIndex === node.log.lastIndex && status.durableIndex <= status.lastIndex,
      `${node.id} knows its log`,
    );
    if (before.recovering && !status.recovering) this.recoveryCount++;
    const leads = status.role === "leader";
    invariant(!leads || before.role === "leader" || ready.roleChanged, `${node.id} reports that it leads`);
    invariant(!leads || !status.recovering, `${node.id} does not lead while it recovers`);
    if (ready.roleChanged && leads) this.observer.leads(node.id, status.term, node.log);
    for (const { to, message } of ready.send) this.#send(node, to, message);
    if (before.role === "leader" && status.commitIndex > before.commitIndex) this.#checkDurable(node, before);
    this.#deliver(node, ready, status.term);
    for (const { id, index } of ready.reads) this.#checkRead(node, id, index);
    for (const load of ready.load) this.#load(node, load);
    for (const load of ready.loadSnapshot) this.#loadSnapshot(node, load);
    for (const part of ready.snapshotParts) this.#stage(node, part);
    if (ready.roleChanged && leads) this.propose(node.id, 1);
  }

  #checkRead(node: SimulatedNode, id: number, index: number | undefined): void {
    if (index === undefined) return;
    this.readCount++;
    invariant(
      index >= (this.#reads[id] ?? 0),
      `${node.id} answers a read with an older state than was committed before it`,
    );
  }

  #write(node: SimulatedNode, request: PersistRequest): void {
    if (request.truncateFrom !== undefined) {
      invariant(request.truncateFrom > node.deliveredIndex, `${node.id} truncates a committed entry`);
      node.log.truncate(request.truncateFrom);
    }
    for (const entry of request.entries) {
      this.observer.appends(entry, node.log.lastTerm);
      node.log.entries.push(entry);
    }
    node.writes.push(request);
    if (node.writes.length === 1) this.#sync(node);
  }

  /** Writes the first request, or at times all that wait, and reports the last. */
  #sync(node: SimulatedNode): void {
    const { incarnation } = node;
    const stall = this.random.chance(this.faults.diskStall) ? DISK_STALL_MS : 0;
    this.#agenda.later(stall + this.random.between(1, this.faults.diskDelayMaxMs), () => {
      if (node.incarnation !== incarnation || node.diskFull) return;
      const synced = node.writes.splice(0, this.random.chance(0.5) ? 1 : node.writes.length);
      if (synced.length === 0) return;
      for (const request of synced) node.disk.apply(request, true);
      if (node.writes.length > 0) this.#sync(node);
      this.#step(node, { type: "persisted", id: synced.at(-1)?.id ?? 0, now: this.nowMs });
    });
  }

  #send(node: SimulatedNode, to: NodeId, message: ConsensusMessage): void {
    checkPromise(node, to, message);
    const receiver = this.#node(to);
    if (this.#cut.has(node.id, to) || this.random.chance(this.faults.loss)) return;
    const bytes = encodeMessage(message);
    const incarnations = [node.incarnation, receiver.incarnation];
    for (let copies = this.random.chance(this.faults.duplicate) ? 2 : 1; copies > 0; copies--) {
      this.#agenda.later(this.random.between(1, this.faults.delayMaxMs), () => {
        if (this.#cut.has(node.id, to)) return;
        // A channel does not outlive its ends. Where disks are believed, nothing depends on that.
        const over = receiver.incarnation !== incarnations[1] || (node.raft && node.incarnation !== incarnations[0]);
        if (over && this.#options.trustDisk === false) return;
        this.#step(receiver, { type: "message", from: node.id, message: decodeMessage(bytes), now: this.nowMs });
      });
    }
  }

  /** What a leader commits lies on the disks of a replication quorum of each set that was active then. */
  #checkDurable(node: SimulatedNode, before: ConsensusStatus): void {
    // A disk that was brought back may not hold any more what it acknowledged.
    if (this.#options.trustDisk === false) return;
    const { commitIndex } = this.status(node.id);
    const entry = node.log.at(commitIndex);
    const quorum = new JointQuorum(before.configuration);
    const held = (voter: NodeId): number => (holds(this.#node(voter), entry) ? 1 : 0);
    invariant(
      quorum.replicatedIndex(held) === 1,
      `${node.id} commits ${commitIndex} although no quorum has it on disk`,
    );
  }

  #deliver(node: SimulatedNode, ready: Ready, term: number): void {
    for (const entry of ready.committed) {
      invariant(entry.index === ++node.deliveredIndex, `${node.id} hands out committed entries in order`);
      node.stateHash = hashEntry(node.stateHash, entry);
      const brought = configurationIn(entry.data);
      if (brought !== undefined) {
        node.applied = { configuration: brought, index: entry.index };
        this.configurationCount++;
      }
      this.observer.commits(entry, term);
    }
  }

  #loadSnapshot(node: SimulatedNode, { peer, index, offset, maxBytes }: Ready["loadSnapshot"][number]): void {
    const { incarnation } = node;
    this.#agenda.later(this.random.between(1, this.faults.diskDelayMaxMs), () => {
      if (node.incarnation !== incarnation) return;
      const { stored, data, last } = node.disk.part(index, offset, this.random.between(1, maxBytes));
      this.#step(node, { type: "snapshotLoaded", peer, snapshot: stored?.mark, offset, data, last, now: this.nowMs });
    });
  }

  #stage(node: SimulatedNode, { snapshot, offset, data, last }: Ready["snapshotParts"][number]): void {
    if (offset === 0) node.staging = { mark: snapshot, parts: [] };
    const { staging, incarnation } = node;
    invariant(staging?.mark.index === snapshot.index, `${node.id} is given parts in order`);
    staging.parts.push(data);
    if (!last) return;
    this.#agenda.later(this.random.between(1, 3 * this.faults.diskDelayMaxMs), () => {
      if (node.incarnation !== incarnation || node.staging !== staging) return;
      if (this.random.chance(0.1)) return this.#step(node, { type: "snapshotRefused", now: this.nowMs });
      node.disk.keep({ mark: snapshot, data: concatBytes(...staging.parts) });
      this.#step(node, { type: "snapshotStored", snapshot, now: this.nowMs });
    });
  }

  #install(node: SimulatedNode, mark: NonNullable<Ready["installed"]>): void {
    const stored = node.disk.snapshots.find((snapshot) => snapshot.mark.index === mark.index);
    invariant(stored !== undefined && mark.index > node.deliveredIndex, `${node.id} installs a newer snapshot it has`);
    const { index, hash } = readSnapshotData(stored.data);
    this.observer.installs(index, hash);
    this.installCount++;
    node.log.reset(mark);
    node.takeOver(stored);
  }

  #load(node: SimulatedNode, load: Ready["load"][number]): void {
    const { incarnation } = node;
    this.loadCount++;
    this.#agenda.later(this.random.between(1, this.faults.diskDelayMaxMs), () => {
      if (node.incarnation !== incarnation) return;
      const entries = node.disk.log.slice(load.fromIndex, this.random.between(1, 5));
      this.#step(node, { type: "loaded", peer: load.peer, entries, now: this.nowMs });
    });
  }
}
