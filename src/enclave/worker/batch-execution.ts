/**
 * Execution of batches on the leader: transactions run in order on a draft of the next version, each is kept or leaves
 * nothing behind, and waiting ones that an adapter releases run in the same batch as far as it has room.
 *
 * Nothing here makes a promise. Only where the adapter gives one is it awaited, so that a synchronous adapter's batch is
 * executed within one call: a promise per transaction costs more than a small transaction does, and a deterministic
 * scheduler has no hold on promises.
 */
import type {
  Adapter,
  BatchContext,
  DroppedTransaction,
  PreparedTransaction,
  TransactionOutcome,
} from "../../adapters/adapter.ts";
import { EMPTY } from "../../core/codec/bytes.ts";
import type { BatchDraft, DraftTransaction } from "../../core/kv/draft.ts";
import type { VersionedStore } from "../../core/kv/store.ts";
import type { ExecutedTransaction, FromWorker, ItemOutcome, ToWorker, TransactionItem } from "./protocol.ts";

/** What came of a batch, as the manager is told. */
export type ExecutedMessage = Extract<FromWorker, { type: "executed" }>;
type ExecuteMessage = Extract<ToWorker, { type: "execute" }>;
type GenesisMessage = Extract<ToWorker, { type: "genesis" }>;

const DEFERRED: ItemOutcome = { type: "deferred" };

/** A batch while it runs. */
interface RunningBatch {
  readonly message: ExecuteMessage;
  readonly draft: BatchDraft;
  readonly transactions: ExecutedTransaction[];
  /** One per item that has run; the next item is the one at its length. */
  readonly outcomes: ItemOutcome[];
  /** Transactions released in this batch or carried from the one before. */
  readonly released: PreparedTransaction[];
  releasedRun: number;
  /** Released transactions that were refused when they ran. */
  readonly dropped: DroppedTransaction[];
  room: number;
  deferring: boolean;
}

/** Executes the batches of one adapter, one at a time; see the module's header. */
export class BatchExecution {
  readonly #adapter: Adapter;
  readonly #log: (message: string) => void;
  /** Released transactions for which the last batch had no room. */
  #carried: PreparedTransaction[] = [];

  constructor(adapter: Adapter, log: (message: string) => void) {
    this.#adapter = adapter;
    this.#log = log;
  }

  /** The state changed otherwise than by executing: what was carried belongs to a state that is gone. */
  forgetCarried(): void {
    this.#carried = [];
  }

  /** Writes an adapter's first state as version 1. */
  genesis(store: VersionedStore, message: GenesisMessage): ExecutedMessage {
    const draft = store.beginBatch();
    const transaction = draft.begin();
    this.#adapter.genesis(transaction, message);
    const parts = transaction.keep();
    draft.publish();
    return {
      type: "executed",
      generation: message.generation,
      outcomes: [],
      transactions: [{ id: EMPTY, ...parts, claimsDigest: undefined }],
      dropped: [],
      more: false,
    };
  }

  /** Executes a batch; gives a promise only when the adapter gave one. Throws what `beginBatch` and `endBatch` throw. */
  execute(store: VersionedStore, message: ExecuteMessage): ExecutedMessage | Promise<ExecutedMessage> {
    const context: BatchContext = { timeMs: message.timeMs, randomness: message.randomness };
    const draft = store.beginBatch();
    const batch: RunningBatch = {
      message,
      draft,
      transactions: [],
      outcomes: [],
      released: this.#carried,
      releasedRun: 0,
      dropped: [],
      room: this.#adapter.batchWeight,
      deferring: false,
    };
    this.#carried = [];
    this.#adapter.beginBatch(draft.reader, context);
    const pending = this.#advance(batch);
    return pending === undefined ? this.#end(batch) : this.#executeRest(batch, pending);
  }

  async #executeRest(batch: RunningBatch, first: Promise<void>): Promise<ExecutedMessage> {
    for (let pending: Promise<void> | undefined = first; pending !== undefined; pending = this.#advance(batch))
      await pending;
    return this.#end(batch);
  }

