/**
 * `npm run bench [-- --quick --json --only NAME --profile DIR]`: the speed of three validating nodes and of the client that loads them
 * on one machine, beside the figure to reach. Prints one table; nothing fails because it is slow.
 *
 * Committed means: durable on a quorum and known to be so by all three nodes. `--quick` shows within a minute that every
 * measurement works; its figures say little. `--profile DIR` has the nodes that are loaded write CPU profiles there.
 */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { CocoError } from "../src/errors.ts";
import { oneOf, readArguments } from "../tools/arguments.ts";
import { DEFAULT_WORKER_LEVEL, WORKER_LEVELS, type WorkerLevel } from "../src/host/worker-settings.ts";
import { type AnvilResult, hasAnvil, runAnvilLoad, startAnvil } from "./lib/anvil.ts";
import { Connection, postRequest, rpcCall } from "./lib/connection.ts";
import { deployContracts } from "./lib/contracts.ts";
import { processorTimesMs } from "./lib/cpu-time.ts";
import { GENERATED_CHAIN_ID, tokenCall, transferCall } from "./lib/generated-load.ts";
import { type LoadRequest, type LoadResult, loadRequests, readRate, runLoad, sendUntilReceipt } from "./lib/load.ts";
import { findBlockFiles, readBlockFile } from "../test/support/mainnet-block.ts";
import { type BenchNetwork, startNetwork } from "./lib/network.ts";
import { REPLAY_OPTIONS, Replay, totalsOf } from "./lib/replay.ts";
import { figure, type Latency, latencyOf, latencyText, percentile } from "./lib/statistics.ts";
import { renderTable } from "./lib/table.ts";
import { type Account, allocOf, type Call, hex, makeAccounts, type Signed, sign } from "./lib/wallet.ts";

const ACCOUNTS = 200;
const BATCH = 100;
/** Batches in flight: what waits in line counts as latency. */
const BATCH_CONNECTIONS = 4;
const SINGLE_CONNECTIONS = 50;
const ANVIL_INTERVAL_SECONDS = 1;
const SECTIONS = [
  "levels",
  "transfers",
  "single",
  "connections",
  "reads",
  "tokens",
  "durable",
  "blocks",
  "anvil",
] as const;

type Section = (typeof SECTIONS)[number];

/** How much is sent. */
interface Sizes {
  readonly warmUp: number;
  readonly batched: number;
  readonly single: number;
  readonly connections: number;
  readonly readMs: number;
  readonly blocks: number;
}

const FULL: Sizes = { warmUp: 8_000, batched: 20_000, single: 300, connections: 5_000, readMs: 3_000, blocks: 3 };
const QUICK: Sizes = { warmUp: 400, batched: 1_600, single: 40, connections: 500, readMs: 500, blocks: 1 };

/** One row of the table; `values` are the figures behind `measured`. */
interface Row {
  readonly what: string;
  readonly goal: string;
  readonly measured: string;
  readonly values: Readonly<Record<string, number>>;
}

/** A running network with the node that is loaded. */
interface Target {
  readonly network: BenchNetwork;
  readonly leader: number;
  readonly accounts: readonly Account[];
}

const rows: Row[] = [];

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function add(what: string, goal: string, measured: string, values: Readonly<Record<string, number>> = {}): void {
  rows.push({ what, goal, measured, values });
  process.stderr.write(`${what}: ${measured}\n`);
}

/** Median time of a 4 KiB append with fdatasync in the folder the networks write to, in milliseconds. */
function measureDisk(): number {
  const dir = mkdtempSync(join(tmpdir(), "coco-bench-disk-"));
  const file = openSync(join(dir, "probe"), "a");
  const page = Buffer.alloc(4096, 1);
  const durations = Array.from({ length: 200 }, () => {
    const startMs = performance.now();
    writeSync(file, page);
    fdatasyncSync(file);
    return performance.now() - startMs;
  });
  closeSync(file);
  rmSync(dir, { recursive: true });
  return percentile(durations, 0.5);
}

