/**
 * What surrounds an adapter in its worker: the versions of its state, execution of batches, application of batches that
 * others executed, and client requests. One instance per adapter; the same code runs in a thread, in a process and in the
 * simulator.
 *
 * Messages that change state run strictly one after the other, because execution may await; requests are answered between
 * them on versions that never change. An adapter that throws loses the transaction or request it threw in, nothing else.
 */
import type {
  Adapter,
  BatchContext,
  PreparedTransaction,
  PrepareResult,
  RequestResult,
  RequestViews,
  SubmissionOutcome,
  TransactionOutcome,
} from "../../adapters/adapter.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { EMPTY, utf8Encode } from "../../core/codec/bytes.ts";
import type { BatchDraft, DraftTransaction } from "../../core/kv/draft.ts";
import type { VersionedStore } from "../../core/kv/store.ts";
import { CocoError } from "../../errors.ts";
import type { ExecutedTransaction, FromWorker, ItemOutcome, ToWorker, TransactionItem } from "./protocol.ts";

/** Prepares transactions, in parallel where it can; `done` gets one result per transaction, in order. */
export interface Preparer {
  prepare(transactions: readonly Bytes[], done: (results: readonly PrepareResult[]) => void): void;
}

/** What an adapter host is made of. */
export interface AdapterHostParts {
  readonly adapter: Adapter;
  readonly store: VersionedStore;
  readonly preparer: Preparer;
  readonly emit: (message: FromWorker) => void;
  /** Calls back after the messages that are already waiting; groups answers into one message. */
  readonly defer: (callback: () => void) => void;
  readonly log: (message: string) => void;
}

type StateMessage = Extract<ToWorker, { type: "genesis" | "execute" | "apply" | "commit" | "rollback" | "outcomes" }>;
type ClientCall = Extract<ToWorker, { type: "requests" }>["requests"][number];
type Submission = Extract<RequestResult, { type: "submit" }>;

interface OpenRequest {
  readonly submission: Submission;
  readonly prepared: readonly PrepareResult[];
}

/** The results of one execution batch while it grows. */
interface RunningBatch {
  readonly draft: BatchDraft;
  readonly transactions: ExecutedTransaction[];
  room: number;
}

/** Runs one adapter; see the module's header. */
export class AdapterHost {
  readonly #adapter: Adapter;
  readonly #store: VersionedStore;
  readonly #preparer: Preparer;
  readonly #emit: (message: FromWorker) => void;
  readonly #defer: (callback: () => void) => void;
  readonly #log: (message: string) => void;
  readonly #queue: StateMessage[] = [];
  readonly #open = new Map<number, OpenRequest>();
  #busy = false;
  #leading = false;
  /** Released transactions for which the last batch had no room. */
  #carried: PreparedTransaction[] = [];
  #responses: Extract<FromWorker, { type: "responses" }>["responses"][number][] = [];

  constructor(parts: AdapterHostParts) {
    this.#adapter = parts.adapter;
    this.#store = parts.store;
    this.#preparer = parts.preparer;
    this.#emit = parts.emit;
    this.#defer = parts.defer;
    this.#log = parts.log;
  }

  /** Takes one message of the manager. */
  handle(message: ToWorker): void {
    switch (message.type) {
      case "requests":
        this.#leading = message.leading;
        this.#takeRequests(message.requests);
        return;
      case "forget":
        for (const id of message.ids) this.#open.delete(id);
        return;
      case "commit":
      case "outcomes":
        // Neither need wait for a batch that is executing, only for versions that come before them: a commit moves a
        // pointer, and an answer must not leave before what it speaks of can be read.
        if (this.#queue.length === 0) this.#run(message);
        else this.#queue.push(message);
        return;
      default:
        this.#queue.push(message);
        this.#drain();
    }
  }

  #drain(): void {
    while (!this.#busy) {
      const message = this.#queue.shift();
      if (message === undefined) return;
      const running = this.#run(message);
      if (running === undefined) continue;
      this.#busy = true;
      running.then(
        () => {
          this.#busy = false;
          this.#drain();
        },
        (error: unknown) => this.#fail(error),
      );
    }
  }

