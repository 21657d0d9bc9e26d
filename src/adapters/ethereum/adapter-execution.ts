/**
 * The execution half of the Ethereum adapter: batches become blocks. On the leader it executes; elsewhere it only keeps
 * the state trie in step. One block is written per batch that includes an Ethereum transaction.
 */
import { type Bytes, bytesEqual, concatBytes } from "../../core/codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";
import type {
  AdapterComponents,
  BatchContext,
  CommittedBatch,
  DroppedTransaction,
  PreparedTransaction,
  StateReader,
  StateWriter,
  TransactionOutcome,
  WrittenKey,
} from "../adapter.ts";
import { Batch } from "./batch.ts";
import { buildBlock, nextEnvironment, readHeadBlock, writeBlock } from "./block.ts";
import type { Engine } from "./engine.ts";
import { lazyEthereumjsEngine } from "./lazy-engine.ts";
import { EvmState } from "./evm-state.ts";
import { type Execution, executeTransaction } from "./execute.ts";
import { isAtLeast } from "./forks.ts";
import { writeGenesis } from "./genesis.ts";
import { TransactionPool } from "./pool.ts";
import { decodePrepared, encodeFault } from "./prepare.ts";
import { encodeReceipt } from "./receipts.ts";
import {
  decodeReplay,
  encodeEnvironment,
  environmentOfReplay,
  readReplayEnvironment,
  replaceAccounts,
  type ReplayTransaction,
} from "./replay.ts";
import { StateTrie } from "./state-trie.ts";
import { applySystemCalls } from "./system-calls.ts";
import { TRANSACTION_BYTES_MAX } from "./transactions.ts";
import { type EthereumOptions, META_KEYS, type RpcFault, type SignedTransaction, TABLES } from "./types.ts";
import { type NetworkRules, refusal } from "./validate.ts";

/** What is refused when the engine itself fails; nothing of the transaction is kept. */
const ENGINE_FAULT: RpcFault = { code: -32603, message: "internal error" };

/** A follower computes the state root, and compares it with the block's, once in so many written keys. */
export const KEYS_BETWEEN_ROOTS = 4096;

/** The parts of an {@link EthereumExecution} that can be chosen. */
export interface ExecutionParts {
  readonly engine?: Engine;
  readonly pool?: TransactionPool;
}

function rejected(fault: RpcFault): TransactionOutcome {
  return { type: "rejected", error: encodeFault(fault) };
}

/** Executes transactions and builds blocks; implements the methods of the adapter contract of the same names. */
export class EthereumExecution {
  readonly options: EthereumOptions;
  /** Transactions that wait for an earlier nonce; local to this node. */
  readonly pool: TransactionPool;
  readonly engine: Engine;
  readonly #components: AdapterComponents;
  readonly #rules: NetworkRules;
  readonly #trie = new StateTrie();
  #batch: Batch | undefined = undefined;
  #keysSinceRoot = 0;
  /** Decoded once for the weight and again needed for execution. */
  readonly #decoded = new WeakMap<PreparedTransaction, SignedTransaction>();

