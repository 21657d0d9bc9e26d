/**
 * The bytes of a snapshot file, format version 2 (docs/reference/ledger-format.md says it byte by byte):
 *
 *   ASCII `cocosnp` ‖ version u8 ‖ manifest length u32 ‖ manifest ‖ signer (32) ‖ salt (16) ‖ nonce counter u64 ‖ frame*
 *   frame = kind u8 ‖ adapter id u16 ‖ length u32 ‖ bytes: those of blocks in plain, all others sealed
 *
 * The manifest is deterministic CBOR and the same on every node; the fields after it belong to who sealed the file. Manifest
 * and blocks are what an auditor without keys needs to verify the ledger that goes on behind the snapshot.
 * Integers are big-endian. Parsing is strict and allocates nothing by a length that was merely announced.
 */
import { type Bytes, ByteReader, ByteWriter, fromHex, toHex } from "../codec/bytes.ts";
import { type CborValue, decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { CocoError, invariant } from "../../errors.ts";
import { BATCH_KIND_CODES, batchKindOfCode, MAX_BATCH_TIME_MS, SALT_LENGTH, TAG_LENGTH } from "./batch-format.ts";
import { BLOCK_LEAVES, DIGEST_LENGTH } from "./merkle-tree.ts";
import type { TailSnapshot, ViewStart } from "./tail.ts";

/** Version of the snapshot layout written by this program, and the only one it reads. */
export const SNAPSHOT_FORMAT_VERSION = 2;
/** Largest manifest of a snapshot in bytes. */
export const MAX_SNAPSHOT_MANIFEST_BYTES = 16 * 1024 * 1024;
/**
 * Largest part of a snapshot in bytes, before sealing. Every node cuts the state by this bound, which is a part of the
 * evidence digest: it never changes within a format version.
 */
export const MAX_SNAPSHOT_PART_BYTES = 1024 * 1024;
/** Most views a snapshot can carry: how often the network can have changed its leader. */
export const MAX_SNAPSHOT_VIEWS = 500_000;
/** Most adapters in a snapshot. */
export const MAX_SNAPSHOT_ADAPTERS = 256;

/** Bytes before the manifest. */
export const SNAPSHOT_PREFIX_LENGTH = 12;
/** Bytes of the sealing fields after the manifest. */
export const SNAPSHOT_SEALING_LENGTH = DIGEST_LENGTH + SALT_LENGTH + 8;
/** Bytes of a frame before its content. */
export const FRAME_HEADER_LENGTH = 7;

const MAGIC = Uint8Array.from("cocosnp", (character) => character.charCodeAt(0));
/** What a frame holds: roots of blocks of the Merkle tree, a part of an adapter's state, or nothing (the end of the file). */
export type FrameKind = "blocks" | "part" | "end";

/** Codes of {@link FrameKind} in the file. */
export const FRAME_CODES: Readonly<Record<FrameKind, number>> = { blocks: 1, part: 2, end: 3 };
const FRAME_KINDS: readonly (FrameKind | undefined)[] = [undefined, "blocks", "part", "end"];

/** Keys of the manifest's CBOR map; 6 was used by format version 1. */
export const MANIFEST_KEYS = {
  version: 1,
  networkId: 2,
  last: 3,
  views: 4,
  leaves: 5,
  configurationIndex: 7,
  governance: 8,
  adapters: 9,
  epoch: 10,
} as const;

/** One adapter's state in a snapshot. */
export interface SnapshotAdapter {
  /** 1 to 65535. */
  readonly id: number;
  /** Version of its store: the number of batches it has executed. */
  readonly version: number;
}

/** What a snapshot says in the open; index, view, sequence number and time are those of `tail.last`. */
export interface SnapshotManifest {
  /** Hex, 32 bytes. */
  readonly networkId: string;
  readonly tail: TailSnapshot;
  /** Raft index of the batch that brought the configuration of consensus in force. */
  readonly configurationIndex: number;
  /** Governance state at the snapshot, in the caller's encoding. */
  readonly governance: Bytes;
  /** Adapters with state, by ascending id. */
  readonly adapters: readonly SnapshotAdapter[];
  /** Epoch whose key seals the snapshot and hides its evidence digest; at least 1. */
  readonly epoch: number;
}

/** Who sealed a snapshot file, and where its nonces start. */
export interface SnapshotSealing {
  /** Node id, 32 bytes. */
  readonly signer: Bytes;
  /** 16 random bytes. */
  readonly salt: Bytes;
  /** Nonce of the first frame; each frame takes one. Never used twice with the same salt. */
  readonly counter: number;
}

/** The front of a snapshot file, up to its first frame. The tail's blocks come in frames: they are empty here. */
export interface SnapshotHead {
  readonly manifest: SnapshotManifest;
  readonly manifestBytes: Bytes;
  readonly sealing: SnapshotSealing;
}

/** A frame's header. */
export interface FrameHeader {
  readonly kind: FrameKind;
  /** Adapter of a part; 0 for other frames. */
  readonly adapterId: number;
  /** Bytes that follow: sealed, except for blocks. */
  readonly length: number;
}

/** An error about a snapshot's bytes. */
export function snapshotMalformed(what: string): CocoError {
  return new CocoError("MalformedInput", `snapshot: ${what}`);
}

function unknownVersion(version: number): CocoError {
  return snapshotMalformed(`format version ${version}; this program reads version ${SNAPSHOT_FORMAT_VERSION} only`);
}

/** Whether the bytes of a frame are sealed. */
export function isSealed(kind: FrameKind): boolean {
  return kind !== "blocks";
}

/** Bytes of a frame's content, from its header. */
export function plaintextLengthOf({ kind, length }: FrameHeader): number {
  return isSealed(kind) ? length - TAG_LENGTH : length;
}

/** Bytes of the digests of a tail's complete blocks. */
export function blocksLengthOf(signatureSeqno: number): number {
  return Math.floor(signatureSeqno / BLOCK_LEAVES) * DIGEST_LENGTH;
}

/** The manifest's bytes: deterministic, without the digests of blocks. */
export function encodeManifest(manifest: SnapshotManifest): Bytes {
  const { tail, adapters } = manifest;
  const { last } = tail;
  const keys = MANIFEST_KEYS;
  const encoded = encodeCbor(
    new Map<number, CborValue>([
      [keys.version, SNAPSHOT_FORMAT_VERSION],
      [keys.networkId, fromHex(manifest.networkId)],
      [
        keys.last,
        [
          last.index,
          last.view,
          last.firstSeqno,
          last.count,
          BATCH_KIND_CODES[last.kind],
          last.adapterId,
          last.governanceVersion,
          last.timeMs,
          last.epoch,
          last.digest,
        ],
      ],
      [keys.views, tail.views.map(({ view, firstSeqno }) => [view, firstSeqno])],
      [keys.leaves, tail.leaves],
      [keys.configurationIndex, manifest.configurationIndex],
      [keys.governance, manifest.governance],
      [keys.adapters, adapters.map(({ id, version }) => [id, version])],
      [keys.epoch, manifest.epoch],
    ]),
  );
  if (encoded.length > MAX_SNAPSHOT_MANIFEST_BYTES)
    throw new CocoError("LimitExceeded", `snapshot: manifest of ${encoded.length} bytes`);
  return encoded;
}

function integerOf(value: CborValue | undefined, name: string, minimum = 0): number {
  if (typeof value !== "number" || value < minimum) throw snapshotMalformed(`manifest: ${name} is not a number`);
  return value;
}

function bytesOf(value: CborValue | undefined, name: string, length?: number): Bytes {
  if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length))
    throw snapshotMalformed(`manifest: ${name} is not a byte string${length === undefined ? "" : ` of ${length}`}`);
  return value;
}