  #run(message: StateMessage): Promise<void> | undefined {
    try {
      switch (message.type) {
        case "genesis":
          this.#genesis(message);
          return undefined;
        case "execute":
          return this.#execute(message);
        case "apply": {
          const applied = this.#store.apply(message.parts);
          this.#adapter.applied(this.#head(), applied.written);
          return undefined;
        }
        case "commit":
          this.#commit(message);
          return undefined;
        case "outcomes":
          for (const request of message.requests) this.#finish(request.id, request.outcomes);
          return undefined;
        case "rollback": {
          const written = this.#store.rollback(message.version);
          this.#carried = [];
          this.#adapter.rolledBack(this.#head(), written);
          return undefined;
        }
      }
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** A state change that fails leaves this worker behind the ledger: it must not go on. */
  #fail(error: unknown): void {
    this.#queue.length = 0;
    this.#busy = true;
    this.#emit({ type: "failed", message: error instanceof Error ? error.message : "unknown" });
  }

  #head(): ReturnType<typeof this.reader> {
    return this.reader(this.#store.headVersion);
  }

  /** The state at a version that must exist. */
  reader(version: number): NonNullable<ReturnType<VersionedStore["reader"]>> {
    const reader = this.#store.reader(version);
    if (reader === undefined) throw new CocoError("Internal", `version ${version} of the state is not kept`);
    return reader;
  }

  #views(): RequestViews {
    return {
      committed: this.reader(this.#store.committedVersion),
      pending: this.#leading ? this.#head() : undefined,
      at: (version) => (version <= this.#store.committedVersion ? this.#store.reader(version) : undefined),
    };
  }

  #commit(message: Extract<ToWorker, { type: "commit" }>): void {
    for (const batch of message.batches) {
      this.#store.commit(batch.version);
      this.#adapter.committed(this.reader(batch.version), batch);
    }
  }

