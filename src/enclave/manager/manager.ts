/**
 * The manager of a validating node: consensus, sealing, governance and the ways of requests, put together. It holds the
 * keys; adapters run behind executors and never see one (R31). Everything outside is a port, so that the same manager
 * runs in a real node and in the simulator.
 *
 * One thread, no promises: frames, worker messages, client requests and timers come in as calls; nothing blocks.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { ConsensusStatus, NodeId } from "../../core/consensus/types.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import type { CocoError } from "../../errors.ts";
import type { PeerEvents } from "../ports.ts";
import type { FromWorker } from "../worker/protocol.ts";
import { decodeFrame, encodeFrame, type Frame } from "./frames.ts";
import { type Admission, createAdmission } from "./admission.ts";
import { type AdapterLanes, createAdapterLanes, type Lane } from "./adapter-lanes.ts";
import { requireRunnable } from "./adapter-proposals.ts";
import { ArrivedBatches } from "./arrived-batch.ts";
import { BatchProposer } from "./batch-proposer.ts";
import type { GovernanceAnswer } from "./governance-requests.ts";
import { createLeaseWatch, type LeaseWatch } from "./lease-watch.ts";
import { createLeaderDuties, type LeaderDuties } from "./leader-duties.ts";
import type { ArrivedRequest, ManagerParts } from "./manager-parts.ts";
import { FIRST_ID_BYTES, firstIdOf, type RoutedResponse } from "./open-requests.ts";
import type { Replicator } from "./replicator.ts";
import type { Leadership } from "./leadership.ts";
import { RequestRouter } from "./request-router.ts";
import type { ReceivedSnapshot } from "./snapshot-receiver.ts";
import { Snapshots } from "./snapshots.ts";
import { takeFrame } from "./peer-frames.ts";
import { takeWorkerMessage } from "./worker-messages.ts";
import { UnopenedBatches } from "./unopened-batches.ts";

/** Time between looks at what took too long. */
export const HOUSEKEEPING_INTERVAL_MS = 250;

/** See the module's header. */
export class Manager implements PeerEvents {
  readonly #parts: ManagerParts;
  readonly #replicator: Replicator;
  readonly #requests: RequestRouter;
  readonly #admission: Admission;
  /** How this node and its peers stand with their leases. */
  readonly leases: LeaseWatch;
  readonly #lanes: AdapterLanes;
  readonly #proposer: BatchProposer;
  #status: ConsensusStatus;
  /** The first batch of this node's own term is committed: everything before it is applied, execution may start. */
  #leaderReady = false;
  readonly #duties: LeaderDuties;
  readonly #snapshots: Snapshots;
  readonly #arrived: ArrivedBatches;
  readonly #unopened: UnopenedBatches;
  #committedSeqno = 0;
  #committedIndex = 0;
  #stopped = false;
  /** Frames of peers that were malformed or held what does not verify; each ended its channel. */
  refusedFrames = 0;

