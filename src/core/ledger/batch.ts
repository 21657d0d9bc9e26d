/**
 * Batches: build one as leader, verify one as follower, open one to apply it. The bytes are described in batch-format.ts,
 * the leaves in leaf.ts, both in docs/reference/ledger-format.md.
 *
 * Building and verifying append to the tail, since the Merkle root can only be computed with the leaves in the tree; when
 * anything fails the tail is as before. A batch that consensus does not take is undone with `tail.truncate(index)`. The
 * nonce counter of an undone batch is never used again.
 */
import { type Bytes, bytesEqual, ByteWriter, concatBytes, EMPTY, toHex } from "../codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";
import * as format from "./batch-format.ts";
import type { BatchHeader, BatchKind, ParsedBatch, PrivateTransaction, PublicTransaction } from "./batch-format.ts";
import type { BatchRecord } from "./batch-table.ts";
import type { LedgerCrypto, LedgerKeys, VerifyCrypto } from "./keys.ts";
import {
  asciiBytes,
  commitEvidenceDigestOf,
  commitEvidenceText,
  hasPrivate,
  privateCommitmentOf,
  transactionLeaf,
} from "./leaf.ts";
import type { LedgerTail } from "./tail.ts";

/** One transaction for {@link buildBatch}. */
export interface BatchTransaction {
  /** Request id, at most 32 bytes; empty when there is none. */
  readonly id: Bytes;
  /** Encoded write set of the public tables. */
  readonly publicPart: Bytes;
  /** Encoded write set of all other tables. */
  readonly privatePart: Bytes;
  /** 32 bytes the adapter claims for the receipt. */
  readonly claimsDigest: Bytes | undefined;
}

/** What a leader makes a batch of; index, sequence numbers and previous digest come from the tail. */
export interface BatchInput {
  readonly kind: BatchKind;
  /** Raft term in which this node leads. */
  readonly view: number;
  /** Adapter of an application batch; 0 for the framework's own. */
  readonly adapterId: number;
  readonly governanceVersion: number;
  readonly timeMs: number;
  /** 0 before there is an epoch: then nothing may be private, neither request ids nor private parts. */
  readonly epoch: number;
  /** 16 random bytes, fresh for each boot of this node. */
  readonly salt: Bytes;
  /** Must grow with each batch built in this boot, also over undone ones. */
  readonly nonceCounter: number;
  /** Node id of this node, 32 bytes. */
  readonly signer: Bytes;
  readonly transactions: readonly BatchTransaction[];
}

/** A batch ready for consensus. */
export interface BuiltBatch {
  /** The entry's data. */
  readonly bytes: Bytes;
  /** What `parseBatch` makes of it: who built a batch need not take it apart. */
  readonly batch: ParsedBatch;
  /** Its place in the ledger; transaction i has sequence number `record.firstSeqno + i`. */
  readonly record: BatchRecord;
}

/** The secrets of one transaction. */
export interface UnsealedTransaction extends PrivateTransaction {
  /** Opens the private commitment; undefined when there is none. */
  readonly blinding: Bytes | undefined;
}

/** A header and the bytes it stands in. */
type HeaderWithBytes = Pick<ParsedBatch, "header" | "headerBytes">;

/** Blinding and commit-evidence nonce of one transaction. */
interface TransactionSecrets {
  readonly blinding: Bytes | undefined;
  readonly nonce: Bytes;
}

const SECRET_LENGTH = 32;
const PUBLIC_EVIDENCE = asciiBytes("coco public evidence");

function requireKeys(
  header: Pick<BatchHeader, "epoch" | "signer" | "salt">,
  keys: LedgerKeys,
): { sealing: Bytes; evidence: Bytes } {
  const found = keys.batchKeys(header.epoch, header.signer, header.salt);
  if (found === undefined)
    throw new CocoError("NotReady", `the key of epoch ${header.epoch} is not on this node`, { epoch: header.epoch });
  return found;
}

/** Four zero bytes and the counter: 12 bytes, never twice under one sealing key. */
function sealingNonce(nonceCounter: number): Bytes {
  return new ByteWriter(12).u32(0).u64(nonceCounter).finish();
}

/** All blindings and nonces of a batch from one keystream: 32 bytes nonce, then 32 bytes blinding, per transaction. */
function secretsOf(
  { header, headerBytes }: HeaderWithBytes,
  keys: LedgerKeys,
  crypto: LedgerCrypto,
): readonly TransactionSecrets[] {
  if (header.epoch === 0) {
    const headerDigest = crypto.sha256(headerBytes);
    return Array.from({ length: header.count }, (_, position) => {
      const seqno = new ByteWriter(8).u64(header.firstSeqno + position).finish();
      return { blinding: undefined, nonce: crypto.sha256(concatBytes(PUBLIC_EVIDENCE, headerDigest, seqno)) };
    });
  }
  if (header.count === 0) return [];
  // The counter stands in the upper half of the block, so that the streams of two batches cannot meet.
  const counterBlock = new ByteWriter(16).u64(header.nonceCounter).u64(0).finish();
  const { evidence } = requireKeys(header, keys);
  const stream = crypto.keystream(evidence, counterBlock, 2 * SECRET_LENGTH * header.count);
  return Array.from({ length: header.count }, (_, position) => {
    const at = 2 * SECRET_LENGTH * position;
    const middle = at + SECRET_LENGTH;
    return { nonce: stream.subarray(at, middle), blinding: stream.subarray(middle, middle + SECRET_LENGTH) };
  });
}

