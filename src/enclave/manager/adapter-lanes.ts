/**
 * The adapters of one node: for each that the constitution mounts the lane of its executions, the transactions of this node's
 * clients, and the mail to its worker; and the ways of transactions and outcomes between them and the leader.
 *
 * They follow the committed constitution batch by batch, so that all nodes begin, configure and end an adapter at the same
 * place of the ledger. Where this node's code cannot run an adapter, or not with its options, the node says so, answers for
 * that adapter with `AdapterUnavailable`, and goes on with everything else.
 */
import { type Bytes, bytesKey } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import { sameTree } from "../../core/governance/action-kind.ts";
import type { AdapterEntry } from "../../core/governance/constitution.ts";
import type { UnsealedBatch } from "../../core/ledger/batch.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { type Rights, RightsInForce } from "../../core/governance/rights.ts";
import type { Clock, Executor, StartExecutor, Tracer } from "../ports.ts";
import type { ExecutedTransaction, FromWorker } from "../worker/protocol.ts";
import { type ForwardedOutcome, type Frame, forwardFrames, outcomeFrames } from "./frames.ts";
import { AdapterLane } from "./lane.ts";
import type { LaneOutcome } from "./lane-outcomes.ts";
import type { ManagerParts } from "./manager-parts.ts";
import type { BatchLimits, KeyedItem } from "./transaction-queue.ts";
import type { RoutedAdapter } from "./request-router.ts";
import type { SnapshotAdapter } from "./snapshot-receiver.ts";
import { type Routed, Submissions } from "./submissions.ts";
import { WorkerMailbox } from "./worker-mailbox.ts";
import { type RecoverySources, WorkerRecovery } from "./worker-recovery.ts";
import { WorkerSupervisor } from "./worker-supervisor.ts";

/** One adapter on its way through this node. */
export interface Lane extends RoutedAdapter, SnapshotAdapter {
  readonly lane: AdapterLane;
  readonly submissions: Submissions;
  /** As the constitution has it now. */
  entry: AdapterEntry;
  isUnable: boolean;
  /** Whether its worker has been ready. */
  hasRun: boolean;
  keepsState: boolean;
  /** Its worker was lost; one that has the committed state is on its way. */
  isRestoring: boolean;
  readonly supervisor: WorkerSupervisor;
}

/** Who leads, as far as transactions need to know. */
export interface LeaderView {
  readonly leads: boolean;
  /** This node leads and executes. */
  readonly serving: boolean;
  readonly leader: NodeId | undefined;
}

/** What the lanes need of the node around them. */
export interface AdapterLanesParts {
  readonly clock: Clock;
  readonly tracer: Tracer;
  readonly startExecutor: StartExecutor;
  /** A message of the worker of an adapter that is mounted, or is being imported. */
  readonly onMessage: (adapterId: number, message: FromWorker) => void;
  /** An adapter ends on this node: nobody answers for it any more. */
  readonly onEnded: (adapterId: number, why: "removed" | "unable") => void;
  /** The worker of an adapter is gone, and with it what it executed that is not committed. */
  readonly onLost: (adapterId: number) => void;
  /** A new worker has the committed state. */
  readonly onRestored: () => void;
  /** Whether a worker may begin anew now. */
  readonly mayRestore: () => boolean;
  readonly recovery: RecoverySources;
  readonly randomBytes: (length: number) => Bytes;
  /** As the network has them now: a vote may change them. */
  readonly settings: () => {
    readonly maxBatch: BatchLimits;
    readonly maxDelayMs: number;
    readonly answerAfter: "commit" | "execution";
  };
  /** What senders may do at the end of the log. */
  readonly rights: () => Rights;
  readonly batchTime: () => number;
  readonly view: () => LeaderView;
  /** Whether a batch may be executed now. */
  readonly mayExecute: () => boolean;
  readonly propose: (
    adapterId: number,
    transactions: readonly ExecutedTransaction[],
    keys: readonly string[],
  ) => number | undefined;
  readonly send: (peer: NodeId, frame: Frame) => boolean;
}

