/** What is read of a page; for what a page is see `page.ts`. */
import { type Bytes, EMPTY } from "../codec/bytes.ts";
import { invariant } from "../../errors.ts";
import { HINT_OFFSET, LINE_BYTES, readU16, SLOT_BYTES } from "./page-log.ts";
import {
  compareRecord,
  FIELD_DELETED,
  FIELD_LARGE,
  HEADER_BYTES,
  hintOf,
  previousOf,
  recordLength,
  sharedPrefix,
  versionOf,
  wideHintOf,
} from "./record.ts";

const NO_LARGE_VALUES: Bytes[] = [];

/** Tables of no more slots than this are on few lines of the processor's cache, and so are searched by halves alone. */
const GUESSED_LEAST = 16;
/** How far from the guess a search looks next: the slots between are on one line. */
const FIRST_STEP = 4;

/** Records with ascending keys; indexes are positions in that order. */
export abstract class PageReader {
  // What a search needs stands first, on few lines of the processor's cache.
  /** Number of records. */
  count = 0;
  protected log: Uint8Array;
  /** Where the table of slots begins. */
  protected table = 0;
  /** Where the log goes on; its length for a page that shares it with one that goes on with it. */
  protected end = 0;
  /** Bytes that all keys begin with: never more than they share, and seldom less. */
  protected prefix = 0;
  /** Hints of the first and of the last record, or of ones that were: only guesses depend on them. */
  protected lowHint = 0;
  protected highHint = 0;
  /** Values that are beside the page. */
  protected large: Bytes[] = NO_LARGE_VALUES;

  /** @param log shared with the page this one is made of */
  protected constructor(log: Uint8Array) {
    this.log = log;
  }

  /** Index of a record that may have a key; it is near when keys are spread evenly, and it is what a search looks at first. */
  guess(key: Bytes): number {
    return this.#guess(hintOf(key, 0, key.length, this.prefix));
  }

  /**
   * Where a search for a key begins: no record before this one has the key, and most often this one has it.
   * @param guess what {@link guess} says
   */
  searchStart(key: Bytes, guess?: number): number {
    return this.#firstHint(hintOf(key, 0, key.length, this.prefix), guess);
  }

  /**
   * Index of a key; when it is not there, the bitwise complement of the index it belongs at.
   * @param from what {@link searchStart} says
   */
  search(key: Bytes, from = this.searchStart(key)): number {
    const log = this.log;
    const prefix = this.prefix;
    if (this.count === 0) return ~0;
    const hint = hintOf(key, 0, key.length, prefix);
    if (prefix > 0) {
      const offset = this.offsetAt(from < this.count ? from : from - 1);
      const shared = sharedPrefix(log, offset, key, prefix);
      if (shared < prefix) {
        const above = shared < key.length && (key[shared] as number) > (log[offset + HEADER_BYTES + shared] as number);
        return above ? ~this.count : ~0;
      }
    }
    let low = from;
    // Seldom more than one key has the hint.
    let high = this.#hasHint(from, hint) ? from + 1 : from;
    if (this.#hasHint(high, hint)) high = this.#firstHint(hint + 1);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = compareRecord(log, this.offsetAt(middle), key, prefix);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return ~low;
  }

  #hasHint(index: number, hint: number): boolean {
    return index < this.count && readU16(this.log, this.slotOf(index) + HINT_OFFSET) === hint;
  }

