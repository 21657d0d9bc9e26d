/**
 * A hash for simulations: 128 bits of state over 32-bit words, stretched to the length asked for. It notices any accident
 * and forges nothing hard; a SHA-256 in its place would be half of what a simulation costs.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";

/** The state between {@link begin} and {@link squeeze}; there is one, since a hash is never interrupted. */
const state = new Int32Array(4);

function mixWord(word: number): void {
  const a = (state[0] as number) ^ word;
  const b = state[1] as number;
  const c = state[2] as number;
  const d = state[3] as number;
  const e = Math.imul(a ^ (a >>> 15), 0x2c1b3c6d);
  const f = (b + e) | 0;
  const g = Math.imul(c ^ f ^ (f >>> 13), 0x297a2d39);
  state[0] = (d + (e << 7)) | 0;
  state[1] = f ^ (g >>> 9);
  state[2] = (g + a) | 0;
  state[3] = e ^ (c << 3) ^ word;
}

/** Begins a hash of its own kind. */
export function begin(kind: number): void {
  state[0] = 0x6a09e667 ^ kind;
  state[1] = 0xbb67ae85 | 0;
  state[2] = 0x3c6ef372;
  state[3] = 0xa54ff53a | 0;
}

/** Takes a byte string in, and where it ends. */
export function absorb(data: Bytes): void {
  const { length } = data;
  const whole = length & ~3;
  // As mixWord, with the state in variables: most of what is hashed passes here.
  let a = state[0] as number;
  let b = state[1] as number;
  let c = state[2] as number;
  let d = state[3] as number;
  for (let at = 0; at < whole; at += 4) {
    const word =
      (data[at] as number) |
      ((data[at + 1] as number) << 8) |
      ((data[at + 2] as number) << 16) |
      ((data[at + 3] as number) << 24);
    a ^= word;
    const e = Math.imul(a ^ (a >>> 15), 0x2c1b3c6d);
    const f = (b + e) | 0;
    const g = Math.imul(c ^ f ^ (f >>> 13), 0x297a2d39);
    const h = (g + a) | 0;
    a = (d + (e << 7)) | 0;
    d = e ^ (c << 3) ^ word;
    b = f ^ (g >>> 9);
    c = h;
  }
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
  let rest = 0x80;
  for (let at = whole; at < length; at++) rest = (rest << 8) | (data[at] as number);
  mixWord(rest);
  mixWord(length);
}

/** Gives so many bytes of what was taken in. */
export function squeeze(length: number): Bytes {
  const output = new Uint8Array(length);
  mixWord(0x5be0cd19);
  for (let at = 0; at < length; at += 4) {
    mixWord(at);
    const word = (state[1] as number) ^ (state[2] as number);
    output[at] = word;
    output[at + 1] = word >>> 8;
    output[at + 2] = word >>> 16;
    output[at + 3] = word >>> 24;
  }
  return output;
}

/** A number below 2^53 from what was taken in. */
export function squeezeNumber(): number {
  mixWord(0x1f83d9ab);
  mixWord(0x1f83d9ab);
  return ((state[1] as number) >>> 0) * 0x200000 + ((state[2] as number) >>> 11);
}

/** 32 bytes in the place of SHA-256. */
export function cheapHash(data: Bytes): Bytes {
  begin(1);
  absorb(data);
  return squeeze(32);
}
