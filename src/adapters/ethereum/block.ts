/**
 * Blocks of the network itself: what the next block's transactions see, and the header and records of a finished one.
 * Source: yellow paper section 4.3 and the EIPs that added fields (1559, 4399, 4788, 4844, 4895, 7685).
 */
import { type Bytes, ByteReader, ByteWriter, EMPTY } from "../../core/codec/bytes.ts";
import { invariant } from "../../errors.ts";
import type { BatchContext, StateReader, StateWriter } from "../adapter.ts";
import { nextBaseFee } from "./fees.ts";
import { isAtLeast } from "./forks.ts";
import {
  blockSize,
  EMPTY_OMMERS_HASH,
  EMPTY_REQUESTS_HASH,
  EMPTY_WITHDRAWALS_ROOT,
  headerHash,
  receiptsRootOf,
  transactionsRootOf,
} from "./header.ts";
import { mergeBlooms } from "./receipts.ts";
import { decodeBlockRecord, encodeBlockRecord, encodeTransactionRecord } from "./records.ts";
import {
  type BlockEnvironment,
  type BlockHeader,
  type BlockRecord,
  type EthereumOptions,
  META_KEYS,
  type SignedTransaction,
  TABLES,
  type TransactionRecord,
} from "./types.ts";

const ZERO_HASH = new Uint8Array(32);
const ZERO_NONCE = new Uint8Array(8);

/** Key of the table `blocks`. */
export function blockKey(number: number): Bytes {
  return new ByteWriter(8).u64(number).finish();
}

/** Key of the table `transactions`, and value of `transactionPlaces`: block number and index in the block. */
export function transactionKey(number: number, index: number): Bytes {
  return new ByteWriter(12).u64(number).u32(index).finish();
}

/** The block with this number; undefined when there is none. */
export function readBlock(state: StateReader, number: number): BlockRecord | undefined {
  const record = state.get(TABLES.blocks, blockKey(number));
  return record === undefined ? undefined : decodeBlockRecord(record);
}

/** Number of the newest block. */
export function readHead(state: StateReader): number {
  const head = state.get(TABLES.meta, META_KEYS.head);
  invariant(head !== undefined, "the ethereum state has no genesis block");
  return new ByteReader(head).u64();
}

/** The newest block. */
export function readHeadBlock(state: StateReader): BlockRecord {
  const block = readBlock(state, readHead(state));
  invariant(block !== undefined, "the newest block is missing");
  return block;
}

/** A lookup of block hashes in `state`, for BLOCKHASH. */
export function blockHashesOf(state: StateReader): (number: number) => Bytes | undefined {
  return (number) => readBlock(state, number)?.hash.slice();
}

/** What transactions of the block after `parent` see. `state` is the version the block starts from. */
export function nextEnvironment(
  state: StateReader,
  parent: BlockRecord,
  options: EthereumOptions,
  context: BatchContext,
): BlockEnvironment {
  const { hardfork } = options;
  const isCancun = isAtLeast(hardfork, "cancun");
  return {
    hardfork,
    number: parent.header.number + 1,
    timestamp: Math.max(parent.header.timestamp, Math.floor(context.timeMs / 1000)),
    coinbase: options.coinbase,
    gasLimit: options.blockGasLimit,
    difficulty: 0n,
    prevRandao: context.randomness,
    baseFeePerGas: isAtLeast(hardfork, "london") ? nextBaseFee(parent.header, options.initialBaseFee) : undefined,
    excessBlobGas: isCancun ? 0 : undefined,
    parentBeaconBlockRoot: isCancun ? ZERO_HASH : undefined,
    blockHash: blockHashesOf(state),
  };
}

/** What transactions in a block with this header saw; `state` holds the blocks before it. */
export function environmentOfHeader(
  state: StateReader,
  header: BlockHeader,
  options: EthereumOptions,
): BlockEnvironment {
  return {
    hardfork: options.hardfork,
    number: header.number,
    timestamp: header.timestamp,
    coinbase: header.coinbase,
    gasLimit: header.gasLimit,
    difficulty: header.difficulty,
    prevRandao: header.mixHash,
    baseFeePerGas: header.baseFeePerGas,
    excessBlobGas: header.excessBlobGas,
    parentBeaconBlockRoot: header.parentBeaconBlockRoot,
    blockHash: blockHashesOf(state),
  };
}

/** A transaction of the block being built. */
export interface BlockEntry {
  readonly transaction: SignedTransaction;
  readonly receipt: TransactionRecord["receipt"];
}

/** The finished block as it is stored. `environment` is the block's own, not a replay's. */
export function buildBlock(
  environment: BlockEnvironment,
  parentHash: Bytes,
  stateRoot: Bytes,
  entries: readonly BlockEntry[],
): BlockRecord {
  const receipts = entries.map((entry) => entry.receipt);
  const raws = entries.map((entry) => entry.transaction.raw);
  const { hardfork } = environment;
  const isCancun = isAtLeast(hardfork, "cancun");
  const header: BlockHeader = {
    parentHash,
    ommersHash: EMPTY_OMMERS_HASH,
    coinbase: environment.coinbase,
    stateRoot,
    transactionsRoot: transactionsRootOf(raws),
    receiptsRoot: receiptsRootOf(receipts),
    logsBloom: mergeBlooms(receipts.map((receipt) => receipt.logsBloom)),
    difficulty: environment.difficulty,
    number: environment.number,
    gasLimit: environment.gasLimit,
    gasUsed: receipts.at(-1)?.cumulativeGasUsed ?? 0,
    timestamp: environment.timestamp,
    extraData: EMPTY,
    mixHash: environment.prevRandao,
    nonce: ZERO_NONCE,
    baseFeePerGas: environment.baseFeePerGas,
    withdrawalsRoot: isAtLeast(hardfork, "shanghai") ? EMPTY_WITHDRAWALS_ROOT : undefined,
    blobGasUsed: isCancun ? receipts.reduce((sum, receipt) => sum + (receipt.blobGasUsed ?? 0), 0) : undefined,
    excessBlobGas: environment.excessBlobGas,
    parentBeaconBlockRoot: environment.parentBeaconBlockRoot,
    requestsHash: isAtLeast(hardfork, "prague") ? EMPTY_REQUESTS_HASH : undefined,
  };
  return {
    header,
    hash: headerHash(header),
    size: blockSize(header, raws),
    transactionHashes: entries.map((entry) => entry.transaction.hash),
  };
}

/** Writes a block with its transactions and makes it the newest. */
export function writeBlock(state: StateWriter, block: BlockRecord, entries: readonly BlockEntry[]): void {
  const { number } = block.header;
  const key = blockKey(number);
  state.put(TABLES.blocks, key, encodeBlockRecord(block));
  state.put(TABLES.blockNumbers, block.hash, key);
  for (const [index, { transaction, receipt }] of entries.entries()) {
    const place = transactionKey(number, index);
    state.put(TABLES.transactionPlaces, transaction.hash, place);
    state.put(
      TABLES.transactions,
      place,
      encodeTransactionRecord({ raw: transaction.raw, from: transaction.from, receipt }),
    );
  }
  state.put(TABLES.meta, META_KEYS.head, key);
}
