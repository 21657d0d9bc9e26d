/**
 * One execution batch in the making: the environment its transactions run in, what was included, and which senders'
 * waiting transactions may run because their account moved on.
 */
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import type { PreparedTransaction, StateReader, WrittenKey } from "../adapter.ts";
import type { BlockEntry } from "./block.ts";
import type { TransactionPool } from "./pool.ts";
import { decodeAccount } from "./records.ts";
import { type BlockEnvironment, type BlockRecord, type Receipt, type SignedTransaction, TABLES } from "./types.ts";

/** An open execution batch. */
export class Batch {
  readonly parent: BlockRecord;
  /** What the block of this batch is made with. */
  readonly blockEnvironment: BlockEnvironment;
  /** What transactions run in: the block's own environment, or a replay's. */
  environment: BlockEnvironment;
  /** Whether the system calls of the block's start are part of an included transaction. */
  started = false;
  readonly entries: BlockEntry[] = [];
  readonly #hashes = new Set<string>();
  readonly #written: WrittenKey[] = [];
  readonly #released: PreparedTransaction[] = [];

  constructor(
    parent: BlockRecord,
    blockEnvironment: BlockEnvironment,
    replayEnvironment: BlockEnvironment | undefined,
  ) {
    this.parent = parent;
    this.blockEnvironment = blockEnvironment;
    this.environment = replayEnvironment ?? blockEnvironment;
  }

  /** Whether transactions run in a replay's environment. */
  get isReplaying(): boolean {
    return this.environment !== this.blockEnvironment;
  }

  /** Gas used by the transactions included so far. */
  get gasUsed(): number {
    return this.entries.at(-1)?.receipt.cumulativeGasUsed ?? 0;
  }

  /** Keys of accounts and storage written by what was included. */
  get written(): readonly WrittenKey[] {
    return this.#written;
  }

  /** Whether the transaction is part of this batch. */
  includes(hash: Bytes): boolean {
    return this.#hashes.has(toHex(hash));
  }

  /** Notes an included transaction. */
  include(transaction: SignedTransaction, receipt: Receipt): void {
    this.entries.push({ transaction, receipt });
    this.#hashes.add(toHex(transaction.hash));
  }

  /** Notes what was written and takes out of the pool what can run now that nonces moved on. */
  wrote(written: readonly WrittenKey[], state: StateReader, pool: TransactionPool): void {
    for (const at of written) this.#written.push(at);
    if (pool.size === 0) return;
    for (const { table, key } of written) {
      if (table !== TABLES.accounts) continue;
      const record = state.get(TABLES.accounts, key);
      const nonce = record === undefined ? 0 : decodeAccount(record).nonce;
      this.#released.push(...pool.release(key, nonce));
    }
  }

  /** Takes the released transactions. */
  takeReleased(): readonly PreparedTransaction[] {
    return this.#released.splice(0);
  }
}
