/**
 * An append-only SHA-256 Merkle tree in the shape CCF uses: leaf digests are appended as they are, a node is
 * SHA-256(left ‖ right), and a tree of n > 1 leaves splits at the largest power of two below n (RFC 9162, 2.1.1, without
 * the prefix bytes). Complete subtrees are kept level by level in growable byte arrays, about 64 bytes per leaf, so that
 * roots and paths of every earlier size can still be made. An append costs one hash on average, a root at most log2(n).
 */
import type { Bytes, HashFunction } from "../codec/bytes.ts";
import { invariant } from "../../errors.ts";
import { DigestList } from "./digest-list.ts";

/** Bytes of a digest. */
export const DIGEST_LENGTH = 32;

/** One step from a leaf to the root: the sibling digest, and the side it stands on. */
export type PathStep = { readonly left: Bytes } | { readonly right: Bytes };

/** The Merkle tree over all transactions of the ledger. */
export class MerkleTree {
  readonly #sha256: HashFunction;
  /** Level h holds the roots of the complete subtrees of 2^h leaves, from left to right. */
  readonly #levels: DigestList[] = [new DigestList()];
  readonly #pair = new Uint8Array(2 * DIGEST_LENGTH);

  constructor(sha256: HashFunction) {
    this.#sha256 = sha256;
  }

  /** Number of leaves. */
  get size(): number {
    return this.#level(0).length;
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
    let digest = leaf;
    for (let height = 0; ; height++) {
      const level = this.#level(height);
      level.append(digest);
      if (level.length % 2 !== 0) return;
      digest = this.#hashPair(level.view(level.length - 2), level.view(level.length - 1));
    }
  }

  /** Drops every leaf from position `size` on. */
  truncate(size: number): void {
    invariant(size >= 0 && size <= this.size, "Merkle tree truncated beyond its size");
    for (let height = 0; height < this.#levels.length; height++)
      this.#level(height).truncate(Math.floor(size / 2 ** height));
  }

  /** The leaf at a position counted from 0. */
  leaf(position: number): Bytes {
    invariant(position >= 0 && position < this.size, "no such leaf");
    return new Uint8Array(this.#level(0).view(position));
  }

  /** Root over the leaves [start, end); start must be a multiple of the largest power of two that fits. */
  #subtree(start: number, end: number): Bytes {
    const count = end - start;
    const height = Math.floor(Math.log2(count));
    if (count === 2 ** height) return this.#level(height).view(start / count);
    const middle = start + 2 ** height;
    const right = this.#subtree(middle, end);
    return this.#hashPair(this.#subtree(start, middle), right);
  }

  /** Root over the first `treeSize` leaves (all of them when not given); there must be at least one. */
  root(treeSize: number = this.size): Bytes {
    invariant(treeSize >= 1 && treeSize <= this.size, "no root for this size");
    return new Uint8Array(this.#subtree(0, treeSize));
  }

  /** The 64 bytes left ‖ right whose SHA-256 is the root over the first `treeSize` leaves; at least two leaves. */
  rootPreimage(treeSize: number = this.size): Bytes {
    invariant(treeSize >= 2 && treeSize <= this.size, "no root preimage for this size");
    const middle = splitOf(treeSize);
    const preimage = new Uint8Array(2 * DIGEST_LENGTH);
    preimage.set(this.#subtree(0, middle), 0);
    preimage.set(this.#subtree(middle, treeSize), DIGEST_LENGTH);
    return preimage;
  }

  /** The siblings from the leaf at `position` (counted from 0) up to the root over the first `treeSize` leaves. */
  path(position: number, treeSize: number = this.size): readonly PathStep[] {
    invariant(treeSize <= this.size && position >= 0 && position < treeSize, "no path for this leaf");
    const steps: PathStep[] = [];
    let start = 0;
    let end = treeSize;
    while (end - start > 1) {
      const middle = start + splitOf(end - start);
      if (position < middle) {
        steps.push({ right: new Uint8Array(this.#subtree(middle, end)) });
        end = middle;
      } else {
        steps.push({ left: new Uint8Array(this.#subtree(start, middle)) });
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
