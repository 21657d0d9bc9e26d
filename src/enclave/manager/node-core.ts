/**
 * The heart of a validating node, the same in a real node and in the simulator: governance, ledger, consensus and manager
 * on their ports. It reads and verifies the ledger on disk before anything else, because the disk is not trusted.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { ByteReader, fromHex } from "../../core/codec/bytes.ts";
import { Raft } from "../../core/consensus/raft.ts";
import { Solo } from "../../core/consensus/solo.ts";
import type { RaftOptions } from "../../core/consensus/state.ts";
import type { Consensus, LogEntry, NodeId } from "../../core/consensus/types.ts";
import { executeAdministrative } from "../../core/governance/administrative.ts";
import { decodeAdministrative } from "../../core/governance/administrative-codec.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { configurationOfBatch } from "../../core/governance/administrative-batch.ts";
import { genesisConfiguration } from "../../core/governance/configuration.ts";
import type { GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import { verifyBatch } from "../../core/ledger/batch.ts";
import { type ParsedBatch, parseBatch } from "../../core/ledger/batch-format.ts";
import { LedgerTail } from "../../core/ledger/tail.ts";
import { CocoError } from "../../errors.ts";
import type { AskTee, Clock, Crypto, Disk, DiskContent, PeerTransport, StartExecutor, Tracer } from "../ports.ts";
import type { AdapterProblem } from "./adapter-proposals.ts";
import { Administration } from "./administration.ts";
import type { WrappedEpoch } from "./arrived-batch.ts";
import { CheckedData } from "./checked-data.ts";
import { EpochKeys } from "./epoch-keys.ts";
import type { EpochTransaction } from "../../core/governance/administrative-codec.ts";
import type { EpochMaker } from "./leader-duties.ts";
import { encodeFrame, type Frame } from "./frames.ts";
import { Manager } from "./manager.ts";
import type { FirstTransactions, GovernanceChange, OnGovernance } from "./manager-parts.ts";
import { EvidenceMaker } from "./evidence-maker.ts";
import { SelfAttestation } from "./self-attestation.ts";
import { RecoveryDesk } from "./recovery-desk.ts";
import { Replicator } from "./replicator.ts";
import { Sealing } from "./sealing.ts";
import type { SnapshotOpening } from "./snapshot-receiver.ts";
import { type Beginning, chooseSnapshot } from "./stored-snapshot.ts";
import { VerifiedLog } from "./verified-log.ts";

/** Shortest and longest time without a leader before an election, in milliseconds. */
export const ELECTION_TIMEOUT_MIN_MS = 600;
/** See {@link ELECTION_TIMEOUT_MIN_MS}. */
export const ELECTION_TIMEOUT_MAX_MS = 1_200;
/** Time between a leader's heartbeats. */
export const HEARTBEAT_INTERVAL_MS = 100;
/** Size of one replicated message. */
export const APPEND_BYTES_MAX = 2 * 1024 * 1024;
/** Replicated messages a follower may be behind with its acknowledgements. */
export const APPENDS_IN_FLIGHT_MAX = 8;
/** Committed log kept in memory for followers that are a little behind. */
export const LOG_WINDOW_BYTES = 64 * 1024 * 1024;

/** What a node's core is made of. */
export interface NodeCoreParts {
  readonly nodeId: NodeId;
  /** SubjectPublicKeyInfo of this node, DER. */
  readonly publicKey: Bytes;
  readonly genesis: Constitution;
  /** The constitution approved when this node joined, for nodes that genesis does not list. */
  readonly joined?: Constitution | undefined;
  /** Hex, 32 bytes. */
  readonly networkId: string;
  readonly crypto: Crypto;
  readonly governanceCrypto: GovernanceCrypto;
  readonly clock: Clock;
  readonly randomBytes: (length: number) => Bytes;
  readonly disk: Disk;
  readonly content: DiskContent;
  /** Whether this node served its network before: then a missing ledger is a loss, not a beginning. */
  readonly tookPart: boolean;
  readonly peers: PeerTransport;
  readonly tracer: Tracer;
  readonly startExecutor: StartExecutor;
  readonly adapterProblem: AdapterProblem;
  readonly firstTransactions: FirstTransactions;
  /** Approval of this node's code that is not in the ledger yet. */
  readonly approval: readonly SignedMessage[] | undefined;
  /** Opens the key of an epoch; undefined when it is not wrapped to this node, or when the wrap does not open. */
  readonly openEpoch: (record: WrappedEpoch) => Bytes | undefined;
  /** Whether an epoch that a peer made carries its service key, for its epoch key. */
  readonly carriesService: (epoch: EpochTransaction, epochKey: Bytes) => boolean;
  readonly epochMaker: EpochMaker;
  /** See {@link AskTee}. */
  readonly askTee: AskTee;
  /** Governance in effect changed; the keys of its epochs are installed. */
  readonly onGovernance: OnGovernance;
  readonly onFatal: (error: CocoError) => void;
  /** Lets a test see every step of consensus. */
  readonly watch?: (consensus: Consensus) => Consensus;
  /** Instead of {@link LOG_WINDOW_BYTES} and {@link APPEND_BYTES_MAX}. */
  readonly sizes?: { readonly windowBytes: number; readonly appendBytes: number };
}

