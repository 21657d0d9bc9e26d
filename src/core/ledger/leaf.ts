/**
 * The leaf of a transaction in the Merkle tree, in CCF's three-part shape:
 *
 *   leaf            = SHA-256(write set digest ‖ SHA-256(commit evidence) ‖ claims digest, zeros when there is none)
 *   write set digest = SHA-256(private commitment, zeros when there is nothing private ‖ public part)
 *   private commitment = SHA-256(blinding ‖ request id length u8 ‖ request id ‖ private part)
 *   commit evidence = ASCII `ce:<view>.<seqno>:<hex of a 32-byte nonce>`
 *
 * The nonce leaves the enclave only once the transaction is committed, and the blinding only to open that transaction.
 * Hashing is most of what a leaf costs: messages of one length are hashed by one call (digest-run.ts).
 */
import { asciiBytes } from "../codec/ascii.ts";
import { type Bytes, type HashFunction, utf8Decode } from "../codec/bytes.ts";
import { Scratch } from "../codec/scratch.ts";
import { WordView } from "../codec/word-view.ts";
import {
  HEADER_LENGTH,
  type ParsedBatch,
  PrivateSection,
  type PrivateTransaction,
  PublicSection,
  type PublicTransaction,
} from "./batch-format.ts";
import { DigestRun } from "./digest-run.ts";

const DIGEST = 32;
/** Secrets of one transaction: 32 bytes nonce, then 32 bytes blinding. */
export const SECRETS_LENGTH = 2 * DIGEST;
const ZERO_DIGEST = new Uint8Array(DIGEST);
/** The two hexadecimal digits of each byte, as one number. */
const HEX_PAIRS = Uint16Array.from({ length: 256 }, (_, byte) => {
  const [high = 0, low = 0] = asciiBytes(byte.toString(16).padStart(2, "0"));
  return (high << 8) | low;
});
const ZERO = 0x30;
const COLON = 0x3a;
const MAX_INTEGER_32 = 0x7fffffff;

/** Input of a hash call, filled anew before each: a call reads its input and keeps nothing of it. */
const leafInput = new Uint8Array(3 * DIGEST);

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

/** Leaf digest of a batch's signature transaction; through it the root authenticates every byte of the batch before the root. */
export function signatureLeaf(
  headerBytes: Bytes,
  publicSection: Bytes,
  sealedSection: Bytes,
  sha256: HashFunction,
): Bytes {
  const input = new Uint8Array(HEADER_LENGTH + 2 * DIGEST);
  input.set(headerBytes, 0);
  input.set(sha256(publicSection), HEADER_LENGTH);
  input.set(sha256(sealedSection), HEADER_LENGTH + DIGEST);
  return sha256(input);
}

/** What the leaves of a batch are made of. */
type LeafBytes = Pick<ParsedBatch, "header" | "headerBytes" | "publicSection" | "sealedSection">;

/** Copies a digest from a place, or zeros where there is none (a negative place). */
function copyOptional(source: WordView, from: number, target: WordView, at: number): void {
  if (from < 0) target.bytes.fill(0, at, at + DIGEST);
  else source.copyDigest(from, target, at);
}

/** Digests of which others are made, each for one batch at a time. */
const [writeSets, commitments, evidences] = [new Scratch(), new Scratch(), new Scratch()];

/** Digests of the writes of all transactions of a batch, valid until the next call. */
function writeSetDigests({ header, publicSection }: LeafBytes, sha256: HashFunction): Bytes {
  const run = new DigestRun(sha256, writeSets.take(header.count * DIGEST));
  const source = new WordView(publicSection);
  const section = new PublicSection(publicSection, header.epoch);
  for (let position = 0; position < header.count; position++) {
    section.next();
    const at = run.next(DIGEST + section.partLength);
    copyOptional(source, section.commitmentAt, run.room, at);
    source.copy(section.partAt, section.partLength, run.room, at + DIGEST);
  }
  return run.finish();
}

