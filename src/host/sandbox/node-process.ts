/**
 * A validating node as a child process of the sandbox's launcher.
 *
 * The child is the leader of a process group of its own, so that Ctrl-C in a terminal reaches the launcher alone, which
 * stops its nodes in order. A pipe to the child's standard input says that the launcher lives: when it breaks, however the
 * launcher ended, the node stops. The child gets no more of the environment than it needs to run.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { open } from "node:fs/promises";
import { CocoError } from "../../errors.ts";
import { hasErrorCode, SECRET_FILE_MODE } from "../files.ts";

/** Variables of the environment a node may see. */
export const PASSED_ENVIRONMENT = [
  "PATH",
  "HOME",
  "LANG",
  "LC_ALL",
  "TZ",
  "TMPDIR",
  "TEMP",
  "TMP",
  "SystemRoot",
  "windir",
];
/** Bytes at the end of a log of which the last lines are shown. */
export const LOG_TAIL_BYTES = 8 * 1024;

/** How a node's process is started. */
export interface NodeProcessOptions {
  readonly name: string;
  readonly dir: string;
  readonly logFile: string;
  /** Compiled file of the `coco` command. */
  readonly entry: string;
  readonly logLevel: string;
  readonly workers: string;
  /** The process ended; `reason` is its exit code or signal in words. */
  readonly onExit: (reason: string) => void;
}

/** A node's process. */
export class NodeProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  #running = true;

  constructor(options: NodeProcessOptions) {
    const { name, dir, logFile, entry, logLevel, workers, onExit } = options;
    this.name = name;
    const log = openSync(logFile, "a", SECRET_FILE_MODE);
    try {
      const settings = ["--log-level", logLevel, "--workers", workers];
      const args = [entry, "node", "start", "--dir", dir, ...settings, "--parent-pipe"];
      const env = Object.fromEntries(
        PASSED_ENVIRONMENT.flatMap((key) => (process.env[key] === undefined ? [] : [[key, process.env[key]]])),
      );
      this.#child = spawn(process.execPath, args, {
        env,
        detached: true,
        stdio: ["pipe", log, log],
        windowsHide: true,
      });
    } finally {
      closeSync(log);
    }
    // Writing to a pipe whose reader has gone is no failure of ours.
    this.#child.stdin?.on("error", () => {});
    const ended = (reason: string): void => {
      if (!this.#running) return;
      this.#running = false;
      onExit(reason);
    };
    this.#child.on("error", (error) => ended(error.message));
    this.#child.on("exit", (code, signal) => ended(signal === null ? `exit code ${code}` : signal));
  }

  /** Process id; undefined when the process could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether it has not ended yet. */
  get isRunning(): boolean {
    return this.#running;
  }

  /** Asks the node to stop. */
  stop(): void {
    if (!this.#running) return;
    this.#child.stdin?.end();
    this.#child.kill("SIGTERM");
  }

  /** Ends the process at once. */
  kill(): void {
    if (this.#running) this.#child.kill("SIGKILL");
  }
}

/** Sends a signal to a process that is not a child; false when it is gone. */
export function signalProcess(pid: number, signal: "SIGTERM" | "SIGKILL"): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if (hasErrorCode(error, "ESRCH")) return false;
    throw new CocoError("NodeProcessFailed", `process ${pid} cannot be stopped`, { pid }, { cause: error });
  }
}

/** The last lines of a log; empty when it can't be read. */
export async function lastLines(logFile: string, count: number): Promise<readonly string[]> {
  try {
    const file = await open(logFile, "r");
    try {
      const { size } = await file.stat();
      const length = Math.min(size, LOG_TAIL_BYTES);
      const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
      return buffer.toString("utf8").trimEnd().split("\n").slice(-count);
    } finally {
      await file.close();
    }
  } catch {
    return [];
  }
}
