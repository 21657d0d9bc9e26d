/**
 * A small key-value adapter for the simulator and for tests of the manager.
 *
 * Transactions are lines `id|key=value` or `id>other|key=value`; the latter waits until `other` is included, as a nonce gap
 * would. `get key` reads the committed value, `pending key` the leader's newest. Every batch counts the transactions it took,
 * and every included one leaves the key `id:<id>`, so that none is included twice.
 */
import type {
  Adapter,
  AdapterComponents,
  PreparedTransaction,
  PrepareFunction,
  StateReader,
  StateWriter,
  TableDefinition,
  TransactionOutcome,
} from "../../src/adapters/adapter.ts";
import { utf8Decode, utf8Encode } from "../../src/core/codec/bytes.ts";
import { invariant } from "../../src/errors.ts";

/** Table ids of the adapter. */
export const KV_TABLES = { values: 1, counters: 2 } as const;
/** Most transactions of one execution batch. */
export const KV_BATCH_WEIGHT = 20;

const COUNTER = utf8Encode("transactions");
const TRANSACTION = /^([a-z0-9-]+)(?:>([a-z0-9-]+))?\|([^=]*)=(.*)$/;

/** The adapter's tables. */
export const KV_TABLE_LIST: readonly TableDefinition[] = [
  { id: KV_TABLES.values, name: "values" },
  { id: KV_TABLES.counters, name: "public:counters" },
];

/** Prepares transactions: the id is what stands first in the line. */
export const prepareKv: PrepareFunction = (transactions) =>
  transactions.map((raw) => {
    const match = TRANSACTION.exec(utf8Decode(raw));
    if (match === null) return { type: "invalid", error: utf8Encode("not a transaction") };
    return { type: "prepared", transaction: { id: utf8Encode(match[1] ?? ""), body: raw } };
  });

/** The committed key that says a transaction is included. */
export function inclusionKey(id: string): string {
  return `id:${id}`;
}

function read(state: StateReader, key: string): string {
  const value = state.get(KV_TABLES.values, utf8Encode(key));
  return value === undefined ? "" : utf8Decode(value);
}

/** Number of transactions a version of the state has taken. */
export function transactionCount(state: StateReader): number {
  const value = state.get(KV_TABLES.counters, COUNTER);
  return value === undefined ? 0 : Number(utf8Decode(value));
}

class KvExecution {
  /** Transactions that wait, by the id they wait for. */
  readonly #waiting = new Map<string, PreparedTransaction[]>();
  #released: PreparedTransaction[] = [];
  inBatch = 0;

  execute(state: StateWriter, transaction: PreparedTransaction): TransactionOutcome {
    const [, id = "", other, key = "", value = ""] = TRANSACTION.exec(utf8Decode(transaction.body)) ?? [];
    if (read(state, inclusionKey(id)) !== "") return { type: "duplicate", result: transaction.id };
    if (key === "") return { type: "rejected", error: utf8Encode("empty key") };
    if (other !== undefined && read(state, inclusionKey(other)) === "") {
      this.#waiting.set(other, [...(this.#waiting.get(other) ?? []), transaction]);
      return { type: "waiting", result: transaction.id };
    }
    state.put(KV_TABLES.values, utf8Encode(inclusionKey(id)), utf8Encode(key));
    state.put(KV_TABLES.values, utf8Encode(key), utf8Encode(value));
    this.#released.push(...(this.#waiting.get(id) ?? []));
    this.#waiting.delete(id);
    this.inBatch++;
    return { type: "included", result: transaction.id };
  }

  takeReleased(): readonly PreparedTransaction[] {
    const released = this.#released;
    this.#released = [];
    return released;
  }

  /** What waited belongs to a state that is given up; the nodes send it again to the next leader. */
  clear(): void {
    this.#waiting.clear();
    this.#released = [];
  }
}

/** Makes the adapter. */
export function createKvAdapter(_components: AdapterComponents): Adapter {
  const execution = new KvExecution();
  const text = (body: string) => ({ status: 200, contentType: "text/plain", body: utf8Encode(body) });
  return {
    tables: KV_TABLE_LIST,
    batchWeight: KV_BATCH_WEIGHT,
    weight: () => 1,
    genesis: (state) => state.put(KV_TABLES.counters, COUNTER, utf8Encode("0")),
    request(request, views) {
      const command = utf8Decode(request.body);
      if (command.startsWith("get "))
        return { type: "answer", response: text(read(views.committed, command.slice(4))) };
      if (command.startsWith("pending ")) {
        if (views.pending === undefined) return { type: "leader" };
        return { type: "answer", response: text(read(views.pending, command.slice(8))) };
      }
      return {
        type: "submit",
        transactions: command.split("\n").map(utf8Encode),
        finish: (outcomes, { committed }) => {
          // What the ledger includes can be read at once where it was answered; before the commit nothing is promised.
          const visible = command
            .split("\n")
            .map((line) => read(committed, inclusionKey(/^[a-z0-9-]+/.exec(line)?.[0] ?? "")) !== "");
          return text(
            outcomes.map((outcome, at) => `${outcome.type}${visible[at] === true ? " visible" : ""}`).join("\n"),
          );
        },
      };
    },
    beginBatch() {
      execution.inBatch = 0;
    },
    execute: (state, transaction) => execution.execute(state, transaction),
    released: () => execution.takeReleased(),
    endBatch(state) {
      invariant(execution.inBatch > 0, "a batch that is closed took transactions");
      state.put(KV_TABLES.counters, COUNTER, utf8Encode(String(transactionCount(state) + execution.inBatch)));
      return {};
    },
    applied() {},
    rolledBack: () => execution.clear(),
    restored: () => execution.clear(),
    committed() {},
  };
}
