/**
 * Test support: a small chain of synthetic blocks in a state held in memory, every version kept, and an
 * {@link EthereumRpc} over it with calls that answer from a table.
 */
import {
  type Bytes,
  compareBytes,
  concatBytes,
  fromHex,
  toHex,
  utf8Decode,
  utf8Encode,
} from "../../../core/codec/bytes.ts";
import { invariant } from "../../../errors.ts";
import type { RequestResult, RequestViews, StateReader, StateWriter } from "../../adapter.ts";
import { type BlockEntry, buildBlock, environmentOfHeader, readBlock, writeBlock } from "../block.ts";
import { keccak256 } from "../keccak.ts";
import { logsBloom } from "../receipts.ts";
import { encodeAccount } from "../records.ts";
import { encodeTransaction, type TransactionFields } from "../transactions.ts";
import { type EthereumOptions, type Log, type Receipt, type SignedTransaction, TABLES } from "../types.ts";
import type { Calls } from "./call-methods.ts";
import { EthereumRpc } from "./ethereum-rpc.ts";

/** A state in memory. */
export class MemoryState implements StateWriter {
  readonly version: number;
  readonly #entries: Map<string, Bytes>;

  constructor(version = 0, entries: ReadonlyMap<string, Bytes> = new Map()) {
    this.version = version;
    this.#entries = new Map(entries);
  }

