/**
 * One adapter's lane through the manager: the queue of transactions to execute while this node leads, the batch that is
 * executing, and the versions of the adapter's state that belong to batches of the ledger.
 *
 * Group commit: a batch closes when the previous one is on disk, or at its limits. Work in flight is bounded by
 * {@link UNCOMMITTED_BATCHES_MAX}, what waits by number and bytes (transaction-queue.ts).
 *
 * Whether a sender may transact is judged when a batch closes, by the constitution at the end of the log. If that changes
 * while the batch executes, the batch is undone and begins again behind the change; what the adapter keeps waiting is judged
 * anew, too. So whatever stands behind a change of rights in the ledger was judged by the new ones.
 *
 * What was executed may be too much for one batch of the ledger, which nobody knows before. Then the batch is undone and
 * its transactions run again in batches of half the size, until the one that does not fit by itself is alone and fails.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { bytesKey } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { Rights } from "../../core/governance/rights.ts";
import { type ErrorCode, invariant } from "../../errors.ts";
import { keysOf, type LaneOutcome, OutcomesByOrigin } from "./lane-outcomes.ts";
import { BatchDelay, BatchSize, type CommittedPlace, type LaneParts, proposeIfItFits } from "./lane-parts.ts";
import type { Executor } from "../ports.ts";
import type { ExecutedTransaction, FromWorker, ItemOutcome } from "../worker/protocol.ts";
import { type BatchLimits, type KeyedItem, type Queued, type SentItem, TransactionQueue } from "./transaction-queue.ts";

/** Most executed batches that are not committed yet. */
export const UNCOMMITTED_BATCHES_MAX = 8;

const EVERYTHING: BatchLimits = { transactions: Infinity, bytes: Infinity };

type Executed = Extract<FromWorker, { type: "executed" }>;

