/**
 * A packed page: records in key order inside one byte array. The unit of copy-on-write, which copies no records.
 *
 * The array is a log that all versions of a page share: whatever one of them writes is appended, and what stands there is
 * never written again, so other versions and views on keys and values last. A version is a table of slots in the log, one
 * for each of its records in key order; its owner alone changes the table, in place. Versions that only give records other
 * values share a table: each has a short list of the offsets that moved. A page whose log is full moves what it has to a
 * new one with room for more, so a write copies little, however large the page is.
 *
 * Memory that is not in a processor's cache is what a large tree costs most, so a search reads the table and one record,
 * seldom more: beside the offset of its record a slot has a hint, the two bytes of the key behind those that all keys of
 * the page begin with.
 *
 * Log: end u16 | records, tables of slots and lists of moves; move: index u16 | offset u16. For slots see `page-log.ts`, for
 * records `record.ts`. The version of a record is that of its writer's owner token.
 */
import { EMPTY, type Bytes } from "../codec/bytes.ts";
import type { OwnerToken } from "./owner-token.ts";
import { END_BYTES, firstHint, HINT_OFFSET, newLog, readU16, SLOT_BYTES, writeU16 } from "./page-log.ts";
import {
  bytesInPage,
  compareRecord,
  FIELD_DELETED,
  FIELD_LARGE,
  fieldOf,
  HEADER_BYTES,
  hintOf,
  recordLength,
  sharedPrefix,
  VERSION_OFFSET,
  writeHead,
} from "./record.ts";

/** Size in bytes above which a page is split; one may be larger for a while, by a record or two. */
export const PAGE_BYTES = 16384;
/** Number of records above which a page is split: each that is added or removed can cost a new table. */
export const PAGE_RECORDS = 256;

const MOVE_BYTES = 4;
/** Most moves in a list: every access goes through it. */
const MOVES_MAX = 8;
const MOVES_BYTES = MOVES_MAX * MOVE_BYTES;
/** Least room in a new log, in parts of what the page has: more of it means fewer copies and more memory. */
const LOG_ROOM = 1 / 4;
const SMALLEST_LOG_ROOM_BYTES = 128;
const NO_LARGE_VALUES: Bytes[] = [];

/** Bytes a page needs for one more record, with its slot. */
export function recordBytes(key: Bytes, value: Bytes | undefined): number {
  return HEADER_BYTES + key.length + bytesInPage(value) + SLOT_BYTES;
}

/** Records with ascending keys; indexes are positions in that order. */
export class Page {
  // What a search needs stands first, on few lines of the processor's cache.
  /** Number of records. */
  count = 0;
  #log: Uint8Array;
  /** Where the table of slots begins. */
  #table = 0;
  /** Bytes that all keys begin with: never more than they share, and seldom less. */
  #prefix = 0;
  /** Where the list of moves begins; a table of this page's own needs none. */
  #moves = 0;
  #moveCount = 0;
  readonly owner: OwnerToken;
  /** Slots the table has room for; none while it belongs to another version of the page. */
  #room = 0;
  /** Whether no other version has the list. */
  #ownMoves = false;
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

  /** Whether it is to be split. */
  get full(): boolean {
    return this.count > 1 && (this.usedBytes > PAGE_BYTES || this.count > PAGE_RECORDS);
  }

