/**
 * Whether a ledger folder can be written to: open, waiting for room, failed or closed. All writers of the folder share it.
 *
 * A full disk is waited for: what could not be written is tried again, and the enclave is told once that there is no room and
 * once that there is again. After any other failure nothing is tried again: the error goes to `onFatal` once.
 */
import type { DiskEvents } from "../enclave/ports.ts";
import { CocoError } from "../errors.ts";
import { isFull } from "./file-operations.ts";

/** Time between two tries to write to a full disk, in milliseconds. */
export const FULL_DISK_RETRY_MS = 1000;

/** Calls back once after a delay; the result cancels. */
export type After = (delayMs: number, callback: () => void) => () => void;

/** A timer of this process that does not keep it alive. */
export const processAfter: After = (delayMs, callback) => {
  const timer = setTimeout(callback, delayMs);
  timer.unref();
  return () => clearTimeout(timer);
};

/** What {@link DiskHealth} tells, and the time it waits by. */
export interface HealthOptions {
  readonly directory: string;
  readonly after: After;
  readonly events: DiskEvents;
  onFatal(error: CocoError): void;
}

/** A step of writing that waits when the disk is full. */
export interface WritingStep {
  /** Carries the step out, or goes on with it. */
  write(): Promise<void>;
  /** Takes back what a failed try left behind, so that the file ends with what is whole. */
  cutBack(): Promise<void>;
  /** False once nobody wants the step any more. */
  isWanted(): boolean;
}

/** State of a ledger folder. */
export class DiskHealth {
  readonly #options: HealthOptions;
  #state: "open" | "failed" | "closed" = "open";
  #waiting = 0;
  #told = false;
  #wake: (() => void)[] = [];
  #cancelTimer: (() => void) | undefined;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  get isFailed(): boolean {
    return this.#state === "failed";
  }

  /** Whether something waits for room. */
  get isFull(): boolean {
    return this.#waiting > 0;
  }

  /** Carries a step out, again and again while the disk is full. False: it was given up, since the folder closed or nobody wants it. */
  async carryOut(step: WritingStep): Promise<boolean> {
    let waited = false;
    try {
      while (this.isOpen && step.isWanted()) {
        try {
          await step.write();
          return this.isOpen;
        } catch (error) {
          if (!isFull(error)) throw error;
          await step.cutBack();
        }
        if (!waited) this.#waiting++;
        waited = true;
        await this.#nextTry();
      }
      return false;
    } finally {
      if (waited) this.#waiting--;
      if (this.#waiting === 0) this.#tell(false);
    }
  }

  #tell(full: boolean): void {
    if (this.#told === full || !this.isOpen) return;
    this.#told = full;
    this.#options.events.diskFull(full);
  }

  async #nextTry(): Promise<void> {
    this.#tell(true);
    const woken = new Promise<void>((resolve) => this.#wake.push(resolve));
    this.#cancelTimer ??= this.#options.after(FULL_DISK_RETRY_MS, () => this.retryNow());
    await woken;
  }

  /** Lets everything that waits for room try at once. */
  retryNow(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }

  /** Ends everything: nothing is written or told any more. The error is told once. */
  fail(error: unknown): void {
    if (!this.isOpen) return;
    this.#state = "failed";
    this.retryNow();
    const { directory } = this.#options;
    if (error instanceof CocoError) return this.#options.onFatal(error);
    const reason = error instanceof Error ? error.message : String(error);
    const message = `ledger folder ${directory}: ${reason}`;
    this.#options.onFatal(new CocoError("DiskFailed", message, { directory }, { cause: error }));
  }

  /** Nothing is written or told any more. */
  close(): void {
    if (this.isOpen) this.#state = "closed";
    this.retryNow();
  }
}
