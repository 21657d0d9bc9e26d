/**
 * Fees: what a transaction pays for a unit of gas and how the base fees move from block to block.
 * Source: EIP-1559 (base fee, priority fee) and EIP-4844 (blob base fee, `fake_exponential`). All amounts are wei.
 */
import { blobParameters, isAtLeast } from "./forks.ts";
import type { BlockEnvironment, BlockHeader, HardforkName, SignedTransaction } from "./types.ts";

/** A block's gas target is its limit divided by this (EIP-1559). */
export const ELASTICITY_MULTIPLIER = 2;

const BASE_FEE_CHANGE_DENOMINATOR = 8n;

/** Base fee of the block after `parent`; `initialBaseFee` when the parent is older than London. */
export function nextBaseFee(parent: BlockHeader, initialBaseFee: bigint): bigint {
  if (parent.baseFeePerGas === undefined) return initialBaseFee;
  const target = BigInt(Math.floor(parent.gasLimit / ELASTICITY_MULTIPLIER));
  const used = BigInt(parent.gasUsed);
  const base = parent.baseFeePerGas;
  if (used === target || target === 0n) return base;
  if (used > target) {
    const rise = (base * (used - target)) / target / BASE_FEE_CHANGE_DENOMINATOR;
    return base + (rise > 0n ? rise : 1n);
  }
  const fall = (base * (target - used)) / target / BASE_FEE_CHANGE_DENOMINATOR;
  return base > fall ? base - fall : 0n;
}

/** Highest price per unit of gas the transaction agrees to. */
export function feeCap(transaction: SignedTransaction): bigint {
  return transaction.maxFeePerGas ?? transaction.gasPrice ?? 0n;
}

/** Highest price per unit of gas the transaction gives to the block's author. */
export function tipCap(transaction: SignedTransaction): bigint {
  return transaction.maxPriorityFeePerGas ?? transaction.gasPrice ?? 0n;
}

/** Price per unit of gas the transaction pays in a block with this base fee. */
export function effectiveGasPrice(transaction: SignedTransaction, baseFee: bigint): bigint {
  if (transaction.maxFeePerGas === undefined) return transaction.gasPrice ?? 0n;
  const wanted = baseFee + tipCap(transaction);
  return wanted < transaction.maxFeePerGas ? wanted : transaction.maxFeePerGas;
}

/** Approximates `factor * e ** (numerator / denominator)` with a Taylor series (EIP-4844). */
function fakeExponential(factor: bigint, numerator: bigint, denominator: bigint): bigint {
  let output = 0n;
  let term = factor * denominator;
  for (let index = 1n; term > 0n; index++) {
    output += term;
    term = (term * numerator) / (denominator * index);
  }
  return output / denominator;
}

/** Largest excess blob gas the fee is computed for; above it the fee would take unbounded time and nobody could pay it. */
export const MAXIMUM_EXCESS_BLOB_GAS = 1_000_000_000;

/** Price per unit of blob gas, or undefined before Cancun. */
export function blobBaseFee(environment: BlockEnvironment): bigint | undefined {
  if (!isAtLeast(environment.hardfork, "cancun")) return undefined;
  return blobBaseFeeOf(environment.hardfork, environment.excessBlobGas ?? 0);
}

/** Price per unit of blob gas under the rules of `hardfork` (Cancun or later) after `excessBlobGas`. */
export function blobBaseFeeOf(hardfork: HardforkName, excessBlobGas: number): bigint {
  const excess = BigInt(Math.min(excessBlobGas, MAXIMUM_EXCESS_BLOB_GAS));
  return fakeExponential(1n, excess, blobParameters(hardfork).updateFraction);
}
