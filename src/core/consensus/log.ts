/**
 * What the core remembers of the log: every term, but only the newest entries.
 *
 * `TermHistory` keeps one run per term for the whole log, so that the term of any index is known without its entry.
 * `RaftLog` keeps the entries of a window in memory; older ones are on disk and come back through `Ready.load`. The window
 * is compacted only by `release`, whose caller promises that the entries are durable and were handed out as committed.
 */
import { CocoError, invariant } from "../../errors.ts";
import type { LogEntry } from "./types.ts";

/** Bytes an entry counts for besides its data, so that empty entries are bounded too. */
export const ENTRY_OVERHEAD_BYTES = 32;

/** What an entry counts for in the window and in a batch, in bytes. */
export function entryCostBytes(entry: LogEntry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}

/** The term of every index, as runs of equal terms. */
export class TermHistory {
  readonly #terms: number[] = [];
  readonly #firstIndexes: number[] = [];

  /** Notes the term of the next index; terms never fall. */
  append(index: number, term: number): void {
    if (this.#terms.at(-1) === term) return;
    this.#terms.push(term);
    this.#firstIndexes.push(index);
  }

  /** Forgets every index from `fromIndex` on. */
  truncate(fromIndex: number): void {
    while ((this.#firstIndexes.at(-1) ?? 0) >= fromIndex && this.#terms.length > 0) {
      this.#firstIndexes.pop();
      this.#terms.pop();
    }
  }

  /** Term of an index that is in the log; 0 for index 0. */
  termAt(index: number): number {
    return this.#terms[this.#runOf(index)] ?? 0;
  }

  /** The last index up to `index` whose term is at most `term`; 0 when there is none. */
  lastIndexWithTermAtMost(index: number, term: number): number {
    let last = index;
    for (let run = this.#runOf(index); run >= 0 && (this.#terms[run] as number) > term; run--) {
      last = (this.#firstIndexes[run] as number) - 1;
    }
    return last;
  }

  /** Position of the run that holds `index`; -1 for index 0. */
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
  readonly #terms = new TermHistory();
  /** Entries by index - `#base`; those before `firstInMemory` are released. */
  #entries: LogEntry[] = [];
  #base = 1;
  #firstInMemory = 1;
  #lastIndex = 0;
  #bytes = 0;

  /** Reads a durable log once, front to back, and keeps its newest entries; throws `LedgerCorrupt` when it is no log. */
  constructor(windowBytes: number, restored: Iterable<LogEntry>) {
    this.#windowBytes = windowBytes;
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

  /** Index of the last entry; 0 when the log is empty. */
  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** Term of the last entry; 0 when the log is empty. */
  get lastTerm(): number {
    return this.#terms.termAt(this.#lastIndex);
  }

  /** First index whose entry is in memory; `lastIndex + 1` when none is. */
  get firstInMemory(): number {
    return this.#firstInMemory;
  }

  /** Whether the log has an entry of this term at this index; index 0 with term 0 always matches. */
  matches(index: number, term: number): boolean {
    return index <= this.#lastIndex && this.#terms.termAt(index) === term;
  }

  /** Term of an index from 0 to `lastIndex`. */
  termAt(index: number): number {
    invariant(index >= 0 && index <= this.#lastIndex, "term of an index outside the log");
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
    invariant(fromIndex >= 1 && fromIndex <= this.#lastIndex, "truncation inside the log");
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
    while (this.#bytes > this.#windowBytes && this.#firstInMemory <= index) {
      this.#bytes -= entryCostBytes(this.#at(this.#firstInMemory));
      this.#entries[this.#firstInMemory - this.#base] = RELEASED;
      this.#firstInMemory++;
    }
    // Moving the array costs its length: only when half of it is released, so that each entry is moved once on average.
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
