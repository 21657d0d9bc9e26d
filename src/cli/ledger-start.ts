/**
 * Where the verification of a ledger folder begins: with the genesis; or, where a leader's snapshot has taken the place of
 * the beginning, with the oldest snapshot that the folder still has. Without keys the open part of a snapshot is all there is
 * to go by, and nothing in the folder proves it: what follows is verified against it. Batches between the beginning of the
 * ledger and that snapshot are authenticated backwards, by the chain of digests that ends in it.
 */
import { bytesEqual, concatBytes, toHex } from "../core/codec/bytes.ts";
import type { GovernanceState } from "../core/governance/administrative.ts";
import { decodeAdministrative } from "../core/governance/administrative-codec.ts";
import { signingKeys } from "../core/governance/departing-nodes.ts";
import { decodeGovernanceState } from "../core/governance/state-codec.ts";
import { type ParsedBatch, parseBatch } from "../core/ledger/batch-format.ts";
import { signatureLeaf } from "../core/ledger/leaf.ts";
import { isKeeperSeal } from "../core/ledger/snapshot-keeper.ts";
import { LedgerTail } from "../core/ledger/tail.ts";
import type { LedgerEntry, LedgerStart } from "../core/ledger/verify-ledger.ts";
import { createVerifier, sha256 } from "../enclave/manager/node-crypto.ts";
import type { StoredSnapshot } from "../enclave/ports.ts";
import { CocoError } from "../errors.ts";
import { FILE_SYSTEM } from "../host/file-operations.ts";
import { entriesOf } from "../host/ledger-chunks.ts";
import type { ReadLedger } from "../host/ledger-files.ts";
import { readKeeperSeal, readSnapshotFront } from "../host/snapshot-head.ts";

/** What the start of a ledger that does not begin with its genesis rests on. */
export interface StartReport {
  /** The snapshot that is taken at its word. */
  readonly index: number;
  readonly seqno: number;
  /** First index in the folder: batches before it are not here. */
  readonly firstIndex: number;
  /** Index of the batch with evidence of the snapshot; undefined when there is none in what follows. */
  readonly evidenceIndex: number | undefined;
  /** Node that has sealed the snapshot with this evidence. */
  readonly keeper: string | undefined;
}

/** A start from a snapshot, and what is found out about it on the way. */
export class SnapshotStart {
  readonly from: LedgerStart<GovernanceState>;
  readonly index: number;
  readonly #seqno: number;
  readonly #firstIndex: number;
  readonly #snapshot: StoredSnapshot;
  #evidence: { readonly index: number; readonly digest: Uint8Array } | undefined;

  /** Throws `LedgerCorrupt` or `MalformedInput` when the folder does not fit together. */
  constructor({ layout, scan, snapshots }: ReadLedger) {
    const { firstIndex } = layout;
    const oldest = snapshots.findLast(({ index }) => index >= firstIndex - 1 && index < scan.nextIndex);
    if (oldest === undefined)
      throw new CocoError(
        "LedgerCorrupt",
        `there is no snapshot for the ledger to begin after, of index ${firstIndex - 1}`,
      );
    const manifest = readSnapshotFront(oldest);
    const tail = LedgerTail.fromSnapshot(sha256, manifest.tail);
    const state = decodeGovernanceState(manifest.governance, sha256);
    const { last } = manifest.tail;
    if (last.index !== oldest.index || state.networkId !== manifest.networkId)
      throw new CocoError("LedgerCorrupt", `snapshot ${oldest.index} is not what its name or its network says`);
    this.from = { tail, state };
    this.index = oldest.index;
    this.#seqno = last.signatureSeqno;
    this.#firstIndex = firstIndex;
    this.#snapshot = oldest;
    this.#checkBefore(entriesOf(scan.chunks, firstIndex, FILE_SYSTEM), last.digest);
  }

  /** Every batch up to the snapshot names the digest of the one before it, and the snapshot that of the last. */
  #checkBefore(entries: Iterable<LedgerEntry>, digest: Uint8Array): void {
    let previous: Uint8Array | undefined;
    for (const { index, term, data } of entries) {
      if (index > this.index) break;
      const { header, headerBytes, publicSection, sealedSection, root } = parseBatch(data);
      const follows = previous === undefined || bytesEqual(header.previousDigest, previous);
      if (header.index !== index || header.view !== term || !follows)
        throw new CocoError("LedgerCorrupt", `batch ${index} does not continue the one before it`, { index });
      previous = sha256(concatBytes(signatureLeaf(headerBytes, publicSection, sealedSection, sha256), root));
    }
    if (previous !== undefined && !bytesEqual(previous, digest))
      throw new CocoError("LedgerCorrupt", `the ledger does not lead to the snapshot of batch ${this.index}`);
  }

  /** Takes note of the evidence of the snapshot, when it comes. */
  see({ header, transactions }: ParsedBatch): void {
    if (header.kind !== "administrative") return;
    for (const { publicPart } of transactions) {
      const transaction = decodeAdministrative(publicPart);
      if (transaction.type === "snapshot" && transaction.index === this.index)
        this.#evidence = { index: header.index, digest: transaction.digest };
    }
  }

  /**
   * What the start rests on, after everything behind it was seen. Throws `LedgerCorrupt` when there is evidence, and no node
   * that signed by then has sealed the snapshot with it.
   */
  report(end: GovernanceState | undefined): StartReport {
    const evidence = this.#evidence;
    const keeper = evidence && this.#keeper(evidence.digest, end);
    if (evidence !== undefined && keeper === undefined)
      throw new CocoError("LedgerCorrupt", `snapshot ${this.index}: no listed node has sealed it with its evidence`);
    const { index } = this;
    return { index, seqno: this.#seqno, firstIndex: this.#firstIndex, evidenceIndex: evidence?.index, keeper };
  }

  #keeper(digest: Uint8Array, end: GovernanceState | undefined): string | undefined {
    const { state } = this.from;
    const keys = new Map([...(state ? signingKeys(state) : []), ...(end ? signingKeys(end) : [])]);
    const seal = readKeeperSeal(this.#snapshot);
    const nodeId = toHex(seal.subarray(0, 32));
    const publicKey = keys.get(nodeId);
    const kept = { networkId: state?.networkId ?? "", index: this.index, digest };
    const holds =
      publicKey !== undefined && isKeeperSeal(seal, kept, { nodeId, publicKey }, { verify: createVerifier() });
    return holds ? nodeId : undefined;
  }
}
