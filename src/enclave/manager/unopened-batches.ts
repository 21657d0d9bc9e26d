/**
 * Committed batches this node has no key for: a new node's, until it is granted the keys of the epochs before it, and those
 * of a node that was voted out. They are on its disk like all others; their content is applied when the keys come, in order
 * and before anything that follows them.
 */
import type { LogEntry } from "../../core/consensus/types.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { CocoError } from "../../errors.ts";
import type { Disk } from "../ports.ts";

/** Bytes of batches read back at a time. */
export const UNOPENED_READ_BYTES_MAX = 1024 * 1024;

/** What waiting batches need of the node around them. */
export interface UnopenedBatchesParts {
  readonly disk: Pick<Disk, "read">;
  /** Whether the key of an epoch is here. */
  readonly canOpen: (epoch: number) => boolean;
  /** Index of the newest batch that is committed. */
  readonly committedIndex: () => number;
  /** The batch of an entry read back from disk; throws `LedgerCorrupt` when it is not the ledger's. */
  readonly check: (entry: LogEntry) => ParsedBatch;
  /** The disk returned what is not the ledger's. */
  readonly onFatal: (error: CocoError) => void;
  /** Applies a batch that waited. */
  readonly apply: (batch: ParsedBatch) => void;
  /** All that is committed is applied. */
  readonly onEnd: () => void;
}

/** See the module's header. */
export class UnopenedBatches {
  readonly #parts: UnopenedBatchesParts;
  /** The first that waits; all committed ones after it wait too. */
  #nextIndex: number | undefined;
  #reading = false;

  constructor(parts: UnopenedBatchesParts) {
    this.#parts = parts;
  }

  /** Whether committed batches wait for a key. */
  get waiting(): boolean {
    return this.#nextIndex !== undefined;
  }

  /** Whether a batch that was just committed has to wait. */
  holds({ header }: ParsedBatch): boolean {
    if (this.#nextIndex === undefined && header.kind === "application" && !this.#parts.canOpen(header.epoch))
      this.#nextIndex = header.index;
    return this.waiting;
  }

  /** Keys may have come. */
  keysChanged(): void {
    if (this.#reading || this.#nextIndex === undefined) return;
    this.#reading = true;
    const fromIndex = this.#nextIndex;
    this.#parts.disk.read(fromIndex, UNOPENED_READ_BYTES_MAX, (entries) => {
      this.#reading = false;
      if (this.#nextIndex !== fromIndex) return;
      this.#read(entries, fromIndex);
    });
  }

  #read(entries: readonly LogEntry[], fromIndex: number): void {
    let next = fromIndex;
    try {
      for (const entry of entries) {
        if (entry.index > this.#parts.committedIndex()) break;
        if (entry.index !== next)
          throw new CocoError("LedgerCorrupt", `the disk returned entry ${entry.index} instead of ${next}`, {
            index: next,
          });
        if (!this.#apply(this.#parts.check(entry))) break;
        next++;
      }
    } catch (error) {
      if (!(error instanceof CocoError)) throw error;
      this.#parts.onFatal(error);
      return;
    }
    this.#nextIndex = next;
    if (next > this.#parts.committedIndex()) {
      this.#nextIndex = undefined;
      this.#parts.onEnd();
    } else if (next > fromIndex) this.keysChanged();
  }

  /** Whether a batch could be applied. */
  #apply(batch: ParsedBatch): boolean {
    if (batch.header.kind !== "application") return true;
    if (!this.#parts.canOpen(batch.header.epoch)) return false;
    this.#parts.apply(batch);
    return true;
  }

  /** A snapshot took the place of everything that waits. */
  forget(): void {
    this.#nextIndex = undefined;
  }
}
