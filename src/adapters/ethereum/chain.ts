/**
 * Read access to the chain and its accounts through one version of the state. Pure functions over a `StateReader`; what
 * is absent reads as undefined (blocks, transactions), zero or empty (accounts, code, storage). Byte strings are views on
 * the state. The tables and their keys are described in types.ts.
 */
import { type Bytes, ByteReader, concatBytes, EMPTY } from "../../core/codec/bytes.ts";
import { invariant } from "../../errors.ts";
import type { StateReader } from "../adapter.ts";
import { blockKey, readBlock, transactionKey } from "./block.ts";
import { decodeAccount, decodeBlockRecord, decodeTransactionRecord } from "./records.ts";
import { type Account, type BlockRecord, TABLES, type TransactionRecord } from "./types.ts";

function readU64(bytes: Bytes): number {
  const reader = new ByteReader(bytes);
  const value = reader.u64();
  reader.end();
  return value;
}

/** The block with this number. */
export function blockByNumber(state: StateReader, number: number): BlockRecord | undefined {
  if (!Number.isSafeInteger(number) || number < 0) return undefined;
  return readBlock(state, number);
}

/** Number of the block with this hash. */
export function blockNumberByHash(state: StateReader, hash: Bytes): number | undefined {
  const number = state.get(TABLES.blockNumbers, hash);
  return number === undefined ? undefined : readU64(number);
}

/** The block with this hash. */
export function blockByHash(state: StateReader, hash: Bytes): BlockRecord | undefined {
  const number = blockNumberByHash(state, hash);
  return number === undefined ? undefined : blockByNumber(state, number);
}

/** The blocks `from` to `to`, both included, as far as they exist; valid until the next one is taken. */
export function* blocksBetween(state: StateReader, from: number, to: number): Generator<BlockRecord, void, undefined> {
  if (from > to || !Number.isSafeInteger(from)) return;
  const end = to >= Number.MAX_SAFE_INTEGER ? undefined : blockKey(to + 1);
  for (const [, record] of state.scan(TABLES.blocks, blockKey(from), end)) yield decodeBlockRecord(record);
}

/** Where a transaction stands in the chain. */
export interface TransactionLocation {
  readonly blockNumber: number;
  readonly index: number;
}

/** Place of the transaction with this hash. */
export function transactionLocation(state: StateReader, hash: Bytes): TransactionLocation | undefined {
  const place = state.get(TABLES.transactionPlaces, hash);
  if (place === undefined) return undefined;
  const reader = new ByteReader(place);
  const location = { blockNumber: reader.u64(), index: reader.u32() };
  reader.end();
  return location;
}

/** The transaction at a place. */
export function transactionAt(
  state: StateReader,
  { blockNumber, index }: TransactionLocation,
): TransactionRecord | undefined {
  if (!Number.isSafeInteger(blockNumber) || !Number.isInteger(index) || index > 0xffffffff) return undefined;
  const record = state.get(TABLES.transactions, transactionKey(blockNumber, index));
  return record === undefined ? undefined : decodeTransactionRecord(record);
}

/** The transactions of a block in order; with `count`, only the first ones. */
export function* transactionsOfBlock(
  state: StateReader,
  blockNumber: number,
  count?: number,
): Generator<TransactionRecord, void, undefined> {
  const [from, to] = [transactionKey(blockNumber, 0), transactionKey(blockNumber + 1, 0)];
  for (const [, record] of state.scan(TABLES.transactions, from, to, count)) yield decodeTransactionRecord(record);
}

/** The account at an address. */
export function accountAt(state: StateReader, address: Bytes): Account | undefined {
  const account = state.get(TABLES.accounts, address);
  return account === undefined ? undefined : decodeAccount(account);
}

/** Balance of an address in wei. */
export function balanceOf(state: StateReader, address: Bytes): bigint {
  return accountAt(state, address)?.balance ?? 0n;
}

/** Nonce of an address: the number its next transaction must have. */
export function nonceOf(state: StateReader, address: Bytes): number {
  return accountAt(state, address)?.nonce ?? 0;
}

/** Code of an address; empty without. */
export function codeOf(state: StateReader, address: Bytes): Bytes {
  const hash = accountAt(state, address)?.codeHash;
  if (hash === undefined) return EMPTY;
  const code = state.get(TABLES.code, hash);
  invariant(code !== undefined, "an account's code is missing");
  return code;
}

/** Value of a storage slot (32 bytes) without leading zeros; empty for zero. */
export function storageOf(state: StateReader, address: Bytes, slot: Bytes): Bytes {
  return state.get(TABLES.storage, concatBytes(address, slot)) ?? EMPTY;
}
