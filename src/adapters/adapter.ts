/**
 * The adapter contract: what a blockchain protocol must offer to run on Coco Framework, and what it is given.
 *
 * An adapter lives in a worker. It sees its own tables, the identity of callers, time and randomness handed in by the
 * framework, and nothing else: no keys, no disk, no network, no other adapter's tables (R31). The leader's worker
 * executes; every other validating node applies the write sets (R19), so execution may be non-deterministic.
 */
import type { Bytes } from "../core/codec/bytes.ts";

/** Who sent a request: the actor of the constitution whose certificate (or a staff certificate under it) was presented. */
export interface Caller {
  /** Actor id as the constitution names it. */
  readonly actor: string;
  /** Hex SHA-256 of the presented certificate (DER). */
  readonly certificate: string;
}

/** A client's request, already authenticated and within the body limit. */
export interface ClientRequest {
  readonly path: string;
  readonly body: Bytes;
  readonly caller: Caller;
}

/** What a client gets back. */
export interface ClientResponse {
  readonly status: number;
  readonly contentType: string;
  readonly body: Bytes;
}

/** A table of an adapter. Ids are stable and never reused; they stand in the ledger. */
export interface TableDefinition {
  readonly id: number;
  /** `public:` first when the ledger shall hold it in plain; everything else is sealed. */
  readonly name: string;
}

/** Ordered read access to one consistent version of the adapter's tables. */
export interface StateReader {
  /** Number of batches this version is the result of; grows by one per batch. */
  readonly version: number;
  get(table: number, key: Bytes): Bytes | undefined;
  /**
   * Version of the batch that wrote a key last, undefined when the key is not there. A batch that is being executed
   * counts as the version it will become. The same on every node, whether it executed the batch or applied it.
   */
  versionOf(table: number, key: Bytes): number | undefined;
  /** Entries with `from <= key < to` in key order; either bound may be open. The bytes are views: copy to keep. */
  scan(table: number, from?: Bytes, to?: Bytes, limit?: number): IterableIterator<readonly [key: Bytes, value: Bytes]>;
}

/** Read and write access inside one transaction; either all of its writes are kept or none. */
export interface StateWriter extends StateReader {
  put(table: number, key: Bytes, value: Bytes): void;
  delete(table: number, key: Bytes): void;
}

/** What every transaction of one execution batch shares. */
export interface BatchContext {
  /** Wall clock of the leader in milliseconds since 1970, never going back from batch to batch. */
  readonly timeMs: number;
  /** 32 fresh random bytes. */
  readonly randomness: Bytes;
}

/** A transaction made ready for execution: decoded, signature checked. Plain bytes, since it may travel to the leader. */
export interface PreparedTransaction {
  /** At most 32 bytes that name the request; a transaction is included at most once under it. */
  readonly id: Bytes;
  /** The adapter's own encoding for `execute`. */
  readonly body: Bytes;
}

/** What preparing yields: the prepared transaction, or why it can never be executed. */
export type PrepareResult =
  | { readonly type: "prepared"; readonly transaction: PreparedTransaction }
  | { readonly type: "invalid"; readonly error: Bytes };

/** What became of one prepared transaction. */
export type TransactionOutcome =
  /** Executed (also when it reverted): it is part of the ledger. `result` goes to the response. */
  | { readonly type: "included"; readonly result: Bytes; readonly claimsDigest?: Bytes }
  /** Refused; leaves nothing behind. */
  | { readonly type: "rejected"; readonly error: Bytes }
  /** Kept by the adapter until it can run (a nonce gap, say); it is released by {@link Adapter.released}. */
  | { readonly type: "waiting"; readonly result: Bytes }
  /** Already part of the state this batch starts from. */
  | { readonly type: "duplicate"; readonly result: Bytes };

/** A transaction that waited and was given up. */
export interface DroppedTransaction {
  /** Id of the prepared transaction. */
  readonly id: Bytes;
  /** Why, as in a `rejected` outcome. */
  readonly error: Bytes;
}

/** Access a request has to state: versions that are committed, and on the leader the one not committed yet. */
export interface RequestViews {
  /** The newest version that is committed and applied here. */
  readonly committed: StateReader;
  /** The newest executed version; only on the leader, elsewhere undefined. */
  readonly pending: StateReader | undefined;
  /** An older committed version, if it is still kept. */
  at(version: number): StateReader | undefined;
}