  /** Index of a key; when it is not there, the bitwise complement of the index it belongs at. */
  search(key: Bytes): number {
    const log = this.#log;
    const prefix = this.#prefix;
    if (this.count === 0) return ~0;
    const hint = hintOf(key, 0, key.length, prefix);
    const from = firstHint(log, this.#table, this.count, hint);
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
    if (this.#hasHint(high, hint)) high = firstHint(log, this.#table, this.count, hint + 1);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = compareRecord(log, this.#offsetAt(middle), key, prefix);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return ~low;
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
    return recordLength(this.#log, this.#offsetAt(index)) + SLOT_BYTES;
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
    const bytes = HEADER_BYTES + key.length + bytesInPage(value);
    if (this.#room === 0 && this.#moveCount < MOVES_MAX) this.#reserveMove(bytes);
    else this.#reserve(bytes, this.count);
    this.#bury(this.#offsetAt(index));
    const offset = this.#append(this.owner.version, key, value);
    if (this.#room > 0) this.#setU16(this.#slotOf(index), offset);
    else this.#setMove(index, offset);
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
    version.#moves = this.#moves;
    version.#moveCount = this.#moveCount;
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
    return part.#take(this, from, to).#setHints();
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

  #u16(at: number): number {
    return readU16(this.#log, at);
  }

  #setU16(at: number, value: number): void {
    writeU16(this.#log, at, value);
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
    const move = this.#moveCount === 0 ? 0 : this.#moveOf(index);
    return this.#u16(move === 0 ? this.#slotOf(index) : move + 2);
  }

  /** Where the move of a record is, 0 when it has none. */
  #moveOf(index: number): number {
    const end = this.#moves + this.#moveCount * MOVE_BYTES;
    for (let at = this.#moves; at < end; at += MOVE_BYTES) if (this.#u16(at) === index) return at;
    return 0;
  }

  #setMove(index: number, offset: number): void {
    const known = this.#moveOf(index);
    const at = known === 0 ? this.#moves + this.#moveCount * MOVE_BYTES : known;
    if (known === 0) this.#moveCount++;
    this.#setU16(at, index);
    this.#setU16(at + 2, offset);
  }

  #insert(index: number, version: number, key: Bytes, value: Bytes | undefined): void {
    this.#reserve(HEADER_BYTES + key.length + bytesInPage(value), this.count + 1);
    this.#fitPrefix(key);
    const offset = this.#append(version, key, value);
    const slot = this.#slotOf(index);
    if (index < this.count) this.#log.copyWithin(slot + SLOT_BYTES, slot, this.#slotOf(this.count));
    this.count++;
    this.#setU16(slot, offset);
    this.#setU16(slot + HINT_OFFSET, hintOf(key, 0, key.length, this.#prefix));
  }

  /** Makes the prefix one that this key has too. */
  #fitPrefix(key: Bytes): void {
    if (this.count === 0) this.#prefix = key.length;
    else {
      const shared = sharedPrefix(this.#log, this.#offsetAt(0), key, this.#prefix);
      if (shared < this.#prefix) this.#setPrefix(shared);
    }
  }

  /** Finds the prefix and the hints of the records that are here. */
  #setHints(): this {
    if (this.count === 0) return this;
    const last = this.keyAt(this.count - 1);
    const first = this.#offsetAt(0);
    this.#setPrefix(sharedPrefix(this.#log, first, last, this.#u16(first)));
    return this;
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
    this.#recordsBytes -= recordLength(this.#log, offset);
    if (this.#u16(offset + 2) !== FIELD_LARGE) return;
    this.#large[this.#u16(offset + HEADER_BYTES + this.#u16(offset))] = EMPTY;
  }

  /** Writes a record into room that is reserved, without a slot, and returns its offset. */
  #append(version: number, key: Bytes, value: Bytes | undefined): number {
    const offset = this.#end;
    const start = offset + HEADER_BYTES + key.length;
    const field = fieldOf(value);
    writeHead(this.#log, offset, { field, version, key });
    if (value !== undefined && field === FIELD_LARGE) this.#setU16(start, this.#addLarge(value));
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

  /** Makes room for a record of so many bytes, and for one more move. Offsets may change. */
  #reserveMove(bytes: number): void {
    const fits = this.#end + bytes + MOVES_BYTES <= this.#log.length;
    if (!fits) this.#moveLog(bytes, this.count);
    if (!fits || this.#ownMoves) return;
    const from = this.#moves;
    this.#moves = this.#end;
    this.#end = this.#moves + MOVES_BYTES;
    this.#log.copyWithin(this.#moves, from, from + this.#moveCount * MOVE_BYTES);
    this.#ownMoves = true;
  }

  #moveTable(room: number): void {
    const from = this.#table;
    this.#openTable(room);
    this.#log.copyWithin(this.#table, from, from + this.count * SLOT_BYTES);
    for (let at = this.#moves; this.#moveCount > 0; this.#moveCount--, at += MOVE_BYTES)
      this.#setU16(this.#slotOf(this.#u16(at)), this.#u16(at + 2));
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
    moved.#take(this, 0, this.count).#setHints();
    this.#log = moved.#log;
    this.#table = moved.#table;
    this.#prefix = moved.#prefix;
    this.#room = moved.#room;
    this.#moveCount = 0;
    this.#large = moved.#large;
  }

  /** Copies records of another page behind those of this one, which has the room. */
  #take(source: Page, from: number, to: number): this {
    for (let index = from; index < to; index++) {
      const offset = source.#offsetAt(index);
      const bytes = recordLength(source.#log, offset);
      const target = this.#end;
      this.#log.set(source.#log.subarray(offset, offset + bytes), target);
      if (source.#u16(offset + 2) === FIELD_LARGE) {
        const start = target + HEADER_BYTES + source.#u16(offset);
        this.#setU16(start, this.#addLarge(source.#large[this.#u16(start)] as Bytes));
      }
      this.#end = target + bytes;
      this.#recordsBytes += bytes;
      this.count++;
      this.#setU16(this.#slotOf(this.count - 1), target);
    }
    return this;
  }
}
