/**
 * The bytes of a batch, which is one Raft entry, format version 1 (docs/reference/ledger-format.md says it byte by byte):
 *
 *   header (152 bytes) ‖ public section ‖ sealed section ‖ Merkle root (32) ‖ signature r ‖ s (64)
 *
 * Integers are big-endian. The public section holds, per transaction: flags u8 (1 = private commitment present, 2 = claims
 * digest present), public part (length before it), private commitment (32, if present), commit evidence digest (32),
 * claims digest (32, if present). The sealed section is one AES-256-GCM ciphertext with its 16-byte tag; opened it holds,
 * per transaction: request id (u8 length before it), private part (length before it). It is empty exactly when the epoch
 * is 0 or there are no transactions. A length is LEB128 (seven bits per byte, the lowest first, the top bit set in all but
 * the last byte) in its shortest form. Parsing is strict: every byte string has at most one meaning.
 */
import { type Bytes, ByteReader, ByteWriter, EMPTY } from "../codec/bytes.ts";
import { checkFormatVersion } from "../codec/format-version.ts";
import { CocoError, invariant } from "../../errors.ts";

/** Version of the batch layout written by this program, and the only one it reads. */
export const BATCH_FORMAT_VERSION = 1;
/** Largest batch in bytes. */
export const MAX_BATCH_BYTES = 16 * 1024 * 1024;
/** Most transactions in a batch, not counting its signature transaction. */
export const MAX_BATCH_TRANSACTIONS = 10_000;
/** Longest request id in bytes. */
export const MAX_REQUEST_ID_LENGTH = 32;
/** Bytes of the header. */
export const HEADER_LENGTH = 152;
/** Bytes of the per-boot salt. */
export const SALT_LENGTH = 16;
/**
 * Latest time of a batch in milliseconds since 1970: the end of the year 9999, the last that certificates and RFC 3339 can say.
 * What governance adds to it (expiry, in-force dates) stays within what a `Date` holds. A later one is refused, by whoever reads it.
 */
export const MAX_BATCH_TIME_MS = 253_402_300_799_999;
/** Bytes the AEAD adds. */
export const TAG_LENGTH = 16;

const DIGEST = 32;
const SIGNATURE = 64;

/** Bits of a transaction's flags: a private commitment, a claims digest. */
export const TRANSACTION_FLAGS = { private: 1, claims: 2 } as const;

/** What a batch holds: an adapter's transactions, the framework's, or none (the first entry of a new leader). */
export type BatchKind = "application" | "administrative" | "empty";

/** Codes of {@link BatchKind} in the ledger. */
export const BATCH_KIND_CODES: Readonly<Record<BatchKind, number>> = { application: 1, administrative: 2, empty: 3 };
const KINDS: readonly (BatchKind | undefined)[] = [undefined, "application", "administrative", "empty"];

/** The kind of a code; undefined when there is none. */
export function batchKindOfCode(code: number): BatchKind | undefined {
  return KINDS[code];
}

/** The fixed-size front of a batch: plain, and authenticated by the seal, the Merkle root and the signature. */
export interface BatchHeader {
  readonly kind: BatchKind;
  /** Raft term. */
  readonly view: number;
  /** Raft index. */
  readonly index: number;
  /** Sequence number of the first transaction; the signature transaction has `firstSeqno + count`. */
  readonly firstSeqno: number;
  /** Transactions, not counting the signature transaction. */
  readonly count: number;
  /** Adapter of an application batch (1..65535); 0 = framework. */
  readonly adapterId: number;
  /** Version of the governance state the batch was made under. */
  readonly governanceVersion: number;
  /** Wall clock of the leader in milliseconds since 1970, at most {@link MAX_BATCH_TIME_MS}. */
  readonly timeMs: number;
  /** Epoch whose key seals the batch; 0 before there is one. */
  readonly epoch: number;
  /** Fresh random bytes per boot of the signer, 16. */
  readonly salt: Bytes;
  /** Grows with each batch the signer builds in this boot. */
  readonly nonceCounter: number;
  /** Digest of the previous batch; zeros for the first. */
  readonly previousDigest: Bytes;
  /** Node id of the signer: SHA-256 of its SubjectPublicKeyInfo, 32 bytes. */
  readonly signer: Bytes;
  readonly publicLength: number;
  readonly sealedLength: number;
}

