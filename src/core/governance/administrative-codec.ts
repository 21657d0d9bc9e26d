/**
 * Administrative transactions and their bytes, which are the public part of their ledger entries. What they do to the governance
 * state is in administrative.ts.
 */
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { fromHex, type Bytes } from "../codec/bytes.ts";
import type { Configuration, NodeId } from "../consensus/types.ts";
import { attestTree, readAttest, type AttestTransaction } from "./attest.ts";
import type { ChallengeTransaction } from "./challenges.ts";
import { configurationTree, readConfiguration } from "./configuration.ts";
import { decodeConstitution, encodeConstitution } from "./constitution-codec.ts";
import { MAX_CONSTITUTION_BYTES, MAX_NODES, type Constitution } from "./constitution.ts";
import {
  MAX_GRANT_KEYS,
  MAX_SEALED_SERVICE_KEY_BYTES,
  MAX_WRAPPED_KEY_BYTES,
  type GrantedKey,
  type WrappedKey,
} from "./epochs.ts";
import { expelTree, readExpel, type ExpelTransaction } from "./expulsion.ts";
import { readDocument, treeToCbor, type FieldContext, type FieldReader, type FieldTree } from "./fields.ts";
import { quarantineTree, readQuarantine, type QuarantineTransaction } from "./leases.ts";
import type { SignedMessage } from "./proposal.ts";
import { readMessage } from "./proposal-codec.ts";
import { MAX_SERVICE_CERTIFICATE_BYTES, readCrossCertificate, type OfferedService } from "./service-chain.ts";
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
  /** One per listed validating node that is not quarantined, in the order of the VN list. */
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
  | ExpelTransaction
  | QuarantineTransaction
  | ChallengeTransaction;

const CONTEXT: FieldContext = { form: "cbor", code: "MalformedInput" };
const TYPES = [
  ...(["genesis", "epoch", "request", "resolve", "configure", "snapshot"] as const),
  ...(["grant", "attest", "expel", "quarantine", "challenge"] as const),
] satisfies readonly AdministrativeTransaction["type"][];
/** Types of earlier versions that are not read any more. */
const RETIRED_TYPES: readonly string[] = ["decision", "approveCode"];
const TYPE_TEXT = { max: 32, pattern: /^[a-zA-Z]+$/ };
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
    case "quarantine":
      return { type, ...quarantineTree(transaction) };
    case "challenge":
      return { type };
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

/** A type that never was one is of a later version: what the transaction does is not known, so nothing behind it is either. */
function readType(fields: FieldReader): AdministrativeTransaction["type"] {
  const name = fields.text("type", TYPE_TEXT);
  const type = TYPES.find((known) => known === name);
  if (type !== undefined) return type;
  const message = `an administrative transaction of type ${name}, expected one of: ${TYPES.join(", ")}`;
  throw new CocoError(RETIRED_TYPES.includes(name) ? "MalformedInput" : "LedgerTooNew", message, { type: name });
}

function readTransaction(fields: FieldReader): AdministrativeTransaction {
  const type = readType(fields);
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
    case "quarantine":
      return { type, ...readQuarantine(fields) };
    case "challenge":
      return { type };
  }
}

/**
 * Reads the binary form; throws `MalformedInput`, `ConstitutionInvalid` for the constitution inside, or `LedgerTooNew` for a
 * type that this program does not know.
 */
export function decodeAdministrative(bytes: Bytes): AdministrativeTransaction {
  if (bytes.length > MAX_ADMINISTRATIVE_BYTES)
    throw new CocoError("LimitExceeded", "administrative transaction is too large");
  return readDocument(decodeCbor(bytes), CONTEXT, readTransaction);
}
