/**
 * A pool of threads that prepare transactions (decoding, signature recovery): the one stateless and expensive step of a
 * transaction, so the one that is spread over cores. Small batches run in place, because a hop to a thread and back costs
 * as much as recovering one signature.
 */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { PrepareFunction, PrepareResult } from "../adapters/adapter.ts";
import type { Bytes } from "../core/codec/bytes.ts";
import type { Preparer } from "../enclave/worker/request-desk.ts";
import { packList, unpackResults } from "../enclave/worker/packing.ts";

/** Most threads of a prepare pool. */
export const PREPARE_THREADS_MAX = 4;
/** Up to this many transactions are prepared in place. */
export const PREPARE_IN_PLACE_MAX = 2;
/** Most transactions in one message to a preparing thread; larger batches are cut so that threads share them. */
export const PREPARE_SLICE_MAX = 64;

interface Job {
  readonly results: (PrepareResult | undefined)[];
  readonly done: (results: readonly PrepareResult[]) => void;
  left: number;
}

interface Slice {
  readonly job: Job;
  readonly start: number;
  readonly transactions: readonly Bytes[];
}

interface Thread {
  readonly worker: Worker;
  readonly running: Slice[];
}

/** Threads a prepare pool has on this machine. */
export function prepareThreads(): number {
  return Math.max(1, Math.min(PREPARE_THREADS_MAX, availableParallelism() - 1));
}

/** Prepares transactions of one adapter in several threads. */
export class PreparePool implements Preparer {
  readonly #inPlace: PrepareFunction;
  readonly #threads: Thread[] = [];

  /**
   * @param adapter name in the composition root
   * @param size number of threads
   * @param onFailure called when a thread dies; its transactions will not be answered
   */
  constructor(adapter: string, inPlace: PrepareFunction, size: number, onFailure: (message: string) => void) {
    this.#inPlace = inPlace;
    for (let count = 0; count < size; count++) {
      const worker = new Worker(new URL("./prepare-thread.js", import.meta.url), { workerData: { adapter } });
      const thread: Thread = { worker, running: [] };
      worker.on("message", (packed: Bytes) => this.#finished(thread, packed));
      worker.on("error", (error) => onFailure(error.message));
      this.#threads.push(thread);
    }
  }

  prepare(transactions: readonly Bytes[], done: (results: readonly PrepareResult[]) => void): void {
    if (transactions.length <= PREPARE_IN_PLACE_MAX || this.#threads.length === 0) {
      done(this.#inPlace(transactions));
      return;
    }
    const slices = Math.min(this.#threads.length, transactions.length);
    const length = Math.min(Math.ceil(transactions.length / slices), PREPARE_SLICE_MAX);
    const job: Job = { results: new Array(transactions.length), done, left: transactions.length };
    for (let start = 0; start < transactions.length; start += length) {
      this.#start({ job, start, transactions: transactions.slice(start, start + length) });
    }
  }

  #start(slice: Slice): void {
    const thread = this.#threads.reduce((idlest, other) =>
      other.running.length < idlest.running.length ? other : idlest,
    );
    thread.running.push(slice);
    thread.worker.postMessage(packList(slice.transactions));
  }

  #finished(thread: Thread, packed: Bytes): void {
    const slice = thread.running.shift();
    if (slice === undefined) return;
    unpackResults(packed).forEach((result, at) => {
      slice.job.results[slice.start + at] = result;
    });
    slice.job.left -= slice.transactions.length;
    if (slice.job.left === 0) slice.job.done(slice.job.results.filter((result) => result !== undefined));
  }
}
