/**
 * The pace of one call that leaves nothing behind. Such calls share a single thread with the execution of batches, and a
 * program may loop for as long as its gas lasts: every few milliseconds a call lets the thread's other messages go first,
 * and once it has used up its own time it is broken off. Time in which others had the thread is not counted.
 */
import { CocoError } from "../../errors.ts";
import type { AdapterComponents } from "../adapter.ts";

/** Longest time a call keeps the thread before it lets waiting messages go first. */
export const CALL_TURN_MS = 10;

/** Short steps of a program between two looks at the clock. */
const STEPS_PER_LOOK = 128;

/** Where a pace gets the time and its turns from. */
export type Clock = Pick<AdapterComponents, "now" | "nextTurn">;

/** Time and turns of one call, shared by all the runs it is made of. */
export class Pace {
  readonly #clock: Clock;
  readonly #limitMs: number;
  #earlierTurnsMs = 0;
  #turnStartMs: number;
  #steps = 0;

  /** `limitMs` is the time the call may use in all its turns together. */
  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#turnStartMs = clock.now();
  }

  /** To be called at every short step of a program; looks at the clock once in a while. As {@link Pace.check} otherwise. */
  step(): Promise<void> | undefined {
    return ++this.#steps % STEPS_PER_LOOK === 0 ? this.check() : undefined;
  }

  /**
   * To be called before every step that may take long. A promise has to be awaited before going on: it is the end of the
   * turn. Throws `RequestTimeout` from the moment on in which the time is used up.
   */
  check(): Promise<void> | undefined {
    const turnMs = this.#clock.now() - this.#turnStartMs;
    if (this.#earlierTurnsMs + turnMs >= this.#limitMs) throw new CocoError("RequestTimeout", "a call took too long");
    if (turnMs < CALL_TURN_MS) return undefined;
    this.#earlierTurnsMs += turnMs;
    return this.#clock.nextTurn().then(() => this.resume());
  }

  /** Starts a new turn; the time since the last {@link Pace.check} was not the call's own (loading the engine, say). */
  resume(): void {
    this.#turnStartMs = this.#clock.now();
  }

  /** A step that is known beforehand to take longer than any call may. Throws `RequestTimeout`. */
  breakOff(): never {
    this.#earlierTurnsMs = this.#limitMs;
    throw new CocoError("RequestTimeout", "a single step of a call takes too long");
  }
}
