/**
 * Decoded committed blocks by number, least recently used dropped first. Clients ask for the receipts of one block's
 * transactions one by one: the block is decoded, and its logs are counted, once for all of them. Committed blocks never
 * change; the pending state must not be read through this cache.
 */
import type { StateReader } from "../../adapter.ts";
import { blockKey } from "../block.ts";
import { transactionsOfBlock } from "../chain.ts";
import { decodeBlockRecord } from "../records.ts";
import { type BlockRecord, TABLES } from "../types.ts";
import type { TransactionPlace } from "./encode.ts";

/** Most blocks kept decoded. */
export const MAX_CACHED_BLOCKS = 64;

interface CachedBlock {
  readonly block: BlockRecord;
  /** Per transaction the number of logs of the block in front of it; made when first asked for. */
  logOffsets: readonly number[] | undefined;
}

/** Reads committed blocks. */
export class BlockCache {
  readonly #blocks = new Map<number, CachedBlock>();

  /** Forgets all blocks: the state was replaced as a whole. */
  clear(): void {
    this.#blocks.clear();
  }

  /** The committed block with this number. */
  block(committed: StateReader, number: number): BlockRecord | undefined {
    return this.#find(committed, number)?.block;
  }

  /** Number of logs of the block in front of a transaction's first. */
  firstLogIndex(committed: StateReader, { block, index }: TransactionPlace): number {
    const { number } = block.header;
    const cached = this.#find(committed, number);
    if (cached === undefined) return 0;
    cached.logOffsets ??= logOffsets(committed, number);
    return cached.logOffsets[index] ?? 0;
  }

  #find(committed: StateReader, number: number): CachedBlock | undefined {
    let cached = this.#blocks.get(number);
    if (cached === undefined) {
      // Copied, because what the state hands out is a view on one of its pages.
      const record = Number.isSafeInteger(number) ? committed.get(TABLES.blocks, blockKey(number))?.slice() : undefined;
      if (record === undefined) return undefined;
      cached = { block: decodeBlockRecord(record), logOffsets: undefined };
    }
    this.#blocks.delete(number);
    this.#blocks.set(number, cached);
    if (this.#blocks.size > MAX_CACHED_BLOCKS) this.#blocks.delete(this.#blocks.keys().next().value as number);
    return cached;
  }
}

function logOffsets(state: StateReader, number: number): readonly number[] {
  const offsets: number[] = [];
  let logs = 0;
  for (const { receipt } of transactionsOfBlock(state, number)) {
    offsets.push(logs);
    logs += receipt.logs.length;
  }
  return offsets;
}