/** What everyone can see of one transaction. */
export interface PublicTransaction {
  readonly publicPart: Bytes;
  /** Blinded commitment to request id and private part; undefined when there is neither. */
  readonly privateCommitment: Bytes | undefined;
  /** SHA-256 of the commit evidence. */
  readonly commitEvidenceDigest: Bytes;
  readonly claimsDigest: Bytes | undefined;
}

/** A batch taken apart; all byte strings are views on the input. Nothing about it is verified yet but its form. */
export interface ParsedBatch {
  readonly header: BatchHeader;
  readonly headerBytes: Bytes;
  readonly publicSection: Bytes;
  readonly sealedSection: Bytes;
  readonly transactions: readonly PublicTransaction[];
  /** Merkle root over all transactions up to and including this batch's signature transaction. */
  readonly root: Bytes;
  /** ECDSA P-256/SHA-256, r ‖ s, whose message is the preimage of the root. */
  readonly signature: Bytes;
}

/** Bytes of a batch around its two sections. */
export const BATCH_OVERHEAD = HEADER_LENGTH + DIGEST + SIGNATURE;

function malformed(message: string): CocoError {
  return new CocoError("MalformedInput", `batch: ${message}`);
}

function isZero(bytes: Bytes): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Throws `MalformedInput` unless the fields of a header fit each other. */
export function checkHeader(header: BatchHeader): void {
  if (header.view < 1 || header.index < 1 || header.firstSeqno < header.index)
    throw malformed("view, index or sequence number too small");
  if (header.count > MAX_BATCH_TRANSACTIONS)
    throw new CocoError("LimitExceeded", `batch of ${header.count} transactions`);
  if ((header.kind === "empty") !== (header.count === 0)) throw malformed("kind and count do not fit");
  if ((header.kind === "application") !== (header.adapterId !== 0)) throw malformed("kind and adapter id do not fit");
  if (header.kind === "application" && header.epoch === 0) throw malformed("application batch without an epoch");
  if ((header.sealedLength === 0) !== (header.epoch === 0 || header.count === 0))
    throw malformed("sealed section does not fit the epoch");
  if ((header.index === 1) !== (header.firstSeqno === 1)) throw malformed("index and sequence number do not fit");
  if (header.index === 1 && header.count === 0) throw malformed("the first batch is empty");
  if ((header.index === 1) !== isZero(header.previousDigest)) throw malformed("previous digest does not fit the index");
  if (!Number.isSafeInteger(header.firstSeqno + header.count)) throw malformed("sequence number too large");
  if (header.timeMs > MAX_BATCH_TIME_MS) throw malformed("time after the year 9999");
}

/** The 152 bytes of a header. @param target where they are to be written */
export function encodeHeader(header: BatchHeader, target: Uint8Array = new Uint8Array(HEADER_LENGTH)): Bytes {
  invariant(header.salt.length === SALT_LENGTH, "per-boot salt must have 16 bytes");
  invariant(header.previousDigest.length === DIGEST && header.signer.length === DIGEST, "digest must have 32 bytes");
  return new ByteWriter(target)
    .u8(BATCH_FORMAT_VERSION)
    .u8(BATCH_KIND_CODES[header.kind])
    .u64(header.view)
    .u64(header.index)
    .u64(header.firstSeqno)
    .u32(header.count)
    .u16(header.adapterId)
    .u64(header.governanceVersion)
    .u64(header.timeMs)
    .u64(header.epoch)
    .bytes(header.salt)
    .u64(header.nonceCounter)
    .bytes(header.previousDigest)
    .bytes(header.signer)
    .u32(header.publicLength)
    .u32(header.sealedLength)
    .finish();
}

function readHeader(reader: ByteReader): BatchHeader {
  const version = reader.u8();
  checkFormatVersion("batch", version, BATCH_FORMAT_VERSION);
  const kind = KINDS[reader.u8()];
  if (kind === undefined) throw malformed("kind is not known");
  const header: BatchHeader = {
    kind,
    view: reader.u64(),
    index: reader.u64(),
    firstSeqno: reader.u64(),
    count: reader.u32(),
    adapterId: reader.u16(),
    governanceVersion: reader.u64(),
    timeMs: reader.u64(),
    epoch: reader.u64(),
    salt: reader.bytes(SALT_LENGTH),
    nonceCounter: reader.u64(),
    previousDigest: reader.bytes(DIGEST),
    signer: reader.bytes(DIGEST),
    publicLength: reader.u32(),
    sealedLength: reader.u32(),
  };
  checkHeader(header);
  return header;
}