  constructor(options: EthereumOptions, components: AdapterComponents, parts: ExecutionParts = {}) {
    this.options = options;
    this.#components = components;
    this.#rules = {
      chainId: options.chainId,
      allowBlobs: options.replay,
      maxTransactionBytes: options.replay ? undefined : TRANSACTION_BYTES_MAX,
    };
    this.engine = parts.engine ?? lazyEthereumjsEngine(options.chainId);
    this.pool = parts.pool ?? new TransactionPool();
  }

  /** A block's gas limit: the sum of its transactions' gas limits stays below it. */
  get batchWeight(): number {
    return this.options.blockGasLimit;
  }

  /** The transaction's gas limit; zero for what only sets up a replay. */
  weight(transaction: PreparedTransaction): number {
    return decodeReplay(transaction.body) === undefined ? this.#decode(transaction).gasLimit : 0;
  }

  #decode(prepared: PreparedTransaction): SignedTransaction {
    let transaction = this.#decoded.get(prepared);
    if (transaction === undefined) {
      transaction = decodePrepared(prepared.body);
      this.#decoded.set(prepared, transaction);
    }
    return transaction;
  }

  /** Writes the accounts of the constitution and block 0. */
  genesis(state: StateWriter): void {
    writeGenesis(state, this.options, this.#trie);
  }

  /** Opens a batch. */
  beginBatch(state: StateReader, context: BatchContext): void {
    const parent = readHeadBlock(state);
    const environment = nextEnvironment(state, parent, this.options, context);
    this.#batch = new Batch(parent, environment, this.options.replay ? readReplayEnvironment(state) : undefined);
  }

  get #open(): Batch {
    invariant(this.#batch !== undefined, "a transaction is executed outside a batch");
    return this.#batch;
  }

  /** Runs one transaction; plain transfers of value give their outcome without a promise. */
  execute(state: StateWriter, prepared: PreparedTransaction): TransactionOutcome | Promise<TransactionOutcome> {
    try {
      const replay = decodeReplay(prepared.body);
      return replay === undefined ? this.#executeSigned(state, prepared) : this.#executeReplay(state, replay);
    } catch (error) {
      if (error instanceof CocoError && error.code !== "Internal") return rejected(refusal(error.message));
      throw error;
    }
  }

  #executeSigned(state: StateWriter, prepared: PreparedTransaction): TransactionOutcome | Promise<TransactionOutcome> {
    const batch = this.#open;
    const transaction = this.#decode(prepared);
    if (batch.includes(transaction.hash) || state.get(TABLES.transactionPlaces, transaction.hash) !== undefined) {
      return { type: "duplicate", result: transaction.hash };
    }
    const overlay = new EvmState(state);
    if (!batch.started && !batch.isReplaying) {
      applySystemCalls(batch.environment, overlay);
      overlay.startTransaction();
    }
    const { environment } = batch;
    const context = { engine: this.engine, environment, rules: this.#rules, cumulativeGasUsed: batch.gasUsed };
    const execution = executeTransaction(transaction, overlay, context);
    const finish = (done: Execution): TransactionOutcome =>
      this.#finish(done, { state, overlay, prepared, transaction });
    if (!(execution instanceof Promise)) return finish(execution);
    return execution.then(finish, (error: unknown) => {
      this.#components.log(`the engine failed: ${error instanceof Error ? error.name : "unknown error"}`);
      return rejected(ENGINE_FAULT);
    });
  }

  #finish(execution: Execution, running: RunningTransaction): TransactionOutcome {
    const { transaction, prepared, overlay, state } = running;
    if (execution.type === "refused") return rejected(execution.fault);
    if (execution.type === "gap") {
      const fault = this.pool.add({ transaction, prepared });
      return fault === undefined ? { type: "waiting", result: transaction.hash } : rejected(fault);
    }
    const batch = this.#open;
    const written = overlay.writeTo(state, isAtLeast(batch.environment.hardfork, "spuriousDragon"));
    batch.started = true;
    batch.include(transaction, execution.receipt);
    batch.wrote(written, state, this.pool);
    const claimsDigest = this.#components.sha256(concatBytes(transaction.hash, encodeReceipt(execution.receipt)));
    return { type: "included", result: transaction.hash, claimsDigest };
  }

  #executeReplay(state: StateWriter, replay: ReplayTransaction): TransactionOutcome {
    if (!this.options.replay) return rejected(refusal("this network does not allow replay"));
    const batch = this.#open;
    const overlay = new EvmState(state);
    if (replay.type === "state") replaceAccounts(replay.accounts, overlay);
    else if (replay.environment === undefined) {
      batch.environment = batch.blockEnvironment;
      state.delete(TABLES.meta, META_KEYS.replayEnvironment);
    } else {
      batch.environment = environmentOfReplay(replay.environment);
      state.put(TABLES.meta, META_KEYS.replayEnvironment, encodeEnvironment(replay.environment));
      applySystemCalls(batch.environment, overlay);
    }
    batch.wrote(overlay.writeTo(state, false), state, this.pool);
    return { type: "included", result: replay.id };
  }

  /** Transactions that waited and can run now, in nonce order for each sender. */
  released(): readonly PreparedTransaction[] {
    return this.#batch?.takeReleased() ?? [];
  }

  /** Waiting transactions that were replaced or overtaken. */
  dropped(): readonly DroppedTransaction[] {
    return this.pool.takeDropped();
  }

  /** Closes the batch and writes its block; a batch that only set up a replay gets none. */
  endBatch(state: StateWriter): { readonly claimsDigest?: Bytes } {
    const batch = this.#open;
    this.#batch = undefined;
    this.#trie.markDirty(batch.written);
    if (batch.entries.length === 0) return {};
    const block = buildBlock(batch.blockEnvironment, batch.parent.hash, this.#trie.root(state), batch.entries);
    writeBlock(state, block, batch.entries);
    return { claimsDigest: this.#components.sha256(block.hash) };
  }

  /** A batch of another leader was applied: what waits here is known there or lost to its sender's retry. */
  applied(state: StateReader, written: readonly WrittenKey[]): void {
    this.#batch = undefined;
    this.pool.clear();
    this.#trie.markDirty(written);
    this.#keysSinceRoot += written.length;
    if (
      this.#trie.isBuilding ||
      this.#keysSinceRoot < KEYS_BETWEEN_ROOTS ||
      !written.some(({ table }) => table === TABLES.blocks)
    )
      return;
    this.#keysSinceRoot = 0;
    this.#checkRoot(state);
  }

  /** Keeps the tries ready for the day this node leads, and tells a leader whose blocks do not follow from its writes. */
  #checkRoot(state: StateReader): void {
    const head = readHeadBlock(state);
    if (bytesEqual(this.#trie.root(state), head.header.stateRoot)) return;
    throw new CocoError(
      "LedgerCorrupt",
      `the state root of block ${head.header.number} does not follow from the writes`,
      {
        block: head.header.number,
      },
    );
  }

  /** The uncommitted suffix was undone. */
  rolledBack(_state: StateReader, written: readonly WrittenKey[]): void {
    this.#batch = undefined;
    this.pool.clear();
    this.#trie.markDirty(written);
  }

  /**
   * The state was replaced as a whole: the tries are built from its tables beside other work, so that they are there when
   * this node leads. The first block that is applied after that is checked against them.
   */
  restored(state: StateReader): void {
    this.#batch = undefined;
    this.pool.clear();
    this.#keysSinceRoot = KEYS_BETWEEN_ROOTS;
    this.#trie.build(state, this.#components.nextTurn).catch((error: unknown) => {
      this.#trie.clear();
      this.#components.log(`the state trie was not built: ${error instanceof Error ? error.message : "unknown"}`);
    });
  }

  /** Nothing here depends on commitment. */
  committed(_state: StateReader, _batch: CommittedBatch): void {}
}

/** A transaction between its execution and its outcome. */
interface RunningTransaction {
  readonly state: StateWriter;
  readonly overlay: EvmState;
  readonly prepared: PreparedTransaction;
  readonly transaction: SignedTransaction;
}
