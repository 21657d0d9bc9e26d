/** Starts an adapter's worker at the level that was chosen. */
import type { ExecutorEvents } from "../enclave/ports.ts";
import type { AdapterWorkerData } from "./adapter-worker.ts";
import { startProcessExecutor } from "./process-executor.ts";
import type { RunningExecutor } from "./running-executor.ts";
import { startThreadExecutor } from "./thread-executor.ts";
import type { WorkerCommands } from "./worker-commands.ts";

/**
 * Starts the worker of an adapter.
 * @param commands how processes are started; undefined: the worker is a thread
 */
export function startWorker(
  commands: WorkerCommands | undefined,
  data: AdapterWorkerData,
  onMessage: ExecutorEvents,
): RunningExecutor {
  return commands === undefined
    ? startThreadExecutor(data, onMessage)
    : startProcessExecutor(commands, data, onMessage);
}