/** See the module's header. */
export class NodeCore {
  readonly administration: Administration;
  readonly tail: LedgerTail;
  readonly sealing: Sealing;
  readonly manager: Manager;
  readonly #parts: NodeCoreParts;
  readonly #log: VerifiedLog;
  readonly #checked: CheckedData;
  readonly epochKeys: EpochKeys;
  readonly recovery: RecoveryDesk;
  /** Makes evidence of this node. */
  readonly evidence: EvidenceMaker;
  readonly #selfAttestation: SelfAttestation;

  /** Reads and verifies the whole ledger on disk; throws when it does not hold or belongs to another network. */
  constructor(parts: NodeCoreParts) {
    this.#parts = parts;
    const { genesis, networkId, crypto, clock, randomBytes } = parts;
    this.administration = new Administration(genesis, networkId, parts.governanceCrypto, parts.joined);
    this.tail = new LedgerTail(crypto.sha256);
    this.#log = new VerifiedLog(this.tail, this.administration, crypto);
    this.#checked = new CheckedData(this.tail, crypto.sha256);
    const salt = randomBytes(16);
    this.epochKeys = new EpochKeys({
      clock,
      committed: () => this.administration.committed,
      open: parts.openEpoch,
    });
    const identity = { signer: fromHex(parts.nodeId), salt, epochKeys: this.epochKeys };
    this.sealing = new Sealing(this.tail, crypto, clock, identity);
    const beginning = chooseSnapshot(parts.content, this.#opening(), parts, parts.tracer);
    const raft = this.#createConsensus(beginning);
    const consensus = parts.watch?.(raft) ?? raft;
    let replicator: Replicator | undefined;
    this.manager = new Manager({
      nodeId: parts.nodeId,
      clock,
      randomBytes,
      ...{ tail: this.tail, checked: this.#checked, sealing: this.sealing, administration: this.administration },
      peers: parts.peers,
      adapters: (beginning?.snapshot.state.constitution ?? genesis).adapters,
      ...{ startExecutor: parts.startExecutor, adapterProblem: parts.adapterProblem },
      tracer: parts.tracer,
      createReplicator: (callbacks) => {
        const driver = { consensus, log: this.#log, checked: this.#checked, disk: parts.disk, clock };
        replicator = new Replicator({ ...callbacks, ...driver });
        return replicator;
      },
      firstTransactions: parts.firstTransactions,
      epochMaker: parts.epochMaker,
      snapshots: { ...this.#opening(), nodeId: parts.nodeId, salt, disk: parts.disk },
      beginning,
      approval: parts.approval,
      arrived: {
        nodeId: parts.nodeId,
        crypto,
        openEpoch: parts.openEpoch,
        carriesService: parts.carriesService,
        canOpen: (epoch) => this.epochKeys.keyOf(epoch) !== undefined,
        open: (batch) => this.sealing.open(batch),
      },
      keyOf: (epoch) => this.epochKeys.keyOf(epoch),
      onGovernance: (change) => this.#followGovernance(change),
      onChallenge: (challenge) => this.#selfAttestation.answer(challenge, this.administration.constitution, networkId),
      onFatal: parts.onFatal,
    });
    this.evidence = new EvidenceMaker({ askTee: parts.askTee, clock, tracer: parts.tracer });
    this.#selfAttestation = new SelfAttestation({
      ...{ nodeId: parts.nodeId, clock, crypto: parts.governanceCrypto, evidence: this.evidence },
      ...{ committed: () => this.administration.committed, batchTime: () => this.sealing.batchTime() },
      tracer: parts.tracer,
      leaseIsGood: () => this.manager.leases.own === "good",
      deliver: (evidence) => this.#toLeader({ type: "attest", ...evidence }),
    });
    this.recovery = new RecoveryDesk({
      ...{ nodeId: parts.nodeId, networkId, randomBytes, tail: this.tail, tracer: parts.tracer },
      crypto: parts.governanceCrypto,
      constitution: () => this.administration.constitution,
      now: () => clock.wallTime(),
      recovering: () => consensus.status().recovering,
      resume: () => replicator?.resume(),
    });
  }

  #followGovernance(change: GovernanceChange | undefined): void {
    this.epochKeys.refresh();
    this.manager.leases.follow();
    this.#parts.onGovernance(change);
    this.#selfAttestation.governanceChanged();
  }

  /** Brings a frame to the leader, this node or another; it is lost when there is none. */
  #toLeader(frame: Frame): void {
    const { leader } = this.manager.status;
    if (leader === this.#parts.nodeId) this.manager.frame(leader, encodeFrame(frame));
    else if (leader !== undefined) this.#parts.peers.send(leader, encodeFrame(frame));
  }

  /** Forgets every key: the node stops. */
  close(): void {
    this.manager.stop();
    this.#selfAttestation.close();
    this.evidence.close();
    this.epochKeys.close();
  }

  #opening(): SnapshotOpening {
    const { networkId, crypto, openEpoch } = this.#parts;
    const epochKeyOf: SnapshotOpening["epochKeyOf"] = (epoch, state) => {
      const record = state.epochs[epoch - 1];
      return record && openEpoch(record);
    };
    return { networkId, crypto, epochKeyOf };
  }

