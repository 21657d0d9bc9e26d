/** What an adapter's lane is made of, and what it is told. */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { Rights } from "../../core/governance/rights.ts";
import type { Executor } from "../ports.ts";
import type { ExecutedTransaction, FromWorker } from "../worker/protocol.ts";
import { CocoError } from "../../errors.ts";
import type { LaneOutcome } from "./lane-outcomes.ts";
import type { BatchLimits } from "./transaction-queue.ts";

/** A committed batch as the adapter's worker is told of it. */
export interface CommittedPlace {
  readonly index: number;
  readonly view: number;
  readonly firstSeqno: number;
  readonly count: number;
}

/**
 * Batches in a row that were too much for the ledger, without a transaction that failed alone: their sizes are halved each time,
 * so that an adapter cannot come to as many. A worker that does is ended.
 */
export const UNDONE_BATCHES_MAX = 64;

/** What a lane needs from the manager. */
export interface LaneParts {
  readonly adapterId: number;
  readonly executor: Executor;
  readonly limits: () => BatchLimits;
  /** What senders may do at the end of the log; the same object as long as the constitution there is. */
  readonly rights: () => Rights;
  /** How long a batch that is not full waits for more. */
  readonly maxDelayMs: () => number;
  /** Calls back after a time. */
  readonly after: (delayMs: number, callback: () => void) => void;
  /** Wall clock for a batch, never going back. */
  readonly batchTime: () => number;
  readonly randomBytes: (length: number) => Bytes;
  /** Whether a batch may start now: this node leads, is ready, and no administrative transaction waits. */
  readonly mayExecute: () => boolean;
  /**
   * Seals and proposes executed transactions; the index of the batch, or undefined when this node does not lead any more.
   * `keys` are those of their ids (`bytesKey`).
   */
  readonly propose: (transactions: readonly ExecutedTransaction[], keys: readonly string[]) => number | undefined;
  /** Ends the worker: it does what only the lane can see. */
  readonly endWorker: (reason: string) => void;
  /**
   * Outcomes of transactions by the node that asked. `index` is the batch that includes one, for a duplicate or a refused one
   * the newest batch of the state it was judged by; 0 otherwise.
   */
  readonly deliver: (origin: NodeId | undefined, outcomes: readonly LaneOutcome[]) => void;
}

/** Proposes what a worker executed; "too large" when it does not fit a batch of the ledger. */
export function proposeIfItFits(
  { propose }: Pick<LaneParts, "propose">,
  { transactions, tooLarge }: Pick<Extract<FromWorker, { type: "executed" }>, "transactions" | "tooLarge">,
  keys: readonly string[],
): number | undefined | "too large" {
  if (tooLarge === true) return "too large";
  try {
    return propose(transactions, keys);
  } catch (error) {
    if (error instanceof CocoError && error.code === "LimitExceeded") return "too large";
    throw error;
  }
}

/** How many transactions a batch may have, where larger ones were too much for the ledger. */
export class BatchSize {
  #max = Infinity;
  #undoneInARow = 0;

  /** Most transactions of the next batch. */
  get max(): number {
    return this.#max;
  }

  /** A batch fits the ledger: the next may be larger. */
  fitted(): void {
    this.#max *= 2;
    this.#undoneInARow = 0;
  }

  /** A batch was undone; false when that happens again and again. */
  undone(): boolean {
    return ++this.#undoneInARow <= UNDONE_BATCHES_MAX;
  }

  /** A transaction that was too large by itself is out of the way. */
  failedAlone(): void {
    this.#undoneInARow = 0;
  }

  /** The transactions of a batch that was undone run again in smaller ones. */
  halve(transactions: number): void {
    this.#max = Math.max(1, Math.floor(transactions / 2));
  }

  /** Everything begins anew. */
  reset(): void {
    this.#max = Infinity;
    this.#undoneInARow = 0;
  }
}

/** Lets more requests come before a batch closes: latency is traded for throughput. */
export class BatchDelay {
  readonly #parts: Pick<LaneParts, "after" | "maxDelayMs">;
  readonly #onOver: () => void;
  #state: "none" | "running" | "over" = "none";

  constructor(parts: Pick<LaneParts, "after" | "maxDelayMs">, onOver: () => void) {
    this.#parts = parts;
    this.#onOver = onOver;
  }

  /** Whether a batch may close now; if not, `onOver` is called when it may. */
  mayClose(full: boolean): boolean {
    const delayMs = this.#parts.maxDelayMs();
    if (delayMs === 0 || full || this.#state === "over") {
      if (this.#state === "over") this.#state = "none";
      return true;
    }
    if (this.#state === "running") return false;
    this.#state = "running";
    this.#parts.after(delayMs, () => {
      this.#state = "over";
      this.#onOver();
    });
    return false;
  }
}
