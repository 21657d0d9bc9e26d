/**
 * Batches: build one as leader, verify one as follower, open one to apply it. The bytes are described in batch-format.ts,
 * the leaves in leaf.ts, both in docs/reference/ledger-format.md.
 *
 * Building and verifying append to the tail, since the Merkle root can only be computed with the leaves in the tree; when
 * anything fails the tail is as before. A batch that consensus does not take is undone with `tail.truncate(index)`. The
 * nonce counter of an undone batch is never used again.
 */
import { asciiBytes } from "../codec/ascii.ts";
import { type Bytes, bytesEqual, ByteWriter, concatBytes, EMPTY, toHex } from "../codec/bytes.ts";
import { Scratch } from "../codec/scratch.ts";
import { WordView } from "../codec/word-view.ts";
import { CocoError, invariant } from "../../errors.ts";
import * as format from "./batch-format.ts";
import type { BatchHeader, BatchKind, ParsedBatch } from "./batch-format.ts";
import type { BatchRecord } from "./batch-table.ts";
import type { LedgerCrypto, LedgerKeys, VerifyCrypto } from "./keys.ts";
import {
  batchLeaves,
  blindingAt,
  commitEvidenceText,
  evidenceDigests,
  hasPrivate,
  privateCommitments,
  SECRETS_LENGTH,
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

/** What a batch holds, opened. */
export class UnsealedBatch {
  /** Encoded write sets of its transactions, in order: of each the public and the private part. */
  readonly parts: readonly Bytes[];
  readonly #plaintext: Bytes;
  /** Places of the request ids. */
  readonly #ids: Int32Array;
  readonly #secrets: BatchSecrets;

  constructor(parts: readonly Bytes[], plaintext: Bytes, ids: Int32Array, secrets: BatchSecrets) {
    this.parts = parts;
    this.#plaintext = plaintext;
    this.#ids = ids;
    this.#secrets = secrets;
  }

  /** Number of transactions. */
  get count(): number {
    return this.#ids.length;
  }

  /** Request id of the transaction at a position; empty when it has none. */
  id(position: number): Bytes {
    const at = this.#ids[position] ?? 0;
    return at === 0 ? EMPTY : this.#plaintext.subarray(at, at + (this.#plaintext[at - 1] as number));
  }

  /** Request ids of all transactions. */
  ids(): Bytes[] {
    return Array.from(this.#ids, (_, position) => this.id(position));
  }

  /** Encoded write set of the private tables. */
  privatePart(position: number): Bytes {
    return this.parts[2 * position + 1] ?? EMPTY;
  }

  /** Opens the private commitment; undefined when there is none. */
  blinding(position: number): Bytes | undefined {
    if (!this.#secrets.blinds || this.id(position).length + this.privatePart(position).length === 0) return undefined;
    const at = blindingAt(position);
    return this.#secrets.bytes.subarray(at, at + SECRET_LENGTH);
  }
}

/** A header and the bytes it stands in. */
type HeaderWithBytes = Pick<ParsedBatch, "header" | "headerBytes">;

/** Commit-evidence nonces and blindings of a batch: 32 bytes nonce, then 32 bytes blinding, per transaction. */
interface BatchSecrets {
  readonly bytes: Bytes;
  /** Whether the blindings are some: before the first epoch there are none. */
  readonly blinds: boolean;
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

/** Nonces that everyone can compute, for what is public. */
function publicSecrets({ header, headerBytes }: HeaderWithBytes, crypto: LedgerCrypto): Bytes {
  const bytes = new Uint8Array(SECRETS_LENGTH * header.count);
  const headerDigest = crypto.sha256(headerBytes);
  for (let position = 0; position < header.count; position++) {
    const seqno = new ByteWriter(8).u64(header.firstSeqno + position).finish();
    bytes.set(crypto.sha256(concatBytes(PUBLIC_EVIDENCE, headerDigest, seqno)), SECRETS_LENGTH * position);
  }
  return bytes;
}

/** All nonces and blindings of a batch from one keystream. */
function secretsOf(batch: HeaderWithBytes, keys: LedgerKeys, crypto: LedgerCrypto): BatchSecrets {
  const { header } = batch;
  if (header.epoch === 0) return { bytes: publicSecrets(batch, crypto), blinds: false };
  if (header.count === 0) return { bytes: EMPTY, blinds: true };
  // The counter stands in the upper half of the block, so that the streams of two batches cannot meet.
  const counterBlock = new ByteWriter(16).u64(header.nonceCounter).u64(0).finish();
  const { evidence } = requireKeys(header, keys);
  return { bytes: crypto.keystream(evidence, counterBlock, SECRETS_LENGTH * header.count), blinds: true };
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

function sealSection(batch: HeaderWithBytes, plaintext: Bytes, keys: LedgerKeys, crypto: LedgerCrypto): Bytes {
  if (batch.header.sealedLength === 0) return EMPTY;
  const { sealing } = requireKeys(batch.header, keys);
  return crypto.seal(sealing, sealingNonce(batch.header.nonceCounter), plaintext, batch.headerBytes);
}

function digestAt(digests: Bytes, position: number): Bytes {
  return digests.subarray(position * SECRET_LENGTH, (position + 1) * SECRET_LENGTH);
}

/** What is sealed next. */
const plaintexts = new Scratch();

/** What a public section is made of, and where it is to be written; `plaintext` is what will be sealed. */
interface PublicParts {
  readonly transactions: readonly BatchTransaction[];
  readonly plaintext: Bytes;
  readonly target: Uint8Array;
}

function writePublicSection(
  header: BatchHeader,
  { transactions, plaintext, target }: PublicParts,
  secrets: BatchSecrets,
  { sha256 }: LedgerCrypto,
): void {
  const sealedCount = header.sealedLength === 0 ? 0 : header.count;
  const commitments = privateCommitments(secrets.bytes, plaintext, sealedCount, sha256);
  const evidence = evidenceDigests(header, secrets.bytes, sha256);
  const writer = new ByteWriter(target);
  let committed = 0;
  for (const [position, transaction] of transactions.entries()) {
    const { publicPart, claimsDigest } = transaction;
    const privateCommitment = hasPrivate(transaction) ? digestAt(commitments, committed++) : undefined;
    const commitEvidenceDigest = digestAt(evidence, position);
    format.writePublicTransaction(writer, { publicPart, privateCommitment, commitEvidenceDigest, claimsDigest });
  }
  invariant(writer.length === target.length, "length of the public section as announced");
}

/** The parts of a batch side by side. */
interface PartsOfBatch {
  readonly headerBytes: Uint8Array;
  readonly publicSection: Uint8Array;
  readonly sealedSection: Uint8Array;
  readonly root: Uint8Array;
  readonly signature: Uint8Array;
}

function fill(part: Uint8Array, bytes: Bytes): void {
  invariant(bytes.length === part.length, `a part of a batch has ${part.length} bytes`);
  part.set(bytes);
}

/** The bytes of a batch, still empty, and views on its parts. */
function emptyBatch({ publicLength, sealedLength }: BatchHeader): { readonly bytes: Bytes } & PartsOfBatch {
  const bytes = new Uint8Array(format.BATCH_OVERHEAD + publicLength + sealedLength);
  let at = 0;
  const next = (length: number): Uint8Array => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  return {
    bytes,
    headerBytes: next(format.HEADER_LENGTH),
    publicSection: next(publicLength),
    sealedSection: next(sealedLength),
    root: next(SECRET_LENGTH),
    signature: next(2 * SECRET_LENGTH),
  };
}

/**
 * Builds, seals and signs the next batch and appends it to the tail. One AEAD call, one keystream call, one signature.
 * Throws `LimitExceeded` above the limits of a batch, `NotReady` without the epoch's key, `LedgerCorrupt` when the view is
 * older than the tail's, `Internal` for input that breaks the rules of {@link BatchInput}; the tail is then unchanged.
 */
export function buildBatch(input: BatchInput, tail: LedgerTail, keys: LedgerKeys, crypto: LedgerCrypto): BuiltBatch {
  const header = makeHeader(input, tail);
  const { bytes, ...parts } = emptyBatch(header);
  const { headerBytes, publicSection, sealedSection } = parts;
  format.encodeHeader(header, headerBytes);
  const secrets = secretsOf({ header, headerBytes }, keys, crypto);
  const { transactions } = input;
  const plaintext =
    header.sealedLength === 0
      ? EMPTY
      : format.encodePrivateSection(transactions, plaintexts.take(header.sealedLength - format.TAG_LENGTH));
  writePublicSection(header, { transactions, plaintext, target: publicSection }, secrets, crypto);
  fill(sealedSection, sealSection({ header, headerBytes }, plaintext, keys, crypto));
  // Its room is kept: what was to be secret would lie there until the next batch.
  plaintext.fill(0);
  const leaves = batchLeaves({ header, headerBytes, publicSection, sealedSection }, crypto.sha256);
  const { record, root } = tail.extend(header, leaves);
  try {
    fill(parts.root, root);
    fill(parts.signature, crypto.sign(tail.rootPreimage()));
    return { bytes, batch: format.batchOfSections({ header, ...parts }), record };
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
 * Opens the sealed section of a batch, and checks each transaction against its private commitment and its commit evidence.
 * The batch must have been verified. What comes out does not share memory with it.
 * Throws `NotReady` without the epoch's key, `LedgerCorrupt` naming the index when anything does not fit.
 */
export function unsealBatch(batch: ParsedBatch, keys: LedgerKeys, crypto: LedgerCrypto): UnsealedBatch {
  const { header, publicSection } = batch;
  const { sha256 } = crypto;
  const refuse = (what: string, cause?: unknown): CocoError =>
    new CocoError("LedgerCorrupt", `batch ${header.index}: ${what}`, { index: header.index }, { cause });
  const secrets = secretsOf(batch, keys, crypto);
  const plaintext = openSection(batch, keys, crypto, refuse);
  const sealedCount = header.sealedLength === 0 ? 0 : header.count;
  const commitments = new WordView(privateCommitments(secrets.bytes, plaintext, sealedCount, sha256));
  const evidence = new WordView(evidenceDigests(header, secrets.bytes, sha256));
  const section = new WordView(publicSection);
  const [open, sealed] = [new format.PublicSection(publicSection, header.epoch), new format.PrivateSection(plaintext)];
  const parts: Bytes[] = [];
  // A batch may be a view on a whole chunk of the ledger, which its parts must not hold in memory.
  let copy: Bytes | undefined;
  const ids = new Int32Array(header.count);
  let committed = 0;
  const fits = (at: number, digests: WordView, position: number): boolean =>
    at >= 0 && section.hasDigest(at, digests, position * SECRET_LENGTH);
  for (let position = 0; position < header.count; position++) {
    open.next();
    if (sealedCount > 0) sealed.next();
    if (sealed.hasContent ? !fits(open.commitmentAt, commitments, committed++) : open.commitmentAt >= 0)
      throw refuse("private part does not fit its commitment");
    if (!fits(open.evidenceAt, evidence, position)) throw refuse("commit evidence does not fit");
    ids[position] = sealed.idAt;
    if (open.partLength > 0) copy ??= publicSection.slice();
    parts.push(copy === undefined ? EMPTY : open.part(copy), sealed.part());
  }
  return new UnsealedBatch(parts, plaintext, ids, secrets);
}

/** The plaintext of the sealed section, well formed. */
function openSection(
  batch: ParsedBatch,
  keys: LedgerKeys,
  crypto: LedgerCrypto,
  refuse: (what: string, cause?: unknown) => CocoError,
): Bytes {
  const { header } = batch;
  if (header.sealedLength === 0) return EMPTY;
  const { sealing } = requireKeys(header, keys);
  const plaintext = crypto.open(sealing, sealingNonce(header.nonceCounter), batch.sealedSection, batch.headerBytes);
  if (plaintext === undefined) throw refuse("sealed section does not open");
  try {
    const section = new format.PrivateSection(plaintext);
    for (let position = 0; position < header.count; position++) section.next();
    section.end();
    return plaintext;
  } catch (error) {
    throw refuse("sealed section is not well formed", error);
  }
}

/**
 * Commit evidence of the transaction at `position` in a batch, for its receipt; without opening the sealed section.
 * Throws `NotReady` without the epoch's key.
 */
export function commitEvidenceOf(batch: ParsedBatch, position: number, keys: LedgerKeys, crypto: LedgerCrypto): string {
  invariant(position >= 0 && position < batch.header.count, "position within the batch");
  return commitEvidenceText(batch.header, secretsOf(batch, keys, crypto).bytes, position);
}
