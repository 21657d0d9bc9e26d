/**
 * Ordered copy-on-write B+tree (Comer, "The Ubiquitous B-Tree", 1979; ownership of nodes as in transient collections).
 *
 * A tree is its root node as one version sees it. Whoever holds it has a snapshot: of nodes that nobody owns any more, only
 * leaves change, and those only by records of newer versions under keys they have. A writer does that wherever it can, and
 * then copies nothing. Otherwise it changes nodes of its own and copies each other node once, when it first meets it. So
 * versions follow each other in one row: two writers that start from one tree are a mistake, unless the first is reverted.
 *
 * Leaves are pages of records; an inner node has a page of separators, where separator i is greater than all keys of child i
 * and not greater than any key of child i + 1. Every leaf has the same depth, and nodes below a quarter of their limit are
 * merged.
 */
import { type Bytes, EMPTY } from "../codec/bytes.ts";
import { OwnerToken } from "./owner-token.ts";
import { InnerNode, isSmall, type Split, type TreeNode } from "./inner-node.ts";
import { findLeaves } from "./leaf-finder.ts";
import { Page } from "./page.ts";

/** A tree as one version sees it. */
export interface Tree {
  readonly root: TreeNode;
  /** Version of the newest records that count. */
  readonly version: number;
}

/** Shortest byte string that is greater than `left` and not greater than `right`. */
export function separatorBetween(left: Bytes, right: Bytes): Bytes {
  let shared = 0;
  while (shared < left.length && left[shared] === right[shared]) shared++;
  return right.subarray(0, shared + 1);
}

/** Puts that are gathered at most: what all of them need has to fit into the nearest of the processor's caches. */
const GATHERED_MAX = 40;
/** Fewer than these are carried out one by one. */
const GATHERED_LEAST = 4;

const NO_LEAVES: ReturnType<typeof findLeaves> = { leaves: [], starts: [], touched: 0 };

/** Leaves of a tree that may be too large for the nearest of the processor's caches. */
const LARGE_LEAVES = 64;

/** Whether a tree has many leaves. */
function isLarge(root: TreeNode): boolean {
  return root instanceof InnerNode && (root.children.length >= LARGE_LEAVES || root.child(0) instanceof InnerNode);
}

/** The leaf a key belongs to. */
function leafFor(root: TreeNode, key: Bytes): Page {
  let node = root;
  while (!(node instanceof Page)) node = node.child(node.childFor(key));
  return node;
}

/** What a tree has under a key: a value (a view), `undefined` for a record of a deletion, `null` for no record at all. */
export function find({ root, version }: Tree, key: Bytes): Bytes | undefined | null {
  const leaf = leafFor(root, key);
  const at = leaf.search(key);
  return at < 0 ? null : leaf.valueAt(at, version);
}

/** Version of the batch that wrote the record of a key, undefined when there is none or it is one of a deletion. */
export function findVersion({ root, version }: Tree, key: Bytes): number | undefined {
  const leaf = leafFor(root, key);
  const at = leaf.search(key);
  return at < 0 || leaf.deletedAt(at, version) ? undefined : leaf.versionAt(at, version);
}

/** A tree without records. */
export function emptyTree(): Tree {
  return { root: Page.empty(new OwnerToken(0)), version: 0 };
}

/** Changes one tree; as a tree it is what it is now, and may change with the next write. See {@link TreeWriter.snapshot}. */
export class TreeWriter implements Tree {
  readonly version: number;
  #root: TreeNode;
  #owner: OwnerToken;
  /** The tree as it was when it was last the same for good. */
  #last: Tree;
  #changed = false;
  /** Whether there may be a reader of this version that has pages of this tree: it would see a new record of it in them. */
  #shared: boolean;
  /** Second half of the node that the step below has just split. */
  #split: Split | undefined;
  /** Keys and values of the puts that were gathered. */
  #keys: Bytes[] = [];
  #values: Bytes[] = [];

  /**
   * @param version what the records written are marked with: greater than that of the tree, unless that is empty
   * @param again whether there was such a version before, which was dropped
   */
  constructor(tree: Tree, version: number, again = false) {
    this.#shared = again;
    this.version = version;
    this.#root = tree.root;
    this.#last = tree;
    this.#owner = new OwnerToken(version);
  }

  get root(): TreeNode {
    this.#putGathered();
    return this.#root;
  }

  /** The tree as it is now, for good. Later writes copy, so it is not free. */
  snapshot(): Tree {
    this.#putGathered();
    if (this.#changed) {
      this.#changed = false;
      this.#shared = true;
      this.#owner = new OwnerToken(this.version);
      this.#last = { root: this.#root, version: this.version };
    }
    return this.#last;
  }

