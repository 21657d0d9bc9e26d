/**
 * The smallest adapter that writes: a transaction is one put. What it costs is what the framework costs. A request is any
 * number of transactions of {@link TRANSACTION_BYTES} side by side: request id, key, value.
 */
import type { Adapter, PrepareFunction } from "../../src/adapters/adapter.ts";
import { type Bytes, EMPTY } from "../../src/core/codec/bytes.ts";

/** Id of the adapter in the constitution. */
export const CORE_ADAPTER_ID = 1;
/** Where it is mounted. */
export const CORE_MOUNT = "/kv";
/** Its only table. */
export const CORE_TABLE = 1;
/** Length of a request id in bytes. */
export const ID_BYTES = 32;
/** Length of a key in bytes. */
export const KEY_BYTES = 32;
/** Length of a value in bytes. */
export const VALUE_BYTES = 100;
/** Length of a transaction in bytes. */
export const TRANSACTION_BYTES = ID_BYTES + KEY_BYTES + VALUE_BYTES;

const DONE = { status: 200, contentType: "application/octet-stream", body: EMPTY };
const FAILED = { ...DONE, status: 503 };

/** Prepares transactions: the id is what stands first. */
export const prepareCore: PrepareFunction = (transactions) =>
  transactions.map((body) => ({ type: "prepared", transaction: { id: body.subarray(0, ID_BYTES), body } }));

function transactionsOf(body: Bytes): Bytes[] {
  const transactions: Bytes[] = [];
  for (let at = 0; at < body.length; at += TRANSACTION_BYTES)
    transactions.push(body.subarray(at, at + TRANSACTION_BYTES));
  return transactions;
}

/** Makes the adapter. */
export function createCoreAdapter(): Adapter {
  return {
    tables: [{ id: CORE_TABLE, name: "values" }],
    batchWeight: Number.MAX_SAFE_INTEGER,
    weight: () => 1,
    genesis: (state) => state.put(CORE_TABLE, new Uint8Array(KEY_BYTES), new Uint8Array(VALUE_BYTES)),
    request: ({ body }) => ({
      type: "submit",
      transactions: transactionsOf(body),
      finish: (outcomes) => (outcomes.every(({ type }) => type === "included") ? DONE : FAILED),
    }),
    beginBatch: () => undefined,
    execute(state, { id, body }) {
      const [key, value] = [body.subarray(ID_BYTES, ID_BYTES + KEY_BYTES), body.subarray(ID_BYTES + KEY_BYTES)];
      state.put(CORE_TABLE, key, value);
      return { type: "included", result: id };
    },
    released: () => [],
    endBatch: () => ({}),
    applied: () => undefined,
    rolledBack: () => undefined,
    restored: () => undefined,
    committed: () => undefined,
  };
}
