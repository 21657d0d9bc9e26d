/**
 * Blocks, transactions, receipts and logs as JSON values, field by field as the execution-apis OpenRPC schemas say.
 * Quantities are `0x` hex without leading zeros, byte strings are `0x` hex of full length, absent fields are left out.
 * Source: ethereum/execution-apis `src/schemas`; where a schema leaves a choice, go-ethereum's.
 */
import { type Bytes, toHex } from "../../../core/codec/bytes.ts";
import type {
  AccessList,
  Authorization,
  BlockHeader,
  BlockRecord,
  Log,
  SignedTransaction,
  TransactionRecord,
} from "../types.ts";

/** What `JSON.stringify` takes without loss. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

/** A JSON object. */
export type JsonObject = { readonly [name: string]: JsonValue };

/** A byte string as JSON. */
export function data(bytes: Bytes): string {
  return `0x${toHex(bytes)}`;
}

/** A number as JSON. */
export function quantity(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** A storage word as JSON: 32 bytes, zeros in front. */
export function word(value: Bytes): string {
  return `0x${toHex(value).padStart(64, "0")}`;
}

/** Where a transaction stands; undefined members are those of a transaction that is not committed yet. */
export interface TransactionPlace {
  readonly block: BlockRecord;
  readonly index: number;
}

/** A log's place in its block, with the transaction that emitted it. */
export interface LogPlace extends TransactionPlace {
  readonly transactionHash: Bytes;
  /** Number of logs of the block in front of it. */
  readonly logIndex: number;
}

/** Header fields that every block object has, and those of later forks the header has. */
function headerFields(header: BlockHeader): Record<string, JsonValue> {
  const fields: Record<string, JsonValue> = {
    parentHash: data(header.parentHash),
    sha3Uncles: data(header.ommersHash),
    miner: data(header.coinbase),
    stateRoot: data(header.stateRoot),
    transactionsRoot: data(header.transactionsRoot),
    receiptsRoot: data(header.receiptsRoot),
    logsBloom: data(header.logsBloom),
    difficulty: quantity(header.difficulty),
    number: quantity(header.number),
    gasLimit: quantity(header.gasLimit),
    gasUsed: quantity(header.gasUsed),
    timestamp: quantity(header.timestamp),
    extraData: data(header.extraData),
    mixHash: data(header.mixHash),
    nonce: data(header.nonce),
  };
  if (header.baseFeePerGas !== undefined) fields["baseFeePerGas"] = quantity(header.baseFeePerGas);
  if (header.withdrawalsRoot !== undefined) fields["withdrawalsRoot"] = data(header.withdrawalsRoot);
  if (header.blobGasUsed !== undefined) fields["blobGasUsed"] = quantity(header.blobGasUsed);
  if (header.excessBlobGas !== undefined) fields["excessBlobGas"] = quantity(header.excessBlobGas);
  if (header.parentBeaconBlockRoot !== undefined) fields["parentBeaconBlockRoot"] = data(header.parentBeaconBlockRoot);
  if (header.requestsHash !== undefined) fields["requestsHash"] = data(header.requestsHash);
  return fields;
}

/** A header object: a block object without body. */
export function encodeHeader(block: BlockRecord): JsonObject {
  return { hash: data(block.hash), ...headerFields(block.header) };
}

/** A block object; `transactions` are hashes or transaction objects. Blocks here never have uncles or withdrawals. */
export function encodeBlock(block: BlockRecord, transactions: readonly JsonValue[]): JsonObject {
  const fields: Record<string, JsonValue> = {
    hash: data(block.hash),
    ...headerFields(block.header),
    size: quantity(block.size),
    transactions,
    uncles: [],
  };
  if (block.header.withdrawalsRoot !== undefined) fields["withdrawals"] = [];
  return fields;
}

/** An access list as JSON. */
export function encodeAccessList(list: AccessList): JsonValue {
  return list.map((entry) => ({ address: data(entry.address), storageKeys: entry.storageKeys.map(data) }));
}

function encodeAuthorization(authorization: Authorization): JsonObject {
  return {
    chainId: quantity(authorization.chainId),
    address: data(authorization.address),
    nonce: quantity(authorization.nonce),
    yParity: quantity(authorization.yParity),
    r: quantity(authorization.r),
    s: quantity(authorization.s),
  };
}

function placeFields(place: TransactionPlace | undefined): JsonObject {
  if (place === undefined) return { blockHash: null, blockNumber: null, blockTimestamp: null, transactionIndex: null };
  return {
    blockHash: data(place.block.hash),
    blockNumber: quantity(place.block.header.number),
    blockTimestamp: quantity(place.block.header.timestamp),
    transactionIndex: quantity(place.index),
  };
}

/** A transaction object. `gasPrice` of types 2 to 4 is what was paid, or the fee cap while it is not committed. */
export function encodeTransaction(
  transaction: SignedTransaction,
  effectiveGasPrice: bigint,
  place: TransactionPlace | undefined,
): JsonObject {
  const fields: Record<string, JsonValue> = {
    ...placeFields(place),
    from: data(transaction.from),
    gas: quantity(transaction.gasLimit),
    gasPrice: quantity(
      transaction.gasPrice ?? (place === undefined ? (transaction.maxFeePerGas ?? 0n) : effectiveGasPrice),
    ),
    hash: data(transaction.hash),
    input: data(transaction.data),
    nonce: quantity(transaction.nonce),
    to: transaction.to === undefined ? null : data(transaction.to),
    value: quantity(transaction.value),
    type: quantity(transaction.type),
    v: quantity(transaction.v),
    r: quantity(transaction.r),
    s: quantity(transaction.s),
  };
  if (transaction.chainId !== undefined) fields["chainId"] = quantity(transaction.chainId);
  if (transaction.type >= 1) {
    fields["yParity"] = quantity(transaction.v);
    fields["accessList"] = encodeAccessList(transaction.accessList);
  }
  if (transaction.maxFeePerGas !== undefined) fields["maxFeePerGas"] = quantity(transaction.maxFeePerGas);
  if (transaction.maxPriorityFeePerGas !== undefined)
    fields["maxPriorityFeePerGas"] = quantity(transaction.maxPriorityFeePerGas);
  if (transaction.type === 3) {
    fields["maxFeePerBlobGas"] = quantity(transaction.maxFeePerBlobGas ?? 0n);
    fields["blobVersionedHashes"] = transaction.blobVersionedHashes.map(data);
  }
  if (transaction.type === 4) fields["authorizationList"] = transaction.authorizationList.map(encodeAuthorization);
  return fields;
}

/** A log object. */
export function encodeLog(log: Log, place: LogPlace): JsonObject {
  return {
    address: data(log.address),
    topics: log.topics.map(data),
    data: data(log.data),
    blockNumber: quantity(place.block.header.number),
    transactionHash: data(place.transactionHash),
    transactionIndex: quantity(place.index),
    blockHash: data(place.block.hash),
    blockTimestamp: quantity(place.block.header.timestamp),
    logIndex: quantity(place.logIndex),
    removed: false,
  };
}

/** A receipt object. `to` is the transaction's; `place.logIndex` is the index of the receipt's first log. */
export function encodeReceipt(record: TransactionRecord, to: Bytes | undefined, place: LogPlace): JsonObject {
  const receipt = record.receipt;
  const fields: Record<string, JsonValue> = {
    type: quantity(receipt.type),
    status: receipt.success ? "0x1" : "0x0",
    cumulativeGasUsed: quantity(receipt.cumulativeGasUsed),
    gasUsed: quantity(receipt.gasUsed),
    effectiveGasPrice: quantity(receipt.effectiveGasPrice),
    logsBloom: data(receipt.logsBloom),
    logs: receipt.logs.map((log, index) => encodeLog(log, { ...place, logIndex: place.logIndex + index })),
    contractAddress: receipt.contractAddress === undefined ? null : data(receipt.contractAddress),
    transactionHash: data(place.transactionHash),
    transactionIndex: quantity(place.index),
    blockHash: data(place.block.hash),
    blockNumber: quantity(place.block.header.number),
    from: data(record.from),
    to: to === undefined ? null : data(to),
  };
  if (receipt.blobGasUsed !== undefined) fields["blobGasUsed"] = quantity(receipt.blobGasUsed);
  if (receipt.blobGasPrice !== undefined) fields["blobGasPrice"] = quantity(receipt.blobGasPrice);
  return fields;
}