function makeHeader(input: BatchInput, tail: LedgerTail): BatchHeader {
  const { transactions, ...fields } = input;
  const sealed = input.epoch !== 0 && transactions.length !== 0;
  let publicLength = 0;
  let privateLength = 0;
  for (const transaction of transactions) {
    const { id, publicPart, privatePart, claimsDigest } = transaction;
    const isPrivate = hasPrivate(transaction);
    invariant(!isPrivate || sealed, "a transaction before the first epoch has no private part and no request id");
    invariant(id.length <= format.MAX_REQUEST_ID_LENGTH, "request id too long");
    invariant(claimsDigest === undefined || claimsDigest.length === SECRET_LENGTH, "claims digest must have 32 bytes");
    publicLength += format.publicTransactionLength(publicPart.length, isPrivate, claimsDigest !== undefined);
    privateLength += format.privateTransactionLength(id.length, privatePart.length);
  }
  const header: BatchHeader = {
    ...fields,
    index: tail.lastIndex + 1,
    firstSeqno: tail.lastSeqno + 1,
    count: transactions.length,
    previousDigest: tail.lastDigest,
    publicLength,
    sealedLength: sealed ? privateLength + format.TAG_LENGTH : 0,
  };
  format.checkHeader(header);
  const length = format.BATCH_OVERHEAD + publicLength + header.sealedLength;
  if (length > format.MAX_BATCH_BYTES) throw new CocoError("LimitExceeded", `batch of ${length} bytes`);
  return header;
}

function sealSection(
  batch: HeaderWithBytes,
  transactions: readonly PrivateTransaction[],
  keys: LedgerKeys,
  crypto: LedgerCrypto,
): Bytes {
  if (batch.header.sealedLength === 0) return EMPTY;
  const { sealing } = requireKeys(batch.header, keys);
  const plaintext = format.encodePrivateSection(transactions);
  return crypto.seal(sealing, sealingNonce(batch.header.nonceCounter), plaintext, batch.headerBytes);
}

function makePublic(
  transaction: BatchTransaction,
  secrets: TransactionSecrets,
  id: string,
  crypto: LedgerCrypto,
): PublicTransaction {
  const { publicPart, claimsDigest } = transaction;
  const { blinding, nonce } = secrets;
  const isPrivate = blinding !== undefined && hasPrivate(transaction);
  return {
    publicPart,
    privateCommitment: isPrivate ? privateCommitmentOf(blinding, transaction, crypto.sha256) : undefined,
    commitEvidenceDigest: commitEvidenceDigestOf(id, nonce, crypto.sha256),
    claimsDigest,
  };
}

/**
 * Builds, seals and signs the next batch and appends it to the tail. One AEAD call, one keystream call, one signature.
 * Throws `LimitExceeded` above the limits of a batch, `NotReady` without the epoch's key, `LedgerCorrupt` when the view is
 * older than the tail's, `Internal` for input that breaks the rules of {@link BatchInput}; the tail is then unchanged.
 */
export function buildBatch(input: BatchInput, tail: LedgerTail, keys: LedgerKeys, crypto: LedgerCrypto): BuiltBatch {
  const header = makeHeader(input, tail);
  const headerBytes = format.encodeHeader(header);
  const secrets = secretsOf({ header, headerBytes }, keys, crypto);
  const publicWriter = new ByteWriter(header.publicLength);
  const leaves: Bytes[] = [];
  const transactions = input.transactions.map((transaction, position) => {
    const secret = secrets[position];
    invariant(secret !== undefined, "secrets for each transaction");
    const made = makePublic(transaction, secret, `${header.view}.${header.firstSeqno + position}`, crypto);
    format.writePublicTransaction(publicWriter, made);
    leaves.push(transactionLeaf(made, crypto.sha256));
    return made;
  });
  const publicSection = publicWriter.finish();
  const sealedSection = sealSection({ header, headerBytes }, input.transactions, keys, crypto);
  invariant(
    publicSection.length === header.publicLength && sealedSection.length === header.sealedLength,
    "section lengths as announced",
  );
  leaves.push(format.signatureLeaf(headerBytes, publicSection, sealedSection, crypto.sha256));
  const { record, root } = tail.extend(header, leaves);
  try {
    const signature = crypto.sign(tail.rootPreimage());
    invariant(signature.length === 2 * SECRET_LENGTH, "signature must have 64 bytes");
    const bytes = concatBytes(headerBytes, publicSection, sealedSection, root, signature);
    const batch = { header, headerBytes, publicSection, sealedSection, transactions, root, signature };
    return { bytes, batch, record };
  } catch (error) {
    tail.truncate(record.index);
    throw error;
  }
}