async function startTarget(
  answerAfter: "execution" | "commit",
  { profileDir, workers = DEFAULT_WORKER_LEVEL }: { profileDir?: string | undefined; workers?: WorkerLevel } = {},
): Promise<Target> {
  const accounts = makeAccounts(ACCOUNTS);
  const ethereum = { chainId: GENERATED_CHAIN_ID, alloc: allocOf(accounts) };
  const profiling = (node: number): string[] =>
    profileDir === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", join(profileDir, `node${node}`)];
  const network = await startNetwork({ ethereum, answerAfter, nodeArguments: profiling, workers });
  return { network, leader: await network.leader(), accounts };
}

/** Signs `count` transactions for each of several connections, whose senders are their own. */
function signLists(
  accounts: readonly Account[],
  connections: number,
  count: number,
  call: (to: Account) => Call,
): Signed[][] {
  const perConnection = Math.floor(accounts.length / connections);
  return Array.from({ length: connections }, (_, connection) => {
    const senders = accounts.slice(connection * perConnection, (connection + 1) * perConnection);
    return Array.from({ length: Math.ceil(count / connections) }, (_, at) =>
      sign(senders[at % senders.length]!, GENERATED_CHAIN_ID, call(accounts[(at * 7 + connection) % accounts.length]!)),
    );
  });
}

function requestsOf(path: string, lists: readonly (readonly Signed[])[], batch: number): LoadRequest[][] {
  return lists.map((signed) => loadRequests(path, signed, batch));
}

function load({ network, leader }: Target, lists: readonly (readonly Signed[])[], batch: number): Promise<LoadResult> {
  const target = network.endpoints[leader]!;
  return runLoad(target, network.endpoints, requestsOf(target.path, lists, batch));
}

function loadText({ committedPerSecond, commitLatency }: LoadResult): string {
  return `${figure(committedPerSecond)} tx/s, ${latencyText(commitLatency)}`;
}

function loadValues({ committedPerSecond, commitLatency, answerLatency }: LoadResult): Record<string, number> {
  return {
    perSecond: committedPerSecond,
    p50: commitLatency.p50,
    p99: commitLatency.p99,
    answerP50: answerLatency.p50,
  };
}

/** Runs a load and notes, beside its result, the processor time it took on each process. */
async function accounted(target: Target, what: string, run: () => Promise<LoadResult>): Promise<LoadResult> {
  const pids = [...target.network.pids, process.pid];
  const before = processorTimesMs(pids);
  const result = await run();
  const after = processorTimesMs(pids);
  if (before === undefined || after === undefined) return result;
  const perTransaction = after.map((time, at) => ((time - (before[at] ?? 0)) * 1000) / result.transactions);
  const client = perTransaction.pop() ?? 0;
  const [leader = 0] = perTransaction.splice(target.leader, 1);
  const followers = perTransaction.map(figure).join(" and ");
  const text = `leader ${figure(leader)} us, followers ${followers} us, client ${figure(client)} us`;
  add(`processor time per transaction: ${what}`, "", text, { leader, client });
  return result;
}

async function transfers(target: Target, sizes: Sizes): Promise<void> {
  const lists = signLists(target.accounts, BATCH_CONNECTIONS, sizes.batched, transferCall);
  const what = `value transfers, batches of ${BATCH}, ${BATCH_CONNECTIONS} connections, committed on all 3`;
  const result = await accounted(target, `batches of ${BATCH}`, () => load(target, lists, BATCH));
  add(what, ">= 2,000 tx/s, p50 <= 250 ms", loadText(result), loadValues(result));
}

async function single(target: Target, sizes: Sizes): Promise<void> {
  const signed = signLists(target.accounts.slice(0, 1), 1, sizes.single, transferCall);
  const latency = latencyOf(await sendUntilReceipt(target.network.endpoints[target.leader]!, signed[0]!));
  add("one transfer at a time, 1 idle connection, sent to receipt", "p50 <= 10 ms", latencyText(latency), {
    ...latency,
  });
}

