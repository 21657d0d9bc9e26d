/** The open parts of a snapshot file, which anyone reads without a key: what it says of itself, verified by nobody yet. */
import { type Bytes, concatBytes } from "../core/codec/bytes.ts";
import {
  blocksLengthOf,
  decodeFrameHeader,
  FRAME_HEADER_LENGTH,
  parseSnapshotHead,
  plaintextLengthOf,
  SNAPSHOT_PREFIX_LENGTH,
  type SnapshotManifest,
  snapshotHeadLength,
  snapshotMalformed,
} from "../core/ledger/snapshot-format.ts";
import { FrameOrder } from "../core/ledger/snapshot.ts";
import { KEEPER_SEAL_LENGTH, KeeperSealSplitter } from "../core/ledger/snapshot-keeper.ts";
import type { StoredSnapshot } from "../enclave/ports.ts";

/** The front of a file, taken in order. */
class Front {
  readonly #pieces: Iterator<Bytes>;
  #left: Bytes = new Uint8Array(0);

  constructor(pieces: Iterable<Bytes>) {
    this.#pieces = pieces[Symbol.iterator]();
  }

  take(length: number): Bytes {
    const taken: Bytes[] = [];
    let missing = length;
    while (missing > 0) {
      if (this.#left.length === 0) {
        const next = this.#pieces.next();
        if (next.done === true) throw snapshotMalformed("it ends too early");
        this.#left = next.value;
      }
      const piece = this.#left.subarray(0, missing);
      this.#left = this.#left.subarray(piece.length);
      missing -= piece.length;
      taken.push(piece);
    }
    return concatBytes(...taken);
  }

  /** Whether nothing follows. */
  get isAtEnd(): boolean {
    return this.#left.length === 0 && this.#pieces.next().done === true;
  }

  manifest(): SnapshotManifest {
    const prefix = this.take(SNAPSHOT_PREFIX_LENGTH);
    const rest = this.take(snapshotHeadLength(prefix) - prefix.length);
    return parseSnapshotHead(concatBytes(prefix, rest)).manifest;
  }
}

/** The manifest of a snapshot file; throws `MalformedInput` when its form does not hold. */
export function readSnapshotManifest(snapshot: StoredSnapshot): SnapshotManifest {
  return new Front(snapshot.parts()).manifest();
}

/** The manifest with the roots of the blocks of the tree; throws `MalformedInput` when their form does not hold. */
export function readSnapshotFront(snapshot: StoredSnapshot): SnapshotManifest {
  const front = new Front(snapshot.parts());
  const manifest = front.manifest();
  const blocks: Bytes[] = [];
  let left = blocksLengthOf(manifest.tail.last.signatureSeqno);
  for (let number = 0; left > 0; number++) {
    const { kind, length } = decodeFrameHeader(front.take(FRAME_HEADER_LENGTH), number);
    if (kind !== "blocks" || length > left) throw snapshotMalformed(`frame ${number} stands where blocks are missing`);
    blocks.push(front.take(length));
    left -= length;
  }
  return { ...manifest, tail: { ...manifest.tail, blocks: concatBytes(...blocks) } };
}

/**
 * The manifest of a snapshot file, after a look at the form of all of it: frames follow each other in their order to the last one, then
 * comes the keeper's seal and nothing else. What is sealed is not opened. Throws `MalformedInput` naming what does not fit.
 */
export function readSnapshotForm(snapshot: StoredSnapshot): SnapshotManifest {
  const front = new Front(snapshot.parts());
  const manifest = front.manifest();
  const order = new FrameOrder(manifest);
  for (let number = 0; !order.ended; number++) {
    const header = decodeFrameHeader(front.take(FRAME_HEADER_LENGTH), number);
    const content = [header.kind, header.adapterId, plaintextLengthOf(header)] as const;
    const problem = order.problem(...content);
    if (problem !== undefined) throw snapshotMalformed(`frame ${number} ${problem}`);
    front.take(header.length);
    order.pass(...content);
  }
  front.take(KEEPER_SEAL_LENGTH);
  if (!front.isAtEnd) throw snapshotMalformed("something follows its end");
  return manifest;
}

/** The keeper's seal at the end of a snapshot file. */
export function readKeeperSeal(snapshot: StoredSnapshot): Bytes {
  const splitter = new KeeperSealSplitter();
  for (const part of snapshot.parts()) splitter.push(part);
  return splitter.seal;
}
