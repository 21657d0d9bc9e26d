/**
 * Administrative transactions on this node: each is executed when its batch enters the log, before it is acknowledged,
 * and takes effect when the batch is committed. A truncated log takes the states of its batches with it.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import {
  decodeAdministrative,
  executeAdministrative,
  type GovernanceState,
} from "../../core/governance/administrative.ts";
import type { CodeApproval } from "../../core/governance/code-approval.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import type { GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { CocoError, invariant } from "../../errors.ts";

interface StateAt {
  readonly index: number;
  readonly state: GovernanceState;
}

/** Governance as this node's log tells it; see the module's header. */
export class Administration {
  readonly #genesis: Constitution;
  readonly #networkId: string;
  readonly #crypto: GovernanceCrypto;
  /** States in the order of their batches: the first is the committed one once there is one. */
  #states: StateAt[] = [];
  #committedIndex = 0;
  #keys = new Map<NodeId, Bytes>();

  /** @param genesis the constitution this node was started with; the ledger must begin with it */
  constructor(genesis: Constitution, networkId: string, crypto: GovernanceCrypto) {
    this.#genesis = genesis;
    this.#networkId = networkId;
    this.#crypto = crypto;
    this.#listKeys();
  }

  /** State after the newest administrative batch of the log; undefined before genesis. */
  get appended(): GovernanceState | undefined {
    return this.#states.at(-1)?.state;
  }

  /** State in effect; undefined before genesis is committed. */
  get committed(): GovernanceState | undefined {
    return this.#states.findLast(({ index }) => index <= this.#committedIndex)?.state;
  }

  /** The constitution as the log tells it: the one to authenticate nodes by. */
  get constitution(): Constitution {
    return this.appended?.constitution ?? this.#genesis;
  }

  /** Public key (SubjectPublicKeyInfo, DER) of a listed node. */
  publicKeyOf(nodeId: NodeId): Bytes | undefined {
    return this.#keys.get(nodeId);
  }

  /** Executes the transactions of a batch that enters the log; throws, with nothing changed, when one does not hold. */
  append(batch: ParsedBatch): void {
    if (batch.header.kind !== "administrative") return;
    let state = this.appended;
    for (const { publicPart } of batch.transactions) {
      state = executeAdministrative(state, decodeAdministrative(publicPart), this.#crypto);
    }
    invariant(state, "an administrative batch holds a transaction");
    if (state.networkId !== this.#networkId) {
      throw new CocoError(
        "FolderOfAnotherNetwork",
        `the ledger belongs to network ${state.networkId}, not ${this.#networkId}`,
      );
    }
    this.#states.push({ index: batch.header.index, state });
    this.#listKeys();
  }

  /** Drops the states of batches from this index on. */
  truncate(fromIndex: number): void {
    this.#states = this.#states.filter(({ index }) => index < fromIndex);
    this.#listKeys();
  }

  /** Whether an approval of code holds for the newest state of the log (and is not in it already). */
  accepts(approval: CodeApproval): boolean {
    try {
      return (
        this.appended !== undefined &&
        executeAdministrative(this.appended, { type: "approveCode", bundle: approval }, this.#crypto) !== undefined
      );
    } catch {
      return false;
    }
  }

  /** The batch at this index is committed; its state, if it is administrative, is in effect. */
  commit(index: number): GovernanceState | undefined {
    this.#committedIndex = index;
    const state = this.committed;
    this.#states = this.#states.filter((entry) => entry.index > index || entry.state === state);
    return state;
  }

  #listKeys(): void {
    this.#keys = new Map(this.constitution.nodes.map((node) => [node.nodeId, node.publicKey]));
  }
}
