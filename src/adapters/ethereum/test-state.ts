/** Test support: a network of one, that runs batches of prepared transactions through the execution half on a real store. */
import { createHash, randomBytes } from "node:crypto";
import type { Bytes } from "../../core/codec/bytes.ts";
import { VersionedStore } from "../../core/kv/store.ts";
import { invariant } from "../../errors.ts";
import type { AdapterComponents, PreparedTransaction, StateReader, TransactionOutcome } from "../adapter.ts";
import { EthereumExecution } from "./adapter-execution.ts";
import { parseEthereumOptions } from "./options.ts";
import { prepare } from "./prepare.ts";
import { TABLES } from "./types.ts";

/** Components of an adapter under test. */
export const TEST_COMPONENTS: AdapterComponents = {
  sha256: (data) => createHash("sha256").update(data).digest(),
  now: () => 0,
  nextTurn: () => new Promise((resolve) => setImmediate(resolve)),
  randomBytes: (length) => randomBytes(length),
  log: () => undefined,
};

/** A store with the adapter's tables. */
export function createStore(): VersionedStore {
  const tables = Object.entries(TABLES).map(([name, id]) => ({ id, name }));
  return new VersionedStore({ tables, keptVersions: 4 });
}

/** Prepares raw transactions; all have to be well formed. */
export function prepareAll(raws: readonly Bytes[]): PreparedTransaction[] {
  return prepare(raws).map((result) => {
    invariant(result.type === "prepared", "a test's transaction does not prepare");
    return result.transaction;
  });
}

/** One node that is always the leader. */
export class TestNetwork {
  readonly execution: EthereumExecution;
  readonly store = createStore();
  timeMs = 1_700_000_000_000;

  constructor(options: unknown) {
    this.execution = new EthereumExecution(parseEthereumOptions(options), TEST_COMPONENTS);
    const draft = this.store.beginBatch();
    const state = draft.begin();
    this.execution.genesis(state);
    state.keep();
    draft.publish();
  }

  /** The newest version. */
  get state(): StateReader {
    const reader = this.store.reader(this.store.headVersion);
    invariant(reader !== undefined, "the newest version is missing");
    return reader;
  }

  /** Runs one batch, with what it releases, and gives the outcomes in the order of execution. */
  async run(transactions: readonly PreparedTransaction[]): Promise<TransactionOutcome[]> {
    const draft = this.store.beginBatch();
    this.execution.beginBatch(this.state, { timeMs: this.timeMs, randomness: new Uint8Array(32).fill(7) });
    const outcomes: TransactionOutcome[] = [];
    const queue = [...transactions];
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const state = draft.begin();
      const outcome = await this.execution.execute(state, next);
      if (outcome.type === "included") state.keep();
      else state.discard();
      outcomes.push(outcome);
      queue.push(...this.execution.released());
    }
    if (outcomes.some((outcome) => outcome.type === "included")) {
      const state = draft.begin();
      this.execution.endBatch(state);
      state.keep();
      draft.publish();
    } else draft.abandon();
    this.store.commit(this.store.headVersion);
    return outcomes;
  }
}
