/**
 * A packed page: records in key order inside one byte array, and the unit of copy-on-write. The array is a log: what stands
 * in it is never written again, so views on keys and values last. A table of slots in the log says where the newest record
 * of each key is, and each record where the one before it is.
 *
 * So a key that is there gets another value in place, for all versions of the tree that have the page: a reader goes from
 * the newest record back to the first that is not newer than the version it reads. Only what changes the set of keys makes
 * another page, which shares the log and has a table of its own. A page whose log is full moves its newest records to a new
 * one with room for more.
 *
 * Memory that is not in a processor's cache is what a large tree costs most, so a search reads the table and one record,
 * seldom more: beside the offset of its record a slot has a hint, the two bytes of the key behind those that all keys of
 * the page begin with.
 *
 * Log: a table of slots, then records and further tables. For slots see `page-log.ts`, for records `record.ts`. The version of a record
 * is that of its writer.
 */
import { EMPTY, type Bytes } from "../codec/bytes.ts";
import { invariant } from "../../errors.ts";
import type { OwnerToken } from "./owner-token.ts";
import { PageReader } from "./page-reader.ts";
import { HINT_OFFSET, logRoom, newLog, readU16, SLOT_BYTES, touchLines, writeU16 } from "./page-log.ts";
import {
  bytesInPage,
  FIELD_LARGE,
  fieldOf,
  HEADER_BYTES,
  hintOf,
  recordLength,
  sharedPrefix,
  versionOf,
  writeHead,
} from "./record.ts";

/** Size in bytes above which a page is split; one may be larger for a while, by a record or two. */
export const PAGE_BYTES = 32768;
/** Number of records above which a page is split: each that is added or removed can cost a new table. */
export const PAGE_RECORDS = 256;

/** A version that sees the newest records. */
const NEWEST = Number.MAX_SAFE_INTEGER;

/** See the module's header. */
export class Page extends PageReader {
  readonly owner: OwnerToken;
  /** Slots the table has room for; none while it belongs to another page. */
  #room = 0;
  /** Bytes of the newest record of each key. */
  #recordsBytes = 0;

  /** @param log shared with the page this one is made of */
  private constructor(owner: OwnerToken, log: Uint8Array) {
    super(log);
    this.owner = owner;
  }

  /** A page without records, with room for about so many bytes of them with their slots. */
  static empty(owner: OwnerToken, bytes = 0): Page {
    return new Page(owner, newLog(bytes));
  }

  /** Bytes of all records with their slots. */
  get usedBytes(): number {
    return this.#recordsBytes + this.count * SLOT_BYTES;
  }

  /** Whether it is to be split. */
  get full(): boolean {
    return this.count > 1 && (this.usedBytes > PAGE_BYTES || this.count > PAGE_RECORDS);
  }

  /** Adds a record before `index`. A large value is kept by reference: nobody may change it afterwards. */
  insertAt(index: number, key: Bytes, value: Bytes | undefined): void {
    this.#insert(index, this.owner.version, key, value);
  }

  /** Adds a record that another version wrote, behind all others. */
  appendOf(version: number, key: Bytes, value: Bytes): void {
    this.#insert(this.count, version, key, value);
  }

  /**
   * Gives the key at `index`, which is this one, another value for the versions from this one on; false, and nothing has
   * changed, when that takes another page: the log is full, the page would be, or a value is large and so counts as memory.
   */
  overwrite(index: number, version: number, key: Bytes, value: Bytes | undefined): boolean {
    const previous = this.offsetAt(index);
    const bytes = HEADER_BYTES + key.length + bytesInPage(value);
    if (this.end + bytes > this.log.length || readU16(this.log, previous + 2) === FIELD_LARGE) return false;
    const grown = bytes - recordLength(this.log, previous);
    if (fieldOf(value) === FIELD_LARGE || (grown > 0 && this.usedBytes + grown > PAGE_BYTES)) return false;
    this.#recordsBytes += grown - bytes;
    this.#setU16(this.slotOf(index), this.#append(version, previous, key, value));
    return true;
  }

  /** Gives the record at `index`, which has this key, another value; only its owner may, while no other version has the page. */
  replaceAt(index: number, key: Bytes, value: Bytes | undefined): void {
    this.#reserve(HEADER_BYTES + key.length + bytesInPage(value), this.count);
    const previous = this.offsetAt(index);
    this.#bury(previous);
    this.#setU16(this.slotOf(index), this.#append(this.owner.version, previous, key, value));
  }

