/**
 * The ledger's past, read back from disk: batches by sequence number, ranges, and the leaves that paths of compacted
 * transactions need. What comes from disk is authenticated by the Merkle tree in memory before it is used.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { type ParsedBatch, parseBatch, signatureLeaf } from "../../core/ledger/batch-format.ts";
import { transactionLeaf } from "../../core/ledger/leaf.ts";
import type { LedgerTail, LeavesOf } from "../../core/ledger/tail.ts";
import { bytesEqual, type HashFunction } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { Disk } from "../ports.ts";

/** Bytes of ledger read at a time. */
export const HISTORY_READ_BYTES_MAX = 1024 * 1024;
/** Most batches of one range. */
export const HISTORY_RANGE_MAX = 1_000;
/** Most queries about the past under way; the next one is refused. */
export const HISTORY_QUERIES_MAX = 16;

/** What the past is read with. */
export interface HistoryParts {
  readonly tail: LedgerTail;
  readonly disk: Pick<Disk, "read">;
  readonly sha256: HashFunction;
}

/** See the module's header. */
export class History {
  readonly #parts: HistoryParts;
  #queries = 0;

  constructor(parts: HistoryParts) {
    this.#parts = parts;
  }

  /** Runs a query when not too many are under way; throws `TooManyRequests`. */
  async query<T>(run: () => Promise<T>): Promise<T> {
    if (this.#queries >= HISTORY_QUERIES_MAX) throw new CocoError("TooManyRequests", "too many queries about the past");
    this.#queries++;
    try {
      return await run();
    } finally {
      this.#queries--;
    }
  }

  /** The batch that holds a sequence number of the ledger; throws `NotFound` when it is not on this disk. */
  async batchOf(seqno: number): Promise<ParsedBatch> {
    const [batch] = await this.range(seqno, seqno);
    if (batch === undefined) throw missing(seqno);
    return batch;
  }

  /**
   * The batches that hold the sequence numbers from `from` to `to`, in order, at most {@link HISTORY_RANGE_MAX} and
   * {@link HISTORY_READ_BYTES_MAX}; throws `NotFound` when the first of them is not on this disk.
   */
  async range(from: number, to: number): Promise<readonly ParsedBatch[]> {
    const batches = await this.#stored(from, to);
    if (batches.length === 0) throw missing(from);
    for (const batch of batches) await this.#authenticate(batch);
    return batches;
  }

  /** Leaves for the path of a transaction; undefined when none are needed from disk. */
  async leavesFor(seqno: number, signatureSeqno: number): Promise<LeavesOf | undefined> {
    const ranges = this.#parts.tail.missingLeaves(seqno, signatureSeqno);
    if (ranges.length === 0) return undefined;
    const leaves = new Map<number, Bytes>();
    for (const { from, to } of ranges) {
      for (let next = from; next <= to; ) {
        const batches = await this.#stored(next, to);
        for (const batch of batches) this.#addLeaves(batch, leaves);
        const last = batches.at(-1);
        if (last === undefined) throw missing(next);
        next = last.header.firstSeqno + last.header.count + 1;
      }
    }
    return (from, to) => {
      const found: Bytes[] = [];
      for (let at = from; at <= to; at++) {
        const leaf = leaves.get(at);
        if (leaf === undefined) return undefined;
        found.push(leaf);
      }
      return found;
    };
  }

  #addLeaves(batch: ParsedBatch, leaves: Map<number, Bytes>): void {
    const { sha256 } = this.#parts;
    const { firstSeqno, count } = batch.header;
    batch.transactions.forEach((transaction, at) => leaves.set(firstSeqno + at, transactionLeaf(transaction, sha256)));
    leaves.set(firstSeqno + count, this.#signatureLeaf(batch));
  }

  #signatureLeaf(batch: ParsedBatch): Bytes {
    return signatureLeaf(batch.headerBytes, batch.publicSection, batch.sealedSection, this.#parts.sha256);
  }

  /** The leaf of its signature transaction stands for every byte of a batch: it must be the one of the tree. */
  async #authenticate(batch: ParsedBatch): Promise<void> {
    const { tail } = this.#parts;
    const { index, firstSeqno, count } = batch.header;
    const seqno = firstSeqno + count;
    const leavesOf = await this.leavesFor(seqno, seqno);
    // A path through leaves read from disk is refused by the tree unless they are the ledger's.
    if (leavesOf !== undefined) tail.path(seqno, seqno, leavesOf);
    const leaf = leavesOf === undefined ? tail.leaf(seqno) : leavesOf(seqno, seqno)?.[0];
    if (leaf === undefined || !bytesEqual(leaf, this.#signatureLeaf(batch)))
      throw new CocoError("LedgerCorrupt", `batch ${index} on disk is not the one of the ledger`, { index });
  }

  async #stored(from: number, to: number): Promise<readonly ParsedBatch[]> {
    const first = await this.#indexOf(from);
    const entries = await this.#read(first, HISTORY_READ_BYTES_MAX);
    const batches: ParsedBatch[] = [];
    for (const entry of entries) {
      const batch = parseBatch(entry.data);
      if (batch.header.firstSeqno > to || batches.length >= HISTORY_RANGE_MAX) break;
      batches.push(batch);
    }
    return batches;
  }

  /** Index of the batch that holds a sequence number: known in memory, or searched on disk where the ledger is compacted. */
  async #indexOf(seqno: number): Promise<number> {
    const { tail } = this.#parts;
    if (seqno < 1 || seqno > tail.lastSeqno) throw missing(seqno);
    const known = tail.batchOfSeqno(seqno);
    if (known !== undefined) return known.index;
    let [low, high] = [1, tail.firstIndex - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const [entry] = await this.#read(middle, 1);
      // What is not on this disk is older than all that is: a snapshot took its place.
      if (entry !== undefined && parseBatch(entry.data).header.firstSeqno > seqno) high = middle - 1;
      else low = middle;
    }
    return low;
  }

  #read(fromIndex: number, maxBytes: number): Promise<readonly LogEntry[]> {
    return new Promise((resolve) => this.#parts.disk.read(fromIndex, maxBytes, resolve));
  }
}

function missing(seqno: number): CocoError {
  return new CocoError("NotFound", `sequence number ${seqno} is not in the ledger of this node`);
}
