/**
 * The state of one Raft core and the moves every part of it shares: entering a term, becoming a follower, sending.
 *
 * The rules live in election.ts (votes), replication.ts and sending.ts (leader), acceptance.ts (follower), transfer.ts,
 * reads.ts, snapshots.ts, installing.ts and recovery.ts; they are functions over this state. Terms: a fresh node is in term 1,
 * "no term yet", so that the first elected term is 2.
 */
import { CocoError, invariant } from "../../errors.ts";
import type { Bytes } from "../codec/bytes.ts";
import { checkConfiguration } from "./configuration.ts";
import { Durability } from "./durability.ts";
import { LOG_START, type Position, RaftLog } from "./log.ts";
import { Membership } from "./membership.ts";
import type { Progress } from "./progress.ts";
import { ReadyBuilder } from "./ready.ts";
import type {
  Configuration,
  ConsensusMessage,
  HardState,
  LogEntry,
  NodeId,
  Ready,
  Role,
  SnapshotMark,
} from "./types.ts";

/** The term of a node that has seen no election. */
export const FIRST_TERM = 1;

/** Committed entries handed out in one step, in bytes (at least one entry): a node that restarts must not stand still for seconds. */
export const DELIVERY_BYTES_MAX = 1024 * 1024;

/** What a Raft core is made of. Times are in milliseconds. */
export interface RaftOptions {
  readonly id: NodeId;
  /** The configuration before the first entry; this node need not be part of it. */
  readonly initial: Configuration;
  /** The configuration that an entry brings, if it brings one; pure, and cheap for entries that do not. */
  readonly configurationOf: (data: Bytes) => Configuration | undefined;
  /** Uniform in [0, 1); spreads the election timers. */
  readonly random: () => number;
  /** Whether the others would take entries of this node; asked before it campaigns. Not given: they would. */
  readonly mayLead?: () => boolean;
  readonly electionTimeoutMinMs: number;
  readonly electionTimeoutMaxMs: number;
  readonly heartbeatIntervalMs: number;
  /** Size of a batch of entries in one append (at least one entry is sent, whatever its size). */
  readonly maxAppendBytes: number;
  /** Appends with entries sent to one peer ahead of its acknowledgements. */
  readonly maxInflightAppends: number;
  /** Bytes of entries sent to one peer ahead of its acknowledgements; one append always may be. */
  readonly maxInflightBytes: number;
  /** Entries kept in memory once they are durable and handed out as committed. */
  readonly windowBytes: number;
  readonly hardState: HardState | undefined;
  /**
   * Whether the disk is taken at its word after a restart. If not, a node that took part must learn from the others what it may
   * have promised since what the disk shows. Asked once the log has been read, which may say it.
   */
  readonly trustDisk: () => boolean;
  /**
   * Whether this node took part in its network before. If its log or its hard state is gone all the same, it neither votes
   * nor campaigns until that can do no harm: votes and acknowledgements it gave are forgotten.
   */
  readonly tookPart: boolean;
  /** The disk is known to have held entries up to here that cannot be read any more. */
  readonly damaged?: Position | undefined;
  /** The newest snapshot, whose state the driver has restored, and the log on disk after it; read once, not kept. */
  readonly restored: { readonly snapshot?: SnapshotMark | undefined; readonly entries: Iterable<LogEntry> };
  /** Monotonic time now. */
  readonly now: number;
}

/** A read that waits for its round to be answered by a quorum. */
export interface WaitingRead {
  readonly id: number;
  /** The commit index when its round began; undefined before that. */
  index: number | undefined;
}

/** Leadership that is being handed over. */
export interface Transfer {
  readonly to: NodeId;
  readonly deadlineMs: number;
  /** This node will not lead on, whether or not the other one takes over. */
  readonly stepDown: boolean;
  /** The other one was told to start its election. */
  told: boolean;
}

/** What a node knows that has lost what it promised. */
export interface Recovery {
  readonly sinceMs: number;
  /** What was lost is known to be more than what the disk could hide: the log or the hard state is gone. */
  readonly lost: boolean;
  readonly answered: Set<NodeId>;
  /** The highest term heard of. */
  term: number;
  askedAtMs: number;
  /** Where the log of the live leader of this term ended long enough after the restart. */
  anchor: Position | undefined;
}

/** A snapshot that is being received. */
export interface Staging {
  readonly mark: SnapshotMark;
  readonly from: NodeId;
  /** The offset wanted next. */
  offset: number;
  complete: boolean;
}

