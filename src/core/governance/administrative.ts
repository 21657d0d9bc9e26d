/**
 * Administrative transactions (R10, R16): signed or derived changes of the network itself, in the one order of the ledger.
 *
 * Every validating node decodes and executes them itself before it acknowledges them; execution is pure, so all come to
 * the same state or all refuse. The public part of such a transaction in the ledger is exactly its encoding.
 */
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { bytesEqual, fromHex, toHex, type Bytes } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import { judgeCodeApproval, readCodeApproval, type CodeApproval, type StandingConstitution } from "./code-approval.ts";
import { constitutionDigest, decodeConstitution, encodeConstitution } from "./constitution-codec.ts";
import { MAX_CERTIFICATE_BYTES, MAX_CONSTITUTION_BYTES, MAX_NODES, type Constitution } from "./constitution.ts";
import { verifyConstitution } from "./constitution-verify.ts";
import { readDocument, treeToCbor, type FieldContext, type FieldReader, type FieldTree } from "./fields.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { CocoError } from "../../errors.ts";

/** Largest encoded administrative transaction, in bytes. */
export const MAX_ADMINISTRATIVE_BYTES = MAX_CONSTITUTION_BYTES + 1024;
/** Largest wrapped epoch key, and largest sealed service key, in bytes. */
export const MAX_WRAPPED_KEY_BYTES = 1024;

/** The epoch key, encrypted to one validating node. */
export interface WrappedKey {
  readonly nodeId: NodeId;
  readonly wrapped: Bytes;
}

/** An epoch as its transaction opened it (R26). */
export interface EpochRecord {
  /** 1 for the first epoch, one more with each. */
  readonly epoch: number;
  /** One per listed validating node, in the order of the VN list. */
  readonly wraps: readonly WrappedKey[];
  /** The service's private key, sealed under the epoch key. */
  readonly sealedServiceKey: Bytes;
}

/** Starts the network. */
export interface GenesisTransaction {
  readonly type: "genesis";
  readonly constitution: Constitution;
}

/** Opens an epoch. */
export interface EpochTransaction extends EpochRecord {
  readonly type: "epoch";
  /** The service certificate in force in this epoch, DER. */
  readonly serviceCertificate: Bytes;
}

/** Adds a measurement to the code manifest. */
export interface ApproveCodeTransaction {
  readonly type: "approveCode";
  readonly bundle: CodeApproval;
}

/** Any administrative transaction. */
export type AdministrativeTransaction = GenesisTransaction | EpochTransaction | ApproveCodeTransaction;

/** What administrative transactions have made of the network. */
export interface GovernanceState extends StandingConstitution {
  /** Epochs so far; the last one is in force. */
  readonly epochs: readonly EpochRecord[];
  /** Certificate of the service, DER; undefined before the first epoch. */
  readonly serviceCertificate: Bytes | undefined;
}

const CONTEXT: FieldContext = { form: "cbor", code: "MalformedInput" };

function transactionTree(transaction: AdministrativeTransaction): FieldTree {
  switch (transaction.type) {
    case "genesis":
      return { type: "genesis", constitution: encodeConstitution(transaction.constitution) };
    case "epoch":
      return {
        type: "epoch",
        epoch: transaction.epoch,
        wraps: transaction.wraps.map(({ nodeId, wrapped }) => ({ nodeId: fromHex(nodeId), wrapped })),
        serviceCertificate: transaction.serviceCertificate,
        sealedServiceKey: transaction.sealedServiceKey,
      };
    case "approveCode":
      return {
        type: "approveCode",
        bundle: { proposal: transaction.bundle.proposal, ballots: transaction.bundle.ballots },
      };
  }
}

/** The binary form of a transaction: the public part of its ledger entry. */
export function encodeAdministrative(transaction: AdministrativeTransaction): Bytes {
  return encodeCbor(treeToCbor(transactionTree(transaction)));
}

