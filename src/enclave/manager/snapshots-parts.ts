/** What a node's snapshots are made of. */
import { decodeAdministrative } from "../../core/governance/administrative-codec.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import type { NodeId, SnapshotMark } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import type { AdapterEntry } from "../../core/governance/constitution.ts";
import type { LedgerCrypto } from "../../core/ledger/keys.ts";
import type { SnapshotWriter } from "../../core/ledger/snapshot.ts";
import type { LedgerTail } from "../../core/ledger/tail.ts";
import type { CocoError } from "../../errors.ts";
import type { Clock, Disk, SnapshotFile, Tracer } from "../ports.ts";
import type { Administration } from "./administration.ts";
import type { ImportTargets, ReceivedSnapshot, SnapshotAdapter } from "./snapshot-receiver.ts";

/** What snapshots need of the node around them. */
export interface SnapshotsParts {
  readonly nodeId: NodeId;
  readonly networkId: string;
  /** 16 random bytes, fresh for this boot. */
  readonly salt: Bytes;
  readonly tail: LedgerTail;
  readonly administration: Administration;
  readonly crypto: LedgerCrypto;
  /** Key of an epoch by a governance state that holds its record; undefined when it is not wrapped to this node. */
  readonly epochKeyOf: (epoch: number, state: GovernanceState) => Bytes | undefined;
  readonly disk: Disk;
  readonly clock: Pick<Clock, "now">;
  /** Those that are mounted. */
  readonly adapters: ReadonlyMap<number, SnapshotAdapter>;
  readonly targets: ImportTargets;
  /** See `SnapshotReceiverParts`. */
  readonly prepare: (adapters: readonly AdapterEntry[]) => void;
  readonly tracer: Tracer;
  /** A snapshot has its evidence: consensus may forget what lies before it. */
  readonly compact: (snapshot: SnapshotMark) => void;
  /** A snapshot from the leader is durable, or (undefined) of no use. */
  readonly stored: (snapshot: SnapshotMark | undefined) => void;
  /** The state was replaced by this snapshot. */
  readonly onInstalled: (snapshot: ReceivedSnapshot) => void;
  readonly onFatal: (error: CocoError) => void;
}

/** A committed and applied batch. */
export interface Place {
  readonly index: number;
  readonly seqno: number;
  readonly state: GovernanceState;
}

/** A snapshot that is being made. */
export interface Making {
  readonly mark: SnapshotMark;
  readonly seqno: number;
  readonly writer: SnapshotWriter;
  readonly file: SnapshotFile;
  readonly left: { readonly adapterId: number; readonly version: number }[];
  /** It is made because the one before is doubted, on this node alone: a regular one goes first. */
  readonly isDoubted: boolean;
  bytes: number;
}

/** Whether a batch hands a new node the keys of earlier epochs. */
export function holdsGrant(batch: ParsedBatch): boolean {
  return (
    batch.header.kind === "administrative" &&
    batch.transactions.some(({ publicPart }) => decodeAdministrative(publicPart).type === "grant")
  );
}
