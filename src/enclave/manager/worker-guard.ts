/**
 * What a worker may say when: the manager takes it for hostile (R31). Each message must be asked for by what was sent to this
 * worker before, keep the bounds, and fit what it answers: requests that are open here, the batch that was sent, with its
 * generation, transactions and tables. The first that does not ends the worker (worker-supervisor.ts).
 *
 * Messages are decoded already (worker/wire-from-worker.ts). Whether a result is true nobody can see without executing it.
 */
import { type Bytes, bytesKey } from "../../core/codec/bytes.ts";
import { TableSet } from "../../core/kv/tables.ts";
import { checkWriteSet } from "../../core/kv/write-set.ts";
import { MAX_TABLE_ID, type TableOptions } from "../../core/kv/types.ts";
import { MAX_REQUEST_ID_LENGTH } from "../../core/ledger/batch-format.ts";
import { CocoError } from "../../errors.ts";
import { RESPONSE_BYTES_MAX } from "../worker/wire-from-worker.ts";
import { REQUEST_TRANSACTIONS_MAX } from "../worker/wire-parts.ts";
import type { FromWorker, ToWorker } from "../worker/protocol.ts";
import { ExportGuard } from "./export-guard.ts";

/** Requests that were forgotten and that a worker may still answer, since its answer was on its way; older ones it may not. */
export const FORGOTTEN_REQUESTS_MAX = 20_000;
/** Most transactions a worker may keep waiting; one that keeps more is ended. */
export const WAITING_TRANSACTIONS_MAX = 262_144;
/** Most bytes of a transaction's result or error, which may go to another node; a worker that gives more is ended. */
export const OUTCOME_BYTES_MAX = 64 * 1024;
/** Most bytes of the transactions a request becomes, besides twice those of the request. */
export const SUBMISSION_SPARE_BYTES_MAX = 64 * 1024;

type Sent<T extends ToWorker["type"]> = Extract<ToWorker, { type: T }>;
type Said<T extends FromWorker["type"]> = Extract<FromWorker, { type: T }>;

/** A batch that was sent and is not answered: the keys of its transactions. */
interface Awaited {
  readonly generation: number;
  readonly items: Sent<"execute">["items"];
  readonly isGenesis: boolean;
}

/** A request the worker has. */
interface Asked {
  readonly bodyBytes: number;
  /** Whether it has turned the request into transactions. */
  isSubmitted: boolean;
}

/** What a guard knows of the adapter besides what goes to its worker and comes from it. */
export interface GuardContext {
  /** What its tables must be, if that is known: of a worker that was ended, say. */
  readonly tables?: readonly TableOptions[] | undefined;
  /** Bytes of all that was written to its state, or imported. */
  readonly writtenBytes: () => number;
}

/** Visible ASCII, so that nothing can be put into the head of an HTTP answer. */
const CONTENT_TYPE = /^[\x20-\x7e]{1,256}$/;

function breach(what: string): CocoError {
  return new CocoError("WorkerBreach", what);
}

/** Judges one worker's messages; see the module's header. */
export class WorkerGuard {
  readonly #requests = new Map<number, Asked>();
  readonly #forgotten = new Set<number>();
  readonly #batches: Awaited[] = [];
  /** Transactions the adapter keeps, and the generation they belong to: a rollback drops them. */
  readonly #waiting = new Set<string>();
  #waitingGeneration = 0;
  #tables: TableSet | undefined;
  #told: readonly TableOptions[] | undefined;
  /** Words about being able to run that may still come: one at the start, one for each `configure`. */
  #readyLeft = 1;
  readonly #exports: ExportGuard;
  #importsUnderWay: { readonly version: number; readonly last: boolean }[] = [];
  readonly #pings: number[] = [];
  #batchesAnswered = 0;
  #othersAnswered = 0;

  constructor({ tables, writtenBytes }: GuardContext) {
    this.#told = tables;
    this.#exports = new ExportGuard(writtenBytes);
  }

  /** The tables the worker named; undefined before it did. */
  get tables(): readonly TableOptions[] | undefined {
    return this.#told;
  }

  /** Whether something was sent that the worker has to answer on its own, a request apart. */
  get awaits(): boolean {
    const others = this.#pings.length + this.#exports.partsAsked + this.#importsUnderWay.length;
    return this.#batches.length > 0 || others > 0;
  }

  /** Changes when the worker answers what it has to: batches, while there are any. */
  get progress(): number {
    return this.#batches.length > 0 ? -1 - this.#batchesAnswered : this.#othersAnswered;
  }

  /** Notes a message to the worker. */
  sent(message: ToWorker): void {
    switch (message.type) {
      case "requests":
        for (const { id, body } of message.requests)
          this.#requests.set(id, { bodyBytes: body.length, isSubmitted: false });
        return;
      case "outcomes":
        return;
      case "forget":
        for (const id of message.ids) this.#forget(id);
        return;
      case "genesis":
        this.#batches.push({ generation: message.generation, items: [], isGenesis: true });
        return;
      case "execute":
        this.#batches.push({ generation: message.generation, items: message.items, isGenesis: false });
        return;
      case "configure":
        this.#readyLeft++;
        return;
      case "ping":
        this.#pings.push(message.id);
        return;
      case "exportSnapshot":
        this.#exports.begin(message);
        return;
      case "nextPart":
        this.#exports.ask();
        return;
      case "importSnapshot":
        this.#importsUnderWay.push(message);
    }
  }

