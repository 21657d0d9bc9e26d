/**
 * Receipts: proof for anyone, offline, that a transaction is in the ledger of a service. JSON in CCF's shape: signature of
 * a node over a Merkle root, the path from the transaction's leaf to that root, the parts of the leaf, and the node's
 * certificate. The verifier folds the path; its last step gives the 64 bytes whose SHA-256 is the signed root, so an
 * ordinary ECDSA/SHA-256 verifier does the rest. The commit evidence is the part only a committed transaction shows.
 */
import { fromBase64, toBase64 } from "../codec/base64.ts";
import { asciiBytes } from "../codec/ascii.ts";
import { type Bytes, fromHex, type HashFunction, toHex } from "../codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { ParsedBatch } from "./batch-format.ts";
import { commitEvidenceOf } from "./batch.ts";
import { signatureFromDer, signatureToDer } from "./ecdsa-der.ts";
import type { LedgerCrypto, LedgerKeys } from "./keys.ts";
import { leafOf, signatureLeaf, writeSetDigestOf } from "./leaf.ts";
import { type PathStep, rootFromPath, stepPreimage } from "./merkle-tree.ts";
import type { LeavesOf, LedgerTail } from "./tail.ts";

/** One step of {@link Receipt.proof}: a sibling in hex. */
export type ReceiptStep = { readonly left: string } | { readonly right: string };

/** The three parts of a transaction's leaf. */
export interface LeafComponents {
  /** Hex. */
  readonly write_set_digest: string;
  /** `ce:<view>.<seqno>:<nonce>` */
  readonly commit_evidence: string;
  /** Hex; zeros when the transaction claims nothing. */
  readonly claims_digest: string;
}

/** A receipt as JSON, with CCF's field names. Has `leaf_components`, or `leaf` for a signature transaction. */
export interface Receipt {
  /** Base64 of the DER signature over the root. */
  readonly signature: string;
  /** Certificate of the node that signed, PEM. */
  readonly cert: string;
  /** Hex SHA-256 of the node's public key. */
  readonly node_id: string;
  /** From the leaf to the root. */
  readonly proof: readonly ReceiptStep[];
  readonly leaf_components?: LeafComponents;
  readonly leaf?: string;
  /** `view.seqno`; repeats what the commit evidence says. */
  readonly transaction_id?: string;
  /** Certificates (PEM) that lead from the service identity at the transaction to the present one. */
  readonly service_endorsements?: readonly string[];
}

/** What {@link makeReceipt} works on. */
export interface ReceiptInput {
  /** The batch that holds the transaction, committed and verified. */
  readonly batch: ParsedBatch;
  /** Position in the batch; `header.count` is the signature transaction. */
  readonly position: number;
  readonly tail: LedgerTail;
  readonly keys: LedgerKeys;
  readonly crypto: LedgerCrypto;
  /** Certificate of the batch's signer, PEM. */
  readonly certificate: string;
  readonly serviceEndorsements?: readonly string[];
  /** Gives leaves of compacted blocks (`tail.missingLeaves`); needed for transactions of the compacted past. */
  readonly leavesOf?: LeavesOf;
}

/** What {@link verifyReceipt} needs. */
export interface ReceiptPorts {
  readonly sha256: HashFunction;
  /** ECDSA P-256 with SHA-256; `signature` is r ‖ s, `publicKey` a SubjectPublicKeyInfo in DER. */
  verify(publicKey: Bytes, data: Bytes, signature: Bytes): boolean;
  /**
   * The public key (SubjectPublicKeyInfo, DER) of a node certificate that the trusted service certificate endorses,
   * directly or through `endorsements`; else undefined.
   */
  checkNodeCertificate(certificate: string, endorsements: readonly string[]): Bytes | undefined;
}

