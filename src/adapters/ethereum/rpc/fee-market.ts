/**
 * What a client should offer for gas, and what others paid.
 *
 * Transactions run in the order they arrive; a tip buys no place. The suggested tip is therefore a constant, zero where
 * gas is free (so that accounts without balance can transact) and otherwise {@link SUGGESTED_TIP}: a legacy transaction
 * that offers `eth_gasPrice` then stays valid while the base fee of an idle network (a few wei) climbs back.
 * Source: EIP-1559, EIP-4844, go-ethereum `eth/gasprice/feehistory.go` (percentiles by gas, limits, error words).
 */
import type { RequestViews, StateReader } from "../../adapter.ts";
import { readHead, readHeadBlock } from "../block.ts";
import { blockByNumber, transactionsOfBlock } from "../chain.ts";
import { blobBaseFeeOf, nextBaseFee } from "../fees.ts";
import { isAtLeast } from "../forks.ts";
import type { BlockHeader, BlockRecord, EthereumOptions } from "../types.ts";
import type { BlockReference } from "./decode.ts";
import { type JsonObject, quantity } from "./encode.ts";
import { serverError } from "./fault.ts";
import { needsPending, pendingState, resolveNumber } from "./views.ts";

/** Suggested priority fee per gas in wei where gas is not free: 1 gwei. */
export const SUGGESTED_TIP = 1_000_000_000n;
/** Most blocks one fee history covers. */
export const MAX_FEE_HISTORY_BLOCKS = 1024;
/** Most percentiles of one fee history. */
export const MAX_FEE_HISTORY_PERCENTILES = 100;
/** A fee history with percentiles ends at the block that brings the transactions read to this many. */
export const MAX_FEE_HISTORY_TRANSACTIONS = 20_000;

/** What the fee rules need of the adapter's options. */
export type FeeOptions = Pick<EthereumOptions, "hardfork" | "initialBaseFee">;

/** What a client asks a fee history for. */
export interface FeeHistoryQuery {
  readonly blockCount: number;
  readonly newest: BlockReference;
  readonly percentiles: readonly number[];
}

/** Base fee of the block after the newest one in wei; zero before London. */
export function baseFeeAfter(header: BlockHeader, options: FeeOptions): bigint {
  return isAtLeast(options.hardfork, "london") ? nextBaseFee(header, options.initialBaseFee) : 0n;
}

/** The suggested priority fee per gas in wei. */
export function suggestedTip(state: StateReader, options: FeeOptions): bigint {
  return baseFeeAfter(readHeadBlock(state).header, options) === 0n ? 0n : SUGGESTED_TIP;
}

/** The suggested price per gas in wei for a transaction without fee market fields. */
export function suggestedGasPrice(state: StateReader, options: FeeOptions): bigint {
  return baseFeeAfter(readHeadBlock(state).header, options) + suggestedTip(state, options);
}

/** Target and maximum of blob gas per block (EIP-4844, EIP-7691). */
function blobGasLimits(options: FeeOptions): { readonly target: number; readonly maximum: number } {
  const [target, maximum] = isAtLeast(options.hardfork, "prague") ? [6, 9] : [3, 6];
  return { target: target * 131_072, maximum: maximum * 131_072 };
}

/** Price per blob gas in the block after this one in wei; undefined before Cancun. */
export function blobBaseFeeAfter(header: BlockHeader, options: FeeOptions): bigint | undefined {
  if (header.excessBlobGas === undefined) return undefined;
  const excess = header.excessBlobGas + (header.blobGasUsed ?? 0) - blobGasLimits(options).target;
  return blobBaseFeeOf(options.hardfork, Math.max(0, excess));
}

function blobBaseFeeOfBlock(header: BlockHeader, options: FeeOptions): bigint {
  return header.excessBlobGas === undefined ? 0n : blobBaseFeeOf(options.hardfork, header.excessBlobGas);
}

