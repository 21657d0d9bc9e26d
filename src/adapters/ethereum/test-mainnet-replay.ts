/**
 * Test support: real blocks of the public network are executed through the adapter's execution half, and must give the gas and
 * receipts they had.
 */
import assert from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import {
  environmentOf,
  findBlockFiles,
  type MainnetBlock,
  readBlockFile,
  rulesOf,
} from "../../../test/support/mainnet-block.ts";
import { type Bytes, EMPTY, toHex } from "../../core/codec/bytes.ts";
import { transactionsOfBlock } from "./chain.ts";
import { readBlock, readHead } from "./block.ts";
import { receiptsRootOf } from "./header.ts";
import { encodeReplayEnvironment, encodeReplayState, parseReplayEnvironment } from "./replay.ts";
import { rawOfJson } from "./test-json.ts";
import { prepareAll, TestNetwork } from "./test-state.ts";
import { hexBytes } from "./test-vectors.ts";
import type { HardforkName, Receipt } from "./types.ts";

const BATCH_SIZE = 100;

function word(text: string): Bytes {
  const bytes = hexBytes(text);
  const padded = new Uint8Array(32);
  padded.set(bytes, 32 - bytes.length);
  return padded;
}

function setUp(content: MainnetBlock): Bytes[] {
  const accounts = Object.entries(content.preState).map(([address, account]) => ({
    address: hexBytes(address),
    reset: true,
    nonce: account.nonce,
    balance: BigInt(account.balance),
    code: account.code_hash == null ? EMPTY : hexBytes(content.codes[account.code_hash] ?? "0x"),
    storage: Object.entries(account.storage ?? {}).map(([slot, value]) => ({ slot: word(slot), value: word(value) })),
  }));
  const environment = parseReplayEnvironment(environmentOf(content));
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

/** The files of the blocks at hand by the rules they were executed under. */
export function filesByRules(): readonly (readonly string[])[] {
  const sets = new Map<HardforkName, string[]>();
  for (const file of findBlockFiles(undefined)) {
    const hardfork = rulesOf(readBlockFile(file));
    sets.set(hardfork, [...(sets.get(hardfork) ?? []), file]);
  }
  return [...sets.values()];
}

/** Defines a test for each block: it gives its gas and its receipts root. */
export function replayBlocks(files: readonly string[]): void {
  const network = new TestNetwork({ chainId: 1, replay: true, blockGasLimit: 60_000_000 });
  for (const file of files) {
    test(`block ${basename(file, ".json.gz")} gives its gas and its receipts root`, async (context) => {
      const vector = readBlockFile(file);
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
