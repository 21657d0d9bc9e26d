/**
 * What a leader knows about one peer, and how much it may send it.
 *
 * Three modes (Raft thesis, 10.2.1, 3.5 and 5). "replicate": entries are sent ahead of their acknowledgement, up to a number of
 * appends and of bytes in flight. "probe": the position where the logs agree is searched; one batch at a time, nothing is
 * sent ahead. "snapshot": the peer needs entries that this log does not have any more; one part is under way at a time.
 * `matchIndex` moves by successful answers of the leader's term alone, and falls only when the peer's channel is a new one.
 */
import { invariant } from "../../errors.ts";
import type { SnapshotMark } from "./types.ts";

/** How much may be sent ahead to one peer; at least one append always may. */
export interface FlowLimits {
  readonly maxInflightAppends: number;
  readonly maxInflightBytes: number;
}

/** A snapshot on its way to a peer. */
export interface SnapshotTransfer {
  /** Known with the first part that was read. */
  mark: SnapshotMark | undefined;
  /** Where the part begins that is asked for or under way. */
  offset: number;
  /** Where it ends; undefined while it is being read. */
  endOffset: number | undefined;
  /** Whether the part under way is the last one. */
  last: boolean;
  /** When it was asked for or sent. */
  sinceMs: number;
}

interface Inflight {
  readonly lastIndex: number;
  readonly bytes: number;
}

/** Replication state of one peer in the leader's term. */
export class Progress {
  /** Highest index known durable on the peer and equal to the leader's. */
  matchIndex = 0;
  /** Index of the next entry to send. */
  nextIndex: number;
  mode: "probe" | "replicate" | "snapshot" = "replicate";
  /** Highest commit index that the peer was told and can follow, given what was sent to it. */
  sentCommitIndex = 0;
  #heardAtMs: number;
  /** Whether it was heard since a snapshot was begun for it last. */
  #heardSinceBeginning = false;
  /** When anything was last sent to the peer. */
  sentAtMs: number;
  /** The newest round that the peer agreed to. */
  round = 0;
  /** The peer has lost what it promised before its restart: it is sent the log but counts for nothing. */
  recovering = false;
  /** The peer is in no set any more; it is sent the log until it knows that. */
  departing = false;
  /** The peer followed within an election timeout to where the log ended when it was last measured (Raft thesis, 4.2.1). */
  caughtUp = false;
  /** The snapshot under way in mode "snapshot". */
  transfer: SnapshotTransfer | undefined;
  readonly #limits: FlowLimits;
  /** Appends in flight, growing. */
  readonly #inflight: Inflight[] = [];
  #inflightBytes = 0;
  #goalIndex = 0;
  #goalAtMs: number;

  /**
   * Starts in "replicate": most peers agree with a new leader, and the first refusal of one that does not starts the search.
   */
  constructor(nextIndex: number, limits: FlowLimits, nowMs: number) {
    this.nextIndex = nextIndex;
    this.#limits = limits;
    this.#heardAtMs = nowMs;
    this.sentAtMs = nowMs;
    this.#goalAtMs = nowMs;
    this.#goalIndex = nextIndex - 1;
  }

  /** When the peer was last heard from in this term. */
  get heardAtMs(): number {
    return this.#heardAtMs;
  }

  /** The peer has answered. */
  heard(nowMs: number): void {
    this.#heardAtMs = nowMs;
    this.#heardSinceBeginning = true;
  }

  /** Whether another append with entries may be sent ahead. */
  get mayPipeline(): boolean {
    const { maxInflightAppends, maxInflightBytes } = this.#limits;
    if (this.mode !== "replicate" || this.#inflight.length >= maxInflightAppends) return false;
    return this.#inflight.length === 0 || this.#inflightBytes < maxInflightBytes;
  }

  /** The highest index that counts towards a commit. */
  get countedIndex(): number {
    return this.recovering ? 0 : this.matchIndex;
  }

  /** Notes an append that ends with `lastIndex` and carries entries of this size, or none. */
  sent(lastIndex: number, bytes: number, nowMs: number): void {
    this.sentAtMs = nowMs;
    if (this.mode !== "replicate" || lastIndex < this.nextIndex) return;
    this.#inflight.push({ lastIndex, bytes });
    this.#inflightBytes += bytes;
    this.nextIndex = lastIndex + 1;
  }

  /** Notes the commit index that an append told. */
  told(commitIndex: number): void {
    if (this.mode !== "replicate") return;
    this.sentCommitIndex = Math.max(this.sentCommitIndex, Math.min(commitIndex, this.nextIndex - 1));
  }

  /** Takes a successful answer: the logs agree, so sending ahead starts (again). */
  acknowledged(matchIndex: number): void {
    this.matchIndex = Math.max(this.matchIndex, matchIndex);
    this.nextIndex = Math.max(this.nextIndex, this.matchIndex + 1);
    this.mode = "replicate";
    this.transfer = undefined;
    for (
      let first = this.#inflight[0];
      first !== undefined && first.lastIndex <= matchIndex;
      first = this.#inflight[0]
    ) {
      this.#inflightBytes -= first.bytes;
      this.#inflight.shift();
    }
  }

  /** Measures how closely the peer follows a log that ends at `lastIndex` now; a round may take `limitMs`. */
  measure(lastIndex: number, nowMs: number, limitMs: number): void {
    if (this.matchIndex >= this.#goalIndex) {
      this.caughtUp = nowMs - this.#goalAtMs <= limitMs;
      this.#goalIndex = lastIndex;
      this.#goalAtMs = nowMs;
      if (this.matchIndex >= lastIndex) this.caughtUp = true;
    } else if (nowMs - this.#goalAtMs > limitMs) this.caughtUp = false;
  }

  /**
   * Takes a refusal whose hint leads to `agreedIndex`; false when it is stale. A refusal of what was sent last always points
   * before `nextIndex`, so every other one is a late or doubled answer and must not move anything.
   */
  refused(agreedIndex: number): boolean {
    const nextIndex = Math.max(this.matchIndex, agreedIndex) + 1;
    if (nextIndex >= this.nextIndex || this.mode === "snapshot") return false;
    this.nextIndex = nextIndex;
    this.probe();
    return true;
  }

  /**
   * Begins anew with a peer that may have been restarted: with a damaged disk it may hold less than it acknowledged, and
   * refusals before `matchIndex` would be taken for stale for ever. What is committed stays committed.
   */
  reconnected(): void {
    this.matchIndex = 0;
    this.caughtUp = false;
    this.probe();
  }

  /** Goes back to searching, for instance because what was in flight may be lost. */
  probe(): void {
    this.mode = "probe";
    this.transfer = undefined;
    this.#inflight.length = 0;
    this.#inflightBytes = 0;
    invariant(this.nextIndex > this.matchIndex, "entries known to match are not sent again");
  }

  /** Whether the peer was heard since the snapshot's part under way was asked for or sent. */
  get heardSincePart(): boolean {
    return this.transfer !== undefined && this.#heardAtMs > this.transfer.sinceMs;
  }

  /** A snapshot is begun for the peer, for the first time or again; whether the peer was heard since the time before. */
  beginSnapshot(): boolean {
    const heard = this.#heardSinceBeginning;
    this.#heardSinceBeginning = false;
    return heard;
  }

  /** Begins to send a snapshot. */
  startSnapshot(nowMs: number): SnapshotTransfer {
    this.probe();
    this.mode = "snapshot";
    this.transfer = { mark: undefined, offset: 0, endOffset: undefined, last: false, sinceMs: nowMs };
    return this.transfer;
  }
}
