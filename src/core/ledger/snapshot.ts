/**
 * Writing and reading snapshot files, piece by piece: neither side ever holds more than one part.
 *
 * Frames are sealed with AES-256-GCM under HKDF(epoch key, signer ‖ salt, "coco snapshot v1"); the nonce is a counter, the
 * associated data is the evidence digest so far, the digest of the head, the number of the frame and its header, so that
 * frames cannot be swapped, left out, changed or moved to another file. Contents come in one order: blocks of the Merkle
 * tree, then the parts of each adapter in the order of the manifest, then the end. Blocks are digests that the ledger itself
 * gives away: they stand in plain, and the seal of the next frame authenticates them.
 *
 * The evidence digest is the same on every node for the same state: a chain that begins with
 * H(HKDF(epoch key, network id ‖ index, "coco snapshot evidence v1") ‖ H(manifest)) and takes up every frame by
 * H(chain ‖ frame kind u8 ‖ adapter id u16 ‖ H(plaintext)). The secret at its front keeps a guess at the state from being
 * checked against the digest, which stands in the ledger for all to see.
 */
import { type Bytes, ByteWriter, concatBytes, EMPTY, fromHex } from "../codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";
import { MAX_BATCH_BYTES, TAG_LENGTH } from "./batch-format.ts";
import type { LedgerCrypto } from "./keys.ts";
import * as format from "./snapshot-format.ts";
import type { FrameHeader, FrameKind, SnapshotManifest, SnapshotSealing } from "./snapshot-format.ts";
import { LedgerTail } from "./tail.ts";

/** Most bytes handed to {@link SnapshotReader.feed} at once. */
export const MAX_SNAPSHOT_FEED_BYTES = MAX_BATCH_BYTES;

const KEY_LENGTH = 32;

/** What is needed to write a snapshot. */
export interface SnapshotWriterPorts {
  readonly crypto: Pick<LedgerCrypto, "sha256" | "hkdf" | "seal">;
  /** The 32-byte key of the manifest's epoch. */
  readonly epochKey: Bytes;
}

/** What is needed to read one. */
export interface SnapshotReaderPorts {
  readonly crypto: Pick<LedgerCrypto, "sha256" | "hkdf" | "open">;
  /** The 32-byte key of an epoch, which the manifest may hold wrapped; undefined when this node does not hold it. */
  readonly epochKeyOf: (epoch: number, manifest: SnapshotManifest) => Bytes | undefined;
}

/** Evidence digest and sealing key of one snapshot file, which both sides carry along frame by frame. */
class FrameChain {
  readonly #crypto: Pick<LedgerCrypto, "sha256">;
  readonly #headDigest: Bytes;
  readonly #firstCounter: number;
  readonly key: Bytes;
  /** Frames so far. */
  number = 0;
  digest: Bytes;

  constructor(
    head: Bytes,
    { manifest, manifestBytes, sealing }: format.SnapshotHead,
    epochKey: Bytes,
    crypto: Pick<LedgerCrypto, "sha256" | "hkdf">,
  ) {
    this.#crypto = crypto;
    this.#headDigest = crypto.sha256(head);
    this.#firstCounter = sealing.counter;
    this.key = crypto.hkdf(epochKey, concatBytes(sealing.signer, sealing.salt), "coco snapshot v1", KEY_LENGTH);
    const place = concatBytes(fromHex(manifest.networkId), new ByteWriter(8).u64(manifest.tail.last.index).finish());
    const secret = crypto.hkdf(epochKey, place, "coco snapshot evidence v1", KEY_LENGTH);
    this.digest = crypto.sha256(concatBytes(secret, crypto.sha256(manifestBytes)));
  }

  /** Counter of the next frame; throws `LimitExceeded` where it would leave the safe integers. */
  get counter(): number {
    const counter = this.#firstCounter + this.number;
    if (!Number.isSafeInteger(counter)) throw new CocoError("LimitExceeded", "snapshot: nonce counter too large");
    return counter;
  }

  nonce(): Bytes {
    return new ByteWriter(12).u32(0).u64(this.counter).finish();
  }

