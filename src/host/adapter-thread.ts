/** The thread an adapter lives in, with the threads that prepare its transactions. */
import { parentPort, workerData } from "node:worker_threads";
import type { Bytes } from "../core/codec/bytes.ts";
import { encodeFromWorker, messagesFromWorker } from "../enclave/worker/wire-from-worker.ts";
import { decodeToWorker } from "../enclave/worker/wire-to-worker.ts";
import type { FromWorker } from "../enclave/worker/protocol.ts";
import { invariant } from "../errors.ts";
import { AdapterWorker, type AdapterWorkerData } from "./adapter-worker.ts";
import { PreparePool, prepareThreads } from "./prepare-pool.ts";

const port = parentPort;
invariant(port, "adapter-thread runs as a worker thread only");
const data = workerData as AdapterWorkerData;

const emit = (message: FromWorker): void => {
  for (const part of messagesFromWorker(message)) {
    const bytes = encodeFromWorker(part);
    port.postMessage(bytes, [bytes.buffer as ArrayBuffer]);
  }
};
const worker = new AdapterWorker({
  emit,
  createPreparer: async ({ loadPrepare }) =>
    new PreparePool(data.adapter, await loadPrepare(), prepareThreads(), (message) =>
      emit({ type: "failed", message }),
    ),
});
port.on("message", (bytes: Bytes) => worker.handle(decodeToWorker(bytes)));
await worker.start(data);
