/**
 * A packed page: records in key order inside one byte array. The unit of copy-on-write, which copies no records.
 *
 * The array is a log that all versions of a page share: whatever one of them writes is appended, and what stands there is
 * never written again, so other versions and views on keys and values last. A version is a table of slots in the log, one
 * for each of its records in key order; its owner alone changes the table, in place. A page whose log is full moves what
 * it has to a new one with room for more, so a write copies little, however large the page is.
 *
 * Memory that is not in a processor's cache is what a large tree costs most, so a search reads the table and one record,
 * seldom more: beside the offset of its record a slot has a hint, the two bytes of the key behind those that all keys of
 * the page begin with.
 *
 * Log: end u16 | records and tables of slots. Slot: offset u16 | hint u16. For records see `record.ts`. The version of a
 * record is that of the batch that wrote it: the one its writer's owner token carries.
 */
import { invariant } from "../../errors.ts";
import { EMPTY, type Bytes } from "../codec/bytes.ts";
import {
  bytesInPage,
  compareRecord,
  FIELD_DELETED,
  FIELD_LARGE,
  HEADER_BYTES,
  hintOf,
  INLINE_VALUE_BYTES,
  LARGE_INDEX_BYTES,
  sharedPrefix,
  VERSION_OFFSET,
} from "./record.ts";

/** The right to change pages in place: whoever holds the token a page was made with. Compared by identity. */
export class OwnerToken {
  /** Version of the records its holder writes, below 2^48. */
  readonly version: number;

  constructor(version: number) {
    this.version = version;
  }
}

/** Size in bytes above which a page is split; one may be larger for a while, by a record or two. */
export const PAGE_BYTES = 8192;

const END_BYTES = 2;
const SLOT_BYTES = 4;
const HINT_OFFSET = 2;
const LARGEST_LOG_BYTES = 0xffff;
/** Room in a new log, in parts of what the page has: more of it means fewer copies and more memory. */
const LOG_ROOM = 1 / 2;
const SMALLEST_LOG_ROOM_BYTES = 128;
const NO_LARGE_VALUES: Bytes[] = [];

/** Bytes a page needs for one more record, with its slot. */
export function recordBytes(key: Bytes, value: Bytes | undefined): number {
  return HEADER_BYTES + key.length + bytesInPage(value) + SLOT_BYTES;
}

function newLog(bytes: number): Uint8Array {
  invariant(bytes <= LARGEST_LOG_BYTES, "page has outgrown its offsets");
  const log = new Uint8Array(bytes);
  log[1] = END_BYTES;
  return log;
}

/** Records with ascending keys; indexes are positions in that order. */
export class Page {
  readonly owner: OwnerToken;
  /** Number of records. */
  count = 0;
  #log: Uint8Array;
  /** Where the table of slots begins. */
  #table = 0;
  /** Bytes that all keys begin with: never more than they share, and seldom less. */
  #prefix = 0;
  /** Slots the table has room for; none while it belongs to another version of the page. */
  #room = 0;
  /** Bytes of the records that have a slot. */
  #recordsBytes = 0;
  #large: Bytes[] = NO_LARGE_VALUES;

  /** @param log shared with the page this is another version of; a new one by default */
  private constructor(owner: OwnerToken, log: Uint8Array) {
    this.owner = owner;
    this.#log = log;
  }

  /** A page without records, with room for about so many bytes of them with their slots. */
  static empty(owner: OwnerToken, bytes = 0): Page {
    return new Page(owner, newLog(END_BYTES + bytes));
  }

  /** Bytes of all records with their slots. */
  get usedBytes(): number {
    return this.#recordsBytes + this.count * SLOT_BYTES;
  }

