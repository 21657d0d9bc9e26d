/** Runs of seeds one after the other, in this thread or in several, each run whole in one of them. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { SimulationOptions } from "./plan.ts";
import { type SimulationResult, simulate } from "./simulation.ts";

/** What a run of one seed came to. */
export type SeedOutcome =
  | { readonly seed: number; readonly result: SimulationResult }
  | { readonly seed: number; readonly causes: readonly string[] };

/** Options of all runs. */
export type RunOptions = Omit<SimulationOptions, "seed">;

/** An error with what caused it, as text. */
export function* causesOf(error: unknown): Generator<string> {
  for (let cause = error; cause instanceof Error; cause = cause.cause) yield cause.stack ?? cause.message;
}

/** Runs one seed. */
export async function runSeed(seed: number, options: RunOptions): Promise<SeedOutcome> {
  try {
    return { seed, result: await simulate({ seed, ...options }) };
  } catch (error) {
    return { seed, causes: [...causesOf(error)] };
  }
}

/**
 * Runs seeds as they are drawn, in so many threads, and hands on each outcome when it is there.
 * @param onOutcome says whether to go on
 */
export async function runSeeds(
  seeds: Iterator<number>,
  options: RunOptions,
  threads: number,
  onOutcome: (outcome: SeedOutcome) => boolean,
): Promise<void> {
  let goesOn = true;
  const runAll = async (run: (seed: number) => Promise<SeedOutcome>): Promise<void> => {
    while (goesOn) {
      const next = seeds.next();
      if (next.done === true) return;
      const outcome = await run(next.value);
      if (!onOutcome(outcome)) goesOn = false;
    }
  };
  if (threads === 1) return runAll((seed) => runSeed(seed, options));
  await Promise.all(Array.from({ length: threads }, () => runInThread(options, runAll)));
}

async function runInThread(
  options: RunOptions,
  runAll: (run: (seed: number) => Promise<SeedOutcome>) => Promise<void>,
): Promise<void> {
  const worker = new Worker(new URL("./seed-thread.js", import.meta.url), { workerData: options });
  try {
    await runAll(async (seed) => {
      worker.postMessage(seed);
      // An error of the thread itself is thrown here.
      const [outcome] = (await once(worker, "message")) as [SeedOutcome];
      return outcome;
    });
  } finally {
    await worker.terminate();
  }
}
