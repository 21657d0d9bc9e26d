/**
 * What the core remembers of the log: every term since the newest snapshot, but only the newest entries.
 *
 * `TermHistory` keeps one run per term, so that the term of any index is known without its entry. `RaftLog` keeps the
 * entries of a window in memory; older ones are on disk and come back through `Ready.load`. The window shrinks only by
 * `release`, whose caller promises that the entries are durable and were handed out as committed. `compact` and `reset` let
 * the log begin after a snapshot: of what lies before it only "it is committed" is known.
 */
import { CocoError, invariant } from "../../errors.ts";
import type { LogEntry } from "./types.ts";

/** Bytes an entry counts for besides its data, so that empty entries are bounded too. */
export const ENTRY_OVERHEAD_BYTES = 32;

/** What an entry counts for in the window and in a batch, in bytes. */
export function entryCostBytes(entry: LogEntry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}

/** A place in the log: the entry at `index` is of `term`; (0, 0) is the place before the first entry. */
export interface Position {
  readonly index: number;
  readonly term: number;
}

/** The place before the first entry of any log. */
export const LOG_START: Position = { index: 0, term: 0 };

/** Negative, zero or positive as a log that ends at `left` is older than, as new as, or newer than one that ends at `right`. */
export function comparePositions(left: Position, right: Position): number {
  return left.term - right.term || left.index - right.index;
}

/** The term of every index from a first position on, as runs of equal terms. */
export class TermHistory {
  readonly #terms: number[];
  readonly #firstIndexes: number[];

  constructor(start: Position) {
    this.#terms = [start.term];
    this.#firstIndexes = [start.index];
  }

  /** Forgets every index before `index`, which is in the log. */
  compact(index: number): void {
    const run = this.#runOf(index);
    this.#terms.splice(0, run);
    this.#firstIndexes.splice(0, run);
    this.#firstIndexes[0] = index;
  }

