/**
 * Runs the simulator from the command line:
 *
 *   npm run sim -- --seed 7 [--verbose]       one run, with its whole trace
 *   npm run sim -- --seeds 1000 [--from 1]    a row of seeds
 *   npm run sim -- --minutes 5                fresh seeds from a random first one, which is printed
 *   npm run sim -- --crash-points             a crash before and after every call through a port of one small run;
 *                                             `--every 12`: every twelfth of them, from a place that `--seed` gives;
 *                                             `--point 0:1:123:before`: one: node, life, call and side
 *
 * What one seed prints to standard output is the same whenever it runs; how long it took goes to standard error.
 * Seeds are spread over `--threads` (as many as processors); a run is whole in one of them, and the same in any.
 * `--json` prints one object instead: `{"seeds","failures","simulatedSeconds","wallSeconds","faults":{kind:count}}`. What followed
 * from faults, hostile frames that were refused and runs in which no quorum was left sound, is told in lines. Wrong arguments exit with 2.
 * With `--crash-points` it is `{"points","played","failures","wallSeconds","faults":{kind:count}}`.
 * `--nodes`, `--clients`, `--duration` (virtual ms), `--network stream|datagram`, `--hostile`, `--real-crypto`,
 * `--ethereum`, `--distrust-disk`, `--flexible`, `--readmit` and `--no-faults` fix what a seed would draw. Every seed that fails is printed with the way to run it again; exits 1 then.
 */
import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import { CocoError } from "../../src/errors.ts";
import { numberFrom, readArguments, type ToolValues } from "../../tools/arguments.ts";
import { countCalls, crashAt, type CrashPlace, crashPlaces, type CrashRunOptions } from "./crash-points.ts";
import { FaultCounts, splitCounts } from "./fault-counts.ts";
import type { SimulationOptions } from "./plan.ts";
import { causesOf, runSeeds, type SeedOutcome } from "./seed-runs.ts";
import type { SimulationResult } from "./simulation.ts";

/** After so many failures there is enough to look at. */
const FAILURES_MAX = 20;
const FRESH_SEED_MAX = 2 ** 31;

const OPTIONS = {
  seed: { type: "string", value: "N", help: "one run" },
  seeds: { type: "string", value: "N", help: "a row of so many seeds (100)" },
  from: { type: "string", value: "N", help: "the first seed of a row" },
  minutes: { type: "string", value: "N", help: "fresh seeds for so long" },
  threads: { type: "string", value: "N", help: "threads that seeds are spread over (as many as processors)" },
  nodes: { type: "string", value: "N", help: "nodes to begin with, from 3; else drawn from the seed" },
  clients: { type: "string", value: "N", help: "clients, else drawn from the seed" },
  duration: { type: "string", value: "MS", help: "virtual time with faults, in ms" },
  network: { type: "string", value: "KIND", help: "stream or datagram, else drawn from the seed" },
  hostile: { type: "boolean", help: "with hostile frames" },
  "real-crypto": { type: "boolean", help: "real cryptography instead of a cheap one" },
  ethereum: { type: "boolean", help: "the Ethereum adapter instead of a key-value store" },
  readmit: { type: "boolean", help: "nodes that were removed join again" },
  "distrust-disk": { type: "boolean", help: "nodes that restart do not trust their disks" },
  flexible: { type: "boolean", help: "quorums of two sizes" },
  "no-faults": { type: "boolean", help: "no fault at all" },
  "crash-points": { type: "boolean", default: false, help: "a crash before and after every call through a port" },
  every: { type: "string", value: "N", help: "only each N-th crash point" },
  point: { type: "string", value: "NODE:LIFE:CALL:SIDE", help: "one crash point; the side is before or after" },
  json: { type: "boolean", default: false, help: "print one JSON object" },
  verbose: { type: "boolean", default: false, help: "print the whole trace" },
  quiet: { type: "boolean", default: false, help: "no line for a seed that held" },
} as const;

/** Options that take a number. */
const NUMBERS = ["seed", "seeds", "from", "minutes", "threads", "nodes", "clients", "duration", "every"] as const;

/** Those of them of which none would be no run at all. */
const FROM_ONE: readonly (typeof NUMBERS)[number][] = ["seeds", "threads", "every"];
/** What is struck at once, and how soon all must be well again, is chosen for networks that bear the loss of a node. */
const LEAST_NODES = 3;

type Values = ToolValues<typeof OPTIONS>;

