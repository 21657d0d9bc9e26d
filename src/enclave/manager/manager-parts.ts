/** What a manager is made of: its ports, the parts it drives, and what it reports. */
import type { Caller } from "../../adapters/adapter.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import type { AdapterEntry } from "../../core/governance/constitution.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import type { LedgerTail } from "../../core/ledger/tail.ts";
import type { CocoError } from "../../errors.ts";
import type { Clock, PeerTransport, StartExecutor, Tracer } from "../ports.ts";
import type { AdapterProblem } from "./adapter-proposals.ts";
import type { Administration } from "./administration.ts";
import type { ArrivedBatchesParts } from "./arrived-batch.ts";
import type { CheckedData } from "./checked-data.ts";
import type { EpochMaker } from "./leader-duties.ts";
import type { Replicator, ReplicatorParts } from "./replicator.ts";
import type { Sealing } from "./sealing.ts";
import type { SnapshotsParts } from "./snapshots-parts.ts";
import type { Beginning } from "./stored-snapshot.ts";

/** The encoded transactions a new network starts with: genesis and first epoch. */
export type FirstTransactions = () => readonly Bytes[];

/** The batch that changed governance, and the state before it. */
export interface GovernanceChange {
  readonly before: GovernanceState | undefined;
  readonly header: Pick<ParsedBatch["header"], "firstSeqno" | "timeMs">;
}

/** Governance in effect changed; undefined: by a snapshot, which says nothing of what happened before it. */
export type OnGovernance = (change: GovernanceChange | undefined) => void;

/** What a manager is made of. */
export interface ManagerParts {
  readonly nodeId: NodeId;
  readonly clock: Clock;
  readonly randomBytes: (length: number) => Bytes;
  readonly tail: LedgerTail;
  readonly checked: CheckedData;
  readonly sealing: Sealing;
  readonly administration: Administration;
  readonly peers: PeerTransport;
  /** Those that are mounted where this node begins. */
  readonly adapters: readonly AdapterEntry[];
  readonly startExecutor: StartExecutor;
  readonly adapterProblem: AdapterProblem;
  readonly tracer: Tracer;
  /** Makes the consensus driver around the callbacks of this manager. */
  readonly createReplicator: (
    callbacks: Pick<
      ReplicatorParts,
      | "send"
      | "onArrived"
      | "onCommitted"
      | "onRoleChanged"
      | "onDurable"
      | "onDropped"
      | "onReads"
      | "snapshots"
      | "onFatal"
    >,
  ) => Replicator;
  readonly firstTransactions: FirstTransactions;
  readonly epochMaker: EpochMaker;
  readonly arrived: Omit<ArrivedBatchesParts, "snapshots">;
  /** Key of a committed epoch. */
  readonly keyOf: (epoch: number) => Bytes | undefined;
  /** The snapshot this node begins from; undefined when it begins with the first entry of its ledger. */
  readonly beginning: Beginning | undefined;
  readonly snapshots: Pick<SnapshotsParts, "nodeId" | "networkId" | "salt" | "crypto" | "epochKeyOf" | "disk">;
  /** Approval of this node's code by the members, which this node brings to whoever leads. */
  readonly approval: readonly SignedMessage[] | undefined;
  /** Governance in effect changed: install epoch keys, present the service certificate. */
  readonly onGovernance: OnGovernance;
  /** The leader asks for evidence of this node for a challenge. */
  readonly onChallenge: (challenge: Bytes) => void;
  readonly onFatal: (error: CocoError) => void;
}

/** A request for an adapter as it arrives. */
export interface ArrivedRequest {
  readonly path: string;
  readonly body: Bytes;
  readonly caller: Caller;
  /** The answer must see every transaction that was committed when the request came. */
  readonly linearizable?: boolean;
}
