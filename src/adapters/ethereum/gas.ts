/**
 * Gas a transaction pays before its first instruction runs, and the least it pays in the end.
 * Source: yellow paper (G_transaction), EIP-2, EIP-2028, EIP-2930, EIP-3860, EIP-7623, EIP-7702.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { isAtLeast } from "./forks.ts";
import type { AccessList, HardforkName } from "./types.ts";

/** Gas of a plain transfer of value. */
export const TRANSFER_GAS = 21_000;

/** Gas of one EIP-7702 authorization whose authority does not exist yet. */
export const AUTHORIZATION_GAS = 25_000;

/** Part of {@link AUTHORIZATION_GAS} that is refunded when the authority exists. */
export const EXISTING_AUTHORITY_REFUND = 12_500;

const CREATION_GAS = 32_000;
const ZERO_BYTE_GAS = 4;
const ACCESS_LIST_ADDRESS_GAS = 2_400;
const ACCESS_LIST_SLOT_GAS = 1_900;
const INITCODE_WORD_GAS = 2;
const FLOOR_GAS_PER_TOKEN = 10;
const TOKENS_PER_NONZERO_BYTE = 4;

/** What of a transaction decides its intrinsic gas. */
export interface GasInputs {
  /** Undefined creates a contract. */
  readonly to: Bytes | undefined;
  readonly data: Bytes;
  readonly accessList: AccessList;
  readonly authorizationList: readonly unknown[];
}

function countZeroBytes(data: Bytes): number {
  let zeros = 0;
  for (const byte of data) if (byte === 0) zeros++;
  return zeros;
}

/** Gas that is charged before execution. */
export function intrinsicGas(transaction: GasInputs, hardfork: HardforkName): number {
  let gas = TRANSFER_GAS;
  const data = transaction.data;
  if (data.length > 0) {
    const zeros = countZeroBytes(data);
    gas += zeros * ZERO_BYTE_GAS + (data.length - zeros) * (isAtLeast(hardfork, "istanbul") ? 16 : 68);
  }
  if (transaction.to === undefined) {
    if (isAtLeast(hardfork, "homestead")) gas += CREATION_GAS;
    if (isAtLeast(hardfork, "shanghai")) gas += Math.ceil(data.length / 32) * INITCODE_WORD_GAS;
  }
  for (const entry of transaction.accessList)
    gas += ACCESS_LIST_ADDRESS_GAS + entry.storageKeys.length * ACCESS_LIST_SLOT_GAS;
  return gas + transaction.authorizationList.length * AUTHORIZATION_GAS;
}

/** Least gas the transaction uses in the end (EIP-7623); zero before Prague. */
export function floorGas(transaction: GasInputs, hardfork: HardforkName): number {
  if (!isAtLeast(hardfork, "prague")) return 0;
  const zeros = countZeroBytes(transaction.data);
  const tokens = zeros + (transaction.data.length - zeros) * TOKENS_PER_NONZERO_BYTE;
  return TRANSFER_GAS + tokens * FLOOR_GAS_PER_TOKEN;
}
