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
}

/** Asks for a vote; with `preVote` nothing is promised and no term changes (Raft thesis, 9.6). */
export interface VoteRequest {
  readonly type: "vote";
  readonly preVote: boolean;
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

/** Any message between two consensus cores. */
export type ConsensusMessage = AppendRequest | AppendResponse | VoteRequest | VoteResponse;

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
  | { readonly type: "channel"; readonly peer: NodeId; readonly up: boolean; readonly now: number };

/**
 * Work for the disk, to be carried out in the order of ids: hard state before the entries or together with them, truncate
 * before append; all of it is durable before `persisted` is told.
 */
export interface PersistRequest {
  readonly id: number;
  readonly hardState?: HardState;
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
}

/** The interface every consensus protocol offers (R21): Raft is the first. */
export interface Consensus {
  step(event: ConsensusEvent): Ready;
  status(): ConsensusStatus;
}
