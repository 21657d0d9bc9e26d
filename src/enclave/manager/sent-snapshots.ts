/**
 * The snapshots that this node sends to peers: the newest with evidence, and one older that a peer was being sent when the newest
 * took its place. Were that removed, a transfer that takes longer than the next snapshot would begin anew for ever. The log
 * is kept from there on as long (core/consensus/snapshots.ts).
 *
 * One at a time is kept, so that the disk holds no more than that: other peers begin anew, and are next when its transfer ends.
 */
import { EMPTY, type Bytes } from "../../core/codec/bytes.ts";
import type { Ready, SnapshotMark } from "../../core/consensus/types.ts";
import type { Clock, Disk } from "../ports.ts";

/** Time after which an older snapshot that nobody asks for a part of is removed. */
export const SENT_SNAPSHOT_IDLE_MS = 10_000;
/** Longest time an older snapshot is kept for a transfer, from when the next one took its place; then the transfer begins anew. */
export const SENT_SNAPSHOT_KEPT_MS = 3_600_000;

/** What it needs of the node around it. */
export interface SentSnapshotsParts {
  readonly clock: Pick<Clock, "now">;
  readonly disk: Pick<Disk, "readSnapshot" | "removeSnapshot">;
}

interface Sent {
  readonly mark: SnapshotMark;
  readAtMs: number;
}

/** See the module's header. */
export class SentSnapshots {
  readonly #parts: SentSnapshotsParts;
  #newest: Sent | undefined;
  /** The older one, and since when it is. */
  #kept: (Sent & { readonly sinceMs: number }) | undefined;

  constructor(parts: SentSnapshotsParts) {
    this.#parts = parts;
  }

  /** The newest snapshot with evidence. */
  get newest(): SnapshotMark | undefined {
    return this.#newest?.mark;
  }

  /** This node stands on a snapshot: that is the newest, and the ones before are of no use. */
  standsOn(mark: SnapshotMark): void {
    this.#forget();
    this.#newest = { mark, readAtMs: Number.NEGATIVE_INFINITY };
  }

  /** A newer snapshot has its evidence: the one before is removed, unless a peer is being sent it. */
  supersede(mark: SnapshotMark): void {
    const before = this.#newest;
    this.#newest = { mark, readAtMs: Number.NEGATIVE_INFINITY };
    this.expire();
    if (before === undefined) return;
    const now = this.#parts.clock.now();
    const isSent = now - before.readAtMs < SENT_SNAPSHOT_IDLE_MS;
    if (isSent && this.#kept === undefined) this.#kept = { ...before, sinceMs: now };
    else this.#parts.disk.removeSnapshot(before.mark.index);
  }

  /** Removes the older one when its time is over. */
  expire(): void {
    if (this.#kept === undefined) return;
    const now = this.#parts.clock.now();
    const { readAtMs, sinceMs } = this.#kept;
    if (now - readAtMs >= SENT_SNAPSHOT_IDLE_MS || now - sinceMs >= SENT_SNAPSHOT_KEPT_MS) this.#forget();
  }

  #forget(): void {
    if (this.#kept !== undefined) this.#parts.disk.removeSnapshot(this.#kept.mark.index);
    this.#kept = undefined;
  }

  /** Reads a part: the first is of the newest, the others are of the one that the transfer began with, as long as it is there. */
  load(
    { index, offset, maxBytes }: Ready["loadSnapshot"][number],
    done: (snapshot: SnapshotMark | undefined, data: Bytes, last: boolean) => void,
  ): void {
    this.expire();
    const begun = [this.#newest, this.#kept].find((sent) => sent?.mark.index === index);
    const found = index === undefined ? this.#newest : begun;
    if (found === undefined) {
      done(undefined, EMPTY, true);
      return;
    }
    const { clock, disk } = this.#parts;
    found.readAtMs = clock.now();
    disk.readSnapshot(found.mark.index, offset, maxBytes, (data, last) =>
      done(data === undefined ? undefined : found.mark, data ?? EMPTY, last),
    );
  }
}
