/**
 * The words of consensus: what goes into the pure core and what comes out of it.
 *
 * Contract: the driver calls `step(event)` from one thread, in order, and carries out the {@link Ready} it gets back.
 * Persist requests are carried out strictly in order, each reported by a `persisted` event once it is durable. Messages
 * in `send` may leave at once: the core itself holds back what must wait for durability (Raft thesis, 3.8 and 10.2.1).
 */
import type { Bytes } from "../codec/bytes.ts";

/** Hex SHA-256 of a validating node's public key (SubjectPublicKeyInfo). */
export type NodeId = string;

/** One position of the replicated log; `data` is one sealed batch. Index and term start at 1. */
export interface LogEntry {
  readonly index: number;
  readonly term: number;
  readonly data: Bytes;
}

/**
 * How many voters must agree: a majority for everything; one number for elections and one for replication; or a majority of
 * groups, of each of which a majority must agree. The groups hold every voter once.
 */
export type QuorumPolicy =
  | { readonly type: "majority" }
  | { readonly type: "flexible"; readonly election: number; readonly replication: number }
  | { readonly type: "grouped"; readonly groups: readonly (readonly NodeId[])[] };

/** One set of voters with the quorums that count in it. */
export interface VoterSet {
  readonly voters: readonly NodeId[];
  readonly quorum: QuorumPolicy;
}

/**
 * Who takes part. While membership changes both sets must agree (joint consensus, Raft thesis 4.3). Learners receive the log
 * and decide nothing. A configuration is active as soon as its entry is in the log, and ends when that entry is truncated.
 */
export interface Configuration {
  readonly current: VoterSet;
  readonly previous: VoterSet | undefined;
  readonly learners: readonly NodeId[];
}

/** A place in the log that a snapshot stands for: the state after this entry, and the configuration active there. */
export interface SnapshotMark {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
  /** Index of the entry that brought the configuration; 0 for the first one. */
  readonly configurationIndex: number;
}

/** What must survive a crash besides the entries themselves. */
export interface HardState {
  readonly term: number;
  readonly votedFor: NodeId | undefined;
}

/** Replicates entries after (`previousIndex`, `previousTerm`); without entries it is a heartbeat. */
export interface AppendRequest {
  readonly type: "append";
  readonly term: number;
  readonly previousIndex: number;
  readonly previousTerm: number;
  readonly commitIndex: number;
  /** The leader's newest round of asking for its peers' agreement; echoed. */
  readonly round: number;
  readonly entries: readonly LogEntry[];
}

/** Answer to {@link AppendRequest}: `matchIndex` is durable and equal to the leader's; on refusal `hintIndex` is where to look next. */
export interface AppendResponse {
  readonly type: "appendResponse";
  readonly term: number;
  readonly success: boolean;
  /** On success the highest index known durable and matching; never above what the request carried. */
  readonly matchIndex: number;
  /** On refusal: the last index that might match. */
  readonly hintIndex: number;
  /** On refusal: term of the follower's entry at `hintIndex` (0 when it has none). */
  readonly hintTerm: number;
  /** The round of the request. */
  readonly round: number;
  /** The sender has lost what it promised before its restart: the leader sends it the log and counts it for nothing. */
  readonly recovering: boolean;
}

/** Asks for a vote; with `preVote` nothing is promised and no term changes (Raft thesis, 9.6). */
export interface VoteRequest {
  readonly type: "vote";
  readonly preVote: boolean;
  /** The leader asked for this election: that it is still heard is no reason to decline (Raft thesis, 3.10). */
  readonly transfer: boolean;
  readonly term: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
}

/** Answer to {@link VoteRequest}. */
export interface VoteResponse {
  readonly type: "voteResponse";
  readonly preVote: boolean;
  readonly term: number;
  readonly granted: boolean;
}

/** A part of the leader's snapshot, for a follower that needs entries which the leader's log does not have any more. */
export interface SnapshotPart {
  readonly type: "snapshotPart";
  readonly term: number;
  readonly snapshot: SnapshotMark;
  /** Bytes of the snapshot before `data`. */
  readonly offset: number;
  readonly data: Bytes;
  readonly last: boolean;
}

