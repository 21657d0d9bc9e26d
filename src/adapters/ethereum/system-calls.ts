/**
 * What happens at the start of a block before its transactions: the parent's beacon root (EIP-4788) and the parent's hash
 * (EIP-2935) are stored by two system contracts. Their code is fixed by the EIPs, so its effect is written directly;
 * as there, nothing happens when the contract does not exist.
 */
import { type Bytes, fromHex } from "../../core/codec/bytes.ts";
import type { EvmState } from "./evm-state.ts";
import { isAtLeast } from "./forks.ts";
import { bytes32OfBigint, bytesOfNumber } from "./rlp.ts";
import type { BlockEnvironment } from "./types.ts";

/** Contract that stores beacon roots (EIP-4788). */
export const BEACON_ROOTS_ADDRESS: Bytes = fromHex("000f3df6d732807ef1319fb7b8bb8522d0beac02");

/** Contract that stores block hashes (EIP-2935). */
export const HISTORY_STORAGE_ADDRESS: Bytes = fromHex("0000f90827f1c53a10cb7a02335b175320002935");

/** Entries of the ring buffers of both contracts. */
const RING_LENGTH = 8191;

function slotOf(index: number): Bytes {
  return bytes32OfBigint(BigInt(index));
}

/** Applies the system calls the fork demands at the start of the block described by `environment`. */
export function applySystemCalls(environment: BlockEnvironment, state: EvmState): void {
  const { hardfork, timestamp, number, parentBeaconBlockRoot } = environment;
  if (
    isAtLeast(hardfork, "cancun") &&
    parentBeaconBlockRoot !== undefined &&
    state.code(BEACON_ROOTS_ADDRESS).length > 0
  ) {
    const index = timestamp % RING_LENGTH;
    state.setStorage(BEACON_ROOTS_ADDRESS, slotOf(index), bytesOfNumber(timestamp));
    state.setStorage(BEACON_ROOTS_ADDRESS, slotOf(index + RING_LENGTH), parentBeaconBlockRoot);
  }
  if (!isAtLeast(hardfork, "prague") || number === 0 || state.code(HISTORY_STORAGE_ADDRESS).length === 0) return;
  const parentHash = environment.blockHash(number - 1);
  if (parentHash !== undefined)
    state.setStorage(HISTORY_STORAGE_ADDRESS, slotOf((number - 1) % RING_LENGTH), parentHash);
}