/** Bytes of {@link writeLength}. */
function lengthLength(length: number): number {
  return length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x200000 ? 3 : 4;
}

/** Writes the length of a byte string: at most four bytes, since a batch has at most 2^24. */
function writeLength(writer: ByteWriter, length: number): void {
  let rest = length;
  for (; rest >= 0x80; rest >>>= 7) writer.u8((rest & 0x7f) | 0x80);
  writer.u8(rest);
}

function readLength(reader: ByteReader): number {
  let length = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = reader.u8();
    length |= (byte & 0x7f) << shift;
    if (byte >= 0x80) continue;
    if (byte === 0 && shift > 0) throw malformed("a length is not in its shortest form");
    return length;
  }
  throw malformed("a length has more than four bytes");
}

/** Bytes one transaction takes in the public section. */
export function publicTransactionLength(publicPartLength: number, hasCommitment: boolean, hasClaims: boolean): number {
  return (
    1 +
    lengthLength(publicPartLength) +
    publicPartLength +
    DIGEST +
    (hasCommitment ? DIGEST : 0) +
    (hasClaims ? DIGEST : 0)
  );
}

/** Bytes one transaction takes in the plaintext of the sealed section. */
export function privateTransactionLength(idLength: number, privatePartLength: number): number {
  return 1 + idLength + lengthLength(privatePartLength) + privatePartLength;
}

/** Writes one transaction into the public section. */
export function writePublicTransaction(writer: ByteWriter, transaction: PublicTransaction): void {
  const { publicPart, privateCommitment, commitEvidenceDigest, claimsDigest } = transaction;
  writer.u8(
    (privateCommitment === undefined ? 0 : TRANSACTION_FLAGS.private) |
      (claimsDigest === undefined ? 0 : TRANSACTION_FLAGS.claims),
  );
  writeLength(writer, publicPart.length);
  writer.bytes(publicPart);
  if (privateCommitment !== undefined) writer.bytes(privateCommitment);
  writer.bytes(commitEvidenceDigest);
  if (claimsDigest !== undefined) writer.bytes(claimsDigest);
}

/**
 * Goes through a public section, transaction by transaction, without an object for each: where the parts of the present one
 * stand. Strict, as all reading of batches: throws `MalformedInput`.
 */
export class PublicSection {
  readonly bytes: Bytes;
  partAt = 0;
  partLength = 0;
  /** Negative when there is no private commitment. */
  commitmentAt = -1;
  evidenceAt = 0;
  /** Negative when there is no claims digest. */
  claimsAt = -1;
  readonly #reader: ByteReader;
  readonly #epoch: number;

  constructor(bytes: Bytes, epoch: number) {
    this.bytes = bytes;
    this.#reader = new ByteReader(bytes);
    this.#epoch = epoch;
  }