async function connections(target: Target, sizes: Sizes, what: string, goal: string): Promise<void> {
  const lists = signLists(target.accounts, SINGLE_CONNECTIONS, sizes.connections, transferCall);
  const result = await accounted(target, what, () => load(target, lists, 1));
  const answered = `answered after ${latencyText(result.answerLatency)}`;
  add(what, goal, `${figure(result.committedPerSecond)} tx/s; ${answered}`, loadValues(result));
}

async function reads(target: Target, sizes: Sizes): Promise<void> {
  const endpoint = target.network.endpoints[target.leader]!;
  const address = hex(target.accounts[0]!.address);
  for (const [method, parameters] of [
    ["eth_blockNumber", []],
    ["eth_getBalance", [address, "latest"]],
  ] as const) {
    const request = postRequest(endpoint.path, rpcCall(method, parameters));
    const perSecond = await readRate(endpoint, request, SINGLE_CONNECTIONS, sizes.readMs);
    const goal = method === "eth_blockNumber" ? "(anvil 3,700-5,400/s)" : "";
    add(`${method}, ${SINGLE_CONNECTIONS} connections`, goal, `${figure(perSecond)}/s`, { perSecond });
  }
}

async function tokens(target: Target, sizes: Sizes): Promise<void> {
  const connection = await Connection.open(target.network.endpoints[target.leader]!);
  const contracts = await deployContracts(connection, target.accounts, GENERATED_CHAIN_ID);
  connection.close();
  const call = (to: Account): Call => tokenCall(contracts, to);
  const result = await load(target, signLists(target.accounts, BATCH_CONNECTIONS, sizes.batched / 4, call), BATCH);
  add(`ERC-20 transfers, batches of ${BATCH}, committed on all 3`, "", loadText(result), loadValues(result));
}

/** What one level of worker did under load. */
interface LevelResult {
  readonly perSecond: number;
  readonly latency: Latency;
  readonly single: Latency;
  /** Processor time per transaction of all nodes with their workers, in microseconds. */
  readonly costUs: number;
}

/** Both levels of worker under the same load, twice each in turn, so that a machine that slows down slows both. */
async function levels(sizes: Sizes): Promise<void> {
  const measured: Record<WorkerLevel, LevelResult[]> = { process: [], thread: [] };
  for (const level of ["thread", "process", "process", "thread"] as const) {
    const target = await startTarget("execution", { workers: level });
    try {
      await load(target, signLists(target.accounts, BATCH_CONNECTIONS, sizes.warmUp, transferCall), BATCH);
      const lists = signLists(target.accounts, BATCH_CONNECTIONS, sizes.batched, transferCall);
      const cost = () => (processorTimesMs(target.network.pids) ?? []).reduce((sum, time) => sum + time, 0);
      const before = cost();
      const { committedPerSecond: perSecond, commitLatency: latency, transactions } = await load(target, lists, BATCH);
      const costUs = ((cost() - before) * 1000) / transactions;
      const one = signLists(target.accounts.slice(0, 1), 1, sizes.single, transferCall);
      const single = latencyOf(await sendUntilReceipt(target.network.endpoints[target.leader]!, one[0]!));
      measured[level].push({ perSecond, latency, single, costUs });
    } finally {
      await target.network.stop();
    }
  }
  const mean = (level: WorkerLevel) => measured[level].reduce((sum, { perSecond }) => sum + perSecond, 0) / 2;
  const meanCost = (level: WorkerLevel) => measured[level].reduce((sum, { costUs }) => sum + costUs, 0) / 2;
  for (const level of WORKER_LEVELS) {
    const share = (100 * mean(level)) / mean("thread");
    const text = measured[level].map(({ perSecond, latency }) => `${figure(perSecond)} tx/s, ${latencyText(latency)}`);
    const goal = level === "process" ? ">= 85 % of a thread's tx/s" : "";
    const ones = measured[level].map(({ single }) => latencyText(single)).join("; ");
    const measuredText = `${text.join("; ")}; ${figure(share)} %; all nodes ${figure(meanCost(level))} us per transaction`;
    add(`workers as ${level}: batches of ${BATCH}, committed on all 3`, goal, measuredText, {
      perSecond: mean(level),
      share,
      costUs: meanCost(level),
    });
    add(`workers as ${level}: one transfer at a time, sent to receipt`, "", ones);
  }
}

