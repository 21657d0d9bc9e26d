/** What an adapter's worker does in a thread and in a process alike: makes the adapter and its state, and takes messages in order. */
import { createHash, randomBytes } from "node:crypto";
import type { AdapterComponents, PrepareFunction } from "../adapters/adapter.ts";
import { VersionedStore } from "../core/kv/store.ts";
import { AdapterHost } from "../enclave/worker/adapter-host.ts";
import type { FromWorker, ToWorker } from "../enclave/worker/protocol.ts";
import type { Preparer } from "../enclave/worker/request-desk.ts";
import { CocoError } from "../errors.ts";
import { type AvailableAdapter, mountedAdapter } from "./adapters.ts";

/** Committed versions of the state that stay readable besides the newest. */
export const KEPT_VERSIONS = 128;

/** What the manager's side hands to an adapter's worker. */
export interface AdapterWorkerData {
  readonly adapter: string;
  /** As the constitution mounts it. */
  readonly version: string;
  readonly options: unknown;
}

/** What a worker is made of besides its adapter. */
export interface AdapterWorkerParts {
  readonly emit: (message: FromWorker) => void;
  readonly createPreparer: (adapter: AvailableAdapter) => Preparer | Promise<Preparer>;
}

/** The worker of one adapter. */
export class AdapterWorker {
  readonly #parts: AdapterWorkerParts;
  /** Messages that arrive while the adapter loads are kept until it is there. */
  #early: ToWorker[] | undefined = [];
  #host: AdapterHost | undefined;

  constructor(parts: AdapterWorkerParts) {
    this.#parts = parts;
  }

  /** Takes one message of the manager. */
  handle(message: ToWorker): void {
    if (this.#host === undefined) this.#early?.push(message);
    else this.#host.handle(message);
  }

  /** Loads the adapter; one that this build cannot run is told of, any other failure is thrown. */
  async start(data: AdapterWorkerData): Promise<void> {
    try {
      this.#host = await this.#load(data);
      for (const message of this.#early ?? []) this.#host.handle(message);
    } catch (error) {
      // What the constitution mounts this build cannot run; anything else is a fault of the program and ends the worker.
      if (!(error instanceof CocoError) || error.code !== "ConstitutionInvalid") throw error;
      this.#parts.emit({ type: "unable", message: error.message });
    }
    this.#early = undefined;
  }

  async #load(data: AdapterWorkerData): Promise<AdapterHost> {
    const { emit, createPreparer } = this.#parts;
    const available = mountedAdapter(data.adapter, data.version);
    const [factory, preparer] = await Promise.all([available.load(), createPreparer(available)]);
    const log = (message: string): void => emit({ type: "log", message });
    const components: AdapterComponents = {
      sha256: (bytes) => createHash("sha256").update(bytes).digest(),
      now: () => performance.now(),
      nextTurn: () => new Promise((resolve) => setImmediate(resolve)),
      randomBytes: (length) => randomBytes(length),
      log,
    };
    const recreate = (options: unknown) => factory(options)(components);
    const adapter = recreate(data.options);
    const store = new VersionedStore({ tables: adapter.tables, keptVersions: KEPT_VERSIONS });
    emit({ type: "ready", tables: adapter.tables.map(({ id, name }) => ({ id, name })) });
    const defer = (callback: () => void): void => void setImmediate(callback);
    return new AdapterHost({ adapter, recreate, store, preparer, emit, defer, log });
  }
}

/** Preparing in this thread, one after the other. */
export function inPlace(prepare: PrepareFunction): Preparer {
  return { prepare: (transactions, done) => done(prepare(transactions)) };
}
