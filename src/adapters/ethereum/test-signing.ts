/** Test support: signs transactions with keys made of a small number. */
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { type Bytes, EMPTY } from "../../core/codec/bytes.ts";
import { keccak256 } from "./keccak.ts";
import { bigintOfBytes, bytes32OfBigint, bytesOfBigint, rlpEncode } from "./rlp.ts";
import { PREPARED_BYTES_MAX } from "./prepare.ts";
import { decodeTransaction, encodeTransaction, signingHash, type TransactionFields } from "./transactions.ts";
import type { Authorization } from "./types.ts";

/** Chain id of the tests. */
export const TEST_CHAIN_ID = 1337;

/** Address of the account with the private key `key`. */
export function addressOfKey(key: number): Bytes {
  return keccak256(secp256k1.getPublicKey(bytes32OfBigint(BigInt(key)), false).subarray(1)).subarray(12);
}

function sign(hash: Bytes, key: number): { readonly yParity: number; readonly r: bigint; readonly s: bigint } {
  const signature = secp256k1.sign(hash, bytes32OfBigint(BigInt(key)), { prehash: false, format: "recovered" });
  return {
    yParity: signature[0] as number,
    r: bigintOfBytes(signature.subarray(1, 33)),
    s: bigintOfBytes(signature.subarray(33, 65)),
  };
}

/** A raw transaction of type 2 (or the one given) with plain defaults. */
export function signedTransaction(key: number, fields: Partial<TransactionFields>): Bytes {
  const type = fields.type ?? 2;
  const unsigned: TransactionFields = {
    type,
    chainId: TEST_CHAIN_ID,
    nonce: 0,
    gasPrice: type < 2 ? 2_000_000_000n : undefined,
    maxFeePerGas: type < 2 ? undefined : 2_000_000_000n,
    maxPriorityFeePerGas: type < 2 ? undefined : 1n,
    gasLimit: 100_000,
    to: addressOfKey(99),
    value: 0n,
    data: EMPTY,
    accessList: [],
    maxFeePerBlobGas: type === 3 ? 1n : undefined,
    blobVersionedHashes: [],
    authorizationList: [],
    v: type === 0 ? 35n + 2n * BigInt(fields.chainId ?? TEST_CHAIN_ID) : 0n,
    r: 1n,
    s: 1n,
    ...fields,
  };
  const { yParity, r, s } = sign(signingHash(decodeTransaction(encodeTransaction(unsigned), PREPARED_BYTES_MAX)), key);
  return encodeTransaction({ ...unsigned, v: unsigned.v + BigInt(yParity), r, s });
}

/** An EIP-7702 authorization for `address`. */
export function signedAuthorization(key: number, address: Bytes, nonce: bigint): Authorization {
  const item = [bytesOfBigint(BigInt(TEST_CHAIN_ID)), address, bytesOfBigint(nonce)];
  const signature = sign(keccak256(rlpEncode(item, Uint8Array.of(5))), key);
  return { chainId: BigInt(TEST_CHAIN_ID), address, nonce, ...signature };
}