  /** Index of a key; when it is not there, the bitwise complement of the index it belongs at. */
  search(key: Bytes): number {
    const log = this.#log;
    const prefix = this.#prefix;
    if (this.count === 0) return ~0;
    const hint = hintOf(key, 0, key.length, prefix);
    const from = this.#firstHint(hint, 0);
    if (prefix > 0) {
      const offset = this.#offsetAt(from < this.count ? from : from - 1);
      const shared = sharedPrefix(log, offset, key, prefix);
      if (shared < prefix) {
        const above = shared < key.length && (key[shared] as number) > (log[offset + HEADER_BYTES + shared] as number);
        return above ? ~this.count : ~0;
      }
    }
    let low = from;
    // Seldom more than one key has the hint.
    let high = this.#hasHint(from, hint) ? from + 1 : from;
    if (this.#hasHint(high, hint)) high = this.#firstHint(hint + 1, high);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = compareRecord(log, this.#offsetAt(middle), key, prefix);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return ~low;
  }

  /** Index of the first record from `low` on whose hint is not less. */
  #firstHint(hint: number, low: number): number {
    const log = this.#log;
    const hints = this.#table + HINT_OFFSET;
    let [from, to] = [low, this.count];
    while (from < to) {
      const middle = (from + to) >>> 1;
      const at = hints + middle * SLOT_BYTES;
      if ((((log[at] as number) << 8) | (log[at + 1] as number)) < hint) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  #hasHint(index: number, hint: number): boolean {
    return index < this.count && this.#u16(this.#slotOf(index) + HINT_OFFSET) === hint;
  }

  /** Key of a record, as a view. */
  keyAt(index: number): Bytes {
    const offset = this.#offsetAt(index);
    const start = offset + HEADER_BYTES;
    return this.#log.subarray(start, start + this.#u16(offset));
  }

  /** Value of a record, as a view; undefined when the record says that its key is deleted. */
  valueAt(index: number): Bytes | undefined {
    const offset = this.#offsetAt(index);
    const field = this.#u16(offset + 2);
    if (field === FIELD_DELETED) return undefined;
    const start = offset + HEADER_BYTES + this.#u16(offset);
    if (field === FIELD_LARGE) return this.#large[this.#u16(start)];
    return this.#log.subarray(start, start + field);
  }

  /** Whether a record says that its key is deleted. */
  deletedAt(index: number): boolean {
    return this.#u16(this.#offsetAt(index) + 2) === FIELD_DELETED;
  }

  /** Version that wrote a record. */
  versionAt(index: number): number {
    const at = this.#offsetAt(index) + VERSION_OFFSET;
    return this.#u16(at) * 0x100000000 + this.#u16(at + 2) * 0x10000 + this.#u16(at + 4);
  }

  /** Bytes of one record with its slot. */
  sizeAt(index: number): number {
    return this.#recordBytes(this.#offsetAt(index)) + SLOT_BYTES;
  }

  /** Adds a record before `index`. A large value is kept by reference: nobody may change it afterwards. */
  insertAt(index: number, key: Bytes, value: Bytes | undefined): void {
    this.#insert(index, this.owner.version, key, value);
  }

  /** Adds a record that another version wrote, behind all others. */
  appendOf(version: number, key: Bytes, value: Bytes): void {
    this.#insert(this.count, version, key, value);
  }

  /** Gives the record at `index`, which has this key, another value. */
  replaceAt(index: number, key: Bytes, value: Bytes | undefined): void {
    this.#reserve(HEADER_BYTES + key.length + bytesInPage(value), this.count);
    this.#bury(this.#offsetAt(index));
    this.#setOffset(index, this.#append(this.owner.version, key, value));
  }

  /** Removes a record. */
  removeAt(index: number): void {
    this.#reserve(0, this.count);
    this.#bury(this.#offsetAt(index));
    const slot = this.#slotOf(index);
    this.#log.copyWithin(slot, slot + SLOT_BYTES, this.#slotOf(this.count));
    this.count--;
  }

  /** This page when the token owns it, otherwise another version of it, for the token to change. */
  owned(owner: OwnerToken): Page {
    if (this.owner === owner) return this;
    const version = new Page(owner, this.#log);
    version.count = this.count;
    version.#table = this.#table;
    version.#prefix = this.#prefix;
    version.#recordsBytes = this.#recordsBytes;
    if (this.#large.length > 0) version.#large = this.#large.slice();
    return version;
  }

  /** A new page with the records from `from` to before `to`. */
  slice(owner: OwnerToken, from: number, to: number): Page {
    let bytes = 0;
    for (let index = from; index < to; index++) bytes += this.sizeAt(index);
    const part = Page.empty(owner, bytes);
    part.#openTable(to - from);
    part.#take(this, from, to);
    part.#setHints();
    return part;
  }

  /** A new page with the records of this one and of another whose keys are all greater. */
  concat(owner: OwnerToken, right: Page): Page {
    const whole = Page.empty(owner, this.usedBytes + right.usedBytes);
    whole.#openTable(this.count + right.count);
    whole.#take(this, 0, this.count);
    whole.#take(right, 0, right.count);
    whole.#setHints();
    return whole;
  }

  /** Index that cuts a page of two or more records into two parts of about the same size, neither of them empty. */
  middle(): number {
    const half = this.usedBytes / 2;
    let index = 1;
    for (let left = this.sizeAt(0); left < half && index < this.count - 1; index++) left += this.sizeAt(index);
    return index;
  }

  #u16(at: number): number {
    return ((this.#log[at] as number) << 8) | (this.#log[at + 1] as number);
  }

  #setU16(at: number, value: number): void {
    this.#log[at] = value >>> 8;
    this.#log[at + 1] = value;
  }

  /** Where the log goes on, for all pages that share it. */
  get #end(): number {
    return this.#u16(0);
  }

  set #end(at: number) {
    this.#setU16(0, at);
  }

  #slotOf(index: number): number {
    return this.#table + index * SLOT_BYTES;
  }

