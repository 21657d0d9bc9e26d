/**
 * Test support: real blocks of the public network are executed through the adapter's execution half, and must give the gas and
 * receipts they had.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { type Bytes, EMPTY, toHex } from "../../core/codec/bytes.ts";
import { transactionsOfBlock } from "./chain.ts";
import { readBlock, readHead } from "./block.ts";
import { receiptsRootOf } from "./header.ts";
import { encodeReplayEnvironment, encodeReplayState, parseReplayEnvironment } from "./replay.ts";
import { rawOfJson } from "./test-json.ts";
import { prepareAll, TestNetwork } from "./test-state.ts";
import { hexBytes, type JsonBlock, missing } from "./test-vectors.ts";
import type { HardforkName, Receipt } from "./types.ts";

const BATCH_SIZE = 100;

interface MainnetBlock {
  readonly block: JsonBlock;
  readonly preState: Readonly<
    Record<
      string,
      {
        readonly balance: string;
        readonly nonce: number;
        readonly code_hash?: string;
        readonly storage: Record<string, string>;
      }
    >
  >;
  readonly codes: Readonly<Record<string, string>>;
  readonly blockHashes: Readonly<Record<string, string>>;
}

function word(text: string): Bytes {
  const bytes = hexBytes(text);
  const padded = new Uint8Array(32);
  padded.set(bytes, 32 - bytes.length);
  return padded;
}

function hardforkOf(number: number): HardforkName {
  if (number >= 19_426_587) return "cancun";
  if (number >= 17_034_870) return "shanghai";
  if (number >= 15_537_394) return "paris";
  if (number >= 15_050_000) return "grayGlacier";
  return number >= 13_773_000 ? "arrowGlacier" : "london";
}

function setUp({ block, preState, codes, blockHashes }: MainnetBlock): Bytes[] {
  const accounts = Object.entries(preState).map(([address, account]) => ({
    address: hexBytes(address),
    reset: true,
    nonce: account.nonce,
    balance: BigInt(account.balance),
    code: account.code_hash === undefined ? EMPTY : hexBytes(codes[account.code_hash] ?? "0x"),
    storage: Object.entries(account.storage).map(([slot, value]) => ({ slot: word(slot), value: word(value) })),
  }));
  const environment = parseReplayEnvironment({
    hardfork: hardforkOf(Number(block["number"])),
    number: block["number"],
    timestamp: block["timestamp"],
    coinbase: block["miner"],
    gasLimit: block["gasLimit"],
    difficulty: block["difficulty"],
    prevRandao: block["mixHash"],
    baseFeePerGas: block["baseFeePerGas"],
    excessBlobGas: block["excessBlobGas"],
    parentBeaconBlockRoot: block["parentBeaconBlockRoot"],
    blockHashes,
  });
  const chunks: Bytes[] = [];
  for (let at = 0; at < accounts.length; at += 200) chunks.push(encodeReplayState(accounts.slice(at, at + 200)));
  return [...chunks, encodeReplayEnvironment(environment)];
}

/** Receipts of the network's own blocks after `head`, with the gas counted over the real block. */
function receiptsAfter(network: TestNetwork, head: number): Receipt[] {
  const receipts: Receipt[] = [];
  let gasUsed = 0;
  for (let number = head + 1; readBlock(network.state, number) !== undefined; number++) {
    for (const { receipt } of transactionsOfBlock(network.state, number)) {
      gasUsed += receipt.gasUsed;
      receipts.push({ ...receipt, cumulativeGasUsed: gasUsed });
    }
  }
  return receipts;
}

const folder = join(process.env["COCO_VECTORS"] ?? resolve("../shared/vectors"), "ethereum", "mainnet");

/** The files of the blocks at hand, each named by the number of its block. */
export function mainnetBlockFiles(): readonly string[] {
  if (missing("mainnet") !== false) return [];
  const names = readdirSync(folder).filter((name) => name.endsWith(".json.gz"));
  return names.sort();
}

/** The blocks by the rules they were executed under. */
export function ruleSets(names: readonly string[]): readonly (readonly string[])[] {
  const sets = new Map<HardforkName, string[]>();
  for (const name of names) {
    const hardfork = hardforkOf(Number(name.split(".")[0]));
    sets.set(hardfork, [...(sets.get(hardfork) ?? []), name]);
  }
  return [...sets.values()];
}

/** Defines a test for each block: it gives its gas and its receipts root. */
export function replayBlocks(names: readonly string[]): void {
  const network = new TestNetwork({ chainId: 1, replay: true, blockGasLimit: 60_000_000 });
  for (const name of names) {
    test(`block ${name.split(".")[0]} gives its gas and its receipts root`, async (context) => {
      const vector = JSON.parse(gunzipSync(readFileSync(join(folder, name))).toString("utf8")) as MainnetBlock;
      const head = readHead(network.state);
      const prepared = await network.run(prepareAll(setUp(vector)));
      assert.ok(prepared.every((outcome) => outcome.type === "included"));
      assert.equal(readHead(network.state), head, "setting up a replay must not make a block");
      const transactions = prepareAll(vector.block.transactions.map(rawOfJson));
      const start = performance.now();
      for (let at = 0; at < transactions.length; at += BATCH_SIZE) {
        const outcomes = await network.run(transactions.slice(at, at + BATCH_SIZE));
        for (const outcome of outcomes) {
          assert.equal(
            outcome.type,
            "included",
            outcome.type === "rejected" ? Buffer.from(outcome.error).toString() : outcome.type,
          );
        }
      }
      context.diagnostic(
        `${transactions.length} transactions, ${Math.round((transactions.length * 1000) / (performance.now() - start))}/s`,
      );
      const receipts = receiptsAfter(network, head);
      assert.equal(receipts.at(-1)?.cumulativeGasUsed, Number(vector.block["gasUsed"]));
      assert.equal(`0x${toHex(receiptsRootOf(receipts))}`, vector.block["receiptsRoot"]);
    });
  }
}
