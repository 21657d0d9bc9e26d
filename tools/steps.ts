/**
 * Runs a list of commands and prints one line per step and a summary: shared by `npm run check` and `npm run ci`.
 * All steps run, also after one has failed. A command is a Node script and its arguments, so that it works alike on
 * Linux, macOS and Windows.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The folder of the repository. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** One command of a list. */
export interface Step {
  readonly name: string;
  /** Script to run with Node, relative to the repository. */
  readonly script: string;
  readonly arguments: readonly string[];
  /** The step is stopped and fails after this long. */
  readonly budgetSeconds: number;
}

/** How a step ended. */
export interface StepResult {
  readonly step: Step;
  /** Why it failed; undefined when it did not. */
  readonly failure: string | undefined;
  readonly seconds: number;
  readonly output: string;
}

/** Runs one step; with `live` its output is passed on as it comes, otherwise it is only collected. */
export function runStep(step: Step, live: boolean): Promise<StepResult> {
  const startedMs = performance.now();
  return new Promise((done) => {
    const child = spawn(process.execPath, [step.script, ...step.arguments], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let expired = false;
    const timer = setTimeout(() => {
      expired = true;
      child.kill("SIGKILL");
    }, step.budgetSeconds * 1000);
    const take = (data: Buffer): void => {
      output += data.toString();
      if (live) process.stdout.write(data);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const reason = expired ? `over its budget of ${step.budgetSeconds} s` : `exit ${code ?? signal}`;
      const failure = code === 0 && !expired ? undefined : reason;
      done({ step, failure, seconds: (performance.now() - startedMs) / 1000, output });
    });
  });
}

/** Prints one line per step and the verdict; returns the exit code. */
export function summarize(results: readonly StepResult[]): number {
  process.stdout.write("\n");
  for (const { step, failure, seconds } of results) {
    const verdict = failure === undefined ? "ok    " : "FAILED";
    const used = `${seconds.toFixed(1)} of ${step.budgetSeconds} s`;
    process.stdout.write(`${verdict} ${step.name.padEnd(20)} ${used}${failure === undefined ? "" : ` (${failure})`}\n`);
  }
  const failed = results.filter((result) => result.failure !== undefined).length;
  process.stdout.write(
    failed === 0 ? `all ${results.length} steps passed\n` : `${failed} of ${results.length} steps failed\n`,
  );
  return failed === 0 ? 0 : 1;
}
