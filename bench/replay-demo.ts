/**
 * `npm run demo:replay [-- --data DIR --batch 100 --json]`: real Ethereum blocks on a fresh network of three validating
 * nodes. Every block must give the gas and the receipts root it has on the public network; exits 1 when one does not.
 * Without blocks a generated load takes their place, and the receipts of all nodes are compared instead.
 */
import { CocoError } from "../src/errors.ts";
import { numberFrom, readArguments } from "../tools/arguments.ts";
import { GENERATED_CHAIN_ID, generatedAccounts, runGenerated } from "./lib/generated-load.ts";
import { findBlockFiles, readBlockFile } from "../test/support/mainnet-block.ts";
import { type BenchNetwork, startNetwork } from "./lib/network.ts";
import { type BlockResult, REPLAY_OPTIONS, Replay, type ReplayTotals, totalsOf } from "./lib/replay.ts";
import { figure, latencyOf, latencyText } from "./lib/statistics.ts";
import { renderTable } from "./lib/table.ts";
import { allocOf } from "./lib/wallet.ts";

const GENERATED_TRANSACTIONS = 3_000;
/** Most transactions in a batch; a node takes no larger one. */
const BATCH_MAX = 1_000;

const OPTIONS = {
  data: {
    type: "string",
    value: "DIR",
    help: "folder of blocks <number>.json.gz (default: COCO_VECTORS, then ../shared/vectors)",
  },
  batch: {
    type: "string",
    value: "N",
    default: "100",
    help: `transactions in a JSON-RPC batch, 1 to ${BATCH_MAX}`,
  },
  json: { type: "boolean", default: false, help: "one JSON object as the last line" },
} as const;

interface Options {
  readonly data: string | undefined;
  readonly batch: number;
  readonly json: boolean;
}

interface DemoResult {
  readonly blocks: readonly BlockResult[];
  readonly totals: ReplayTotals;
  readonly matches: boolean;
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** One line on a terminal that is written over again and again; nothing elsewhere. */
class Speedometer {
  readonly #startedMs = performance.now();
  #before = 0;

