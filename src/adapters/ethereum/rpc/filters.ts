/**
 * Installed filters: polled by their id, kept in this worker's memory only. A filter remembers the next block to report
 * and reads blocks when it is polled, so it costs nothing while nobody asks and misses nothing: what does not fit into
 * one answer comes with the next. Ids are random, so that only who installed a filter can poll it.
 */
import { toHex } from "../../../core/codec/bytes.ts";
import type { AdapterComponents, StateReader } from "../../adapter.ts";
import { readHead } from "../block.ts";
import { blocksBetween } from "../chain.ts";
import { data, type JsonValue } from "./encode.ts";
import { limitExceeded, serverError } from "./fault.ts";
import { type LogQuery, logsOfBlock, MAX_LOG_BLOCKS, MAX_LOG_RESULTS, MAX_LOG_TRANSACTIONS } from "./logs.ts";

/** Most filters a worker keeps. */
export const MAX_FILTERS = 1000;
/** A filter nobody polled for this long is dropped. */
export const FILTER_LIFETIME_MS = 300_000;
/** Random bytes of a filter's id. */
const FILTER_ID_BYTES = 16;

/** What a filter reports. Transactions are reported once they are committed: there is no public pool. */
export type FilterKind =
  | { readonly type: "blocks" }
  | { readonly type: "transactions" }
  | { readonly type: "logs"; readonly query: LogQuery; readonly lastBlock: number };

interface Filter {
  readonly kind: FilterKind;
  nextBlock: number;
  polledAtMs: number;
}

/** The filters of one worker. */
export class Filters {
  readonly #components: Pick<AdapterComponents, "now" | "randomBytes">;
  /** In the order of their last poll, so that expired ones come first. */
  readonly #filters = new Map<string, Filter>();

  constructor(components: Pick<AdapterComponents, "now" | "randomBytes">) {
    this.#components = components;
  }

  /** Installs a filter that reports blocks from `nextBlock` on; the result is its id. */
  install(kind: FilterKind, nextBlock: number): string {
    this.dropExpired();
    if (this.#filters.size >= MAX_FILTERS)
      throw limitExceeded(`too many filters: ${MAX_FILTERS} are installed, uninstall one or retry later`);
    // A quantity has no leading zeros.
    const digits = toHex(this.#components.randomBytes(FILTER_ID_BYTES)).replace(/^0+/, "");
    const id = `0x${digits === "" ? "0" : digits}`;
    this.#filters.set(id, { kind, nextBlock, polledAtMs: this.#components.now() });
    return id;
  }

  /** Removes a filter; false when there is none with this id. */
  uninstall(id: string): boolean {
    return this.#filters.delete(id);
  }

  /** What a filter found since it was polled last. */
  changes(id: string, committed: StateReader): readonly JsonValue[] {
    const filter = this.#poll(id);
    const { kind } = filter;
    const lastBlock = Math.min(readHead(committed), kind.type === "logs" ? kind.lastBlock : Number.MAX_SAFE_INTEGER);
    const found: JsonValue[] = [];
    let work = 0;
    for (const block of blocksBetween(
      committed,
      filter.nextBlock,
      Math.min(lastBlock, filter.nextBlock + MAX_LOG_BLOCKS - 1),
    )) {
      if (kind.type === "blocks") found.push(data(block.hash));
      else if (kind.type === "transactions") for (const hash of block.transactionHashes) found.push(data(hash));
      else {
        const { logs, transactionsRead } = logsOfBlock(committed, block, kind.query);
        for (const log of logs) found.push(log);
        work += transactionsRead;
      }
      filter.nextBlock = block.header.number + 1;
      if (found.length >= MAX_LOG_RESULTS || work >= MAX_LOG_TRANSACTIONS) break;
    }
    return found;
  }

  /** The query of a log filter. */
  logQuery(id: string): LogQuery {
    const { kind } = this.#poll(id);
    if (kind.type !== "logs") throw serverError("filter not found");
    return kind.query;
  }

  /** Drops filters that nobody polls any more. */
  dropExpired(): void {
    const oldest = this.#components.now() - FILTER_LIFETIME_MS;
    for (const [id, filter] of this.#filters) {
      if (filter.polledAtMs > oldest) return;
      this.#filters.delete(id);
    }
  }

  #poll(id: string): Filter {
    this.dropExpired();
    const filter = this.#filters.get(id);
    if (filter === undefined) throw serverError("filter not found");
    filter.polledAtMs = this.#components.now();
    this.#filters.delete(id);
    this.#filters.set(id, filter);
    return filter;
  }
}