/** What all runs of a command share, and the arguments that say so. */
interface Fixed {
  readonly options: Omit<SimulationOptions, "seed">;
  readonly arguments: string;
}

/** Totals over all runs. */
interface Totals {
  seeds: number;
  failures: number;
  virtualMs: number;
  readonly startedMs: number;
  readonly faults: FaultCounts;
}

function number(values: Values, name: (typeof NUMBERS)[number]): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const least = name === "nodes" ? LEAST_NODES : FROM_ONE.includes(name) ? 1 : 0;
  return numberFrom(least, name, text, name === "minutes" ? "any" : "whole");
}

function fixed(values: Values): Fixed {
  const nodeCount = number(values, "nodes");
  const clientCount = number(values, "clients");
  const durationMs = number(values, "duration");
  const { network } = values;
  if (network !== undefined && network !== "stream" && network !== "datagram")
    throw new CocoError("MalformedInput", `--network is stream or datagram, not ${network}`);
  const options: Omit<SimulationOptions, "seed"> = {
    ...(nodeCount !== undefined && { nodeCount }),
    ...(clientCount !== undefined && { clientCount }),
    ...(durationMs !== undefined && { durationMs }),
    ...(network !== undefined && { network }),
    ...(values.hostile && { hostile: true }),
    ...(values["real-crypto"] && { realCryptography: true }),
    ...(values.ethereum && { protocol: "ethereum" }),
    ...(values.readmit && { readmits: true }),
    ...(values["distrust-disk"] && { trustDisk: false }),
    ...(values.flexible && { flexible: true }),
    ...(values["no-faults"] && { faults: false }),
    ...(values.verbose && { onTrace: (line: string) => void process.stderr.write(line) }),
  };
  const names = [
    "nodes",
    "clients",
    "duration",
    "network",
    "hostile",
    "real-crypto",
    "ethereum",
    "readmit",
    "distrust-disk",
    "flexible",
    "no-faults",
  ] as const;
  const given = names.flatMap((name) => {
    const value = values[name];
    if (value === undefined || value === false) return [];
    return value === true ? [` --${name}`] : [` --${name} ${value}`];
  });
  return { options, arguments: given.join("") };
}

/** The seeds to run, in order. */
function* seeds(values: Values, say: (line: string) => void): Generator<number> {
  const one = number(values, "seed");
  const minutes = number(values, "minutes");
  if (one !== undefined) {
    yield one;
    return;
  }
  if (minutes !== undefined) {
    const first = number(values, "from") ?? randomInt(FRESH_SEED_MAX);
    say(`seeds from ${first}`);
    const end = performance.now() + minutes * 60_000;
    let seed = first;
    do yield seed++;
    while (performance.now() < end);
    return;
  }
  const first = number(values, "from") ?? 1;
  const count = number(values, "seeds") ?? 100;
  for (let seed = first; seed < first + count; seed++) yield seed;
}

function describe(result: SimulationResult): string {
  const { seed, traceHash, virtualMs, events, entries, transactions, boots, terms } = result;
  const counts = `${events} events, ${entries} entries, ${transactions} transactions, term ${terms}, ${boots} boots`;
  return `seed ${seed}: ${(virtualMs / 1000).toFixed(1)} s virtual, ${counts}, trace ${traceHash}`;
}

