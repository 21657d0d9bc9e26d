/**
 * Entry data that this process has verified or built itself, by object: what the disk gives back later is another object,
 * and the disk is not trusted. Such data counts again only when it is, byte for byte, what the ledger's tail has at its place.
 */
import { type Bytes, bytesEqual, type HashFunction } from "../../core/codec/bytes.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { type ParsedBatch, parseBatch } from "../../core/ledger/batch-format.ts";
import { signatureLeaf } from "../../core/ledger/leaf.ts";
import type { LedgerTail } from "../../core/ledger/tail.ts";
import { CocoError } from "../../errors.ts";

/** See the module's header. */
export class CheckedData {
  readonly #tail: LedgerTail;
  readonly #sha256: HashFunction;
  readonly #known = new WeakSet<Bytes>();

  constructor(tail: LedgerTail, sha256: HashFunction) {
    this.#tail = tail;
    this.#sha256 = sha256;
  }

  /** Notes data that was verified against the tail, or built on it, as this very object. */
  add(data: Bytes): void {
    this.#known.add(data);
  }

  /**
   * The batch of an entry that is in the tail. Data read back from disk is compared with it: throws `LedgerCorrupt` naming
   * the index when it is another batch.
   * @param parse takes the data apart, or remembers what it was taken apart into
   */
  batchOf({ index, term, data }: LogEntry, parse: (data: Bytes) => ParsedBatch = parseBatch): ParsedBatch {
    if (this.#known.has(data)) return parse(data);
    const refuse = (cause?: unknown): CocoError =>
      new CocoError(
        "LedgerCorrupt",
        `the disk returned another batch ${index} than was verified`,
        { index },
        { cause },
      );
    let batch: ParsedBatch;
    try {
      batch = parse(data);
    } catch (error) {
      throw refuse(error);
    }
    const { header, headerBytes, publicSection, sealedSection } = batch;
    const record = this.#tail.record(index);
    if (record === undefined || header.index !== index || header.view !== term || record.view !== term) throw refuse();
    const leaf = signatureLeaf(headerBytes, publicSection, sealedSection, this.#sha256);
    if (!bytesEqual(leaf, this.#tail.leaf(record.signatureSeqno))) throw refuse();
    return batch;
  }
}
