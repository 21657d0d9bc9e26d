/** A node's clock on the scheduler: it stops with the node, runs a little fast or slow, and its wall clock may jump. */
import type { Clock } from "../../src/enclave/ports.ts";
import type { Scheduler } from "./scheduler.ts";

/** What right wall clocks say at the beginning of a run. */
export const WALL_START_MS = 1_700_000_000_000;

/** The clock of a machine; it outlives the nodes that run there. */
export interface MachineClock {
  /** How far the wall clock is off, in milliseconds. */
  skewMs: number;
  /** How fast the machine's time runs. */
  readonly rate: number;
  /** Timers fire on multiples of this many milliseconds; 0: when they are due. */
  readonly grainMs: number;
}

/** See the module's header. */
export class SimulatedClock implements Clock {
  readonly #scheduler: Scheduler;
  readonly #machine: MachineClock;
  readonly #enter: (input: () => void) => void;

  /** @param enter how a timer that fires gets into the process */
  constructor(scheduler: Scheduler, machine: MachineClock, enter: (input: () => void) => void) {
    this.#scheduler = scheduler;
    this.#machine = machine;
    this.#enter = enter;
  }

  now(): number {
    return this.#scheduler.now * this.#machine.rate;
  }

  wallTime(): number {
    return WALL_START_MS + this.now() + this.#machine.skewMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    return this.#scheduler.after(this.#realDelay(delayMs), () => this.#enter(callback));
  }

  #realDelay(delayMs: number): number {
    const { rate, grainMs } = this.#machine;
    if (delayMs <= 0) return 0;
    const delay = delayMs / rate;
    if (grainMs === 0) return delay;
    const { now } = this.#scheduler;
    return Math.ceil((now + delay) / grainMs) * grainMs - now;
  }
}