  associatedData(frameHeader: Bytes): Bytes {
    return concatBytes(this.digest, this.#headDigest, new ByteWriter(8).u64(this.number).finish(), frameHeader);
  }

  advance({ kind, adapterId }: FrameHeader, plaintext: Bytes): void {
    const { sha256 } = this.#crypto;
    const writer = new ByteWriter(3 + 2 * KEY_LENGTH).bytes(this.digest);
    writer.u8(format.FRAME_CODES[kind]).u16(adapterId).bytes(sha256(plaintext));
    this.digest = sha256(writer.finish());
    this.number++;
  }
}

/** Where in a snapshot the frames are, and which frame may come next. */
export class FrameOrder {
  readonly #adapters: readonly number[];
  #adapter = 0;
  #ended = false;
  /** Bytes of block digests that are still to come. */
  blocksLeft: number;

  constructor(manifest: SnapshotManifest) {
    this.#adapters = manifest.adapters.map(({ id }) => id);
    this.blocksLeft = format.blocksLengthOf(manifest.tail.last.signatureSeqno);
  }

  /** Whether the last frame has come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** What is wrong with a frame at this place; undefined when it may come. */
  problem(kind: FrameKind, adapterId: number, plaintextLength: number): string | undefined {
    if (this.#ended) return "comes after the end";
    if (kind === "blocks") {
      const expected = Math.min(this.blocksLeft, format.MAX_SNAPSHOT_PART_BYTES);
      return plaintextLength === expected ? undefined : "does not hold the blocks that come next";
    }
    if (this.blocksLeft > 0) return "stands where blocks are missing";
    if (kind === "part" && this.#adapters.indexOf(adapterId, this.#adapter) === -1)
      return "is of an adapter that is not expected here";
    return undefined;
  }

  /** Goes on behind a frame that may come. */
  pass(kind: FrameKind, adapterId: number, plaintextLength: number): void {
    if (kind === "blocks") this.blocksLeft -= plaintextLength;
    if (kind === "part") this.#adapter = this.#adapters.indexOf(adapterId, this.#adapter);
    if (kind === "end") this.#ended = true;
  }
}

/**
 * Makes the bytes of a snapshot file: `begin`, then `part` for each part of each adapter in the manifest's order, then
 * `end`; what each returns is appended to the file. A frame out of order is an `Internal` error.
 */
export class SnapshotWriter {
  readonly #manifest: SnapshotManifest;
  readonly #ports: SnapshotWriterPorts;
  readonly #head: Bytes;
  readonly #chain: FrameChain;
  readonly #order: FrameOrder;

  /** Throws `LimitExceeded` for a manifest that is too large. */
  constructor(manifest: SnapshotManifest, sealing: SnapshotSealing, ports: SnapshotWriterPorts) {
    invariant(manifest.epoch >= 1, "a snapshot is sealed under the key of an epoch");
    this.#manifest = manifest;
    this.#ports = ports;
    const manifestBytes = format.encodeManifest(manifest);
    this.#head = format.encodeSnapshotHead(manifestBytes, sealing);
    this.#chain = new FrameChain(this.#head, { manifest, manifestBytes, sealing }, ports.epochKey, ports.crypto);
    this.#order = new FrameOrder(manifest);
  }

  /** The head and the blocks of the Merkle tree, in pieces of about {@link format.MAX_SNAPSHOT_PART_BYTES} at most. */
  *begin(): Generator<Bytes> {
    yield this.#head;
    const { blocks } = this.#manifest.tail;
    invariant(blocks.length === this.#order.blocksLeft, "blocks of the tail");
    for (let at = 0; at < blocks.length; at += format.MAX_SNAPSHOT_PART_BYTES)
      yield this.#frame("blocks", 0, blocks.subarray(at, at + format.MAX_SNAPSHOT_PART_BYTES));
  }

  /** One part of an adapter's state: 1 to {@link format.MAX_SNAPSHOT_PART_BYTES} bytes. */
  part(adapterId: number, data: Bytes): Bytes {
    invariant(data.length > 0 && data.length <= format.MAX_SNAPSHOT_PART_BYTES, "length of a snapshot part");
    return this.#frame("part", adapterId, data);
  }

  /** The last bytes of the file. */
  end(): Bytes {
    return this.#frame("end", 0, EMPTY);
  }

  /** Evidence digest of the finished snapshot, 32 bytes. */
  digest(): Bytes {
    invariant(this.#order.ended, "the snapshot is finished");
    return this.#chain.digest;
  }

  /** First nonce counter that this file did not use. */
  get nextCounter(): number {
    return this.#chain.counter;
  }

  #frame(kind: FrameKind, adapterId: number, plaintext: Bytes): Bytes {
    const problem = this.#order.problem(kind, adapterId, plaintext.length);
    invariant(problem === undefined, `a frame ${problem}`);
    const chain = this.#chain;
    const length = plaintext.length + (format.isSealed(kind) ? TAG_LENGTH : 0);
    const header: FrameHeader = { kind, adapterId, length };
    const headerBytes = format.encodeFrameHeader(header);
    const content = format.isSealed(kind)
      ? this.#ports.crypto.seal(chain.key, chain.nonce(), plaintext, chain.associatedData(headerBytes))
      : plaintext;
    chain.advance(header, plaintext);
    this.#order.pass(kind, adapterId, plaintext.length);
    return concatBytes(headerBytes, content);
  }
}

/** What {@link SnapshotReader.feed} has found: first the manifest with its whole tail, then parts, then the end. */
export type SnapshotEvent =
  | { readonly type: "manifest"; readonly manifest: SnapshotManifest; readonly tail: LedgerTail }
  | { readonly type: "part"; readonly adapterId: number; readonly data: Bytes }
  | { readonly type: "end"; readonly digest: Bytes };

/** Bytes that came in and were not used yet, in the pieces they came in. */
class PieceQueue {
  #pieces: Bytes[] = [];
  length = 0;

  add(piece: Bytes): void {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.length += piece.length;
  }

  /** The next `count` bytes, which must be there; they are copied only where they span pieces. */
  take(count: number): Bytes {
    const [first] = this.#pieces;
    this.length -= count;
    if (first !== undefined && first.length > count) {
      this.#pieces[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    const taken = new Uint8Array(count);
    let at = 0;
    let used = 0;
    while (at < count) {
      const piece = this.#pieces[used];
      invariant(piece !== undefined, "pieces as long as they were counted");
      const part = piece.subarray(0, count - at);
      taken.set(part, at);
      at += part.length;
      if (part.length === piece.length) used++;
      else this.#pieces[used] = piece.subarray(part.length);
    }
    this.#pieces.splice(0, used);
    return taken;
  }
}

/**
 * Reads a snapshot file from bytes in any cutting. Every part it reports was authenticated by the key of the manifest's
 * epoch, and by its seal everything before it; that the state is the network's is shown by comparing the digest at the end
 * with the evidence in the ledger, and until then nothing of it may be relied on. After an error the reader is of no use.
 */
export class SnapshotReader {
  readonly #ports: SnapshotReaderPorts;
  readonly #networkId: string;
  readonly #queue = new PieceQueue();
  readonly #blocks: Bytes[] = [];
  #need = format.SNAPSHOT_PREFIX_LENGTH;
  #prefix: Bytes | undefined;
  #head: format.SnapshotHead | undefined;
  #chain: FrameChain | undefined;
  #order: FrameOrder | undefined;
  #frame: { readonly header: FrameHeader; readonly bytes: Bytes } | undefined;

  /** @param networkId hex: the network the snapshot must belong to */
  constructor(networkId: string, ports: SnapshotReaderPorts) {
    this.#networkId = networkId;
    this.#ports = ports;
  }

  /**
   * Takes the next bytes of the file and returns what they completed. Throws `MalformedInput` naming what does not hold,
   * `FolderOfAnotherNetwork` for a snapshot of another network, `NotReady` without the epoch's key, `LimitExceeded` above
   * {@link MAX_SNAPSHOT_FEED_BYTES}.
   */
  feed(bytes: Bytes): SnapshotEvent[] {
    if (bytes.length > MAX_SNAPSHOT_FEED_BYTES)
      throw new CocoError("LimitExceeded", `snapshot: ${bytes.length} bytes at once`);
    this.#queue.add(bytes);
    const events: SnapshotEvent[] = [];
    while (this.#queue.length >= this.#need) {
      if (this.#order?.ended === true) {
        if (this.#queue.length > 0) throw format.snapshotMalformed("bytes after the end");
        break;
      }
      this.#take(this.#queue.take(this.#need), events);
    }
    return events;
  }

  /** The evidence digest. Throws `MalformedInput` when the file is not complete. */
  finish(): Bytes {
    if (this.#order?.ended !== true || this.#chain === undefined)
      throw format.snapshotMalformed("the file ends too early");
    return this.#chain.digest;
  }

  #take(bytes: Bytes, events: SnapshotEvent[]): void {
    if (this.#chain === undefined || this.#order === undefined) {
      if (this.#prefix === undefined) {
        this.#prefix = bytes;
        this.#need = format.snapshotHeadLength(bytes) - bytes.length;
      } else this.#readHead(concatBytes(this.#prefix, bytes), events);
    } else if (this.#frame === undefined) {
      const header = format.decodeFrameHeader(bytes, this.#chain.number);
      this.#refuseMisplaced(this.#order.problem(header.kind, header.adapterId, format.plaintextLengthOf(header)));
      this.#frame = { header, bytes };
      this.#need = header.length;
    } else this.#open(this.#frame.header, this.#frame.bytes, bytes, events);
  }

  #refuseMisplaced(problem: string | undefined): void {
    if (problem !== undefined) throw format.snapshotMalformed(`frame ${this.#chain?.number} ${problem}`);
  }

  #readHead(bytes: Bytes, events: SnapshotEvent[]): void {
    const head = format.parseSnapshotHead(bytes);
    const { networkId, epoch } = head.manifest;
    if (networkId !== this.#networkId)
      throw new CocoError(
        "FolderOfAnotherNetwork",
        `the snapshot belongs to network ${networkId}, not ${this.#networkId}`,
      );
    const epochKey = this.#ports.epochKeyOf(epoch, head.manifest);
    if (epochKey === undefined)
      throw new CocoError("NotReady", `snapshot: the key of epoch ${epoch} is not on this node`, { epoch });
    this.#head = head;
    this.#chain = new FrameChain(bytes, head, epochKey, this.#ports.crypto);
    this.#order = new FrameOrder(head.manifest);
    this.#need = format.FRAME_HEADER_LENGTH;
    if (this.#order.blocksLeft === 0) this.#reportManifest(events);
  }

  #open(header: FrameHeader, headerBytes: Bytes, content: Bytes, events: SnapshotEvent[]): void {
    const [chain, order] = [this.#chain, this.#order];
    invariant(chain !== undefined && order !== undefined, "the head was read");
    const data = format.isSealed(header.kind)
      ? this.#ports.crypto.open(chain.key, chain.nonce(), content, chain.associatedData(headerBytes))
      : content;
    if (data === undefined) throw format.snapshotMalformed(`frame ${chain.number} does not open`);
    chain.advance(header, data);
    order.pass(header.kind, header.adapterId, data.length);
    this.#frame = undefined;
    this.#need = order.ended ? 0 : format.FRAME_HEADER_LENGTH;
    if (header.kind === "part") events.push({ type: "part", adapterId: header.adapterId, data });
    if (header.kind === "end") events.push({ type: "end", digest: chain.digest });
    if (header.kind === "blocks") {
      this.#blocks.push(data);
      if (order.blocksLeft === 0) this.#reportManifest(events);
    }
  }

  #reportManifest(events: SnapshotEvent[]): void {
    const manifest = this.#head?.manifest;
    invariant(manifest !== undefined, "the head was read");
    const tail = { ...manifest.tail, blocks: concatBytes(...this.#blocks) };
    this.#blocks.length = 0;
    const restored = LedgerTail.fromSnapshot(this.#ports.crypto.sha256, tail);
    events.push({ type: "manifest", manifest: { ...manifest, tail }, tail: restored });
  }
}
