/**
 * What surrounds an adapter in its worker: the versions of its state, execution of batches, application of batches that
 * others executed, states that leave and arrive as a whole, and client requests. One instance per adapter; the same code
 * runs in a thread, in a process and in the simulator.
 *
 * Messages that change state run strictly one after the other, because execution may await; requests are answered between
 * them on versions that never change. An adapter that throws loses the transaction or request it threw in, nothing else.
 */
import type { Adapter, RequestViews, StateReader } from "../../adapters/adapter.ts";
import type { VersionedStore } from "../../core/kv/store.ts";
import { CocoError } from "../../errors.ts";
import { BatchExecution } from "./batch-execution.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";
import { type Preparer, RequestDesk } from "./request-desk.ts";
import { RecentBatches, StateExport, StateImport } from "./state-transfer.ts";

/** What an adapter host is made of. */
export interface AdapterHostParts {
  readonly adapter: Adapter;
  /** Makes the adapter anew with other options; throws when it cannot take them. */
  readonly recreate: (options: unknown) => Adapter;
  readonly store: VersionedStore;
  readonly preparer: Preparer;
  readonly emit: (message: FromWorker) => void;
  /** Calls back after the messages that are already waiting; groups answers into one message. */
  readonly defer: (callback: () => void) => void;
  readonly log: (message: string) => void;
}

type Message<T extends ToWorker["type"]> = Extract<ToWorker, { type: T }>;
type StateMessage = Exclude<ToWorker, Message<"requests" | "forget">>;

/** Runs one adapter; see the module's header. */
export class AdapterHost {
  readonly #recreate: AdapterHostParts["recreate"];
  readonly #log: (message: string) => void;
  #adapter: Adapter;
  readonly #store: VersionedStore;
  readonly #emit: (message: FromWorker) => void;
  #execution: BatchExecution;
  readonly #desk: RequestDesk;
  /** Changes of state that wait for the one that runs; the manager bounds the batches under way. */
  readonly #queue: StateMessage[] = [];
  readonly #recent = new RecentBatches();
  #export: StateExport | undefined;
  #import: StateImport | undefined;
  /** The manager bounds the requests under way. */
  readonly #early: Message<"requests">["requests"][number][] = [];
  #busy = false;
  #leading = false;