  /** Sets a record; `undefined` records a deletion. Key and value are copied, except that a large value is kept as it is. */
  put(key: Bytes, value: Bytes | undefined): void {
    this.#putGathered();
    this.#putNow(key, value);
  }

  /**
   * As {@link put}, together with others: at the latest when the tree is read, or changed in another way. Until then nobody may
   * change key or value. In a large tree many puts at once cost far less than as many one by one, which each wait for memory.
   */
  gather(key: Bytes, value: Bytes): void {
    if (!isLarge(this.#root)) return this.#putNow(key, value);
    this.#keys.push(key);
    this.#values.push(value);
    if (this.#keys.length >= GATHERED_MAX) this.#putGathered();
  }

  /** Makes a page of its own of the one that has this key, without what versions after this writer's wrote to it. */
  revert(key: Bytes): void {
    this.#putGathered();
    this.#changed = true;
    this.#setRoot(this.#revert(this.#root, key));
  }

  /** Removes a record; false when there was none. */
  remove(key: Bytes): boolean {
    this.#putGathered();
    if (leafFor(this.#root, key).search(key) < 0) return false;
    this.#changed = true;
    this.#setRoot(this.#remove(this.#root, key));
    return true;
  }

  #putGathered(): void {
    const keys = this.#keys;
    if (keys.length === 0) return;
    const values = this.#values;
    this.#keys = [];
    this.#values = [];
    const { leaves, starts } = keys.length >= GATHERED_LEAST ? findLeaves(this.#root, keys) : NO_LEAVES;
    /** Leaves that may have lost their place in the tree. */
    const replaced = new Set<Page>();
    for (let at = 0; at < keys.length; at++) {
      const key = keys[at] as Bytes;
      const leaf = leaves[at];
      const value = values[at] as Bytes;
      const stands = leaf !== undefined && (replaced.size === 0 || !replaced.has(leaf));
      if (stands && this.#overwrite(leaf, leaf.search(key, starts[at]), key, value)) continue;
      if (leaf !== undefined) replaced.add(leaf);
      this.#putNow(key, value);
    }
  }

  /** Changes a leaf in place, for all versions that have it, when that can be done. */
  #overwrite(leaf: Page, at: number, key: Bytes, value: Bytes | undefined): boolean {
    if (at < 0 || this.#shared || !leaf.overwrite(at, this.version, key, value)) return false;
    this.#changed = true;
    return true;
  }

  #putNow(key: Bytes, value: Bytes | undefined): void {
    this.#changed = true;
    this.#setRoot(this.#put(this.#root, key, value, true));
  }

  #setRoot(node: TreeNode): void {
    let root = node;
    if (this.#split !== undefined) {
      const inner = new InnerNode(this.#owner, Page.empty(this.#owner), [root]);
      this.#insertSplit(inner, 0);
      root = inner;
    }
    while (!(root instanceof Page) && root.children.length === 1) root = root.child(0);
    this.#root = root;
  }

  /** Takes in the second half of a child that was split, if one was. */
  #insertSplit(inner: InnerNode, index: number): void {
    if (this.#split !== undefined) inner.insertAfter(index, this.#split);
    this.#split = undefined;
  }

  #put(node: TreeNode, key: Bytes, value: Bytes | undefined, rightmost: boolean): TreeNode {
    if (node instanceof Page) return this.#putInLeaf(node, key, value, rightmost);
    const at = node.childFor(key);
    const before = node.child(at);
    const child = this.#put(before, key, value, rightmost && at === node.children.length - 1);
    if (child === before && this.#split === undefined) return node;
    const inner = node.owned(this.#owner);
    inner.children[at] = child;
    this.#insertSplit(inner, at);
    return inner.full ? this.#splitInner(inner) : inner;
  }

  #putInLeaf(leaf: Page, key: Bytes, value: Bytes | undefined, rightmost: boolean): TreeNode {
    const at = leaf.search(key);
    if (this.#overwrite(leaf, at, key, value)) return leaf;
    const page = leaf.owned(this.#owner);
    if (at >= 0) page.replaceAt(at, key, value);
    else page.insertAt(~at, key, value);
    if (!page.full) return page;
    // Keys that arrive in order leave full pages behind them, not half-full ones.
    const ascending = rightmost && ~at === page.count - 1;
    return this.#splitLeaf(page, ascending ? page.count - 1 : page.middle());
  }

  #revert(node: TreeNode, key: Bytes): TreeNode {
    if (node instanceof Page) {
      const at = node.search(key);
      return at < 0 ? node : node.reverted(this.#owner, at);
    }
    const at = node.childFor(key);
    const child = this.#revert(node.child(at), key);
    if (child === node.child(at)) return node;
    const inner = node.owned(this.#owner);
    inner.children[at] = child;
    return inner;
  }

  #splitLeaf(page: Page, at: number): TreeNode {
    const right = page.slice(this.#owner, at, page.count);
    this.#split = { separator: separatorBetween(page.keyAt(at - 1), right.keyAt(0)), right };
    return page.slice(this.#owner, 0, at);
  }

  #splitInner(inner: InnerNode): TreeNode {
    const { separators, children } = inner;
    // One separator goes up, so the right half must keep another.
    const at = Math.min(separators.middle(), separators.count - 2);
    const right = new InnerNode(
      this.#owner,
      separators.slice(this.#owner, at + 1, separators.count),
      children.slice(at + 1),
    );
    this.#split = { separator: separators.keyAt(at), right };
    return new InnerNode(this.#owner, separators.slice(this.#owner, 0, at), children.slice(0, at + 1));
  }

  #remove(node: TreeNode, key: Bytes): TreeNode {
    if (node instanceof Page) {
      const page = node.owned(this.#owner);
      page.removeAt(page.search(key));
      return page;
    }
    const at = node.childFor(key);
    const child = this.#remove(node.child(at), key);
    const inner = node.owned(this.#owner);
    inner.children[at] = child;
    this.#insertSplit(inner, at);
    if (inner.children.length > 1 && isSmall(child)) this.#mergePair(inner, Math.max(0, at - 1));
    // Cutting children anew can make separators longer, and so this node too large.
    return inner.full ? this.#splitInner(inner) : inner;
  }

  /** Joins two neighbours; when they are too much for one node they are cut anew into two of the same size. */
  #mergePair(parent: InnerNode, index: number): void {
    const left = parent.child(index);
    const right = parent.child(index + 1);
    if (left instanceof Page && right instanceof Page) {
      const merged = left.concat(this.#owner, right);
      parent.replacePair(index, merged.full ? this.#splitLeaf(merged, merged.middle()) : merged);
    } else if (left instanceof InnerNode && right instanceof InnerNode) {
      const separator = parent.separators.keyAt(index);
      const separators = left.separators.slice(this.#owner, 0, left.separators.count);
      separators.insertAt(separators.count, separator, EMPTY);
      const joined = separators.concat(this.#owner, right.separators);
      const merged = new InnerNode(this.#owner, joined, [...left.children, ...right.children]);
      parent.replacePair(index, merged.full ? this.#splitInner(merged) : merged);
    }
    this.#insertSplit(parent, index);
  }
}

/** Walks the records of a tree in key order. The tree must not change meanwhile: walk a snapshot. */
export class Cursor {
  readonly #parents: InnerNode[] = [];
  readonly #positions: number[] = [];
  readonly #version: number;
  #leaf: Page;
  #index: number;

  /** Starts at the first record, or at the first whose key is not less than `from`. */
  constructor({ root, version }: Tree, from?: Bytes) {
    this.#version = version;
    let node = root;
    while (!(node instanceof Page)) {
      const at = from === undefined ? 0 : node.childFor(from);
      this.#parents.push(node);
      this.#positions.push(at);
      node = node.child(at);
    }
    this.#leaf = node;
    const at = from === undefined ? 0 : node.search(from);
    this.#index = at < 0 ? ~at : at;
    this.#skipToRecord();
  }

  /** Whether all records are behind the cursor. */
  get done(): boolean {
    return this.#index >= this.#leaf.count;
  }

  /** Key of the record here, as a view. */
  get key(): Bytes {
    return this.#leaf.keyAt(this.#index);
  }

  /** Value of the record here, as a view; undefined for a record of a deletion. */
  get value(): Bytes | undefined {
    return this.#leaf.valueAt(this.#index, this.#version);
  }

  /** Version that wrote the record here. */
  get version(): number {
    return this.#leaf.versionAt(this.#index, this.#version);
  }

  /** Goes to the next record. */
  advance(): void {
    this.#index++;
    this.#skipToRecord();
  }

  #skipToRecord(): void {
    while (this.#index >= this.#leaf.count && this.#nextLeaf()) this.#index = 0;
  }

  #nextLeaf(): boolean {
    let level = this.#parents.length - 1;
    while (level >= 0 && (this.#positions[level] as number) + 1 >= (this.#parents[level] as InnerNode).children.length)
      level--;
    if (level < 0) return false;
    this.#positions[level] = (this.#positions[level] as number) + 1;
    let node = (this.#parents[level] as InnerNode).child(this.#positions[level] as number);
    while (!(node instanceof Page)) {
      level++;
      this.#parents[level] = node;
      this.#positions[level] = 0;
      node = node.child(0);
    }
    this.#leaf = node;
    return true;
  }
}
