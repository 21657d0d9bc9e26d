/**
 * The ledger's tail and the governance state after the same batch: what a batch has to fit before it may enter the log. A
 * batch is taken whole or not at all. A copy that ends earlier lets batches be tried that would replace others.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { verifyBatch } from "../../core/ledger/batch.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import type { VerifyCrypto } from "../../core/ledger/keys.ts";
import { LedgerTail } from "../../core/ledger/tail.ts";

/** Governance as the log tells it. */
export interface LogGovernance {
  /** State after the newest administrative batch; undefined before genesis. */
  readonly appended: GovernanceState | undefined;
  /** Public key (SubjectPublicKeyInfo, DER) of a node whose signature counts. */
  publicKeyOf(nodeId: NodeId): Bytes | undefined;
  /** Executes the transactions of a batch; throws, with nothing changed, when one does not hold. */
  append(batch: ParsedBatch): void;
  /** Drops what batches from this index on have brought. */
  truncate(fromIndex: number): void;
  /** A copy without what batches from this index on have brought; this one stays as it is. */
  before(index: number): LogGovernance;
}

/** See the module's header. */
export class VerifiedLog {
  readonly tail: LedgerTail;
  readonly governance: LogGovernance;
  readonly #crypto: VerifyCrypto;

  constructor(tail: LedgerTail, governance: LogGovernance, crypto: VerifyCrypto) {
    this.tail = tail;
    this.governance = governance;
    this.#crypto = crypto;
  }

  /** Takes the next batch when everything that can be told without keys holds; throws, with nothing changed, when it does not. */
  append(batch: ParsedBatch): void {
    verifyBatch(batch, this.tail, (nodeId) => this.governance.publicKeyOf(nodeId), this.#crypto);
    try {
      this.governance.append(batch);
    } catch (error) {
      this.tail.truncate(batch.header.index);
      throw error;
    }
  }

  /** Drops the batches from this index on; nothing happens when there are none. */
  truncate(fromIndex: number): void {
    if (fromIndex > this.tail.lastIndex) return;
    this.tail.truncate(fromIndex);
    this.governance.truncate(fromIndex);
  }

  /** A copy that ends before this index, which must not be compacted; this one stays as it is. */
  before(index: number): VerifiedLog {
    const { sha256 } = this.#crypto;
    const tail =
      index === 1 ? new LedgerTail(sha256) : LedgerTail.fromSnapshot(sha256, this.tail.toSnapshot(index - 1));
    return new VerifiedLog(tail, this.governance.before(index), this.#crypto);
  }
}
