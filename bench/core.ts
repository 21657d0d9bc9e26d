/**
 * `npm run bench:core [-- --quick --json --only NAME]`: the speed of the core in one thread, beside the figures to reach.
 *
 * A transaction is one put of 100 bytes under a key of 32 bytes; it goes from a client's request through execution, batch, seal,
 * signature, a real file and fdatasync to the answer that it is committed. There is no HTTP, no TLS and no other thread than
 * those that write files. Prints one table; nothing fails because it is slow. Processor time stands beside each rate, because
 * a machine that others use too says little with a rate alone. `--quick` shows within half a minute that everything works.
 */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { oneOf, readArguments } from "../tools/arguments.ts";
import { measureLedger } from "./core-ledger.ts";
import { measureKeys } from "./lib/core-keys.ts";
import { measureRestart } from "./lib/core-restart.ts";
import { type Effort, measureThroughput, type Throughput } from "./lib/core-throughput.ts";
import { figure, percentile } from "./lib/statistics.ts";
import { renderTable } from "./lib/table.ts";

const SECTIONS = ["sync", "solo", "three", "ledger", "keys", "restart"] as const;
type Section = (typeof SECTIONS)[number];

const BATCHES = [100, 300, 1000];
const SMALL_KEYS = 1_000;
const SYNCED_BYTES = 64 * 1024;

/** How much is measured. */
interface Sizes {
  readonly solo: Effort;
  readonly three: Effort;
  readonly syncs: number;
  readonly ledgerRounds: number;
  readonly keys: number;
  readonly keysPairs: number;
  readonly restartBytes: number;
}

const FULL: Sizes = {
  solo: { rounds: 7, transactions: 50_000 },
  three: { rounds: 7, transactions: 30_000 },
  syncs: 200,
  ledgerRounds: 300,
  keys: 5_000_000,
  keysPairs: 5,
  restartBytes: 100_000_000,
};
const QUICK: Sizes = {
  solo: { rounds: 2, transactions: 3_000 },
  three: { rounds: 2, transactions: 2_000 },
  syncs: 20,
  ledgerRounds: 30,
  keys: 20_000,
  keysPairs: 1,
  restartBytes: 10_000_000,
};

/** One row of the table; `values` are the figures behind it. */
interface Row {
  readonly what: string;
  readonly goal: string;
  readonly measured: string;
  /** Processor time per transaction. */
  readonly processor?: string;
  /** What `fdatasync` took in the middle: beside what is measured, or just before it. */
  readonly syncMs?: number;
  readonly values: Readonly<Record<string, number>>;
}

interface Context {
  readonly directory: string;
  readonly sizes: Sizes;
}

function us(value: number): string {
  return `${figure(value)} us`;
}

function ms(value: number): string {
  return `${figure(value)} ms`;
}

/** How long each of some `fdatasync` of 64 KiB takes. */
function syncTimes({ directory, sizes }: Context): readonly number[] {
  const descriptor = openSync(join(directory, "sync"), "w");
  const block = new Uint8Array(SYNCED_BYTES).fill(1);
  const times: number[] = [];
  try {
    for (let at = 0; at < sizes.syncs; at++) {
      writeSync(descriptor, block, 0, block.length, at * block.length);
      const start = performance.now();
      fdatasyncSync(descriptor);
      times.push(performance.now() - start);
    }
  } finally {
    closeSync(descriptor);
  }
  return times;
}

function measureSync(context: Context): readonly Row[] {
  const times = syncTimes(context);
  const [p50, p99] = [percentile(times, 0.5), percentile(times, 0.99)];
  return [
    {
      what: "fdatasync of 64 KiB, p50",
      goal: "",
      measured: `${ms(p50)}, p99 ${ms(p99)}`,
      values: { p50, p99 },
      syncMs: p50,
    },
  ];
}

function throughputRow(what: string, goal: string, figures: Throughput, batch: number): Row {
  const { transactionsPerSecond, processorUs, syncMs, perSync } = figures;
  const syncs = `${figure(perSync)} tx per fdatasync`;
  return {
    what,
    goal,
    measured: `${figure(transactionsPerSecond)} tx/s at batch ${batch}; ${syncs}`,
    processor: us(processorUs),
    syncMs,
    values: { batch, transactionsPerSecond, processorUs, syncMs, perSync },
  };
}

async function throughputRows(nodes: number, effort: Effort, directory: string): Promise<readonly Row[]> {
  const subjects = BATCHES.map((batch) => ({ nodes, batch, keys: SMALL_KEYS }));
  const figures = await measureThroughput(subjects, directory, effort);
  const name = nodes === 1 ? "solo" : `${nodes} nodes in this thread`;
  const goal = nodes === 1 ? ">= 50,000 tx/s" : ">= 18,000 tx/s";
  const rows = figures.map((one, at) => throughputRow(name, "", one, BATCHES[at] ?? 0));
  const rateOf = (row: Row): number => row.values["transactionsPerSecond"] ?? 0;
  const best = rows.toSorted((left, right) => rateOf(right) - rateOf(left))[0];
  return best === undefined ? rows : [{ ...best, what: `${name}, best`, goal }, ...rows];
}

