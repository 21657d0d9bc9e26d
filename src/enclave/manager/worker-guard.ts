/**
 * What a worker may say when: the manager takes it for hostile (R31). Each message must be asked for by what was sent to this
 * worker before, keep the bounds, and fit what it answers: requests that are open here, the batch that was sent, with its
 * generation, transactions and tables. The first that does not ends the worker (worker-supervisor.ts).
 *
 * Messages are decoded already (worker/wire.ts). Whether a result is true nobody can see without executing it.
 */
import { type Bytes, bytesKey } from "../../core/codec/bytes.ts";
import { TableSet } from "../../core/kv/tables.ts";
import { MAX_TABLE_ID, type TableOptions } from "../../core/kv/types.ts";
import { MAX_REQUEST_ID_LENGTH } from "../../core/ledger/batch-format.ts";
import { CocoError } from "../../errors.ts";
import { STATE_PART_BYTES_MAX } from "../worker/state-transfer.ts";
import { RESPONSE_BYTES_MAX } from "../worker/wire-from-worker.ts";
import { REQUEST_TRANSACTIONS_MAX } from "../worker/wire-parts.ts";
import type { FromWorker, ToWorker } from "../worker/protocol.ts";
import { checkWriteSet } from "./write-set-check.ts";

/** Requests that were forgotten and that a worker may still answer, since its answer was on its way; older ones it may not. */
export const FORGOTTEN_REQUESTS_MAX = 20_000;
/** Most transactions a worker may keep waiting; one that keeps more is ended. */
export const WAITING_TRANSACTIONS_MAX = 262_144;

type Sent<T extends ToWorker["type"]> = Extract<ToWorker, { type: T }>;
type Said<T extends FromWorker["type"]> = Extract<FromWorker, { type: T }>;

/** A batch that was sent and is not answered: the keys of its transactions. */
interface Awaited {
  readonly generation: number;
  readonly items: Sent<"execute">["items"];
  readonly isGenesis: boolean;
}

/** Visible ASCII, so that nothing can be put into the head of an HTTP answer. */
const CONTENT_TYPE = /^[\x20-\x7e]{1,256}$/;

function breach(what: string): CocoError {
  return new CocoError("WorkerBreach", what);
}

/** Judges one worker's messages; see the module's header. */
export class WorkerGuard {
  /** Requests the worker has, and whether it may still turn them into transactions. */
  readonly #requests = new Map<number, "asked" | "submitted">();
  readonly #forgotten = new Set<number>();
  readonly #batches: Awaited[] = [];
  /** Transactions the adapter keeps, and the generation they belong to: a rollback drops them. */
  readonly #waiting = new Set<string>();
  #waitingGeneration = 0;
  #tables: TableSet | undefined;
  #told: readonly TableOptions[] | undefined;
  /** Words about being able to run that may still come: one at the start, one for each `configure`. */
  #readyLeft = 1;
  #exported: number | undefined;
  #partsAsked = 0;
  #importsUnderWay: { readonly version: number; readonly last: boolean }[] = [];
  readonly #pings: number[] = [];
  #batchesAnswered = 0;
  #othersAnswered = 0;

  /** @param tables what its tables must be, if that is known: of a worker that was ended, say */
  constructor(tables?: readonly TableOptions[]) {
    this.#told = tables;
  }

  /** The tables the worker named; undefined before it did. */
  get tables(): readonly TableOptions[] | undefined {
    return this.#told;
  }

