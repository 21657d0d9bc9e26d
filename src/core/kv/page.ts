/**
 * A packed page: records in key order inside one byte array. The unit of copy-on-write.
 *
 * Layout (the slotted page of database systems): records are appended from the front, two-byte slots with their offsets
 * grow from the back in key order. Record: key length u16 | value field u16 | version u48 | key | value. The value field is
 * the length of the value in the page, or says that the key is deleted, or that the value is large and kept beside the
 * page. The version is that of the batch that wrote the record: the one its writer's owner token carries.
 * Views on values last: once there was one, bytes of records are never written again. What is overwritten or removed only
 * loses its slot, and a page out of room moves to a new array. Until then a value makes room for another of its length.
 * Keys are never written over. A page is changed only by the holder of its owner token.
 */
import { invariant } from "../../errors.ts";
import { EMPTY, type Bytes } from "../codec/bytes.ts";

/** The right to change pages in place: whoever holds the token a page was made with. Compared by identity. */
export class OwnerToken {
  /** Version of the records its holder writes, below 2^48. */
  readonly version: number;

  constructor(version: number) {
    this.version = version;
  }
}

/** Size in bytes above which a page is split; one may be larger for a while, by a record or two. */
export const PAGE_BYTES = 4096;

/** Longest value in bytes that lies in the page itself. */
export const INLINE_VALUE_BYTES = 1024;

const SLOT_BYTES = 2;
const VERSION_BYTES = 6;
const VERSION_OFFSET = 4;
const HEADER_BYTES = VERSION_OFFSET + VERSION_BYTES;
const LARGE_INDEX_BYTES = 2;
const FIELD_DELETED = 0xffff;
const FIELD_LARGE = 0xfffe;
const SMALLEST_CAPACITY_BYTES = 256;
const LARGEST_CAPACITY_BYTES = 0xffff;
/** A copy takes dead records along until they are this part of the page, because copying in one piece is faster. */
const DEAD_FRACTION = 4;
/** Room that compaction leaves for more overwriting in the same batch. */
const OVERWRITE_SLACK_BYTES = 512;
/** A copy takes this much unused room along, for the same reason. */
const UNUSED_COPIED_BYTES = 256;
const NO_LARGE_VALUES: Bytes[] = [];

/** A list of large values that a page may change. */
function ownList(large: Bytes[]): Bytes[] {
  return large.length === 0 ? NO_LARGE_VALUES : large.slice();
}

function compareRecord(bytes: Uint8Array, offset: number, key: Bytes): number {
  const length = ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
  const shared = length < key.length ? length : key.length;
  const start = offset + HEADER_BYTES;
  for (let at = 0; at < shared; at++) {
    const difference = (bytes[start + at] as number) - (key[at] as number);
    if (difference !== 0) return difference;
  }
  return length - key.length;
}

/** Bytes a page needs for one more record, with its slot. */
export function recordBytes(key: Bytes, value: Bytes | undefined): number {
  const valueBytes = value === undefined ? 0 : value.length > INLINE_VALUE_BYTES ? LARGE_INDEX_BYTES : value.length;
  return HEADER_BYTES + key.length + valueBytes + SLOT_BYTES;
}

/** Records with ascending keys; indexes are positions in that order. */
export class Page {
  readonly owner: OwnerToken;
  /** Number of records. */
  count = 0;
  #bytes: Uint8Array;
  /** End of the last record written. */
  #heapEnd = 0;
  /** Bytes of records that have no slot any more. */
  #deadBytes = 0;
  #large: Bytes[] = NO_LARGE_VALUES;
  /** Whether somebody may have a view on a value in `#bytes`. */
  #viewed = false;

  /** @param bytes nobody else's, taken over; their number is the room of the page */
  constructor(owner: OwnerToken, bytes: Uint8Array = new Uint8Array(SMALLEST_CAPACITY_BYTES)) {
    this.owner = owner;
    this.#bytes = bytes;
  }

  /** Bytes of all records with their slots, without unused room. */
  get usedBytes(): number {
    return this.#heapEnd - this.#deadBytes + this.count * SLOT_BYTES;
  }

  /** Index of a key; when it is not there, the bitwise complement of the index it belongs at. */
  search(key: Bytes): number {
    const bytes = this.#bytes;
    const lastSlot = bytes.length - SLOT_BYTES;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const slot = lastSlot - middle * SLOT_BYTES;
      const order = compareRecord(bytes, ((bytes[slot] as number) << 8) | (bytes[slot + 1] as number), key);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return ~low;
  }

  /** Key of a record, as a view. */
  keyAt(index: number): Bytes {
    const offset = this.#offsetAt(index);
    const start = offset + HEADER_BYTES;
    return this.#bytes.subarray(start, start + this.#u16(offset));
  }

