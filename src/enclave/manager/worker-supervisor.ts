/**
 * Keeps the worker of one adapter: judges what it says (worker-guard.ts), ends it when it breaks a rule, breaks down or does
 * not answer, and begins a new one from what is committed (worker-recovery.ts). The new one comes after a time that doubles
 * with each loss, so that one that always breaks costs little; the node goes on meanwhile.
 *
 * To the lane it is an executor. While there is no worker that has the committed state nothing is sent: whatever changes
 * that state is in the ledger, and read from there.
 */
import type { AdapterEntry } from "../../core/governance/constitution.ts";
import type { TableOptions } from "../../core/kv/types.ts";
import { CocoError } from "../../errors.ts";
import type { Clock, Executor, StartExecutor, Tracer } from "../ports.ts";
import type { FromWorker, ToWorker } from "../worker/protocol.ts";
import { WorkerGuard } from "./worker-guard.ts";

/** A worker that was asked and says nothing for so long is ended: an endless loop, or one that never answers. */
export const WORKER_SILENCE_MAX_MS = 60_000;
/** Time between questions whether a worker still takes messages. */
export const WORKER_PING_INTERVAL_MS = 5_000;
/** Time before a worker that was lost begins again; it doubles with each loss. */
export const WORKER_RESTART_MIN_MS = 100;
/** Longest time before a worker that was lost begins again. */
export const WORKER_RESTART_MAX_MS = 10_000;
/** A worker that ran for so long counts as sound: the time before the next restart is the shortest again. */
export const WORKER_SOUND_AFTER_MS = 60_000;
/** Most lines a worker may log within ten seconds; further ones are dropped. */
export const WORKER_LOG_LINES_MAX = 1_000;
/** A worker that logs so many within ten seconds floods its manager: it is ended. */
export const WORKER_LOG_FLOOD_LINES = 50_000;

/** What one look may add to the time a worker was silent: a process that was stopped must not count it as the worker's silence. */
const STEP_MAX_MS = 1_000;
const LOG_WINDOW_MS = 10_000;

/** Brings a new worker to the committed state. */
export interface Recovery {
  /** A word of the worker that belongs to it. */
  taken(message: FromWorker): void;
  cancel(): void;
}

/** What a supervisor needs of the node around it. */
export interface SupervisorParts {
  readonly clock: Clock;
  readonly tracer: Tracer;
  readonly startExecutor: StartExecutor;
  /** As the constitution has it now. */
  readonly entry: () => AdapterEntry;
  readonly onMessage: (message: FromWorker) => void;
  /** The worker is gone; nothing is sent until `onRestored`. */
  readonly onLost: () => void;
  readonly onRestored: () => void;
  /** Whether a new worker may begin now. */
  readonly mayRestore: () => boolean;
  readonly recover: (send: (message: ToWorker) => void, done: () => void) => Recovery;
}

/** See the module's header. */
export class WorkerSupervisor implements Executor {
  readonly #parts: SupervisorParts;
  #executor: Executor | undefined;
  #guard: WorkerGuard;
  #state: "running" | "lost" | "restoring" | "closed" = "running";
  #recovery: Recovery | undefined;
  #tables: readonly TableOptions[] | undefined;
  #losses = 0;
  #lossesInARow = 0;
  #startedAt: number;
  #silentMs = 0;
  #progress = 0;
  #lookedAt: number;
  #pingedAt: number;
  #pingId = 0;
  #logWindow = { since: 0, lines: 0 };
  /** Bytes of all that was written to the state or imported: the state is no larger than twice that. */
  #writtenBytes = 0;

  constructor(parts: SupervisorParts) {
    this.#parts = parts;
    const now = parts.clock.now();
    this.#startedAt = now;
    this.#lookedAt = now;
    this.#pingedAt = now;
    this.#guard = this.#createGuard();
  }

