/**
 * Administrative transactions (R10, R16): signed or derived changes of the network itself, in the one order of the ledger.
 *
 * Every validating node decodes and executes them itself before it acknowledges them; execution is pure, so all come to
 * the same state or all refuse. The public part of such a transaction in the ledger is exactly its encoding.
 */
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { fromHex, toHex, type Bytes } from "../codec/bytes.ts";
import type { Configuration, NodeId } from "../consensus/types.ts";
import {
  attestedOf,
  attestTree,
  executeAttest,
  readAttest,
  type AttestationState,
  type AttestTransaction,
} from "./attest.ts";
import { checkNextConfiguration, configurationTree, genesisConfiguration, readConfiguration } from "./configuration.ts";
import { constitutionDigest, decodeConstitution, encodeConstitution } from "./constitution-codec.ts";
import { MAX_CONSTITUTION_BYTES, MAX_NODES, type Constitution } from "./constitution.ts";
import { verifyConstitution } from "./constitution-verify.ts";
import { departingNodes } from "./departing-nodes.ts";
import {
  checkEpoch,
  grantKeys,
  MAX_GRANT_KEYS,
  MAX_SEALED_SERVICE_KEY_BYTES,
  MAX_WRAPPED_KEY_BYTES,
  withoutStrangers,
  type BatchPlace,
  type EpochRecord,
  type EpochsState,
  type GrantedKey,
  type WrappedKey,
} from "./epochs.ts";
import { expelTree, expulsionEffect, readExpel, type ExpelTransaction } from "./expulsion.ts";
import { readDocument, treeToCbor, type FieldContext, type FieldReader, type FieldTree } from "./fields.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import type { SignedMessage } from "./proposal.ts";
import { readMessage } from "./proposal-codec.ts";
import { executeRequest, type ProposalsState } from "./proposal-requests.ts";
import { refused } from "./refusal.ts";
import { settleProposal, type SettledState } from "./settle.ts";
import {
  MAX_SERVICE_CERTIFICATE_BYTES,
  nextServices,
  readCrossCertificate,
  type OfferedService,
  type ServiceState,
} from "./service-chain.ts";
import { CocoError } from "../../errors.ts";

/** Largest encoded administrative transaction, in bytes. */
export const MAX_ADMINISTRATIVE_BYTES = MAX_CONSTITUTION_BYTES + 1024;

/** Starts the network. */
export interface GenesisTransaction {
  readonly type: "genesis";
  readonly constitution: Constitution;
}

/** Opens an epoch; with a new service identity when somebody lost access since the one before. */
export interface EpochTransaction extends OfferedService {
  readonly type: "epoch";
  /** 1 for the first epoch, one more with each. */
  readonly epoch: number;
  /** One per listed validating node, in the order of the VN list. */
  readonly wraps: readonly WrappedKey[];
  /** The service's private key, sealed under the epoch key. */
  readonly sealedServiceKey: Bytes;
}

/** A member's signed request: a proposal, a ballot, a withdrawal, automatic votes. */
export interface RequestTransaction extends SignedMessage {
  readonly type: "request";
}

/** Settles a proposal whose time has come, or that another change has moved. */
export interface ResolveTransaction {
  readonly type: "resolve";
  readonly proposalId: string;
}

/** Takes the next step of a change of voters. */
export interface ConfigureTransaction extends Configuration {
  readonly type: "configure";
}

/** Evidence of a snapshot: whoever has its content can check it against the ledger. */
export interface SnapshotTransaction {
  readonly type: "snapshot";
  /** Index of the last batch the snapshot holds. */
  readonly index: number;
  /** Sequence number of that batch's signature transaction. */
  readonly seqno: number;
  /** Evidence digest, 32 bytes; the same on every node. */
  readonly digest: Bytes;
  /** Size of the snapshot in bytes. */
  readonly bytes: number;
}

