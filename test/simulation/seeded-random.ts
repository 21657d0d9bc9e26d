/** The one source of randomness of a simulated run: small, fast, seeded (mulberry32). Good for schedules, never for keys. */
import { invariant } from "../../src/errors.ts";

/** A seeded generator; the same seed gives the same row of numbers. */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let value = this.#state;
    value = Math.imul(value ^ (value >>> 15), value | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 0x100000000;
  }

  /** Whole number in [0, below). */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  /** Uniform in [from, to). */
  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  /** In [from, to) so that every order of magnitude is as likely as another; `from` is above 0. */
  magnitude(from: number, to: number): number {
    return from * (to / from) ** this.next();
  }

  /** Waiting time of events that come independently of each other, `mean` apart on average; at most ten times that. */
  waiting(mean: number): number {
    return Math.min(-Math.log(1 - this.next()), 10) * mean;
  }

  /** Whether something with this probability happens. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** One of several; there must be one. */
  pick<T>(list: readonly T[]): T {
    invariant(list.length > 0, "something is picked from a list that is not empty");
    return list[this.below(list.length)] as T;
  }

  /** `count` of several in a random order, all when there are fewer. */
  sample<T>(list: readonly T[], count: number): T[] {
    const left = [...list];
    const taken: T[] = [];
    while (left.length > 0 && taken.length < count) taken.push(...left.splice(this.below(left.length), 1));
    return taken;
  }

  /** A generator of its own, so that what one part of a run draws does not move another's row. */
  fork(): SeededRandom {
    return new SeededRandom(this.below(0x100000000));
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += 4) {
      const word = this.below(0x100000000);
      for (let next = at; next < Math.min(at + 4, length); next++) bytes[next] = word >>> (8 * (next - at));
    }
    return bytes;
  }
}
