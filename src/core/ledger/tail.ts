/**
 * The ledger as one node knows it: the Merkle tree over all transactions and one small record per batch.
 *
 * The tail follows the Raft log: it grows with every batch appended and shrinks when an uncommitted suffix is undone. It
 * holds no payload, about 70 bytes per transaction and 100 per batch. Sequence numbers start at 1; the transaction with
 * sequence number s is leaf s - 1 of the tree. A batch of n transactions takes n + 1 sequence numbers, the last one for
 * its signature transaction.
 *
 * The past up to a committed batch can be compacted: records and leaves of it are dropped, 64 bytes per 1024 transactions
 * stay. Statuses and views are known for all of the ledger all the same; paths of old transactions are made from leaves
 * that the caller reads back from disk. A tail snapshot is this compacted form, from which another node goes on.
 */
import { type Bytes, bytesEqual, concatBytes, type HashFunction } from "../codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { BatchHeader, ParsedBatch } from "./batch-format.ts";
import { type BatchRecord, BatchTable } from "./batch-table.ts";
import { batchLeaves } from "./leaf.ts";
import { BLOCK_LEAVES, DIGEST_LENGTH, MerkleTree, type CompactTree, type PathStep } from "./merkle-tree.ts";

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

/** The ledger up to a batch, as a snapshot carries it. */
export interface TailSnapshot extends CompactTree {
  /** The last batch. */
  readonly last: BatchRecord;
  /** All views so far, in order. */
  readonly views: readonly ViewStart[];
}

/** Leaves by sequence numbers `from` to `to`, both included, read back from disk; undefined when they are not there. */
export type LeavesOf = (fromSeqno: number, toSeqno: number) => readonly Bytes[] | undefined;

/** Sequence numbers from `from` to `to`, both included. */
export interface SeqnoRange {
  readonly from: number;
  readonly to: number;
}

/** Merkle tree, batch records and views of the whole ledger of one node. */
export class LedgerTail {
  readonly #sha256: HashFunction;
  #tree: MerkleTree;
  #table = new BatchTable();
  #views: ViewStart[] = [];
  #firstIndex = 1;

  constructor(sha256: HashFunction) {
    this.#sha256 = sha256;
    this.#tree = new MerkleTree(sha256);
  }

  /**
   * The tail that {@link LedgerTail.toSnapshot} described, compacted up to its last batch. Throws `MalformedInput` naming
   * what does not fit together; whether the snapshot is the ledger's is for the evidence in the ledger to say.
   */
  static fromSnapshot(sha256: HashFunction, snapshot: TailSnapshot): LedgerTail {
    checkSnapshot(snapshot);
    const { last, views } = snapshot;
    const tail = new LedgerTail(sha256);
    tail.#tree = MerkleTree.fromCompact(sha256, snapshot);
    tail.#table = new BatchTable(last.index - 1);
    tail.#table.append(last, last.digest);
    tail.#views.push(...views);
    tail.#firstIndex = last.index + 1;
    if (last.signatureSeqno % BLOCK_LEAVES !== 0) {
      const digest = sha256(concatBytes(tail.leaf(last.signatureSeqno), tail.root()));
      if (!bytesEqual(digest, last.digest)) throw misfit("the leaves do not lead to the digest of the last batch");
    }
    return tail;
  }

  /** Becomes another tail: after a snapshot took the place of the whole log. */
  restore(other: LedgerTail): void {
    this.#tree = other.#tree;
    this.#table = other.#table;
    this.#views = other.#views;
    this.#firstIndex = other.#firstIndex;
  }

  /**
   * Whether another ledger goes on where this one is committed: the same views, and the same transactions in every block of the
   * tree that is complete up to `committedSeqno`. (Of an unfinished block a compacted tail knows no single leaves.)
   */
  isContinuedBy(other: LedgerTail, committedSeqno: number): boolean {
    if (other.lastSeqno < committedSeqno) return false;
    const [own, others] = [this.viewHistory(committedSeqno), other.viewHistory(committedSeqno)];
    const sameViews = own.every(
      ({ view, firstSeqno }, at) => others[at]?.view === view && others[at].firstSeqno === firstSeqno,
    );
    return own.length === others.length && sameViews && this.#tree.sharesBlocks(other.#tree, committedSeqno);
  }