  /** Notes the term of the next index; terms never fall. */
  append(index: number, term: number): void {
    if (this.#terms.at(-1) === term) return;
    this.#terms.push(term);
    this.#firstIndexes.push(index);
  }

  /** Forgets every index from `fromIndex` on; the first position stays. */
  truncate(fromIndex: number): void {
    while (this.#terms.length > 1 && (this.#firstIndexes.at(-1) as number) >= fromIndex) {
      this.#firstIndexes.pop();
      this.#terms.pop();
    }
  }

  /** Term of an index that is in the log. */
  termAt(index: number): number {
    return this.#terms[this.#runOf(index)] ?? 0;
  }

  /** The last index up to `index` whose term is at most `term`; the one before the first position when none is known. */
  lastIndexWithTermAtMost(index: number, term: number): number {
    let last = index;
    for (let run = this.#runOf(index); run >= 0 && (this.#terms[run] as number) > term; run--) {
      last = (this.#firstIndexes[run] as number) - 1;
    }
    return last;
  }

  /** Position of the run that holds `index`; -1 before the first position. */
  #runOf(index: number): number {
    let low = 0;
    let high = this.#firstIndexes.length;
    // Nearly every question is about the newest term.
    if (high > 0 && (this.#firstIndexes[high - 1] as number) <= index) return high - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#firstIndexes[middle] as number) <= index) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** Stands in the place of an entry that left the window, so that its data can be collected at once. */
const RELEASED: LogEntry = { index: 0, term: 0, data: new Uint8Array(0) };

/** The log as the core sees it: all terms, and the entries from `firstInMemory` to `lastIndex`. */
export class RaftLog {
  readonly #windowBytes: number;
  #terms: TermHistory;
  /** Index of the snapshot that the log begins after. */
  #startIndex: number;
  /** Entries by index - `#base`; those before `firstInMemory` are released. */
  #entries: LogEntry[] = [];
  #base: number;
  #firstInMemory: number;
  #lastIndex: number;
  #bytes = 0;

  /** Reads a durable log once, front to back, and keeps its newest entries; throws `LedgerCorrupt` when it is no log. */
  constructor(windowBytes: number, restored: Iterable<LogEntry>, start: Position = LOG_START) {
    this.#windowBytes = windowBytes;
    this.#terms = new TermHistory(start);
    this.#startIndex = start.index;
    this.#lastIndex = start.index;
    this.#base = start.index + 1;
    this.#firstInMemory = this.#base;
    for (const entry of restored) {
      if (
        entry.index !== this.#lastIndex + 1 ||
        entry.term < Math.max(1, this.lastTerm) ||
        !Number.isSafeInteger(entry.term)
      ) {
        throw new CocoError(
          "LedgerCorrupt",
          `entry ${entry.index} of term ${entry.term} does not follow entry ${this.#lastIndex}`,
        );
      }
      this.#push(entry);
      this.release(this.#lastIndex);
    }
  }

  /** Index of the first entry that can be in the log: the one after the newest snapshot, or 1. */
  get firstIndex(): number {
    return this.#startIndex + 1;
  }

  /** Lets the log begin after `index`, which is in it. */
  compact(index: number): void {
    invariant(index >= this.#startIndex && index <= this.#lastIndex, "compaction inside the log");
    this.#terms.compact(index);
    this.#startIndex = index;
    while (this.#firstInMemory <= index) this.#releaseFirst();
    this.#shrink();
  }

  /** Gives up the whole log; the next entry is the one after `start`. */
  reset(start: Position): void {
    this.#terms = new TermHistory(start);
    this.#startIndex = start.index;
    this.#lastIndex = start.index;
    this.#base = start.index + 1;
    this.#firstInMemory = this.#base;
    this.#entries = [];
    this.#bytes = 0;
  }

  /** Index of the last entry, or of the snapshot that an empty log begins after; 0 when there is neither. */
  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** Term at `lastIndex`; 0 at index 0. */
  get lastTerm(): number {
    return this.#terms.termAt(this.#lastIndex);
  }

  /** First index whose entry is in memory; `lastIndex + 1` when none is. */
  get firstInMemory(): number {
    return this.#firstInMemory;
  }

  /**
   * Whether the log has an entry of this term at this index; index 0 with term 0 always matches. Before the snapshot that the
   * log begins after, everything does: it is committed, so every leader has the same there (leader completeness).
   */
  matches(index: number, term: number): boolean {
    if (index < this.#startIndex) return true;
    return index <= this.#lastIndex && this.#terms.termAt(index) === term;
  }

  /** Term of an index from `firstIndex - 1` to `lastIndex`. */
  termAt(index: number): number {
    invariant(index >= this.#startIndex && index <= this.#lastIndex, "term of an index outside the log");
    return this.#terms.termAt(index);
  }

  /** The last index up to `index` whose term is at most `term`: where two logs can still agree (Raft thesis, 3.5). */
  lastIndexWithTermAtMost(index: number, term: number): number {
    return this.#terms.lastIndexWithTermAtMost(Math.min(index, this.#lastIndex), term);
  }

  /** Appends entries that follow the last one. */
  append(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      invariant(entry.index === this.#lastIndex + 1 && entry.term >= this.lastTerm, "entries are appended in order");
      this.#push(entry);
    }
  }

  /** Drops every entry from `fromIndex` on. */
  truncate(fromIndex: number): void {
    invariant(fromIndex > this.#startIndex && fromIndex <= this.#lastIndex, "truncation inside the log");
    const firstGone = Math.max(fromIndex, this.#firstInMemory);
    for (let index = firstGone; index <= this.#lastIndex; index++) this.#bytes -= entryCostBytes(this.#at(index));
    this.#terms.truncate(fromIndex);
    this.#lastIndex = fromIndex - 1;
    if (fromIndex < this.#firstInMemory) {
      this.#entries = [];
      this.#base = fromIndex;
      this.#firstInMemory = fromIndex;
    } else {
      this.#entries.length = fromIndex - this.#base;
    }
  }

  /** Entries in memory from `fromIndex` to at most `toIndex`: as many as fit `maxBytes`, but at least one. */
  slice(fromIndex: number, toIndex: number, maxBytes: number): readonly LogEntry[] {
    invariant(
      fromIndex >= this.#firstInMemory && fromIndex <= toIndex && toIndex <= this.#lastIndex,
      "slice inside the window",
    );
    let bytes = entryCostBytes(this.#at(fromIndex));
    let end = fromIndex + 1;
    for (; end <= toIndex; end++) {
      bytes += entryCostBytes(this.#at(end));
      if (bytes > maxBytes) break;
    }
    return this.#entries.slice(fromIndex - this.#base, end - this.#base);
  }

  /** The part of entries read from disk that starts at `fromIndex`, as far as each is the entry of this log. */
  verified(entries: readonly LogEntry[], fromIndex: number): readonly LogEntry[] {
    const start = fromIndex - (entries[0]?.index ?? fromIndex + 1);
    if (start < 0) return [];
    let end = start;
    for (; end < entries.length; end++) {
      const entry = entries[end] as LogEntry;
      if (entry.index !== fromIndex + end - start || !this.matches(entry.index, entry.term)) break;
    }
    return entries.slice(start, end);
  }

  /** Lets go of entries up to `index` as far as the window is over its size. */
  release(index: number): void {
    while (this.#bytes > this.#windowBytes && this.#firstInMemory <= index) this.#releaseFirst();
    this.#shrink();
  }

  #releaseFirst(): void {
    this.#bytes -= entryCostBytes(this.#at(this.#firstInMemory));
    this.#entries[this.#firstInMemory - this.#base] = RELEASED;
    this.#firstInMemory++;
  }

  /** Moving the array costs its length: only when half of it is released, so that each entry is moved once on average. */
  #shrink(): void {
    const released = this.#firstInMemory - this.#base;
    if (released > 0 && released * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(released);
      this.#base = this.#firstInMemory;
    }
  }

  #at(index: number): LogEntry {
    const entry = this.#entries[index - this.#base];
    invariant(entry !== undefined && entry.index === index, "the entry is in memory");
    return entry;
  }

  #push(entry: LogEntry): void {
    this.#entries.push(entry);
    this.#terms.append(entry.index, entry.term);
    this.#lastIndex = entry.index;
    this.#bytes += entryCostBytes(entry);
  }
}
