/** The inner nodes of a tree; for what a tree is see `tree.ts`. */
import { type Bytes, EMPTY } from "../codec/bytes.ts";
import type { OwnerToken } from "./owner-token.ts";
import { Page, PAGE_BYTES, PAGE_RECORDS } from "./page.ts";
import { SeparatorIndex } from "./separator-index.ts";

/** Most children of an inner node: with so many, two levels of them hold ten million keys, and stay in a processor's cache. */
export const MAX_CHILDREN = 512;
/** Most bytes of separators in an inner node: long common prefixes make separators long. */
export const MAX_SEPARATOR_BYTES = 16384;
const SMALL_FRACTION = 4;

/** A node of a tree: a leaf page or an inner node. */
export type TreeNode = Page | InnerNode;

/** What a node that was split gives its parent. */
export interface Split {
  readonly separator: Bytes;
  readonly right: TreeNode;
}

/** An inner node: separators and the children between them. */
export class InnerNode {
  readonly owner: OwnerToken;
  readonly children: TreeNode[];
  #separators: Page;
  /** Of the separators, once it is needed. */
  #index: SeparatorIndex | undefined;

  constructor(owner: OwnerToken, separators: Page, children: TreeNode[], index?: SeparatorIndex) {
    this.owner = owner;
    this.children = children;
    this.#separators = separators;
    this.#index = index;
  }

  get separators(): Page {
    return this.#separators;
  }

  get index(): SeparatorIndex {
    this.#index ??= new SeparatorIndex(this.#separators);
    return this.#index;
  }

  get full(): boolean {
    return this.children.length > MAX_CHILDREN || this.separators.usedBytes > MAX_SEPARATOR_BYTES;
  }

  get small(): boolean {
    return (
      this.children.length * SMALL_FRACTION < MAX_CHILDREN &&
      this.separators.usedBytes * SMALL_FRACTION < MAX_SEPARATOR_BYTES
    );
  }

  /** Index of the child a key belongs to. @param guess where to begin, as the index guesses it */
  childFor(key: Bytes, guess = this.index.guess(key)): number {
    const child = this.index.childFor(key, guess);
    if (child >= 0) return child;
    const at = this.#separators.search(key);
    return at >= 0 ? at + 1 : ~at;
  }

  child(index: number): TreeNode {
    return this.children[index] as TreeNode;
  }

  /** The separators stay shared until they change too, which is far less often. */
  owned(owner: OwnerToken): InnerNode {
    return this.owner === owner ? this : new InnerNode(owner, this.#separators, this.children.slice(), this.#index);
  }

  insertAfter(index: number, split: Split): void {
    this.#ownSeparators().insertAt(index, split.separator, EMPTY);
    this.children.splice(index + 1, 0, split.right);
  }

  /** Puts one child in the place of the children `index` and `index + 1`. */
  replacePair(index: number, merged: TreeNode): void {
    this.#ownSeparators().removeAt(index);
    this.children.splice(index, 2, merged);
  }

  /** Separators to change. */
  #ownSeparators(): Page {
    this.#index = undefined;
    this.#separators = this.#separators.owned(this.owner);
    return this.#separators;
  }
}

/** Whether a node is to be merged with a neighbour. */
export function isSmall(node: TreeNode): boolean {
  if (!(node instanceof Page)) return node.small;
  return node.usedBytes * SMALL_FRACTION < PAGE_BYTES && node.count * SMALL_FRACTION < PAGE_RECORDS;
}