function checkOptions(options: RaftOptions): void {
  const { electionTimeoutMinMs, electionTimeoutMaxMs, heartbeatIntervalMs } = options;
  const check = (holds: boolean, message: string): void => {
    if (!holds) throw new CocoError("ConfigurationInvalid", message);
  };
  checkConfiguration(options.initial);
  check(
    heartbeatIntervalMs > 0 && heartbeatIntervalMs < electionTimeoutMinMs,
    "heartbeats must come more often than election timeouts",
  );
  check(electionTimeoutMinMs <= electionTimeoutMaxMs, "the shortest election timeout must not be above the longest");
  check(
    options.maxInflightAppends >= 1 &&
      options.maxInflightBytes >= 1 &&
      options.maxAppendBytes >= 1 &&
      options.windowBytes >= 0,
    "replication limits must be positive",
  );
}

/** Mutable state of one core; only the functions of this folder touch it. */
export class RaftState {
  readonly options: RaftOptions;
  readonly id: NodeId;
  readonly membership: Membership;
  readonly log: RaftLog;
  readonly durability: Durability;
  readonly ready = new ReadyBuilder();
  nowMs: number;
  role: Role = "follower";
  term: number;
  votedFor: NodeId | undefined;
  leader: NodeId | undefined;
  commitIndex = 0;
  /** Entries up to here were handed out as committed. */
  deliveredIndex = 0;
  /** When the next election starts unless something is heard. */
  electionAtMs: number;
  leaderHeardAtMs = 0;
  leaderChannelBroken = false;
  /** Set while what this node promised before is lost; see {@link RaftOptions.tookPart}. */
  recovery: Recovery | undefined;
  /** Nobody whose log ends before here gets this node's vote, itself included: entries up to here may have been acknowledged. */
  floor: Position = LOG_START;
  diskFull = false;
  /** The newest snapshot of this node. */
  snapshot: SnapshotMark | undefined;
  staging: Staging | undefined;
  transfer: Transfer | undefined;
  /** The newest round that was begun, and the newest that a quorum answered. */
  round = 0;
  confirmedRound = 0;
  readonly reads: WaitingRead[] = [];
  /** Peers to which a channel is up. */
  readonly channelsUp = new Set<NodeId>();
  /** Voters that granted the running (pre-)election. */
  readonly votes = new Set<NodeId>();
  /** Peers as seen by the leader; empty in every other role. */
  readonly progress = new Map<NodeId, Progress>();
  /** Loads asked for: open, or answered without use and to be asked again after the next tick. */
  readonly #loads = new Map<NodeId, "open" | "unused">();
  #before: { role: Role; term: number; leader: NodeId | undefined };

  constructor(options: RaftOptions) {
    checkOptions(options);
    this.options = options;
    this.id = options.id;
    const { snapshot } = options.restored;
    this.snapshot = snapshot;
    this.membership = new Membership(
      options.id,
      snapshot?.configuration ?? options.initial,
      snapshot?.configurationIndex ?? 0,
    );
    this.log = new RaftLog(options.windowBytes, this.#withConfigurations(options.restored.entries), snapshot);
    this.commitIndex = snapshot?.index ?? 0;
    this.deliveredIndex = this.commitIndex;
    this.durability = new Durability(this.log.lastIndex);
    // A crash may have kept entries of a term and lost the hard state written after them; no vote of that term was answered.
    const hardState = options.hardState ?? { term: FIRST_TERM, votedFor: undefined };
    if (!Number.isSafeInteger(hardState.term) || hardState.term < FIRST_TERM) {
      throw new CocoError("LedgerCorrupt", "hard state without a term");
    }
    this.term = Math.max(hardState.term, this.log.lastTerm, options.damaged?.term ?? 0);
    this.votedFor = this.term === hardState.term ? hardState.votedFor : undefined;
    this.nowMs = options.now;
    // No leader was heard yet: the first election need not wait for one to fall silent, and a lone voter waits for nobody.
    const alone = this.membership.quorum.voters.every((voter) => voter === options.id);
    this.electionAtMs = options.now + (alone ? 0 : (options.random() * options.electionTimeoutMinMs) / 2);
    this.#startRecovery();
    this.#before = { role: this.role, term: this.term, leader: this.leader };
  }

  /** Notes the configurations of a log while it is read. */
  *#withConfigurations(entries: Iterable<LogEntry>): Generator<LogEntry> {
    for (const entry of entries) {
      const configuration = this.options.configurationOf(entry.data);
      if (configuration !== undefined) this.membership.append(entry.index, configuration);
      yield entry;
    }
  }