  #offsetAt(index: number): number {
    return this.#u16(this.#slotOf(index));
  }

  #setOffset(index: number, offset: number): void {
    this.#setU16(this.#slotOf(index), offset);
  }

  #recordBytes(offset: number): number {
    const field = this.#u16(offset + 2);
    const inPage = field === FIELD_DELETED ? 0 : field === FIELD_LARGE ? LARGE_INDEX_BYTES : field;
    return HEADER_BYTES + this.#u16(offset) + inPage;
  }

  #insert(index: number, version: number, key: Bytes, value: Bytes | undefined): void {
    this.#reserve(HEADER_BYTES + key.length + bytesInPage(value), this.count + 1);
    this.#fitPrefix(key);
    const offset = this.#append(version, key, value);
    const slot = this.#slotOf(index);
    if (index < this.count) this.#log.copyWithin(slot + SLOT_BYTES, slot, this.#slotOf(this.count));
    this.count++;
    this.#setOffset(index, offset);
    this.#setU16(slot + HINT_OFFSET, hintOf(key, 0, key.length, this.#prefix));
  }

  /** Makes the prefix one that this key has too. */
  #fitPrefix(key: Bytes): void {
    if (this.count === 0) {
      this.#prefix = key.length;
      return;
    }
    const shared = sharedPrefix(this.#log, this.#offsetAt(0), key, this.#prefix);
    if (shared < this.#prefix) this.#setPrefix(shared);
  }

  /** Finds the prefix and the hints of the records that are here. */
  #setHints(): void {
    if (this.count === 0) return;
    const last = this.keyAt(this.count - 1);
    const first = this.#offsetAt(0);
    this.#setPrefix(sharedPrefix(this.#log, first, last, this.#u16(first)));
  }

  #setPrefix(prefix: number): void {
    this.#prefix = prefix;
    for (let index = 0; index < this.count; index++) {
      const offset = this.#offsetAt(index);
      const hint = hintOf(this.#log, offset + HEADER_BYTES, this.#u16(offset), prefix);
      this.#setU16(this.#slotOf(index) + HINT_OFFSET, hint);
    }
  }

  /** Counts a record out; a large value is let go at once. */
  #bury(offset: number): void {
    this.#recordsBytes -= this.#recordBytes(offset);
    if (this.#u16(offset + 2) !== FIELD_LARGE) return;
    this.#large[this.#u16(offset + HEADER_BYTES + this.#u16(offset))] = EMPTY;
  }

  /** Writes a record into room that is reserved, without a slot, and returns its offset. */
  #append(version: number, key: Bytes, value: Bytes | undefined): number {
    const large = value !== undefined && value.length > INLINE_VALUE_BYTES;
    const offset = this.#end;
    const start = offset + HEADER_BYTES + key.length;
    this.#setU16(offset, key.length);
    this.#setU16(offset + 2, value === undefined ? FIELD_DELETED : large ? FIELD_LARGE : value.length);
    this.#setU16(offset + VERSION_OFFSET, Math.floor(version / 0x100000000));
    this.#setU16(offset + VERSION_OFFSET + 2, version >>> 16);
    this.#setU16(offset + VERSION_OFFSET + 4, version);
    this.#log.set(key, offset + HEADER_BYTES);
    if (large) this.#setU16(start, this.#addLarge(value));
    else if (value !== undefined) this.#log.set(value, start);
    this.#end = start + bytesInPage(value);
    this.#recordsBytes += this.#end - offset;
    return offset;
  }

  #addLarge(value: Bytes): number {
    if (this.#large === NO_LARGE_VALUES) this.#large = [];
    return this.#large.push(value) - 1;
  }

  /** Makes room for a record of so many bytes, and for so many slots in a table of this page's own. Offsets may change. */
  #reserve(bytes: number, slots: number): void {
    // A table that grows a second time is one that many records are added to.
    const room = slots <= this.#room ? 0 : this.#room === 0 ? slots : slots + (slots >>> 1) + 4;
    if (this.#end + bytes + room * SLOT_BYTES > this.#log.length) this.#moveLog(bytes, Math.max(room, slots));
    else if (room > 0) this.#moveTable(room);
  }

  #moveTable(room: number): void {
    const from = this.#table;
    this.#openTable(room);
    this.#log.copyWithin(this.#table, from, from + this.count * SLOT_BYTES);
  }

  /** Begins a table, which is nobody else's. */
  #openTable(room: number): void {
    this.#table = this.#end;
    this.#room = room;
    this.#end = this.#table + room * SLOT_BYTES;
  }

  #moveLog(bytes: number, slots: number): void {
    const needed = END_BYTES + this.#recordsBytes + bytes + slots * SLOT_BYTES;
    const room = Math.max(SMALLEST_LOG_ROOM_BYTES, Math.floor(needed * LOG_ROOM));
    const moved = new Page(this.owner, newLog(needed + room));
    moved.#openTable(slots);
    moved.#take(this, 0, this.count);
    moved.#setHints();
    this.#log = moved.#log;
    this.#table = moved.#table;
    this.#prefix = moved.#prefix;
    this.#room = moved.#room;
    this.#large = moved.#large;
  }

  /** Copies records of another page behind those of this one, which has the room. */
  #take(source: Page, from: number, to: number): void {
    for (let index = from; index < to; index++) {
      const offset = source.#offsetAt(index);
      const bytes = source.#recordBytes(offset);
      const target = this.#end;
      this.#log.set(source.#log.subarray(offset, offset + bytes), target);
      if (source.#u16(offset + 2) === FIELD_LARGE) {
        const start = target + HEADER_BYTES + source.#u16(offset);
        this.#setU16(start, this.#addLarge(source.#large[this.#u16(start)] as Bytes));
      }
      this.#end = target + bytes;
      this.#recordsBytes += bytes;
      this.count++;
      this.#setOffset(this.count - 1, target);
    }
  }
}
