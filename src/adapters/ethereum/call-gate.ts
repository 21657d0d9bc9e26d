/**
 * The gate in front of the calls that leave nothing behind: one runs at a time, in the order they came, and between two of
 * them the thread's other messages go first. How many wait, for how long, and how long each runs is bounded.
 */
import { CocoError } from "../../errors.ts";
import { type Clock, Pace } from "./pace.ts";
import { RPC_CODES } from "./rpc/fault.ts";
import type { RpcFault } from "./types.ts";
import { refusal } from "./validate.ts";

/** Thread time of one call, with all the rounds of an estimate or an access list. */
export const CALL_TIME_LIMIT_MS = 1000;

/** Most calls that wait while one runs. */
export const CALLS_WAITING_MAX = 1000;

/** Longest time a call waits for its turn; as long as a whole payload has. */
export const CALL_WAITING_TIME_LIMIT_MS = 5000;

/** go-ethereum's words for a call that took too long. */
const ABORTED = refusal(`execution aborted (timeout = ${CALL_TIME_LIMIT_MS / 1000}s)`);
const WAITED_TOO_LONG: RpcFault = { code: RPC_CODES.timeout, message: "request timed out" };
const TOO_MANY: RpcFault = { code: RPC_CODES.limitExceeded, message: "too many calls are waiting" };

/** What became of a call at the gate. */
export type Passage<T> =
  | { readonly type: "done"; readonly value: T }
  | { readonly type: "stopped"; readonly fault: RpcFault };

/** Lets calls pass one at a time; see the module's header. */
export class CallGate {
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  #busy = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs `call` when its turn comes; it has to keep the pace it is given. What it throws besides a timeout is passed on. */
  async pass<T>(call: (pace: Pace) => Promise<T>): Promise<Passage<T>> {
    if (this.#busy) {
      if (this.#waiting.length >= CALLS_WAITING_MAX) return { type: "stopped", fault: TOO_MANY };
      const sinceMs = this.#clock.now();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      if (this.#clock.now() - sinceMs >= CALL_WAITING_TIME_LIMIT_MS) {
        this.#next();
        return { type: "stopped", fault: WAITED_TOO_LONG };
      }
    }
    this.#busy = true;
    try {
      return { type: "done", value: await call(new Pace(this.#clock, CALL_TIME_LIMIT_MS)) };
    } catch (error) {
      if (error instanceof CocoError && error.code === "RequestTimeout") return { type: "stopped", fault: ABORTED };
      throw error;
    } finally {
      this.#next();
    }
  }

  /** Hands the gate to the call that waits longest, after a turn of the other messages. */
  #next(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#busy = false;
    else void this.#clock.nextTurn().then(next);
  }
}
