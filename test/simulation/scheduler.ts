/**
 * The seeded heart of the simulator: a virtual clock, a queue of events in time order, and one source of randomness. Two
 * runs with the same seed do the same, event by event.
 */
import type { Clock } from "../../src/enclave/ports.ts";

/** A small, fast, seeded generator (mulberry32): good for schedules, never for keys. */
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

  /** Whether something with this probability happens. */
  chance(probability: number): boolean {
    return this.next() < probability;
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

interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** Events in time order; ties in the order they were scheduled. */
export class Scheduler {
  readonly random: SeededRandom;
  readonly #heap: Scheduled[] = [];
  #now = 0;
  #order = 0;
  #promisesPending = false;
  /** Events run so far. */
  steps = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  /** Virtual milliseconds since the start. */
  get now(): number {
    return this.#now;
  }

  /** Runs `run` after `delayMs` of virtual time; the result cancels. */
  after(delayMs: number, run: () => void): () => void {
    const event: Scheduled = { at: this.#now + Math.max(0, delayMs), order: this.#order++, run, cancelled: false };
    this.#push(event);
    return () => {
      event.cancelled = true;
    };
  }

  /**
   * Says that the running event resolved a promise or called an asynchronous function: all promises settle before the next
   * event. Most events have none, and a turn of the event loop after each would cost more than the events themselves.
   */
  settlePromises(): void {
    this.#promisesPending = true;
  }

  /** Runs every event up to a time. */
  async runUntil(time: number): Promise<void> {
    for (let next = this.#heap[0]; next !== undefined && next.at <= time; next = this.#heap[0]) {
      this.#pop();
      this.#now = next.at;
      if (next.cancelled) continue;
      this.steps++;
      next.run();
      if (this.#promisesPending) {
        this.#promisesPending = false;
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    }
    this.#now = Math.max(this.#now, time);
  }

  #before(left: Scheduled, right: Scheduled): boolean {
    return left.at !== right.at ? left.at < right.at : left.order < right.order;
  }

  #push(event: Scheduled): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Scheduled;
      if (!this.#before(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const child =
        right < heap.length && this.#before(heap[right] as Scheduled, heap[left] as Scheduled) ? right : left;
      if (!this.#before(heap[child] as Scheduled, last)) break;
      heap[at] = heap[child] as Scheduled;
      at = child;
    }
    heap[at] = last;
  }
}

/** A node's clock on the scheduler: it stops with the node, and its wall clock may be off by `skewMs`. */
export class SimulatedClock implements Clock {
  readonly #scheduler: Scheduler;
  readonly #skewMs: () => number;
  #stopped = false;

  /** @param skewMs how far the wall clock is off; it may jump */
  constructor(scheduler: Scheduler, skewMs: () => number) {
    this.#scheduler = scheduler;
    this.#skewMs = skewMs;
  }

  now(): number {
    return this.#scheduler.now;
  }

  wallTime(): number {
    return 1_700_000_000_000 + this.#scheduler.now + this.#skewMs();
  }

  after(delayMs: number, callback: () => void): () => void {
    return this.#scheduler.after(delayMs, () => {
      if (!this.#stopped) callback();
    });
  }

  /** The node crashed: none of its timers fires any more. */
  stop(): void {
    this.#stopped = true;
  }
}