/** Answer to {@link SnapshotPart}: the state of the snapshot of this index on the follower. */
export interface SnapshotResponse {
  readonly type: "snapshotResponse";
  readonly term: number;
  readonly index: number;
  /** The offset wanted next. */
  readonly offset: number;
  /** Everything up to `index` is durable on the follower, by this snapshot or without it. */
  readonly installed: boolean;
}

/** The leader tells a voter that has its whole log to start an election at once (Raft thesis, 3.10). */
export interface TimeoutNow {
  readonly type: "timeoutNow";
  readonly term: number;
}

/** A node that lost what it promised asks the other voters what it may have promised. */
export interface RestartQuery {
  readonly type: "restartQuery";
  readonly term: number;
}

/** Answer to {@link RestartQuery}: the newest position that the sender has, or knows to have had, in its log. */
export interface RestartAnswer {
  readonly type: "restartAnswer";
  readonly term: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** The sender is recovering as well. */
  readonly recovering: boolean;
}

/** Any message between two consensus cores. */
export type ConsensusMessage =
  | AppendRequest
  | AppendResponse
  | VoteRequest
  | VoteResponse
  | SnapshotPart
  | SnapshotResponse
  | TimeoutNow
  | RestartQuery
  | RestartAnswer;

/** What can happen to the core. Times are monotonic milliseconds. */
export type ConsensusEvent =
  | { readonly type: "tick"; readonly now: number }
  | { readonly type: "message"; readonly from: NodeId; readonly message: ConsensusMessage; readonly now: number }
  /** Appends entries as leader, built for `term` and the indexes after `lastIndex`; others come back in `dropped`. */
  | { readonly type: "propose"; readonly entries: readonly LogEntry[]; readonly now: number }
  /** The persist request with this id, and all before it, are durable. */
  | { readonly type: "persisted"; readonly id: number; readonly now: number }
  /** Entries read from disk because a peer needs ones that left the in-memory window. */
  | { readonly type: "loaded"; readonly peer: NodeId; readonly entries: readonly LogEntry[]; readonly now: number }
  /** The channel to a peer came up or broke; a broken channel to the leader lets an election start early. */
  | { readonly type: "channel"; readonly peer: NodeId; readonly up: boolean; readonly now: number }
  /** Hands leadership to a voter; to the one whose log is closest when none is named. Given up after an election timeout. */
  | { readonly type: "transfer"; readonly to?: NodeId | undefined; readonly now: number }
  /** Asks for an index that a linearizable read has to wait for; answered in `reads` under the same id. */
  | { readonly type: "read"; readonly id: number; readonly now: number }
  /** Part of a snapshot read for a peer; `snapshot` is undefined when there is none (of the index asked for). */
  | {
      readonly type: "snapshotLoaded";
      readonly peer: NodeId;
      readonly snapshot: SnapshotMark | undefined;
      readonly offset: number;
      readonly data: Bytes;
      readonly last: boolean;
      readonly now: number;
    }
  /** The staged snapshot is complete, verified and durable. */
  | { readonly type: "snapshotStored"; readonly snapshot: SnapshotMark; readonly now: number }
  /** The staged snapshot did not hold: it is thrown away. */
  | { readonly type: "snapshotRefused"; readonly now: number }
  /** This node has a durable snapshot of applied entries: what lies before it is forgotten here. */
  | { readonly type: "compact"; readonly snapshot: SnapshotMark; readonly now: number }
  /** The disk takes no more, or takes writes again. */
  | { readonly type: "diskFull"; readonly full: boolean; readonly now: number }
  /** The members decided that this node may take part again although what it promised is lost. */
  | { readonly type: "resume"; readonly now: number };

/**
 * Work for the disk, to be carried out in the order of ids: hard state before the entries or together with them, snapshot
 * before truncate before append; all of it is durable before `persisted` is told.
 */