  #forget(id: number): void {
    if (!this.#requests.delete(id)) return;
    this.#forgotten.add(id);
    if (this.#forgotten.size <= FORGOTTEN_REQUESTS_MAX) return;
    for (const oldest of this.#forgotten) {
      this.#forgotten.delete(oldest);
      return;
    }
  }

  /** Time passes while the worker may answer; throws `WorkerBreach`. */
  passed(ms: number): void {
    this.#exports.passed(ms);
  }

  /** Takes a message of the worker; throws `WorkerBreach`. What is on its way to a forgotten request is left out of the result. */
  take(message: FromWorker): FromWorker {
    switch (message.type) {
      case "responses":
        requireSome(message.responses);
        return { type: "responses", responses: message.responses.filter((answer) => this.#takeAnswer(answer)) };
      case "leader":
        requireSome(message.ids);
        return { type: "leader", ids: message.ids.filter((id) => this.#endRequest(id, true)) };
      case "submit":
        requireSome(message.submissions);
        return { type: "submit", submissions: message.submissions.filter((one) => this.#takeSubmission(one)) };
      case "executed":
        return this.#takeExecuted(message);
      case "ready":
        this.#takeReady(message.tables);
        return message;
      case "unable":
        this.#spendReady();
        return message;
      case "pong":
        if (this.#pings.shift() !== message.id) throw breach("a pong that was not asked for");
        this.#othersAnswered++;
        return message;
      case "log":
      case "failed":
        return message;
      default:
        this.#takeSnapshotWord(message);
        return message;
    }
  }

  /** The request, unless it was forgotten meanwhile, which is passed over once; any other is a breach. */
  #requestOf(id: number): Asked | undefined {
    const asked = this.#requests.get(id);
    if (asked === undefined && !this.#forgotten.delete(id)) throw breach("a word on a request it does not have");
    return asked;
  }

  /** @param isFirst whether nothing may have come of the request before */
  #endRequest(id: number, isFirst: boolean): boolean {
    const asked = this.#requestOf(id);
    if (asked === undefined) return false;
    if (isFirst && asked.isSubmitted) throw breach("a second word on a request");
    this.#requests.delete(id);
    return true;
  }

  #takeAnswer({ id, response }: Said<"responses">["responses"][number]): boolean {
    const { status, contentType, body } = response;
    if (!Number.isInteger(status) || status < 200 || status > 599 || !CONTENT_TYPE.test(contentType))
      throw breach("an answer with a status or content type that HTTP has not");
    if (body.length > RESPONSE_BYTES_MAX) throw breach("an answer that is too large");
    return this.#endRequest(id, false);
  }

  #takeSubmission({ id, items }: Said<"submit">["submissions"][number]): boolean {
    if (items.length === 0 || items.length > REQUEST_TRANSACTIONS_MAX)
      throw breach(`${items.length} transactions of one request`);
    for (const item of items) requireId(item.id);
    const asked = this.#requestOf(id);
    if (asked === undefined) return false;
    if (asked.isSubmitted) throw breach("transactions of a request twice");
    const bytes = items.reduce((sum, { body }) => sum + body.length, 0);
    if (bytes > SUBMISSION_SPARE_BYTES_MAX + 2 * asked.bodyBytes)
      throw breach("transactions larger than their request");
    asked.isSubmitted = true;
    return true;
  }

  #takeReady(tables: readonly TableOptions[]): void {
    this.#spendReady();
    const before = this.#told;
    if (before !== undefined && !sameTables(before, tables)) throw breach("tables that are not the adapter's");
    this.#tables = tableSetOf(tables);
    this.#told = tables;
  }

  #spendReady(): void {
    if (this.#readyLeft === 0) throw breach("a word on being ready that was not asked for");
    this.#readyLeft--;
  }

  #takeExecuted(message: Said<"executed">): Said<"executed"> {
    const awaited = this.#batches.shift();
    if (awaited === undefined) throw breach("the result of a batch that was not sent");
    this.#batchesAnswered++;
    const { generation, items, isGenesis } = awaited;
    if (message.generation !== generation) throw breach("the result of a batch of another generation");
    if (message.outcomes.length !== items.length) throw breach("outcomes of another batch");
    if (generation !== this.#waitingGeneration) {
      this.#waiting.clear();
      this.#waitingGeneration = generation;
    }
    const own = this.#placesOf(message, items);
    requireDeferredLast(message);
    const waitedBefore = this.#waiting.size;
    this.#takeTransactions(message, own, isGenesis);
    const dropped = message.dropped.filter(({ id, error }) => {
      requireId(id);
      requireOutcomeBytes(error);
      return this.#waiting.delete(bytesKey(id));
    });
    // Of batches that bring nothing new each leaves less to wait, so that they come to an end.
    if (message.more && items.length === 0 && this.#waiting.size === waitedBefore)
      throw breach("more to execute without end");
    return { ...message, dropped };
  }

  /** Positions of the batch's own transactions among those executed; what waits is noted. */
  #placesOf(message: Said<"executed">, items: Awaited["items"]): ReadonlySet<number> {
    const places = new Set<number>();
    message.outcomes.forEach((outcome, at) => {
      const { id } = items[at] as Awaited["items"][number];
      if (outcome.type === "refused" || (outcome.type === "unavailable" && outcome.code !== "Internal"))
        throw breach("an outcome that only the manager gives");
      if ("result" in outcome) requireOutcomeBytes(outcome.result);
      if (outcome.type === "rejected") requireOutcomeBytes(outcome.error);
      if (outcome.type === "waiting") this.#wait(id);
      if (outcome.type !== "included") return;
      this.#waiting.delete(bytesKey(id));
      const executed = message.transactions[outcome.position];
      if (executed === undefined || places.has(outcome.position) || !sameId(executed.id, id))
        throw breach("an outcome without its transaction");
      places.add(outcome.position);
    });
    return places;
  }

  #wait(id: Bytes): void {
    if (this.#waiting.size >= WAITING_TRANSACTIONS_MAX) throw breach("too many transactions kept waiting");
    this.#waiting.add(bytesKey(id));
  }

  /** Besides the batch's own there may be those that waited, and at the end the batch's end, which has no id. */
  #takeTransactions({ transactions }: Said<"executed">, own: ReadonlySet<number>, isGenesis: boolean): void {
    const tables = this.#tables;
    if (tables === undefined) throw breach("a result before it was ready");
    transactions.forEach(({ id, publicPart, privatePart, claimsDigest }, at) => {
      const isEnd = id.length === 0 && at === transactions.length - 1 && (at > 0 || isGenesis);
      if (!own.has(at) && !isEnd && !this.#waiting.delete(bytesKey(id)))
        throw breach("a transaction that was not sent to it");
      if (claimsDigest !== undefined && claimsDigest.length !== 32) throw breach("a claims digest of another length");
      try {
        checkWriteSet(publicPart, tables, true);
        checkWriteSet(privatePart, tables, false);
      } catch (error) {
        throw breach(`a write that is not its own: ${error instanceof CocoError ? error.message : "unknown"}`);
      }
    });
  }

  #takeSnapshotWord(message: Said<"snapshotPart" | "snapshotUnavailable" | "nextPart" | "imported">): void {
    const { type, version } = message;
    this.#othersAnswered++;
    if (type === "snapshotPart") this.#exports.take(message);
    else if (type === "snapshotUnavailable") this.#exports.takeUnavailable(version);
    else {
      const next = this.#importsUnderWay.shift();
      if (next?.version !== version || next.last !== (type === "imported"))
        throw breach("a word on an import that is not under way");
    }
  }
}

/** A message that says nothing costs its sender nothing: there would be no end of them. */
function requireSome(list: readonly unknown[]): void {
  if (list.length === 0) throw breach("a message that says nothing");
}

function requireOutcomeBytes(bytes: Bytes): void {
  if (bytes.length > OUTCOME_BYTES_MAX) throw breach("a result of a transaction that is too large");
}

/** Where one had no room those after it wait too; and there was room for one at least, so that batches come to an end. */
function requireDeferredLast({ outcomes, transactions }: Said<"executed">): void {
  const first = outcomes.findIndex(({ type }) => type === "deferred");
  if (first === -1) return;
  if (outcomes.some(({ type }, at) => at > first && type !== "deferred")) throw breach("a transaction before its turn");
  if (transactions.length === 0) throw breach("no room in a batch that is empty");
}

function requireId(id: Bytes): void {
  if (id.length === 0 || id.length > MAX_REQUEST_ID_LENGTH) throw breach(`a transaction id of ${id.length} bytes`);
}

function sameId(one: Bytes, other: Bytes): boolean {
  return one.length === other.length && bytesKey(one) === bytesKey(other);
}

function sameTables(one: readonly TableOptions[], other: readonly TableOptions[]): boolean {
  return (
    one.length === other.length && one.every(({ id, name }, at) => id === other[at]?.id && name === other[at].name)
  );
}

/** Names that no adapter's table has: what is called so is no adapter's to write. */
const OF_THE_FRAMEWORK = /^(?:public:)?coco\./;

function tableSetOf(tables: readonly TableOptions[]): TableSet {
  const ids = new Set(tables.map(({ id }) => id));
  const names = new Set(tables.map(({ name }) => name));
  const isInRange = tables.every(({ id }) => Number.isInteger(id) && id >= 0 && id <= MAX_TABLE_ID);
  if (tables.some(({ name }) => OF_THE_FRAMEWORK.test(name))) throw breach("tables of the framework");
  if (ids.size !== tables.length || names.size !== tables.length || !isInRange) throw breach("tables that cannot be");
  return new TableSet(tables);
}
