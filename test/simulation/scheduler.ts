/**
 * The heart of the simulator: a virtual clock and a queue of events in time order. Two runs with the same seed do the
 * same, event by event.
 */
import { SeededRandom } from "./seeded-random.ts";

interface Scheduled {
  readonly at: number;
  readonly order: number;
  /** Undefined once it was cancelled. */
  run: (() => void) | undefined;
}

function before(left: Scheduled, right: Scheduled): boolean {
  return left.at !== right.at ? left.at < right.at : left.order < right.order;
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
    const event: Scheduled = { at: this.#now + (delayMs > 0 ? delayMs : 0), order: this.#order++, run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /**
   * Says that the running event resolved a promise or called an asynchronous function: all promises settle before the next
   * event. Most events have none, and a turn of the event loop after each would cost more than the events themselves.
   */
  settlePromises(): void {
    this.#promisesPending = true;
  }

  /** Runs every event up to a time, or until `done` says so. */
  async runUntil(time: number, done: () => boolean = () => false): Promise<void> {
    for (let next = this.#heap[0]; next !== undefined && next.at <= time; next = this.#heap[0]) {
      this.#pop();
      const { run } = next;
      if (run === undefined) continue;
      this.#now = next.at;
      this.steps++;
      run();
      if (this.#promisesPending) {
        this.#promisesPending = false;
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      if (done()) return;
    }
    this.#now = Math.max(this.#now, time);
  }

  #push(event: Scheduled): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Scheduled;
      if (!before(event, above)) break;
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
      const child = right < heap.length && before(heap[right] as Scheduled, heap[left] as Scheduled) ? right : left;
      if (!before(heap[child] as Scheduled, last)) break;
      heap[at] = heap[child] as Scheduled;
      at = child;
    }
    heap[at] = last;
  }
}
