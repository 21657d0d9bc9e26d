/**
 * Accounts of a measurement and their signed transactions (EIP-1559), made before the clock starts.
 */
import secp256k1 from "secp256k1";
import { type Bytes, EMPTY, toHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import { keccak256 } from "../../src/adapters/ethereum/keccak.ts";
import {
  bigintOfBytes,
  bytesOfBigint,
  bytesOfNumber,
  type RlpItem,
  rlpEncode,
} from "../../src/adapters/ethereum/rlp.ts";

const TYPE = Uint8Array.of(2);
const PRIORITY_FEE = 1_000_000_000n;
/** High enough for whatever the base fee does in a measurement. */
const FEE_CAP = 1_000_000_000_000n;

/** Balance of every account in wei. */
export const ACCOUNT_BALANCE = 10n ** 27n;

/** An account and the nonce of its next transaction. */
export interface Account {
  readonly key: Bytes;
  readonly address: Bytes;
  nonce: number;
}

/** A signed transaction. */
export interface Signed {
  /** `0x` hex. */
  readonly raw: string;
  /** `0x` hex. */
  readonly hash: string;
}

/** What a transaction does; without `to` it creates a contract. */
export interface Call {
  readonly to?: Bytes;
  readonly value?: bigint;
  readonly data?: Bytes;
  readonly gas: number;
}

/** `0x` hex. */
export function hex(bytes: Bytes): string {
  return `0x${toHex(bytes)}`;
}

/** Accounts that are the same in every run. */
export function makeAccounts(count: number): Account[] {
  return Array.from({ length: count }, (_, at) => {
    const key = keccak256(utf8Encode(`account ${at} of the coco-framework benchmark`));
    return { key, address: keccak256(secp256k1.publicKeyCreate(key, false).subarray(1)).subarray(12), nonce: 0 };
  });
}

/** The accounts as the `alloc` of a genesis constitution. */
export function allocOf(accounts: readonly Account[]): Record<string, { readonly balance: string }> {
  return Object.fromEntries(accounts.map(({ address }) => [hex(address), { balance: String(ACCOUNT_BALANCE) }]));
}

const integerItem = (bytes: Bytes): Bytes => bytesOfBigint(bigintOfBytes(bytes));

/** Signs the next transaction of an account. */
export function sign(account: Account, chainId: number, call: Call): Signed {
  const items: RlpItem[] = [
    bytesOfNumber(chainId),
    bytesOfNumber(account.nonce++),
    bytesOfBigint(PRIORITY_FEE),
    bytesOfBigint(FEE_CAP),
    bytesOfNumber(call.gas),
    call.to ?? EMPTY,
    bytesOfBigint(call.value ?? 0n),
    call.data ?? EMPTY,
    [],
  ];
  const { signature, recid } = secp256k1.ecdsaSign(keccak256(rlpEncode(items, TYPE)), account.key);
  items.push(bytesOfNumber(recid), integerItem(signature.subarray(0, 32)), integerItem(signature.subarray(32)));
  const raw = rlpEncode(items, TYPE);
  return { raw: hex(raw), hash: hex(keccak256(raw)) };
}