/** Hands a node the keys of epochs that were opened before it was listed. */
export interface GrantTransaction {
  readonly type: "grant";
  readonly nodeId: NodeId;
  readonly keys: readonly GrantedKey[];
}

/** Any administrative transaction. */
export type AdministrativeTransaction =
  | GenesisTransaction
  | EpochTransaction
  | RequestTransaction
  | ResolveTransaction
  | ConfigureTransaction
  | SnapshotTransaction
  | GrantTransaction
  | AttestTransaction
  | ExpelTransaction;

/** The constitution in force. */
export interface StandingConstitution {
  /** Lower-case hex SHA-256 of the genesis constitution. */
  readonly networkId: string;
  readonly constitution: Constitution;
  readonly constitutionDigest: Bytes;
}

/** What administrative transactions have made of the network. */
export interface GovernanceState
  extends StandingConstitution,
    EpochsState,
    ServiceState,
    AttestationState,
    Omit<ProposalsState, "attested"> {
  /** Epochs so far; the last one is in force. */
  readonly epochs: readonly EpochRecord[];
  /** Who takes part in consensus. */
  readonly configuration: Configuration;
  /** An epoch is to be opened, because members voted for it or somebody lost access. */
  readonly epochDue: boolean;
  /** Newest evidence of a snapshot. */
  readonly snapshot: Pick<SnapshotTransaction, "index" | "seqno" | "digest"> | undefined;
}

const CONTEXT: FieldContext = { form: "cbor", code: "MalformedInput" };
const POSITIVE = { min: 1, max: Number.MAX_SAFE_INTEGER };

function transactionTree(transaction: AdministrativeTransaction): FieldTree {
  const { type } = transaction;
  switch (type) {
    case "genesis":
      return { type, constitution: encodeConstitution(transaction.constitution) };
    case "epoch": {
      const { epoch, serviceCertificate, endorsement, backEndorsement, sealedServiceKey } = transaction;
      const wraps = transaction.wraps.map(({ nodeId, wrapped }) => ({ nodeId: fromHex(nodeId), wrapped }));
      return { type, epoch, wraps, serviceCertificate, endorsement, backEndorsement, sealedServiceKey };
    }
    case "request":
      return { type, message: transaction.message, chain: transaction.chain };
    case "resolve":
      return { type, proposalId: fromHex(transaction.proposalId) };
    case "configure":
      return { type, ...configurationTree(transaction) };
    case "snapshot": {
      const { index, seqno, digest, bytes } = transaction;
      return { type, index, seqno, digest, bytes };
    }
    case "grant":
      return {
        type,
        nodeId: fromHex(transaction.nodeId),
        keys: transaction.keys.map(({ epoch, wrapped }) => ({ epoch, wrapped })),
      };
    case "attest":
      return { type, ...attestTree(transaction) };
    case "expel":
      return { type, ...expelTree(transaction) };
  }
}

/** The binary form of a transaction: the public part of its ledger entry. */
export function encodeAdministrative(transaction: AdministrativeTransaction): Bytes {
  return encodeCbor(treeToCbor(transactionTree(transaction)));
}

function readEpoch(fields: FieldReader): EpochTransaction {
  const endorsement = readCrossCertificate(fields, "endorsement");
  const backEndorsement = readCrossCertificate(fields, "backEndorsement");
  return {
    type: "epoch",
    epoch: fields.integer("epoch", POSITIVE),
    wraps: fields.list("wraps", MAX_NODES, (wrap) => ({
      nodeId: wrap.hex("nodeId", 32),
      wrapped: wrap.bytes("wrapped", { max: MAX_WRAPPED_KEY_BYTES }),
    })),
    serviceCertificate: fields.certificate("serviceCertificate", MAX_SERVICE_CERTIFICATE_BYTES),
    ...(endorsement && { endorsement }),
    ...(backEndorsement && { backEndorsement }),
    sealedServiceKey: fields.bytes("sealedServiceKey", { max: MAX_SEALED_SERVICE_KEY_BYTES }),
  };
}

