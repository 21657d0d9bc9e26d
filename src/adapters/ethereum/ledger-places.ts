/**
 * Where the blocks of the chain stand in the ledger: the transaction id (`view.seqno`) of an Ethereum transaction follows
 * from it. A place is known only when the block is committed, so a later block writes it into the tables; until then it is
 * kept here. An exported state comes with the places of its newest batches, from which what is kept here is derived again.
 */
import { type Bytes, ByteReader, ByteWriter } from "../../core/codec/bytes.ts";
import type { CommittedBatch, StateReader, StateWriter } from "../adapter.ts";
import { blockKey, readBlock, readHead } from "./block.ts";
import { transactionLocation } from "./chain.ts";
import { TABLES } from "./types.ts";

/** Most places one block writes; a chain has so many to write only where they were not written before. */
export const PLACES_PER_BLOCK_MAX = 64;
/** Most places kept outside the tables; beyond it the oldest is forgotten, and its transaction ids are not known. */
export const UNWRITTEN_PLACES_MAX = 65_536;

interface Place {
  readonly view: number;
  /** Of the block's first transaction; 0 when its transactions cannot be told apart in the ledger. */
  readonly firstSeqno: number;
}

/** The places of one node's chain; see the module's header. */
export class LedgerPlaces {
  /** Committed blocks whose place is not in the newest committed state, in ascending order. */
  readonly #unwritten = new Map<number, Place>();
  #committed: StateReader | undefined;

  /** Blocks whose place only this node's memory knows. */
  get unwrittenCount(): number {
    return this.#unwritten.size;
  }

  /** A batch is committed; it wrote one block, or none. */
  committed(state: StateReader, batch: CommittedBatch): void {
    this.#committed = state;
    const number = readHead(state);
    if (state.versionOf(TABLES.blocks, blockKey(number)) === batch.version) this.#add(state, number, batch);
    this.#dropWritten(state);
  }

  /** The state was replaced as a whole; `recent` are the places of its newest batches. */
  restored(state: StateReader, recent: readonly CommittedBatch[]): void {
    this.#unwritten.clear();
    this.#committed = state;
    const batches = new Map(recent.map((batch) => [batch.version, batch]));
    const head = readHead(state);
    for (let number = Math.max(0, head - recent.length); number <= head; number++) {
      const batch = batches.get(state.versionOf(TABLES.blocks, blockKey(number)) ?? 0);
      if (batch !== undefined && state.get(TABLES.ledgerPlaces, blockKey(number)) === undefined)
        this.#add(state, number, batch);
    }
  }

  #add(state: StateReader, number: number, batch: CommittedBatch): void {
    const block = readBlock(state, number);
    // Replay set-up shares batches with transactions; then positions in block and batch differ.
    const firstSeqno = batch.count === (block?.transactionHashes.length ?? 0) + 1 ? batch.firstSeqno : 0;
    this.#unwritten.set(number, { view: batch.view, firstSeqno });
    if (this.#unwritten.size > UNWRITTEN_PLACES_MAX)
      this.#unwritten.delete(this.#unwritten.keys().next().value as number);
  }

  #dropWritten(state: StateReader): void {
    for (const number of this.#unwritten.keys()) {
      if (state.get(TABLES.ledgerPlaces, blockKey(number)) === undefined) return;
      this.#unwritten.delete(number);
    }
  }

  /** Writes places of committed blocks that are not in the tables yet; called when a block is written. */
  writeTo(state: StateWriter): void {
    let left = PLACES_PER_BLOCK_MAX;
    for (const [number, { view, firstSeqno }] of this.#unwritten) {
      const key = blockKey(number);
      if (state.get(TABLES.ledgerPlaces, key) !== undefined) continue;
      state.put(TABLES.ledgerPlaces, key, new ByteWriter(16).u64(view).u64(firstSeqno).finish());
      if (--left === 0) return;
    }
  }

  /** Transaction id of a committed transaction by its hash; undefined when it is not known. */
  transactionId(hash: Bytes): string | undefined {
    const location = this.#committed === undefined ? undefined : transactionLocation(this.#committed, hash);
    if (location === undefined) return undefined;
    const place = this.#place(location.blockNumber);
    return place === undefined || place.firstSeqno === 0
      ? undefined
      : `${place.view}.${place.firstSeqno + location.index}`;
  }

  #place(number: number): Place | undefined {
    const record = this.#committed?.get(TABLES.ledgerPlaces, blockKey(number));
    if (record === undefined) return this.#unwritten.get(number);
    const reader = new ByteReader(record);
    const place = { view: reader.u64(), firstSeqno: reader.u64() };
    reader.end();
    return place;
  }
}
