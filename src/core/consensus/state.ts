/**
 * The state of one Raft core and the moves every part of it shares: entering a term, becoming a follower, sending.
 *
 * The rules live in election.ts (votes), replication.ts (leader) and acceptance.ts (follower); they are functions over
 * this state. Terms: a fresh node is in term 1, "no term yet", so that the first elected term is 2.
 */
import { CocoError, invariant } from "../../errors.ts";
import { Durability } from "./durability.ts";
import { RaftLog } from "./log.ts";
import type { Progress } from "./progress.ts";
import { Quorum, type QuorumPolicy } from "./quorum.ts";
import type { ConsensusMessage, HardState, LogEntry, NodeId, Outgoing, Ready, Role } from "./types.ts";

/** The term of a node that has seen no election. */
export const FIRST_TERM = 1;

/** Committed entries handed out in one step, in bytes (at least one entry): a node that restarts must not stand still for seconds. */
export const DELIVERY_BYTES_MAX = 256 * 1024;

/** What a Raft core is made of. Times are in milliseconds. */
export interface RaftOptions {
  readonly id: NodeId;
  /** All voters, this node included. */
  readonly voters: readonly NodeId[];
  readonly quorum: QuorumPolicy;
  /** Uniform in [0, 1); spreads the election timers. */
  readonly random: () => number;
  readonly electionTimeoutMinMs: number;
  readonly electionTimeoutMaxMs: number;
  readonly heartbeatIntervalMs: number;
  /** Size of a batch of entries in one append (at least one entry is sent, whatever its size). */
  readonly maxAppendBytes: number;
  /** Appends with entries sent to one peer ahead of its acknowledgements. */
  readonly maxInflightAppends: number;
  /** Entries kept in memory once they are durable and handed out as committed. */
  readonly windowBytes: number;
  readonly hardState: HardState | undefined;
  /**
   * Whether this node took part in its network before. If its log or its hard state is gone all the same, it neither votes
   * nor campaigns until it has caught up with a live leader: votes and acknowledgements it gave are forgotten.
   */
  readonly tookPart?: boolean;
  /** The log on disk, from index 1; read once, not kept. */
  readonly restored: { readonly entries: Iterable<LogEntry> };
  /** Monotonic time now. */
  readonly now: number;
}

const NOTHING: Ready = { persist: undefined, send: [], committed: [], load: [], dropped: [], roleChanged: false };

function checkOptions(options: RaftOptions): void {
  const { electionTimeoutMinMs, electionTimeoutMaxMs, heartbeatIntervalMs } = options;
  const check = (holds: boolean, message: string): void => {
    if (!holds) throw new CocoError("ConfigurationInvalid", message);
  };
  check(options.voters.includes(options.id), "this node is not one of the voters");
  check(
    heartbeatIntervalMs > 0 && heartbeatIntervalMs < electionTimeoutMinMs,
    "heartbeats must come more often than election timeouts",
  );
  check(electionTimeoutMinMs <= electionTimeoutMaxMs, "the shortest election timeout must not be above the longest");
  check(
    options.maxInflightAppends >= 1 && options.maxAppendBytes >= 1 && options.windowBytes >= 0,
    "replication limits must be positive",
  );
}

/** Mutable state of one core; only the functions of this folder touch it. */
export class RaftState {
  readonly options: RaftOptions;
  readonly id: NodeId;
  readonly peers: readonly NodeId[];
  readonly quorum: Quorum;
  readonly log: RaftLog;
  readonly durability: Durability;
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
  /** What this node promised before is lost; see {@link RaftOptions.tookPart}. */
  recovering: boolean;
  /** Peers to which a channel is up. */
  readonly channelsUp = new Set<NodeId>();
  /** Voters that granted the running (pre-)election. */
  readonly votes = new Set<NodeId>();
  /** Peers as seen by the leader; empty in every other role. */
  readonly progress = new Map<NodeId, Progress>();
  /** Loads asked for: open, or answered without use and to be asked again after the next tick. */
  readonly #loads = new Map<NodeId, "open" | "unused">();
  #send: Outgoing[] = [];
  #load: Ready["load"][number][] = [];
  #committed: readonly LogEntry[] = [];
  #dropped: readonly LogEntry[] = [];
  #before: { role: Role; term: number; leader: NodeId | undefined };

