/**
 * Bounds of what a worker hands out as its state for a snapshot. Whatever is in a state was written by batches of the ledger,
 * or came with an imported state: so a state has a largest size, and a worker that goes on beyond it would only fill the disk.
 */
import { CocoError } from "../../errors.ts";
import type { FromWorker, ToWorker } from "../worker/protocol.ts";
import { STATE_PART_BYTES_MAX } from "../worker/state-transfer.ts";

/** Most bytes of an exported state besides twice what was written: an entry has less than that with its key, version and value. */
export const EXPORT_SPARE_BYTES_MAX = 1024 * 1024;
/** Most parts of an exported state besides two for each that would be full. */
export const EXPORT_SPARE_PARTS_MAX = 16;
/** Time a worker may let its manager wait for all parts of a state, besides {@link EXPORT_PART_WAIT_MS} for each. */
export const EXPORT_WAIT_MS = 600_000;
/** Time a worker may let its manager wait for each part of a state on average. */
export const EXPORT_PART_WAIT_MS = 1_000;

type Part = Extract<FromWorker, { type: "snapshotPart" }>;

function breach(what: string): CocoError {
  return new CocoError("WorkerBreach", what);
}

/** Judges the parts of one worker's exports. */
export class ExportGuard {
  readonly #writtenBytes: () => number;
  #held: Extract<ToWorker, { type: "exportSnapshot" }> | undefined;
  #partsAsked = 0;
  #parts = 0;
  #bytes = 0;
  #waitedMs = 0;

  /** @param writtenBytes bytes of all that was written to the state, or imported */
  constructor(writtenBytes: () => number) {
    this.#writtenBytes = writtenBytes;
  }

  /** Parts that were asked for and have not come. */
  get partsAsked(): number {
    return this.#partsAsked;
  }

  /** Another version is held for export. */
  begin(message: Extract<ToWorker, { type: "exportSnapshot" }>): void {
    this.#held = message;
    this.#parts = 0;
    this.#bytes = 0;
    this.#waitedMs = 0;
  }

  /** A part was asked for. */
  ask(): void {
    this.#partsAsked++;
  }

  /** A part has come; throws `WorkerBreach`. */
  take({ part }: Part): void {
    if (this.#partsAsked === 0) throw breach("a part of a snapshot that was not asked for");
    this.#partsAsked--;
    const partBytes = Math.min(this.#held?.maxBytes ?? STATE_PART_BYTES_MAX, STATE_PART_BYTES_MAX);
    if (part.length > STATE_PART_BYTES_MAX) throw breach("a part that is too large");
    if (part.length === 0) throw breach("an empty part of a snapshot");
    this.#parts++;
    this.#bytes += part.length;
    const bytesMax = EXPORT_SPARE_BYTES_MAX + 2 * this.#writtenBytes();
    if (this.#bytes > bytesMax) throw breach("a snapshot larger than all that was written");
    // An entry that has no room begins the next part: of any two in a row there is more than one part's worth.
    if (this.#parts > EXPORT_SPARE_PARTS_MAX + (2 * bytesMax) / partBytes) throw breach("a snapshot of too many parts");
  }

  /** The version is not there: the part that was asked for, or the export as a whole, does not come. */
  takeUnavailable(version: number): void {
    if (this.#partsAsked > 0) this.#partsAsked--;
    else if (version !== this.#held?.version) throw breach("a word on a snapshot that was not asked for");
    else this.#held = undefined;
  }

  /** Time passes; throws `WorkerBreach` when the worker has let its manager wait too long in all. */
  passed(ms: number): void {
    if (this.#partsAsked === 0) return;
    this.#waitedMs += ms;
    if (this.#waitedMs > EXPORT_WAIT_MS + this.#parts * EXPORT_PART_WAIT_MS)
      throw breach("a snapshot that does not end");
  }
}