/** What a valid receipt proves. */
export interface VerifiedReceipt {
  /** `view.seqno`; undefined for a signature transaction, whose receipt does not say it. */
  readonly transactionId: string | undefined;
  /** The signed Merkle root. */
  readonly root: Bytes;
  /** 32 bytes, zeros when the transaction claims nothing; undefined for a signature transaction. */
  readonly claimsDigest: Bytes | undefined;
  /** Hex id of the node that signed. */
  readonly nodeId: string;
}

/** Longest proof that is read. */
export const MAX_PROOF_STEPS = 64;
/** Longest certificate that is read, in characters. */
export const MAX_CERTIFICATE_LENGTH = 16 * 1024;
/** Most service endorsements that are read. */
export const MAX_ENDORSEMENTS = 256;

const DIGEST_LENGTH = 32;
const DIGEST_HEX = /^[0-9a-f]{64}$/;
const COMMIT_EVIDENCE = /^ce:([1-9][0-9]{0,15}\.[1-9][0-9]{0,15}):[0-9a-f]{64}$/;

/**
 * The receipt of one transaction. The caller answers for that the batch is committed. Throws `NotReady` without the key of
 * the batch's epoch.
 */
export function makeReceipt(input: ReceiptInput): Receipt {
  const { batch, position, tail, keys, crypto } = input;
  const { header } = batch;
  invariant(position >= 0 && position <= header.count, "position within the batch");
  const steps = tail.path(header.firstSeqno + position, header.firstSeqno + header.count, input.leavesOf);
  const common = {
    signature: toBase64(signatureToDer(batch.signature)),
    cert: input.certificate,
    node_id: toHex(header.signer),
    proof: steps.map(
      (step): ReceiptStep => ("left" in step ? { left: toHex(step.left) } : { right: toHex(step.right) }),
    ),
    ...(input.serviceEndorsements === undefined ? {} : { service_endorsements: input.serviceEndorsements }),
  };
  const transaction = batch.transactions[position];
  if (transaction === undefined) {
    const { headerBytes, publicSection, sealedSection } = batch;
    return { ...common, leaf: toHex(signatureLeaf(headerBytes, publicSection, sealedSection, crypto.sha256)) };
  }
  const leafComponents: LeafComponents = {
    write_set_digest: toHex(writeSetDigestOf(transaction.publicPart, transaction.privateCommitment, crypto.sha256)),
    commit_evidence: commitEvidenceOf(batch, position, keys, crypto),
    claims_digest: toHex(transaction.claimsDigest ?? new Uint8Array(DIGEST_LENGTH)),
  };
  return {
    ...common,
    leaf_components: leafComponents,
    transaction_id: `${header.view}.${header.firstSeqno + position}`,
  };
}

function invalid(problem: string): CocoError {
  return new CocoError("ReceiptInvalid", `receipt: ${problem}`);
}

type Fields = Readonly<Record<string, unknown>>;

function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A JSON object with no other fields than those named. */
function fieldsOf(value: unknown, name: string, known: readonly string[]): Fields {
  if (!isRecord(value)) throw invalid(`${name} is not an object`);
  for (const field of Object.keys(value))
    if (!known.includes(field)) throw invalid(`${name} has the unknown field ${field.slice(0, 40)}`);
  return value;
}

function textOf(fields: Fields, name: string, limit: number): string {
  const value = fields[name];
  if (typeof value !== "string" || value.length > limit)
    throw invalid(`${name} is not a text of at most ${limit} characters`);
  return value;
}

function digestOf(fields: Fields, name: string): Bytes {
  const text = textOf(fields, name, 2 * DIGEST_LENGTH);
  if (!DIGEST_HEX.test(text)) throw invalid(`${name} is not a digest in lower-case hex`);
  return fromHex(text);
}

function readProof(value: unknown): readonly PathStep[] {
  if (!Array.isArray(value) || value.length < 1 || value.length > MAX_PROOF_STEPS) {
    throw invalid(`proof is not a list of 1 to ${MAX_PROOF_STEPS} steps`);
  }
  return value.map((step: unknown): PathStep => {
    const fields = fieldsOf(step, "a step of the proof", ["left", "right"]);
    if (Object.keys(fields).length !== 1) throw invalid("a step of the proof has not one side");
    return "left" in fields ? { left: digestOf(fields, "left") } : { right: digestOf(fields, "right") };
  });
}

