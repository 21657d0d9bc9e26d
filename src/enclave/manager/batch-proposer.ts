/**
 * Makes batches of what a leader has for the ledger and proposes them to consensus. It remembers the keys of the transactions
 * it sealed itself, so that they need not be unsealed when their batch commits.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { ExecutedTransaction } from "../worker/protocol.ts";
import type { Administration } from "./administration.ts";
import type { Replicator } from "./replicator.ts";
import { administrativeTransaction, type Sealing } from "./sealing.ts";

/** See the module's header. */
export class BatchProposer {
  readonly #replicator: Replicator;
  readonly #sealing: Sealing;
  readonly #administration: Administration;
  readonly #ownKeys = new Map<number, readonly string[]>();

  constructor(replicator: Replicator, sealing: Sealing, administration: Administration) {
    this.#replicator = replicator;
    this.#sealing = sealing;
    this.#administration = administration;
  }

  /** Proposes executed transactions, whose ids have these keys; the index of their batch, undefined when this node does not lead. */
  application(
    adapterId: number,
    transactions: readonly ExecutedTransaction[],
    keys: readonly string[],
  ): number | undefined {
    const governanceVersion = this.#administration.constitution.version;
    const index = this.#replicator.propose((view) =>
      this.#sealing.buildBatch({ kind: "application", view, adapterId, governanceVersion, transactions }),
    );
    if (index !== undefined) this.#ownKeys.set(index, keys);
    return index;
  }

  /** Proposes administrative transactions, of this time if one is given, or an empty batch when there are none. */
  framework(encoded: readonly Bytes[], timeMs?: number): void {
    const kind = encoded.length > 0 ? "administrative" : "empty";
    const governanceVersion = this.#administration.appended?.constitution.version ?? 0;
    const transactions = encoded.map(administrativeTransaction);
    this.#replicator.propose((view) =>
      this.#sealing.buildBatch({
        ...{ kind, view, adapterId: 0, governanceVersion, transactions },
        ...(timeMs !== undefined && { timeMs }),
      }),
    );
  }

  /** The keys of a batch this node sealed in this leadership, once; undefined for batches of others. */
  takeKeys(index: number): readonly string[] | undefined {
    const keys = this.#ownKeys.get(index);
    this.#ownKeys.delete(index);
    return keys;
  }

  /** What is not committed may never be. */
  stopLeading(): void {
    this.#ownKeys.clear();
  }
}