  /** Runs transactions until one takes its time, and gives its end; undefined when all have run. */
  #advance(batch: RunningBatch): Promise<void> | undefined {
    for (;;) {
      let pending: Promise<void> | undefined;
      if (batch.releasedRun < batch.released.length) pending = this.#runReleased(batch);
      else if (batch.outcomes.length < batch.message.items.length) pending = this.#runItem(batch);
      else return undefined;
      if (pending !== undefined) return pending;
    }
  }

  #runItem(batch: RunningBatch): Promise<void> | undefined {
    const item = batch.message.items[batch.outcomes.length] as TransactionItem;
    // Once one had no room all others wait too, so that a sender's transactions keep their order.
    batch.deferring ||= !this.#fits(batch, item);
    if (batch.deferring) {
      batch.outcomes.push(DEFERRED);
      return undefined;
    }
    const settle = (outcome: ItemOutcome): void => {
      batch.outcomes.push(outcome);
      this.#takeReleased(batch);
    };
    const outcome = this.#executeOne(batch, item);
    if (outcome instanceof Promise) return outcome.then(settle);
    settle(outcome);
    return undefined;
  }

  /**
   * The request of a released transaction was answered long ago; its node learns of the inclusion from the ledger, and of a
   * refusal as of one that was dropped.
   */
  #runReleased(batch: RunningBatch): Promise<void> | undefined {
    const transaction = batch.released[batch.releasedRun++] as PreparedTransaction;
    if (this.#carried.length > 0 || !this.#fits(batch, transaction)) {
      this.#carried.push(transaction);
      return undefined;
    }
    const settle = (outcome: ItemOutcome): void => {
      if (outcome.type === "rejected") batch.dropped.push({ id: transaction.id, error: outcome.error });
      this.#takeReleased(batch);
    };
    const outcome = this.#executeOne(batch, transaction);
    if (outcome instanceof Promise) return outcome.then(settle);
    settle(outcome);
    return undefined;
  }

  #takeReleased(batch: RunningBatch): void {
    for (const transaction of this.#adapter.released()) batch.released.push(transaction);
  }

  #fits(batch: RunningBatch, transaction: PreparedTransaction): boolean {
    return batch.transactions.length === 0 || this.#adapter.weight(transaction) <= batch.room;
  }

  #executeOne(batch: RunningBatch, item: TransactionItem): ItemOutcome | Promise<ItemOutcome> {
    const transaction = batch.draft.begin();
    try {
      const outcome = this.#adapter.execute(transaction, item);
      if (!(outcome instanceof Promise)) return this.#settle(batch, item, transaction, outcome);
      return outcome.then(
        (settled) => this.#settle(batch, item, transaction, settled),
        (error: unknown) => this.#broken(transaction, error),
      );
    } catch (error) {
      return this.#broken(transaction, error);
    }
  }

  #settle(
    batch: RunningBatch,
    item: TransactionItem,
    transaction: DraftTransaction,
    outcome: TransactionOutcome,
  ): ItemOutcome {
    if (outcome.type !== "included") {
      transaction.discard();
      return outcome;
    }
    const { publicPart, privatePart } = transaction.keep();
    batch.room -= this.#adapter.weight(item);
    batch.transactions.push({ id: item.id, publicPart, privatePart, claimsDigest: outcome.claimsDigest });
    return { type: "included", result: outcome.result, position: batch.transactions.length - 1 };
  }

  #broken(transaction: DraftTransaction, error: unknown): ItemOutcome {
    transaction.discard();
    this.#log(`execution failed: ${error instanceof Error ? error.message : "unknown"}`);
    return { type: "unavailable", code: "Internal" };
  }

  #end(batch: RunningBatch): ExecutedMessage {
    this.#close(batch);
    const { outcomes, transactions } = batch;
    const dropped = [...batch.dropped, ...(this.#adapter.dropped?.() ?? [])];
    const more = this.#carried.length > 0;
    return { type: "executed", generation: batch.message.generation, outcomes, transactions, dropped, more };
  }

  #close({ draft, transactions }: RunningBatch): void {
    if (transactions.length === 0) {
      draft.abandon();
      return;
    }
    const transaction = draft.begin();
    const end = this.#adapter.endBatch(transaction);
    const parts = transaction.keep();
    if (parts.publicPart.length > 0 || parts.privatePart.length > 0) {
      transactions.push({ id: EMPTY, ...parts, claimsDigest: end.claimsDigest });
    }
    draft.publish();
  }
}