async function durable(sizes: Sizes): Promise<void> {
  const target = await startTarget("commit");
  try {
    await load(target, signLists(target.accounts, SINGLE_CONNECTIONS, sizes.connections / 5, transferCall), 1);
    const what = `single transfers, ${SINGLE_CONNECTIONS} connections, answered after commit`;
    await connections(target, sizes, what, "(PostgreSQL 8,800/s, etcd 5,900/s)");
  } finally {
    await target.network.stop();
  }
}

async function blocks(sizes: Sizes): Promise<void> {
  const files = findBlockFiles(undefined).slice(0, sizes.blocks);
  const what = `real mainnet blocks (${files.length}), batches of ${BATCH}, committed on all 3`;
  if (files.length === 0) {
    add(what, "", "no blocks found (COCO_VECTORS)");
    return;
  }
  const network = await startNetwork({ ethereum: REPLAY_OPTIONS });
  try {
    const target = await network.leader();
    const replay = await Replay.open(network.endpoints, { target, checker: (target + 1) % 3 }, { batch: BATCH });
    const results = [];
    for (const file of files) results.push(await replay.block(readBlockFile(file)));
    await replay.close();
    const totals = totalsOf(results);
    const { committedPerSecond: perSecond, millionGasPerSecond } = totals;
    const wrong = results.filter((block) => !block.gasUsedMatches || !block.receiptsRootMatches).length;
    const text = `${figure(perSecond)} tx/s, ${figure(millionGasPerSecond)} Mgas/s, ${latencyText(totals.latencyMs)}`;
    add(what, "", wrong === 0 ? text : `${text}; ${wrong} BLOCKS DIFFER`, {
      perSecond,
      millionGasPerSecond,
      ...totals.latencyMs,
    });
    if (wrong > 0) process.exitCode = 1;
  } finally {
    await network.stop();
  }
}

async function anvil(sizes: Sizes): Promise<void> {
  if (!hasAnvil()) {
    add("anvil 1.7.1", "", "not available here");
    return;
  }
  const accounts = makeAccounts(ACCOUNTS);
  const running = await startAnvil(accounts, GENERATED_CHAIN_ID, ANVIL_INTERVAL_SECONDS);
  const run = (count: number, lists: number, batch: number) =>
    runAnvilLoad(running, requestsOf(running.endpoint.path, signLists(accounts, lists, count, transferCall), batch));
  try {
    await run(sizes.warmUp / 2, BATCH_CONNECTIONS, BATCH);
    const batched = await run(sizes.batched / 2, BATCH_CONNECTIONS, BATCH);
    addAnvil(`anvil: value transfers, batches of ${BATCH}, ${BATCH_CONNECTIONS} connections, mined`, batched);
    const concurrent = await run(sizes.connections, SINGLE_CONNECTIONS, 1);
    addAnvil(`anvil: single transfers, ${SINGLE_CONNECTIONS} connections, mined`, concurrent);
  } finally {
    running.stop();
  }
  await anvilSingle(sizes);
}

function addAnvil(what: string, { minedPerSecond, answerLatency }: AnvilResult): void {
  const text = `${figure(minedPerSecond)} tx/s; answered after ${latencyText(answerLatency)}`;
  add(what, "", text, { perSecond: minedPerSecond, answerP50: answerLatency.p50 });
}

