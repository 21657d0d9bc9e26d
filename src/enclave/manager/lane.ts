/**
 * One adapter's lane through the manager: the queue of transactions to execute while this node leads, the batch that is
 * executing, and the versions of the adapter's state that belong to batches of the ledger.
 *
 * Group commit: a batch closes when the previous one is on disk, or at its limits. Work in flight is bounded by
 * {@link UNCOMMITTED_BATCHES_MAX}; what waits is bounded by {@link QUEUE_MAX}.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { toHex } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { Executor } from "../ports.ts";
import type { ExecutedTransaction, FromWorker, ItemOutcome, TransactionItem } from "../worker/protocol.ts";

/** Most transactions that wait for execution on the leader. */
export const QUEUE_MAX = 65_536;
/** Most executed batches that are not committed yet. */
export const UNCOMMITTED_BATCHES_MAX = 8;

/** A transaction to execute and the node that asked for it. */
interface Queued {
  readonly item: TransactionItem;
  readonly key: string;
  /** Undefined: this node. */
  readonly origin: NodeId | undefined;
}

/** A committed batch as the adapter's worker is told of it. */
export interface CommittedPlace {
  readonly index: number;
  readonly view: number;
  readonly firstSeqno: number;
  readonly count: number;
}

/** Limits of a batch, from the constitution's settings. */
export interface BatchLimits {
  readonly transactions: number;
  readonly bytes: number;
}

/** What a lane needs from the manager. */
export interface LaneParts {
  readonly adapterId: number;
  readonly executor: Executor;
  readonly limits: BatchLimits;
  /** How long a batch that is not full waits for more. */
  readonly maxDelayMs: number;
  /** Calls back after a time. */
  readonly after: (delayMs: number, callback: () => void) => void;
  /** Wall clock for a batch, never going back. */
  readonly batchTime: () => number;
  readonly randomBytes: (length: number) => Bytes;
  /** Whether a batch may start now: this node leads, is ready, and no administrative transaction waits. */
  readonly mayExecute: () => boolean;
  /** Seals and proposes executed transactions; the index of the batch, or undefined when this node does not lead any more. */
  readonly propose: (transactions: readonly ExecutedTransaction[]) => number | undefined;
  /**
   * Outcomes of transactions by the node that asked. `index` is the batch that includes one, for a duplicate the newest batch
   * of the state it was judged by; 0 otherwise.
   */
  readonly deliver: (
    origin: NodeId | undefined,
    outcomes: readonly { id: Bytes; outcome: ItemOutcome; index: number }[],
  ) => void;
}

/** See the module's header. */
export class AdapterLane {
  readonly adapterId: number;
  readonly executor: Executor;
  readonly #parts: LaneParts;
  #queue: Queued[] = [];
  readonly #known = new Set<string>();
  #executing: readonly Queued[] | undefined;
  #more = false;
  /** A batch waits for more requests, or has waited. */
  #delaying = false;
  #delayed = false;
  #generation = 0;
  #headVersion = 0;
  #committedVersion = 0;
  /** Batches this node executed that are not committed yet: index -> version. */
  readonly #own = new Map<number, number>();
  /** Index of the batch that made the head version, and the committed one. */
  #headIndex = 0;
  #committedIndex = 0;
  /** Index of the newest own batch that is not durable here yet; 0 when all are. */
  #undurableIndex = 0;

  constructor(parts: LaneParts) {
    this.#parts = parts;
    this.adapterId = parts.adapterId;
    this.executor = parts.executor;
  }

  /** Whether the adapter has no state at all yet, so that its genesis must run. */
  get isEmpty(): boolean {
    return this.#headVersion === 0;
  }

  /** The newest version of the adapter's state that is committed. */
  get committedVersion(): number {
    return this.#committedVersion;
  }

  /** Whether no batch is executing. */
  get isIdle(): boolean {
    return this.#executing === undefined;
  }