  #startRecovery(): void {
    const { tookPart, trustDisk, damaged, hardState, now } = this.options;
    const lost = damaged !== undefined || (tookPart && (hardState === undefined || this.log.lastIndex === 0));
    if (damaged !== undefined) this.floor = damaged;
    if (!lost && (!tookPart || trustDisk())) return;
    this.recovery = {
      sinceMs: now,
      lost,
      answered: new Set(),
      term: this.term,
      askedAtMs: Number.NEGATIVE_INFINITY,
      anchor: undefined,
    };
  }

  /** Whether a live leader is known, so that nobody else should be elected (Raft thesis, 4.2.3). */
  get hearsLeader(): boolean {
    if (this.role === "leader") return true;
    if (this.leader === undefined || this.leaderChannelBroken) return false;
    return this.nowMs - this.leaderHeardAtMs < this.options.electionTimeoutMinMs;
  }

  /** Whether an entry of the current term is committed: only then is everything committed before known to be (figure 8). */
  get committedInTerm(): boolean {
    return this.commitIndex >= this.log.firstIndex && this.log.termAt(this.commitIndex) === this.term;
  }

  /** Waits a random election timeout from now. */
  restartElectionTimer(): void {
    const { electionTimeoutMinMs, electionTimeoutMaxMs, random } = this.options;
    this.electionAtMs = this.nowMs + electionTimeoutMinMs + random() * (electionTimeoutMaxMs - electionTimeoutMinMs);
  }

  /** Enters a later term; the vote in it may be given at once. */
  enterTerm(term: number, votedFor: NodeId | undefined): void {
    invariant(term > this.term, "terms only grow");
    this.term = term;
    this.durability.forgetHeld();
    this.vote(votedFor);
  }

  /** Sets the vote of this term and has it written. */
  vote(votedFor: NodeId | undefined): void {
    this.votedFor = votedFor;
    this.durability.recordHardState({ term: this.term, votedFor });
  }

  /** Becomes a follower in this or a later term. */
  becomeFollower(term: number, leader: NodeId | undefined): void {
    if (term > this.term) this.enterTerm(term, undefined);
    // Requests for votes that still wait for the disk would speak for a candidate that is none any more.
    if (this.role === "candidate") this.durability.forgetHeld();
    if (this.role !== "follower") this.restartElectionTimer();
    this.role = "follower";
    this.leader = leader;
    this.votes.clear();
    this.progress.clear();
    this.transfer = undefined;
    this.forgetReads();
  }

  /** Answers every waiting read that this node cannot know. */
  forgetReads(): void {
    for (const { id } of this.reads) this.ready.read({ id, index: undefined });
    this.reads.length = 0;
  }

  /** Sends a message with this step. */
  send(to: NodeId, message: ConsensusMessage): void {
    this.ready.send({ to, message });
  }

  /** Sends a message once the hard state, and the log up to `index`, are durable. */
  sendDurable(to: NodeId, message: ConsensusMessage, index = 0): void {
    const outgoing = { to, message };
    if (!this.durability.hold(outgoing, this.durability.barrier(index))) this.ready.send(outgoing);
  }

  /** Notes a durable persist request and sends what waited for it. */
  persisted(id: number): void {
    this.ready.sendAll(this.durability.persisted(id));
  }

  /** Asks for entries that left the window, unless they are asked for already. */
  requestLoad(peer: NodeId, fromIndex: number): void {
    if (this.#loads.has(peer)) return;
    this.#loads.set(peer, "open");
    const { maxAppendBytes } = this.options;
    this.ready.load({
      peer,
      fromIndex,
      maxBytes: peer === this.id ? Math.min(DELIVERY_BYTES_MAX, maxAppendBytes) : maxAppendBytes,
    });
  }

  /** Ends a load; after one without use the next waits for a tick, so that the disk is not asked in a tight loop. */
  endLoad(peer: NodeId, used: boolean): void {
    if (used) this.#loads.delete(peer);
    else this.#loads.set(peer, "unused");
  }

  /** Lets loads that were of no use be asked again. */
  retryLoads(): void {
    for (const [peer, load] of this.#loads) if (load === "unused") this.#loads.delete(peer);
  }

  /** Hands out entries as committed; they follow the ones handed out before. */
  deliver(entries: readonly LogEntry[]): void {
    invariant(entries[0]?.index === this.deliveredIndex + 1, "committed entries are handed out in order");
    this.deliveredIndex += entries.length;
    this.ready.commit(entries);
  }

  /** Closes the step and returns what it asks for. */
  finishStep(): Ready {
    const persist = this.durability.takeRequest(this.log.lastIndex);
    const { role, term, leader } = this.#before;
    const roleChanged = role !== this.role || term !== this.term || leader !== this.leader;
    if (roleChanged) this.#before = { role: this.role, term: this.term, leader: this.leader };
    return this.ready.finish(persist, roleChanged);
  }
}
