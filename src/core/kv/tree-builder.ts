/**
 * Builds a tree from records that come in key order, from the leaves up, in time proportional to their number. Nodes are
 * filled nearly to their limits, so that the tree is small, and not quite, so that the first writes do not split them all.
 */
import { type Bytes, EMPTY } from "../codec/bytes.ts";
import { OwnerToken } from "./owner-token.ts";
import { Page, PAGE_BYTES, PAGE_RECORDS } from "./page.ts";
import { recordBytes } from "./record.ts";
import { InnerNode, MAX_CHILDREN, MAX_SEPARATOR_BYTES, type TreeNode } from "./inner-node.ts";
import { separatorBetween, type Tree } from "./tree.ts";

/** A node is closed when the next record would fill it beyond this part of its limit. */
const FILLED = 7 / 8;
const FILLED_PAGE_BYTES = PAGE_BYTES * FILLED;
const FILLED_PAGE_RECORDS = PAGE_RECORDS * FILLED;
const FILLED_CHILDREN = MAX_CHILDREN * FILLED;
const FILLED_SEPARATOR_BYTES = MAX_SEPARATOR_BYTES * FILLED;

/** A finished node and the separator before it; the first of a level has none. */
interface Placed {
  readonly node: TreeNode;
  readonly separator: Bytes;
}

/** Takes the records of one tree. */
export class TreeBuilder {
  readonly #owner = new OwnerToken(0);
  readonly #leaves: Placed[] = [];
  #separator = EMPTY;
  #newest = 0;
  #page = Page.empty(this.#owner, PAGE_BYTES);

  /** Key of the last record, as a view; undefined before the first. */
  get lastKey(): Bytes | undefined {
    return this.#page.count === 0 ? undefined : this.#page.keyAt(this.#page.count - 1);
  }

  /** Adds a record whose key is greater than all before. Key and value are copied, a large value is kept as it is. */
  add(key: Bytes, value: Bytes, version: number): void {
    const page = this.#page;
    const bytes = page.usedBytes + recordBytes(key, value);
    if (page.count >= FILLED_PAGE_RECORDS || (page.count > 0 && bytes > FILLED_PAGE_BYTES)) {
      const separator = separatorBetween(page.keyAt(page.count - 1), key).slice();
      this.#closePage();
      this.#separator = separator;
    }
    this.#page.appendOf(version, key, value);
    this.#newest = Math.max(this.#newest, version);
  }

  /** The tree of all records, as their newest version sees it; add none after it. */
  finish(): Tree {
    this.#closePage();
    let level = this.#leaves;
    while (level.length > 1) level = this.#parents(level);
    return { root: (level[0] as Placed).node, version: this.#newest };
  }

  #closePage(): void {
    const page = this.#page;
    this.#leaves.push({ node: page.slice(this.#owner, 0, page.count), separator: this.#separator });
    this.#page = Page.empty(this.#owner, PAGE_BYTES);
  }

  #parents(children: readonly Placed[]): Placed[] {
    const parents: Placed[] = [];
    for (let from = 0; from < children.length; ) {
      const to = groupEnd(children, from);
      parents.push(this.#parent(children.slice(from, to)));
      from = to;
    }
    return parents;
  }

  #parent(children: readonly Placed[]): Placed {
    const separators = Page.empty(this.#owner);
    for (const { separator } of children.slice(1)) separators.insertAt(separators.count, separator, EMPTY);
    const nodes = children.map((child) => child.node);
    const node = new InnerNode(this.#owner, separators.slice(this.#owner, 0, separators.count), nodes);
    return { node, separator: (children[0] as Placed).separator };
  }
}

/** Index behind the children of the next parent. None is left over alone, because an inner node has at least two. */
function groupEnd(children: readonly Placed[], from: number): number {
  let to = from + 1;
  let bytes = 0;
  for (; to < children.length && to - from < FILLED_CHILDREN; to++) {
    bytes += recordBytes((children[to] as Placed).separator, EMPTY);
    if (bytes > FILLED_SEPARATOR_BYTES) break;
  }
  return to === children.length - 1 ? to - 1 : to;
}
