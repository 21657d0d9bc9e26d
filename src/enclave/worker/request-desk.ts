/**
 * Client requests in a worker: from the adapter's word on a request, over the preparation of its transactions, to the
 * response. An adapter that throws loses the request it threw in, nothing else.
 */
import type {
  Adapter,
  ClientResponse,
  PrepareResult,
  RequestResult,
  RequestViews,
  SubmissionOutcome,
} from "../../adapters/adapter.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { utf8Encode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { FromWorker, ItemOutcome, ToWorker, TransactionItem } from "./protocol.ts";

/** Prepares transactions, in parallel where it can; `done` gets one result per transaction, in order. */
export interface Preparer {
  prepare(transactions: readonly Bytes[], done: (results: readonly PrepareResult[]) => void): void;
}

/** What a request desk is made of. */
export interface RequestDeskParts {
  /** As it is configured now. */
  readonly adapter: () => Adapter;
  readonly preparer: Preparer;
  readonly emit: (message: FromWorker) => void;
  /** Calls back after the messages that are already waiting; groups answers into one message. */
  readonly defer: (callback: () => void) => void;
  readonly log: (message: string) => void;
  /** The state requests are answered on; undefined while there is none. */
  readonly views: () => RequestViews | undefined;
}

type ClientCall = Extract<ToWorker, { type: "requests" }>["requests"][number];
type Submission = Extract<RequestResult, { type: "submit" }>;

interface OpenRequest {
  readonly submission: Submission;
  readonly prepared: readonly PrepareResult[];
}

function errorResponse(error: CocoError): ClientResponse {
  const { code, message, remedy, status } = error;
  return {
    status,
    contentType: "application/json",
    body: utf8Encode(JSON.stringify({ error: { code, message, remedy } })),
  };
}

/** Why nothing of a request was executed, when that is for want of a right: the same for every adapter. */
function refusalOf(outcomes: readonly ItemOutcome[]): CocoError | undefined {
  const [first] = outcomes;
  if (first?.type !== "refused" || !outcomes.every(({ type }) => type === "refused")) return undefined;
  return new CocoError(first.code, "nothing was executed: the sender has no right to transact now");
}

/** See the module's header. */
export class RequestDesk {
  readonly #parts: RequestDeskParts;
  /** Requests whose transactions are under way; the manager bounds them and has those forgotten that time out. */
  readonly #open = new Map<number, OpenRequest>();
  /** Requests the adapter or the preparer has not come to an end with; one that is forgotten meanwhile goes no further. */
  readonly #pending = new Set<number>();
  #responses: { readonly id: number; readonly response: ClientResponse }[] = [];

  constructor(parts: RequestDeskParts) {
    this.#parts = parts;
  }

  /** Takes new requests. Without a state they are answered `NotReady`. */
  take(calls: readonly ClientCall[]): void {
    const { emit } = this.#parts;
    const adapter = this.#parts.adapter();
    const views = this.#parts.views();
    const submissions: { id: number; submission: Submission }[] = [];
    const forLeader: number[] = [];
    for (const call of calls) {
      if (views === undefined) {
        this.#respond(call.id, errorResponse(new CocoError("NotReady", "this node has no state of the adapter yet")));
        continue;
      }
      try {
        const result = adapter.request(call, views);
        if (result instanceof Promise) this.#takeLater(call.id, result);
        else if (result.type === "answer") this.#respond(call.id, result.response);
        else if (result.type === "leader") forLeader.push(call.id);
        else submissions.push({ id: call.id, submission: result });
      } catch (error) {
        this.#respondBroken(call.id, error);
      }
    }
    if (forLeader.length > 0) emit({ type: "leader", ids: forLeader });
    if (submissions.length > 0) this.#prepare(submissions);
  }

  #takeLater(id: number, pending: Promise<RequestResult>): void {
    this.#pending.add(id);
    pending.then(
      (result) => {
        if (!this.#pending.delete(id)) return;
        if (result.type === "answer") this.#respond(id, result.response);
        else if (result.type === "leader") this.#parts.emit({ type: "leader", ids: [id] });
        else this.#prepare([{ id, submission: result }]);
      },
      (error: unknown) => {
        if (this.#pending.delete(id)) this.#respondBroken(id, error);
      },
    );
  }

  #prepare(submissions: readonly { id: number; submission: Submission }[]): void {
    const transactions = submissions.flatMap((entry) => entry.submission.transactions);
    for (const { id } of submissions) this.#pending.add(id);
    this.#parts.preparer.prepare(transactions, (results) => {
      let at = 0;
      const prepared: { id: number; items: TransactionItem[] }[] = [];
      for (const { id, submission } of submissions) {
        const own = results.slice(at, at + submission.transactions.length);
        at += own.length;
        if (!this.#pending.delete(id)) continue;
        this.#open.set(id, { submission, prepared: own });
        const items = own.flatMap((result) => (result.type === "prepared" ? [result.transaction] : []));
        if (items.length === 0) this.finish(id, []);
        else prepared.push({ id, items });
      }
      if (prepared.length > 0) this.#parts.emit({ type: "submit", submissions: prepared });
    });
  }

  /** Completes a request: outcomes of its prepared transactions, in order, are put between those of its invalid ones. */
  finish(id: number, outcomes: readonly ItemOutcome[]): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    let next = 0;
    const all = open.prepared.map((result): SubmissionOutcome => {
      if (result.type === "invalid") return { type: "invalid", error: result.error };
      const outcome = outcomes[next++];
      if (outcome === undefined || outcome.type === "deferred") return { type: "unavailable", code: "Internal" };
      // To an adapter it is one of the reasons why there is no outcome of its own.
      return outcome.type === "refused" ? { type: "unavailable", code: outcome.code } : outcome;
    });
    const refusal = refusalOf(outcomes);
    if (refusal !== undefined) {
      this.#respond(id, errorResponse(refusal));
      return;
    }
    try {
      const views = this.#parts.views();
      if (views === undefined) throw new CocoError("NotReady", "this node has no state of the adapter yet");
      const response = open.submission.finish(all, views);
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

  /** These requests will not be answered any more. */
  forget(ids: readonly number[]): void {
    for (const id of ids) {
      this.#open.delete(id);
      this.#pending.delete(id);
    }
  }

  #respondBroken(id: number, error: unknown): void {
    this.#parts.log(`request failed: ${error instanceof Error ? error.message : "unknown"}`);
    this.#respond(id, errorResponse(new CocoError("Internal", "the adapter failed to answer")));
  }

  #respond(id: number, response: ClientResponse): void {
    this.#responses.push({ id, response });
    if (this.#responses.length > 1) return;
    this.#parts.defer(() => {
      const responses = this.#responses;
      this.#responses = [];
      this.#parts.emit({ type: "responses", responses });
    });
  }
}
