/**
 * Block headers (Yellow Paper 4.3; EIP-1559, 4895, 4844, 4788, 7685): encoding, hash, size of a block, and the roots of
 * its transactions and receipts. A header's later fields stand or fall together with the fork that brought them.
 */
import { type Bytes, fromHex } from "../../core/codec/bytes.ts";
import { invariant } from "../../errors.ts";
import { keccak256 } from "./keccak.ts";
import { encodeReceipt } from "./receipts.ts";
import {
  bytesOfBigint,
  bytesOfNumber,
  type RlpItem,
  rlpBigint,
  rlpBytes,
  rlpDecode,
  rlpEncode,
  rlpError,
  rlpLength,
  rlpList,
  rlpNumber,
  rlpSize,
} from "./rlp.ts";
import { EMPTY_TRIE_ROOT, Trie } from "./trie.ts";
import type { BlockHeader, Receipt } from "./types.ts";

/** keccak(RLP([])): hash of an empty ommers list, of every block since the Merge. */
export const EMPTY_OMMERS_HASH: Bytes = fromHex("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");

/** Withdrawals root of a block without withdrawals: the root of an empty trie. */
export const EMPTY_WITHDRAWALS_ROOT: Bytes = EMPTY_TRIE_ROOT;

/** Requests hash of a block without requests: SHA-256 of nothing (EIP-7685). */
export const EMPTY_REQUESTS_HASH: Bytes = fromHex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

const FIELDS_BEFORE_LONDON = 15;
/** Fields of a header before London, and since London, Shanghai, Cancun and Prague. */
const FIELD_COUNTS: readonly number[] = [FIELDS_BEFORE_LONDON, 16, 17, 20, 21];

function optionalItems(header: BlockHeader): Bytes[] {
  const { baseFeePerGas, withdrawalsRoot, blobGasUsed, excessBlobGas, parentBeaconBlockRoot, requestsHash } = header;
  const items = [
    baseFeePerGas === undefined ? undefined : bytesOfBigint(baseFeePerGas),
    withdrawalsRoot,
    blobGasUsed === undefined ? undefined : bytesOfNumber(blobGasUsed),
    excessBlobGas === undefined ? undefined : bytesOfNumber(excessBlobGas),
    parentBeaconBlockRoot,
    requestsHash,
  ];
  const present = items.filter((item) => item !== undefined);
  invariant(
    items.indexOf(undefined) === -1 || items.indexOf(undefined) === present.length,
    "header field of a later fork without earlier ones",
  );
  invariant(FIELD_COUNTS.includes(FIELDS_BEFORE_LONDON + present.length), "header with half the fields of a fork");
  return present;
}

/** A header as an RLP item. */
export function headerItem(header: BlockHeader): readonly Bytes[] {
  return [
    header.parentHash,
    header.ommersHash,
    header.coinbase,
    header.stateRoot,
    header.transactionsRoot,
    header.receiptsRoot,
    header.logsBloom,
    bytesOfBigint(header.difficulty),
    bytesOfNumber(header.number),
    bytesOfNumber(header.gasLimit),
    bytesOfNumber(header.gasUsed),
    bytesOfNumber(header.timestamp),
    header.extraData,
    header.mixHash,
    header.nonce,
    ...optionalItems(header),
  ];
}

/** The RLP encoding of a header. */
export function encodeHeader(header: BlockHeader): Bytes {
  return rlpEncode(headerItem(header));
}

/** The block hash: keccak-256 of the encoded header. */
export function headerHash(header: BlockHeader): Bytes {
  return keccak256(encodeHeader(header));
}

/** Reads {@link headerItem}; strict about sizes and the number of fields. */
export function headerOfItem(item: RlpItem): BlockHeader {
  const fields = rlpList(item, FIELDS_BEFORE_LONDON);
  if (!FIELD_COUNTS.includes(fields.length)) rlpError("header with half the fields of a fork");
  const optional = <T>(at: number, read: (field: RlpItem | undefined) => T): T | undefined =>
    at < fields.length ? read(fields[at]) : undefined;
  const hash = (field: RlpItem | undefined): Bytes => rlpBytes(field, 32);
  return {
    parentHash: hash(fields[0]),
    ommersHash: hash(fields[1]),
    coinbase: rlpBytes(fields[2], 20),
    stateRoot: hash(fields[3]),
    transactionsRoot: hash(fields[4]),
    receiptsRoot: hash(fields[5]),
    logsBloom: rlpBytes(fields[6], 256),
    difficulty: rlpBigint(fields[7]),
    number: rlpNumber(fields[8]),
    gasLimit: rlpNumber(fields[9]),
    gasUsed: rlpNumber(fields[10]),
    timestamp: rlpNumber(fields[11]),
    extraData: rlpBytes(fields[12]),
    mixHash: hash(fields[13]),
    nonce: rlpBytes(fields[14], 8),
    baseFeePerGas: optional(15, rlpBigint),
    withdrawalsRoot: optional(16, hash),
    blobGasUsed: optional(17, rlpNumber),
    excessBlobGas: optional(18, rlpNumber),
    parentBeaconBlockRoot: optional(19, hash),
    requestsHash: optional(20, hash),
  };
}

/** Decodes an RLP-encoded header; throws `MalformedInput`. */
export function decodeHeader(bytes: Bytes): BlockHeader {
  return headerOfItem(rlpDecode(bytes));
}

/** Root of a list: a trie from the RLP-encoded index to each entry. */
function indexedRoot(entries: readonly Bytes[]): Bytes {
  const trie = new Trie();
  for (const [index, entry] of entries.entries()) trie.set(rlpEncode(bytesOfNumber(index)), entry);
  return trie.root();
}

/** Root of a block's transactions, given in their raw form. */
export function transactionsRootOf(rawTransactions: readonly Bytes[]): Bytes {
  return indexedRoot(rawTransactions);
}

/** Root of a block's receipts. */
export function receiptsRootOf(receipts: readonly Receipt[]): Bytes {
  return indexedRoot(receipts.map(encodeReceipt));
}

/** A validator withdrawal (EIP-4895): index, validator index, address, amount in gwei. */
export type WithdrawalItem = readonly [index: Bytes, validatorIndex: Bytes, address: Bytes, amount: Bytes];

/** Root of a block's withdrawals. */
export function withdrawalsRootOf(withdrawals: readonly WithdrawalItem[]): Bytes {
  return indexedRoot(withdrawals.map((withdrawal) => rlpEncode(withdrawal)));
}

/**
 * Bytes of the RLP block [header, transactions, ommers, withdrawals?]: legacy transactions stand in it as lists, typed
 * ones as byte strings; there are no ommers. Withdrawals count only since Shanghai.
 */
export function blockSize(
  header: BlockHeader,
  rawTransactions: readonly Bytes[],
  withdrawals: readonly WithdrawalItem[] = [],
): number {
  let transactions = 0;
  for (const raw of rawTransactions) transactions += (raw[0] as number) >= 0xc0 ? raw.length : rlpLength(raw.length);
  const withdrawalsSize = header.withdrawalsRoot === undefined ? 0 : rlpSize(withdrawals);
  return rlpLength(rlpSize(headerItem(header)) + rlpLength(transactions) + rlpLength(0) + withdrawalsSize);
}
