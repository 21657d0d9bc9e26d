/**
 * What a leader knows about one peer, and how much it may send it.
 *
 * Two modes (Raft thesis, 10.2.1 and 3.5). "replicate": entries are sent ahead of their acknowledgement, up to a number of
 * appends in flight. "probe": the position where the logs agree is searched; one batch at a time, nothing is sent ahead.
 * `matchIndex` moves by successful answers of the leader's term alone, and falls only when the peer's channel is a new one.
 */
import { invariant } from "../../errors.ts";

/** Replication state of one peer in the leader's term. */
export class Progress {
  /** Highest index known durable on the peer and equal to the leader's. */
  matchIndex = 0;
  /** Index of the next entry to send. */
  nextIndex: number;
  mode: "probe" | "replicate" = "replicate";
  /** Highest commit index that the peer was told and can follow, given what was sent to it. */
  sentCommitIndex = 0;
  /** When the peer was last heard from in this term. */
  heardAtMs: number;
  /** When anything was last sent to the peer. */
  sentAtMs: number;
  readonly #maxInflightAppends: number;
  /** Last index of each append in flight, growing. */
  readonly #inflight: number[] = [];

  /**
   * Starts in "replicate": most peers agree with a new leader, and the first refusal of one that does not starts the search.
   */
  constructor(nextIndex: number, maxInflightAppends: number, nowMs: number) {
    this.nextIndex = nextIndex;
    this.#maxInflightAppends = maxInflightAppends;
    this.heardAtMs = nowMs;
    this.sentAtMs = nowMs;
  }

  /** Whether another append with entries may be sent ahead. */
  get mayPipeline(): boolean {
    return this.mode === "replicate" && this.#inflight.length < this.#maxInflightAppends;
  }

  /** Notes an append that ends with `lastIndex` and carries entries or not. */
  sent(lastIndex: number, commitIndex: number, nowMs: number): void {
    this.sentAtMs = nowMs;
    if (this.mode === "probe") return;
    if (lastIndex >= this.nextIndex) {
      this.#inflight.push(lastIndex);
      this.nextIndex = lastIndex + 1;
    }
    this.sentCommitIndex = Math.max(this.sentCommitIndex, Math.min(commitIndex, this.nextIndex - 1));
  }

  /** Takes a successful answer: the logs agree, so sending ahead starts (again). */
  acknowledged(matchIndex: number): void {
    this.matchIndex = Math.max(this.matchIndex, matchIndex);
    this.nextIndex = Math.max(this.nextIndex, this.matchIndex + 1);
    this.mode = "replicate";
    while (this.#inflight.length > 0 && (this.#inflight[0] as number) <= matchIndex) this.#inflight.shift();
  }

  /**
   * Takes a refusal whose hint leads to `agreedIndex`; false when it is stale. A refusal of what was sent last always points
   * before `nextIndex`, so every other one is a late or doubled answer and must not move anything.
   */
  refused(agreedIndex: number): boolean {
    const nextIndex = Math.max(this.matchIndex, agreedIndex) + 1;
    if (nextIndex >= this.nextIndex) return false;
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
    this.probe();
  }

  /** Goes back to searching, for instance because what was in flight may be lost. */
  probe(): void {
    this.mode = "probe";
    this.#inflight.length = 0;
    invariant(this.nextIndex > this.matchIndex, "entries known to match are not sent again");
  }
}
