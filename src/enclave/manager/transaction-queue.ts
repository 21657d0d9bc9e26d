/**
 * Transactions on the leader that have no outcome yet: those that wait for a batch, those in the batch that executes, and
 * those the adapter keeps until they can run. Bounded by number and by bytes; what does not fit is refused at once.
 */
import type { Caller } from "../../adapters/adapter.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { TransactionItem } from "../worker/protocol.ts";

/** Most transactions that wait for execution on the leader; the next one is refused with `TooManyRequests`. */
export const QUEUE_MAX = 65_536;
/** Most bytes of transactions that wait for execution on the leader; the next one is refused with `TooManyRequests`. */
export const QUEUE_BYTES_MAX = 64 * 1024 * 1024;
/** Most waiting transactions of the adapter the leader knows the origin of; others are lost with the adapter's memory. */
export const PARKED_MAX = 65_536;

/** A transaction and who sent it: its right to be in the ledger is judged by that. */
export interface SentItem {
  readonly item: TransactionItem;
  readonly sender: Caller;
}

/** A transaction with its id as a key of maps (`bytesKey`), which is made once per node: it costs as much as a lookup. */
export interface KeyedItem extends SentItem {
  readonly key: string;
}

/** A transaction to execute and the node that asked for it. */
export interface Queued extends KeyedItem {
  /** Undefined: this node. */
  readonly origin: NodeId | undefined;
}

/** A transaction the adapter keeps, with what it said of it. */
export interface Parked extends Queued {
  readonly result: Bytes;
}

/** Limits of a batch, from the constitution's settings. */
export interface BatchLimits {
  readonly transactions: number;
  readonly bytes: number;
}

/** See the module's header. */
export class TransactionQueue {
  /** Transactions from `#first` on; those before it are taken. */
  #waiting: Queued[] = [];
  #first = 0;
  #bytes = 0;
  /** Keys of what waits or executes. */
  readonly #known = new Set<string>();
  readonly #parked = new Map<string, Parked>();

  /** Transactions that wait for a batch. */
  get length(): number {
    return this.#waiting.length - this.#first;
  }

  /** Bytes of the transactions that wait for a batch. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Transactions the adapter keeps. */
  get parkedCount(): number {
    return this.#parked.size;
  }

  /** Whether a transaction waits or executes. */
  has(key: string): boolean {
    return this.#known.has(key);
  }

  /** Adds a transaction at the end; false when there is no room. */
  add(queued: Queued): boolean {
    const { length } = queued.item.body;
    if (this.length >= QUEUE_MAX || this.#bytes + length > QUEUE_BYTES_MAX) return false;
    this.#waiting.push(queued);
    this.#known.add(queued.key);
    this.#bytes += length;
    return true;
  }

  /** Takes the transactions of the next batch out; one at least, if there is one. */
  take({ transactions, bytes: bytesMax }: BatchLimits): Queued[] {
    let bytes = 0;
    let end = this.#first;
    for (; end < this.#waiting.length && end - this.#first < transactions; end++) {
      const { length } = (this.#waiting[end] as Queued).item.body;
      if (end > this.#first && bytes + length > bytesMax) break;
      bytes += length;
    }
    this.#bytes -= bytes;
    const taken = this.#waiting.slice(this.#first, end);
    this.#first = end;
    this.#shrink();
    return taken;
  }

  /** Moving the array costs its length: only when half of it is taken, so that each transaction is moved once on average. */
  #shrink(): void {
    if (this.#first * 2 < this.#waiting.length) return;
    this.#waiting = this.#waiting.slice(this.#first);
    this.#first = 0;
  }

  /** Puts transactions that were taken, or parked, in front of all others: they had their room before. */
  putBack(transactions: readonly Queued[]): void {
    if (transactions.length === 0) return;
    for (const { key, item } of transactions) {
      this.#known.add(key);
      this.#bytes += item.body.length;
    }
    this.#waiting = [...transactions, ...this.#waiting.slice(this.#first)];
    this.#first = 0;
  }

  /** A transaction that was taken has its outcome. */
  settle(key: string): void {
    this.#known.delete(key);
  }

  /** The adapter keeps a transaction until it can run. */
  park(parked: Parked): void {
    if (this.#parked.size < PARKED_MAX) this.#parked.set(parked.key, parked);
  }

  /** A transaction the adapter keeps, if it is one. */
  parked(key: string): Parked | undefined {
    return this.#parked.get(key);
  }

  /** The adapter does not keep the transaction any more. */
  unpark(key: string): void {
    this.#parked.delete(key);
  }

  /** The adapter lost what it kept: gives it, in the order it came, and forgets it. */
  takeParked(): Parked[] {
    const parked = [...this.#parked.values()];
    this.#parked.clear();
    return parked;
  }

  /** Forgets everything. */
  clear(): void {
    this.#waiting = [];
    this.#first = 0;
    this.#bytes = 0;
    this.#known.clear();
    this.#parked.clear();
  }
}
