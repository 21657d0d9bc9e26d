/**
 * An executor over a child process: the production level of manager and worker apart. The worker has a pipe to the node and one
 * to a second process that prepares its transactions; worker-commands.ts says what else it has: nothing.
 *
 * Both are killed when the executor is closed, when either ends, when a frame does not decode, or when the worker leaves
 * more unread than a bound.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { Socket } from "node:net";
import type { ExecutorEvents } from "../enclave/ports.ts";
import type { FromWorker } from "../enclave/worker/protocol.ts";
import { decodeFromWorker } from "../enclave/worker/wire-from-worker.ts";
import { encodeToWorker, messagesToWorker } from "../enclave/worker/wire-to-worker.ts";
import { CocoError, invariant } from "../errors.ts";
import type { AdapterWorkerData } from "./adapter-worker.ts";
import { type ChildDescriptors, nothingInherited } from "./inherited-descriptors.ts";
import type { WorkerCommands } from "./worker-commands.ts";
import { FrameReader, FrameWriter } from "./worker-frames.ts";
import type { RunningExecutor } from "./running-executor.ts";
import type { Command } from "./worker-sandbox.ts";
import { encodeStart } from "./worker-start.ts";
import { NODE_PIPE } from "./worker-pipe.ts";

/** Bytes a worker may leave unread; one that leaves more is ended. */
export const WORKER_UNREAD_BYTES_MAX = 256 * 1024 * 1024;
/** Longest piece of what a worker writes to its standard error that becomes a line of the log. */
export const WORKER_ERROR_LINE_LENGTH_MAX = 1_000;

function start({ file, args }: Command, descriptors: ChildDescriptors): ChildProcess {
  return spawn(file, args, { env: {}, cwd: "/", stdio: nothingInherited(descriptors), windowsHide: true });
}

function pipeOf(child: ChildProcess): Socket {
  const pipe = child.stdio[NODE_PIPE];
  invariant(pipe instanceof Socket, "the pipe was asked for");
  return pipe;
}

/** The processes of one worker. */
class WorkerProcesses implements RunningExecutor {
  readonly #onMessage: ExecutorEvents;
  readonly #children: readonly ChildProcess[];
  readonly #writer: FrameWriter;
  #isClosed = false;

  constructor(commands: WorkerCommands, data: AdapterWorkerData, onMessage: ExecutorEvents) {
    this.#onMessage = onMessage;
    const preparing = start(commands.prepare(data.adapter), ["ignore", "ignore", "pipe", "pipe"]);
    const toWorker = pipeOf(preparing);
    const worker = start(commands.adapter, ["ignore", "ignore", "pipe", "pipe", toWorker]);
    // The worker has its own copy; with this one open neither would notice the other's end.
    toWorker.on("error", () => undefined).destroy();
    this.#children = [worker, preparing];
    for (const child of this.#children) this.#watch(child);
    const pipe = pipeOf(worker);
    this.#writer = new FrameWriter(pipe);
    const reader = new FrameReader((payload) => {
      if (!this.#isClosed) this.#onMessage(decodeFromWorker(payload));
    });
    pipe.on("data", (chunk: Buffer) => {
      if (this.#isClosed) return;
      try {
        reader.push(chunk);
      } catch (error) {
        if (!(error instanceof CocoError) || (error.code !== "MalformedInput" && error.code !== "LimitExceeded"))
          throw error;
        this.#fail(`its message is not one: ${error.message}`);
      }
    });
    pipe.on("error", () => undefined);
    this.#writer.write(encodeStart(data));
  }

  #watch(child: ChildProcess): void {
    child.on("error", (error) => this.#fail(`cannot be started: ${error.message}`));
    child.on("exit", (code, signal) => this.#fail(`ended: ${signal ?? `exit code ${code}`}`));
    child.stderr?.on("data", (chunk: Buffer) => {
      const message = chunk.toString("utf8").slice(0, WORKER_ERROR_LINE_LENGTH_MAX).trimEnd();
      if (!this.#isClosed && message !== "") this.#onMessage({ type: "log", message });
    });
  }

  #fail(message: string): void {
    if (this.#isClosed) return;
    this.close();
    this.#onMessage({ type: "failed", message });
  }

  send(message: Parameters<RunningExecutor["send"]>[0]): void {
    if (this.#isClosed) return;
    for (const part of messagesToWorker(message)) this.#writer.write(encodeToWorker(part));
    // Never inside the call: who sends is in the midst of something.
    if (this.#writer.waitingBytes > WORKER_UNREAD_BYTES_MAX)
      setImmediate(() => this.#fail("it does not read what it is sent"));
  }

  close(): void {
    this.#isClosed = true;
    for (const child of this.#children) child.kill("SIGKILL");
  }

  async ended(): Promise<void> {
    this.close();
    const isOver = ({ exitCode, signalCode, pid }: ChildProcess) =>
      exitCode !== null || signalCode !== null || pid === undefined;
    await Promise.all(
      this.#children.map((child) => isOver(child) || new Promise((resolve) => child.once("exit", resolve))),
    );
  }
}

/**
 * Starts the processes of an adapter.
 * @param data adapter name and options from the constitution
 * @param onMessage messages of the worker; its end comes as `failed`
 */
export function startProcessExecutor(
  commands: WorkerCommands,
  data: AdapterWorkerData,
  onMessage: (message: FromWorker) => void,
): RunningExecutor {
  return new WorkerProcesses(commands, data, onMessage);
}