/** All leaves of a batch, 32 bytes each, that of its signature transaction last; the sections must be well formed. */
export function batchLeaves(batch: LeafBytes, sha256: HashFunction): Bytes {
  const { header, headerBytes, publicSection, sealedSection } = batch;
  const [source, digests] = [new WordView(publicSection), new WordView(writeSetDigests(batch, sha256))];
  // The last place is for the signature leaf.
  const run = new DigestRun(sha256, new Uint8Array((header.count + 1) * DIGEST));
  const section = new PublicSection(publicSection, header.epoch);
  for (let position = 0; position < header.count; position++) {
    section.next();
    const at = run.next(3 * DIGEST);
    digests.copyDigest(position * DIGEST, run.room, at);
    source.copyDigest(section.evidenceAt, run.room, at + DIGEST);
    copyOptional(source, section.claimsAt, run.room, at + 2 * DIGEST);
  }
  section.end();
  const leaves = run.finish();
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

/** Where the nonce of a transaction's commit evidence stands in the secrets of its batch. */
function nonceAt(position: number): number {
  return SECRETS_LENGTH * position;
}

/** Where the blinding of a transaction stands in the secrets of its batch. */
export function blindingAt(position: number): number {
  return nonceAt(position) + DIGEST;
}

/**
 * Commitments to what the plaintext of a sealed section holds, one for each transaction that holds anything there, valid until
 * the next call.
 * @param secrets nonces and blindings of the batch
 */
export function privateCommitments(secrets: Bytes, plaintext: Bytes, count: number, sha256: HashFunction): Bytes {
  const run = new DigestRun(sha256, commitments.take(count * DIGEST));
  const [source, blindings] = [new WordView(plaintext), new WordView(secrets)];
  const section = new PrivateSection(plaintext);
  for (let position = 0; position < count; position++) {
    section.next();
    if (!section.hasContent) continue;
    const idEnd = DIGEST + 1 + section.idLength;
    const at = run.next(idEnd + section.partLength);
    blindings.copyDigest(blindingAt(position), run.room, at);
    // The length stands right before the request id.
    source.copy(section.idAt - 1, section.idLength + 1, run.room, at + DIGEST);
    source.copy(section.partAt, section.partLength, run.room, at + idEnd);
  }
  return run.finish();
}

/** Digits of a number in decimal. */
function decimalLength(value: number): number {
  let length = 1;
  for (let bound = 10; value >= bound; bound *= 10) length++;
  return length;
}

/** Writes a number in so many decimal digits. */
function writeDecimal(target: Uint8Array, start: number, length: number, value: number): void {
  let rest = value;
  let at = start + length - 1;
  for (; rest > MAX_INTEGER_32; at--) {
    target[at] = ZERO + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  // Arithmetic of 32 bits is several times faster.
  for (let small = rest | 0; at >= start; at--) {
    target[at] = ZERO + (small % 10);
    small = (small / 10) | 0;
  }
}

/** Places of transactions: the view of their batch, and the first of them. */
type EvidencePlace = Pick<ParsedBatch["header"], "view" | "firstSeqno">;

/** Writes the commit evidence of the transactions of a batch. */
class EvidenceWriter {
  readonly #firstSeqno: number;
  readonly #secrets: Bytes;
  /** What all of them begin with. */
  readonly #front: Bytes;

  constructor({ view, firstSeqno }: EvidencePlace, secrets: Bytes) {
    this.#firstSeqno = firstSeqno;
    this.#secrets = secrets;
    this.#front = asciiBytes(`ce:${view}.`);
  }

  /** Bytes of the commit evidence of the transaction at a position. */
  lengthOf(position: number): number {
    return this.#front.length + decimalLength(this.#firstSeqno + position) + 1 + 2 * DIGEST;
  }

  /** Writes it to a place. */
  write(position: number, { bytes, view }: WordView, start: number): void {
    const front = this.#front;
    const secrets = this.#secrets;
    const seqno = this.#firstSeqno + position;
    for (let offset = 0; offset < front.length; offset++) bytes[start + offset] = front[offset] as number;
    let at = start + front.length;
    const digits = decimalLength(seqno);
    writeDecimal(bytes, at, digits, seqno);
    at += digits;
    bytes[at++] = COLON;
    const from = nonceAt(position);
    for (let offset = 0; offset < DIGEST; offset++)
      view.setUint16(at + 2 * offset, HEX_PAIRS[secrets[from + offset] as number] as number);
  }
}

/**
 * Digests of the commit evidence of all transactions of a batch, valid until the next call.
 * @param secrets nonces and blindings of the batch
 */
export function evidenceDigests(header: ParsedBatch["header"], secrets: Bytes, sha256: HashFunction): Bytes {
  const run = new DigestRun(sha256, evidences.take(header.count * DIGEST));
  const evidence = new EvidenceWriter(header, secrets);
  for (let position = 0; position < header.count; position++) {
    const at = run.next(evidence.lengthOf(position));
    evidence.write(position, run.room, at);
  }
  return run.finish();
}

/** The commit evidence of the transaction at a position of a batch. */
export function commitEvidenceText(place: EvidencePlace, secrets: Bytes, position: number): string {
  const evidence = new EvidenceWriter(place, secrets);
  const bytes = new Uint8Array(evidence.lengthOf(position));
  evidence.write(position, new WordView(bytes), 0);
  return utf8Decode(bytes);
}