/**
 * Verifies the next batch of another node and appends it to the tail: continuity, previous digest, leaves, Merkle root and
 * the signature over it. Nothing is unsealed. `publicKeyOf` gives the SubjectPublicKeyInfo (DER) of a node that may sign,
 * by the hex of its id. Throws `LedgerForked` when the batch continues another history than the tail, `LedgerCorrupt` for
 * every other misfit, both naming the index; the tail is then unchanged.
 */
export function verifyBatch(
  batch: ParsedBatch,
  tail: LedgerTail,
  publicKeyOf: (nodeId: string) => Bytes | undefined,
  crypto: VerifyCrypto,
): BatchRecord {
  const { index, signer, previousDigest } = batch.header;
  const refuse = (what: string): CocoError => new CocoError("LedgerCorrupt", `batch ${index}: ${what}`, { index });
  const nodeId = toHex(signer);
  const publicKey = publicKeyOf(nodeId);
  if (publicKey === undefined) throw refuse(`signer ${nodeId} is not known`);
  if (!bytesEqual(crypto.sha256(publicKey), signer)) throw refuse(`public key does not belong to signer ${nodeId}`);
  if (index === tail.lastIndex + 1 && !bytesEqual(previousDigest, tail.lastDigest)) {
    throw new CocoError("LedgerForked", `batch ${index} of ${nodeId} continues another history`, {
      index,
      signer: nodeId,
    });
  }
  const record = tail.append(batch);
  if (!crypto.verify(publicKey, tail.rootPreimage(), batch.signature)) {
    tail.truncate(index);
    throw refuse("signature does not fit");
  }
  return record;
}

/**
 * Opens the sealed section of a batch, one result per transaction, and checks each against its private commitment and
 * its commit evidence. The batch must have been verified. The bytes do not share memory with the batch.
 * Throws `NotReady` without the epoch's key, `LedgerCorrupt` naming the index when anything does not fit.
 */
export function unsealBatch(
  batch: ParsedBatch,
  keys: LedgerKeys,
  crypto: LedgerCrypto,
): readonly UnsealedTransaction[] {
  const { header } = batch;
  const refuse = (what: string, cause?: unknown): CocoError =>
    new CocoError("LedgerCorrupt", `batch ${header.index}: ${what}`, { index: header.index }, { cause });
  const secrets = secretsOf(batch, keys, crypto);
  const contents = openSection(batch, keys, crypto, refuse);
  return batch.transactions.map((transaction, position) => {
    const content = contents[position];
    const secret = secrets[position];
    invariant(content !== undefined && secret !== undefined, "one content and secret per transaction");
    const blinding = hasPrivate(content) ? secret.blinding : undefined;
    const commitment = blinding === undefined ? EMPTY : privateCommitmentOf(blinding, content, crypto.sha256);
    if (!bytesEqual(commitment, transaction.privateCommitment ?? EMPTY))
      throw refuse("private part does not fit its commitment");
    const id = `${header.view}.${header.firstSeqno + position}`;
    const evidenceDigest = commitEvidenceDigestOf(id, secret.nonce, crypto.sha256);
    if (!bytesEqual(evidenceDigest, transaction.commitEvidenceDigest)) throw refuse("commit evidence does not fit");
    return { id: content.id, privatePart: content.privatePart, blinding };
  });
}

function openSection(
  batch: ParsedBatch,
  keys: LedgerKeys,
  crypto: LedgerCrypto,
  refuse: (what: string, cause?: unknown) => CocoError,
): readonly PrivateTransaction[] {
  const { header } = batch;
  if (header.sealedLength === 0) return Array.from({ length: header.count }, () => ({ id: EMPTY, privatePart: EMPTY }));
  const { sealing } = requireKeys(header, keys);
  const plaintext = crypto.open(sealing, sealingNonce(header.nonceCounter), batch.sealedSection, batch.headerBytes);
  if (plaintext === undefined) throw refuse("sealed section does not open");
  try {
    return format.decodePrivateSection(plaintext, header.count);
  } catch (error) {
    throw refuse("sealed section is not well formed", error);
  }
}

/**
 * Commit evidence of the transaction at `position` in a batch, for its receipt; without opening the sealed section.
 * Throws `NotReady` without the epoch's key.
 */
export function commitEvidenceOf(batch: ParsedBatch, position: number, keys: LedgerKeys, crypto: LedgerCrypto): string {
  const secret = secretsOf(batch, keys, crypto)[position];
  invariant(secret !== undefined, "position within the batch");
  return commitEvidenceText(`${batch.header.view}.${batch.header.firstSeqno + position}`, secret.nonce);
}