  constructor(parts: ManagerParts) {
    this.#parts = parts;
    this.#admission = createAdmission(parts);
    this.leases = createLeaseWatch(parts);
    this.#lanes = this.#createLanes();
    this.#lanes.follow(parts.adapters);
    this.#requests = new RequestRouter({
      ...{ now: () => parts.clock.now(), firstId: firstIdOf(parts.randomBytes(FIRST_ID_BYTES)), carried: parts },
      adapters: this.#lanes.byId,
      send: (peer, frame) => this.#send(peer, frame),
      refusalOf: (actorId, counts) => this.#admission.refusalOf(actorId, counts),
      ownStanding: () => this.leases.own,
      confirmRead: (id) => this.#replicator.read(id),
      governance: {
        sha256: parts.snapshots.crypto.sha256,
        administration: parts.administration,
        lead: (message, done) => {
          requireRunnable(message, parts.administration.constitution, parts.adapterProblem);
          this.#duties.submit(message, done);
        },
      },
    });
    this.#snapshots = new Snapshots({
      ...parts.snapshots,
      ...{ tail: parts.tail, administration: parts.administration, clock: parts.clock },
      adapters: this.#lanes.byId,
      targets: (adapterId) => this.#importable(adapterId),
      prepare: (adapters) => this.#lanes.prepare(adapters),
      tracer: parts.tracer,
      compact: (snapshot) => this.#replicator.compact(snapshot),
      stored: (snapshot) => this.#replicator.snapshotStored(snapshot),
      onInstalled: (snapshot) => this.#onInstalled(snapshot),
      onFatal: (error) => this.#fatal(error),
    });
    this.#arrived = new ArrivedBatches({ ...parts.arrived, snapshots: this.#snapshots });
    this.#replicator = parts.createReplicator({
      send: (peer, message) => this.#send(peer, { type: "consensus", message }),
      onArrived: (batch, state) => this.#arrived.check(batch, state),
      onCommitted: (batch) => this.#onCommitted(batch),
      onRoleChanged: (status) => this.#onRoleChanged(status),
      onDurable: (index) => {
        this.#snapshots.durable(index);
        this.#lanes.durable(index);
      },
      onDropped: () => this.#onDropped(),
      onReads: (reads) => this.#requests.confirmed(reads),
      snapshots: this.#snapshots,
      onFatal: (error) => this.#fatal(error),
    });
    this.#proposer = new BatchProposer(this.#replicator, parts.sealing, parts.administration);
    this.#duties = createLeaderDuties(parts, {
      learnersCaughtUp: () => this.#replicator.status().learnersCaughtUp,
      snapshot: () => this.#snapshots.unconfirmed,
      propose: (encoded, timeMs) => this.#proposer.framework([encoded], timeMs),
      agrees: (nodeId) => this.leases.agrees(nodeId),
      challenge: (nodeId, challenge) => this.#send(nodeId, { type: "challenge", challenge }),
    });
    this.#status = this.#replicator.status();
    this.#committedSeqno = parts.beginning?.snapshot.seqno ?? 0;
    this.#committedIndex = parts.beginning?.snapshot.mark.index ?? 0;
    this.#unopened = new UnopenedBatches({
      disk: parts.snapshots.disk,
      canOpen: (epoch) => parts.keyOf(epoch) !== undefined,
      committedIndex: () => this.#committedIndex,
      check: (entry) => parts.checked.batchOf(entry),
      onFatal: (error) => this.#fatal(error),
      apply: (batch) => this.#applicationCommitted(batch),
      onEnd: () => this.#requests.reads.applied(this.#committedIndex),
    });
  }

  #createLanes(): AdapterLanes {
    return createAdapterLanes(this.#parts, {
      onMessage: (adapterId, message) => this.#fromWorker(adapterId, message),
      onEnded: (adapterId, why) => {
        this.#requests.ended(adapterId, why);
        this.#snapshots.ended(adapterId);
        this.#arrived.ended(adapterId);
      },
      onLost: (adapterId) => this.#workerLost(adapterId),
      onRestored: () => this.#workerRestored(),
      mayRestore: () => !this.#stopped && !this.#snapshots.isBeginning,
      snapshot: () => this.#snapshots.finished,
      onFatal: (error) => this.#fatal(error),
      view: () => this.leadership,
      mayExecute: () => this.#leaderReady && !this.#duties.pending,
      propose: (adapterId, transactions, keys) => this.#proposer.application(adapterId, transactions, keys),
      send: (peer, frame) => this.#send(peer, frame),
    });
  }

  /**
   * Starts consensus and housekeeping, after the workers have taken the state this node begins from; then calls back: only
   * now may channels come up.
   */
  start(onStarted: () => void = () => undefined): void {
    const { beginning, clock } = this.#parts;
    const run = (): void => {
      if (this.#stopped) return;
      this.#replicator.start();
      this.#housekeep();
      onStarted();
    };
    // What the snapshot has never comes in a batch: a duplicate of it must not wait for one.
    if (beginning !== undefined) this.#lanes.restored(beginning.snapshot.mark.index);
    if (beginning === undefined) run();
    else this.#snapshots.begin(beginning, clock, run);
  }

  /** Asks consensus to hand the lead over to another node; nothing when this one does not lead. */
  transfer(): void {
    this.#replicator.transfer();
  }

  /** Takes no more events. */
  stop(): void {
    this.#stopped = true;
    this.#replicator.stop();
  }

  /** What consensus knows now. */
  get status(): ConsensusStatus {
    return this.#replicator.status();
  }

  /** Sequence number of the newest committed transaction; 0 when there is none. */
  get committedSeqno(): number {
    return this.#committedSeqno;
  }

  /** Whether committed batches wait here for the key of their epoch. */
  get waitsForKeys(): boolean {
    return this.#unopened.waiting;
  }

  /** Transactions of this node's clients whose outcome is not final. */
  get pendingTransactions(): number {
    return this.#lanes.pendingTransactions;
  }

  channelUp(peer: NodeId): void {
    this.#replicator.channel(peer, true);
    if (peer === this.#status.leader) this.#leaderReachable();
  }

  channelDown(peer: NodeId): void {
    this.#replicator.channel(peer, false);
    if (peer === this.#status.leader) this.#requests.leaderLost();
  }

  /** A frame of an attested peer. Throws for a frame that is not well formed or holds a batch that does not verify. */
  frame(peer: NodeId, bytes: Bytes): void {
    if (this.#stopped) return;
    try {
      const own = { replicator: this.#replicator, lanes: this.#lanes, requests: this.#requests, duties: this.#duties };
      const { onChallenge } = this.#parts;
      takeFrame({ ...own, leadership: this.leadership, leases: this.leases, onChallenge }, peer, decodeFrame(bytes));
    } catch (error) {
      this.refusedFrames++;
      throw error;
    }
  }

  #send(peer: NodeId, frame: Frame): boolean {
    return this.#parts.peers.send(peer, encodeFrame(frame));
  }

  /** Whether an adapter is mounted at a path. */
  serves(path: string): boolean {
    return this.#requests.serves(path);
  }

  /** A client's request for an adapter, already authenticated; answered 404 when no adapter is mounted at its path. */
  request(request: ArrivedRequest, respond: (response: RoutedResponse) => void): void {
    this.#requests.request(request, false, respond);
  }

  #fromWorker(adapterId: number, message: FromWorker): void {
    const found = this.#lanes.importable(adapterId);
    if (found === undefined || this.#stopped) return;
    const receivers = { lanes: this.#lanes, arrived: this.#arrived, requests: this.#requests };
    takeWorkerMessage({ ...receivers, snapshots: this.#snapshots }, found, message);
  }

  /** A received snapshot waits for workers that begin anew; the one this node begins with does not. */
  #importable(adapterId: number): Lane | undefined {
    const lane = this.#lanes.importable(adapterId);
    return lane?.isRestoring === true && !this.#snapshots.isBeginning ? undefined : lane;
  }

  /** What a leader's worker executed is undone, and a node that has all its workers takes the lead. */
  #workerLost(adapterId: number): void {
    this.#requests.ended(adapterId, "lost");
    this.#snapshots.workerLost(adapterId);
    this.#onDropped();
    if (this.#status.role === "leader") this.transfer();
  }

  #workerRestored(): void {
    this.#lanes.leaderChanged();
    if (this.#leaderReady) this.#lanes.pump(!this.#duties.pending);
  }

  /** How the adapters stand on this node. */
  get adapters(): Pick<AdapterLanes, "workersLost" | "hindrance"> {
    return this.#lanes;
  }

  #onRoleChanged(status: ConsensusStatus): void {
    const before = this.#status;
    this.#status = status;
    this.#parts.tracer.event("info", "role", { role: status.role, term: status.term, leader: status.leader ?? "none" });
    if (before.role === "leader" && (status.role !== "leader" || status.term !== before.term)) this.#stopLeading();
    if (status.role === "leader" && (before.role !== "leader" || status.term !== before.term)) this.#openTerm();
    if (status.leader === before.leader && status.term === before.term) return;
    this.#requests.leadershipChanged(this.leadership);
    if (status.leader !== undefined) this.#leaderReachable();
  }

  /** Consensus did not take a batch although this node leads, since it tries to hand over: what was executed is undone. */
  #onDropped(): void {
    if (this.#status.role !== "leader" || !this.#leaderReady) return;
    this.#stopLeading();
    this.#requests.leadershipChanged(this.leadership);
  }

  #openTerm(): void {
    this.#proposer.framework(this.#parts.tail.lastIndex === 0 ? this.#parts.firstTransactions() : []);
  }

  /** A leader that undid its work begins again behind a new batch of its term. */
  #resumeLeading(): void {
    const { role, transferring, commitIndex, lastIndex } = this.#replicator.status();
    const settled = !transferring && commitIndex === lastIndex && !this.#unopened.waiting;
    if (role === "leader" && !this.#leaderReady && settled) this.#openTerm();
  }

  #stopLeading(): void {
    this.#leaderReady = false;
    this.#duties.stopLeading();
    this.#proposer.stopLeading();
    this.#lanes.stopLeading();
  }

  /** Who leads now, and whether this node does and executes. */
  get leadership(): Leadership {
    const { leader, term, role } = this.#status;
    return { leader, term, leads: role === "leader", serving: this.#leaderReady };
  }

  #leaderReachable(): void {
    this.#lanes.leaderChanged();
    this.#requests.leaderReachable();
  }

  #onCommitted(batch: ParsedBatch): void {
    const { header } = batch;
    this.#committedSeqno = header.firstSeqno + header.count;
    this.#committedIndex = header.index;
    const before = this.#parts.administration.committed;
    const governance = this.#parts.administration.commit(header.index);
    if (governance !== before) {
      this.#lanes.follow(governance?.constitution.adapters ?? []);
      this.#parts.onGovernance({ before, header });
      this.#unopened.keysChanged();
    }
    this.#requests.governance.committed(batch);
    this.#requests.carried.tick();
    const waits = this.#unopened.holds(batch);
    if (!waits && header.kind === "application") this.#applicationCommitted(batch);
    if (!waits) this.#requests.reads.applied(header.index);
    this.#snapshots.committed(batch, !waits);
    if (this.#status.role === "leader" && header.view === this.#status.term) this.#leaderCommitted(header);
  }

  #applicationCommitted(batch: ParsedBatch): void {
    this.#lanes.committed(batch, this.#proposer.takeKeys(batch.header.index), () => this.#arrived.take(batch));
  }

  /** A batch of this node's own term is committed. */
  #leaderCommitted({ kind, index }: ParsedBatch["header"]): void {
    if (kind === "administrative") this.#duties.committed();
    // What lies behind it in the log was executed on a state that was given up: it is applied first.
    if (!this.#leaderReady && index === this.#parts.tail.lastIndex && !this.#unopened.waiting) this.#startLeading();
    if (!this.#leaderReady) return;
    this.#duties.next();
    this.#lanes.pump(!this.#duties.pending);
  }

  /** Everything before this node's term is committed and applied: it executes from now on. */
  #startLeading(): void {
    this.#leaderReady = true;
    this.#parts.tracer.event("info", "leading", { term: this.#status.term });
    this.#lanes.tick();
    this.#requests.leadershipChanged(this.leadership);
  }

  /** A snapshot of the leader took the place of what this node had. */
  #onInstalled({ seqno, mark }: ReceivedSnapshot): void {
    this.#committedSeqno = seqno;
    this.#committedIndex = mark.index;
    this.#lanes.follow(this.#parts.administration.constitution.adapters);
    this.#parts.onGovernance(undefined);
    this.#requests.governance.restored();
    this.#unopened.forget();
    this.#lanes.restored(mark.index);
    this.#requests.reads.applied(mark.index);
  }

  /** Brings a member's signed request into the ledger, by the leader; `done` tells once it is applied here, or why it is not. */
  govern(message: SignedMessage, done: (answer: GovernanceAnswer) => void): void {
    this.#requests.governance.submit(message, done);
  }

  /** The disk has no room, or has it again: without it this node neither leads nor acknowledges. */
  diskFull(full: boolean): void {
    this.#parts.tracer.event(full ? "error" : "info", full ? "disk_full" : "disk_has_room", {});
    this.#replicator.diskFull(full);
    this.#snapshots.diskFull(full);
  }

  #housekeep(): void {
    if (this.#stopped) return;
    this.#lanes.tick();
    this.#requests.tick();
    this.#unopened.keysChanged();
    this.leases.tick(this.#status, () => this.#replicator.transfer());
    if (this.#leaderReady) this.#duties.next();
    else this.#resumeLeading();
    this.#parts.clock.after(HOUSEKEEPING_INTERVAL_MS, () => this.#housekeep());
  }

  #fatal(error: CocoError): void {
    if (this.#stopped) return;
    this.stop();
    this.#parts.tracer.event("error", "fatal", { code: error.code, message: error.message });
    this.#parts.onFatal(error);
  }
}
