/**
 * Test support: transactions as JSON-RPC gives them, back in the form they were signed in.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { hexBytes, type JsonTransaction } from "./test-vectors.ts";
import { encodeTransaction, type TransactionFields } from "./transactions.ts";

function optionalBigint(text: string | undefined): bigint | undefined {
  return text === undefined ? undefined : BigInt(text);
}

/** The fields of a transaction as JSON-RPC gives it. */
export function fieldsOfJson(json: JsonTransaction): TransactionFields {
  const type = Number(json["type"]) as TransactionFields["type"];
  const hasFeeMarket = type >= 2;
  return {
    type,
    chainId: json["chainId"] === undefined ? undefined : Number(json["chainId"]),
    nonce: Number(json["nonce"]),
    gasPrice: hasFeeMarket ? undefined : optionalBigint(json["gasPrice"]),
    maxFeePerGas: hasFeeMarket ? optionalBigint(json["maxFeePerGas"]) : undefined,
    maxPriorityFeePerGas: hasFeeMarket ? optionalBigint(json["maxPriorityFeePerGas"]) : undefined,
    gasLimit: Number(json["gas"]),
    to: json["to"] == null ? undefined : hexBytes(json["to"]),
    value: BigInt(json["value"] ?? 0),
    data: hexBytes(json["input"] ?? "0x"),
    accessList: (json.accessList ?? []).map((entry) => ({
      address: hexBytes(entry.address),
      storageKeys: entry.storageKeys.map(hexBytes),
    })),
    maxFeePerBlobGas: type === 3 ? optionalBigint(json["maxFeePerBlobGas"]) : undefined,
    blobVersionedHashes: (json.blobVersionedHashes ?? []).map(hexBytes),
    authorizationList: [],
    v: BigInt(json["v"] ?? 0),
    r: BigInt(json["r"] ?? 0),
    s: BigInt(json["s"] ?? 0),
  };
}

/** The raw form of a transaction as JSON-RPC gives it. */
export function rawOfJson(json: JsonTransaction): Bytes {
  return encodeTransaction(fieldsOfJson(json));
}
