/** The thread an adapter lives in: makes the adapter, its state and its prepare pool, and connects them to the manager. */
import { createHash, randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import type { AdapterComponents } from "../adapters/adapter.ts";
import { VersionedStore } from "../core/kv/store.ts";
import { AdapterHost } from "../enclave/worker/adapter-host.ts";
import type { FromWorker, ToWorker } from "../enclave/worker/protocol.ts";
import { CocoError, invariant } from "../errors.ts";
import { mountedAdapter } from "./adapters.ts";
import { PreparePool } from "./prepare-pool.ts";

/** Committed versions of the state that stay readable besides the newest. */
export const KEPT_VERSIONS = 128;
/** Most threads of a prepare pool. */
export const PREPARE_THREADS_MAX = 4;

/** What the manager's side hands to an adapter thread. */
export interface AdapterThreadData {
  readonly adapter: string;
  /** As the constitution mounts it. */
  readonly version: string;
  readonly options: unknown;
}

const port = parentPort;
invariant(port, "adapter-thread runs as a worker thread only");
const data = workerData as AdapterThreadData;
const emit = (message: FromWorker | { type: "log"; message: string }) => port.postMessage(message);
const log = (message: string) => emit({ type: "log", message });

// Messages that arrive while the adapter loads are kept until it is there.
let early: ToWorker[] | undefined = [];
let host: AdapterHost | undefined;
port.on("message", (message: ToWorker) => {
  if (host === undefined) early?.push(message);
  else host.handle(message);
});

async function start(): Promise<AdapterHost> {
  const available = mountedAdapter(data.adapter, data.version);
  const [factory, prepare] = await Promise.all([available.load(), available.loadPrepare()]);
  const components: AdapterComponents = {
    sha256: (bytes) => createHash("sha256").update(bytes).digest(),
    now: () => performance.now(),
    nextTurn: () => new Promise((resolve) => setImmediate(resolve)),
    randomBytes: (length) => randomBytes(length),
    log,
  };
  const recreate = (options: unknown) => factory(options)(components);
  const adapter = recreate(data.options);
  const threads = Math.max(1, Math.min(PREPARE_THREADS_MAX, availableParallelism() - 1));
  const preparer = new PreparePool(data.adapter, prepare, threads, (message) => emit({ type: "failed", message }));
  const store = new VersionedStore({ tables: adapter.tables, keptVersions: KEPT_VERSIONS });
  emit({ type: "ready", tables: adapter.tables.map(({ id, name }) => ({ id, name })) });
  const defer = (callback: () => void): void => void setImmediate(callback);
  return new AdapterHost({ adapter, recreate, store, preparer, emit, defer, log });
}

try {
  host = await start();
  for (const message of early) host.handle(message);
} catch (error) {
  // What the constitution mounts this build cannot run; anything else is a fault of the program and ends the thread.
  if (!(error instanceof CocoError) || error.code !== "ConstitutionInvalid") throw error;
  emit({ type: "unable", message: error.message });
}
early = undefined;
