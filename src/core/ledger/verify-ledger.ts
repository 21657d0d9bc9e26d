/**
 * Verifies a ledger from its genesis on without any key of the network: what an auditor does offline, and what a starting
 * node does with its own disk. Checked of every entry: its place in the log, form, chain of digests, Merkle root and the
 * signature by a node that the constitution lists at that point. Administrative transactions are executed, so that the
 * constitution is the one their votes made. What is sealed stays sealed: that is authenticated, not opened.
 *
 * A ledger that was cut at the end of an entry is a valid shorter ledger. Whoever knows how long it was (a receipt, another
 * node, a later chunk) says so with `expected`.
 */
import { type Bytes, bytesEqual } from "../codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { type BatchHeader, type ParsedBatch, parseBatch } from "./batch-format.ts";
import type { BatchRecord } from "./batch-table.ts";
import { verifyBatch } from "./batch.ts";
import type { VerifyCrypto } from "./keys.ts";
import { LedgerTail } from "./tail.ts";

/** One entry as it stands in a chunk file: a record's index and term, and one batch. */
export interface LedgerEntry {
  readonly index: number;
  readonly term: number;
  readonly data: Bytes;
}

/** How administrative transactions act; given by the caller, since the ledger knows no governance. */
export interface LedgerGovernance<State> {
  /**
   * State after an administrative batch on the state before it, undefined before genesis; its Merkle root fits already.
   * Throws `CocoError`, with nothing changed, when one of its transactions does not hold.
   */
  execute(state: State | undefined, batch: ParsedBatch): State;
  /** Public key (SubjectPublicKeyInfo, DER) of a node that may sign in this state, by the hex of its id. */
  publicKeyOf(state: State, nodeId: string): Bytes | undefined;
  /** Governance version a batch must name that follows this state (undefined before genesis). Not compared when not given. */
  versionOf?(state: State | undefined): number;
  /** Epochs that are open in a state; a batch of a later one is refused. Not compared when not given. */
  epochsOf?(state: State | undefined): number;
  /** Whether an adapter is mounted in a state; an application batch of another one is refused. Not compared when not given. */
  hasAdapter?(state: State | undefined, adapterId: number): boolean;
}

/** A ledger up to a batch, from which verification goes on. */
export interface LedgerStart<State> {
  readonly tail: LedgerTail;
  /** Undefined when the tail is empty. */
  readonly state: State | undefined;
}

/** Options of {@link verifyLedger}. */
export interface VerifyLedgerOptions<State> {
  readonly crypto: VerifyCrypto;
  readonly governance: LedgerGovernance<State>;
  /** Where to begin; the genesis when not given. The tail is extended. */
  readonly start?: LedgerStart<State>;
  /** The ledger must reach at least this far, and have this batch digest there if one is given. */
  readonly expected?: { readonly index: number; readonly digest?: Bytes };
  /** Called for every entry that holds, in order, with the state after it. What it throws is thrown on: it is no fault of the ledger. */
  readonly onBatch?: (batch: ParsedBatch, record: BatchRecord, state: State) => void;
}

/** The first entry of a ledger that does not hold. */
export interface BadEntry {
  /** Raft index at which an entry that holds was expected. */
  readonly index: number;
  /** Sequence number at which its first transaction was expected. */
  readonly seqno: number;
  /** What does not hold. */
  readonly reason: string;
  /** Code of the error behind it. */
  readonly code: string;
}

/** What is known of a ledger after verification: of all of it, or of the part before the bad entry. */
export interface LedgerVerification<State> {
  /** The first entry that does not hold; undefined when all do. */
  readonly bad: BadEntry | undefined;
  /** The ledger up to the last entry that holds. */
  readonly tail: LedgerTail;
  /** Governance after that entry; undefined when not even the genesis holds. */
  readonly state: State | undefined;
  /** Entries and transactions (signature transactions included) that were verified in this call. */
  readonly entries: number;
  readonly transactions: number;
  /** Bytes of their batches. */
  readonly bytes: number;
}

/** Verification as it goes on; see {@link verifyLedger}. */
class LedgerVerifier<State> {
  readonly #options: VerifyLedgerOptions<State>;
  readonly tail: LedgerTail;
  state: State | undefined;
  /** Whether it is the visitor that is at work. */
  visiting = false;

  constructor(options: VerifyLedgerOptions<State>) {
    this.#options = options;
    this.tail = options.start?.tail ?? new LedgerTail(options.crypto.sha256);
    this.state = options.start?.state;
  }