function summary({ seeds: count, failures, virtualMs, startedMs, faults }: Totals): Record<string, unknown> {
  return {
    seeds: count,
    failures,
    simulatedSeconds: Math.round(virtualMs) / 1000,
    wallSeconds: Math.round(performance.now() - startedMs) / 1000,
    faults: splitCounts(faults).faults,
  };
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;

/** Threads for a command: a trace and a single seed are for this one. */
function threadsFor(values: Values): number {
  const single = values.verbose || values.seed !== undefined;
  return single ? 1 : Math.max(1, number(values, "threads") ?? availableParallelism());
}

async function runAll(values: Values, threads: number, say: (line: string) => void): Promise<Totals> {
  const { options, arguments: given } = fixed(values);
  const totals: Totals = {
    seeds: 0,
    failures: 0,
    virtualMs: 0,
    startedMs: performance.now(),
    faults: new FaultCounts(),
  };
  const onOutcome = (outcome: SeedOutcome): boolean => {
    totals.seeds++;
    if ("result" in outcome) {
      totals.virtualMs += outcome.result.virtualMs;
      totals.faults.addAll(outcome.result.faults);
      if (!values.quiet && !values.json) say(describe(outcome.result));
      return true;
    }
    totals.failures++;
    for (const text of outcome.causes) say(text);
    say(`FAILED seed ${outcome.seed}; replay: npm run sim -- --seed ${outcome.seed}${given}`);
    return totals.failures < FAILURES_MAX;
  };
  await runSeeds(seeds(values, say), options, threads, onOutcome);
  return totals;
}

function crashPlace(text: string): CrashPlace {
  const [, node, life, call, phase] = /^(\d+):(\d+):(\d+):(before|after)$/.exec(text) ?? [];
  if (phase !== "before" && phase !== "after")
    throw new CocoError("MalformedInput", `--point takes node:life:call:before or node:life:call:after, not ${text}`);
  return { node: Number(node), life: Number(life), call: Number(call), phase };
}

/** Plays a crash at each place of the small run, or at those that are asked for. */
async function runCrashPoints(values: Values, say: (line: string) => void): Promise<number> {
  const seed = number(values, "seed") ?? 1;
  const options: CrashRunOptions = { seed, ...fixed(values).options };
  const lives = await countCalls(options);
  const all = crashPlaces(lives);
  const places =
    values.point === undefined ? crashPlaces(lives, number(values, "every"), seed) : [crashPlace(values.point)];
  const counts = lives.map(({ node, life, calls }) => `${calls} of node ${node}${life > 1 ? " restarted" : ""}`);
  say(`calls through ports: ${counts.join(", ")}; ${all.length} points, ${places.length} to play`);
  const faults = new FaultCounts();
  const startedMs = performance.now();
  let failures = 0;
  for (const place of places) {
    try {
      faults.addAll((await crashAt(options, place)).faults);
    } catch (error) {
      for (const text of causesOf(error)) say(text);
      const point = `${place.node}:${place.life}:${place.call}:${place.phase}`;
      const given = ["ethereum", "real-crypto"] as const;
      const flags = given.flatMap((name) => (values[name] ? [` --${name}`] : [])).join("");
      say(`FAILED ${point}; replay: npm run sim -- --crash-points --seed ${seed}${flags} --point ${point} --verbose`);
      if (++failures >= FAILURES_MAX) break;
    }
  }
  const wallSeconds = (performance.now() - startedMs) / 1000;
  if (values.json) {
    const report = { points: all.length, played: places.length, failures, wallSeconds, faults: faults.toJson() };
    process.stdout.write(`${JSON.stringify(report)}\n`);
  }
  const kinds = Object.entries(faults.toJson()).filter(([kind]) => kind.startsWith("crash."));
  for (const [kind, count] of kinds) say(`${kind.padEnd(36)} ${count}`);
  say(`${places.length} of ${all.length} crash points, ${failures} failed, in ${wallSeconds.toFixed(1)} s`);
  return failures === 0 ? 0 : 1;
}

/** The arguments, which hold. */
const argumentsGiven = (): Values =>
  readArguments("run sim", OPTIONS, (values) => {
    for (const name of NUMBERS) number(values, name);
    fixed(values);
    if (values.point !== undefined) crashPlace(values.point);
    return values;
  });

async function main(): Promise<number> {
  const values = argumentsGiven();
  // With --json nothing but the object goes to standard output.
  const say = (line: string): void => void (values.json ? process.stderr : process.stdout).write(`${line}\n`);
  if (values["crash-points"]) return runCrashPoints(values, say);
  const threads = threadsFor(values);
  const totals = await runAll(values, threads, say);
  const { virtualMs, startedMs, failures } = totals;
  const realMs = performance.now() - startedMs;
  if (values.json) process.stdout.write(`${JSON.stringify(summary(totals))}\n`);
  for (const [kind, count] of Object.entries(splitCounts(totals.faults).outcomes)) say(`${kind}: ${count}`);
  const seconds = (ms: number): string => (ms / 1000).toFixed(1);
  const line = `${counted(totals.seeds, "seed")}, ${failures} failed, ${seconds(virtualMs)} s simulated in ${seconds(realMs)} s on ${counted(threads, "thread")}: ${(virtualMs / realMs).toFixed(0)} times real time`;
  // One seed prints the same to standard output whenever it runs.
  if (values.seed === undefined) say(line);
  else process.stderr.write(`${line}\n`);
  return failures === 0 ? 0 : 1;
}

process.exitCode = await main();