  #createGuard(): WorkerGuard {
    return new WorkerGuard({ tables: this.#tables, writtenBytes: () => this.#writtenBytes });
  }

  /** Starts the first worker. */
  start(): void {
    this.#executor = this.#begin();
  }

  /** Workers that were lost since the node started. */
  get losses(): number {
    return this.#losses;
  }

  #begin(): Executor {
    const guard = this.#createGuard();
    this.#guard = guard;
    this.#silentMs = 0;
    this.#startedAt = this.#parts.clock.now();
    return this.#parts.startExecutor(this.#parts.entry(), (message) => {
      if (this.#guard === guard) this.#take(message);
    });
  }

  send(message: ToWorker): void {
    if (message.type === "importSnapshot")
      this.#writtenBytes = message.part.length + (message.first ? 0 : this.#writtenBytes);
    if (this.#state === "running") this.#send(message);
    // One that is not there yet begins with the newest options.
    else if (this.#state === "restoring" && message.type === "configure") this.#send(message);
  }

  #send(message: ToWorker): void {
    this.#guard.sent(message);
    this.#executor?.send(message);
  }

  /** A batch of this many bytes was written to the state. */
  wrote(bytes: number): void {
    this.#writtenBytes += bytes;
  }

  /** Ends the worker for something that only who gave it its work can see. */
  end(reason: string): void {
    if (this.#state === "running" || this.#state === "restoring") this.#lost(reason);
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#recovery?.cancel();
    if (this.#state !== "lost") this.#executor?.close();
    this.#state = "closed";
  }

  #take(said: FromWorker): void {
    if (this.#state === "closed" || this.#state === "lost") return;
    const message = this.#judged(() => this.#guard.take(said));
    if (message === undefined) return;
    switch (message.type) {
      case "failed":
        this.#lost(message.message);
        return;
      case "pong":
        this.#recovery?.taken(message);
        return;
      case "log":
        this.#log(message.message);
        return;
      case "unable":
        // What ran before can run again: then the reason passes, or the next vote on its options ends it.
        if (this.#state === "restoring") this.#lost(message.message);
        else this.#parts.onMessage(message);
        return;
      case "ready":
        this.#tables = this.#guard.tables;
        this.#parts.onMessage(message);
        return;
      case "nextPart":
      case "imported":
        if (this.#recovery !== undefined) this.#recovery.taken(message);
        else this.#parts.onMessage(message);
        return;
      default:
        this.#parts.onMessage(message);
    }
  }

  /** Undefined when the worker broke a rule: then it is ended. */
  #judged<T>(judge: () => T): T | undefined {
    try {
      return judge();
    } catch (error) {
      if (!(error instanceof CocoError)) throw error;
      this.#lost(error.message);
      return undefined;
    }
  }

  #log(message: string): void {
    const { clock, tracer, entry } = this.#parts;
    const now = clock.now();
    if (now - this.#logWindow.since > LOG_WINDOW_MS) this.#logWindow = { since: now, lines: 0 };
    if (++this.#logWindow.lines > WORKER_LOG_LINES_MAX) {
      if (this.#logWindow.lines > WORKER_LOG_FLOOD_LINES) this.#lost("it floods its log");
      return;
    }
    tracer.event("info", "adapter", { adapter: entry().name, message });
  }

  /** The worker cannot go on, or must not. */
  #lost(reason: string): void {
    const { clock, tracer, entry, onLost } = this.#parts;
    this.#recovery?.cancel();
    this.#recovery = undefined;
    this.#state = "lost";
    this.#executor?.close();
    const isSound = clock.now() - this.#startedAt >= WORKER_SOUND_AFTER_MS;
    this.#losses++;
    this.#lossesInARow = isSound ? 1 : this.#lossesInARow + 1;
    const delayMs = Math.min(WORKER_RESTART_MAX_MS, WORKER_RESTART_MIN_MS * 2 ** Math.min(20, this.#lossesInARow - 1));
    tracer.event("error", "worker_lost", { adapter: entry().name, reason, losses: this.#losses, delayMs });
    onLost();
    clock.after(delayMs, () => this.#restart());
  }

  #restart(): void {
    if (this.#state !== "lost") return;
    if (!this.#parts.mayRestore()) {
      this.#parts.clock.after(WORKER_RESTART_MIN_MS, () => this.#restart());
      return;
    }
    this.#state = "restoring";
    this.#executor = this.#begin();
    this.#recovery = this.#parts.recover(
      (message) => this.#send(message),
      () => this.#restored(),
    );
  }

  #restored(): void {
    this.#recovery = undefined;
    this.#state = "running";
    const { tracer, entry, clock, onRestored } = this.#parts;
    tracer.event("info", "worker_restored", { adapter: entry().name, ms: Math.round(clock.now() - this.#startedAt) });
    onRestored();
  }

  /** Looks whether the worker still answers. */
  tick(): void {
    const now = this.#parts.clock.now();
    const passedMs = Math.min(STEP_MAX_MS, now - this.#lookedAt);
    this.#lookedAt = now;
    if (this.#state !== "running" && this.#state !== "restoring") return;
    const isInTime = this.#judged(() => {
      this.#guard.passed(passedMs);
      return true;
    });
    if (isInTime === undefined) return;
    const { awaits, progress } = this.#guard;
    this.#silentMs = awaits && progress === this.#progress ? this.#silentMs + passedMs : 0;
    this.#progress = progress;
    if (this.#silentMs > WORKER_SILENCE_MAX_MS) {
      this.#lost(`no answer for ${WORKER_SILENCE_MAX_MS / 1000} s`);
      return;
    }
    if (this.#state === "running" && !awaits && now - this.#pingedAt >= WORKER_PING_INTERVAL_MS) {
      this.#pingedAt = now;
      this.#send({ type: "ping", id: ++this.#pingId });
    }
  }
}
