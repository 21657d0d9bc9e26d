/** The chain of simulated networks that run the Ethereum adapter: its accounts, and a contract that counts. */
import { concatBytes, fromHex, toHex } from "../../src/core/codec/bytes.ts";
import { addressOfKey, TEST_CHAIN_ID } from "../../src/adapters/ethereum/test-signing.ts";
import { ETHEREUM_MANIFEST } from "../../src/adapters/ethereum/manifest.ts";
import type { AdapterEntry } from "../../src/core/governance/constitution.ts";

/** Most accounts with funds: one for each client and one for the prober. */
export const ACCOUNTS_MAX = 8;
const FIRST_KEY = 1_000;
const BALANCE_WEI = 10n ** 21n;

/** Private key of a client's account. */
export function keyOfClient(place: number): number {
  return FIRST_KEY + place;
}

/** Adds one to slot 0, logs the new number under the first word of its input, and returns it. */
export const COUNTER_CODE = fromHex("5f5460010180" + "5f55" + "5f52" + "5f3560205fa1" + "60205ff3");
/** Creates a {@link COUNTER_CODE}. */
export const COUNTER_CREATION = concatBytes(
  Uint8Array.of(0x60, COUNTER_CODE.length, 0x60, 10, 0x5f, 0x39, 0x60, COUNTER_CODE.length, 0x5f, 0xf3),
  COUNTER_CODE,
);
/** Address of the counter that is there from the beginning. */
export const COUNTER_ADDRESS = new Uint8Array(20).fill(0xc0);

/** The adapter as the constitution lists it. */
export const ETHEREUM_ENTRY: AdapterEntry = {
  id: 1,
  name: ETHEREUM_MANIFEST.name,
  version: ETHEREUM_MANIFEST.version,
  mount: ETHEREUM_MANIFEST.mounts[0] ?? "",
  options: {
    chainId: TEST_CHAIN_ID,
    alloc: {
      ...Object.fromEntries(
        Array.from({ length: ACCOUNTS_MAX }, (_, place) => [
          `0x${toHex(addressOfKey(keyOfClient(place)))}`,
          { balance: String(BALANCE_WEI) },
        ]),
      ),
      [`0x${toHex(COUNTER_ADDRESS)}`]: { code: `0x${toHex(COUNTER_CODE)}` },
    },
  },
};