  #createConsensus(beginning: Beginning | undefined): Consensus {
    const { nodeId, genesis, content, clock, randomBytes, tookPart, sizes } = this.#parts;
    const appendBytes = sizes?.appendBytes ?? APPEND_BYTES_MAX;
    const snapshot = beginning?.snapshot;
    if (snapshot !== undefined) {
      this.tail.restore(snapshot.tail);
      this.administration.restore(snapshot.state, snapshot.mark.index, snapshot.mark.configurationIndex);
    }
    const { damage } = content;
    const entries = content.entriesFrom((snapshot?.mark.index ?? 0) + 1);
    // What is left of a damaged ledger ends before the snapshot: it goes on behind it.
    if (snapshot !== undefined && damage !== undefined && damage.index <= snapshot.mark.index)
      this.#parts.disk.persist({ id: 0, snapshot: snapshot.mark, entries: [] }, () => undefined);
    const options: RaftOptions = {
      id: nodeId,
      initial: genesisConfiguration(genesis),
      configurationOf: configurationOfBatch,
      random: () => uniform(randomBytes(4)),
      mayLead: () =>
        this.administration.publicKeyOf(nodeId) !== undefined &&
        !this.manager.waitsForKeys &&
        this.manager.leases.mayLead,
      electionTimeoutMinMs: ELECTION_TIMEOUT_MIN_MS,
      electionTimeoutMaxMs: ELECTION_TIMEOUT_MAX_MS,
      heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
      maxAppendBytes: appendBytes,
      maxInflightAppends: APPENDS_IN_FLIGHT_MAX,
      maxInflightBytes: APPENDS_IN_FLIGHT_MAX * appendBytes,
      windowBytes: sizes?.windowBytes ?? LOG_WINDOW_BYTES,
      hardState: content.hardState,
      tookPart,
      // A vote may have changed it: what the newest constitution of the disk says counts.
      trustDisk: () => this.administration.constitution.settings.trustDisk,
      damaged: damage && { index: damage.lastIndex, term: damage.lastTerm },
      restored: { snapshot: snapshot?.mark, entries: this.#verified(entries) },
      now: clock.now(),
    };
    const consensus = genesis.settings.consensus === "solo" ? new Solo(options) : new Raft(options);
    if (consensus.status().recovering) {
      const message = "no vote before this node has caught up with a live leader";
      this.#parts.tracer.event("warn", "recovering", { message });
    }
    return consensus;
  }

  /** The disk is not trusted: every batch is verified as if it came from a peer, while consensus reads the log. */
  *#verified(entries: Iterable<LogEntry>): Generator<LogEntry> {
    for (const entry of entries) {
      try {
        this.#verifyStored(entry);
      } catch (error) {
        if (error instanceof CocoError && error.code !== "ConstitutionInvalid" && error.code !== "MalformedInput")
          throw error;
        const { index } = entry;
        throw new CocoError("LedgerCorrupt", `batch ${index} of the ledger does not hold`, { index }, { cause: error });
      }
      yield entry;
    }
  }

  #verifyStored(entry: LogEntry): void {
    const batch = parseBatch(entry.data);
    if (entry.index === 1) this.#checkNetwork(batch);
    this.#log.append(batch);
    // Consensus keeps the newest entries: they are handed out as these very objects.
    this.#checked.add(entry.data);
  }

  /** Whether a ledger begins with the genesis of another network, and really does: signed by a node that genesis lists. */
  #checkNetwork(batch: ParsedBatch): void {
    const { networkId, crypto, governanceCrypto } = this.#parts;
    const [first] = batch.transactions;
    const state =
      first && executeAdministrative(undefined, decodeAdministrative(first.publicPart), batch.header, governanceCrypto);
    if (state === undefined || state.networkId === networkId) return;
    const nodes = new Map(state.constitution.nodes.map((node) => [node.nodeId, node.publicKey]));
    verifyBatch(batch, new LedgerTail(crypto.sha256), (nodeId) => nodes.get(nodeId), crypto);
    const message = `the ledger belongs to network ${state.networkId}, not ${networkId}`;
    throw new CocoError("FolderOfAnotherNetwork", message);
  }
}

/** A number in [0, 1) of four random bytes. */
function uniform(bytes: Bytes): number {
  return new ByteReader(bytes).u32() / 0x100000000;
}