  /** Throws, with nothing changed, when the entry does not continue the ledger. */
  add(entry: LedgerEntry): void {
    const { expected, onBatch } = this.#options;
    const batch = parseBatch(entry.data);
    this.#checkPlace(entry, batch.header);
    const { record, state } = this.state === undefined ? this.#addGenesis(batch) : this.#addBatch(batch, this.state);
    const { digest, index } = record;
    if (expected?.digest !== undefined && index === expected.index && !bytesEqual(expected.digest, digest)) {
      this.tail.truncate(index);
      throw corrupt("it is not the batch that was expected here");
    }
    this.state = state;
    this.visiting = true;
    onBatch?.(batch, record, state);
    this.visiting = false;
  }

  #checkPlace(entry: LedgerEntry, { kind, index, view, governanceVersion, epoch, adapterId }: BatchHeader): void {
    const { governance } = this.#options;
    if (entry.index !== index) throw corrupt(`the record names index ${entry.index}, its batch ${index}`);
    if (entry.term !== view) throw corrupt(`the record names term ${entry.term}, its batch view ${view}`);
    if (index !== this.tail.lastIndex + 1) throw corrupt(`index ${index} does not follow ${this.tail.lastIndex}`);
    if (governance.versionOf !== undefined && governance.versionOf(this.state) !== governanceVersion)
      throw corrupt(`governance version ${governanceVersion} is not the one in force`);
    if (governance.epochsOf !== undefined && governance.epochsOf(this.state) < epoch)
      throw corrupt(`it is sealed under epoch ${epoch}, which is not open`);
    if (kind === "application" && governance.hasAdapter?.(this.state, adapterId) === false)
      throw corrupt(`it is of adapter ${adapterId}, which is not mounted`);
  }

  /** Genesis says itself who may sign it: what it says is executed once its bytes are known to fit their root. */
  #addGenesis(batch: ParsedBatch): Step<State> {
    const { crypto, governance } = this.#options;
    if (batch.header.kind !== "administrative") throw corrupt("a ledger begins with its genesis");
    this.tail.append(batch);
    this.tail.truncate(batch.header.index);
    const state = governance.execute(undefined, batch);
    const record = verifyBatch(batch, this.tail, (nodeId) => governance.publicKeyOf(state, nodeId), crypto);
    return { record, state };
  }

  /** Every other batch is signed by a node that may sign in the state before it. */
  #addBatch(batch: ParsedBatch, before: State): Step<State> {
    const { crypto, governance } = this.#options;
    const record = verifyBatch(batch, this.tail, (nodeId) => governance.publicKeyOf(before, nodeId), crypto);
    if (batch.header.kind !== "administrative") return { record, state: before };
    try {
      return { record, state: governance.execute(before, batch) };
    } catch (error) {
      this.tail.truncate(record.index);
      throw error;
    }
  }
}

/** A batch that holds, and governance after it. */
interface Step<State> {
  readonly record: BatchRecord;
  readonly state: State;
}

function corrupt(what: string): CocoError {
  return new CocoError("LedgerCorrupt", what);
}

/**
 * Verifies entries in order and names the first that does not hold; entries after it are not read. An error that reading
 * the entries throws names the entry that could not be read. Thrown on are errors that are no {@link CocoError}, and what a visitor
 * throws.
 */
export function verifyLedger<State>(
  entries: Iterable<LedgerEntry>,
  options: VerifyLedgerOptions<State>,
): LedgerVerification<State> {
  const verifier = new LedgerVerifier(options);
  const { tail } = verifier;
  const start = { index: tail.lastIndex, seqno: tail.lastSeqno };
  let bytes = 0;
  let bad: BadEntry | undefined;
  try {
    for (const entry of entries) {
      verifier.add(entry);
      bytes += entry.data.length;
    }
    if (tail.lastIndex === 0) throw corrupt("there is no entry");
    const { expected } = options;
    if (expected !== undefined && tail.lastIndex < expected.index)
      throw corrupt(`the ledger ends before index ${expected.index}`);
  } catch (error) {
    if (verifier.visiting || !(error instanceof CocoError)) throw error;
    bad = { index: tail.lastIndex + 1, seqno: tail.lastSeqno + 1, reason: error.message, code: error.code };
  }
  return {
    bad,
    tail,
    state: verifier.state,
    entries: tail.lastIndex - start.index,
    transactions: tail.lastSeqno - start.seqno,
    bytes,
  };
}
