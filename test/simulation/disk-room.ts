/**
 * The room on a simulated disk, by the rules of the real one (host/ledger-health.ts): what finds none waits and is tried again;
 * the node is told once that there is none, and once that nothing waits any more.
 */
import type { FaultCounts } from "./fault-counts.ts";
import type { Scheduler } from "./scheduler.ts";

/** How long a disk without room is left alone before what waits is tried again. */
const FULL_RETRY_MS = 1_000;

/** A step of writing. */
export interface RoomStep {
  /** What it is counted as each time it finds no room. */
  readonly kind: string;
  /** False once nobody wants the step any more. */
  isWanted(): boolean;
  /** Carries it out; there is room. */
  go(): void;
}

/** See the module's header. */
export class DiskRoom {
  readonly #scheduler: Scheduler;
  readonly #faults: FaultCounts;
  #waiting = new Set<RoomStep>();
  #told = false;
  #tell: (full: boolean) => void = () => undefined;
  /** Whether there is none. */
  full = false;

  constructor(scheduler: Scheduler, faults: FaultCounts) {
    this.#scheduler = scheduler;
    this.#faults = faults;
  }

  /** A node starts, which is told from here on. */
  open(tell: (full: boolean) => void): void {
    this.#tell = tell;
  }

  /** Carries a step out, now or when there is room. */
  enter(step: RoomStep): void {
    if (!step.isWanted()) this.leave(step);
    else if (this.full) this.#wait(step);
    else step.go();
  }

  #wait(step: RoomStep): void {
    this.#faults.add(step.kind);
    const isFirst = this.#waiting.size === 0;
    this.#waiting.add(step);
    this.#say(true);
    if (isFirst) this.#retryLater(FULL_RETRY_MS);
  }

  #retryLater(delayMs: number): void {
    const waiting = this.#waiting;
    this.#scheduler.after(delayMs, () => {
      if (waiting !== this.#waiting) return;
      for (const step of [...waiting]) if (waiting === this.#waiting) this.enter(step);
      if (waiting === this.#waiting && waiting.size > 0 && delayMs > 0) this.#retryLater(delayMs);
    });
  }

  /** What waits is tried at once: something gave its room up. */
  retrySoon(): void {
    if (this.#waiting.size > 0) this.#retryLater(0);
  }

  /** A step was carried out or given up. */
  leave(step: RoomStep): void {
    if (this.#waiting.delete(step) && this.#waiting.size === 0) this.#say(false);
  }

  #say(full: boolean): void {
    if (this.#told === full) return;
    this.#told = full;
    this.#tell(full);
  }

  /** The machine stops: nothing waits any more. */
  crash(): void {
    this.#waiting = new Set();
    this.#told = false;
    this.#tell = () => undefined;
  }
}
