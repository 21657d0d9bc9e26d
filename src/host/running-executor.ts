/** A worker that runs, at whatever level. */
import type { Executor } from "../enclave/ports.ts";

/** An executor whose end can be waited for. */
export interface RunningExecutor extends Executor {
  /** Ends the worker; resolves when it has ended. */
  ended(): Promise<void>;
}