function checkPercentiles(percentiles: readonly number[]): void {
  if (percentiles.length > MAX_FEE_HISTORY_PERCENTILES) {
    throw serverError(`invalid reward percentile: over the query limit ${MAX_FEE_HISTORY_PERCENTILES}`);
  }
  for (const [index, percentile] of percentiles.entries()) {
    if (!(percentile >= 0 && percentile <= 100))
      throw serverError(`invalid reward percentile: ${percentile.toFixed(6)}`);
    const previous = percentiles[index - 1];
    if (previous !== undefined && percentile <= previous) {
      const pair = `#${index - 1}:${previous.toFixed(6)} >= #${index}:${percentile.toFixed(6)}`;
      throw serverError(`invalid reward percentile: ${pair}`);
    }
  }
}

/** The blocks of a fee history, oldest first; fewer than asked for where the chain or the limits end. */
function selectBlocks(state: StateReader, newest: number, query: FeeHistoryQuery): readonly BlockRecord[] {
  const blocks: BlockRecord[] = [];
  let transactions = 0;
  const count = Math.min(query.blockCount, MAX_FEE_HISTORY_BLOCKS);
  for (let number = newest; number >= 0 && blocks.length < count; number--) {
    const block = blockByNumber(state, number);
    if (block === undefined) break;
    transactions += block.transactionHashes.length;
    if (query.percentiles.length > 0 && transactions > MAX_FEE_HISTORY_TRANSACTIONS && blocks.length > 0) break;
    blocks.push(block);
  }
  return blocks.reverse();
}

/** Priority fees per gas at the percentiles of the block's gas, cheapest transaction first. */
function rewards(state: StateReader, block: BlockRecord, percentiles: readonly number[]): readonly bigint[] {
  const baseFee = block.header.baseFeePerGas ?? 0n;
  const paid = Array.from(transactionsOfBlock(state, block.header.number), ({ receipt }) => ({
    gasUsed: receipt.gasUsed,
    tip: receipt.effectiveGasPrice - baseFee,
  })).sort((left, right) => (left.tip < right.tip ? -1 : left.tip > right.tip ? 1 : 0));
  let at = 0;
  let gas = paid[0]?.gasUsed ?? 0;
  return percentiles.map((percentile) => {
    const threshold = Math.floor((block.header.gasUsed * percentile) / 100);
    while (gas < threshold && at < paid.length - 1) gas += paid[++at]?.gasUsed ?? 0;
    return paid[at]?.tip ?? 0n;
  });
}

/** The fee history object. Throws for percentiles out of order and a newest block beyond the head. */
export function feeHistory(views: RequestViews, query: FeeHistoryQuery, options: FeeOptions): JsonObject {
  checkPercentiles(query.percentiles);
  const state = needsPending(query.newest) ? pendingState(views) : views.committed;
  const head = readHead(state);
  const newest = resolveNumber(views, query.newest) ?? 0;
  if (newest > head) throw serverError(`request beyond head block: requested ${newest}, head ${head}`);
  const blocks = selectBlocks(state, newest, query);
  const last = blocks.at(-1)?.header;
  if (last === undefined) return { oldestBlock: "0x0", baseFeePerGas: [], gasUsedRatio: [] };
  const { maximum } = blobGasLimits(options);
  const headers = blocks.map((block) => block.header);
  const history = {
    oldestBlock: quantity((headers[0] as BlockHeader).number),
    baseFeePerGas: [...headers.map((header) => header.baseFeePerGas ?? 0n), baseFeeAfter(last, options)].map(quantity),
    gasUsedRatio: headers.map((header) => (header.gasLimit === 0 ? 0 : header.gasUsed / header.gasLimit)),
    baseFeePerBlobGas: [
      ...headers.map((header) => blobBaseFeeOfBlock(header, options)),
      blobBaseFeeAfter(last, options) ?? 0n,
    ].map(quantity),
    blobGasUsedRatio: headers.map((header) => (header.blobGasUsed ?? 0) / maximum),
  };
  if (query.percentiles.length === 0) return history;
  return { ...history, reward: blocks.map((block) => rewards(state, block, query.percentiles).map(quantity)) };
}
