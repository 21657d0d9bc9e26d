/**
 * One row of numbers and one digest per batch, in typed arrays: what a node remembers of each batch without an object
 * per batch. Row i (from 0) belongs to Raft index i + 1.
 */
import type { Bytes } from "../codec/bytes.ts";
import { invariant } from "../../errors.ts";
import type { BatchHeader, BatchKind } from "./batch-format.ts";
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

/** Batches by Raft index. */
export class BatchTable {
  #numbers = new Float64Array(FIRST_CAPACITY * COLUMNS);
  readonly #digests = new DigestList();

  /** Number of batches, which is the Raft index of the last one. */
  get length(): number {
    return this.#digests.length;
  }

  /** Adds the batch after the last one. */
  append(header: BatchHeader, digest: Bytes): void {
    const at = this.length * COLUMNS;
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

  /** The batch at a Raft index. */
  get(index: number): BatchRecord | undefined {
    if (index < 1 || index > this.length) return undefined;
    const start = (index - 1) * COLUMNS;
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

  /** Raft index of the batch that holds a sequence number, which must be in the ledger. */
  indexOfSeqno(seqno: number): number {
    let low = 0;
    let high = this.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#numbers[middle * COLUMNS] ?? 0) <= seqno) low = middle;
      else high = middle - 1;
    }
    return low + 1;
  }
}