export interface PersistRequest {
  readonly id: number;
  readonly hardState?: HardState;
  /** Drop the whole log: its next entry is the one after this snapshot. */
  readonly snapshot?: SnapshotMark;
  /** Drop every entry from this index on before appending. */
  readonly truncateFrom?: number;
  readonly entries: readonly LogEntry[];
}

/** A message to a peer. */
export interface Outgoing {
  readonly to: NodeId;
  readonly message: ConsensusMessage;
}

/** The role of a node in its term. */
export type Role = "follower" | "preCandidate" | "candidate" | "leader";

/** What the driver must do after one step. */
export interface Ready {
  readonly persist: PersistRequest | undefined;
  readonly send: readonly Outgoing[];
  /** Committed entries not handed out before, in order; apply them. When they end before the commit index, step again soon for the rest. */
  readonly committed: readonly LogEntry[];
  /** Peers that need entries from `fromIndex` which are no longer in memory; answer with `loaded`. */
  readonly load: readonly { readonly peer: NodeId; readonly fromIndex: number; readonly maxBytes: number }[];
  /** Entries of a `propose` that were not taken, because this node does not lead (any more). */
  readonly dropped: readonly LogEntry[];
  /**
   * Parts of a snapshot to be read for peers, one at a time for each: of the newest snapshot that is not before
   * `firstIndex - 1` when `index` is undefined, otherwise of the one of that index; answer with `snapshotLoaded`. `heard` is false
   * where a peer is begun with again although it has not answered since it was begun with last: that says nothing of the snapshot.
   */
  readonly loadSnapshot: readonly {
    readonly peer: NodeId;
    readonly index: number | undefined;
    readonly offset: number;
    readonly maxBytes: number;
    readonly heard: boolean;
  }[];
  /**
   * Parts of the leader's snapshot, in order; stage them, offset 0 begins anew. After the last one answer with
   * `snapshotStored` or `snapshotRefused`. A driver whose disk is slow holds back the next part's message until this one is written.
   */
  readonly snapshotParts: readonly {
    readonly from: NodeId;
    readonly snapshot: SnapshotMark;
    readonly offset: number;
    readonly data: Bytes;
    readonly last: boolean;
  }[];
  /** The stored snapshot took the place of the whole log: replace the state before anything of `committed` is applied. */
  readonly installed: SnapshotMark | undefined;
  /** Answers to `read`: wait until everything up to `index` is applied, then read; undefined when this node does not lead (any more). */
  readonly reads: readonly { readonly id: number; readonly index: number | undefined }[];
  /** Set when role, term or leader changed in this step. */
  readonly roleChanged: boolean;
}

/** What the core knows now. */
export interface ConsensusStatus {
  readonly id: NodeId;
  readonly role: Role;
  readonly term: number;
  readonly leader: NodeId | undefined;
  readonly commitIndex: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** Highest index known durable on this node. */
  readonly durableIndex: number;
  /** Highest index known durable and matching per peer (leader only). */
  readonly matchIndex: ReadonlyMap<NodeId, number>;
  /** The newest configuration in the log. */
  readonly configuration: Configuration;
  /** Index of the entry that brought it; 0 for the first one. */
  readonly configurationIndex: number;
  readonly configurationCommitted: boolean;
  /** Index after the newest snapshot that the log begins with; 1 without one. */
  readonly firstIndex: number;
  /**
   * What this node promised before its restart is lost, and it does not vote, campaign or count until that can do no harm; or
   * it waits for entries that it, or somebody it asked, is known to have had. Where nobody has them only `resume` helps.
   */
  readonly recovering: boolean;
  /** This leader is handing over and takes no proposals. */
  readonly transferring: boolean;
  /** On a leader: every learner follows closely enough to become a voter. */
  readonly learnersCaughtUp: boolean;
}

/** The interface every consensus protocol offers (R21): Raft is the first. */
export interface Consensus {
  step(event: ConsensusEvent): Ready;
  status(): ConsensusStatus;
}
