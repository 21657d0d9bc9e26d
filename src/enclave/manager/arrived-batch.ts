/**
 * What a node can tell of a peer's batch besides what an auditor without keys can, asked before the batch is taken into the
 * log and so before it is acknowledged. Of an administrative one: whether the keys wrapped to this node open, and whether
 * the evidence of a snapshot is that of this node's own. Of an application's: whether it opens with the key of its epoch, and
 * whether what it writes can be applied. A leader that sends anything else finds no quorum for it; once such a batch were
 * committed, no node could go on.
 *
 * What this node reads from its own disk is not asked again: it may be committed, and then the network has decided.
 */
import { isTooNew } from "../../core/codec/format-version.ts";
import { type Bytes, EMPTY } from "../../core/codec/bytes.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { decodeAdministrative, type EpochTransaction } from "../../core/governance/administrative-codec.ts";
import type { EpochRecord, GrantedKey } from "../../core/governance/epochs.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import { TableSet } from "../../core/kv/tables.ts";
import type { TableOptions } from "../../core/kv/types.ts";
import { checkWriteSet } from "../../core/kv/write-set.ts";
import { type UnsealedBatch, unsealBatch } from "../../core/ledger/batch.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { type LedgerCrypto, LedgerKeys } from "../../core/ledger/keys.ts";
import { CocoError } from "../../errors.ts";

/** An epoch with the keys wrapped to its nodes. */
export type WrappedEpoch = Pick<EpochRecord, "epoch" | "wraps">;

/** What a snapshot transaction says of a snapshot. */
export interface SnapshotEvidence {
  readonly index: number;
  readonly digest: Bytes;
}

/** What this node knows of its own snapshots. */
export interface OwnSnapshots {
  /** Whether evidence is of a snapshot this node has finished, and names another digest. */
  contradicts(evidence: SnapshotEvidence): boolean;
}

/** What the check of arrived batches needs of the node around it. */
export interface ArrivedBatchesParts {
  readonly nodeId: NodeId;
  readonly crypto: LedgerCrypto;
  /** Opens the key of an epoch; undefined when it is not wrapped to this node, or when the wrap does not open. */
  readonly openEpoch: (epoch: WrappedEpoch) => Bytes | undefined;
  /** Whether an epoch carries, under its key, the private key of the service certificate it names. */
  readonly carriesService: (epoch: EpochTransaction, epochKey: Bytes) => boolean;
  /** Whether the key of a committed epoch is here. */
  readonly canOpen: (epoch: number) => boolean;
  /** Opens a batch of a committed epoch. */
  readonly open: (batch: ParsedBatch) => UnsealedBatch;
  readonly snapshots: OwnSnapshots;
}

/** See the module's header. */
export class ArrivedBatches {
  readonly #parts: ArrivedBatchesParts;
  /** Content of batches that were opened and are not applied yet. */
  readonly #opened = new WeakMap<ParsedBatch, UnsealedBatch>();
  /** Tables of the adapters whose workers have told them. */
  readonly #tables = new Map<number, TableSet>();

  constructor(parts: ArrivedBatchesParts) {
    this.#parts = parts;
  }

  /** The tables of an adapter: until its worker has loaded it, writes are checked for their form only. */
  mounted(adapterId: number, tables: readonly TableOptions[]): void {
    this.#tables.set(adapterId, new TableSet(tables));
  }

  /** An adapter has ended. */
  ended(adapterId: number): void {
    this.#tables.delete(adapterId);
  }

  /**
   * Throws `LedgerCorrupt` when a batch of a peer cannot be followed; see the module's header.
   * @param state governance as the log with this batch tells it
   */
  check(batch: ParsedBatch, state: GovernanceState | undefined): void {
    const { kind, index } = batch.header;
    if (kind === "administrative") this.#checkAdministrative(batch);
    if (kind !== "application") return;
    try {
      this.#checkApplication(batch, state);
    } catch (cause) {
      if (isTooNew(cause) || (cause instanceof CocoError && cause.code === "LedgerCorrupt")) throw cause;
      throw new CocoError("LedgerCorrupt", `batch ${index} cannot be applied`, { index }, { cause });
    }
  }

  /** The transactions of a committed batch of a peer, opened. */
  take(batch: ParsedBatch): UnsealedBatch {
    const opened = this.#opened.get(batch) ?? this.#parts.open(batch);
    this.#opened.delete(batch);
    return opened;
  }

  #checkAdministrative({ header: { index }, transactions }: ParsedBatch): void {
    for (const { publicPart } of transactions) {
      const transaction = decodeAdministrative(publicPart);
      if (transaction.type === "epoch") this.#requireOwnWrap(transaction, index);
      else if (transaction.type === "grant")
        for (const epoch of grantedEpochs(transaction.nodeId, transaction.keys)) this.#requireOwnWrap(epoch, index);
      else if (transaction.type === "snapshot" && this.#parts.snapshots.contradicts(transaction)) {
        const message = `batch ${index}: the evidence is not that of this node's snapshot of batch ${transaction.index}`;
        throw new CocoError("LedgerCorrupt", message, { index });
      }
    }
  }

  /**
   * What is wrapped to this node must open to it, and to the service key where a whole epoch is asked about: a rotation to a
   * key that only its maker has would leave the others without an identity. The epoch's key is overwritten.
   */
  #requireOwnWrap(epoch: WrappedEpoch | EpochTransaction, index: number): void {
    const { nodeId, openEpoch, carriesService } = this.#parts;
    if (!epoch.wraps.some((wrap) => wrap.nodeId === nodeId)) return;
    const key = openEpoch(epoch);
    const opens = key !== undefined && (!("sealedServiceKey" in epoch) || carriesService(epoch, key));
    key?.fill(0);
    if (opens) return;
    const message = `batch ${index}: the keys of epoch ${epoch.epoch} do not open with this node's key`;
    throw new CocoError("LedgerCorrupt", message, { index });
  }

  #checkApplication(batch: ParsedBatch, state: GovernanceState | undefined): void {
    const { adapterId } = batch.header;
    const opened = this.#openAhead(batch, state);
    const tables = this.#tables.get(adapterId);
    const parts = opened?.parts ?? batch.transactions.flatMap(({ publicPart }) => [publicPart, EMPTY]);
    for (let at = 0; at < parts.length; at++) checkWriteSet(parts[at] ?? EMPTY, tables, at % 2 === 0);
    if (opened !== undefined) this.#opened.set(batch, opened);
  }

  /** Opens a batch; undefined without the key. That of an epoch which is not committed yet is used for this only. */
  #openAhead(batch: ParsedBatch, state: GovernanceState | undefined): UnsealedBatch | undefined {
    const { canOpen, open, openEpoch, crypto } = this.#parts;
    const { epoch } = batch.header;
    if (canOpen(epoch)) return open(batch);
    const record = state?.epochs[epoch - 1];
    const key = record && openEpoch(record);
    if (key === undefined) return undefined;
    const keys = new LedgerKeys(crypto, () => key);
    try {
      return unsealBatch(batch, keys, crypto);
    } finally {
      keys.clear();
      key.fill(0);
    }
  }
}

function grantedEpochs(nodeId: NodeId, keys: readonly GrantedKey[]): readonly WrappedEpoch[] {
  return keys.map(({ epoch, wrapped }) => ({ epoch, wraps: [{ nodeId, wrapped }] }));
}
