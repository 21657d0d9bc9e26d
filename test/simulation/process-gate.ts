/**
 * Everything that enters a simulated process (timers, frames, answers of disk and worker, requests) comes through its
 * gate. A process that is paused takes nothing in until it goes on, and then all at once, in order; one that is slow takes
 * one thing after the other, each after a while. What is in the gate is lost when the process ends.
 */
import type { Scheduler } from "./scheduler.ts";

/** See the module's header. */
export class ProcessGate {
  readonly #scheduler: Scheduler;
  /** Runs one input; takes care of what it throws. */
  readonly #run: (input: () => void) => void;
  #waiting: (() => void)[] = [];
  #paused = false;
  #closed = false;
  #draining = false;
  /** Time one input takes, in milliseconds. */
  #costMs = 0;

  /** @param run runs one input and takes care of what it throws */
  constructor(scheduler: Scheduler, run: (input: () => void) => void) {
    this.#scheduler = scheduler;
    this.#run = run;
  }

  /** Whether the process takes nothing in. */
  get isPaused(): boolean {
    return this.#paused;
  }

  /** Inputs that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes an input in, now or when the process gets to it. */
  enter(input: () => void): void {
    if (this.#closed) return;
    if (this.#paused || this.#draining) this.#waiting.push(input);
    else if (this.#costMs > 0) {
      this.#waiting.push(input);
      this.#drain();
    } else this.#run(input);
  }

  /** The process stops where it is. */
  pause(): void {
    this.#paused = true;
  }

  /** It goes on. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (!this.#draining) this.#drain();
  }

  /** Sets how long one input takes; 0: no time at all. */
  slowDown(costMs: number): void {
    this.#costMs = costMs;
  }

  /** The process ended. */
  close(): void {
    this.#closed = true;
    this.#waiting = [];
  }

  #drain(): void {
    this.#draining = true;
    this.#scheduler.after(this.#costMs, () => {
      if (this.#closed) return;
      if (this.#paused) {
        this.#draining = false;
        return;
      }
      // What a fast process finds waiting it takes in one go; new input queues behind it.
      let left = this.#costMs > 0 ? 1 : this.#waiting.length;
      for (; left > 0 && !this.#closed && !this.#paused; left--) {
        const input = this.#waiting.shift();
        if (input !== undefined) this.#run(input);
      }
      if (this.#waiting.length > 0 && !this.#paused) this.#drain();
      else this.#draining = false;
    });
  }
}
