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
import { type Bytes, copyShort, type HashFunction, hashInto, utf8Decode } from "../codec/bytes.ts";
import {
  type ParsedBatch,
  type PrivateSection,
  type PrivateTransaction,
  PublicSection,
  type PublicTransaction,
  signatureLeaf,
} from "./batch-format.ts";

const DIGEST = 32;
const ZERO_DIGEST = new Uint8Array(DIGEST);
const HEX_DIGITS = asciiBytes("0123456789abcdef");
const ZERO = 0x30;
const POINT = 0x2e;
const COLON = 0x3a;
/** Longest transaction id: two safe integers and a point. */
const MAX_ID_LENGTH = 33;
const EVIDENCE_PREFIX = asciiBytes("ce:");
/** Longer inputs of a commitment get an array of their own, which costs little beside hashing them. */
const COMMITMENT_SCRATCH_BYTES = 4096;

// Inputs of hash calls, filled anew before each: a call reads its input and keeps nothing of it. The views on them are kept,
// since one call after the other needs the same length.
const leafInput = new Uint8Array(3 * DIGEST);
const commitmentOnly = new Uint8Array(DIGEST);
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

/** What the leaves of a batch are made of. */
type LeafBytes = Pick<ParsedBatch, "header" | "headerBytes" | "publicSection" | "sealedSection">;

/** Writes the leaf of the transaction at which a public section stands. */
function writeLeaf(section: PublicSection, sha256: HashFunction, leaves: Uint8Array, at: number): void {
  const { bytes, partAt, partLength, commitmentAt, evidenceAt, claimsAt } = section;
  const input = partLength === 0 ? commitmentOnly : new Uint8Array(DIGEST + partLength);
  if (commitmentAt < 0) input.fill(0, 0, DIGEST);
  else copyShort(input, 0, bytes, commitmentAt, DIGEST);
  if (partLength > 0) input.set(bytes.subarray(partAt, partAt + partLength), DIGEST);
  hashInto(sha256, input, leafInput, 0);
  copyShort(leafInput, DIGEST, bytes, evidenceAt, DIGEST);
  if (claimsAt < 0) leafInput.fill(0, 2 * DIGEST);
  else copyShort(leafInput, 2 * DIGEST, bytes, claimsAt, DIGEST);
  hashInto(sha256, leafInput, leaves, at);
}

/** All leaves of a batch, 32 bytes each, that of its signature transaction last; the sections must be well formed. */
export function batchLeaves(batch: LeafBytes, sha256: HashFunction): Bytes {
  const { header, headerBytes, publicSection, sealedSection } = batch;
  const leaves = new Uint8Array((header.count + 1) * DIGEST);
  const section = new PublicSection(publicSection, header.epoch);
  for (let position = 0; position < header.count; position++) {
    section.next();
    writeLeaf(section, sha256, leaves, position * DIGEST);
  }
  section.end();
  leaves.set(signatureLeaf(headerBytes, publicSection, sealedSection, sha256), header.count * DIGEST);
  return leaves;
}

/** One of the leaves of a batch, as bytes of its own. */
export function leafAt(leaves: Bytes, position: number): Bytes {
  return leaves.slice(position * DIGEST, (position + 1) * DIGEST);
}

/** Whether a transaction has anything that must be committed to and sealed. */
export function hasPrivate(transaction: PrivateTransaction): boolean {
  return transaction.id.length > 0 || transaction.privatePart.length > 0;
}

/**
 * Writes the commitment to what a private section holds of one transaction into `target`.
 * @param secrets the 32-byte blinding stands there, from `blindingAt` on
 * @param section stands at the transaction
 * @param part the transaction's private part, which the section has as well
 */
export function writePrivateCommitment(
  secrets: Bytes,
  blindingAt: number,
  section: PrivateSection,
  part: Bytes,
  sha256: HashFunction,
  target: Uint8Array,
): void {
  const idEnd = DIGEST + 1 + section.idLength;
  const input = commitmentRoom(idEnd + part.length);
  copyShort(input, 0, secrets, blindingAt, DIGEST);
  // The length stands right before the request id.
  copyShort(input, DIGEST, section.bytes, section.idAt - 1, 1 + section.idLength);
  input.set(part, idEnd);
  hashInto(sha256, input, target, 0);
}

/** Writes a number in decimal digits and returns the place behind them. */
function writeDecimal(start: number, value: number): number {
  let end = start + 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) end++;
  let rest = value;
  for (let at = end - 1; at >= start; at--) {
    evidenceInput[at] = ZERO + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  return end;
}

/** A transaction id, and the bytes in which its 32-byte nonce stands, from `nonceAt` on. */
export interface EvidenceParts {
  readonly view: number;
  readonly seqno: number;
  readonly secrets: Bytes;
  readonly nonceAt: number;
}

/** Writes commit evidence as a view that is valid until the next call. */
function writeEvidence(view: number, seqno: number, secrets: Bytes, nonceAt: number): Bytes {
  let at = writeDecimal(EVIDENCE_PREFIX.length, view);
  evidenceInput[at++] = POINT;
  at = writeDecimal(at, seqno);
  evidenceInput[at++] = COLON;
  for (let position = nonceAt; position < nonceAt + DIGEST; position++) {
    const byte = secrets[position] as number;
    evidenceInput[at++] = HEX_DIGITS[byte >> 4] as number;
    evidenceInput[at++] = HEX_DIGITS[byte & 15] as number;
  }
  if (evidenceView.length !== at) evidenceView = evidenceInput.subarray(0, at);
  return evidenceView;
}

/** Writes the digest of a transaction's commit evidence into `target`. */
export function writeEvidenceDigest(
  { view, seqno, secrets, nonceAt }: EvidenceParts,
  sha256: HashFunction,
  target: Uint8Array,
): void {
  hashInto(sha256, writeEvidence(view, seqno, secrets, nonceAt), target, 0);
}

/** The commit evidence of a transaction. */
export function commitEvidenceText({ view, seqno, secrets, nonceAt }: EvidenceParts): string {
  return utf8Decode(writeEvidence(view, seqno, secrets, nonceAt));
}

/** Bytes of a text that is known to be ASCII. */
export function asciiBytes(text: string): Bytes {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
