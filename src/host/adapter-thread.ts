/** The thread an adapter lives in: makes the adapter, its state and its prepare pool, and connects them to the manager. */
import { createHash, randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { VersionedStore } from "../core/kv/store.ts";
import { AdapterHost } from "../enclave/worker/adapter-host.ts";
import type { FromWorker, ToWorker } from "../enclave/worker/protocol.ts";
import { invariant } from "../errors.ts";
import { availableAdapter } from "./adapters.ts";
import { PreparePool } from "./prepare-pool.ts";

/** Committed versions of the state that stay readable besides the newest. */
export const KEPT_VERSIONS = 128;
/** Most threads of a prepare pool. */
export const PREPARE_THREADS_MAX = 4;

/** What the manager's side hands to an adapter thread. */
export interface AdapterThreadData {
  readonly adapter: string;
  readonly options: unknown;
}

const port = parentPort;
invariant(port, "adapter-thread runs as a worker thread only");
const data = workerData as AdapterThreadData;
const emit = (message: FromWorker | { type: "log"; message: string }) => port.postMessage(message);
const log = (message: string) => emit({ type: "log", message });

// Messages that arrive while the adapter loads are kept until it is there.
const early: ToWorker[] = [];
let host: AdapterHost | undefined;
port.on("message", (message: ToWorker) => {
  if (host === undefined) early.push(message);
  else host.handle(message);
});

const available = availableAdapter(data.adapter);
const [factory, prepare] = await Promise.all([available.load(), available.loadPrepare()]);
const adapter = factory(data.options)({
  sha256: (bytes) => createHash("sha256").update(bytes).digest(),
  now: () => performance.now(),
  nextTurn: () => new Promise((resolve) => setImmediate(resolve)),
  randomBytes: (length) => randomBytes(length),
  log,
});
const threads = Math.max(1, Math.min(PREPARE_THREADS_MAX, availableParallelism() - 1));
const preparer = new PreparePool(data.adapter, prepare, threads, (message) => emit({ type: "failed", message }));
const store = new VersionedStore({ tables: adapter.tables, keptVersions: KEPT_VERSIONS });
host = new AdapterHost({ adapter, store, preparer, emit, defer: (callback) => setImmediate(callback), log });
for (const message of early.splice(0)) host.handle(message);
emit({ type: "ready", tables: adapter.tables.map(({ id, name }) => ({ id, name })) });
