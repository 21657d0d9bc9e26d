/**
 * One row of numbers and one digest per batch, in typed arrays: what a node remembers of each batch without an object
 * per batch. The front of the table can be dropped; Raft indexes stay what they were.
 */
import type { Bytes } from "../codec/bytes.ts";
import { invariant } from "../../errors.ts";
import type { BatchKind } from "./batch-format.ts";
import { DigestList } from "./digest-list.ts";

const KINDS: readonly BatchKind[] = ["application", "administrative", "empty"];
const FIRST_CAPACITY = 16;
/** Numbers per row: first sequence number, view, count, kind, adapter id, governance version, time, epoch. */
const COLUMNS = 8;

/** What is remembered of one batch. */
export interface BatchRecord {
  /** Raft index. */
  readonly index: number;
  /** Raft term. */
  readonly view: number;
  readonly firstSeqno: number;
  /** Transactions, not counting the signature transaction. */
  readonly count: number;
  /** Sequence number of the signature transaction: `firstSeqno + count`; also the size of the tree whose root it signs. */
  readonly signatureSeqno: number;
  readonly kind: BatchKind;
  readonly adapterId: number;
  readonly governanceVersion: number;
  readonly timeMs: number;
  readonly epoch: number;
  /** SHA-256(signature leaf ‖ root): what the next batch names as its previous digest. */
  readonly digest: Bytes;
}

/** What a row is made of; a batch header has these fields. */
export type BatchFields = Omit<BatchRecord, "index" | "signatureSeqno" | "digest">;

/** Batches by Raft index. */
export class BatchTable {
  #numbers = new Float64Array(FIRST_CAPACITY * COLUMNS);
  readonly #digests: DigestList;

  /** @param dropped number of batches before the first row */
  constructor(dropped = 0) {
    this.#digests = new DigestList(dropped);
  }

  /** Number of batches, counting dropped ones: the Raft index of the last one. */
  get length(): number {
    return this.#digests.length;
  }

  /** Raft index of the first batch that is kept. */
  get firstIndex(): number {
    return this.#digests.start + 1;
  }

  /** Adds the batch after the last one. */
  append(header: BatchFields, digest: Bytes): void {
    const at = (this.length - this.#digests.start) * COLUMNS;
    if (at === this.#numbers.length) {
      const larger = new Float64Array(this.#numbers.length * 2);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    const kind = KINDS.indexOf(header.kind);
    const { firstSeqno, view, count, adapterId, governanceVersion, timeMs, epoch } = header;
    this.#numbers.set([firstSeqno, view, count, kind, adapterId, governanceVersion, timeMs, epoch], at);
    this.#digests.append(digest);
  }

  /** Keeps the batches up to Raft index `length`. */
  truncate(length: number): void {
    this.#digests.truncate(length);
  }

  /** Drops the batches before a Raft index, which must be there, and gives their memory back. */
  dropBefore(index: number): void {
    invariant(index <= this.length, "batches dropped beyond the end of the table");
    if (index <= this.firstIndex) return;
    const kept = this.#numbers.subarray((index - this.firstIndex) * COLUMNS, this.#rows() * COLUMNS);
    const numbers = new Float64Array(Math.max(FIRST_CAPACITY * COLUMNS, kept.length));
    numbers.set(kept);
    this.#numbers = numbers;
    this.#digests.dropBefore(index - 1);
  }

  #rows(): number {
    return this.length - this.#digests.start;
  }

  /** The batch at a Raft index; undefined when it is dropped or not there. */
  get(index: number): BatchRecord | undefined {
    if (index < this.firstIndex || index > this.length) return undefined;
    const start = (index - this.firstIndex) * COLUMNS;
    const [
      firstSeqno = 0,
      view = 0,
      count = 0,
      kindCode = 0,
      adapterId = 0,
      governanceVersion = 0,
      timeMs = 0,
      epoch = 0,
    ] = this.#numbers.subarray(start, start + COLUMNS);
    const kind = KINDS[kindCode];
    invariant(kind !== undefined, "kind of a stored batch");
    const digest = new Uint8Array(this.#digests.view(index - 1));
    const signatureSeqno = firstSeqno + count;
    return {
      index,
      view,
      firstSeqno,
      count,
      signatureSeqno,
      kind,
      adapterId,
      governanceVersion,
      timeMs,
      epoch,
      digest,
    };
  }

  /** Raft index of the batch that holds a sequence number, which must be in the ledger; undefined when it is dropped. */
  indexOfSeqno(seqno: number): number | undefined {
    let low = 0;
    let high = this.#rows() - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#numbers[middle * COLUMNS] ?? 0) <= seqno) low = middle;
      else high = middle - 1;
    }
    return seqno < (this.#numbers[low * COLUMNS] ?? 0) ? undefined : this.firstIndex + low;
  }
}

/** Where a batch begins and how many transactions it has, not counting the signature transaction. */
export type BatchSpan = Pick<BatchRecord, "firstSeqno" | "count">;

/**
 * Raft index of the batch that holds a sequence number, found by binary search over batches that are looked up one by one:
 * for batches that are on disk only. `bounds` are the first and last index to search, both included. Undefined when no
 * batch within the bounds holds it, or when a batch that the search needs cannot be looked up.
 */
export function indexOfSeqno(
  seqno: number,
  lookup: (index: number) => BatchSpan | undefined,
  bounds: { readonly first: number; readonly last: number },
): number | undefined {
  let { first: low, last: high } = bounds;
  while (low <= high) {
    const middle = low + Math.floor((high - low) / 2);
    const span = lookup(middle);
    if (span === undefined) return undefined;
    if (seqno < span.firstSeqno) high = middle - 1;
    else if (seqno > span.firstSeqno + span.count) low = middle + 1;
    else return middle;
  }
  return undefined;
}
