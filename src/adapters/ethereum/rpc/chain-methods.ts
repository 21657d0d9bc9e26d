/**
 * Methods that read blocks, transactions and receipts. Everything is read from the newest committed version, which holds
 * the whole chain; `pending` blocks come from the leader. What does not exist is null.
 * Source: execution-apis `src/eth/block.yaml` and `src/eth/transaction.yaml`.
 */
import type { Bytes } from "../../../core/codec/bytes.ts";
import type { RequestViews, StateReader } from "../../adapter.ts";
import { readHead } from "../block.ts";
import { transactionAt, transactionLocation, transactionsOfBlock } from "../chain.ts";
import { decodeTransaction } from "../transactions.ts";
import type { BlockRecord, TransactionRecord } from "../types.ts";
import type { BlockCache } from "./block-cache.ts";
import { type BlockReference, Parameters, toBlockNumber, toBlockReference, toBoolean } from "./decode.ts";
import {
  data,
  encodeBlock,
  encodeHeader,
  encodeReceipt,
  encodeTransaction,
  type JsonValue,
  quantity,
  type TransactionPlace,
} from "./encode.ts";
import { committedQuery, type Method, type MethodTable, type Query } from "./method.ts";
import { needsPending, pendingState, resolveBlock, resolveNumber } from "./views.ts";

/** A block with the state it was read from. */
interface FoundBlock {
  readonly block: BlockRecord;
  readonly state: StateReader;
}

type BlockAnswer = (found: FoundBlock) => JsonValue;

/** Which parameter decoder names the block of a method. */
const byHash = (parameters: Parameters): BlockReference => ({ type: "hash", hash: parameters.hash(0) });
const byNumber = (parameters: Parameters): BlockReference => parameters.required(0, toBlockNumber);
const byReference = (parameters: Parameters): BlockReference => parameters.required(0, toBlockReference);

/** Makes the methods; they share one cache of decoded blocks. */
export function chainMethods(cache: BlockCache): MethodTable {
  return {
    eth_blockNumber: (values) => {
      new Parameters(values, 0);
      return committedQuery(({ committed }) => quantity(readHead(committed)));
    },
    eth_getBlockByHash: blockMethod(byHash),
    eth_getBlockByNumber: blockMethod(byNumber),
    eth_getHeaderByHash: plainBlockMethod(byHash, cache, ({ block }) => encodeHeader(block)),
    eth_getHeaderByNumber: plainBlockMethod(byNumber, cache, ({ block }) => encodeHeader(block)),
    eth_getBlockReceipts: plainBlockMethod(byReference, cache, ({ state, block }) => receiptsOf(state, block)),
    eth_getBlockTransactionCountByHash: plainBlockMethod(byHash, cache, ({ block }) =>
      quantity(block.transactionHashes.length),
    ),
    eth_getBlockTransactionCountByNumber: plainBlockMethod(byNumber, cache, ({ block }) =>
      quantity(block.transactionHashes.length),
    ),
    eth_getUncleCountByBlockHash: plainBlockMethod(byHash, cache, () => "0x0"),
    eth_getUncleCountByBlockNumber: plainBlockMethod(byNumber, cache, () => "0x0"),
    eth_getUncleByBlockHashAndIndex: indexedBlockMethod(byHash, cache, () => null),
    eth_getUncleByBlockNumberAndIndex: indexedBlockMethod(byNumber, cache, () => null),
    eth_getTransactionByBlockHashAndIndex: indexedBlockMethod(byHash, cache, transactionJsonAt),
    eth_getTransactionByBlockNumberAndIndex: indexedBlockMethod(byNumber, cache, transactionJsonAt),
    eth_getRawTransactionByBlockHashAndIndex: indexedBlockMethod(byHash, cache, rawTransactionAt),
    eth_getRawTransactionByBlockNumberAndIndex: indexedBlockMethod(byNumber, cache, rawTransactionAt),
    eth_getTransactionByHash: transactionMethod((hash, views) => transactionByHash(hash, views, cache)),
    eth_getRawTransactionByHash: transactionMethod(rawTransactionByHash),
    eth_getTransactionReceipt: transactionMethod((hash, views) => receiptByHash(hash, views, cache)),
  };
}

function blockMethod(reference: (parameters: Parameters) => BlockReference): Method {
  return (values) => {
    const parameters = new Parameters(values, 2);
    const block = reference(parameters);
    const full = parameters.required(1, toBoolean);
    return blockQuery(block, undefined, (found) =>
      encodeBlock(found.block, full ? fullTransactions(found) : found.block.transactionHashes.map(data)),
    );
  };
}

function plainBlockMethod(
  reference: (parameters: Parameters) => BlockReference,
  cache: BlockCache,
  answer: BlockAnswer,
): Method {
  return (values) => blockQuery(reference(new Parameters(values, 1)), cache, answer);
}