  /** Value of a record, as a view; undefined when the record says that its key is deleted. */
  valueAt(index: number): Bytes | undefined {
    const offset = this.#offsetAt(index);
    const field = this.#u16(offset + 2);
    if (field === FIELD_DELETED) return undefined;
    const start = offset + HEADER_BYTES + this.#u16(offset);
    if (field === FIELD_LARGE) return this.#large[this.#u16(start)];
    this.#viewed = true;
    return this.#bytes.subarray(start, start + field);
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
    const offset = this.#append(key, value);
    this.#setVersion(offset, this.owner.version);
    this.#openSlot(index);
    this.#setOffset(index, offset);
  }

  /** Adds a record that another version wrote, behind all others. */
  appendOf(version: number, key: Bytes, value: Bytes): void {
    const offset = this.#append(key, value);
    this.#setVersion(offset, version);
    this.#openSlot(this.count);
    this.#setOffset(this.count - 1, offset);
  }

  /** Gives the record at `index`, which has this key, another value. */
  replaceAt(index: number, key: Bytes, value: Bytes | undefined): void {
    if (!this.#viewed && this.#fits(index, value)) {
      this.#overwriteAt(index, key, value);
      return;
    }
    const offset = this.#append(key, value);
    this.#setVersion(offset, this.owner.version);
    this.#bury(this.#offsetAt(index));
    this.#setOffset(index, offset);
  }

  /** A copy of this page, owned by the token, in which the record at `index`, which has this key, has another value. */
  replacedAt(owner: OwnerToken, index: number, key: Bytes, value: Bytes | undefined): Page {
    const copy = this.#copy(owner, this.#fits(index, value) ? 0 : recordBytes(key, value));
    copy.replaceAt(index, key, value);
    return copy;
  }

