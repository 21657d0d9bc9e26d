/**
 * The states of adapters that were mounted beside the first one, as replaying the ledger makes them: every node has the same
 * ones, whatever it was when they were mounted, configured and removed.
 */
import type { StateReader } from "../../src/adapters/adapter.ts";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { VersionedStore } from "../../src/core/kv/store.ts";
import { invariant } from "../../src/errors.ts";
import type { SimulatedProtocol } from "./protocol.ts";

/** See the module's header. */
export class OtherAdapters {
  readonly #tables: SimulatedProtocol["tables"];
  readonly #digest: (state: StateReader) => string;
  readonly #stores = new Map<number, VersionedStore>();
  /** Digests of versions of the ledger, which do not change. */
  readonly #digests = new WeakMap<StateReader, string>();
  /** Batches of theirs in the ledger. */
  batches = 0;

  constructor(tables: SimulatedProtocol["tables"], digest: (state: StateReader) => string) {
    this.#tables = tables;
    this.#digest = digest;
  }

  /** A batch of one is committed. */
  replay(adapterId: number, parts: readonly Bytes[]): void {
    const store = this.#stores.get(adapterId) ?? new VersionedStore({ tables: this.#tables, keptVersions: 1_000_000 });
    this.#stores.set(adapterId, store);
    store.commit(store.apply(parts).version);
    this.batches++;
  }

  /** A worker on a node has this state. */
  check(adapterId: number, node: string, state: StateReader): void {
    const expected = this.#expected(adapterId, state.version);
    invariant(expected, `${node} has version ${state.version} of adapter ${adapterId}, which the ledger does not`);
    invariant(this.#digest(state) === expected, `${node} has another state of adapter ${adapterId}`);
  }

  /** Digest of a version as the ledger has it: found once for all nodes. */
  #expected(adapterId: number, version: number): string | undefined {
    const reader = this.#stores.get(adapterId)?.reader(version);
    if (reader === undefined) return undefined;
    const digest = this.#digests.get(reader) ?? this.#digest(reader);
    this.#digests.set(reader, digest);
    return digest;
  }

  /** The newest version of an adapter. */
  versionOf(adapterId: number): number {
    return this.#stores.get(adapterId)?.headVersion ?? 0;
  }
}
