/**
 * Runs the simulator from the command line:
 *
 *   npm run sim -- --seed 7 [--verbose]     one run, with its whole trace
 *   npm run sim -- --seeds 1000 [--from 1]  many runs; stops at the first that fails
 *
 * Each run prints what it was. `--nodes`, `--clients`, `--duration` (virtual ms) and `--no-faults` fix what the seed would draw.
 */
import { parseArgs } from "node:util";
import { type SimulationOptions, type SimulationResult, simulate } from "./simulation.ts";

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

function describe(result: SimulationResult): string {
  const { seed, traceHash, virtualMs, events, entries, transactions, boots, terms } = result;
  const counts = `${events} events, ${entries} entries, ${transactions} transactions, term ${terms}, ${boots} boots`;
  return `seed ${seed}: ${(virtualMs / 1000).toFixed(1)} s virtual, ${counts}, trace ${traceHash}`;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string" },
      seeds: { type: "string", default: "100" },
      from: { type: "string", default: "1" },
      nodes: { type: "string" },
      clients: { type: "string" },
      duration: { type: "string" },
      "no-faults": { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
      quiet: { type: "boolean", default: false },
    },
  });
  const fixed: Omit<SimulationOptions, "seed"> = {
    faults: !values["no-faults"],
    ...(values.nodes !== undefined && { nodeCount: Number(values.nodes) }),
    ...(values.clients !== undefined && { clientCount: Number(values.clients) }),
    ...(values.duration !== undefined && { durationMs: Number(values.duration) }),
    ...(values.verbose && { onTrace: (line: string) => void process.stdout.write(line) }),
  };
  const first = Number(values.seed ?? values.from);
  const last = values.seed === undefined ? first + Number(values.seeds) - 1 : first;
  const startedMs = performance.now();
  let virtualMs = 0;
  for (let seed = first; seed <= last; seed++) {
    try {
      const result = await simulate({ seed, ...fixed });
      virtualMs += result.virtualMs;
      if (!values.quiet) say(describe(result));
    } catch (error) {
      say(error instanceof Error ? (error.stack ?? error.message) : String(error));
      if (error instanceof Error && error.cause instanceof Error) say(`caused by ${error.cause.stack}`);
      return 1;
    }
  }
  const realMs = performance.now() - startedMs;
  const cpu = process.cpuUsage();
  const cpuMs = (cpu.user + cpu.system) / 1000;
  const seconds = (ms: number) => (ms / 1000).toFixed(1);
  const speed = `${(virtualMs / realMs).toFixed(0)} times real time, ${(virtualMs / cpuMs).toFixed(0)} times processor time`;
  say(`${last - first + 1} runs, ${seconds(virtualMs)} s virtual in ${seconds(realMs)} s: ${speed}`);
  return 0;
}

process.exitCode = await main();