/** See the module's header. */
export class AdapterLane {
  readonly adapterId: number;
  readonly executor: Executor;
  readonly #parts: LaneParts;
  readonly #queue = new TransactionQueue();
  #executing: readonly Queued[] | undefined;
  /** What the batch that executes, and what the adapter keeps, was judged by. */
  #rights: Rights | undefined;
  #more = false;
  /** The code of this node cannot run the adapter: batches of others are counted, nothing else. */
  #disabled = false;
  /** There is no worker with the committed state: what comes waits. */
  #isLost = false;
  readonly #size = new BatchSize();
  readonly #delay: BatchDelay;
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
    this.#delay = new BatchDelay(parts, () => this.pump());
  }

  /** Whether the adapter has no state at all yet, so that its genesis must run. */
  get isEmpty(): boolean {
    return this.#headVersion === 0;
  }

  /** Whether no batch is executing. */
  get isIdle(): boolean {
    return this.#executing === undefined;
  }

  /** Version of the adapter's state that is committed. */
  get committedVersion(): number {
    return this.#committedVersion;
  }

  /** That version, and the batch that made it. */
  get committedState(): { readonly version: number; readonly index: number } {
    return { version: this.#committedVersion, index: this.#committedIndex };
  }

  /** Queues transactions for execution; those that are here already are left out. */
  enqueue(items: readonly SentItem[], origin: NodeId | undefined): void {
    this.enqueueKeyed(
      items.map(({ item, sender }) => ({ item, sender, key: bytesKey(item.id) })),
      origin,
    );
  }

  /** As {@link AdapterLane.enqueue}, with keys at hand. */
  enqueueKeyed(entries: readonly KeyedItem[], origin: NodeId | undefined): void {
    const told: LaneOutcome[] = [];
    for (const { item, key, sender } of entries) {
      if (this.#disabled) {
        told.push({ id: item.id, key, outcome: { type: "unavailable", code: "AdapterUnavailable" }, index: 0 });
        continue;
      }
      if (this.#queue.has(key)) continue;
      const parked = this.#queue.parked(key);
      // Its node sends it again because a frame or the channel was lost; the adapter would call it known.
      if (parked !== undefined && parked.origin === origin)
        told.push({ id: item.id, key, outcome: { type: "waiting", result: parked.result }, index: 0 });
      else if (!this.#queue.add({ item, key, sender, origin }))
        told.push({ id: item.id, key, outcome: { type: "unavailable", code: "TooManyRequests" }, index: 0 });
    }
    if (told.length > 0) this.#parts.deliver(origin, told);
    this.pump();
  }

  /** Runs the adapter's genesis as the first batch. */
  executeGenesis(): void {
    invariant(this.isEmpty && this.isIdle, "genesis runs first and once");
    if (this.#disabled || this.#isLost) return;
    this.#executing = [];
    const { batchTime, randomBytes, rights } = this.#parts;
    this.#rights = rights();
    this.executor.send({
      type: "genesis",
      generation: this.#generation,
      timeMs: batchTime(),
      randomness: randomBytes(32),
    });
  }

  /** Starts a batch if one may start. */
  pump(): void {
    if (this.#executing !== undefined || this.isEmpty || this.#disabled || this.#isLost) return;
    const { mayExecute, batchTime, randomBytes } = this.#parts;
    if (mayExecute()) this.#judgeAnew();
    if (this.#queue.length === 0 && !this.#more) return;
    const limits = this.#parts.limits();
    const transactions = Math.min(limits.transactions, this.#size.max);
    const full = this.#queue.length >= transactions;
    if ((this.#undurableIndex > 0 && !full) || this.#own.size >= UNCOMMITTED_BATCHES_MAX || !mayExecute()) return;
    if (!this.#delay.mayClose(full)) return;
    const batch = this.#takeAllowed({ transactions, bytes: limits.bytes });
    if (batch.length === 0 && !this.#more) return;
    this.#executing = batch;
    this.#more = false;
    this.executor.send({
      type: "execute",
      generation: this.#generation,
      timeMs: batchTime(),
      randomness: randomBytes(32),
      items: batch.map((queued) => queued.item),
    });
  }

  /** Rights have changed since the last batch: what the adapter keeps runs again from the start, as far as it still may. */
  #judgeAnew(): void {
    const rights = this.#parts.rights();
    const before = this.#rights;
    this.#rights = rights;
    if (before !== undefined && before !== rights) this.#rollBack([]);
  }

  /** Takes the transactions of the next batch; those whose sender may not transact are refused. */
  #takeAllowed(limits: BatchLimits): readonly Queued[] {
    for (;;) {
      const taken = this.#queue.take(limits);
      const allowed: Queued[] = [];
      const told = new OutcomesByOrigin();
      for (const queued of taken) {
        const { item, key, sender, origin } = queued;
        const code = this.#rights?.transactionRefusal(sender.actor);
        if (code === undefined) allowed.push(queued);
        else {
          this.#queue.settle(key);
          told.add(origin, { id: item.id, key, outcome: { type: "refused", code }, index: this.#headIndex });
        }
      }
      for (const [origin, entries] of told) this.#parts.deliver(origin, entries);
      if (allowed.length > 0 || this.#queue.length === 0) return allowed;
    }
  }

  /** The worker drops what is newer than the head, and with it what its adapter kept: that, and these before it, run again. */
  #rollBack(batch: readonly Queued[]): void {
    this.#generation++;
    this.executor.send({ type: "rollback", version: this.#headVersion, generation: this.#generation });
    this.#more = false;
    this.#queue.putBack([...batch, ...this.#queue.takeParked()]);
  }

  /** The constitution at the end of the log has changed while a batch was executing. */
  #beginAgain(batch: readonly Queued[]): void {
    this.#rollBack(batch);
    if (!this.isEmpty) this.pump();
    else if (this.#parts.mayExecute()) this.executeGenesis();
  }

  /** The adapter goes on under other options: what has not come into a batch is run anew. */
  configure(options: unknown): void {
    const batch = this.#executing ?? [];
    this.#executing = undefined;
    this.#rollBack(batch);
    this.executor.send({ type: "configure", options });
  }

  /** The adapter runs again. */
  enable(): void {
    this.#disabled = false;
    this.pump();
  }

  /** The adapter does not run on this node; what waits for it here is told. */
  disable(): void {
    this.#disabled = true;
    const waiting = [...(this.#executing ?? []), ...this.#queue.takeParked(), ...this.#queue.take(EVERYTHING)];
    this.#executing = undefined;
    this.#rollBack([]);
    this.#fail(waiting, "AdapterUnavailable");
  }

  /**
   * The worker is gone, and with it what is not committed. The batch that was executing may be what ended it: its transactions
   * are not executed again, their senders are told.
   */
  lose(): void {
    this.#isLost = true;
    const batch = this.#executing ?? [];
    this.stopLeading();
    this.#fail(batch, "WorkerLost");
  }

  /** A new worker has the committed state. */
  resume(): void {
    this.#isLost = false;
    this.pump();
  }

  /** The worker finished a batch. */
  executed(message: Executed): void {
    if (message.generation !== this.#generation || this.#executing === undefined) return;
    const batch = this.#executing;
    this.#executing = undefined;
    if (this.#parts.rights() !== this.#rights) {
      this.#beginAgain(batch);
      return;
    }
    this.#more = message.more;
    let index = 0;
    if (message.transactions.length > 0) {
      this.#headVersion++;
      const generation = this.#generation;
      const proposed = proposeIfItFits(this.#parts, message, keysOf(batch, message));
      if (proposed === "too large") {
        this.#undoBatch(batch, message.transactions);
        return;
      }
      // Not leading any more: the change of role rolls the worker back and every node sends its transactions again.
      if (proposed === undefined || generation !== this.#generation) return;
      index = proposed;
      this.#headIndex = index;
      this.#own.set(index, this.#headVersion);
      this.#undurableIndex = index;
      this.#size.fitted();
    }
    this.#deliver(batch, message, index);
    this.pump();
  }

  /**
   * What was executed does not fit a batch of the ledger: it is undone alone, the batches before it stand. The adapter loses
   * with it what it kept waiting, so that runs again too, after the batch.
   */
  #undoBatch(batch: readonly Queued[], transactions: readonly ExecutedTransaction[]): void {
    this.#headVersion--;
    if (!this.#size.undone()) {
      this.#executing = batch;
      return this.#parts.endWorker("its batches are too large for the ledger, however small");
    }
    this.#generation++;
    this.executor.send({ type: "rollback", version: this.#headVersion, generation: this.#generation });
    this.#more = false;
    let again: readonly Queued[] = [...batch, ...this.#queue.takeParked()];
    const included = transactions.filter(({ id }) => id.length > 0);
    if (included.length <= 1) {
      // Without any, the batch's own end is too large, which no smaller batch would change.
      const alone = included.length === 0 ? batch.map(({ key }) => key) : included.map(({ id }) => bytesKey(id));
      const keys = new Set(alone);
      const isTooLarge = ({ key }: Queued): boolean => keys.has(key);
      this.#size.failedAlone();
      this.#fail(again.filter(isTooLarge), "LimitExceeded");
      again = again.filter((queued) => !isTooLarge(queued));
    } else this.#size.halve(batch.length);
    this.#queue.putBack(again);
    this.pump();
  }

  #fail(transactions: readonly Queued[], code: ErrorCode): void {
    for (const { key, item, origin } of transactions) {
      this.#queue.settle(key);
      const outcome: ItemOutcome = { type: "unavailable", code };
      this.#parts.deliver(origin, [{ id: item.id, key, outcome, index: 0 }]);
    }
  }

  #deliver(batch: readonly Queued[], message: Executed, index: number): void {
    const told = new OutcomesByOrigin();
    const deferred: Queued[] = [];
    batch.forEach((queued, at) => {
      const outcome = message.outcomes[at] ?? { type: "unavailable", code: "Internal" };
      if (outcome.type === "deferred") {
        deferred.push(queued);
        return;
      }
      this.#queue.settle(queued.key);
      if (outcome.type === "waiting") this.#queue.park({ ...queued, result: outcome.result });
      const { item, key, origin } = queued;
      told.add(origin, { id: item.id, key, outcome, index: this.#indexFor(outcome, index) });
    });
    this.#settleParked(message, told);
    this.#queue.putBack(deferred);
    for (const [origin, entries] of told) this.#parts.deliver(origin, entries);
  }

  /** What the adapter kept and has run is learned from the ledger; what it dropped its node is told. */
  #settleParked({ transactions, dropped }: Executed, told: OutcomesByOrigin): void {
    if (this.#queue.parkedCount === 0) return;
    for (const { id } of transactions) this.#queue.unpark(bytesKey(id));
    for (const { id, error } of dropped) {
      const key = bytesKey(id);
      const parked = this.#queue.parked(key);
      if (parked === undefined) continue;
      this.#queue.unpark(key);
      told.add(parked.origin, { id, key, outcome: { type: "rejected", error }, index: 0 });
    }
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
    this.#forget();
    this.#headVersion = this.#committedVersion;
    this.#headIndex = this.#committedIndex;
    this.executor.send({ type: "rollback", version: this.#committedVersion, generation: this.#generation });
  }

  /**
   * The worker was sent a state that takes the place of its own (`importSnapshot`); this node does not lead.
   * @param version of the adapter's state, committed
   * @param index of the ledger the state stands for
   */
  restore(version: number, index: number): void {
    this.#forget();
    this.#headVersion = version;
    this.#committedVersion = version;
    this.#headIndex = index;
    this.#committedIndex = index;
  }

  #forget(): void {
    this.#queue.clear();
    this.#executing = undefined;
    this.#rights = undefined;
    this.#more = false;
    this.#size.reset();
    this.#own.clear();
    this.#undurableIndex = 0;
    this.#generation++;
  }
}
