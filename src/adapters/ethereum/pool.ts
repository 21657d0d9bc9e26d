/**
 * Transactions that wait because their nonce is ahead of their sender's account. Local memory of the leader's worker:
 * what is lost with it is sent again by the framework. Bounded per sender and in total.
 * Replacement follows go-ethereum's legacy pool: the same sender and nonce needs 10 % higher fees.
 */
import { type Bytes, bytesEqual, toHex } from "../../core/codec/bytes.ts";
import type { DroppedTransaction, PreparedTransaction } from "../adapter.ts";
import { feeCap, tipCap } from "./fees.ts";
import { encodeFault } from "./prepare.ts";
import type { RpcFault, SignedTransaction } from "./types.ts";
import { refusal } from "./validate.ts";

/** Largest number of waiting transactions of one sender. */
export const WAITING_PER_SENDER_LIMIT = 1024;

/** Largest number of waiting transactions. */
export const WAITING_LIMIT = 16_384;

/** Percent by which a replacement's fees must exceed those of the transaction it replaces. */
export const REPLACEMENT_FEE_RISE_PERCENT = 10n;

const REPLACED = refusal("replaced by a transaction with higher fees");
const OVERTAKEN = refusal("nonce too low");

/** A waiting transaction, decoded and as it has to be given back. */
export interface WaitingTransaction {
  readonly transaction: SignedTransaction;
  readonly prepared: PreparedTransaction;
}

function risesEnough(before: bigint, after: bigint): boolean {
  return after > before && after * 100n >= before * (100n + REPLACEMENT_FEE_RISE_PERCENT);
}

/** The waiting transactions of one node. */
export class TransactionPool {
  /** sender -> nonce -> transaction. */
  readonly #senders = new Map<string, Map<number, WaitingTransaction>>();
  #size = 0;
  /** Given up since they were taken last; of a batch's transactions each can drop a sender's queue at most. */
  #dropped: DroppedTransaction[] = [];

  /** Number of waiting transactions. */
  get size(): number {
    return this.#size;
  }

  /** Takes the transaction in, or says why not. */
  add(waiting: WaitingTransaction): RpcFault | undefined {
    const { transaction } = waiting;
    const sender = toHex(transaction.from);
    const queue = this.#senders.get(sender) ?? new Map<number, WaitingTransaction>();
    const present = queue.get(transaction.nonce);
    if (present === undefined) {
      if (this.#size >= WAITING_LIMIT || queue.size >= WAITING_PER_SENDER_LIMIT) return refusal("txpool is full");
      this.#size++;
    } else {
      if (bytesEqual(present.transaction.hash, transaction.hash)) return refusal("already known");
      const enough =
        risesEnough(feeCap(present.transaction), feeCap(transaction)) &&
        risesEnough(tipCap(present.transaction), tipCap(transaction));
      if (!enough) return refusal("replacement transaction underpriced");
      this.#dropped.push({ id: present.prepared.id, error: encodeFault(REPLACED) });
    }
    queue.set(transaction.nonce, waiting);
    this.#senders.set(sender, queue);
    return undefined;
  }

  /** Takes out what `sender` can run from `nextNonce` on without a gap, in order; drops what is behind `nextNonce`. */
  release(sender: Bytes, nextNonce: number): readonly PreparedTransaction[] {
    const key = toHex(sender);
    const queue = this.#senders.get(key);
    if (queue === undefined) return [];
    for (const [nonce, { prepared }] of [...queue]) {
      if (nonce >= nextNonce) continue;
      this.#remove(key, nonce);
      this.#dropped.push({ id: prepared.id, error: encodeFault(OVERTAKEN) });
    }
    const released: PreparedTransaction[] = [];
    for (let nonce = nextNonce; ; nonce++) {
      const waiting = queue.get(nonce);
      if (waiting === undefined) return released;
      released.push(waiting.prepared);
      this.#remove(key, nonce);
    }
  }

  /** Takes what was replaced or overtaken since the last call, and so never runs. */
  takeDropped(): readonly DroppedTransaction[] {
    const dropped = this.#dropped;
    if (dropped.length > 0) this.#dropped = [];
    return dropped;
  }

  #remove(key: string, nonce: number): void {
    const queue = this.#senders.get(key);
    if (queue?.delete(nonce) !== true) return;
    this.#size--;
    if (queue.size === 0) this.#senders.delete(key);
  }

  /** Waiting transactions of one sender, or of all, by sender and nonce. */
  list(sender?: Bytes): readonly SignedTransaction[] {
    const queues =
      sender === undefined
        ? [...this.#senders.values()]
        : [this.#senders.get(toHex(sender)) ?? new Map<number, never>()];
    return queues.flatMap((queue) =>
      [...queue.values()].map((waiting) => waiting.transaction).sort((left, right) => left.nonce - right.nonce),
    );
  }

  /** The waiting transaction with this hash. */
  find(hash: Bytes): SignedTransaction | undefined {
    for (const queue of this.#senders.values()) {
      for (const { transaction } of queue.values()) if (bytesEqual(transaction.hash, hash)) return transaction;
    }
    return undefined;
  }

  /** Forgets everything. */
  clear(): void {
    this.#senders.clear();
    this.#dropped = [];
    this.#size = 0;
  }
}
