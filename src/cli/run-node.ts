/** Runs a validating node in the foreground until it is told to stop, or cannot go on. */
import type { TeeSettings } from "../host/tee/tee-settings.ts";
import type { WorkerLevel } from "../host/worker-settings.ts";
import { type CommandContext, EXIT, printJson, reportError } from "./output.ts";

/** Runs the node of a folder; ends when `stop` resolves, or when the node cannot go on: then the exit code says why. */
export async function runNode(
  context: CommandContext,
  options: {
    readonly dir: string;
    readonly logLevel: string;
    readonly workers?: WorkerLevel | undefined;
    readonly tee?: TeeSettings | undefined;
    readonly json: boolean;
  },
  stop: Promise<unknown>,
): Promise<void> {
  const { output } = context;
  const { dir, logLevel, workers, tee, json } = options;
  const { startNode, STOP_TIMEOUT_MS } = await import("../host/node.ts");
  const { loadNode } = await import("../host/node-folder.ts");
  const { name, clientListen } = await loadNode(dir);
  let failed: (error: unknown) => void = () => {};
  const failure = new Promise<unknown>((resolve) => {
    failed = resolve;
  });
  const onServing = (): void => {
    if (json) printJson(output, { name, clientListen, processId: process.pid });
    else output.data(`${name} serves clients at ${clientListen} (process ${process.pid})\n`);
  };
  const node = await startNode({ dir, logLevel, workers, tee, onServing, onFatal: failed });
  const error = await Promise.race([failure, stop.then(() => undefined)]);
  if (error !== undefined) {
    context.exitCode = reportError(output, error, false) || EXIT.failed;
    return;
  }
  const late = new Promise((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref());
  await Promise.race([node.stop(), late]);
}
