/**
 * The leaf of a transaction in the Merkle tree, in CCF's three-part shape:
 *
 *   leaf            = SHA-256(write set digest ‖ SHA-256(commit evidence) ‖ claims digest, zeros when there is none)
 *   write set digest = SHA-256(SHA-256(public part) ‖ private commitment, zeros when there is nothing private)
 *   private commitment = SHA-256(blinding ‖ SHA-256(request id length u8 ‖ request id ‖ private part))
 *   commit evidence = ASCII `ce:<view>.<seqno>:<hex of a 32-byte nonce>`
 *
 * The nonce leaves the enclave only once the transaction is committed, and the blinding only to open that transaction.
 */
import { type Bytes, type HashFunction, toHex } from "../codec/bytes.ts";
import type { PrivateTransaction, PublicTransaction } from "./batch-format.ts";

const DIGEST = 32;

/** Digest of a transaction's writes. */
export function writeSetDigestOf(publicPart: Bytes, privateCommitment: Bytes | undefined, sha256: HashFunction): Bytes {
  const input = new Uint8Array(2 * DIGEST);
  input.set(sha256(publicPart), 0);
  if (privateCommitment !== undefined) input.set(privateCommitment, DIGEST);
  return sha256(input);
}

/** Leaf digest of a transaction from its three parts. */
export function leafOf(
  writeSetDigest: Bytes,
  commitEvidenceDigest: Bytes,
  claimsDigest: Bytes | undefined,
  sha256: HashFunction,
): Bytes {
  const input = new Uint8Array(3 * DIGEST);
  input.set(writeSetDigest, 0);
  input.set(commitEvidenceDigest, DIGEST);
  if (claimsDigest !== undefined) input.set(claimsDigest, 2 * DIGEST);
  return sha256(input);
}

/** Leaf digest of a transaction from what everyone can see of it. */
export function transactionLeaf(transaction: PublicTransaction, sha256: HashFunction): Bytes {
  const writeSetDigest = writeSetDigestOf(transaction.publicPart, transaction.privateCommitment, sha256);
  return leafOf(writeSetDigest, transaction.commitEvidenceDigest, transaction.claimsDigest, sha256);
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
  const content = new Uint8Array(1 + id.length + privatePart.length);
  content[0] = id.length;
  content.set(id, 1);
  content.set(privatePart, 1 + id.length);
  const input = new Uint8Array(2 * DIGEST);
  input.set(blinding, 0);
  input.set(sha256(content), DIGEST);
  return sha256(input);
}

/** The commit evidence of a transaction id `view.seqno`. */
export function commitEvidenceText(transactionId: string, nonce: Bytes): string {
  return `ce:${transactionId}:${toHex(nonce)}`;
}

/** Bytes of a text that is known to be ASCII. */
export function asciiBytes(text: string): Bytes {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