  /** Goes to the next transaction; the first call to the first. */
  next(): void {
    const reader = this.#reader;
    const flags = reader.u8();
    if ((flags & ~(TRANSACTION_FLAGS.private | TRANSACTION_FLAGS.claims)) !== 0) throw malformed("unknown flags");
    const isPrivate = (flags & TRANSACTION_FLAGS.private) !== 0;
    if (this.#epoch === 0 && isPrivate) throw malformed("private part before the first epoch");
    this.partLength = readLength(reader);
    this.partAt = reader.skip(this.partLength);
    this.commitmentAt = isPrivate ? reader.skip(DIGEST) : -1;
    this.evidenceAt = reader.skip(DIGEST);
    this.claimsAt = (flags & TRANSACTION_FLAGS.claims) === 0 ? -1 : reader.skip(DIGEST);
  }

  /** The public part of the present transaction, a view on the section or a copy of it. */
  part(bytes = this.bytes): Bytes {
    return this.partLength === 0 ? EMPTY : bytes.subarray(this.partAt, this.partAt + this.partLength);
  }

  /** Throws unless the last transaction ends with the section. */
  end(): void {
    this.#reader.end();
  }
}

function readTransactions({ publicSection, header }: Omit<ParsedBatch, "transactions">): readonly PublicTransaction[] {
  const section = new PublicSection(publicSection, header.epoch);
  const digestAt = (at: number): Bytes => publicSection.subarray(at, at + DIGEST);
  return Array.from({ length: header.count }, () => {
    section.next();
    const { commitmentAt, evidenceAt, claimsAt } = section;
    return {
      publicPart: section.part(),
      privateCommitment: commitmentAt < 0 ? undefined : digestAt(commitmentAt),
      commitEvidenceDigest: digestAt(evidenceAt),
      claimsDigest: claimsAt < 0 ? undefined : digestAt(claimsAt),
    };
  });
}

/** A batch of well-formed sections. Its transactions are taken apart when somebody asks: applying a ledger need not. */
export function batchOfSections(sections: Omit<ParsedBatch, "transactions">): ParsedBatch {
  let transactions: readonly PublicTransaction[] | undefined;
  return {
    ...sections,
    get transactions() {
      transactions ??= readTransactions(sections);
      return transactions;
    },
  };
}

/**
 * Takes a batch apart without changing or copying it. Throws `MalformedInput` for anything that is not a batch of format
 * version 1, `LedgerTooNew` for a later version, and `LimitExceeded` above {@link MAX_BATCH_BYTES} or {@link MAX_BATCH_TRANSACTIONS}.
 */
export function parseBatch(bytes: Bytes): ParsedBatch {
  if (bytes.length > MAX_BATCH_BYTES) throw new CocoError("LimitExceeded", `batch of ${bytes.length} bytes`);
  const reader = new ByteReader(bytes);
  const header = readHeader(reader);
  const publicSection = reader.bytes(header.publicLength);
  const sealedSection = reader.bytes(header.sealedLength);
  const root = reader.bytes(DIGEST);
  const signature = reader.bytes(SIGNATURE);
  reader.end();
  const section = new PublicSection(publicSection, header.epoch);
  for (let position = 0; position < header.count; position++) section.next();
  section.end();
  const headerBytes = bytes.subarray(0, HEADER_LENGTH);
  return batchOfSections({ header, headerBytes, publicSection, sealedSection, root, signature });
}

/** What is sealed of one transaction. */
export interface PrivateTransaction {
  /** Request id, at most 32 bytes; empty when the transaction has none. */
  readonly id: Bytes;
  readonly privatePart: Bytes;
}

/** The plaintext of the sealed section. @param target where it is to be written, as long as {@link privateTransactionLength} says */
export function encodePrivateSection(transactions: readonly PrivateTransaction[], target: Uint8Array): Bytes {
  const writer = new ByteWriter(target);
  for (const { id, privatePart } of transactions) {
    invariant(id.length <= MAX_REQUEST_ID_LENGTH, "request id too long");
    writer.u8(id.length).bytes(id);
    writeLength(writer, privatePart.length);
    writer.bytes(privatePart);
  }
  return writer.finish();
}

/** Goes through the plaintext of a sealed section, as {@link PublicSection} does through the public one. */
export class PrivateSection {
  readonly bytes: Bytes;
  /** The byte before the request id is its length. */
  idAt = 0;
  idLength = 0;
  partAt = 0;
  partLength = 0;
  readonly #reader: ByteReader;

  constructor(bytes: Bytes) {
    this.bytes = bytes;
    this.#reader = new ByteReader(bytes);
  }

  /** Goes to the next transaction; the first call to the first. */
  next(): void {
    const reader = this.#reader;
    this.idLength = reader.u8();
    if (this.idLength > MAX_REQUEST_ID_LENGTH) throw malformed("request id too long");
    this.idAt = reader.skip(this.idLength);
    this.partLength = readLength(reader);
    this.partAt = reader.skip(this.partLength);
  }

  /** Whether the present transaction has anything that must be committed to. */
  get hasContent(): boolean {
    return this.idLength + this.partLength > 0;
  }

  /** The private part of the present transaction, a view. */
  part(): Bytes {
    return this.partLength === 0 ? EMPTY : this.bytes.subarray(this.partAt, this.partAt + this.partLength);
  }

  /** Throws unless the last transaction ends with the section. */
  end(): void {
    this.#reader.end();
  }
}
