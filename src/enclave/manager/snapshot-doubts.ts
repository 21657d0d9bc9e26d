/**
 * Whether the snapshot that this node sends to peers may be damaged on its disk. Nothing there says so, since it is sent without
 * being opened; peers refuse it and begin anew, for ever. So it is doubted when it cannot be read, and when a peer has begun it
 * several times: then this node makes another one of its state in memory, unless it did a moment ago, whatever peers say.
 */
import type { NodeId } from "../../core/consensus/types.ts";
import type { Clock } from "../ports.ts";

/** Beginnings of one snapshot by one peer after which it is doubted: a loss on the way, or a crash, causes one more. */
export const DOUBTED_BEGINNINGS = 3;
/** Shortest time between two snapshots that are made because of doubts, in milliseconds. */
export const DOUBTED_SNAPSHOT_INTERVAL_MS = 10_000;

/** What doubts lead to. */
export interface SnapshotDoubtsParts {
  readonly clock: Pick<Clock, "now">;
  /** Makes another snapshot; false when that cannot be done now. */
  readonly remake: () => boolean;
}

/** See the module's header. */
export class SnapshotDoubts {
  readonly #parts: SnapshotDoubtsParts;
  #index = 0;
  /** Beginnings of the snapshot of that index by peer. */
  readonly #begun = new Map<NodeId, number>();
  #madeAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: SnapshotDoubtsParts) {
    this.#parts = parts;
  }

  /** A peer is sent the first part of the snapshot of this index. */
  begins(peer: NodeId, index: number): void {
    if (index !== this.#index) this.#begun.clear();
    this.#index = index;
    const count = (this.#begun.get(peer) ?? 0) + 1;
    this.#begun.set(peer, count);
    if (count >= DOUBTED_BEGINNINGS) this.doubt();
  }

  /** The newest snapshot cannot be read, or nobody can use it. */
  doubt(): void {
    const now = this.#parts.clock.now();
    if (now - this.#madeAtMs < DOUBTED_SNAPSHOT_INTERVAL_MS || !this.#parts.remake()) return;
    this.#madeAtMs = now;
    this.#begun.clear();
  }
}
