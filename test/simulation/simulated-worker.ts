/**
 * The worker of a simulated node: the real adapter host over an adapter, behind hops that take a little time, as a thread's
 * messages do. What an adapter awaits is over before the next event; where it waits for other messages that is an event.
 */
import { VersionedStore } from "../../src/core/kv/store.ts";
import type { Executor } from "../../src/enclave/ports.ts";
import { AdapterHost } from "../../src/enclave/worker/adapter-host.ts";
import type { FromWorker, ToWorker } from "../../src/enclave/worker/protocol.ts";
import type { Adapter, CommittedBatch, StateReader } from "../../src/adapters/adapter.ts";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { pausingAdapter } from "./pausing-adapter.ts";
import type { SimulatedProtocol } from "./protocol.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SeededRandom } from "./seeded-random.ts";

const HOP_MIN_MS = 0.02;
const HOP_SPREAD_MS = 0.2;
const KEPT_VERSIONS = 4;

/** What a worker is made of. */
export interface WorkerParts {
  readonly scheduler: Scheduler;
  readonly protocol: SimulatedProtocol;
  /** The machine's own: what one node draws does not move another's row. */
  readonly random: SeededRandom;
  /** Longest time one transaction takes; 0: none. */
  readonly executionMaxMs: number;
  readonly sha256: (data: Bytes) => Bytes;
  /** How an input gets into the process. */
  readonly enter: (input: () => void) => void;
  readonly toManager: (message: FromWorker) => void;
  readonly committed: (state: StateReader, place: CommittedBatch) => void;
  readonly restored: (state: StateReader) => void;
  readonly log: (message: string) => void;
}

/** A worker that runs. */
export interface SimulatedWorker {
  readonly executor: Executor;
  readonly store: VersionedStore;
  /** The worker ends by itself: nothing of it comes any more but that. */
  breakDown(): void;
}

/** Messages in one direction between manager and worker: in order, never inside the call. */
class Hop<T> {
  readonly #parts: WorkerParts;
  readonly #deliver: (message: T) => void;
  #last = 0;

  constructor(parts: WorkerParts, deliver: (message: T) => void) {
    this.#parts = parts;
    this.#deliver = deliver;
  }

  send(message: T): void {
    const { scheduler, random, enter } = this.#parts;
    const { now } = scheduler;
    this.#last = Math.max(this.#last, now + HOP_MIN_MS + random.next() * HOP_SPREAD_MS);
    scheduler.after(this.#last - now, () => enter(() => this.#deliver(message)));
  }
}

/** Something that goes on in the process at a later event, with what it awaits. */
function later({ scheduler, enter }: WorkerParts, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    scheduler.after(delayMs, () =>
      enter(() => {
        scheduler.settlePromises();
        resolve();
      }),
    );
  });
}

/** The adapter, with the checks of what its worker is told. */
function createAdapter(parts: WorkerParts): Adapter {
  const { scheduler, protocol, random, executionMaxMs, log } = parts;
  const adapter = protocol.createAdapter({
    sha256: parts.sha256,
    now: () => scheduler.now,
    nextTurn: () => later(parts, 0),
    randomBytes: (length) => random.bytes(length),
    log,
  });
  const watched: Adapter = {
    ...adapter,
    committed: (state, place) => {
      parts.committed(state, place);
      adapter.committed(state, place);
    },
    restored: (state, recent) => {
      adapter.restored(state, recent);
      parts.restored(state);
    },
  };
  if (executionMaxMs === 0) return watched;
  return pausingAdapter(watched, () => later(parts, random.next() * executionMaxMs));
}

/** Starts a worker with nothing in its state. */
export function startWorker(parts: WorkerParts): SimulatedWorker {
  const { scheduler, protocol, random, executionMaxMs, enter, log } = parts;
  let isGone = false;
  const adapter = createAdapter(parts);
  const store = new VersionedStore({ tables: protocol.tables, keptVersions: KEPT_VERSIONS });
  const back = new Hop<FromWorker>(parts, (message) => parts.toManager(message));
  back.send({ type: "ready", tables: adapter.tables });
  // An adapter that takes no time leaves no promise behind.
  const promises = protocol.isAsynchronous || executionMaxMs > 0;
  const host = new AdapterHost({
    adapter,
    recreate: () => createAdapter(parts),
    store,
    preparer: {
      prepare: (transactions, done) => {
        scheduler.after(random.next() * HOP_SPREAD_MS, () =>
          enter(() => {
            if (promises) scheduler.settlePromises();
            done(protocol.prepare(transactions));
          }),
        );
      },
    },
    emit: (message) => {
      if (!isGone) back.send(message);
    },
    defer: (callback) => scheduler.after(0, () => enter(callback)),
    log,
  });
  const hop = new Hop<ToWorker>(parts, (message) => {
    if (isGone) return;
    if (promises) scheduler.settlePromises();
    host.handle(message);
  });
  const breakDown = (): void => {
    isGone = true;
    parts.toManager({ type: "failed", message: "it broke down" });
  };
  const executor: Executor = {
    send: (message) => {
      if (!isGone) hop.send(message);
    },
    // What a process that was killed has sent is read no more, and it takes nothing more in.
    close: () => {
      isGone = true;
    },
  };
  return { executor, store, breakDown };
}