  /** The ledger up to the batch at `index`, which must be the one {@link LedgerTail.compact} was called with last, or later. */
  toSnapshot(index: number = this.lastIndex): TailSnapshot {
    const last = this.#table.get(index);
    invariant(last !== undefined && index >= this.#firstIndex - 1, "no snapshot of the ledger at this index");
    return { ...this.#tree.toCompact(last.signatureSeqno), last, views: this.viewHistory(last.signatureSeqno) };
  }

  /**
   * Drops batch records and leaves up to and including the batch at `index`, which must be committed and in the ledger.
   * The record at `index` stays, and so do the leaves of its unfinished block.
   */
  compact(index: number): void {
    if (index < this.#firstIndex) return;
    const last = this.#table.get(index);
    invariant(last !== undefined, "no batch to compact to");
    this.#tree.compact(last.signatureSeqno);
    this.#table.dropBefore(index);
    this.#firstIndex = index + 1;
  }

  /** Raft index after the compacted part: 1, or one more than the index given to {@link LedgerTail.compact}. */
  get firstIndex(): number {
    return this.#firstIndex;
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
    const { record, root } = this.extend(batch.header, batchLeaves(batch, this.#sha256));
    if (!bytesEqual(root, batch.root)) {
      this.truncate(record.index);
      throw new CocoError("LedgerCorrupt", `batch ${record.index}: Merkle root does not fit`, { index: record.index });
    }
    return record;
  }

  /**
   * Appends the leaves of a batch, 32 bytes each and its signature leaf last, without a root to compare with: for who builds
   * a batch.
   * Throws `LedgerCorrupt` with the tail unchanged when the header does not continue the ledger.
   */
  extend(header: BatchHeader, leaves: Bytes): Extension {
    this.#checkContinues(header);
    invariant(
      leaves.length === (header.count + 1) * DIGEST_LENGTH,
      "one leaf per transaction and one for the signature",
    );
    this.#tree.appendAll(leaves);
    const signature = leaves.subarray(header.count * DIGEST_LENGTH);
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

  /** Drops every batch from Raft index `fromIndex` on, which must not be compacted; nothing happens when there is none. */
  truncate(fromIndex: number): void {
    invariant(fromIndex >= this.#firstIndex, "what is compacted is committed and cannot be undone");
    const first = this.#table.get(fromIndex);
    if (first === undefined) return;
    this.#tree.truncate(first.firstSeqno - 1);
    this.#table.truncate(fromIndex - 1);
    while ((this.#views.at(-1)?.firstSeqno ?? 0) >= first.firstSeqno) this.#views.pop();
  }

  /** The record of the batch at a Raft index; undefined when it is compacted or not there. */
  record(index: number): BatchRecord | undefined {
    return this.#table.get(index);
  }

  /**
   * The record of the batch that holds a sequence number; a signature transaction belongs to its batch. Undefined when it is
   * not in the ledger, or compacted: such batches are found on disk (`indexOfSeqno` of batch-table.ts).
   */
  batchOfSeqno(seqno: number): BatchRecord | undefined {
    if (seqno < 1 || seqno > this.lastSeqno) return undefined;
    const index = this.#table.indexOfSeqno(seqno);
    return index === undefined ? undefined : this.#table.get(index);
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

  /** Leaf digest of a transaction that is in the ledger and whose block of leaves is not compacted. */
  leaf(seqno: number): Bytes {
    return this.#tree.leaf(seqno - 1);
  }

  /** Leaves that {@link LedgerTail.path} will ask for, to read them beforehand: at most two blocks; none for what is not compacted. */
  missingLeaves(seqno: number, signatureSeqno: number): readonly SeqnoRange[] {
    return this.#tree
      .blocksOfPath(seqno - 1, signatureSeqno)
      .map((block) => ({ from: block * BLOCK_LEAVES + 1, to: (block + 1) * BLOCK_LEAVES }));
  }

  /**
   * Siblings from the leaf of a sequence number to the root that the signature transaction `signatureSeqno` signs. For what
   * is compacted `leavesOf` is asked for {@link LedgerTail.missingLeaves}: throws `NotFound` when it does not have them,
   * `LedgerCorrupt` when they are not the ledger's.
   */
  path(seqno: number, signatureSeqno: number, leavesOf?: LeavesOf): readonly PathStep[] {
    return this.#tree.path(
      seqno - 1,
      signatureSeqno,
      leavesOf === undefined ? undefined : (from, to) => leavesOf(from + 1, to + 1),
    );
  }

  /** Root over all transactions up to and including `signatureSeqno`, which must not be compacted. */
  root(signatureSeqno: number = this.lastSeqno): Bytes {
    return this.#tree.root(signatureSeqno);
  }

  /** The 64 bytes whose SHA-256 is {@link LedgerTail.root}: the message that is signed. */
  rootPreimage(signatureSeqno: number = this.lastSeqno): Bytes {
    return this.#tree.rootPreimage(signatureSeqno);
  }
}

function misfit(what: string): CocoError {
  return new CocoError("MalformedInput", `tail snapshot: ${what}`);
}

function checkSnapshot({ last, views, blocks, leaves }: TailSnapshot): void {
  const { index, view, firstSeqno, count, signatureSeqno } = last;
  if (index < 1 || firstSeqno < index || signatureSeqno !== firstSeqno + count || !Number.isSafeInteger(signatureSeqno))
    throw misfit("index and sequence numbers do not fit");
  if (last.digest.length !== DIGEST_LENGTH) throw misfit("the digest of the last batch has not 32 bytes");
  if (blocks.length !== Math.floor(signatureSeqno / BLOCK_LEAVES) * DIGEST_LENGTH)
    throw misfit("blocks and last sequence number do not fit");
  if (leaves.length !== (signatureSeqno % BLOCK_LEAVES) * DIGEST_LENGTH)
    throw misfit("leaves and last sequence number do not fit");
  let previous: ViewStart = { view: 0, firstSeqno: 0 };
  for (const start of views) {
    if (start.view <= previous.view || start.firstSeqno <= previous.firstSeqno) throw misfit("views are not in order");
    previous = start;
  }
  if (views[0]?.firstSeqno !== 1 || previous.view !== view || previous.firstSeqno > firstSeqno)
    throw misfit("views and last batch do not fit");
}
