/**
 * Makes batches of what a leader has for the ledger and proposes them to consensus. It remembers the ids of the transactions
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
  readonly #ownIds = new Map<number, readonly Bytes[]>();

  constructor(replicator: Replicator, sealing: Sealing, administration: Administration) {
    this.#replicator = replicator;
    this.#sealing = sealing;
    this.#administration = administration;
  }

  /** Proposes executed transactions; the index of their batch, undefined when this node does not lead. */
  application(adapterId: number, transactions: readonly ExecutedTransaction[]): number | undefined {
    const governanceVersion = this.#administration.constitution.version;
    const index = this.#replicator.propose((view) =>
      this.#sealing.build({ kind: "application", view, adapterId, governanceVersion, transactions }),
    );
    const ids = transactions.map(({ id }) => id);
    if (index !== undefined) this.#ownIds.set(index, ids);
    return index;
  }

  /** Proposes administrative transactions, or an empty batch when there are none. */
  framework(encoded: readonly Bytes[]): void {
    const kind = encoded.length > 0 ? "administrative" : "empty";
    const governanceVersion = this.#administration.appended?.constitution.version ?? 0;
    const transactions = encoded.map(administrativeTransaction);
    this.#replicator.propose((view) =>
      this.#sealing.build({ kind, view, adapterId: 0, governanceVersion, transactions }),
    );
  }

  /** The ids of a batch this node sealed in this leadership, once; undefined for batches of others. */
  takeIds(index: number): readonly Bytes[] | undefined {
    const ids = this.#ownIds.get(index);
    this.#ownIds.delete(index);
    return ids;
  }

  /** What is not committed may never be. */
  stopLeading(): void {
    this.#ownIds.clear();
  }
}