  #genesis(message: Extract<ToWorker, { type: "genesis" }>): void {
    const draft = this.#store.beginBatch();
    const transaction = draft.begin();
    this.#adapter.genesis(transaction, message);
    const parts = transaction.keep();
    draft.publish();
    this.#emit({
      type: "executed",
      generation: message.generation,
      outcomes: [],
      transactions: [{ id: EMPTY, ...parts, claimsDigest: undefined }],
      more: false,
    });
  }

  async #execute(message: Extract<ToWorker, { type: "execute" }>): Promise<void> {
    const context: BatchContext = { timeMs: message.timeMs, randomness: message.randomness };
    const draft = this.#store.beginBatch();
    const batch: RunningBatch = { draft, transactions: [], room: this.#adapter.batchWeight };
    this.#adapter.beginBatch(draft.reader, context);
    const carried = this.#carried;
    this.#carried = [];
    for (const transaction of carried) await this.#executeReleased(batch, transaction);
    const outcomes: ItemOutcome[] = [];
    let deferring = false;
    for (const item of message.items) {
      // Once one had no room all others wait too, so that a sender's transactions keep their order.
      deferring ||= !this.#fits(batch, item);
      if (deferring) outcomes.push({ type: "deferred" });
      else {
        const outcome = this.#executeOne(batch, item);
        outcomes.push(outcome instanceof Promise ? await outcome : outcome);
        await this.#executeAllReleased(batch);
      }
    }
    this.#endBatch(batch);
    this.#emit({
      type: "executed",
      generation: message.generation,
      outcomes,
      transactions: batch.transactions,
      more: this.#carried.length > 0,
    });
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
    const parts = transaction.keep();
    batch.room -= this.#adapter.weight(item);
    batch.transactions.push({ id: item.id, ...parts, claimsDigest: outcome.claimsDigest });
    return { type: "included", result: outcome.result, position: batch.transactions.length - 1 };
  }

  #broken(transaction: DraftTransaction, error: unknown): ItemOutcome {
    transaction.discard();
    this.#log(`execution failed: ${error instanceof Error ? error.message : "unknown"}`);
    return { type: "unavailable", code: "Internal" };
  }

  async #executeAllReleased(batch: RunningBatch): Promise<void> {
    for (let released = this.#adapter.released(); released.length > 0; released = this.#adapter.released()) {
      for (const transaction of released) await this.#executeReleased(batch, transaction);
    }
  }

  /** The request of a released transaction was answered long ago; its node learns of the inclusion from the ledger. */
  async #executeReleased(batch: RunningBatch, transaction: PreparedTransaction): Promise<void> {
    if (this.#carried.length > 0 || !this.#fits(batch, transaction)) this.#carried.push(transaction);
    else await this.#executeOne(batch, transaction);
  }

  #endBatch(batch: RunningBatch): void {
    if (batch.transactions.length === 0) {
      batch.draft.abandon();
      return;
    }
    const transaction = batch.draft.begin();
    const end = this.#adapter.endBatch(transaction);
    const parts = transaction.keep();
    if (parts.publicPart.length > 0 || parts.privatePart.length > 0) {
      batch.transactions.push({ id: EMPTY, ...parts, claimsDigest: end.claimsDigest });
    }
    batch.draft.publish();
  }

  #takeRequests(calls: readonly ClientCall[]): void {
    const submissions: { id: number; submission: Submission }[] = [];
    const forLeader: number[] = [];
    const take = (id: number, result: RequestResult) => {
      if (result.type === "answer") this.#respond(id, result.response);
      else if (result.type === "leader") forLeader.push(id);
      else submissions.push({ id, submission: result });
    };
    for (const call of calls) {
      try {
        const result = this.#adapter.request(call, this.#views());
        if (!(result instanceof Promise)) take(call.id, result);
        else this.#takeLater(call.id, result);
      } catch (error) {
        this.#respondBroken(call.id, error);
      }
    }
    if (forLeader.length > 0) this.#emit({ type: "leader", ids: forLeader });
    if (submissions.length > 0) this.#prepare(submissions);
  }

  #takeLater(id: number, pending: Promise<RequestResult>): void {
    pending.then(
      (result) => {
        if (result.type === "answer") this.#respond(id, result.response);
        else if (result.type === "leader") this.#emit({ type: "leader", ids: [id] });
        else this.#prepare([{ id, submission: result }]);
      },
      (error: unknown) => this.#respondBroken(id, error),
    );
  }

  #prepare(submissions: readonly { id: number; submission: Submission }[]): void {
    const transactions = submissions.flatMap((entry) => entry.submission.transactions);
    this.#preparer.prepare(transactions, (results) => {
      let at = 0;
      const prepared: { id: number; items: TransactionItem[] }[] = [];
      for (const { id, submission } of submissions) {
        const own = results.slice(at, at + submission.transactions.length);
        at += own.length;
        this.#open.set(id, { submission, prepared: own });
        const items = own.flatMap((result) => (result.type === "prepared" ? [result.transaction] : []));
        if (items.length === 0) this.#finish(id, []);
        else prepared.push({ id, items });
      }
      if (prepared.length > 0) this.#emit({ type: "submit", submissions: prepared });
    });
  }

  /** Completes a request: outcomes of its prepared transactions, in order, are put between those of its invalid ones. */
  #finish(id: number, outcomes: readonly ItemOutcome[]): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    let next = 0;
    const all = open.prepared.map((result): SubmissionOutcome => {
      if (result.type === "invalid") return { type: "invalid", error: result.error };
      const outcome = outcomes[next++];
      if (outcome === undefined || outcome.type === "deferred") return { type: "unavailable", code: "Internal" };
      return outcome;
    });
    try {
      const response = open.submission.finish(all, this.#views());
      if (!(response instanceof Promise)) this.#respond(id, response);
      else
        response.then(
          (ready) => this.#respond(id, ready),
          (error: unknown) => this.#respondBroken(id, error),
        );
    } catch (error) {
      this.#respondBroken(id, error);
    }
  }

  #respondBroken(id: number, error: unknown): void {
    this.#log(`request failed: ${error instanceof Error ? error.message : "unknown"}`);
    const body = utf8Encode(JSON.stringify({ error: { code: "Internal", message: "the adapter failed to answer" } }));
    this.#respond(id, { status: 500, contentType: "application/json", body });
  }

  #respond(id: number, response: Extract<FromWorker, { type: "responses" }>["responses"][number]["response"]): void {
    this.#responses.push({ id, response });
    if (this.#responses.length > 1) return;
    this.#defer(() => {
      const responses = this.#responses;
      this.#responses = [];
      this.#emit({ type: "responses", responses });
    });
  }
}