  /** Removes a record. */
  removeAt(index: number): void {
    this.#reserve(0, this.count);
    this.#bury(this.offsetAt(index));
    const slot = this.slotOf(index);
    this.log.copyWithin(slot, slot + SLOT_BYTES, this.slotOf(this.count));
    this.count--;
  }

  /** This page when the token owns it, otherwise another with the same records, for the token to change. */
  owned(owner: OwnerToken): Page {
    if (this.owner === owner) return this;
    const page = new Page(owner, this.log);
    page.end = this.end;
    // Of the pages that share a log one goes on with it.
    this.end = this.log.length;
    page.count = this.count;
    page.table = this.table;
    page.#takeHints(this);
    page.#recordsBytes = this.#recordsBytes;
    if (this.large.length > 0) page.large = this.large.slice();
    return page;
  }

  /** A new page with what a version sees in this one; this page itself when nothing in the key at `index` is newer. */
  reverted(owner: OwnerToken, index: number): Page {
    if (versionOf(this.log, this.offsetAt(index)) <= owner.version) return this;
    return this.#part(owner, 0, this.count, owner.version);
  }

  /** A new page with the newest records from `from` to before `to`. */
  slice(owner: OwnerToken, from: number, to: number): Page {
    return this.#part(owner, from, to, NEWEST);
  }

  /** A new page with the records of this one and of another whose keys are all greater. */
  concat(owner: OwnerToken, right: Page): Page {
    const whole = Page.empty(owner, this.usedBytes + right.usedBytes);
    whole.#openTable(this.count + right.count);
    return whole.#take(this, 0, this.count).#take(right, 0, right.count).#setHints();
  }

  /** Index that cuts a page of two or more records into two parts of about the same size, neither of them empty. */
  middle(): number {
    const half = this.usedBytes / 2;
    let index = 1;
    for (let left = this.sizeAt(0); left < half && index < this.count - 1; index++) left += this.sizeAt(index);
    return index;
  }

