/**
 * An append-only SHA-256 Merkle tree in the shape CCF uses: leaf digests are appended as they are, a node is
 * SHA-256(left ‖ right), and a tree of n > 1 leaves splits at the largest power of two below n (RFC 9162, 2.1.1, without
 * the prefix bytes). Complete subtrees are kept level by level in growable byte arrays, about 64 bytes per leaf, so that
 * roots and paths of every earlier size can still be made. An append costs one hash on average, a root at most log2(n).
 *
 * The past can be compacted in blocks of 1024 leaves: of a compacted block only its root and what is above stay, 64 bytes
 * per block. Paths into such a block are made from its leaves, which the caller reads back and the kept root proves.
 */
import { type Bytes, bytesEqual, type HashFunction } from "../codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";
import { DigestList } from "./digest-list.ts";

/** Bytes of a digest. */
export const DIGEST_LENGTH = 32;
/** Level of the roots of blocks: this level and those above are never dropped. */
export const BLOCK_HEIGHT = 10;
/** Leaves of a block, the unit in which the past is compacted. */
export const BLOCK_LEAVES = 2 ** BLOCK_HEIGHT;

/** One step from a leaf to the root: the sibling digest, and the side it stands on. */
export type PathStep = { readonly left: Bytes } | { readonly right: Bytes };

/** Leaves of a compacted block by positions `from` to `to`, counted from 0, both included; undefined when not at hand. */
export type LeafSource = (from: number, to: number) => readonly Bytes[] | undefined;

/** A tree reduced to what a snapshot carries: digests one after the other, 32 bytes each. */
export interface CompactTree {
  /** Roots of the complete blocks from the first leaf on. */
  readonly blocks: Bytes;
  /** Leaves after the last complete block, fewer than {@link BLOCK_LEAVES}. */
  readonly leaves: Bytes;
}

/** The compacted blocks one operation needs, each built from leaves that were read back. */
type OldBlocks = (block: number) => MerkleTree;

/** The Merkle tree over all transactions of the ledger. */
export class MerkleTree {
  readonly #sha256: HashFunction;
  /** Level h holds the roots of the complete subtrees of 2^h leaves, from left to right. */
  readonly #levels: DigestList[] = [new DigestList()];
  readonly #pair = new Uint8Array(2 * DIGEST_LENGTH);

  constructor(sha256: HashFunction) {
    this.#sha256 = sha256;
  }

  /** The tree that {@link MerkleTree.toCompact} described; the lengths must fit. */
  static fromCompact(sha256: HashFunction, { blocks, leaves }: CompactTree): MerkleTree {
    const count = blocks.length / DIGEST_LENGTH;
    const rest = leaves.length / DIGEST_LENGTH;
    invariant(Number.isInteger(count) && Number.isInteger(rest) && rest < BLOCK_LEAVES, "lengths of a compact tree");
    const tree = new MerkleTree(sha256);
    for (let height = 0; height < BLOCK_HEIGHT; height++)
      tree.#levels[height] = new DigestList((count * BLOCK_LEAVES) / 2 ** height);
    tree.#appendAt(BLOCK_HEIGHT, blocks);
    tree.appendAll(leaves);
    return tree;
  }

  /** Number of leaves, counting compacted ones. */
  get size(): number {
    return this.#level(0).length;
  }

  /** Number of leaves in compacted blocks; a multiple of {@link BLOCK_LEAVES}. */
  get compacted(): number {
    return this.#level(0).start;
  }

