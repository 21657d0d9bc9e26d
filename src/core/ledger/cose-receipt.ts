/**
 * Receipts as COSE Sign1 (RFC 9052) with the verifiable data structure headers of COSE receipts, in CCF's profile of them
 * (verifiable data structure 2, "CCF_LEDGER_SHA256"): protected headers name the algorithm, the service key, who issued it
 * when, and the ledger position whose root is signed; unprotected headers hold one inclusion proof; the payload is detached,
 * since it is the Merkle root that the proof leads to. Signed by the service key, so that the service certificate alone
 * verifies it: no node certificate, no endorsement.
 *
 * Reading is strict: exactly these headers, deterministic CBOR, and a path of the shape that the leaf at the transaction's
 * place has in a tree of that many leaves.
 */
import { type Bytes, EMPTY, type HashFunction, toHex, utf8Encode } from "../codec/bytes.ts";
import { type CborKey, type CborValue, decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { CocoError, invariant } from "../../errors.ts";
import { commitEvidenceOf } from "./batch.ts";
import { leafOf, writeSetDigestOf } from "./leaf.ts";
import { DIGEST_LENGTH, type PathStep, rootFromPath } from "./merkle-tree.ts";
import { MAX_PROOF_STEPS, readCommitEvidence, type ReceiptInput } from "./receipt.ts";

/** Largest COSE receipt that is read, in bytes. */
export const MAX_COSE_RECEIPT_BYTES = 64 * 1024;
/** Longest issuer in a COSE receipt, in characters. */
export const MAX_ISSUER_LENGTH = 256;
/** First byte of every COSE receipt: CBOR tag 18. */
export const COSE_RECEIPT_FIRST_BYTE = 0xd2;

/** Numbers of the headers and claims in a COSE receipt, as registered by IANA or drafted. */
export const COSE_LABELS = {
  algorithm: 1,
  keyId: 4,
  claims: 15,
  claimIssuer: 1,
  claimIssuedAt: 6,
  dataStructure: 395,
  dataStructureProofs: 396,
  inclusionProofs: -1,
  ccf: "ccf.v1",
  ccfTransactionId: "txid",
  proofLeaf: 1,
  proofPath: 2,
} as const;

const SIGN1_TAG = 18;
const ES256 = -7;
const CCF_LEDGER_SHA256 = 2;
const SIGNATURE_LENGTH = 64;
const MAX_ID_LENGTH = 33;
/** Largest number of seconds since 1970 that is a date in ECMAScript. */
const MAX_SECONDS = 8.64e12;
const TRANSACTION_ID = /^([1-9][0-9]{0,15})\.([1-9][0-9]{0,15})$/;

/** What {@link makeCoseReceipt} works on. */
export interface CoseReceiptInput extends Omit<ReceiptInput, "certificate" | "serviceEndorsements"> {
  /** SubjectPublicKeyInfo (DER) of the service. */
  readonly serviceKey: Bytes;
  /** Names the service: the network id in hex. */
  readonly issuer: string;
  /** Signs with the service's key, ECDSA P-256 with SHA-256: 64 bytes r ‖ s. */
  readonly signAsService: (data: Bytes) => Bytes;
}

/** What {@link verifyCoseReceipt} needs. */
export interface CoseReceiptPorts {
  readonly sha256: HashFunction;
  /** ECDSA P-256 with SHA-256; `signature` is r ‖ s, `publicKey` a SubjectPublicKeyInfo in DER. */
  verify(publicKey: Bytes, data: Bytes, signature: Bytes): boolean;
  /** Keys (SubjectPublicKeyInfo, DER) of the service that is trusted: its present one and those that are vouched for. */
  readonly serviceKeys: readonly Bytes[];
}

/** What a valid COSE receipt proves. */
export interface VerifiedCoseReceipt {
  /** `view.seqno` of the transaction. */
  readonly transactionId: string;
  /** `view.seqno` of the signature transaction up to which the root goes. */
  readonly signatureTransactionId: string;
  readonly root: Bytes;
  /** 32 bytes, zeros when the transaction claims nothing. */
  readonly claimsDigest: Bytes;
  /** 32 bytes. */
  readonly writeSetDigest: Bytes;
  readonly issuer: string;
  /** When the batch was made, in seconds since 1970. */
  readonly issuedAt: number;
}

type Headers = ReadonlyMap<CborKey, CborValue>;

function signedBytesOf(protectedHeaders: Bytes, root: Bytes): Bytes {
  return encodeCbor(["Signature1", protectedHeaders, EMPTY, root]);
}

function pairOf(step: PathStep): CborValue {
  return "left" in step ? [true, step.left] : [false, step.right];
}

/**
 * The COSE receipt of one transaction. The caller answers for that the batch is committed. Throws `NotFound` for a signature
 * transaction, which has none, and `NotReady` without the key of the batch's epoch.
 */
export function makeCoseReceipt(input: CoseReceiptInput): Bytes {
  const { batch, position, tail, keys, crypto } = input;
  const { view, firstSeqno, count, timeMs } = batch.header;
  const transaction = batch.transactions[position];
  if (transaction === undefined)
    throw new CocoError("NotFound", "a signature transaction has no COSE receipt; it has one in JSON");
  const { publicPart, privateCommitment, claimsDigest, commitEvidenceDigest } = transaction;
  const writeSetDigest = writeSetDigestOf(publicPart, privateCommitment, crypto.sha256);
  const path = tail.path(firstSeqno + position, firstSeqno + count, input.leavesOf);
  const leaf = leafOf(writeSetDigest, commitEvidenceDigest, claimsDigest, crypto.sha256);
  const root = rootFromPath(leaf, path, crypto.sha256);
  const proof = encodeCbor(
    new Map<number, CborValue>([
      [
        COSE_LABELS.proofLeaf,
        [
          writeSetDigest,
          commitEvidenceOf(batch, position, keys, crypto),
          claimsDigest ?? new Uint8Array(DIGEST_LENGTH),
        ],
      ],
      [COSE_LABELS.proofPath, path.map(pairOf)],
    ]),
  );
  const protectedHeaders = encodeCbor(
    new Map<CborKey, CborValue>([
      [COSE_LABELS.algorithm, ES256],
      [COSE_LABELS.keyId, crypto.sha256(input.serviceKey)],
      [
        COSE_LABELS.claims,
        new Map<number, CborValue>([
          [COSE_LABELS.claimIssuer, input.issuer],
          [COSE_LABELS.claimIssuedAt, Math.floor(timeMs / 1000)],
        ]),
      ],
      [COSE_LABELS.dataStructure, CCF_LEDGER_SHA256],
      [COSE_LABELS.ccf, new Map([[COSE_LABELS.ccfTransactionId, `${view}.${firstSeqno + count}`]])],
    ]),
  );
  const signature = input.signAsService(signedBytesOf(protectedHeaders, root));
  invariant(signature.length === SIGNATURE_LENGTH, "signature must have 64 bytes");
  const proofs = new Map([[COSE_LABELS.inclusionProofs, [proof]]]);
  const unprotectedHeaders = new Map<number, CborValue>([[COSE_LABELS.dataStructureProofs, proofs]]);
  return encodeCbor({ tag: SIGN1_TAG, value: [protectedHeaders, unprotectedHeaders, null, signature] });
}

function invalid(problem: string, cause?: unknown): CocoError {
  return new CocoError("ReceiptInvalid", `receipt: ${problem}`, {}, { cause });
}

function decode(bytes: Bytes, name: string, tags: readonly number[] = []): CborValue {
  try {
    return decodeCbor(bytes, { maxBytes: MAX_COSE_RECEIPT_BYTES, tags });
  } catch (error) {
    throw invalid(`${name} is not deterministic CBOR`, error);
  }
}

/** A map with exactly these keys. */
function mapOf(value: CborValue | undefined, name: string, keys: readonly CborKey[]): Headers {
  if (!(value instanceof Map)) throw invalid(`${name} is not a map`);
  const unknown = [...value.keys()].find((key) => !keys.includes(key));
  if (unknown !== undefined) throw invalid(`${name} has the unknown label ${String(unknown).slice(0, 40)}`);
  const missing = keys.find((key) => !value.has(key));
  if (missing !== undefined) throw invalid(`${name} lacks the label ${missing}`);
  return value;
}

function bytesOf(value: CborValue | undefined, name: string, length?: number): Bytes {
  if (!(value instanceof Uint8Array)) throw invalid(`${name} is not a byte string`);
  if (length !== undefined && value.length !== length) throw invalid(`${name} has not ${length} bytes`);
  return value;
}

function textOf(value: CborValue | undefined, name: string, limit: number): string {
  if (typeof value !== "string" || value.length > limit)
    throw invalid(`${name} is not a text of at most ${limit} characters`);
  return value;
}

function listOf(value: CborValue | undefined, name: string): readonly CborValue[] {
  if (!Array.isArray(value)) throw invalid(`${name} is not a list`);
  return value;
}

interface Message {
  readonly protectedHeaders: Bytes;
  readonly proof: Bytes;
  readonly signature: Bytes;
}

function readMessage(bytes: Bytes): Message {
  const message = decode(bytes, "it", [SIGN1_TAG]);
  const isTagged = typeof message === "object" && message !== null && "tag" in message;
  const items = isTagged ? listOf(message.value, "COSE Sign1") : [];
  if (items.length !== 4) throw invalid("it is not a COSE Sign1 message");
  const [protectedHeaders, unprotectedHeaders, payload, signature] = items;
  if (payload !== null) throw invalid("the payload is not detached");
  const proofs = mapOf(unprotectedHeaders, "unprotected headers", [COSE_LABELS.dataStructureProofs]);
  const inclusion = mapOf(proofs.get(COSE_LABELS.dataStructureProofs), "proofs", [COSE_LABELS.inclusionProofs]);
  const [proof, ...others] = listOf(inclusion.get(COSE_LABELS.inclusionProofs), "inclusion proofs");
  if (others.length > 0) throw invalid("there is more than one inclusion proof");
  return {
    protectedHeaders: bytesOf(protectedHeaders, "protected headers"),
    proof: bytesOf(proof, "inclusion proof"),
    signature: bytesOf(signature, "signature", SIGNATURE_LENGTH),
  };
}

interface ProtectedContent extends Pick<VerifiedCoseReceipt, "issuer" | "issuedAt" | "signatureTransactionId"> {
  readonly keyId: Bytes;
}

function readProtected(bytes: Bytes): ProtectedContent {
  const labels = COSE_LABELS;
  const known = [labels.algorithm, labels.keyId, labels.claims, labels.dataStructure, labels.ccf];
  const headers = mapOf(decode(bytes, "protected headers"), "protected headers", known);
  if (headers.get(labels.algorithm) !== ES256) throw invalid("the algorithm is not ES256");
  if (headers.get(labels.dataStructure) !== CCF_LEDGER_SHA256)
    throw invalid("the verifiable data structure is not CCF_LEDGER_SHA256");
  const claims = mapOf(headers.get(labels.claims), "claims", [labels.claimIssuer, labels.claimIssuedAt]);
  const issuedAt = claims.get(labels.claimIssuedAt);
  if (typeof issuedAt !== "number" || issuedAt < 0 || issuedAt > MAX_SECONDS)
    throw invalid("the time of issue is not a number of seconds");
  const ccf = mapOf(headers.get(labels.ccf), "ccf.v1", [labels.ccfTransactionId]);
  return {
    keyId: bytesOf(headers.get(labels.keyId), "key id", DIGEST_LENGTH),
    issuer: textOf(claims.get(labels.claimIssuer), "issuer", MAX_ISSUER_LENGTH),
    issuedAt,
    signatureTransactionId: textOf(ccf.get(labels.ccfTransactionId), "txid", MAX_ID_LENGTH),
  };
}

function readStep(value: CborValue): PathStep {
  const [isLeft, digest, ...others] = listOf(value, "a step of the proof");
  if (typeof isLeft !== "boolean" || others.length > 0) throw invalid("a step of the proof has not side and digest");
  const sibling = bytesOf(digest, "digest in the proof", DIGEST_LENGTH);
  return isLeft ? { left: sibling } : { right: sibling };
}

interface Proof {
  readonly writeSetDigest: Bytes;
  readonly evidence: string;
  readonly claimsDigest: Bytes;
  readonly path: readonly PathStep[];
}

function readProof(bytes: Bytes): Proof {
  const labels = [COSE_LABELS.proofLeaf, COSE_LABELS.proofPath];
  const map = mapOf(decode(bytes, "inclusion proof"), "inclusion proof", labels);
  const leaf = listOf(map.get(COSE_LABELS.proofLeaf), "leaf");
  if (leaf.length !== 3) throw invalid("leaf has not three parts");
  const [writeSetDigest, evidence, claimsDigest] = leaf;
  const path = listOf(map.get(COSE_LABELS.proofPath), "path");
  if (path.length < 1 || path.length > MAX_PROOF_STEPS) throw invalid(`path has not 1 to ${MAX_PROOF_STEPS} steps`);
  return {
    writeSetDigest: bytesOf(writeSetDigest, "write set digest", DIGEST_LENGTH),
    evidence: textOf(evidence, "commit evidence", 128),
    claimsDigest: bytesOf(claimsDigest, "claims digest", DIGEST_LENGTH),
    path: path.map(readStep),
  };
}

function partsOfId(id: string, name: string): readonly [view: number, seqno: number] {
  const match = TRANSACTION_ID.exec(id);
  const [view, seqno] = [Number(match?.[1]), Number(match?.[2])];
  if (!Number.isSafeInteger(view) || !Number.isSafeInteger(seqno)) throw invalid(`${name} has not the form view.seqno`);
  return [view, seqno];
}

/** Sides of the siblings from the leaf at `position` up to the root over `size` leaves: true for left. */
function sidesOf(position: number, size: number): readonly boolean[] {
  const sides: boolean[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + 2 ** (Math.ceil(Math.log2(end - start)) - 1);
    sides.push(position >= middle);
    if (position < middle) end = middle;
    else start = middle;
  }
  return sides.reverse();
}

function checkShape(path: readonly PathStep[], transactionId: string, signatureTransactionId: string): void {
  const [view, seqno] = partsOfId(transactionId, "commit evidence");
  const [signedView, signedSeqno] = partsOfId(signatureTransactionId, "txid");
  if (view !== signedView || seqno >= signedSeqno)
    throw invalid("txid is not that of a signature after the transaction");
  const sides = sidesOf(seqno - 1, signedSeqno);
  if (sides.length !== path.length || path.some((step, at) => "left" in step !== sides[at]))
    throw invalid("the path is not that of this transaction in a tree of this size");
}

/**
 * Checks a COSE receipt by the service's public key and returns what it proves. Throws `ReceiptInvalid` naming what is
 * wrong. Whether the claims digest is the one expected is for the caller to compare.
 */
export function verifyCoseReceipt(bytes: Bytes, ports: CoseReceiptPorts): VerifiedCoseReceipt {
  if (bytes.length > MAX_COSE_RECEIPT_BYTES) throw invalid(`it has more than ${MAX_COSE_RECEIPT_BYTES} bytes`);
  const { sha256 } = ports;
  const message = readMessage(bytes);
  const { keyId, issuer, issuedAt, signatureTransactionId } = readProtected(message.protectedHeaders);
  const { writeSetDigest, evidence, claimsDigest, path } = readProof(message.proof);
  const serviceKey = ports.serviceKeys.find((key) => toHex(sha256(key)) === toHex(keyId));
  if (serviceKey === undefined) throw invalid("key id is not that of the service");
  const transactionId = readCommitEvidence(evidence);
  checkShape(path, transactionId, signatureTransactionId);
  const leaf = leafOf(writeSetDigest, sha256(utf8Encode(evidence)), claimsDigest, sha256);
  const root = rootFromPath(leaf, path, sha256);
  if (!ports.verify(serviceKey, signedBytesOf(message.protectedHeaders, root), message.signature))
    throw invalid("signature over the Merkle root does not fit");
  return { transactionId, signatureTransactionId, root, claimsDigest, writeSetDigest, issuer, issuedAt };
}
