/**
 * The order of Ethereum's hard forks and the numbers that change with them: refund quotient, blob fee parameters, limits.
 * Source: the EIPs named beside each value. One table answers "is this rule in force?" so that no other file compares names.
 */
import type { HardforkName } from "./types.ts";

/** Hard forks in the order of their activation. */
export const HARDFORKS: readonly HardforkName[] = [
  "chainstart",
  "homestead",
  "tangerineWhistle",
  "spuriousDragon",
  "byzantium",
  "constantinople",
  "petersburg",
  "istanbul",
  "muirGlacier",
  "berlin",
  "london",
  "arrowGlacier",
  "grayGlacier",
  "mergeNetsplitBlock",
  "paris",
  "shanghai",
  "cancun",
  "prague",
  "osaka",
];

const ORDER: ReadonlyMap<string, number> = new Map(HARDFORKS.map((name, position) => [name, position]));

/** Whether `name` is a hard fork this adapter knows. */
export function isHardfork(name: string): name is HardforkName {
  return ORDER.has(name);
}

/** Whether the rules of `wanted` are in force under `hardfork`. */
export function isAtLeast(hardfork: HardforkName, wanted: HardforkName): boolean {
  return (ORDER.get(hardfork) as number) >= (ORDER.get(wanted) as number);
}

/** Largest gas limit of one transaction since Osaka (EIP-7825). */
export const MAXIMUM_TRANSACTION_GAS = 16_777_216;

/** Largest init code in bytes since Shanghai (EIP-3860). */
export const MAXIMUM_INITCODE_BYTES = 49_152;

/** Gas of one blob (EIP-4844). */
export const GAS_PER_BLOB = 131_072;

/** Blob parameters of a fork (EIP-4844, EIP-7691, EIP-7594). */
export interface BlobParameters {
  /** Divides the excess blob gas in the exponent of the blob fee. */
  readonly updateFraction: bigint;
  /** Largest number of blobs in one transaction. */
  readonly maximumPerTransaction: number;
}

/** Blob parameters in force under `hardfork`, which is Cancun or later. */
export function blobParameters(hardfork: HardforkName): BlobParameters {
  if (isAtLeast(hardfork, "osaka")) return { updateFraction: 5_007_716n, maximumPerTransaction: 6 };
  if (isAtLeast(hardfork, "prague")) return { updateFraction: 5_007_716n, maximumPerTransaction: 9 };
  return { updateFraction: 3_338_477n, maximumPerTransaction: 6 };
}

/** At most `gasUsed / refundQuotient` is refunded (EIP-3529). */
export function refundQuotient(hardfork: HardforkName): number {
  return isAtLeast(hardfork, "london") ? 5 : 2;
}
