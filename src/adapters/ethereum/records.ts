/**
 * What stands in the adapter's tables (see TABLES): accounts, blocks and transactions with their receipts, in strict
 * RLP. A record has one encoding; what can be computed from the rest (a receipt's log filter) is not stored.
 * Decoded byte strings are views on the record.
 */
import { type Bytes, concatBytes, EMPTY } from "../../core/codec/bytes.ts";
import { headerItem, headerOfItem } from "./header.ts";
import { logsBloom, logItem, logOfItem } from "./receipts.ts";
import {
  bytesOfBigint,
  bytesOfNumber,
  type RlpItem,
  rlpBigint,
  rlpBytes,
  rlpDecode,
  rlpEncode,
  rlpError,
  rlpList,
  rlpNumber,
} from "./rlp.ts";
import type { Account, BlockRecord, Receipt, TransactionRecord } from "./types.ts";

const HASH_BYTES = 32;

/** Bytes that are either absent (empty) or exactly `length` long. */
function optionalBytes(item: RlpItem | undefined, length: number): Bytes | undefined {
  const bytes = rlpBytes(item);
  return bytes.length === 0 ? undefined : rlpBytes(bytes, length);
}

/** The value of the table `accounts`. */
export function encodeAccount({ nonce, balance, codeHash }: Account): Bytes {
  return rlpEncode([bytesOfNumber(nonce), bytesOfBigint(balance), codeHash ?? EMPTY]);
}

/** Reads {@link encodeAccount}. */
export function decodeAccount(record: Bytes): Account {
  const fields = rlpList(rlpDecode(record), 3, 3);
  return { nonce: rlpNumber(fields[0]), balance: rlpBigint(fields[1]), codeHash: optionalBytes(fields[2], HASH_BYTES) };
}

/** The value of the table `blocks`. */
export function encodeBlockRecord({ header, hash, size, transactionHashes }: BlockRecord): Bytes {
  return rlpEncode([headerItem(header), hash, bytesOfNumber(size), concatBytes(...transactionHashes)]);
}

/** Reads {@link encodeBlockRecord}. */
export function decodeBlockRecord(record: Bytes): BlockRecord {
  const fields = rlpList(rlpDecode(record), 4, 4);
  const hashes = rlpBytes(fields[3]);
  if (hashes.length % HASH_BYTES !== 0) rlpError("not a sequence of hashes");
  const transactionHashes: Bytes[] = [];
  for (let at = 0; at < hashes.length; at += HASH_BYTES) transactionHashes.push(hashes.subarray(at, at + HASH_BYTES));
  return {
    header: headerOfItem(rlpList(fields[0])),
    hash: rlpBytes(fields[1], HASH_BYTES),
    size: rlpNumber(fields[2]),
    transactionHashes,
  };
}

function receiptItem(receipt: Receipt): readonly RlpItem[] {
  const { blobGasUsed, blobGasPrice } = receipt;
  const blob =
    blobGasUsed === undefined || blobGasPrice === undefined
      ? []
      : [bytesOfNumber(blobGasUsed), bytesOfBigint(blobGasPrice)];
  return [
    bytesOfNumber(receipt.type),
    bytesOfNumber(receipt.success ? 1 : 0),
    bytesOfNumber(receipt.cumulativeGasUsed),
    bytesOfNumber(receipt.gasUsed),
    receipt.logs.map(logItem),
    receipt.contractAddress ?? EMPTY,
    bytesOfBigint(receipt.effectiveGasPrice),
    ...blob,
  ];
}

const PLAIN_RECEIPT_FIELDS = 7;
const BLOB_RECEIPT_FIELDS = 9;

function receiptType(item: RlpItem | undefined): Receipt["type"] {
  const type = rlpNumber(item);
  if (type === 0 || type === 1 || type === 2 || type === 3 || type === 4) return type;
  rlpError("unknown transaction type");
}

function receiptOfItem(item: RlpItem | undefined): Receipt {
  const fields = rlpList(item, PLAIN_RECEIPT_FIELDS, BLOB_RECEIPT_FIELDS);
  const hasBlobFields = fields.length > PLAIN_RECEIPT_FIELDS;
  const status = rlpNumber(fields[1]);
  if (status > 1) rlpError("status is neither 0 nor 1");
  const logs = rlpList(fields[4]).map(logOfItem);
  return {
    type: receiptType(fields[0]),
    success: status === 1,
    cumulativeGasUsed: rlpNumber(fields[2]),
    gasUsed: rlpNumber(fields[3]),
    logsBloom: logsBloom(logs),
    logs,
    contractAddress: optionalBytes(fields[5], 20),
    effectiveGasPrice: rlpBigint(fields[6]),
    blobGasUsed: hasBlobFields ? rlpNumber(fields[7]) : undefined,
    blobGasPrice: hasBlobFields ? rlpBigint(fields[8]) : undefined,
  };
}

/** The value of the table `transactions`. */
export function encodeTransactionRecord({ raw, from, receipt }: TransactionRecord): Bytes {
  return rlpEncode([raw, from, receiptItem(receipt)]);
}

/** Reads {@link encodeTransactionRecord}. */
export function decodeTransactionRecord(record: Bytes): TransactionRecord {
  const fields = rlpList(rlpDecode(record), 3, 3);
  return { raw: rlpBytes(fields[0]), from: rlpBytes(fields[1], 20), receipt: receiptOfItem(fields[2]) };
}
