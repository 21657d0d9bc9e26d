/**
 * The ledger as one node knows it: the Merkle tree over all transactions and one small record per batch.
 *
 * The tail follows the Raft log: it grows with every batch appended and shrinks when an uncommitted suffix is undone. It
 * holds no payload, about 70 bytes per transaction and 100 per batch. Sequence numbers start at 1; the transaction with
 * sequence number s is leaf s - 1 of the tree. A batch of n transactions takes n + 1 sequence numbers, the last one for
 * its signature transaction.
 */
import { type Bytes, bytesEqual, concatBytes, type HashFunction } from "../codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";
import { type BatchHeader, type ParsedBatch, signatureLeaf } from "./batch-format.ts";
import { type BatchRecord, BatchTable } from "./batch-table.ts";
import { transactionLeaf } from "./leaf.ts";
import { MerkleTree, type PathStep } from "./merkle-tree.ts";

/** Status of a transaction id, in CCF's words. */
export type TransactionStatus = "Unknown" | "Pending" | "Committed" | "Invalid";

/** A view and the first sequence number made in it. */
export interface ViewStart {
  readonly view: number;
  readonly firstSeqno: number;
}

/** Result of {@link LedgerTail.extend}. */
export interface Extension {
  readonly record: BatchRecord;
  /** Merkle root over everything up to and including the batch. */
  readonly root: Bytes;
}

/** Merkle tree, batch records and views of the whole ledger of one node. */
export class LedgerTail {
  readonly #sha256: HashFunction;
  readonly #tree: MerkleTree;
  readonly #table = new BatchTable();
  readonly #views: ViewStart[] = [];

  constructor(sha256: HashFunction) {
    this.#sha256 = sha256;
    this.#tree = new MerkleTree(sha256);
  }

  /** Raft index of the last batch; 0 when there is none. */
  get lastIndex(): number {
    return this.#table.length;
  }

  /** View of the last batch; 0 when there is none. */
  get lastView(): number {
    return this.#views.at(-1)?.view ?? 0;
  }

  /** Sequence number of the last transaction, which is a signature transaction; 0 when there is none. */
  get lastSeqno(): number {
    return this.#tree.size;
  }

  /** The record of the last batch. */
  get last(): BatchRecord | undefined {
    return this.#table.get(this.#table.length);
  }

  /** Digest the next batch must name as its previous one: zeros before the first. */
  get lastDigest(): Bytes {
    return this.last?.digest ?? new Uint8Array(32);
  }