function readEndorsements(value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_ENDORSEMENTS) throw invalid("service_endorsements is not a list");
  return value.map((certificate: unknown) => textOf({ certificate }, "certificate", MAX_CERTIFICATE_LENGTH));
}

/** Leaf digest of a receipt, and what its parts say. */
type Claim = Pick<VerifiedReceipt, "transactionId" | "claimsDigest"> & { readonly leaf: Bytes };

function readClaim(fields: Fields, sha256: HashFunction): Claim {
  if (fields["leaf"] !== undefined) {
    if ("leaf_components" in fields || "transaction_id" in fields) throw invalid("leaf stands beside parts of a leaf");
    return { leaf: digestOf(fields, "leaf"), transactionId: undefined, claimsDigest: undefined };
  }
  const parts = fieldsOf(fields["leaf_components"], "leaf_components", [
    "write_set_digest",
    "commit_evidence",
    "claims_digest",
  ]);
  const evidence = textOf(parts, "commit_evidence", 128);
  const transactionId = readCommitEvidence(evidence);
  const { transaction_id: repeated = transactionId } = fields;
  if (repeated !== transactionId) throw invalid("transaction_id is not the one of the commit evidence");
  const claimsDigest = digestOf(parts, "claims_digest");
  const leaf = leafOf(digestOf(parts, "write_set_digest"), sha256(asciiBytes(evidence)), claimsDigest, sha256);
  return { leaf, transactionId, claimsDigest };
}

/** The transaction id in a commit evidence. Throws `ReceiptInvalid` when it has another form. */
export function readCommitEvidence(evidence: string): string {
  const transactionId = COMMIT_EVIDENCE.exec(evidence)?.[1];
  if (transactionId === undefined) throw invalid("commit evidence has not the form ce:<view>.<seqno>:<nonce>");
  return transactionId;
}

function readSignature(fields: Fields): Bytes {
  try {
    return signatureFromDer(fromBase64(textOf(fields, "signature", 128)));
  } catch (error) {
    throw new CocoError("ReceiptInvalid", "receipt: signature is not base64 of a DER signature", {}, { cause: error });
  }
}

const FIELDS = [
  "signature",
  "cert",
  "node_id",
  "proof",
  "leaf_components",
  "leaf",
  "transaction_id",
  "service_endorsements",
];

/**
 * Checks a receipt, decoded from JSON, and returns what it proves. Throws `ReceiptInvalid` naming what is wrong. Whether
 * the claims digest is the one expected is for the caller to compare.
 */
export function verifyReceipt(receipt: unknown, ports: ReceiptPorts): VerifiedReceipt {
  const fields = fieldsOf(receipt, "it", FIELDS);
  const { leaf, transactionId, claimsDigest } = readClaim(fields, ports.sha256);
  const path = readProof(fields["proof"]);
  const last = path.at(-1);
  if (last === undefined) throw invalid("proof is empty");
  const preimage = stepPreimage(rootFromPath(leaf, path.slice(0, -1), ports.sha256), last);
  const signature = readSignature(fields);
  const nodeId = textOf(fields, "node_id", 2 * DIGEST_LENGTH);
  const endorsements = readEndorsements(fields["service_endorsements"]);
  const publicKey = ports.checkNodeCertificate(textOf(fields, "cert", MAX_CERTIFICATE_LENGTH), endorsements);
  if (publicKey === undefined) throw invalid("the service does not endorse the certificate of the node");
  if (toHex(ports.sha256(publicKey)) !== nodeId) throw invalid("node_id does not belong to the certificate");
  if (!ports.verify(publicKey, preimage, signature)) throw invalid("signature over the Merkle root does not fit");
  return { transactionId, root: ports.sha256(preimage), claimsDigest, nodeId };
}
