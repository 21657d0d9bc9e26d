/**
 * An executor over a worker thread: the development level of manager and worker apart. A discipline, not a wall: code in
 * a thread of the same process can reach the process's memory (SECURITY.md).
 */
import { Worker } from "node:worker_threads";
import type { Executor, ExecutorEvents } from "../enclave/ports.ts";
import type { FromWorker, ToWorker } from "../enclave/worker/protocol.ts";
import type { AdapterThreadData } from "./adapter-thread.ts";

/** A running adapter thread. */
export interface ThreadExecutor extends Executor {
  /** Resolves when the thread has ended. */
  ended(): Promise<void>;
}

/**
 * Starts the thread of an adapter.
 * @param data adapter name and options from the constitution
 * @param onMessage messages of the worker; a death of the thread comes as `failed`
 * @param onLog lines of the adapter for the operator's log
 */
export function startThreadExecutor(
  data: AdapterThreadData,
  onMessage: ExecutorEvents,
  onLog: (message: string) => void,
): ThreadExecutor {
  const worker = new Worker(new URL("./adapter-thread.js", import.meta.url), {
    workerData: data,
    env: {},
  });
  let ending: Promise<unknown> | undefined;
  const end = (): Promise<unknown> => (ending ??= worker.terminate());
  worker.on("message", (message: FromWorker | { type: "log"; message: string }) => {
    if (message.type === "log") onLog(message.message);
    else onMessage(message);
  });
  worker.on("error", (error) => onMessage({ type: "failed", message: error.message }));
  worker.on("exit", () => {
    if (ending === undefined) onMessage({ type: "failed", message: "the adapter's thread ended" });
  });
  return {
    send: (message: ToWorker) => worker.postMessage(message),
    close: () => void end(),
    ended: async () => {
      await end();
    },
  };
}