  /**
   * Appends a batch to tree and records after computing its leaves: format, index, view, first sequence number, previous
   * digest and root must fit. The signature is not checked: a caller that trusts only signed roots calls `verifyBatch`
   * (batch.ts), or checks the signature of the last batch, whose root authenticates all before it.
   * Throws `LedgerCorrupt` naming the index, with the tail unchanged.
   */
  append(batch: ParsedBatch): BatchRecord {
    const leaves = batch.transactions.map((transaction) => transactionLeaf(transaction, this.#sha256));
    leaves.push(signatureLeaf(batch.headerBytes, batch.publicSection, batch.sealedSection, this.#sha256));
    const { record, root } = this.extend(batch.header, leaves);
    if (!bytesEqual(root, batch.root)) {
      this.truncate(record.index);
      throw new CocoError("LedgerCorrupt", `batch ${record.index}: Merkle root does not fit`, { index: record.index });
    }
    return record;
  }

  /**
   * Appends the leaves of a batch (its signature leaf last) without a root to compare with: for who builds a batch.
   * Throws `LedgerCorrupt` with the tail unchanged when the header does not continue the ledger.
   */
  extend(header: BatchHeader, leaves: readonly Bytes[]): Extension {
    this.#checkContinues(header);
    const signature = leaves.at(-1);
    invariant(
      signature !== undefined && leaves.length === header.count + 1,
      "one leaf per transaction and one for the signature",
    );
    for (const leaf of leaves) this.#tree.append(leaf);
    const root = this.#tree.root();
    const digest = this.#sha256(concatBytes(signature, root));
    this.#table.append(header, digest);
    if (header.view !== this.lastView) this.#views.push({ view: header.view, firstSeqno: header.firstSeqno });
    const record = this.last;
    invariant(record !== undefined, "a record was just added");
    return { record, root };
  }

  #checkContinues(header: BatchHeader): void {
    const refuse = (what: string): CocoError =>
      new CocoError("LedgerCorrupt", `batch ${header.index}: ${what}`, { index: header.index });
    if (header.index !== this.lastIndex + 1) throw refuse(`index does not follow ${this.lastIndex}`);
    if (header.firstSeqno !== this.lastSeqno + 1)
      throw refuse(`first sequence number does not follow ${this.lastSeqno}`);
    if (header.view < this.lastView) throw refuse(`view is before ${this.lastView}`);
    if (!bytesEqual(header.previousDigest, this.lastDigest)) throw refuse("previous digest does not fit");
  }

  /** Drops every batch from Raft index `fromIndex` on; nothing happens when there is none. */
  truncate(fromIndex: number): void {
    invariant(fromIndex >= 1, "Raft indexes start at 1");
    const first = this.#table.get(fromIndex);
    if (first === undefined) return;
    this.#tree.truncate(first.firstSeqno - 1);
    this.#table.truncate(fromIndex - 1);
    while ((this.#views.at(-1)?.firstSeqno ?? 0) >= first.firstSeqno) this.#views.pop();
  }

  /** The record of the batch at a Raft index. */
  record(index: number): BatchRecord | undefined {
    return this.#table.get(index);
  }

  /** The record of the batch that holds a sequence number; a signature transaction belongs to its batch. */
  batchOfSeqno(seqno: number): BatchRecord | undefined {
    if (seqno < 1 || seqno > this.lastSeqno) return undefined;
    return this.#table.get(this.#table.indexOfSeqno(seqno));
  }

  /** The view in which a sequence number was made; undefined when it is not (or no more) in the ledger. */
  viewOfSeqno(seqno: number): number | undefined {
    if (seqno < 1 || seqno > this.lastSeqno) return undefined;
    let low = 0;
    let high = this.#views.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#views[middle]?.firstSeqno ?? 0) <= seqno) low = middle;
      else high = middle - 1;
    }
    return this.#views[low]?.view;
  }

  /** The views that wrote to the ledger, in order, each with its first sequence number; those that start after `upToSeqno` are left out. */
  viewHistory(upToSeqno: number = this.lastSeqno): readonly ViewStart[] {
    return this.#views.filter(({ firstSeqno }) => firstSeqno <= upToSeqno);
  }

  /**
   * Status of the transaction id `view.seqno`, given the highest committed sequence number (0 when there is none).
   * As CCF answers: Committed and Invalid are final; Unknown also stands for ids that never were.
   */
  status(view: number, seqno: number, committedSeqno: number): TransactionStatus {
    const localView = this.viewOfSeqno(seqno);
    if (localView !== undefined && seqno <= committedSeqno) return localView === view ? "Committed" : "Invalid";
    if (localView === view) return "Pending";
    const committedView = this.viewOfSeqno(committedSeqno) ?? 0;
    return view < committedView ? "Invalid" : "Unknown";
  }

  /** Leaf digest of a transaction that is in the ledger. */
  leaf(seqno: number): Bytes {
    return this.#tree.leaf(seqno - 1);
  }

  /** Siblings from the leaf of a sequence number to the root that the signature transaction `signatureSeqno` signs. */
  path(seqno: number, signatureSeqno: number): readonly PathStep[] {
    return this.#tree.path(seqno - 1, signatureSeqno);
  }

  /** Root over all transactions up to and including `signatureSeqno`. */
  root(signatureSeqno: number = this.lastSeqno): Bytes {
    return this.#tree.root(signatureSeqno);
  }

  /** The 64 bytes whose SHA-256 is {@link LedgerTail.root}: the message that is signed. */
  rootPreimage(signatureSeqno: number = this.lastSeqno): Bytes {
    return this.#tree.rootPreimage(signatureSeqno);
  }
}