function readTransaction(fields: FieldReader): AdministrativeTransaction {
  const type = fields.choice("type", ["genesis", "epoch", "approveCode"]);
  switch (type) {
    case "genesis":
      return { type, constitution: decodeConstitution(fields.bytes("constitution", { max: MAX_CONSTITUTION_BYTES })) };
    case "epoch":
      return {
        type,
        epoch: fields.integer("epoch", { min: 1, max: Number.MAX_SAFE_INTEGER }),
        wraps: fields.list("wraps", MAX_NODES, (wrap) => ({
          nodeId: wrap.hex("nodeId", 32),
          wrapped: wrap.bytes("wrapped", { max: MAX_WRAPPED_KEY_BYTES }),
        })),
        serviceCertificate: fields.certificate("serviceCertificate", MAX_CERTIFICATE_BYTES),
        sealedServiceKey: fields.bytes("sealedServiceKey", { max: MAX_WRAPPED_KEY_BYTES }),
      };
    case "approveCode":
      return { type, bundle: fields.record("bundle", readCodeApproval) };
  }
}

/** Reads the binary form; throws `MalformedInput`, or `ConstitutionInvalid` for the constitution inside. */
export function decodeAdministrative(bytes: Bytes): AdministrativeTransaction {
  if (bytes.length > MAX_ADMINISTRATIVE_BYTES)
    throw new CocoError("LimitExceeded", "administrative transaction is too large");
  return readDocument(decodeCbor(bytes), CONTEXT, readTransaction);
}

/**
 * Executes a transaction on the state before it (undefined before genesis) and returns the state after it.
 * Throws `ConstitutionInvalid` or `ProposalInvalid` and changes nothing when it does not hold.
 */
export function executeAdministrative(
  state: GovernanceState | undefined,
  transaction: AdministrativeTransaction,
  crypto: GovernanceCrypto,
): GovernanceState {
  if (transaction.type === "genesis") return executeGenesis(state, transaction.constitution, crypto);
  if (state === undefined) throw refused("BeforeGenesis", "the first transaction of a network is its genesis");
  return transaction.type === "epoch"
    ? executeEpoch(state, transaction, crypto)
    : executeApproval(state, transaction.bundle, crypto);
}

function refused(reason: string, message: string): CocoError {
  return new CocoError("ProposalInvalid", message, { reason });
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
    serviceCertificate: undefined,
  };
}

function executeEpoch(
  state: GovernanceState,
  transaction: EpochTransaction,
  crypto: GovernanceCrypto,
): GovernanceState {
  const { epoch, wraps, serviceCertificate, sealedServiceKey } = transaction;
  if (epoch !== state.epochs.length + 1)
    throw refused("EpochNumber", `epoch ${epoch} does not follow epoch ${state.epochs.length}`);
  const { nodes } = state.constitution;
  const complete = wraps.length === nodes.length && nodes.every((node, at) => wraps[at]?.nodeId === node.nodeId);
  if (!complete)
    throw refused("EpochWraps", "an epoch key is wrapped to each validating node, in the order of the VN list");
  if (crypto.certificateKey(serviceCertificate) === undefined)
    throw refused("ServiceCertificate", "expected a certificate with a P-256 key");
  // A new service identity needs the endorsement of the one before; without one only the same certificate may follow.
  if (state.serviceCertificate !== undefined && !bytesEqual(state.serviceCertificate, serviceCertificate)) {
    throw refused("ServiceCertificate", "the service certificate is not the one in force");
  }
  return { ...state, epochs: [...state.epochs, { epoch, wraps, sealedServiceKey }], serviceCertificate };
}

function executeApproval(state: GovernanceState, bundle: CodeApproval, crypto: GovernanceCrypto): GovernanceState {
  const constitution = judgeCodeApproval(state, bundle, crypto);
  return { ...state, constitution, constitutionDigest: constitutionDigest(constitution, crypto.sha256) };
}