  /** Index of a slot whose hint may be this one: it is near when hints are spread evenly, as those of digests are. */
  #guess(hint: number): number {
    const { count, lowHint, highHint } = this;
    if (count <= GUESSED_LEAST || hint <= lowHint) return 0;
    return hint >= highHint ? count - 1 : Math.floor(((hint - lowHint) * (count - 1)) / (highHint - lowHint));
  }

  /**
   * Index of the first slot whose hint is not less; their number when there is none. In a large table it begins with a guess,
   * since that reads fewer lines than halves do (Perl, Itai and Avni, "Interpolation Search", CACM 1978); steps that double
   * from there keep the search logarithmic when the guess is wrong.
   */
  #firstHint(hint: number, guess = this.#guess(hint)): number {
    const { log, count } = this;
    const hints = this.table + HINT_OFFSET;
    let [from, to] = [0, count];
    if (count > GUESSED_LEAST) {
      let at = guess;
      const upwards = readU16(log, hints + at * SLOT_BYTES) < hint;
      for (let step = FIRST_STEP; at >= 0 && at < count; step *= 2) {
        const less = readU16(log, hints + at * SLOT_BYTES) < hint;
        if (less) from = at + 1;
        else to = at;
        if (less !== upwards) break;
        at += upwards ? step : -step;
      }
    }
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (readU16(log, hints + middle * SLOT_BYTES) < hint) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /**
   * This and the three that follow tell what {@link search} and {@link Page.overwrite} read, so that reads for many keys can wait
   * for memory at the same time: the log, to read in it and for nothing else.
   */
  get memory(): Uint8Array {
    return this.log;
  }

  /** Where in the log the slot of a record is, see {@link memory}. */
  slotPlace(index: number): number {
    return this.slotOf(index);
  }

  /** Where in the log a line begins that has the start of a record, see {@link memory}. @param index what {@link searchStart} says */
  recordPlace(index: number): number {
    return index >= this.count ? 0 : Math.max(0, Math.min(this.offsetAt(index), this.log.length - LINE_BYTES));
  }

  /** Reads where the next record will stand, see {@link memory}. What is returned means nothing. */
  touchEnd(): number {
    const { log, end } = this;
    const last = end + 2 * LINE_BYTES;
    return last < log.length ? (log[end] as number) + (log[last - LINE_BYTES] as number) + (log[last] as number) : end;
  }

  /** What all keys begin with, and of each key the four bytes behind it, see {@link wideHintOf}. */
  wideHints(): { readonly prefix: Bytes; readonly hints: Int32Array } {
    const { log, count, prefix } = this;
    const hints = new Int32Array(count);
    for (let index = 0; index < count; index++) {
      const offset = this.offsetAt(index);
      hints[index] = wideHintOf(log, offset + HEADER_BYTES, readU16(log, offset), prefix);
    }
    return { prefix: count === 0 ? EMPTY : this.keyAt(0).slice(0, prefix), hints };
  }

  /** Key of a record, as a view. */
  keyAt(index: number): Bytes {
    const offset = this.offsetAt(index);
    const start = offset + HEADER_BYTES;
    return this.log.subarray(start, start + readU16(this.log, offset));
  }

  /** Value a version sees in a record, as a view; undefined when the record says that its key is deleted. */
  valueAt(index: number, version: number): Bytes | undefined {
    const offset = this.offsetIn(index, version);
    const field = readU16(this.log, offset + 2);
    if (field === FIELD_DELETED) return undefined;
    const start = offset + HEADER_BYTES + readU16(this.log, offset);
    if (field === FIELD_LARGE) return this.large[readU16(this.log, start)];
    return this.log.subarray(start, start + field);
  }

  /** Whether the record a version sees says that its key is deleted. */
  deletedAt(index: number, version: number): boolean {
    return readU16(this.log, this.offsetIn(index, version) + 2) === FIELD_DELETED;
  }

  /** Version that wrote the record a version sees. */
  versionAt(index: number, version: number): number {
    return versionOf(this.log, this.offsetIn(index, version));
  }

  /** Bytes of the newest record of a key, with its slot. */
  sizeAt(index: number): number {
    return recordLength(this.log, this.offsetAt(index)) + SLOT_BYTES;
  }

  /** Where the slot of a record is. */
  protected slotOf(index: number): number {
    return this.table + index * SLOT_BYTES;
  }

  /** Where the newest record of a key is. */
  protected offsetAt(index: number): number {
    return readU16(this.log, this.slotOf(index));
  }

  /** Where the record is that a version sees. */
  protected offsetIn(index: number, version: number): number {
    let offset = this.offsetAt(index);
    while (versionOf(this.log, offset) > version) {
      const previous = previousOf(this.log, offset);
      invariant(previous > 0 && previous < offset, "a page has no record of its version");
      offset = previous;
    }
    return offset;
  }
}
