/**
 * A small key-value adapter for the simulator and for tests of the manager. A transaction is `key=value`, prepared as it
 * is; `get key` reads the committed value, `pending key` the leader's newest. Every batch counts the transactions it took.
 */
import type { Adapter, AdapterComponents, PrepareFunction, StateReader } from "../../src/adapters/adapter.ts";
import { EMPTY, utf8Decode, utf8Encode } from "../../src/core/codec/bytes.ts";

/** Table ids of the adapter. */
export const KV_TABLES = { values: 1, counters: 2 } as const;

const COUNTER = utf8Encode("transactions");

/** Prepares `id|key=value`: the id is what stands before the bar. */
export const prepareKv: PrepareFunction = (transactions) =>
  transactions.map((raw) => {
    const text = utf8Decode(raw);
    const bar = text.indexOf("|");
    if (bar < 1 || !text.includes("=")) return { type: "invalid", error: utf8Encode("not a transaction") };
    return { type: "prepared", transaction: { id: utf8Encode(text.slice(0, bar)), body: raw } };
  });

function read(state: StateReader, key: string): string {
  const value = state.get(KV_TABLES.values, utf8Encode(key));
  return value === undefined ? "" : utf8Decode(value);
}

/** Number of transactions a version of the state has taken. */
export function transactionCount(state: StateReader): number {
  const value = state.get(KV_TABLES.counters, COUNTER);
  return value === undefined ? 0 : Number(utf8Decode(value));
}

/** Makes the adapter. */
export const createKvAdapter =
  (_options: unknown) =>
  (_components: AdapterComponents): Adapter => {
    let inBatch = 0;
    const text = (body: string) => ({ status: 200, contentType: "text/plain", body: utf8Encode(body) });
    return {
      tables: [
        { id: KV_TABLES.values, name: "values" },
        { id: KV_TABLES.counters, name: "public:counters" },
      ],
      batchWeight: 100,
      weight: () => 1,
      genesis: (state) => state.put(KV_TABLES.counters, COUNTER, utf8Encode("0")),
      request(request, views) {
        const command = utf8Decode(request.body);
        if (command.startsWith("get ")) return { type: "answer", response: text(read(views.committed, command.slice(4))) };
        if (command.startsWith("pending ")) {
          if (views.pending === undefined) return { type: "leader" };
          return { type: "answer", response: text(read(views.pending, command.slice(8))) };
        }
        return {
          type: "submit",
          transactions: command.split("\n").map(utf8Encode),
          finish: (outcomes) => text(outcomes.map((outcome) => outcome.type).join("\n")),
        };
      },
      beginBatch() {
        inBatch = 0;
      },
      execute(state, transaction) {
        const body = utf8Decode(transaction.body);
        const id = utf8Encode(`id:${utf8Decode(transaction.id)}`);
        if (state.get(KV_TABLES.values, id) !== undefined) return { type: "duplicate", result: transaction.id };
        const assignment = body.slice(body.indexOf("|") + 1);
        const equals = assignment.indexOf("=");
        if (equals === 0) return { type: "rejected", error: utf8Encode("empty key") };
        state.put(KV_TABLES.values, id, EMPTY);
        state.put(KV_TABLES.values, utf8Encode(assignment.slice(0, equals)), utf8Encode(assignment.slice(equals + 1)));
        inBatch++;
        return { type: "included", result: transaction.id };
      },
      released: () => [],
      endBatch(state) {
        state.put(KV_TABLES.counters, COUNTER, utf8Encode(String(transactionCount(state) + inBatch)));
        return {};
      },
      applied() {},
      rolledBack() {},
      committed() {},
    };
  };
