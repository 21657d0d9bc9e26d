/**
 * The network constitution (R5): the whole of network policy as one typed, versioned document.
 *
 * This file holds its words and limits; constitution-codec.ts reads and writes it, constitution-check.ts holds the rules
 * that span fields. The digest of version 1, the genesis constitution, is the network id.
 */
import type { Bytes } from "../codec/bytes.ts";
import type { NodeId, QuorumPolicy } from "../consensus/types.ts";
import type { JsonValue } from "./json-value.ts";
import type { CodeEntry, TeeEntry } from "./manifest-entries.ts";
import { DEFAULT_EXPIRY_MS, type VotingPolicies } from "./policy.ts";

/** Largest constitution in its binary form, in bytes. */
export const MAX_CONSTITUTION_BYTES = 4 * 1024 * 1024;
/** Largest constitution in its JSON form, in characters. */
export const MAX_CONSTITUTION_JSON_LENGTH = 4 * MAX_CONSTITUTION_BYTES;
/** Most members and participants together. */
export const MAX_ACTORS = 1000;
/** Most validating nodes in the VN list: as many voters as consensus counts. */
export const MAX_NODES = 64;
/** Most entries of the code manifest, and of the TEE manifest. */
export const MAX_MANIFEST_ENTRIES = 1000;
/** Most adapters of one network. */
export const MAX_ADAPTERS = 16;
/** Largest id of an adapter: ids of all networks' adapters have two bytes in the ledger. */
export const MAX_ADAPTER_ID = 65_535;
/** Most certificates of one actor at a time. */
export const MAX_ACTOR_CERTIFICATES = 8;
/** Most lists of revoked certificates (CRLs) of one actor. */
export const MAX_ACTOR_REVOCATIONS = 8;
/** Largest list of revoked certificates, DER, in bytes. */
export const MAX_REVOCATIONS_BYTES = 64 * 1024;
/** Most requests per minute a restriction may allow. */
export const MAX_REQUESTS_PER_MINUTE = 1_000_000_000;
/** Longest script of a constitution, in UTF-16 units. */
export const MAX_SCRIPT_LENGTH = 256 * 1024;
/** Length of an X25519 public key in bytes. */
export const ENCRYPTION_KEY_BYTES = 32;

/** What a network lets a participant do: nothing, or so many requests per minute. */
export type Restriction =
  | { readonly type: "banned" }
  | { readonly type: "limited"; readonly requestsPerMinute: number };

/** An organisation in the network: members govern and transact (R1), participants transact (R2). */
export interface Actor {
  readonly id: string;
  readonly name: string;
  readonly role: "member" | "participant";
  /**
   * X.509 certificates of the organisation, DER: at least one. Each speaks for the actor; a CA certificate also speaks for its
   * staff (R3). Several at a time let keys roll over while the id stays.
   */
  readonly certificates: readonly Bytes[];
  /** Lists of revoked certificates (CRLs), DER, each signed by one of the CA certificates. */
  readonly revocations: readonly Bytes[];
  /** Of participants only; absent: none. */
  readonly restriction?: Restriction;
}

/** What the owner of a validating node signs (R6). */
export interface NodeTuple {
  /** Hex SHA-256 of `publicKey`. */
  readonly nodeId: NodeId;
  /** `host:port` at which other validating nodes reach it. */
  readonly address: string;
  /** `host:port` at which clients reach it. */
  readonly clientAddress: string;
  /** P-256 public key generated in the enclave, SubjectPublicKeyInfo DER. */
  readonly publicKey: Bytes;
  /** X25519 public key generated in the enclave, 32 bytes. */
  readonly encryptionKey: Bytes;
}

/** One entry of the VN list. */
export interface NodeEntry extends NodeTuple {
  /** Id of the owning actor. */
  readonly owner: string;
  /** COSE Sign1 by the owner over the tuple and the network name. */
  readonly signature: Bytes;
}