/** See the module's header. */
export class AdapterLanes {
  readonly #parts: AdapterLanesParts;
  readonly #lanes = new Map<number, Lane>();
  /** Of adapters that a snapshot on its way into this node has, and this node has not yet. */
  readonly #prepared = new Map<number, Lane>();
  /** All adapters had a state once. */
  #hasServed = false;

  constructor(parts: AdapterLanesParts) {
    this.#parts = parts;
  }

  /** From now on these adapters are mounted, with these options. */
  follow(adapters: readonly AdapterEntry[]): void {
    for (const [id, lane] of this.#lanes) if (adapters.every((entry) => entry.id !== id)) this.#remove(lane);
    for (const entry of adapters) {
      const lane = this.#lanes.get(entry.id);
      if (lane === undefined) this.#lanes.set(entry.id, this.#takePrepared(entry) ?? this.#createLane(entry));
      else this.#configure(lane, entry);
    }
    for (const { executor } of this.#prepared.values()) executor.close();
    this.#prepared.clear();
  }

  /** Starts workers for the adapters of a snapshot that this node has not mounted: they may be imported into. */
  prepare(adapters: readonly AdapterEntry[]): void {
    for (const { executor } of this.#prepared.values()) executor.close();
    this.#prepared.clear();
    for (const entry of adapters) if (!this.#lanes.has(entry.id)) this.#prepared.set(entry.id, this.#createLane(entry));
  }

  #takePrepared(entry: AdapterEntry): Lane | undefined {
    const lane = this.#prepared.get(entry.id);
    // A snapshot that was given up may have named anything.
    if (lane === undefined || !isSameEntry(lane.entry, entry)) return undefined;
    this.#prepared.delete(entry.id);
    return lane;
  }

  #configure(lane: Lane, entry: AdapterEntry): void {
    const before = lane.entry;
    lane.entry = entry;
    if (before === entry || sameTree(before.options, entry.options)) return;
    this.#parts.tracer.event("info", "adapter_configured", { adapter: entry.name });
    // One that never ran has no state to lose.
    if (!lane.keepsState && lane.committedVersion() === 0) {
      lane.executor.close();
      this.#lanes.set(entry.id, this.#createLane(entry));
    } else lane.lane.configure(entry.options);
  }

  #remove(lane: Lane): void {
    const { id, name } = lane.entry;
    this.#parts.tracer.event("info", "adapter_removed", { adapter: name });
    this.#lanes.delete(id);
    lane.executor.close();
    this.#parts.onEnded(id, "removed");
  }

  /** The adapter of a worker runs, perhaps again. */
  ready(adapterId: number): void {
    const lane = this.importable(adapterId);
    if (lane === undefined) return;
    lane.hasRun = true;
    if (!lane.isUnable) return;
    lane.isUnable = false;
    lane.lane.enable();
  }

  /** A worker cannot run its adapter. */
  unable(adapterId: number, message: string): void {
    const lane = this.importable(adapterId);
    if (lane === undefined || lane.isUnable) return;
    const { name, version } = lane.entry;
    this.#parts.tracer.event("error", "adapter_unavailable", { adapter: name, version, message });
    lane.isUnable = true;
    lane.keepsState = lane.hasRun;
    lane.lane.disable();
    this.#parts.onEnded(adapterId, "unable");
  }

  /** @param lane of the worker; it is there before anything else happens */
  #supervise(id: number, lane: () => Lane): WorkerSupervisor {
    const { clock, tracer, startExecutor, onMessage, onLost, onRestored, mayRestore, recovery } = this.#parts;
    return new WorkerSupervisor({
      ...{ clock, tracer, startExecutor, mayRestore },
      onMessage: (message) => onMessage(id, message),
      entry: () => lane().entry,
      onLost: () => {
        lane().isRestoring = true;
        lane().lane.lose();
        onLost(id);
      },
      onRestored: () => {
        lane().isRestoring = false;
        lane().lane.resume();
        onRestored();
      },
      recover: (send, done) =>
        new WorkerRecovery(recovery, { adapterId: id, committed: () => lane().lane.committedState, send, done }),
    });
  }

