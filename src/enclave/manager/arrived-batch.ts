/**
 * What only this node can tell of an administrative batch of a peer, asked before the batch is taken into the log and so
 * before it is acknowledged: whether the keys wrapped to this node open, and whether the evidence of a snapshot is that of
 * this node's own. A leader that wraps garbage, or writes evidence of a state nobody has, then finds no quorum for it;
 * once such a batch were committed, no node could go on.
 *
 * What this node reads from its own disk is not asked again: it may be committed, and then the network has decided.
 */
import { decodeAdministrative } from "../../core/governance/administrative.ts";
import type { EpochRecord, GrantedKey } from "../../core/governance/epochs.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { CocoError } from "../../errors.ts";

/** An epoch with the keys wrapped to its nodes. */
export type WrappedEpoch = Pick<EpochRecord, "epoch" | "wraps">;

/** What a snapshot transaction says of a snapshot. */
export interface SnapshotEvidence {
  readonly index: number;
  readonly digest: Bytes;
}

/** Whether this node's own wraps of an epoch open; true when it has none. */
export type OpensOwn = (epoch: WrappedEpoch) => boolean;

/** What this node knows of its own snapshots. */
export interface OwnSnapshots {
  /** Whether evidence is of a snapshot this node has finished, and names another digest. */
  contradicts(evidence: SnapshotEvidence): boolean;
}

/** Whether what is wrapped to a node opens to it; the key is overwritten. */
export function opensOwnWrap(nodeId: NodeId, open: (epoch: WrappedEpoch) => Bytes | undefined): OpensOwn {
  return (epoch) => {
    if (!epoch.wraps.some((wrap) => wrap.nodeId === nodeId)) return true;
    const key = open(epoch);
    key?.fill(0);
    return key !== undefined;
  };
}

function grantedEpochs(nodeId: NodeId, keys: readonly GrantedKey[]): readonly WrappedEpoch[] {
  return keys.map(({ epoch, wrapped }) => ({ epoch, wraps: [{ nodeId, wrapped }] }));
}

/** Throws `LedgerCorrupt` when a batch of a peer contradicts what this node knows; see the module's header. */
export function checkArrived(batch: ParsedBatch, opensOwn: OpensOwn, snapshots: OwnSnapshots): void {
  if (batch.header.kind !== "administrative") return;
  const { index } = batch.header;
  const requireOpen = (epoch: WrappedEpoch): void => {
    if (opensOwn(epoch)) return;
    const message = `batch ${index}: the key of epoch ${epoch.epoch} does not open with this node's key`;
    throw new CocoError("LedgerCorrupt", message, { index });
  };
  for (const { publicPart } of batch.transactions) {
    const transaction = decodeAdministrative(publicPart);
    if (transaction.type === "epoch") requireOpen(transaction);
    else if (transaction.type === "grant") grantedEpochs(transaction.nodeId, transaction.keys).forEach(requireOpen);
    else if (transaction.type === "snapshot" && snapshots.contradicts(transaction)) {
      const message = `batch ${index}: the evidence is not that of this node's snapshot of batch ${transaction.index}`;
      throw new CocoError("LedgerCorrupt", message, { index });
    }
  }
}
