/**
 * Whether the snapshot that this node sends to peers may be damaged on its disk. Nothing there says so, since it is sent without
 * being opened; peers refuse it and begin anew, for ever. So it is doubted when it cannot be read, and when a peer that answers
 * has begun it several times: then this node makes another one of its state in memory.
 *
 * Peers can begin anew for no reason. So what doubts cost is bounded whatever they say: a small share of the time, and for
 * each reason (a peer, or the own disk) less and less often.
 */
import type { NodeId } from "../../core/consensus/types.ts";
import type { Clock } from "../ports.ts";

/** Beginnings of one snapshot by one peer after which it is doubted: a loss on the way, or a crash, causes one more. */
export const DOUBTED_BEGINNINGS = 3;
/** Shortest time between two snapshots that are made because of doubts, in milliseconds. */
export const DOUBTED_SNAPSHOT_INTERVAL_MS = 10_000;
/** Between two snapshots that are made because of doubts lies at least this many times as long as the last one took, or an hour. */
export const DOUBTED_SNAPSHOT_REST_FACTOR = 10;
/**
 * With each snapshot that one peer has this node doubt, its doubts wait twice as long for the next, up to this time; it begins afresh
 * when it caused none for twice this time. So a peer causes at most twenty in three hours.
 */
export const DOUBTED_SNAPSHOT_INTERVAL_MAX_MS = 3_600_000;

/** What doubts lead to. */
export interface SnapshotDoubtsParts {
  readonly clock: Pick<Clock, "now">;
  /** Begins to make another snapshot; false when that cannot be done now. */
  readonly remake: () => boolean;
}

/** Snapshots that were made because of one peer, or of the own disk. */
interface Caused {
  readonly count: number;
  readonly atMs: number;
}

/** See the module's header. */
export class SnapshotDoubts {
  readonly #parts: SnapshotDoubtsParts;
  #index = 0;
  /** Beginnings of the snapshot of that index by peer. */
  readonly #begun = new Map<NodeId, number>();
  /** By peer; undefined is the own disk. */
  readonly #caused = new Map<NodeId | undefined, Caused>();
  #madeAtMs = Number.NEGATIVE_INFINITY;
  /** How long the last one took; one that was given up would have taken longer. */
  #tookMs = 0;

  constructor(parts: SnapshotDoubtsParts) {
    this.#parts = parts;
  }

  /** A peer that answers is sent the first part of the snapshot of this index. */
  begins(peer: NodeId, index: number): void {
    if (index !== this.#index) this.#begun.clear();
    this.#index = index;
    const count = (this.#begun.get(peer) ?? 0) + 1;
    this.#begun.set(peer, count);
    if (count >= DOUBTED_BEGINNINGS) this.#doubt(peer);
  }

  /** The newest snapshot cannot be read. */
  unreadable(): void {
    this.#doubt(undefined);
  }

  /** The snapshot that was begun because of doubts is finished or given up. */
  ended(isFinished: boolean): void {
    const tookMs = this.#parts.clock.now() - this.#madeAtMs;
    this.#tookMs = isFinished ? tookMs : Math.max(tookMs, this.#tookMs);
  }

  #doubt(cause: NodeId | undefined): void {
    const now = this.#parts.clock.now();
    for (const [other, { atMs }] of this.#caused)
      if (now - atMs >= 2 * DOUBTED_SNAPSHOT_INTERVAL_MAX_MS) this.#caused.delete(other);
    const shareMs = Math.min(DOUBTED_SNAPSHOT_REST_FACTOR * this.#tookMs, DOUBTED_SNAPSHOT_INTERVAL_MAX_MS);
    const restMs = Math.max(DOUBTED_SNAPSHOT_INTERVAL_MS, shareMs);
    const { count, atMs } = this.#caused.get(cause) ?? { count: 0, atMs: Number.NEGATIVE_INFINITY };
    const waitMs = Math.min(restMs * 2 ** (count - 1), DOUBTED_SNAPSHOT_INTERVAL_MAX_MS);
    if (now - this.#madeAtMs < restMs || now - atMs < waitMs) return;
    // What making it takes counts from here, whether or not it ends within the call.
    const before = this.#madeAtMs;
    this.#madeAtMs = now;
    if (!this.#parts.remake()) {
      this.#madeAtMs = before;
      return;
    }
    this.#caused.set(cause, { count: count + 1, atMs: now });
    this.#begun.clear();
  }
}