/** What an adapter makes of a client's request. */
export type RequestResult =
  | { readonly type: "answer"; readonly response: ClientResponse }
  /** Has to be answered by the leader (it asks for uncommitted state); the framework forwards it. */
  | { readonly type: "leader" }
  /** Each transaction is prepared, ordered and executed; `finish` makes the response, outcomes in the order of `transactions`. */
  | {
      readonly type: "submit";
      readonly transactions: readonly Bytes[];
      finish(outcomes: readonly SubmissionOutcome[], views: RequestViews): ClientResponse | Promise<ClientResponse>;
    };

/** The outcome of one submitted transaction as its request sees it. */
export type SubmissionOutcome =
  | TransactionOutcome
  | { readonly type: "invalid"; readonly error: Bytes }
  | { readonly type: "unavailable"; readonly code: string };

/** Where a committed batch of this adapter stands in the ledger. */
export interface CommittedBatch {
  readonly version: number;
  readonly view: number;
  /** Sequence number of the batch's first transaction; the i-th transaction of the batch has `firstSeqno + i`. */
  readonly firstSeqno: number;
  /** Application transactions in the batch, with the end-of-batch transaction if there was one. */
  readonly count: number;
}

/** A table and key that were written. */
export interface WrittenKey {
  readonly table: number;
  readonly key: Bytes;
}

/** A protocol on Coco Framework. All methods run in the adapter's worker, except `prepare`. */
export interface Adapter {
  readonly tables: readonly TableDefinition[];
  /** Largest sum of {@link Adapter.weight} in one execution batch (an Ethereum block's gas limit, say). */
  readonly batchWeight: number;
  /** Upper bound of what a transaction may use of {@link Adapter.batchWeight}. */
  weight(transaction: PreparedTransaction): number;
  /** Writes the first state of a new network. */
  genesis(state: StateWriter, context: BatchContext): void;
  /** Answers a client's request or turns it into transactions. Never writes. */
  request(request: ClientRequest, views: RequestViews): RequestResult | Promise<RequestResult>;
  /** Opens an execution batch on the leader. */
  beginBatch(state: StateReader, context: BatchContext): void;
  /** Runs one transaction on the leader. Its writes are kept when the outcome is `included`. */
  execute(state: StateWriter, transaction: PreparedTransaction): TransactionOutcome | Promise<TransactionOutcome>;
  /** Waiting transactions that can run now; the framework executes them in this batch (as far as it has room) or the next. */
  released(): readonly PreparedTransaction[];
  /**
   * Waiting transactions that will never run, since the last call: replaced, or overtaken by another. Asked after each batch;
   * an adapter that drops none needs no such method.
   */
  dropped?(): readonly DroppedTransaction[];
  /** Closes the batch; called when at least one transaction was included. May write (a block, say) as a transaction of its own. */
  endBatch(state: StateWriter): { readonly claimsDigest?: Bytes };
  /** Followers, and any node that replays its ledger: a batch of others was applied. Keys may repeat. */
  applied(state: StateReader, written: Iterable<WrittenKey>): void;
  /** The uncommitted suffix was undone; `written` are the keys whose value may have changed. */
  rolledBack(state: StateReader, written: readonly WrittenKey[]): void;
  /**
   * The state was replaced as a whole by a later version: everything kept outside the tables must be dropped, or derived
   * from them again. It is committed; `recent` are the places of its newest batches, for which `committed` is not called.
   */
  restored(state: StateReader, recent: readonly CommittedBatch[]): void;
  /** A batch is committed. */
  committed(state: StateReader, batch: CommittedBatch): void;
}

/** What an adapter is given when it is made. */
export interface AdapterComponents {
  /** SHA-256. */
  readonly sha256: (data: Bytes) => Bytes;
  /** Monotonic milliseconds: for expiry of filters and caches, never for anything that is written. */
  readonly now: () => number;
  /** Resolves after the messages that are already waiting for this worker; what takes long lets them go first with it. */
  readonly nextTurn: () => Promise<void>;
  /** 32 random bytes for local use (filter ids, say), never for anything that is written. */
  readonly randomBytes: (length: number) => Bytes;
  /** A line for the operator's log; never put private data into it. */
  readonly log: (message: string) => void;
}

/** Makes an adapter from its options in the genesis constitution. Throws `ConstitutionInvalid` for bad options. */
export type AdapterFactory = (options: unknown) => (components: AdapterComponents) => Adapter;

/** Prepares transactions: pure, without state, run in parallel threads. One result per input, in order. */
export type PrepareFunction = (transactions: readonly Bytes[]) => readonly PrepareResult[];

/** Names, version and HTTP paths of an adapter, known without loading it. */
export interface AdapterManifest {
  readonly name: string;
  readonly version: string;
  /** HTTP paths the adapter serves, each starting with `/`. */
  readonly mounts: readonly string[];
}