  #setU16(at: number, value: number): void {
    writeU16(this.log, at, value);
  }

  #insert(index: number, version: number, key: Bytes, value: Bytes | undefined): void {
    this.#reserve(HEADER_BYTES + key.length + bytesInPage(value), this.count + 1);
    this.#fitPrefix(key);
    const offset = this.#append(version, 0, key, value);
    const slot = this.slotOf(index);
    if (index < this.count) this.log.copyWithin(slot + SLOT_BYTES, slot, this.slotOf(this.count));
    this.count++;
    this.#setU16(slot, offset);
    const hint = hintOf(key, 0, key.length, this.prefix);
    this.#setU16(slot + HINT_OFFSET, hint);
    if (index === 0) this.lowHint = hint;
    if (index === this.count - 1) this.highHint = hint;
  }

  /** Makes the prefix one that this key has too. */
  #fitPrefix(key: Bytes): void {
    if (this.count === 0) this.prefix = key.length;
    else {
      const shared = sharedPrefix(this.log, this.offsetAt(0), key, this.prefix);
      if (shared < this.prefix) this.#setPrefix(shared);
    }
  }

  /** Finds the prefix and the hints of the records that are here. */
  #setHints(): this {
    if (this.count === 0) return this;
    const last = this.keyAt(this.count - 1);
    const first = this.offsetAt(0);
    this.#setPrefix(sharedPrefix(this.log, first, last, readU16(this.log, first)));
    return this;
  }

  #setPrefix(prefix: number): void {
    this.prefix = prefix;
    for (let index = 0; index < this.count; index++) {
      const offset = this.offsetAt(index);
      const hint = hintOf(this.log, offset + HEADER_BYTES, readU16(this.log, offset), prefix);
      this.#setU16(this.slotOf(index) + HINT_OFFSET, hint);
      if (index === 0) this.lowHint = hint;
      this.highHint = hint;
    }
  }

  /** Takes over what hints depend on from a page with the same keys. */
  #takeHints({ prefix, lowHint, highHint }: Page): void {
    this.prefix = prefix;
    this.lowHint = lowHint;
    this.highHint = highHint;
  }

  /** Counts out a record that no version has; a large value is let go at once. */
  #bury(offset: number): void {
    this.#recordsBytes -= recordLength(this.log, offset);
    if (readU16(this.log, offset + 2) !== FIELD_LARGE) return;
    this.large[readU16(this.log, offset + HEADER_BYTES + readU16(this.log, offset))] = EMPTY;
  }

  /** Writes a record into room that is reserved, without a slot, and returns its offset. */
  #append(version: number, previous: number, key: Bytes, value: Bytes | undefined): number {
    const offset = this.end;
    const start = offset + HEADER_BYTES + key.length;
    const field = fieldOf(value);
    writeHead(this.log, offset, { field, version, previous, key });
    if (value !== undefined && field === FIELD_LARGE) this.#setU16(start, this.#addLarge(value));
    else if (value !== undefined) this.log.set(value, start);
    this.end = start + bytesInPage(value);
    this.#recordsBytes += this.end - offset;
    return offset;
  }

  #addLarge(value: Bytes): number {
    if (this.large.length === 0) this.large = [];
    return this.large.push(value) - 1;
  }

  /** Makes room for a record of so many bytes, and for so many slots in a table of this page's own. Offsets may change. */
  #reserve(bytes: number, slots: number): void {
    // A table that grows a second time is one that many records are added to.
    const room = slots <= this.#room ? 0 : this.#room === 0 ? slots : slots + (slots >>> 1) + 4;
    if (this.end + bytes + room * SLOT_BYTES > this.log.length) this.#moveLog(bytes, Math.max(room, slots));
    else if (room > 0) {
      const from = this.table;
      this.#openTable(room);
      this.log.copyWithin(this.table, from, from + this.count * SLOT_BYTES);
    }
  }

  /** Begins a table, which is nobody else's. */
  #openTable(room: number): void {
    this.table = this.end;
    this.#room = room;
    this.end = this.table + room * SLOT_BYTES;
  }

  #moveLog(bytes: number, slots: number): void {
    // Records are copied in the order of their keys, which is not that of their places.
    invariant(touchLines(this.log, 0, this.end) >= 0, "bytes are not negative");
    const needed = this.#recordsBytes + bytes + slots * SLOT_BYTES;
    const moved = new Page(this.owner, newLog(needed + logRoom(needed)));
    moved.#openTable(slots);
    moved.#take(this, 0, this.count).#setHints();
    this.log = moved.log;
    this.end = moved.end;
    this.table = moved.table;
    this.#takeHints(moved);
    this.#room = moved.#room;
    this.large = moved.large;
  }

  #part(owner: OwnerToken, from: number, to: number, version: number): Page {
    let bytes = (to - from) * SLOT_BYTES;
    for (let index = from; index < to; index++) bytes += recordLength(this.log, this.offsetIn(index, version));
    const part = Page.empty(owner, bytes);
    part.#openTable(to - from);
    return part.#take(this, from, to, version).#setHints();
  }

  /** Copies records of another page, as a version sees them, behind those of this one, which has the room. */
  #take(source: Page, from: number, to: number, version = NEWEST): this {
    const first = this.count;
    let target = this.end;
    // Most stand one behind the other: copying a record by itself costs more than its bytes do.
    let [runStart, runEnd, runTarget] = [0, 0, target];
    for (let index = from; index < to; index++) {
      const offset = version === NEWEST ? source.offsetAt(index) : source.offsetIn(index, version);
      if (offset !== runEnd) {
        this.log.set(source.log.subarray(runStart, runEnd), runTarget);
        runStart = offset;
        runTarget = target;
      }
      runEnd = offset + recordLength(source.log, offset);
      this.#setU16(this.slotOf(this.count++), target);
      target += runEnd - offset;
    }
    this.log.set(source.log.subarray(runStart, runEnd), runTarget);
    this.#recordsBytes += target - this.end;
    this.end = target;
    if (source.large.length > 0) this.#takeLarge(source, first);
    return this;
  }

  /** Takes over the large values of the records from `first` on, which are copies of those of another page. */
  #takeLarge(source: Page, first: number): void {
    for (let index = first; index < this.count; index++) {
      const offset = this.offsetAt(index);
      if (readU16(this.log, offset + 2) !== FIELD_LARGE) continue;
      const at = offset + HEADER_BYTES + readU16(this.log, offset);
      this.#setU16(at, this.#addLarge(source.large[readU16(this.log, at)] as Bytes));
    }
  }
}