  #createLane(entry: AdapterEntry): Lane {
    const { clock, randomBytes, settings, rights, batchTime, view, mayExecute, propose } = this.#parts;
    const { id, mount } = entry;
    const supervisor = this.#supervise(id, () => created);
    const executor: Executor = supervisor;
    const mailbox = new WorkerMailbox(executor, clock, () => view().serving);
    const submissions = new Submissions({
      now: () => clock.now(),
      route: (entries) => this.#route(id, entries),
      answer: (request, outcomes) => mailbox.outcomes({ id: request, outcomes }),
    });
    const lane = new AdapterLane({
      adapterId: id,
      executor,
      limits: () => settings().maxBatch,
      rights,
      maxDelayMs: () => settings().maxDelayMs,
      after: (delayMs, callback) => clock.after(delayMs, callback),
      batchTime,
      randomBytes,
      mayExecute,
      propose: (transactions, keys) => propose(id, transactions, keys),
      endWorker: (reason) => supervisor.end(reason),
      deliver: (origin, outcomes) => this.#deliver(id, origin, outcomes),
    });
    const committedVersion = () => lane.committedVersion;
    const restore = (version: number, index: number) => lane.restore(version, index);
    const condition = { isUnable: false, hasRun: false, keepsState: true, isRestoring: false };
    const own = { lane, mount, submissions, mailbox, executor, supervisor, entry, committedVersion, restore };
    const created: Lane = { ...own, ...condition };
    supervisor.start();
    return created;
  }

  /** Whether an adapter has no worker with the committed state. */
  get isRestoring(): boolean {
    return [...this.#lanes.values()].some((lane) => lane.isRestoring);
  }

  /**
   * Why clients should wait before they come to this node; undefined: its adapters serve. One that this node's code cannot run says
   * so itself, for as long as members leave it so; and one that is mounted later, without a state at first, takes no node away from
   * the clients of the others.
   */
  get hindrance(): string | undefined {
    for (const { isUnable, isRestoring, committedVersion, entry } of this.#lanes.values()) {
      if (isUnable) continue;
      if (isRestoring) return `the worker of adapter ${entry.name} is not there yet`;
      if (!this.#hasServed && committedVersion() === 0) return `adapter ${entry.name} has no state here yet`;
    }
    this.#hasServed = true;
    return undefined;
  }

  /** Workers that were lost since the node started, of the adapters that are mounted. */
  get workersLost(): number {
    return [...this.#lanes.values()].reduce((sum, { supervisor }) => sum + supervisor.losses, 0);
  }

  /** Those that are mounted, by id. */
  get byId(): ReadonlyMap<number, Lane> {
    return this.#lanes;
  }

  /** An adapter whose state may be imported: one that is mounted, or will be by the snapshot that is on its way. */
  importable(adapterId: number): Lane | undefined {
    return this.#lanes.get(adapterId) ?? this.#prepared.get(adapterId);
  }

  /** Transactions of this node's clients whose outcome is not final. */
  get pendingTransactions(): number {
    let pending = 0;
    for (const { submissions } of this.#lanes.values()) pending += submissions.size;
    return pending;
  }

  /** Takes this node's transactions to the leader. */
  #route(adapterId: number, entries: readonly KeyedItem[]): Routed {
    const { leads, leader } = this.#parts.view();
    if (leads) {
      this.#lanes.get(adapterId)?.lane.enqueueKeyed(entries, undefined);
      return "sent";
    }
    if (leader === undefined) return "none";
    let sent = 0;
    let lost = 0;
    for (const frame of forwardFrames(adapterId, entries)) {
      if (this.#parts.send(leader, frame)) sent++;
      else lost++;
    }
    if (lost === 0) return "sent";
    return sent === 0 ? "none" : "unsure";
  }

  #deliver(adapterId: number, origin: NodeId | undefined, outcomes: readonly LaneOutcome[]): void {
    const { send, settings } = this.#parts;
    if (origin !== undefined) for (const frame of outcomeFrames(adapterId, outcomes)) send(origin, frame);
    else this.takeOutcomes(adapterId, outcomes, settings().answerAfter === "execution");
  }

  /**
   * Takes the leader's word on transactions of this node.
   * @param answerNow whether inclusion answers the client before the commit
   */
  takeOutcomes(adapterId: number, outcomes: readonly (ForwardedOutcome | LaneOutcome)[], answerNow: boolean): void {
    this.#lanes.get(adapterId)?.submissions.outcomes(outcomes, answerNow);
  }

  /** The state was replaced up to this index: what this node sent may be in the part it never saw, and the leader knows. */
  restored(index: number): void {
    for (const { submissions } of this.#lanes.values()) submissions.restored(index);
  }

  /**
   * A batch of an adapter is committed. That the adapter was mounted at its place is known since the batch entered the log:
   * if it is not now, the batch waited for a key while the adapter was removed, and nobody needs its state any more.
   * @param ownKeys the keys of its transactions when this node executed it
   * @param open opens its content otherwise
   */
  committed(batch: ParsedBatch, ownKeys: readonly string[] | undefined, open: () => UnsealedBatch): void {
    const { index, view, firstSeqno, count, adapterId } = batch.header;
    const found = this.#lanes.get(adapterId);
    if (found === undefined) return;
    const opened = ownKeys === undefined ? open() : undefined;
    found.supervisor.wrote(batch.publicSection.length + batch.sealedSection.length);
    found.lane.committed({ index, view, firstSeqno, count }, () => opened?.parts ?? []);
    found.submissions.committed(index, () => ownKeys ?? opened?.ids().map(bytesKey) ?? []);
  }

  /** A leader can be reached: what has no final outcome goes to it. */
  leaderChanged(): void {
    for (const { submissions } of this.#lanes.values()) submissions.leaderChanged();
  }

  /** Sends again what got no answer. */
  tick(): void {
    for (const { submissions, supervisor } of this.#lanes.values()) {
      submissions.tick();
      supervisor.tick();
    }
  }

  /** Everything up to this index is durable on this node. */
  durable(index: number): void {
    for (const { lane } of this.#lanes.values()) lane.durable(index);
  }

  /** What this node executed and is not committed is undone. */
  stopLeading(): void {
    for (const { lane } of this.#lanes.values()) lane.stopLeading();
  }

  /** A leader may go on: adapters without state get their first one, the others their next batch. */
  pump(mayBegin: boolean): void {
    for (const { lane } of this.#lanes.values()) {
      if (lane.isEmpty && lane.isIdle && mayBegin) lane.executeGenesis();
      lane.pump();
    }
  }
}

function isSameEntry(one: AdapterEntry, other: AdapterEntry): boolean {
  const { name, version, mount } = other;
  return one.name === name && one.version === version && one.mount === mount && sameTree(one.options, other.options);
}

type LanesOwnParts = "clock" | "tracer" | "startExecutor" | "randomBytes" | "settings" | "rights" | "batchTime";

/** The lanes of a node's manager; no adapter is mounted yet. */
export function createAdapterLanes(
  { clock, tracer, startExecutor, randomBytes, sealing, administration, ...parts }: ManagerParts,
  around: Omit<AdapterLanesParts, "recovery" | LanesOwnParts> & Pick<RecoverySources, "snapshot" | "onFatal">,
): AdapterLanes {
  const rights = new RightsInForce(() => administration.constitution);
  const { snapshots, checked, arrived } = parts;
  const { snapshot, onFatal } = around;
  const check: RecoverySources["check"] = (entry) => checked.batchOf(entry);
  return new AdapterLanes({
    ...{ clock, tracer, startExecutor, randomBytes, ...around },
    recovery: { clock, disk: snapshots.disk, opening: snapshots, snapshot, check, open: arrived.open, onFatal },
    settings: () => (administration.committed ?? administration).constitution.settings,
    rights: () => rights.now,
    batchTime: () => sealing.batchTime(),
  });
}
