/**
 * An executor over a worker thread: the development level of manager and worker apart. A discipline, not a wall: code in
 * a thread of the same process can reach the process's memory (SECURITY.md).
 */
import { Worker } from "node:worker_threads";
import type { Bytes } from "../core/codec/bytes.ts";
import type { ExecutorEvents } from "../enclave/ports.ts";
import { decodeFromWorker } from "../enclave/worker/wire-from-worker.ts";
import { encodeToWorker, messagesToWorker } from "../enclave/worker/wire-to-worker.ts";
import type { AdapterWorkerData } from "./adapter-worker.ts";
import type { RunningExecutor } from "./running-executor.ts";

/**
 * Starts the thread of an adapter.
 * @param data adapter name and options from the constitution
 * @param onMessage messages of the worker; a death of the thread comes as `failed`
 */
export function startThreadExecutor(data: AdapterWorkerData, onMessage: ExecutorEvents): RunningExecutor {
  const worker = new Worker(new URL("./adapter-thread.js", import.meta.url), {
    workerData: data,
    env: {},
  });
  let ending: Promise<unknown> | undefined;
  const end = (): Promise<unknown> => (ending ??= worker.terminate());
  const fail = (message: string): void => {
    if (ending === undefined) onMessage({ type: "failed", message });
  };
  worker.on("message", (bytes: Bytes) => {
    let message: ReturnType<typeof decodeFromWorker>;
    try {
      message = decodeFromWorker(bytes);
    } catch {
      fail("a message that does not decode");
      return;
    }
    onMessage(message);
  });
  worker.on("error", (error) => fail(error.message));
  worker.on("exit", () => fail("the adapter's thread ended"));
  return {
    send: (message) => {
      for (const part of messagesToWorker(message)) {
        const bytes = encodeToWorker(part);
        worker.postMessage(bytes, [bytes.buffer as ArrayBuffer]);
      }
    },
    close: () => void end(),
    ended: async () => {
      await end();
    },
  };
}