  /** Shows how far a part has come; parts before it are counted by {@link part}. */
  show(what: string, answered: number, of: number): void {
    if (!process.stderr.isTTY) return;
    const rate = ((this.#before + answered) * 1000) / (performance.now() - this.#startedMs);
    process.stderr.write(`\r\x1b[2K${what}: ${answered} of ${of} transactions, ${figure(rate)} per second so far`);
  }

  /** A part is done. */
  part(transactions: number): void {
    this.#before += transactions;
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[2K");
  }
}

const readOptions = (): Options =>
  readArguments("run demo:replay", OPTIONS, ({ data, batch: text, json }) => {
    const batch = numberFrom(1, "batch", text);
    if (batch > BATCH_MAX) throw new CocoError("WrongUsage", `--batch ${text}: a batch holds ${BATCH_MAX} at most`);
    return { data, batch, json };
  });

/** A node other than this one. */
const followerOf = (network: BenchNetwork, leader: number): number => (leader + 1) % network.endpoints.length;

async function replayBlocks(files: readonly string[], { batch }: Options): Promise<DemoResult> {
  say(`Replaying ${files.length} blocks of the public Ethereum network on 3 validating nodes (chain id 1).`);
  const network = await startNetwork({ ethereum: REPLAY_OPTIONS });
  const speedometer = new Speedometer();
  const blocks: BlockResult[] = [];
  try {
    const target = await network.leader();
    const roles = { target, checker: followerOf(network, target) };
    const onProgress = (block: number, answered: number, of: number) =>
      speedometer.show(`block ${block}`, answered, of);
    const replay = await Replay.open(network.endpoints, roles, { batch, onProgress });
    say(
      `node${roles.target} leads and takes the transactions; receipts are compared on node${roles.checker}, a follower.`,
    );
    for (const file of files) {
      const result = await replay.block(readBlockFile(file));
      speedometer.part(result.transactions);
      blocks.push(result);
    }
    await replay.close();
  } finally {
    await network.stop();
  }
  const matches = blocks.every(({ gasUsedMatches, receiptsRootMatches }) => gasUsedMatches && receiptsRootMatches);
  return { blocks, totals: totalsOf(blocks), matches };
}

async function replayGenerated({ batch }: Options): Promise<DemoResult> {
  say("No blocks of the public network found (--data, COCO_VECTORS, ../shared/vectors).");
  say("Instead a generated load: value transfers, ERC-20 transfers and swaps in a pool, a third each, by 100 senders.");
  const ethereum = { chainId: GENERATED_CHAIN_ID, alloc: allocOf(generatedAccounts()) };
  const network = await startNetwork({ ethereum });
  const speedometer = new Speedometer();
  try {
    const result = await runGenerated(network, await network.leader(), {
      count: GENERATED_TRANSACTIONS,
      batch,
      onProgress: (answered, of) => speedometer.show("generated load", answered, of),
    });
    speedometer.part(result.load.transactions);
    const { load, gasUsed, failed, sameOnAllNodes } = result;
    say(`failed transactions: ${failed}; receipts ${sameOnAllNodes ? "identical" : "DIFFERENT"} on all nodes`);
    const totals = {
      transactions: load.transactions,
      committedPerSecond: load.committedPerSecond,
      millionGasPerSecond: (gasUsed * 1000) / 1e6 / load.durationMs,
      latencyMs: latencyOf(load.commitLatenciesMs),
    };
    return { blocks: [], totals, matches: failed === 0 && sameOnAllNodes };
  } finally {
    await network.stop();
  }
}

const verdict = (matches: boolean): string => (matches ? "matches" : "DIFFERS");

function report({ blocks, totals, matches }: DemoResult): void {
  if (blocks.length > 0) {
    const rows = blocks.map((block) => [
      String(block.number),
      String(block.transactions),
      figure((block.transactions * 1000) / block.durationMs),
      figure((block.gasUsed * 1000) / 1e6 / block.durationMs),
      latencyText(latencyOf(block.latenciesMs)),
      verdict(block.gasUsedMatches),
      verdict(block.receiptsRootMatches),
    ]);
    say(renderTable([["block", "transactions", "tx/s", "Mgas/s", "latency", "gasUsed", "receiptsRoot"], ...rows]));
  }
  say("");
  say(`transactions                 ${totals.transactions}`);
  say(
    `committed on all nodes       ${figure(totals.committedPerSecond)} per second, ${figure(totals.millionGasPerSecond)} Mgas/s`,
  );
  say(`latency, sent to that commit ${latencyText(totals.latencyMs)}`);
  if (blocks.length > 0) {
    const all = matches ? "all blocks give" : "NOT all blocks give";
    say(`real chain                   ${all} the gas and the receipts root they have on the public network`);
  }
}

function toJson({ blocks, totals }: DemoResult): string {
  const rounded = (value: number): number => Math.round(value * 100) / 100;
  const { p50, p99 } = totals.latencyMs;
  return JSON.stringify({
    blocks: blocks.map(({ number, transactions, gasUsedMatches, receiptsRootMatches }) => {
      return { number, transactions, gasUsedMatches, receiptsRootMatches };
    }),
    transactions: totals.transactions,
    committedPerSecond: rounded(totals.committedPerSecond),
    latencyMs: { p50: rounded(p50), p99: rounded(p99) },
  });
}

async function main(): Promise<void> {
  const options = readOptions();
  const files = findBlockFiles(options.data);
  const result = files.length > 0 ? await replayBlocks(files, options) : await replayGenerated(options);
  report(result);
  if (options.json) say(toJson(result));
  if (!result.matches) process.exitCode = 1;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
try {
  await main();
} catch (error) {
  if (!(error instanceof Error)) throw error;
  process.stderr.write(`${error instanceof CocoError ? `${error.code}: ` : ""}${error.message}\n`);
  process.exit(1);
}