  /** Queues transactions for execution; those that are queued already are left out. */
  enqueue(items: readonly TransactionItem[], origin: NodeId | undefined): void {
    const refused: { id: Bytes; outcome: ItemOutcome; index: number }[] = [];
    for (const item of items) {
      const key = toHex(item.id);
      if (this.#known.has(key)) continue;
      if (this.#queue.length >= QUEUE_MAX) {
        refused.push({ id: item.id, outcome: { type: "unavailable", code: "TooManyRequests" }, index: 0 });
        continue;
      }
      this.#known.add(key);
      this.#queue.push({ item, key, origin });
    }
    if (refused.length > 0) this.#parts.deliver(origin, refused);
    this.pump();
  }

  /** Runs the adapter's genesis as the first batch. */
  executeGenesis(): void {
    invariant(this.isEmpty && this.isIdle, "genesis runs first and once");
    this.#executing = [];
    const { batchTime, randomBytes } = this.#parts;
    this.executor.send({
      type: "genesis",
      generation: this.#generation,
      timeMs: batchTime(),
      randomness: randomBytes(32),
    });
  }

  /** Starts a batch if one may start. */
  pump(): void {
    if (this.#executing !== undefined || this.isEmpty || (this.#queue.length === 0 && !this.#more)) return;
    const full = this.#queue.length >= this.#parts.limits.transactions;
    if ((this.#undurableIndex > 0 && !full) || this.#own.size >= UNCOMMITTED_BATCHES_MAX || !this.#parts.mayExecute())
      return;
    if (this.#parts.maxDelayMs > 0 && !full && !this.#delayed) {
      this.#delay();
      return;
    }
    this.#delayed = false;
    const batch = this.#takeBatch();
    this.#executing = batch;
    this.#more = false;
    const { batchTime, randomBytes } = this.#parts;
    this.executor.send({
      type: "execute",
      generation: this.#generation,
      timeMs: batchTime(),
      randomness: randomBytes(32),
      items: batch.map((queued) => queued.item),
    });
  }

  /** Lets more requests come before the batch closes: latency is traded for throughput. */
  #delay(): void {
    if (this.#delaying) return;
    this.#delaying = true;
    this.#parts.after(this.#parts.maxDelayMs, () => {
      this.#delaying = false;
      this.#delayed = true;
      this.pump();
    });
  }

  #takeBatch(): Queued[] {
    const { limits } = this.#parts;
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && count < limits.transactions) {
      bytes += (this.#queue[count] as Queued).item.body.length;
      if (count > 0 && bytes > limits.bytes) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  /** The worker finished a batch. */
  executed(message: Extract<FromWorker, { type: "executed" }>): void {
    if (message.generation !== this.#generation || this.#executing === undefined) return;
    const batch = this.#executing;
    this.#executing = undefined;
    this.#more = message.more;
    let index = 0;
    if (message.transactions.length > 0) {
      this.#headVersion++;
      const proposed = this.#propose(message.transactions);
      if (proposed === "too large") {
        this.#undoBatch(batch);
        return;
      }
      // Not leading any more: the change of role rolls the worker back and every node sends its transactions again.
      if (proposed === undefined) return;
      index = proposed;
      this.#headIndex = index;
      this.#own.set(index, this.#headVersion);
      this.#undurableIndex = index;
    }
    this.#deliver(batch, message.outcomes, index);
    this.pump();
  }

  #propose(transactions: readonly ExecutedTransaction[]): number | undefined | "too large" {
    try {
      return this.#parts.propose(transactions);
    } catch (error) {
      if (error instanceof CocoError && error.code === "LimitExceeded") return "too large";
      throw error;
    }
  }

  /** What was executed does not fit a batch of the ledger: it is undone alone, the batches before it stand. */
  #undoBatch(batch: readonly Queued[]): void {
    this.#headVersion--;
    this.#generation++;
    this.executor.send({ type: "rollback", version: this.#headVersion, generation: this.#generation });
    this.#deliver(
      batch,
      batch.map(() => ({ type: "unavailable", code: "LimitExceeded" })),
      0,
    );
    this.pump();
  }

  #deliver(batch: readonly Queued[], outcomes: readonly ItemOutcome[], index: number): void {
    const byOrigin = new Map<NodeId | undefined, { id: Bytes; outcome: ItemOutcome; index: number }[]>();
    const deferred: Queued[] = [];
    batch.forEach((queued, at) => {
      const outcome = outcomes[at] ?? { type: "unavailable", code: "Internal" };
      if (outcome.type === "deferred") {
        deferred.push(queued);
        return;
      }
      this.#known.delete(queued.key);
      const entry = { id: queued.item.id, outcome, index: this.#indexFor(outcome, index) };
      const list = byOrigin.get(queued.origin);
      if (list === undefined) byOrigin.set(queued.origin, [entry]);
      else list.push(entry);
    });
    if (deferred.length > 0) this.#queue = [...deferred, ...this.#queue];
    for (const [origin, entries] of byOrigin) this.#parts.deliver(origin, entries);
  }

  #indexFor(outcome: ItemOutcome, index: number): number {
    if (outcome.type === "included") return index;
    return outcome.type === "duplicate" ? this.#headIndex : 0;
  }

  /** Everything up to this index is durable on this node. */
  durable(index: number): void {
    if (this.#undurableIndex === 0 || index < this.#undurableIndex) return;
    this.#undurableIndex = 0;
    this.pump();
  }

  /**
   * A batch of this adapter is committed.
   * @param parts gives the write sets, called only when the batch was not executed by this worker
   */
  committed(place: CommittedPlace, parts: () => readonly Bytes[]): void {
    let version = this.#own.get(place.index);
    if (version === undefined) {
      invariant(this.#own.size === 0, "a foreign batch commits only after own uncommitted ones were undone");
      version = ++this.#headVersion;
      this.#headIndex = place.index;
      this.executor.send({ type: "apply", generation: this.#generation, parts: parts() });
    } else this.#own.delete(place.index);
    this.#committedVersion = version;
    this.#committedIndex = place.index;
    this.executor.send({
      type: "commit",
      batches: [{ version, view: place.view, firstSeqno: place.firstSeqno, count: place.count }],
    });
    this.pump();
  }

  /** This node stopped leading: what it executed and is not committed is undone, what waits is forgotten. */
  stopLeading(): void {
    this.#queue = [];
    this.#known.clear();
    this.#executing = undefined;
    this.#more = false;
    this.#own.clear();
    this.#undurableIndex = 0;
    this.#generation++;
    this.#headVersion = this.#committedVersion;
    this.#headIndex = this.#committedIndex;
    this.executor.send({ type: "rollback", version: this.#committedVersion, generation: this.#generation });
  }
}