function readTransaction(fields: FieldReader): AdministrativeTransaction {
  const later = ["configure", "snapshot", "grant", "attest", "expel"] as const;
  const type = fields.choice("type", ["genesis", "epoch", "request", "resolve", ...later]);
  switch (type) {
    case "genesis":
      return { type, constitution: decodeConstitution(fields.bytes("constitution", { max: MAX_CONSTITUTION_BYTES })) };
    case "epoch":
      return readEpoch(fields);
    case "request":
      return { type, ...readMessage(fields) };
    case "resolve":
      return { type, proposalId: fields.hex("proposalId", 32) };
    case "configure":
      return { type, ...readConfiguration(fields) };
    case "snapshot":
      return {
        type,
        index: fields.integer("index", POSITIVE),
        seqno: fields.integer("seqno", POSITIVE),
        digest: fields.bytes("digest", { length: 32 }),
        bytes: fields.integer("bytes", POSITIVE),
      };
    case "grant":
      return {
        type,
        nodeId: fields.hex("nodeId", 32),
        keys: fields.list("keys", MAX_GRANT_KEYS, (key) => ({
          epoch: key.integer("epoch", POSITIVE),
          wrapped: key.bytes("wrapped", { max: MAX_WRAPPED_KEY_BYTES }),
        })),
      };
    case "attest":
      return { type, ...readAttest(fields) };
    case "expel":
      return { type, ...readExpel(fields) };
  }
}

/** Reads the binary form; throws `MalformedInput`, or `ConstitutionInvalid` for the constitution inside. */
export function decodeAdministrative(bytes: Bytes): AdministrativeTransaction {
  if (bytes.length > MAX_ADMINISTRATIVE_BYTES)
    throw new CocoError("LimitExceeded", "administrative transaction is too large");
  return readDocument(decodeCbor(bytes), CONTEXT, readTransaction);
}

/**
 * Executes a transaction on the state before it (undefined before genesis) and returns the state after it; `place` is its
 * batch's. Throws `ConstitutionInvalid` or `ProposalInvalid` and changes nothing when it does not hold.
 */
export function executeAdministrative(
  state: GovernanceState | undefined,
  transaction: AdministrativeTransaction,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): GovernanceState {
  if (transaction.type === "genesis") return executeGenesis(state, transaction.constitution, crypto);
  if (state === undefined) throw refused("BeforeGenesis", "the first transaction of a network is its genesis");
  switch (transaction.type) {
    case "epoch":
      return executeEpoch(state, transaction, place, crypto);
    case "request": {
      const { message, chain } = transaction;
      return enacted(executeRequest(state, { message, chain }, place, crypto), crypto);
    }
    case "resolve":
      return enacted(executeResolve(state, transaction.proposalId, place, crypto), crypto);
    case "configure":
      return executeConfigure(state, transaction);
    case "snapshot":
      return executeSnapshot(state, transaction, place);
    case "grant":
      return { ...state, epochs: grantKeys(state, transaction.nodeId, transaction.keys) };
    case "attest":
      return { ...state, attested: executeAttest(state, transaction, place.timeMs, crypto) };
    case "expel":
      return enacted({ state, effect: expulsionEffect(state, transaction, place.timeMs) }, crypto);
  }
}

function executeGenesis(
  state: GovernanceState | undefined,
  constitution: Constitution,
  crypto: GovernanceCrypto,
): GovernanceState {
  if (state !== undefined) throw refused("SecondGenesis", "the network has its genesis already");
  if (constitution.version !== 1)
    throw new CocoError("ConstitutionInvalid", "version: a genesis constitution has version 1", { field: "version" });
  verifyConstitution(constitution, crypto);
  const digest = constitutionDigest(constitution, crypto.sha256);
  return {
    networkId: toHex(digest),
    constitution,
    constitutionDigest: digest,
    epochs: [],
    services: [],
    serviceRotationDue: false,
    configuration: genesisConfiguration(constitution),
    epochDue: false,
    snapshot: undefined,
    departing: [],
    proposals: [],
    recentRequests: [],
    automaticVotes: [],
    attested: new Map(),
  };
}

