/**
 * Child processes of tests: each runs in a process group of its own and ends with the test process, whatever happens to it.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The folder of the repository. */
export const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));
/** The compiled command line. */
export const CLI = fileURLToPath(new URL("../../../src/cli/main.js", import.meta.url));

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running child process. */
export interface ManagedProcess {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** What it has written so far. */
  stdout(): string;
  stderr(): string;
  /** Sends a signal to the process alone. */
  signal(name: NodeJS.Signals): void;
}

/** What a finished process left. */
export interface Finished extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** How a process is started. */
export interface ProcessOptions {
  readonly cwd?: string;
  readonly input?: string;
  readonly timeoutMs?: number;
}

const OUTPUT_LIMIT = 4_000_000;
const groups = new Set<number>();

process.on("exit", () => {
  for (const pid of groups) {
    try {
      process.kill(process.platform === "win32" ? pid : -pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));

/** Starts a process. */
export function startProcess(
  command: string,
  arguments_: readonly string[],
  options: ProcessOptions = {},
): ManagedProcess {
  const child = spawn(command, arguments_, {
    cwd: options.cwd ?? ROOT,
    detached: process.platform !== "win32",
    stdio: ["pipe", "pipe", "pipe"],
    // What the test runner sets for its own children would confuse Node programs below.
    env: { ...process.env, NODE_OPTIONS: "", NODE_TEST_CONTEXT: undefined, NO_COLOR: "1" },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (data: Buffer) => {
    stdout = (stdout + data.toString()).slice(-OUTPUT_LIMIT);
  });
  child.stderr.on("data", (data: Buffer) => {
    stderr = (stderr + data.toString()).slice(-OUTPUT_LIMIT);
  });
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      groups.delete(child.pid ?? 0);
      resolve({ code, signal });
    });
  });
  exited.catch(() => {});
  if (child.pid !== undefined) groups.add(child.pid);
  return {
    pid: child.pid ?? 0,
    exited,
    stdout: () => stdout,
    stderr: () => stderr,
    signal: (name) => {
      child.kill(name);
    },
  };
}

/** Runs a process to its end. */
export async function runProcess(
  command: string,
  arguments_: readonly string[],
  options: ProcessOptions = {},
): Promise<Finished> {
  const running = startProcess(command, arguments_, options);
  const timer = setTimeout(() => running.signal("SIGKILL"), options.timeoutMs ?? 30_000);
  const exit = await running.exited;
  clearTimeout(timer);
  return { ...exit, stdout: running.stdout(), stderr: running.stderr() };
}

/** Runs the `coco` command to its end. */
export function runCoco(...arguments_: readonly string[]): Promise<Finished> {
  return runProcess(process.execPath, [CLI, ...arguments_]);
}

/** Waits for a process to end by itself; throws with what it wrote when it does not. */
export async function endOf(running: ManagedProcess, timeoutMs = 20_000): Promise<Exit> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs);
  });
  const exit = await Promise.race([running.exited, late]);
  clearTimeout(timer);
  if (exit === undefined)
    throw new Error(`process ${running.pid} did not end; it wrote ${running.stderr().slice(-2000)}`);
  return exit;
}

/** Resolves after a time. */
export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Asks again and again until the answer is not undefined. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  { timeoutMs = 20_000, everyMs = 20 } = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await delay(everyMs);
  }
}

/** The value, which a test takes for given. */
export function present<T>(value: T | undefined | null, what = "a value"): T {
  if (value === undefined || value === null) throw new Error(`expected ${what}`);
  return value;
}