type IndexedAnswer = (found: FoundBlock, index: number) => JsonValue;

function indexedBlockMethod(
  reference: (parameters: Parameters) => BlockReference,
  cache: BlockCache,
  answer: IndexedAnswer,
): Method {
  return (values) => {
    const parameters = new Parameters(values, 2);
    const block = reference(parameters);
    const index = parameters.index(1);
    return blockQuery(block, cache, (found) => answer(found, index));
  };
}

function blockQuery(reference: BlockReference, cache: BlockCache | undefined, answer: BlockAnswer): Query {
  const pending = needsPending(reference);
  return {
    type: "query",
    pending,
    run: (views) => {
      const block =
        pending || cache === undefined ? resolveBlock(views, reference) : committedBlock(views, reference, cache);
      return block === undefined ? null : answer({ block, state: pending ? pendingState(views) : views.committed });
    },
  };
}

function committedBlock(views: RequestViews, reference: BlockReference, cache: BlockCache): BlockRecord | undefined {
  const number = resolveNumber(views, reference);
  return number === undefined ? undefined : cache.block(views.committed, number);
}

function transactionMethod(answer: (hash: Bytes, views: RequestViews) => JsonValue): Method {
  return (values) => {
    const hash = new Parameters(values, 1).hash(0);
    return committedQuery((views) => answer(hash, views));
  };
}

function transactionJson(record: TransactionRecord, place: TransactionPlace | undefined): JsonValue {
  const transaction = { ...decodeTransaction(record.raw), from: record.from };
  return encodeTransaction(transaction, record.receipt.effectiveGasPrice, place);
}

function fullTransactions({ block, state }: FoundBlock): readonly JsonValue[] {
  let index = 0;
  return Array.from(transactionsOfBlock(state, block.header.number), (record) =>
    transactionJson(record, { block, index: index++ }),
  );
}

function recordAt({ block, state }: FoundBlock, index: number): TransactionRecord | undefined {
  return index < block.transactionHashes.length
    ? transactionAt(state, { blockNumber: block.header.number, index })
    : undefined;
}

function transactionJsonAt(found: FoundBlock, index: number): JsonValue {
  const record = recordAt(found, index);
  return record === undefined ? null : transactionJson(record, { block: found.block, index });
}

function rawTransactionAt(found: FoundBlock, index: number): JsonValue {
  const record = recordAt(found, index);
  return record === undefined ? "0x" : data(record.raw);
}

function receiptsOf(state: StateReader, block: BlockRecord): JsonValue {
  let index = 0;
  let logIndex = 0;
  return Array.from(transactionsOfBlock(state, block.header.number), (record) => {
    const transactionHash = block.transactionHashes[index] as Bytes;
    const receipt = encodeReceipt(record, decodeTransaction(record.raw).to, {
      block,
      index,
      transactionHash,
      logIndex,
    });
    index++;
    logIndex += record.receipt.logs.length;
    return receipt;
  });
}

/** A committed transaction; on the leader, else, one that is executed and not committed yet, without a block. */
function transactionByHash(hash: Bytes, views: RequestViews, cache: BlockCache): JsonValue {
  const location = transactionLocation(views.committed, hash);
  if (location !== undefined) {
    const record = transactionAt(views.committed, location);
    const block = cache.block(views.committed, location.blockNumber);
    return record === undefined || block === undefined
      ? null
      : transactionJson(record, { block, index: location.index });
  }
  const record = executedTransaction(hash, views);
  return record === undefined ? null : transactionJson(record, undefined);
}

function executedTransaction(hash: Bytes, { pending }: RequestViews): TransactionRecord | undefined {
  const location = pending === undefined ? undefined : transactionLocation(pending, hash);
  return pending === undefined || location === undefined ? undefined : transactionAt(pending, location);
}

function rawTransactionByHash(hash: Bytes, views: RequestViews): JsonValue {
  const location = transactionLocation(views.committed, hash);
  const record = location === undefined ? executedTransaction(hash, views) : transactionAt(views.committed, location);
  // Empty data, not null, as go-ethereum.
  return record === undefined ? "0x" : data(record.raw);
}

function receiptByHash(hash: Bytes, { committed }: RequestViews, cache: BlockCache): JsonValue {
  const location = transactionLocation(committed, hash);
  if (location === undefined) return null;
  const record = transactionAt(committed, location);
  const block = cache.block(committed, location.blockNumber);
  if (record === undefined || block === undefined) return null;
  const place = { block, index: location.index };
  const logIndex = record.receipt.logs.length === 0 ? 0 : cache.firstLogIndex(committed, place);
  return encodeReceipt(record, decodeTransaction(record.raw).to, { ...place, transactionHash: hash, logIndex });
}