function executeEpoch(
  state: GovernanceState,
  transaction: EpochTransaction,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): GovernanceState {
  checkEpoch(state, transaction, place);
  const { epoch, wraps, sealedServiceKey } = transaction;
  const services = nextServices(state, transaction, place.firstSeqno, crypto);
  const opened = { openedAtMs: place.timeMs, openedAtSeqno: place.firstSeqno };
  const epochs = [...withoutStrangers(state), { epoch, wraps, sealedServiceKey, ...opened }];
  return { ...state, epochs, services, serviceRotationDue: false, epochDue: false, departing: [] };
}

function executeResolve(
  state: GovernanceState,
  proposalId: string,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): SettledState<GovernanceState> {
  const settled = settleProposal(state, proposalId, place.timeMs, crypto);
  if (settled.state === state) throw refused("NothingToResolve", `proposal ${proposalId} stands as it stood`);
  return settled;
}

/** The state with what a proposal has brought about, if it took effect. */
function enacted({ state, effect }: SettledState<GovernanceState>, crypto: GovernanceCrypto): GovernanceState {
  if (effect === undefined) return state;
  const { constitution, opensEpoch, rotatesService } = effect;
  return {
    ...state,
    constitution,
    constitutionDigest: constitutionDigest(constitution, crypto.sha256),
    epochDue: state.epochDue || opensEpoch || rotatesService,
    serviceRotationDue: state.serviceRotationDue || rotatesService,
    departing: departingNodes(state, constitution),
    attested: attestedOf(state.attested, constitution),
  };
}

function executeConfigure(state: GovernanceState, { current, previous, learners }: Configuration): GovernanceState {
  const configuration = { current, previous, learners };
  checkNextConfiguration(state.configuration, configuration, state.constitution);
  return { ...state, configuration };
}

function executeSnapshot(
  state: GovernanceState,
  { index, seqno, digest }: SnapshotTransaction,
  place: BatchPlace,
): GovernanceState {
  const { snapshot } = state;
  if (snapshot !== undefined && (index <= snapshot.index || seqno <= snapshot.seqno))
    throw refused("SnapshotNotNewer", "there is evidence of a newer snapshot");
  // Every batch has a signature transaction of its own, so that sequence numbers are never behind indexes.
  if (index >= place.index || seqno >= place.firstSeqno || seqno < index)
    throw refused("SnapshotOfTheFuture", "evidence is of a snapshot before the batch that holds it");
  return { ...state, snapshot: { index, seqno, digest } };
}

/** Public key (SubjectPublicKeyInfo, DER) of each node whose signature counts: the listed ones and those that are leaving. */
export function signingKeys(state: Pick<GovernanceState, "constitution" | "departing">): Map<NodeId, Bytes> {
  return new Map([...state.departing, ...state.constitution.nodes].map((node) => [node.nodeId, node.publicKey]));
}

/** The place of a transaction that is only tried out: its time counts. */
export function placeAt(timeMs: number): BatchPlace {
  return { index: 1, firstSeqno: 1, timeMs };
}

/** The state with these requests executed in order; those that do not hold change nothing. */
export function withRequests(
  state: GovernanceState,
  messages: readonly SignedMessage[],
  nowMs: number,
  crypto: GovernanceCrypto,
): GovernanceState {
  let after = state;
  for (const message of messages) {
    try {
      after = executeAdministrative(after, { type: "request", ...message }, placeAt(nowMs), crypto);
    } catch (error) {
      if (!(error instanceof CocoError) || error.code === "Internal") throw error;
    }
  }
  return after;
}
