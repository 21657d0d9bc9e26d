/** The first state of an Ethereum network: the accounts of the constitution's `alloc` and block 0 over them. */
import type { StateWriter } from "../adapter.ts";
import { buildBlock, writeBlock } from "./block.ts";
import { EvmState } from "./evm-state.ts";
import { isAtLeast } from "./forks.ts";
import type { StateTrie } from "./state-trie.ts";
import type { EthereumOptions } from "./types.ts";

const ZERO_HASH = new Uint8Array(32);

/** Writes accounts and block 0. */
export function writeGenesis(state: StateWriter, options: EthereumOptions, trie: StateTrie): void {
  const overlay = new EvmState(state);
  for (const { address, balance, nonce, code, storage } of options.alloc) {
    overlay.setAccount(address, { nonce, balance, codeHash: undefined });
    overlay.setCode(address, code);
    for (const { slot, value } of storage) overlay.setStorage(address, slot, value);
  }
  trie.markDirty(overlay.writeTo(state, true));
  const isCancun = isAtLeast(options.hardfork, "cancun");
  const environment = {
    hardfork: options.hardfork,
    number: 0,
    timestamp: options.timestamp,
    coinbase: options.coinbase,
    gasLimit: options.blockGasLimit,
    difficulty: 0n,
    prevRandao: ZERO_HASH,
    baseFeePerGas: isAtLeast(options.hardfork, "london") ? options.initialBaseFee : undefined,
    excessBlobGas: isCancun ? 0 : undefined,
    parentBeaconBlockRoot: isCancun ? ZERO_HASH : undefined,
    blockHash: () => undefined,
  };
  writeBlock(state, buildBlock(environment, ZERO_HASH, trie.root(state), []), []);
}
