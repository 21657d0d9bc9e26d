/**
 * The leaf of a transaction in the Merkle tree, in CCF's three-part shape:
 *
 *   leaf            = SHA-256(write set digest ‖ SHA-256(commit evidence) ‖ claims digest, zeros when there is none)
 *   write set digest = SHA-256(private commitment, zeros when there is nothing private ‖ public part)
 *   private commitment = SHA-256(blinding ‖ request id length u8 ‖ request id ‖ private part)
 *   commit evidence = ASCII `ce:<view>.<seqno>:<hex of a 32-byte nonce>`
 *
 * The nonce leaves the enclave only once the transaction is committed, and the blinding only to open that transaction.
 * Each digest is one hash call over one buffer: hashing is most of what a leaf costs.
 */
import { type Bytes, type HashFunction, utf8Decode } from "../codec/bytes.ts";
import { invariant } from "../../errors.ts";
import { type ParsedBatch, type PrivateTransaction, type PublicTransaction, signatureLeaf } from "./batch-format.ts";

const DIGEST = 32;
const ZERO_DIGEST = new Uint8Array(DIGEST);
const HEX_DIGITS = asciiBytes("0123456789abcdef");
const COLON = 0x3a;
/** Longest transaction id: two safe integers and a point. */
const MAX_ID_LENGTH = 33;
const EVIDENCE_PREFIX = asciiBytes("ce:");
/** Longer inputs of a commitment get an array of their own, which costs little beside hashing them. */
const COMMITMENT_SCRATCH_BYTES = 4096;

// Inputs of hash calls, filled anew before each: a call reads its input and keeps nothing of it. The views on them are kept,
// since one call after the other needs the same length.
const leafInput = new Uint8Array(3 * DIGEST);
const commitmentInput = new Uint8Array(COMMITMENT_SCRATCH_BYTES);
const evidenceInput = new Uint8Array(EVIDENCE_PREFIX.length + MAX_ID_LENGTH + 1 + 2 * DIGEST);
evidenceInput.set(EVIDENCE_PREFIX, 0);
let commitmentView = commitmentInput;
let evidenceView = evidenceInput;

/** The scratch room of a commitment of this length. */
function commitmentRoom(length: number): Uint8Array {
  if (length > commitmentInput.length) return new Uint8Array(length);
  if (commitmentView.length !== length) commitmentView = commitmentInput.subarray(0, length);
  return commitmentView;
}

/** Digest of a transaction's writes. */
export function writeSetDigestOf(publicPart: Bytes, privateCommitment: Bytes | undefined, sha256: HashFunction): Bytes {
  const commitment = privateCommitment ?? ZERO_DIGEST;
  if (publicPart.length === 0) return sha256(commitment);
  const input = new Uint8Array(DIGEST + publicPart.length);
  input.set(commitment, 0);
  input.set(publicPart, DIGEST);
  return sha256(input);
}

/** Leaf digest of a transaction from its three parts. */
export function leafOf(
  writeSetDigest: Bytes,
  commitEvidenceDigest: Bytes,
  claimsDigest: Bytes | undefined,
  sha256: HashFunction,
): Bytes {
  leafInput.set(writeSetDigest, 0);
  leafInput.set(commitEvidenceDigest, DIGEST);
  leafInput.set(claimsDigest ?? ZERO_DIGEST, 2 * DIGEST);
  return sha256(leafInput);
}

/** Leaf digest of a transaction from what everyone can see of it. */
export function transactionLeaf(transaction: PublicTransaction, sha256: HashFunction): Bytes {
  const writeSetDigest = writeSetDigestOf(transaction.publicPart, transaction.privateCommitment, sha256);
  return leafOf(writeSetDigest, transaction.commitEvidenceDigest, transaction.claimsDigest, sha256);
}

/** All leaves of a batch, that of its signature transaction last: what `LeavesOf` of tail.ts is made of for old batches. */
export function batchLeaves(batch: ParsedBatch, sha256: HashFunction): Bytes[] {
  const leaves = batch.transactions.map((transaction) => transactionLeaf(transaction, sha256));
  leaves.push(signatureLeaf(batch.headerBytes, batch.publicSection, batch.sealedSection, sha256));
  return leaves;
}

/** Whether a transaction has anything that must be committed to and sealed. */
export function hasPrivate(transaction: PrivateTransaction): boolean {
  return transaction.id.length > 0 || transaction.privatePart.length > 0;
}

/** Commitment to request id and private part under a 32-byte blinding. */
export function privateCommitmentOf(
  blinding: Bytes,
  { id, privatePart }: PrivateTransaction,
  sha256: HashFunction,
): Bytes {
  const length = DIGEST + 1 + id.length + privatePart.length;
  const input = commitmentRoom(length);
  input.set(blinding, 0);
  input[DIGEST] = id.length;
  input.set(id, DIGEST + 1);
  input.set(privatePart, DIGEST + 1 + id.length);
  return sha256(input);
}

/** Writes the commit evidence of a transaction id `view.seqno` as a view that is valid until the next call. */
function writeEvidence(transactionId: string, nonce: Bytes): Bytes {
  invariant(transactionId.length <= MAX_ID_LENGTH && nonce.length === DIGEST, "lengths of commit evidence");
  let at = EVIDENCE_PREFIX.length;
  for (let position = 0; position < transactionId.length; position++)
    evidenceInput[at++] = transactionId.charCodeAt(position);
  evidenceInput[at++] = COLON;
  for (let position = 0; position < DIGEST; position++) {
    const byte = nonce[position] as number;
    evidenceInput[at++] = HEX_DIGITS[byte >> 4] as number;
    evidenceInput[at++] = HEX_DIGITS[byte & 15] as number;
  }
  if (evidenceView.length !== at) evidenceView = evidenceInput.subarray(0, at);
  return evidenceView;
}

/** Digest of the commit evidence of a transaction id `view.seqno` with a 32-byte nonce. */
export function commitEvidenceDigestOf(transactionId: string, nonce: Bytes, sha256: HashFunction): Bytes {
  return sha256(writeEvidence(transactionId, nonce));
}

/** The commit evidence of a transaction id `view.seqno`. */
export function commitEvidenceText(transactionId: string, nonce: Bytes): string {
  return utf8Decode(writeEvidence(transactionId, nonce));
}

/** Bytes of a text that is known to be ASCII. */
export function asciiBytes(text: string): Bytes {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