function listOf(value: CborValue | undefined, name: string, limit: number): readonly CborValue[] {
  if (!Array.isArray(value)) throw snapshotMalformed(`manifest: ${name} is not a list`);
  if (value.length > limit) throw snapshotMalformed(`manifest: ${name} has ${value.length} items, ${limit} allowed`);
  return value;
}

function tupleOf(value: CborValue | undefined, name: string, length: number): readonly CborValue[] {
  const items = listOf(value, name, length);
  if (items.length !== length) throw snapshotMalformed(`manifest: ${name} has not ${length} items`);
  return items;
}

function batchTime(timeMs: number): number {
  if (timeMs > MAX_BATCH_TIME_MS) throw snapshotMalformed("manifest: time of the last batch after the year 9999");
  return timeMs;
}

function readLast(value: CborValue | undefined): TailSnapshot["last"] {
  const items = tupleOf(value, "last batch", 10);
  const number = (at: number, minimum = 0): number => integerOf(items[at], `field ${at} of the last batch`, minimum);
  const kind = batchKindOfCode(number(4));
  if (kind === undefined) throw snapshotMalformed("manifest: kind of the last batch is not known");
  const [firstSeqno, count] = [number(2, 1), number(3)];
  return {
    index: number(0, 1),
    view: number(1, 1),
    firstSeqno,
    count,
    signatureSeqno: firstSeqno + count,
    kind,
    adapterId: number(5),
    governanceVersion: number(6),
    timeMs: batchTime(number(7)),
    epoch: number(8),
    digest: new Uint8Array(bytesOf(items[9], "digest of the last batch", DIGEST_LENGTH)),
  };
}