function measureLedgerRows({ sizes }: Context): readonly Row[] {
  const figures = measureLedger(sizes.ledgerRounds);
  const { leafAndAppend, buildBatch, verifyBatch, unsealBatch, bytesPerPut } = figures;
  return [
    {
      what: "leaf and append to the Merkle tree",
      goal: "<= 9 us/tx",
      measured: us(leafAndAppend),
      values: { leafAndAppend },
    },
    { what: "bytes of the ledger per put", goal: "<= 250", measured: figure(bytesPerPut), values: { bytesPerPut } },
    {
      what: "building, verifying, opening a batch of 100",
      goal: "",
      measured: `${us(buildBatch)}, ${us(verifyBatch)}, ${us(unsealBatch)} per tx`,
      values: { buildBatch, verifyBatch, unsealBatch },
    },
  ];
}

async function measureKeysRows({ directory, sizes }: Context): Promise<readonly Row[]> {
  const { keys, keysPairs, solo: effort } = sizes;
  const { store, few, many, pairRatios } = await measureKeys({ keys, pairs: keysPairs, effort, directory });
  const pairs = `pairs of processes ${pairRatios.map(figure).join(", ")}`;
  const ratio = many.transactionsPerSecond / few.transactionsPerSecond;
  const processorRatio = few.processorUs / many.processorUs;
  const name = figure(keys);
  return [
    {
      what: `memory per key with ${name} keys`,
      goal: "<= 400 B",
      measured: `${figure(store.residentBytesPerKey)} B resident, ${figure(store.heapBytesPerKey)} B held`,
      values: { keys, residentBytesPerKey: store.residentBytesPerKey, heapBytesPerKey: store.heapBytesPerKey },
    },
    {
      what: `solo, random writes to ${name} keys, in parts of that with 1,000`,
      goal: ">= 0.8",
      measured: `${figure(ratio)} (${pairs}); by processor time ${figure(processorRatio)}; ${figure(many.transactionsPerSecond)} tx/s`,
      processor: us(many.processorUs),
      values: {
        keys,
        ratio,
        lowestPairRatio: pairRatios[0] ?? ratio,
        highestPairRatio: pairRatios.at(-1) ?? ratio,
        processorRatio,
        transactionsPerSecond: many.transactionsPerSecond,
      },
    },
    {
      what: `the store by itself with ${name} keys, likewise`,
      goal: "",
      measured: `${figure(store.ratio)}; a put ${us(store.putUs)}, with 1,000 keys ${us(store.smallPutUs)}`,
      values: { ratio: store.ratio, putUs: store.putUs, smallPutUs: store.smallPutUs },
    },
  ];
}

async function measureRestartRows({ directory, sizes }: Context): Promise<readonly Row[]> {
  const time = await measureRestart(join(directory, "restart"), sizes.restartBytes);
  const { suffixBytes, megabytesPerSecond, scanMs, verifyMs, applyMs, processorMs } = time;
  const parts = `read ${ms(scanMs)}, verify ${ms(verifyMs)}, apply ${ms(applyMs)}, processor ${ms(processorMs)}`;
  return [
    {
      what: `restart behind ${figure(suffixBytes / 1e6)} MB after a snapshot`,
      goal: ">= 50 MB/s",
      measured: `${figure(megabytesPerSecond)} MB/s; ${parts}`,
      values: { suffixBytes, megabytesPerSecond, scanMs, verifyMs, applyMs, processorMs },
    },
  ];
}

const MEASURE: Readonly<Record<Section, (context: Context) => readonly Row[] | Promise<readonly Row[]>>> = {
  sync: measureSync,
  solo: ({ directory, sizes }) => throughputRows(1, sizes.solo, directory),
  three: ({ directory, sizes }) => throughputRows(3, sizes.three, directory),
  ledger: measureLedgerRows,
  keys: measureKeysRows,
  restart: measureRestartRows,
};

async function measureSection(section: Section, sizes: Sizes): Promise<readonly Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "coco-bench-core-"));
  try {
    // A machine that others use has another disk each minute: each section has its own figure.
    const syncMs = percentile(syncTimes({ directory, sizes }), 0.5);
    const rows = await MEASURE[section]({ directory, sizes });
    return rows.map((row) => ({ syncMs, ...row }));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function render(rows: readonly Row[]): string {
  const lines = rows.map(({ what, goal, measured, processor = "", syncMs }) => [
    ...[what, goal, processor, syncMs === undefined ? "" : ms(syncMs), measured],
  ]);
  return renderTable([["core, one thread", "to reach", "processor/tx", "fdatasync p50", "measured"], ...lines]);
}

const OPTIONS = {
  quick: { type: "boolean", default: false, help: "show within half a minute that everything works" },
  only: { type: "string", value: "NAME", help: `one part: ${SECTIONS.join(", ")}` },
  json: { type: "boolean", default: false, help: "print one JSON object" },
} as const;
const { sections, sizes, json } = readArguments("run bench:core", OPTIONS, (given) => ({
  sections: given.only === undefined ? SECTIONS : [oneOf(SECTIONS, "only", given.only)],
  sizes: given.quick ? QUICK : FULL,
  json: given.json,
}));
const results: { section: Section; rows: readonly Row[] }[] = [];
for (const section of sections) results.push({ section, rows: await measureSection(section, sizes) });
if (json) {
  const rows = results.flatMap(({ section, rows: own }) =>
    own.map(({ what, goal, syncMs, values: data }) => ({ section, what, goal, syncMs, ...data })),
  );
  console.log(JSON.stringify({ cpu: cpus()[0]?.model, cpus: cpus().length, node: process.version, rows }));
} else {
  console.log(render(results.flatMap(({ rows }) => rows)));
}