  constructor(parts: AdapterHostParts) {
    const { adapter, preparer, emit, defer, log } = parts;
    this.#adapter = adapter;
    this.#recreate = parts.recreate;
    this.#log = log;
    this.#store = parts.store;
    this.#emit = emit;
    this.#execution = new BatchExecution(adapter, log);
    this.#desk = new RequestDesk({
      adapter: () => this.#adapter,
      preparer,
      emit,
      defer,
      log,
      views: () => this.#views(),
    });
  }

  /** Takes one message of the manager. */
  handle(message: ToWorker): void {
    switch (message.type) {
      case "requests":
        this.#leading = message.leading;
        this.#takeRequests(message.requests);
        return;
      case "forget":
        this.#desk.forget(message.ids);
        return;
      case "commit":
      case "outcomes":
      case "ping":
      case "exportSnapshot":
      case "nextPart":
        // None need wait for a batch that is executing, only for versions that come before them: a commit moves a
        // pointer, an export reads committed versions, and an answer must not leave before what it speaks of can be read.
        if (this.#queue.length === 0) this.#run(message);
        else this.#queue.push(message);
        return;
      default:
        this.#queue.push(message);
        this.#drain();
    }
  }

  /** Requests that must see a version which a commit on its way will bring wait for it. */
  #takeRequests(requests: Message<"requests">["requests"]): void {
    const { committedVersion } = this.#store;
    const isEarly = ({ minVersion = 0 }: (typeof requests)[number]): boolean => minVersion > committedVersion;
    if (!requests.some(isEarly)) {
      this.#desk.take(requests);
      return;
    }
    this.#desk.take(requests.filter((request) => !isEarly(request)));
    this.#early.push(...requests.filter(isEarly));
  }

  #takeEarly(): void {
    if (this.#early.length > 0) this.#takeRequests(this.#early.splice(0));
  }

  #drain(): void {
    while (!this.#busy) {
      const message = this.#queue.shift();
      if (message === undefined) return;
      const running = this.#run(message);
      if (running === undefined) continue;
      this.#busy = true;
      running.then(
        () => {
          this.#busy = false;
          this.#drain();
        },
        (error: unknown) => this.#fail(error),
      );
    }
  }

  /** Carries out a message; a promise only when the adapter takes its time. */
  #run(message: StateMessage): Promise<void> | undefined {
    try {
      switch (message.type) {
        case "genesis":
          this.#emit(this.#execution.genesis(this.#store, message));
          return undefined;
        case "execute":
          return this.#execute(message);
        case "apply": {
          const applied = this.#store.apply(message.parts);
          this.#adapter.applied(this.#head(), applied.written);
          return undefined;
        }
        case "commit":
          this.#commit(message);
          return undefined;
        case "outcomes":
          for (const request of message.requests) this.#desk.finish(request.id, request.outcomes);
          return undefined;
        case "ping":
          this.#emit({ type: "pong", id: message.id });
          return undefined;
        case "rollback": {
          const written = this.#store.rollback(message.version);
          this.#execution.forgetCarried();
          this.#adapter.rolledBack(this.#head(), written);
          return undefined;
        }
        case "configure":
          this.#configure(message.options);
          return undefined;
        case "exportSnapshot":
          this.#beginExport(message);
          return undefined;
        case "nextPart":
          this.#exportPart(message);
          return undefined;
        case "importSnapshot":
          this.#importPart(message);
          return undefined;
      }
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** A state change that fails leaves this worker behind the ledger: it must not go on. */
  #fail(error: unknown): void {
    this.#queue.length = 0;
    this.#busy = true;
    this.#emit({ type: "failed", message: error instanceof Error ? error.message : "unknown" });
  }

  /** Tables stand in the ledger and stay what they are. What the adapter kept outside them begins anew. */
  #configure(options: unknown): void {
    let adapter: Adapter;
    try {
      adapter = this.#recreate(options);
      requireSameTables(this.#adapter, adapter);
    } catch (error) {
      // Its state goes on as the ledger does, under the options before: other options may come.
      this.#emit({ type: "unable", message: error instanceof Error ? error.message : "unknown" });
      return;
    }
    this.#emit({ type: "ready", tables: adapter.tables });
    this.#adapter = adapter;
    this.#execution = new BatchExecution(adapter, this.#log);
    const { headVersion } = this.#store;
    if (headVersion > 0) adapter.restored(this.#head(), this.#recent.upTo(headVersion));
  }

  #execute(message: Message<"execute">): Promise<void> | undefined {
    const executed = this.#execution.execute(this.#store, message);
    if (executed instanceof Promise) return executed.then((done) => this.#emit(done));
    this.#emit(executed);
    return undefined;
  }

  #head(): StateReader {
    return this.reader(this.#store.headVersion);
  }

  /** The state at a version that must exist. */
  reader(version: number): StateReader {
    const reader = this.#store.reader(version);
    if (reader === undefined) throw new CocoError("Internal", `version ${version} of the state is not kept`);
    return reader;
  }

  /** Undefined before the first version: there is nothing to answer from. */
  #views(): RequestViews | undefined {
    const { committedVersion } = this.#store;
    if (committedVersion === 0) return undefined;
    return {
      committed: this.reader(committedVersion),
      pending: this.#leading ? this.#head() : undefined,
      at: (version) => (version <= this.#store.committedVersion ? this.#store.reader(version) : undefined),
    };
  }

  #commit(message: Message<"commit">): void {
    for (const batch of message.batches) {
      this.#store.commit(batch.version);
      this.#recent.add(batch);
      this.#adapter.committed(this.reader(batch.version), batch);
    }
    this.#takeEarly();
  }

  /** A newer export takes the place of one that was not taken to its end, so that one version at most is held. */
  #beginExport({ version, maxBytes }: Message<"exportSnapshot">): void {
    const reader = version <= this.#store.committedVersion ? this.#store.reader(version) : undefined;
    if (reader === undefined) {
      this.#emit({ type: "snapshotUnavailable", version });
      return;
    }
    const recent = this.#recent.upTo(version);
    this.#export = new StateExport({ reader, tables: this.#adapter.tables, maxBytes, recent });
  }

  #exportPart({ version }: Message<"nextPart">): void {
    const part = this.#export?.version === version ? this.#export.next() : undefined;
    if (part === undefined) {
      this.#emit({ type: "snapshotUnavailable", version });
      return;
    }
    if (part.last) this.#export = undefined;
    this.#emit({ type: "snapshotPart", version, part: part.part, last: part.last });
  }

  /** Until the last part is here everything goes on with the old state. */
  #importPart({ version, part, first, last }: Message<"importSnapshot">): void {
    if (first) this.#import = new StateImport(version, this.#adapter.tables);
    const state = this.#import;
    if (state?.version !== version) throw new CocoError("MalformedInput", "part of a snapshot that was not begun");
    state.add(part);
    if (!last) {
      this.#emit({ type: "nextPart", version });
      return;
    }
    this.#import = undefined;
    this.#store.restore(version, state.builder);
    this.#execution.forgetCarried();
    this.#recent.replace(state.recent);
    // Version 0 is the empty state before the adapter's genesis.
    if (version > 0) this.#adapter.restored(this.#head(), state.recent);
    this.#emit({ type: "imported", version });
    this.#takeEarly();
  }
}

function requireSameTables({ tables: before }: Adapter, { tables: after }: Adapter): void {
  const isSame =
    after.length === before.length &&
    after.every(({ id, name }, at) => before[at]?.id === id && before[at].name === name);
  if (!isSame) throw new CocoError("ConstitutionInvalid", "an adapter keeps its tables, whatever its options are");
}