function readView(value: CborValue): ViewStart {
  const [view, firstSeqno] = tupleOf(value, "a view", 2);
  return { view: integerOf(view, "a view", 1), firstSeqno: integerOf(firstSeqno, "start of a view", 1) };
}

function readAdapters(value: CborValue | undefined): readonly SnapshotAdapter[] {
  let previous = 0;
  return listOf(value, "adapters", MAX_SNAPSHOT_ADAPTERS).map((item) => {
    const [idValue, version] = tupleOf(item, "an adapter", 2);
    const id = integerOf(idValue, "adapter id", previous + 1);
    if (id > 0xffff) throw snapshotMalformed(`manifest: adapter id ${id} is too large`);
    previous = id;
    return { id, version: integerOf(version, "version of an adapter") };
  });
}

/** Reads {@link encodeManifest} back. Throws `MalformedInput` naming the field. */
export function decodeManifest(bytes: Bytes): SnapshotManifest {
  const map = decodeCbor(bytes, { maxBytes: MAX_SNAPSHOT_MANIFEST_BYTES });
  const keys = MANIFEST_KEYS;
  if (!(map instanceof Map)) throw snapshotMalformed("manifest: not a map");
  const version = integerOf(map.get(keys.version), "version");
  if (version !== SNAPSHOT_FORMAT_VERSION) throw unknownVersion(version);
  if (map.size !== Object.keys(keys).length) throw snapshotMalformed("manifest: not a map of the known fields");
  const last = readLast(map.get(keys.last));
  const configurationIndex = integerOf(map.get(keys.configurationIndex), "configuration index");
  if (configurationIndex > last.index) throw snapshotMalformed("manifest: the configuration comes after the snapshot");
  return {
    networkId: toHex(bytesOf(map.get(keys.networkId), "network id", DIGEST_LENGTH)),
    tail: {
      last,
      views: listOf(map.get(keys.views), "views", MAX_SNAPSHOT_VIEWS).map(readView),
      blocks: new Uint8Array(0),
      leaves: new Uint8Array(
        bytesOf(map.get(keys.leaves), "leaves", (last.signatureSeqno % BLOCK_LEAVES) * DIGEST_LENGTH),
      ),
    },
    configurationIndex,
    governance: new Uint8Array(bytesOf(map.get(keys.governance), "governance")),
    adapters: readAdapters(map.get(keys.adapters)),
    epoch: integerOf(map.get(keys.epoch), "epoch", 1),
  };
}

