/**
 * Test support: transactions as JSON-RPC gives them, back in the form they were signed in.
 */
import { type Bytes, fromHex } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { encodeTransaction, type TransactionFields } from "./transactions.ts";

type Fields = Readonly<Record<string, unknown>>;

function optionalBigint(value: unknown): bigint | undefined {
  return value === undefined || value === null ? undefined : BigInt(String(value));
}

function bytesOf(value: unknown): Bytes {
  return fromHex(String(value).slice(2));
}

function listOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value : [];
}

function authorizationOf(entry: Fields) {
  const integer = (name: string): bigint => BigInt(String(entry[name]));
  const yParity = Number(entry["yParity"] ?? entry["v"]);
  return {
    chainId: integer("chainId"),
    address: bytesOf(entry["address"]),
    nonce: integer("nonce"),
    yParity,
    r: integer("r"),
    s: integer("s"),
  };
}

/** The fields of a transaction as JSON-RPC gives it. Throws `MalformedInput` for an unknown type. */
export function fieldsOfJson(json: Fields): TransactionFields {
  const type = Number(json["type"] ?? 0);
  if (type !== 0 && type !== 1 && type !== 2 && type !== 3 && type !== 4) {
    throw new CocoError("MalformedInput", `transaction ${String(json["hash"])}: unknown type ${type}`);
  }
  return {
    type,
    chainId: json["chainId"] == null ? undefined : Number(json["chainId"]),
    nonce: Number(json["nonce"]),
    gasPrice: type < 2 ? optionalBigint(json["gasPrice"]) : undefined,
    maxPriorityFeePerGas: optionalBigint(json["maxPriorityFeePerGas"]),
    maxFeePerGas: optionalBigint(json["maxFeePerGas"]),
    gasLimit: Number(json["gas"]),
    to: json["to"] == null ? undefined : bytesOf(json["to"]),
    value: BigInt(String(json["value"])),
    data: bytesOf(json["input"]),
    accessList: listOf(json["accessList"]).map(({ address, storageKeys }) => ({
      address: bytesOf(address),
      storageKeys: Array.isArray(storageKeys) ? storageKeys.map(bytesOf) : [],
    })),
    maxFeePerBlobGas: optionalBigint(json["maxFeePerBlobGas"]),
    blobVersionedHashes: Array.isArray(json["blobVersionedHashes"]) ? json["blobVersionedHashes"].map(bytesOf) : [],
    authorizationList: listOf(json["authorizationList"]).map(authorizationOf),
    v: BigInt(String(json["v"] ?? json["yParity"])),
    r: BigInt(String(json["r"])),
    s: BigInt(String(json["s"])),
  };
}

/** The raw form of a transaction as JSON-RPC gives it. */
export function rawOfJson(json: Fields): Bytes {
  return encodeTransaction(fieldsOfJson(json));
}
