/**
 * The ledger's past, read back from disk: batches by sequence number, ranges, and the leaves that paths of compacted
 * transactions need. What comes from disk is authenticated by the Merkle tree in memory before it is used. One query reads
 * and proves each compacted block of leaves once, and other work has its turn between blocks.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { type ParsedBatch, parseBatch } from "../../core/ledger/batch-format.ts";
import { batchLeaves, leafAt, signatureLeaf } from "../../core/ledger/leaf.ts";
import type { LedgerTail, LeavesOf, SeqnoRange } from "../../core/ledger/tail.ts";
import { bytesEqual, type HashFunction } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { Disk } from "../ports.ts";

/** Bytes of ledger read at a time. */
export const HISTORY_READ_BYTES_MAX = 1024 * 1024;
/** Most batches of one range. */
export const HISTORY_RANGE_MAX = 256;
/** Most queries about the past under way; the next one is refused. */
export const HISTORY_QUERIES_MAX = 4;

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

  /** Runs a query when not too many are under way; throws `TooManyRequests`. What it reads is kept until it ends. */
  async query<T>(run: (past: Past) => Promise<T>): Promise<T> {
    if (this.#queries >= HISTORY_QUERIES_MAX) throw new CocoError("TooManyRequests", "too many queries about the past");
    this.#queries++;
    try {
      return await run(new Past(this.#parts));
    } finally {
      this.#queries--;
    }
  }
}

/** The past as one query reads it. */
export class Past {
  readonly #parts: HistoryParts;
  /** Leaves of compacted blocks by their first sequence number, proven by the tree. */
  readonly #blocks = new Map<number, readonly Bytes[]>();
  /** First sequence numbers of batches by their index, as the disk has them: they make searches short and prove nothing. */
  readonly #places = new Map<number, number>();

  constructor(parts: HistoryParts) {
    this.#parts = parts;
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
    const stored = await this.#read(await this.#indexOf(from), HISTORY_READ_BYTES_MAX);
    const beyond = stored.findIndex(({ header }) => header.firstSeqno > to);
    const batches = stored.slice(0, Math.min(HISTORY_RANGE_MAX, beyond < 0 ? stored.length : beyond));
    const [first] = batches;
    if (first === undefined || lastSeqnoOf(first) < from) throw missing(from);
    for (const batch of batches) await this.#authenticate(batch);
    return batches;
  }

  /** Leaves for the path of a transaction; undefined when none are needed from disk. */
  async leavesFor(seqno: number, signatureSeqno: number): Promise<LeavesOf | undefined> {
    const { tail } = this.#parts;
    if (tail.missingLeaves(seqno, signatureSeqno).length === 0) return undefined;
    const unread = () => tail.missingLeaves(seqno, signatureSeqno).find(({ from }) => !this.#blocks.has(from));
    // While one block is read, the ledger may be compacted further.
    for (let block = unread(); block !== undefined; block = unread()) await this.#readBlock(block);
    return (from) => this.#blocks.get(from);
  }

  /** The leaf of its signature transaction stands for every byte of a batch: it must be the one of the tree. */
  async #authenticate(batch: ParsedBatch): Promise<void> {
    const { tail, sha256 } = this.#parts;
    const seqno = lastSeqnoOf(batch);
    if (seqno > tail.lastSeqno) throw corrupt(batch);
    await this.leavesFor(seqno, seqno);
    const [block] = tail.missingLeaves(seqno, seqno);
    const leaf = block === undefined ? tail.leaf(seqno) : this.#blocks.get(block.from)?.[seqno - block.from];
    const stored = signatureLeaf(batch.headerBytes, batch.publicSection, batch.sealedSection, sha256);
    if (leaf === undefined || !bytesEqual(leaf, stored)) throw corrupt(batch);
  }

  /** Reads a compacted block of leaves and proves it: the tree refuses a path through leaves that are not the ledger's. */
  async #readBlock({ from, to }: SeqnoRange): Promise<void> {
    const leaves: Bytes[] = [];
    let index = await this.#indexOf(from);
    for (let next = 0; next <= to; ) {
      const batches = await this.#read(index, HISTORY_READ_BYTES_MAX);
      if (batches.length === 0) throw missing(Math.max(from, next));
      for (const batch of batches) {
        if (next > to) break;
        if (next > 0 && batch.header.firstSeqno !== next) throw corrupt(batch);
        this.#takeLeaves(batch, { from, to }, leaves);
        next = lastSeqnoOf(batch) + 1;
        index++;
      }
      await turnOfOthers();
    }
    this.#parts.tail.path(from, to, () => leaves);
    this.#blocks.set(from, leaves);
  }

  #takeLeaves(batch: ParsedBatch, { from, to }: SeqnoRange, leaves: Bytes[]): void {
    const { firstSeqno } = batch.header;
    const all = batchLeaves(batch, this.#parts.sha256);
    for (let seqno = Math.max(from, firstSeqno); seqno <= Math.min(to, lastSeqnoOf(batch)); seqno++)
      leaves.push(leafAt(all, seqno - firstSeqno));
  }

  /** Index of the batch that holds a sequence number: known in memory, or searched on disk where the ledger is compacted. */
  async #indexOf(seqno: number): Promise<number> {
    const { tail } = this.#parts;
    if (seqno < 1 || seqno > tail.lastSeqno) throw missing(seqno);
    const known = tail.batchOfSeqno(seqno);
    if (known !== undefined) return known.index;
    let [low, high] = [1, tail.firstIndex - 1];
    for (const [index, firstSeqno] of this.#places) {
      if (firstSeqno > seqno) high = Math.min(high, index - 1);
      else low = Math.max(low, index);
    }
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const [batch] = await this.#read(middle, 1);
      // What is not on this disk is older than all that is: a snapshot took its place.
      if (batch !== undefined && batch.header.firstSeqno > seqno) high = middle - 1;
      else low = middle;
    }
    return low;
  }

  async #read(fromIndex: number, maxBytes: number): Promise<readonly ParsedBatch[]> {
    const entries = await new Promise<readonly LogEntry[]>((resolve) =>
      this.#parts.disk.read(fromIndex, maxBytes, resolve),
    );
    const batches = entries.map(({ data }) => parseBatch(data));
    batches.forEach((batch, at) => {
      if (batch.header.index !== fromIndex + at) throw corrupt(batch);
      this.#places.set(fromIndex + at, batch.header.firstSeqno);
    });
    return batches;
  }
}

/** Sequence number of the signature transaction of a batch. */
function lastSeqnoOf({ header }: ParsedBatch): number {
  return header.firstSeqno + header.count;
}

/** Lets frames, timers and other requests go first. */
function turnOfOthers(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function corrupt({ header: { index } }: ParsedBatch): CocoError {
  return new CocoError("LedgerCorrupt", `batch ${index} on disk is not the one of the ledger`, { index });
}

function missing(seqno: number): CocoError {
  return new CocoError("NotFound", `sequence number ${seqno} is not in the ledger of this node`);
}
