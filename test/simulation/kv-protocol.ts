/** The key-value adapter as what a simulated network runs, as most seeds have it. */
import { utf8Decode } from "../../src/core/codec/bytes.ts";
import { invariant } from "../../src/errors.ts";
import { GUESTS, KV_ENTRY, OWNER } from "./founding.ts";
import { createKvAdapter, KV_TABLE_LIST, KV_TABLES, prepareKv, transactionCount } from "./kv-adapter.ts";
import type { SimulatedProtocol } from "./protocol.ts";
import { SimulatedClient } from "./simulated-client.ts";

/** See the module's header. */
export const KV_PROTOCOL: SimulatedProtocol = {
  adapter: KV_ENTRY,
  tables: KV_TABLE_LIST,
  prepare: prepareKv,
  isAsynchronous: false,
  createAdapter: createKvAdapter,
  idOf: utf8Decode,
  senderOf: (id) => {
    const place = Number(/^c(\d+)-/.exec(id)?.[1] ?? 0);
    return (place % 2 === 0 ? undefined : GUESTS[((place - 1) / 2) % GUESTS.length]) ?? OWNER;
  },
  createReplayCheck:
    (reads) =>
    ({ state, written, total }) => {
      for (const { table, key } of written) {
        if (table !== KV_TABLES.values) continue;
        const value = state.get(table, key);
        reads.changed(state.version, utf8Decode(key), value === undefined ? "" : utf8Decode(value));
      }
      invariant(transactionCount(state) === total, "the counter counts the included transactions");
    },
  createClient: (world, name) => new SimulatedClient(world, name),
};