  #level(height: number): DigestList {
    let level = this.#levels[height];
    if (level === undefined) {
      level = new DigestList();
      this.#levels[height] = level;
    }
    return level;
  }

  #hashPair(left: Bytes, right: Bytes): Bytes {
    this.#pair.set(left, 0);
    this.#pair.set(right, DIGEST_LENGTH);
    return this.#sha256(this.#pair);
  }

  /** Appends a leaf digest of 32 bytes. */
  append(leaf: Bytes): void {
    this.#appendAt(0, leaf);
  }

  /** Appends leaf digests that stand one after the other, 32 bytes each: level by level, and without an array for each digest. */
  appendAll(leaves: Bytes): void {
    this.#appendAt(0, leaves);
  }

  #appendAt(firstHeight: number, digests: Bytes): void {
    this.#level(firstHeight).appendAll(digests);
    for (let height = firstHeight; ; height++) {
      const level = this.#level(height);
      const pairs = Math.floor(level.length / 2);
      if (pairs === 0) return;
      const above = this.#level(height + 1);
      if (above.length === pairs) return;
      // Pairs lie side by side: hashed where they are.
      above.appendHashes(this.#sha256, level.views(2 * above.length, 2 * pairs), 2 * DIGEST_LENGTH);
    }
  }

  /** Drops every leaf from position `size` on; compacted leaves stay. */
  truncate(size: number): void {
    invariant(size >= this.compacted && size <= this.size, "Merkle tree truncated beyond its size");
    for (let height = 0; height < this.#levels.length; height++)
      this.#level(height).truncate(Math.floor(size / 2 ** height));
  }

  /** Compacts the complete blocks among the first `size` leaves. */
  compact(size: number): void {
    invariant(size >= 0 && size <= this.size, "Merkle tree compacted beyond its size");
    const start = Math.floor(size / BLOCK_LEAVES) * BLOCK_LEAVES;
    for (let height = 0; height < BLOCK_HEIGHT; height++) this.#level(height).dropBefore(start / 2 ** height);
  }

  /** The tree of the first `size` leaves as a snapshot carries it; its unfinished block must not be compacted. */
  toCompact(size: number): CompactTree {
    const count = Math.floor(size / BLOCK_LEAVES);
    invariant(count * BLOCK_LEAVES >= this.compacted && size <= this.size, "no compact tree of this size");
    const blocks = count === 0 ? new Uint8Array(0) : this.#level(BLOCK_HEIGHT).views(0, count);
    return {
      blocks: new Uint8Array(blocks),
      leaves: new Uint8Array(this.#level(0).views(count * BLOCK_LEAVES, size)),
    };
  }

  /** The leaf at a position counted from 0; it must not be compacted. */
  leaf(position: number): Bytes {
    invariant(position >= this.compacted && position < this.size, "no such leaf");
    return new Uint8Array(this.#level(0).view(position));
  }

  /** Compacted blocks that paths from a leaf to the root over `treeSize` leaves are made from, by number from 0. */
  blocksOfPath(position: number, treeSize: number): readonly number[] {
    const ofLeaf = Math.floor(position / BLOCK_LEAVES);
    const last = Math.floor(treeSize / BLOCK_LEAVES);
    const needed = treeSize % BLOCK_LEAVES === 0 || last === ofLeaf ? [ofLeaf] : [ofLeaf, last];
    return needed.filter((block) => block * BLOCK_LEAVES < this.compacted);
  }

  /** Reads compacted blocks back, each once, and proves them by their roots. */
  #oldBlocks(leavesOf: LeafSource | undefined): OldBlocks {
    const read = new Map<number, MerkleTree>();
    return (block) => {
      const known = read.get(block);
      if (known !== undefined) return known;
      const start = block * BLOCK_LEAVES;
      const tree = this.#readBlock(start, leavesOf?.(start, start + BLOCK_LEAVES - 1));
      read.set(block, tree);
      return tree;
    };
  }

  #readBlock(start: number, leaves: readonly Bytes[] | undefined): MerkleTree {
    const [from, to] = [start + 1, start + BLOCK_LEAVES];
    if (leaves === undefined)
      throw new CocoError("NotFound", `leaves ${from} to ${to} are not on this node`, { from, to });
    const tree = new MerkleTree(this.#sha256);
    for (const leaf of leaves) tree.append(leaf);
    const root = this.#level(BLOCK_HEIGHT).view(start / BLOCK_LEAVES);
    if (leaves.length !== BLOCK_LEAVES || !bytesEqual(tree.root(), root))
      throw new CocoError("LedgerCorrupt", `leaves ${from} to ${to} are not those of the ledger`, { from, to });
    return tree;
  }

  /** Whether another tree has the same leaves in all blocks that are complete among the first `count` leaves of both. */
  sharesBlocks(other: MerkleTree, count: number): boolean {
    const blocks = Math.floor(Math.min(count, this.size, other.size) / BLOCK_LEAVES);
    if (blocks === 0) return true;
    const [own, others] = [this.#level(BLOCK_HEIGHT), other.#level(BLOCK_HEIGHT)];
    return bytesEqual(own.views(0, blocks), others.views(0, blocks));
  }

  /** Root over the leaves [start, end); start must be a multiple of the largest power of two that fits. */
  #subtree(start: number, end: number, old: OldBlocks): Bytes {
    const count = end - start;
    const height = Math.floor(Math.log2(count));
    if (count === 2 ** height) {
      if (height >= BLOCK_HEIGHT || start >= this.compacted) return this.#level(height).view(start / count);
      return old(Math.floor(start / BLOCK_LEAVES))
        .#level(height)
        .view((start % BLOCK_LEAVES) / count);
    }
    const middle = start + 2 ** height;
    const right = this.#subtree(middle, end, old);
    return this.#hashPair(this.#subtree(start, middle, old), right);
  }

  /**
   * Root over the first `treeSize` leaves (all of them when not given); there must be at least one. `leavesOf` is asked
   * where the last block of that size is compacted. Throws `NotFound` without it, `LedgerCorrupt` when it gives other leaves.
   */
  root(treeSize: number = this.size, leavesOf?: LeafSource): Bytes {
    invariant(treeSize >= 1 && treeSize <= this.size, "no root for this size");
    return new Uint8Array(this.#subtree(0, treeSize, this.#oldBlocks(leavesOf)));
  }

  /** The 64 bytes left ‖ right whose SHA-256 is {@link MerkleTree.root}, for at least two leaves; same errors. */
  rootPreimage(treeSize: number = this.size, leavesOf?: LeafSource): Bytes {
    invariant(treeSize >= 2 && treeSize <= this.size, "no root preimage for this size");
    const old = this.#oldBlocks(leavesOf);
    const middle = splitOf(treeSize);
    const preimage = new Uint8Array(2 * DIGEST_LENGTH);
    preimage.set(this.#subtree(0, middle, old), 0);
    preimage.set(this.#subtree(middle, treeSize, old), DIGEST_LENGTH);
    return preimage;
  }

  /**
   * The siblings from the leaf at `position` (counted from 0) up to the root over the first `treeSize` leaves. `leavesOf` is
   * asked for compacted blocks, with the errors of {@link MerkleTree.root}.
   */
  path(position: number, treeSize: number = this.size, leavesOf?: LeafSource): readonly PathStep[] {
    invariant(treeSize <= this.size && position >= 0 && position < treeSize, "no path for this leaf");
    const old = this.#oldBlocks(leavesOf);
    const steps: PathStep[] = [];
    let start = 0;
    let end = treeSize;
    while (end - start > 1) {
      const middle = start + splitOf(end - start);
      if (position < middle) {
        steps.push({ right: new Uint8Array(this.#subtree(middle, end, old)) });
        end = middle;
      } else {
        steps.push({ left: new Uint8Array(this.#subtree(start, middle, old)) });
        start = middle;
      }
    }
    return steps.reverse();
  }
}

/** The largest power of two below `count` (at least 2). */
function splitOf(count: number): number {
  return 2 ** (Math.ceil(Math.log2(count)) - 1);
}

/** The 64 bytes one step hashes: sibling and digest in their order. */
export function stepPreimage(digest: Bytes, step: PathStep): Bytes {
  const preimage = new Uint8Array(2 * DIGEST_LENGTH);
  preimage.set("left" in step ? step.left : digest, 0);
  preimage.set("left" in step ? digest : step.right, DIGEST_LENGTH);
  return preimage;
}

/** The root that a leaf digest and its path lead to. */
export function rootFromPath(leaf: Bytes, path: readonly PathStep[], sha256: HashFunction): Bytes {
  return path.reduce((digest, step) => sha256(stepPreimage(digest, step)), leaf);
}