  /** Whether a value has the length of the one at `index`, both in the page. */
  #fits(index: number, value: Bytes | undefined): value is Bytes {
    if (value === undefined || value.length > INLINE_VALUE_BYTES) return false;
    return this.#u16(this.#offsetAt(index) + 2) === value.length;
  }

  /** Only where nobody has a view on a value. */
  #overwriteAt(index: number, key: Bytes, value: Bytes): void {
    const offset = this.#offsetAt(index);
    this.#setVersion(offset, this.owner.version);
    this.#bytes.set(value, offset + HEADER_BYTES + key.length);
  }

  /** Removes a record. */
  removeAt(index: number): void {
    this.#bury(this.#offsetAt(index));
    const slots = this.#bytes.length - this.count * SLOT_BYTES;
    this.#bytes.copyWithin(slots + SLOT_BYTES, slots, this.#bytes.length - (index + 1) * SLOT_BYTES);
    this.count--;
  }

  /** This page when the token owns it, otherwise a copy that it owns, with room for another `extraBytes`. */
  owned(owner: OwnerToken, extraBytes = 0): Page {
    return this.owner === owner ? this : this.#copy(owner, extraBytes);
  }

  #copy(owner: OwnerToken, extraBytes: number): Page {
    const dense = this.#deadBytes * DEAD_FRACTION <= this.#heapEnd;
    const used = dense ? this.#heapEnd + this.count * SLOT_BYTES : this.usedBytes;
    const unused = this.#bytes.length - used;
    if (dense && unused >= extraBytes && unused <= extraBytes + UNUSED_COPIED_BYTES) return this.#twin(owner);
    const copy = new Page(owner, new Uint8Array(used + extraBytes));
    if (dense) copy.#takeWhole(this);
    else copy.#takeRange(this, 0, this.count);
    return copy;
  }

  /** A copy with the same room: an array made from another is not filled with zeros before. */
  #twin(owner: OwnerToken): Page {
    const twin = new Page(owner, new Uint8Array(this.#bytes));
    twin.count = this.count;
    twin.#heapEnd = this.#heapEnd;
    twin.#deadBytes = this.#deadBytes;
    twin.#large = ownList(this.#large);
    return twin;
  }

  /** A new page with the records from `from` to before `to`. */
  slice(owner: OwnerToken, from: number, to: number): Page {
    let bytes = 0;
    for (let index = from; index < to; index++) bytes += this.sizeAt(index);
    const part = new Page(owner, new Uint8Array(bytes));
    part.#takeRange(this, from, to);
    return part;
  }

  /** A new page with the records of this one and of another whose keys are all greater. */
  concat(owner: OwnerToken, right: Page): Page {
    const whole = new Page(owner, new Uint8Array(this.usedBytes + right.usedBytes));
    whole.#takeRange(this, 0, this.count);
    whole.#takeRange(right, 0, right.count);
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
    return ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number);
  }

  #setU16(at: number, value: number): void {
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
  }

  #setVersion(offset: number, version: number): void {
    const at = offset + VERSION_OFFSET;
    this.#setU16(at, Math.floor(version / 0x100000000));
    this.#setU16(at + 2, version >>> 16);
    this.#setU16(at + 4, version);
  }

  #offsetAt(index: number): number {
    return this.#u16(this.#bytes.length - (index + 1) * SLOT_BYTES);
  }

  #setOffset(index: number, offset: number): void {
    this.#setU16(this.#bytes.length - (index + 1) * SLOT_BYTES, offset);
  }

  #openSlot(index: number): void {
    const slots = this.#bytes.length - this.count * SLOT_BYTES;
    if (index < this.count) this.#bytes.copyWithin(slots - SLOT_BYTES, slots, this.#bytes.length - index * SLOT_BYTES);
    this.count++;
  }

  #recordBytes(offset: number): number {
    const field = this.#u16(offset + 2);
    const valueBytes = field === FIELD_DELETED ? 0 : field === FIELD_LARGE ? LARGE_INDEX_BYTES : field;
    return HEADER_BYTES + this.#u16(offset) + valueBytes;
  }

  /** Counts a record as dead; a large value is let go at once. */
  #bury(offset: number): void {
    this.#deadBytes += this.#recordBytes(offset);
    if (this.#u16(offset + 2) !== FIELD_LARGE) return;
    this.#large[this.#u16(offset + HEADER_BYTES + this.#u16(offset))] = EMPTY;
  }

  /** Writes a record after the last one, without a slot, and returns its offset. */
  #append(key: Bytes, value: Bytes | undefined): number {
    const large = value !== undefined && value.length > INLINE_VALUE_BYTES;
    const valueBytes = value === undefined ? 0 : large ? LARGE_INDEX_BYTES : value.length;
    this.#reserve(HEADER_BYTES + key.length + valueBytes + SLOT_BYTES);
    const offset = this.#heapEnd;
    const start = offset + HEADER_BYTES + key.length;
    this.#setU16(offset, key.length);
    this.#setU16(offset + 2, value === undefined ? FIELD_DELETED : large ? FIELD_LARGE : value.length);
    this.#bytes.set(key, offset + HEADER_BYTES);
    if (large) this.#setU16(start, this.#addLarge(value));
    else if (value !== undefined) this.#bytes.set(value, start);
    this.#heapEnd = start + valueBytes;
    return offset;
  }

  #addLarge(value: Bytes): number {
    if (this.#large === NO_LARGE_VALUES) this.#large = [];
    return this.#large.push(value) - 1;
  }

  /** Makes room for a record and its slot, in a new array if need be: views stay on the old one. */
  #reserve(bytes: number): void {
    if (this.#heapEnd + this.count * SLOT_BYTES + bytes <= this.#bytes.length) return;
    const needed = this.usedBytes + bytes;
    // A full page that is overwritten would otherwise be compacted with every write.
    const slack = this.#deadBytes === 0 ? 0 : OVERWRITE_SLACK_BYTES;
    const capacity = Math.max(needed + slack, Math.min(PAGE_BYTES, needed + (needed >> 1)));
    invariant(capacity <= LARGEST_CAPACITY_BYTES, "page has outgrown its offsets");
    const larger = new Page(this.owner, new Uint8Array(capacity));
    if (this.#deadBytes === 0) larger.#takeWhole(this);
    else larger.#takeRange(this, 0, this.count);
    this.#bytes = larger.#bytes;
    this.#viewed = false;
    this.#heapEnd = larger.#heapEnd;
    this.#deadBytes = larger.#deadBytes;
    this.#large = larger.#large;
  }

  /** Copies another page into this empty one, dead records included. */
  #takeWhole(source: Page): void {
    const slotBytes = source.count * SLOT_BYTES;
    this.#bytes.set(source.#bytes.subarray(0, source.#heapEnd));
    this.#bytes.set(source.#bytes.subarray(source.#bytes.length - slotBytes), this.#bytes.length - slotBytes);
    this.count = source.count;
    this.#heapEnd = source.#heapEnd;
    this.#deadBytes = source.#deadBytes;
    this.#large = ownList(source.#large);
  }

  /** Copies records of another page behind those of this one, which has the room. */
  #takeRange(source: Page, from: number, to: number): void {
    for (let index = from; index < to; index++) {
      const offset = source.#offsetAt(index);
      const bytes = source.#recordBytes(offset);
      const target = this.#heapEnd;
      this.#bytes.set(source.#bytes.subarray(offset, offset + bytes), target);
      if (source.#u16(offset + 2) === FIELD_LARGE) {
        const start = target + HEADER_BYTES + source.#u16(offset);
        this.#setU16(start, this.#addLarge(source.#large[this.#u16(start)] as Bytes));
      }
      this.#heapEnd = target + bytes;
      this.count++;
      this.#setOffset(this.count - 1, target);
    }
  }
}
