/**
 * A validating node of a measured network as a process: `node node-process.js <folder> <level of workers>`. Writes one line to standard
 * output when clients are served, and stops when it is told to.
 */
import { startNode } from "../../src/host/node.ts";
import { WORKER_LEVELS } from "../../src/host/worker-settings.ts";

const dir = process.argv[2] ?? ".";
const workers = WORKER_LEVELS.find((level) => level === process.argv[3]);

const node = await startNode({
  dir,
  workers,
  logLevel: process.env["COCO_BENCH_LOG"] ?? "warn",
  onServing: () => process.stdout.write("serving\n"),
  onFatal: (error) => {
    process.stderr.write(`${dir}: ${error.code}: ${error.message}\n`);
    process.exit(1);
  },
});

const stop = (): void => {
  node.stop().finally(() => process.exit(0));
};
process.on("SIGTERM", stop);
// Ctrl-C in a terminal reaches the whole group; the measuring process stops its nodes itself.
process.on("SIGINT", () => {});
// The measuring process is gone.
process.on("disconnect", stop);