/** When epochs end, and how long old keys stay in memory. */
export interface EpochSettings {
  /** Longest life of an epoch in milliseconds of the ledger's clock; 0: time ends no epoch. */
  readonly lengthMs: number;
  /** Transactions after which an epoch ends; 0: their number ends no epoch. */
  readonly transactions: number;
  /** How long the key of an epoch that has ended stays in memory, in milliseconds. */
  readonly keyCacheMs: number;
}

/**
 * How many nodes must agree: a policy of consensus, or `perActor`, where a majority of the actors that own nodes must agree,
 * each by a majority of its own.
 */
export type QuorumSetting =
  | Extract<QuorumPolicy, { readonly type: "majority" | "flexible" }>
  | { readonly type: "perActor" };

/** Settings every validating node follows. */
export interface NetworkSettings {
  /** The protocol that orders batches: `solo` runs on exactly one node and replicates to nobody. */
  readonly consensus: "raft" | "solo";
  /** How many voters must agree; has to fit the VN list. */
  readonly quorum: QuorumSetting;
  /**
   * Whether a node that restarts trusts its own disk. False where a host may put back an older disk: then a node that took
   * part does not vote after a restart before it has caught up.
   */
  readonly trustDisk: boolean;
  readonly epoch: EpochSettings;
  readonly snapshot: {
    /** Transactions between two snapshots; 0: none are made. */
    readonly everyTransactions: number;
  };
  /** A batch closes at these limits at the latest. */
  readonly maxBatch: { readonly transactions: number; readonly bytes: number };
  /** How long a batch waits for more requests when the disk is idle; trades latency for throughput. */
  readonly maxDelayMs: number;
  /** When a write is answered: after it is durable on a quorum, or as soon as the leader has executed it. */
  readonly answerAfter: "commit" | "execution";
  /** Most validating nodes one actor may own; 0: no bound but that of the VN list. */
  readonly nodesPerActor: number;
  /**
   * How long evidence of a node counts, in milliseconds of the ledger's clock, before the node is quarantined; 0 or absent,
   * as in networks founded before there were leases: without end.
   */
  readonly leaseMs?: number;
}

/** A protocol that runs on the network. */
export interface AdapterEntry {
  /** Stands in the ledger; never reused for another protocol. */
  readonly id: number;
  readonly name: string;
  readonly version: string;
  /** HTTP path prefix, such as `/eth`. */
  readonly mount: string;
  readonly options: JsonValue;
}

/** The network constitution. */
export interface Constitution {
  /** Governance version: 1 at genesis, one more with each accepted change. */
  readonly version: number;
  readonly network: {
    readonly name: string;
    /** Whether requests of adapters are served; a network that is not open takes governance only. */
    readonly open: boolean;
  };
  readonly actors: readonly Actor[];
  readonly nodes: readonly NodeEntry[];
  readonly codeManifest: readonly CodeEntry[];
  readonly teeManifest: readonly TeeEntry[];
  readonly policies: VotingPolicies;
  /** JavaScript that judges proposals where a policy says so. */
  readonly script?: string;
  readonly settings: NetworkSettings;
  readonly adapters: readonly AdapterEntry[];
  /** Highest id an adapter ever had, once one was removed: ids stand in the ledger, and are never given again. */
  readonly lastAdapterId?: number;
}

/** Settings of a network that names none. */
export const DEFAULT_SETTINGS: NetworkSettings = {
  consensus: "raft",
  quorum: { type: "majority" },
  trustDisk: true,
  epoch: { lengthMs: 86_400_000, transactions: 0, keyCacheMs: 60_000 },
  snapshot: { everyTransactions: 100_000 },
  maxBatch: { transactions: 1000, bytes: 1024 * 1024 },
  maxDelayMs: 0,
  answerAfter: "commit",
  nodesPerActor: 0,
  leaseMs: 86_400_000,
};

/** Policies of a network that names none: a majority of all members, within a week. */
export const DEFAULT_POLICIES: VotingPolicies = {
  default: { rule: { type: "majority" }, expiresAfterMs: DEFAULT_EXPIRY_MS, deliberationMs: 0, delayMs: 0 },
  actions: {},
};

/** Pattern of actor ids, network names and adapter names: they stand in paths, certificates and logs. */
export const IDENTIFIER = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/;