  constructor(options: RaftOptions) {
    checkOptions(options);
    this.options = options;
    this.id = options.id;
    this.quorum = new Quorum(options.voters, options.quorum);
    this.peers = options.voters.filter((voter) => voter !== options.id);
    this.log = new RaftLog(options.windowBytes, options.restored.entries);
    this.durability = new Durability(this.log.lastIndex);
    this.recovering = options.tookPart === true && (options.hardState === undefined || this.log.lastIndex === 0);
    // A crash may have kept entries of a term and lost the hard state written after them; no vote of that term was answered.
    const hardState = options.hardState ?? { term: FIRST_TERM, votedFor: undefined };
    if (!Number.isSafeInteger(hardState.term) || hardState.term < FIRST_TERM) {
      throw new CocoError("LedgerCorrupt", "hard state without a term");
    }
    this.term = Math.max(hardState.term, this.log.lastTerm);
    this.votedFor = this.term === hardState.term ? hardState.votedFor : undefined;
    this.nowMs = options.now;
    // No leader was heard yet: the first election need not wait for one to fall silent, and a lone voter waits for nobody.
    this.electionAtMs =
      options.now + (this.peers.length === 0 ? 0 : (options.random() * options.electionTimeoutMinMs) / 2);
    this.#before = { role: this.role, term: this.term, leader: this.leader };
  }

  /** Whether a live leader is known, so that nobody else should be elected (Raft thesis, 4.2.3). */
  get hearsLeader(): boolean {
    if (this.role === "leader") return true;
    if (this.leader === undefined || this.leaderChannelBroken) return false;
    return this.nowMs - this.leaderHeardAtMs < this.options.electionTimeoutMinMs;
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
  }

  /** Sends a message with this step. */
  send(to: NodeId, message: ConsensusMessage): void {
    this.#send.push({ to, message });
  }

  /** Sends a message once the hard state, and the log up to `index`, are durable. */
  sendDurable(to: NodeId, message: ConsensusMessage, index = 0): void {
    const outgoing = { to, message };
    if (!this.durability.hold(outgoing, this.durability.barrier(index))) this.#send.push(outgoing);
  }

  /** Notes a durable persist request and sends what waited for it. */
  persisted(id: number): void {
    this.#send.push(...this.durability.persisted(id));
  }

  /** Asks for entries that left the window, unless they are asked for already. */
  requestLoad(peer: NodeId, fromIndex: number): void {
    if (this.#loads.has(peer)) return;
    this.#loads.set(peer, "open");
    const { maxAppendBytes } = this.options;
    this.#load.push({
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
    this.#committed = this.#committed.length === 0 ? entries : [...this.#committed, ...entries];
  }

  /** Gives proposed entries back. */
  drop(entries: readonly LogEntry[]): void {
    this.#dropped = entries;
  }

  /** Closes the step and returns what it asks for. */
  finishStep(): Ready {
    const persist = this.durability.takeRequest(this.log.lastIndex);
    const { role, term, leader } = this.#before;
    const roleChanged = role !== this.role || term !== this.term || leader !== this.leader;
    if (roleChanged) this.#before = { role: this.role, term: this.term, leader: this.leader };
    const quiet = this.#send.length + this.#load.length + this.#committed.length + this.#dropped.length === 0;
    if (quiet && persist === undefined && !roleChanged) return NOTHING;
    const ready: Ready = {
      persist,
      send: this.#send,
      committed: this.#committed,
      load: this.#load,
      dropped: this.#dropped,
      roleChanged,
    };
    this.#send = [];
    this.#load = [];
    this.#committed = [];
    this.#dropped = [];
    return ready;
  }
}