  /** Whether something was sent that the worker has to answer on its own, a request apart. */
  get awaits(): boolean {
    const others = this.#pings.length + this.#partsAsked + this.#importsUnderWay.length;
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
        for (const { id } of message.requests) this.#requests.set(id, "asked");
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
        this.#exported = message.version;
        return;
      case "nextPart":
        this.#partsAsked++;
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

  /** Takes a message of the worker; throws `WorkerBreach`. What is on its way to a forgotten request is left out of the result. */
  take(message: FromWorker): FromWorker {
    switch (message.type) {
      case "responses":
        return { type: "responses", responses: message.responses.filter((answer) => this.#takeAnswer(answer)) };
      case "leader":
        return { type: "leader", ids: message.ids.filter((id) => this.#endRequest(id, "asked")) };
      case "submit":
        return { type: "submit", submissions: message.submissions.filter((one) => this.#takeSubmission(one)) };
      case "executed":
        this.#takeExecuted(message);
        return message;
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

  /** Whether the request was open; one that was forgotten meanwhile is passed over, any other is a breach. */
  #endRequest(id: number, expected?: "asked"): boolean {
    const stage = this.#requests.get(id);
    if (stage === undefined) {
      if (this.#forgotten.has(id)) return false;
      throw breach("a word on a request it does not have");
    }
    if (expected !== undefined && stage !== expected) throw breach("a second word on a request");
    this.#requests.delete(id);
    return true;
  }

  #takeAnswer({ id, response }: Said<"responses">["responses"][number]): boolean {
    const { status, contentType, body } = response;
    if (!Number.isInteger(status) || status < 200 || status > 599 || !CONTENT_TYPE.test(contentType))
      throw breach("an answer with a status or content type that HTTP has not");
    if (body.length > RESPONSE_BYTES_MAX) throw breach("an answer that is too large");
    return this.#endRequest(id);
  }

  #takeSubmission({ id, items }: Said<"submit">["submissions"][number]): boolean {
    const stage = this.#requests.get(id);
    if (items.length === 0 || items.length > REQUEST_TRANSACTIONS_MAX)
      throw breach(`${items.length} transactions of one request`);
    for (const item of items) requireId(item.id);
    if (stage === "asked") {
      this.#requests.set(id, "submitted");
      return true;
    }
    if (stage === undefined && this.#forgotten.has(id)) return false;
    throw breach("transactions of a request it does not have, or twice");
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

  #takeExecuted(message: Said<"executed">): void {
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
    this.#takeTransactions(message, own, isGenesis);
    for (const { id } of message.dropped) {
      requireId(id);
      this.#waiting.delete(bytesKey(id));
    }
  }

  /** Positions of the batch's own transactions among those executed; what waits is noted. */
  #placesOf(message: Said<"executed">, items: Awaited["items"]): ReadonlySet<number> {
    const places = new Set<number>();
    message.outcomes.forEach((outcome, at) => {
      const { id } = items[at] as Awaited["items"][number];
      if (outcome.type === "refused") throw breach("an outcome that only the manager gives");
      if (outcome.type === "waiting") this.#wait(id);
      if (outcome.type !== "included") return;
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
    if (type === "snapshotPart" || (type === "snapshotUnavailable" && this.#partsAsked > 0)) {
      if (this.#partsAsked === 0) throw breach("a part of a snapshot that was not asked for");
      this.#partsAsked--;
    } else if (type === "snapshotUnavailable") {
      if (version !== this.#exported) throw breach("a word on a snapshot that was not asked for");
      this.#exported = undefined;
    } else {
      const next = this.#importsUnderWay.shift();
      if (next?.version !== version || next.last !== (type === "imported"))
        throw breach("a word on an import that is not under way");
    }
    if (type === "snapshotPart" && message.part.length > STATE_PART_BYTES_MAX) throw breach("a part that is too large");
  }
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

function tableSetOf(tables: readonly TableOptions[]): TableSet {
  const ids = new Set(tables.map(({ id }) => id));
  const names = new Set(tables.map(({ name }) => name));
  const isInRange = tables.every(({ id }) => Number.isInteger(id) && id >= 0 && id <= MAX_TABLE_ID);
  if (ids.size !== tables.length || names.size !== tables.length || !isInRange) throw breach("tables that cannot be");
  return new TableSet(tables);
}