/** The bytes of a snapshot file up to its first frame. */
export function encodeSnapshotHead(manifestBytes: Bytes, { signer, salt, counter }: SnapshotSealing): Bytes {
  invariant(signer.length === DIGEST_LENGTH && salt.length === SALT_LENGTH, "lengths of signer and salt");
  return new ByteWriter(SNAPSHOT_PREFIX_LENGTH + manifestBytes.length + SNAPSHOT_SEALING_LENGTH)
    .bytes(MAGIC)
    .u8(SNAPSHOT_FORMAT_VERSION)
    .bytes32(manifestBytes)
    .bytes(signer)
    .bytes(salt)
    .u64(counter)
    .finish();
}

/**
 * Length of the head, read from its first {@link SNAPSHOT_PREFIX_LENGTH} bytes. Throws `MalformedInput` for anything that
 * is no snapshot of this version.
 */
export function snapshotHeadLength(prefix: Bytes): number {
  const reader = new ByteReader(prefix);
  if (!reader.bytes(MAGIC.length).every((byte, at) => byte === MAGIC[at]))
    throw snapshotMalformed("not a snapshot file");
  const version = reader.u8();
  if (version !== SNAPSHOT_FORMAT_VERSION) throw unknownVersion(version);
  const length = reader.u32();
  if (length === 0 || length > MAX_SNAPSHOT_MANIFEST_BYTES) throw snapshotMalformed(`manifest of ${length} bytes`);
  return SNAPSHOT_PREFIX_LENGTH + length + SNAPSHOT_SEALING_LENGTH;
}

/** Takes apart a head of exactly {@link snapshotHeadLength} bytes; needs no key. Throws `MalformedInput` naming what does not hold. */
export function parseSnapshotHead(bytes: Bytes): SnapshotHead {
  if (snapshotHeadLength(bytes) !== bytes.length) throw snapshotMalformed("the head has another length");
  const reader = new ByteReader(bytes.subarray(SNAPSHOT_PREFIX_LENGTH));
  const manifestBytes = reader.bytes(reader.remaining - SNAPSHOT_SEALING_LENGTH);
  const sealing = { signer: reader.bytes(DIGEST_LENGTH), salt: reader.bytes(SALT_LENGTH), counter: reader.u64() };
  return { manifest: decodeManifest(manifestBytes), manifestBytes, sealing };
}

/** The bytes of a frame before its content. */
export function encodeFrameHeader({ kind, adapterId, length }: FrameHeader): Bytes {
  return new ByteWriter(FRAME_HEADER_LENGTH).u8(FRAME_CODES[kind]).u16(adapterId).u32(length).finish();
}

/** Reads a frame header of exactly {@link FRAME_HEADER_LENGTH} bytes. Throws `MalformedInput` naming the frame. */
export function decodeFrameHeader(bytes: Bytes, number: number): FrameHeader {
  const reader = new ByteReader(bytes);
  const kind = FRAME_KINDS[reader.u8()];
  if (kind === undefined) throw snapshotMalformed(`frame ${number} is of an unknown kind`);
  const adapterId = reader.u16();
  if ((kind === "part") !== (adapterId !== 0))
    throw snapshotMalformed(`frame ${number}: kind and adapter id do not fit`);
  const length = reader.u32();
  const header = { kind, adapterId, length };
  const content = plaintextLengthOf(header);
  if (kind === "end" ? content !== 0 : content <= 0 || content > MAX_SNAPSHOT_PART_BYTES)
    throw snapshotMalformed(`frame ${number} has ${length} bytes`);
  return header;
}
