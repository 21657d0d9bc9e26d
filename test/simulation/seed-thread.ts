/** A thread that runs the seeds it is told, one after the other. */
import { parentPort, workerData } from "node:worker_threads";
import { type RunOptions, runSeed } from "./seed-runs.ts";

parentPort?.on("message", (seed: number) => {
  void runSeed(seed, workerData as RunOptions).then((outcome) => parentPort?.postMessage(outcome));
});
