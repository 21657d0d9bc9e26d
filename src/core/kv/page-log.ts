/** The byte array behind a page: records, and slots that say where they are. */
import { invariant } from "../../errors.ts";

/** Bytes of a slot: offset u16 | hint u16. */
export const SLOT_BYTES = 4;
/** Where the hint is in a slot. */
export const HINT_OFFSET = 2;
/** Smallest difference between lengths of logs. */
const LEAST_LOG_STEP = 64;
const LARGEST_LOG_BYTES = 0xffff;
/** Room in a new log, in parts of what the page has: more of it means fewer copies and more memory. */
const LOG_ROOM = 1 / 2;
const SMALLEST_LOG_ROOM_BYTES = 128;

/** A number of two bytes. */
export function readU16(log: Uint8Array, at: number): number {
  return ((log[at] as number) << 8) | (log[at + 1] as number);
}

/** Writes the lower two bytes of a number. */
export function writeU16(log: Uint8Array, at: number, value: number): void {
  log[at] = value >>> 8;
  log[at + 1] = value;
}

/** Room that a page which needs so many bytes gets beside them in a new log. */
export function logRoom(bytes: number): number {
  return Math.max(SMALLEST_LOG_ROOM_BYTES, Math.min(Math.floor(bytes * LOG_ROOM), LARGEST_LOG_BYTES - bytes));
}

/**
 * A new log with room for so many bytes or some more: it has the length of a power of two, or of one and a half, because
 * memory that was given back is found again far faster when there are few lengths.
 */
export function newLog(bytes: number): Uint8Array {
  invariant(bytes <= LARGEST_LOG_BYTES, "page has outgrown its offsets");
  const step = Math.max(LEAST_LOG_STEP, 1 << (30 - Math.clz32(bytes)));
  return new Uint8Array(Math.min(LARGEST_LOG_BYTES, Math.ceil(bytes / step) * step));
}

/** What a processor reads from memory at once. */
export const LINE_BYTES = 64;

/**
 * Reads every line of a part of a log, so that the processor has them near: one after the other like this it reads many at a
 * time. What is returned means nothing, but must be used, or a compiler may leave the reading out.
 */
export function touchLines(log: Uint8Array, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += LINE_BYTES) sum += log[at] as number;
  return sum;
}

/**
 * Reads one byte of each log, so that the processor has it near. What is returned means nothing, see {@link touchLines}. Four at a
 * time: as an engine compiles it, one at a time waits almost twice as long.
 */
export function touchPlaces(logs: readonly Uint8Array[], places: readonly number[]): number {
  const { length } = logs;
  let touched = 0;
  let at = 0;
  for (; at + 3 < length; at += 4) {
    const first = byteAt(logs[at], places[at]);
    const second = byteAt(logs[at + 1], places[at + 1]);
    const third = byteAt(logs[at + 2], places[at + 2]);
    const fourth = byteAt(logs[at + 3], places[at + 3]);
    touched ^= first ^ second ^ third ^ fourth;
  }
  for (; at < length; at++) touched ^= byteAt(logs[at], places[at]);
  return touched;
}

function byteAt(log: Uint8Array | undefined, place: number | undefined): number {
  return (log as Uint8Array)[place as number] as number;
}