  /** A copy that is the next version. */
  next(): MemoryState {
    return new MemoryState(this.version + 1, this.#entries);
  }

  get(table: number, key: Bytes): Bytes | undefined {
    return this.#entries.get(`${table}/${toHex(key)}`);
  }

  /** All entries count as written by this version: no test asks which one it was. */
  versionOf(table: number, key: Bytes): number | undefined {
    return this.get(table, key) && this.version;
  }

  *scan(
    table: number,
    from?: Bytes,
    to?: Bytes,
    limit = Number.POSITIVE_INFINITY,
  ): IterableIterator<readonly [Bytes, Bytes]> {
    const prefix = `${table}/`;
    const found = [...this.#entries]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [fromHex(name.slice(prefix.length)), value] as const)
      .filter(
        ([key]) =>
          (from === undefined || compareBytes(key, from) >= 0) && (to === undefined || compareBytes(key, to) < 0),
      )
      .sort(([left], [right]) => compareBytes(left, right));
    yield* found.slice(0, limit);
  }

  put(table: number, key: Bytes, value: Bytes): void {
    this.#entries.set(`${table}/${toHex(key)}`, value);
  }

  delete(table: number, key: Bytes): void {
    this.#entries.delete(`${table}/${toHex(key)}`);
  }
}

/** An address or hash of one repeated byte. */
export function repeated(byte: number, length: number): Bytes {
  return new Uint8Array(length).fill(byte);
}

export const CHAIN_ID = 1337;
export const ALICE = repeated(0xa1, 20);
export const BOB = repeated(0xb0, 20);
export const TOKEN = repeated(0x70, 20);
export const TRANSFERRED = repeated(0x01, 32);
export const APPROVED = repeated(0x02, 32);
export const TOKEN_CODE = fromHex("600160005260206000f3");
export const BASE_FEE = 1_000_000_000n;

/** Options of the test network. */
export const OPTIONS: EthereumOptions = {
  chainId: CHAIN_ID,
  hardfork: "prague",
  blockGasLimit: 30_000_000,
  initialBaseFee: BASE_FEE,
  coinbase: repeated(0xc0, 20),
  timestamp: 1_700_000_000,
  alloc: [],
  replay: false,
};

const UNSIGNED = {
  gasPrice: undefined,
  maxFeePerGas: undefined,
  maxPriorityFeePerGas: undefined,
  accessList: [],
  maxFeePerBlobGas: undefined,
  blobVersionedHashes: [],
  authorizationList: [],
  chainId: CHAIN_ID,
  gasLimit: 100_000,
  to: TOKEN,
  value: 7n,
  data: fromHex("a9059cbb"),
  v: 1n,
  r: 0x1234n,
  s: 0x5678n,
} as const;

/** A transaction of a type; the signature is not one, which nothing here checks. */
export function transaction(
  type: 0 | 1 | 2 | 3 | 4,
  nonce: number,
  changes: Partial<TransactionFields> = {},
): SignedTransaction {
  const fees =
    type < 2 ? { gasPrice: 2n * BASE_FEE } : { maxFeePerGas: 3n * BASE_FEE, maxPriorityFeePerGas: BigInt(type) };
  const accessList = type === 0 ? [] : [{ address: TOKEN, storageKeys: [repeated(3, 32)] }];
  const special = {
    ...(type === 0 ? { v: BigInt(CHAIN_ID) * 2n + 36n } : {}),
    ...(type === 3
      ? { maxFeePerBlobGas: 9n, blobVersionedHashes: [concatBytes(Uint8Array.of(1), repeated(9, 31))] }
      : {}),
    ...(type === 4
      ? { authorizationList: [{ chainId: 0n, address: BOB, nonce: 5n, yParity: 1, r: 0x11n, s: 0x22n }] }
      : {}),
  };
  const fields: TransactionFields = { ...UNSIGNED, ...fees, ...special, type, nonce, accessList, ...changes };
  const raw = encodeTransaction(fields);
  return { ...fields, raw, hash: keccak256(raw), from: ALICE };
}

/** A log of the token. */
export function tokenLog(topics: readonly Bytes[]): Log {
  return { address: TOKEN, topics, data: repeated(0xdd, 32) };
}

function entry(transaction: SignedTransaction, logs: readonly Log[], cumulativeGasUsed: number): BlockEntry {
  const tip = transaction.maxPriorityFeePerGas;
  const receipt: Receipt = {
    type: transaction.type,
    success: true,
    cumulativeGasUsed,
    gasUsed: 50_000,
    logsBloom: logsBloom(logs),
    logs,
    contractAddress: transaction.to === undefined ? repeated(0xcc, 20) : undefined,
    effectiveGasPrice: tip === undefined ? (transaction.gasPrice ?? 0n) : BASE_FEE + tip,
    blobGasUsed: transaction.type === 3 ? 131_072 : undefined,
    blobGasPrice: transaction.type === 3 ? 1n : undefined,
  };
  return { transaction, receipt };
}

/** A transaction of a block and the logs it emits. */
export type Emitting = readonly [transaction: SignedTransaction, logs: readonly Log[]];

/** A chain whose versions are all kept, unless `keepFrom` is raised. */
export class TestChain {
  readonly versions: MemoryState[] = [];
  keepFrom = 0;

  constructor() {
    const genesis = new MemoryState();
    genesis.put(TABLES.accounts, ALICE, encodeAccount({ nonce: 0, balance: 10n ** 18n, codeHash: undefined }));
    genesis.put(TABLES.accounts, TOKEN, encodeAccount({ nonce: 1, balance: 0n, codeHash: keccak256(TOKEN_CODE) }));
    genesis.put(TABLES.code, keccak256(TOKEN_CODE), TOKEN_CODE);
    genesis.put(TABLES.storage, concatBytes(TOKEN, repeated(0, 32)), Uint8Array.of(0x2a));
    this.versions.push(genesis);
    this.#write(genesis, 0, []);
  }

  get newest(): MemoryState {
    return this.versions.at(-1) as MemoryState;
  }

  /** Adds a version with a block; every block gives Alice one wei and one nonce. */
  addBlock(transactions: readonly Emitting[] = []): void {
    const state = this.newest.next();
    const number = this.number + 1;
    state.put(
      TABLES.accounts,
      ALICE,
      encodeAccount({ nonce: number, balance: 10n ** 18n + BigInt(number), codeHash: undefined }),
    );
    this.#write(state, number, transactions);
    this.versions.push(state);
  }

  /** Adds a version without a block. */
  addVersion(): void {
    this.versions.push(this.newest.next());
  }

  number = -1;

  #write(state: MemoryState, number: number, transactions: readonly Emitting[]): void {
    const entries = transactions.map(([signed, logs], index) => entry(signed, logs, (index + 1) * 50_000));
    const environment = {
      hardfork: OPTIONS.hardfork,
      number,
      timestamp: OPTIONS.timestamp + number,
      coinbase: OPTIONS.coinbase,
      gasLimit: OPTIONS.blockGasLimit,
      difficulty: 0n,
      prevRandao: repeated(number, 32),
      baseFeePerGas: BASE_FEE,
      excessBlobGas: 0,
      parentBeaconBlockRoot: repeated(0, 32),
      blockHash: () => undefined,
    };
    const parent = number === 0 ? repeated(0, 32) : (readBlock(state, number - 1)?.hash as Bytes);
    writeBlock(state, buildBlock(environment, parent, repeated(0x55, 32), entries), entries);
    this.number = number;
  }

  /** Views with the newest version committed, or version `committed` with the newest one pending. */
  views(committed = this.versions.length - 1, leads = true): RequestViews {
    const at = (version: number): StateReader | undefined =>
      version >= this.keepFrom && version <= committed ? this.versions[version] : undefined;
    return { committed: this.versions[committed] as MemoryState, pending: leads ? this.newest : undefined, at };
  }

  hash(number: number): string {
    return `0x${toHex(readBlock(this.newest, number)?.hash as Bytes)}`;
  }
}

/** A call that succeeded. */
export const RAN = {
  success: true,
  returnData: Uint8Array.of(1, 2),
  gasUsed: 21_000,
  peakGasUsed: 21_000,
  fault: undefined,
  outOfGas: false,
  logs: [],
  createdAddress: undefined,
  accessList: undefined,
} as const;

/** Calls that fail the test when they are made. */
export const NO_CALLS: Calls = {
  call: () => unexpected(),
  estimateGas: () => unexpected(),
  createAccessList: () => unexpected(),
  environmentOf: (view, number) => {
    const block = readBlock(view, number);
    return block === undefined ? undefined : environmentOfHeader(view, block.header, OPTIONS);
  },
};

function unexpected(): never {
  invariant(false, "unexpected call");
}

/** An interface for tests with a clock that is set by hand. */
export class TestRpc {
  readonly log: string[] = [];
  readonly rpc: EthereumRpc;
  nowMs = 0;
  #random = 0;
  randomBytes = (length: number): Bytes => repeated(++this.#random, length);

  constructor(calls: Calls = NO_CALLS, options: EthereumOptions = OPTIONS) {
    this.rpc = new EthereumRpc({
      options,
      calls,
      components: {
        sha256: keccak256,
        now: () => this.nowMs,
        nextTurn: () => Promise.resolve(),
        randomBytes: (length) => this.randomBytes(length),
        log: (line) => this.log.push(line),
      },
      transactionId: (hash) => (hash[0] === 0x77 ? "2.17" : undefined),
    });
  }

  /** What becomes of a request body. */
  async request(body: string | Bytes, views: RequestViews): Promise<RequestResult> {
    const bytes = typeof body === "string" ? utf8Encode(body) : body;
    return this.rpc.request({ path: "/eth", body: bytes, caller: { actor: "test", certificate: "" } }, views);
  }

  /** The text of the answer to a request body. */
  async text(body: string | Bytes, views: RequestViews): Promise<string> {
    const result = await this.request(body, views);
    invariant(result.type === "answer", `the request was not answered but ${result.type}`);
    invariant(
      result.response.status === 200 && result.response.contentType === "application/json",
      "not a JSON answer",
    );
    return utf8Decode(result.response.body);
  }

  /** The answer to one call: its result, or its error. */
  async call(method: string, parameters: unknown, views: RequestViews): Promise<unknown> {
    const answer: unknown = JSON.parse(
      await this.text(JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: parameters }), views),
    );
    const { result, error } = answer as { readonly result?: unknown; readonly error?: unknown };
    return error ?? result;
  }
}