async function anvilSingle(sizes: Sizes): Promise<void> {
  const accounts = makeAccounts(1);
  const running = await startAnvil(accounts, GENERATED_CHAIN_ID);
  try {
    const signed = signLists(accounts, 1, sizes.single, transferCall);
    const latency = latencyOf(await sendUntilReceipt(running.endpoint, signed[0]!));
    add("anvil: one transfer at a time, sent to receipt", "", latencyText(latency), { ...latency });
  } finally {
    running.stop();
  }
}

/** The measurements that share one network. */
async function onNetwork(wanted: ReadonlySet<Section>, sizes: Sizes, profileDir: string | undefined): Promise<void> {
  const shared: readonly Section[] = ["transfers", "single", "connections", "reads", "tokens"];
  if (!shared.some((section) => wanted.has(section))) return;
  const target = await startTarget("execution", { profileDir });
  if (profileDir !== undefined) say(`node${target.leader} leads; profiles of all threads are written to ${profileDir}`);
  try {
    await load(target, signLists(target.accounts, BATCH_CONNECTIONS, sizes.warmUp, transferCall), BATCH);
    if (wanted.has("transfers")) await transfers(target, sizes);
    if (wanted.has("single")) await single(target, sizes);
    const what = `single transfers, ${SINGLE_CONNECTIONS} connections, answered after execution`;
    if (wanted.has("connections")) await connections(target, sizes, what, "");
    if (wanted.has("reads")) await reads(target, sizes);
    if (wanted.has("tokens")) await tokens(target, sizes);
  } finally {
    await target.network.stop();
  }
}

const CONTEXT = [
  "For scale, measured elsewhere on a machine of this size (2 cores shared with the client, three replicas, TLS, one",
  "durable replicated write per request): PostgreSQL 15 with a synchronous standby 8,800/s at 50 connections and 0.83 ms",
  "at one; etcd 3.4 5,900/s at 100 connections and 1.3 ms at one. anvil neither replicates nor writes to disk.",
];

const OPTIONS = {
  quick: { type: "boolean", default: false, help: "show within a minute that every measurement works" },
  only: { type: "string", value: "NAME", help: `one part: ${SECTIONS.join(", ")}` },
  profile: { type: "string", value: "DIR", help: "folder for CPU profiles of the nodes that are loaded" },
  json: { type: "boolean", default: false, help: "one JSON object as the last line" },
} as const;

const readOptions = () =>
  readArguments("run bench", OPTIONS, ({ quick, json, profile, only }) => {
    const wanted = new Set<Section>(only === undefined ? SECTIONS : [oneOf(SECTIONS, "only", only)]);
    return { quick, json, profile, wanted };
  });

async function main(): Promise<void> {
  const { quick, json, profile, wanted } = readOptions();
  const sizes = quick ? QUICK : FULL;
  const diskMs = measureDisk();
  await onNetwork(wanted, sizes, profile);
  if (wanted.has("levels")) await levels(sizes);
  if (wanted.has("durable")) await durable(sizes);
  if (wanted.has("blocks")) await blocks(sizes);
  if (wanted.has("anvil")) await anvil(sizes);
  const { model } = cpus()[0] ?? { model: "unknown processor" };
  say(
    `${cpus().length} x ${model}, Node ${process.version}; fdatasync of 4 KiB p50 ${figure(diskMs)} ms${quick ? "; quick run" : ""}`,
  );
  say(
    renderTable([
      ["what", "figure to reach", "measured"],
      ...rows.map(({ what, goal, measured }) => [what, goal, measured]),
    ]),
  );
  for (const line of CONTEXT) say(line);
  if (json) say(JSON.stringify({ quick, fdatasyncMs: diskMs, rows }));
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
try {
  await main();
} catch (error) {
  if (!(error instanceof Error)) throw error;
  process.stderr.write(`${error instanceof CocoError ? `${error.code}: ` : ""}${error.message}\n`);
  process.exit(1);
}
