/**
 * Finds the leaves of many keys at once. In a large tree most of what a search reads is in none of the processor's caches, and a
 * search by itself waits for one read after the other. Here all keys take each step together: the reads of one step do not
 * depend on each other, so the processor has many of them under way at a time (memory-level parallelism; Kocberber, Falsafi and
 * Grot, "Asynchronous Memory Access Chaining", VLDB 2015). It pays although each step reads in vain when all is in a cache.
 */
import { invariant } from "../../errors.ts";
import type { Bytes } from "../codec/bytes.ts";
import { InnerNode, type TreeNode } from "./inner-node.ts";
import type { Page } from "./page.ts";

/** Leaves, one for each key, and where the search of each for its key begins. */
interface FoundLeaves {
  readonly leaves: readonly Page[];
  readonly starts: readonly number[];
}

/** The leaf each key belongs to. What a search of it reads is near to the processor afterwards. */
export function findLeaves(root: TreeNode, keys: readonly Bytes[]): FoundLeaves {
  const nodes: TreeNode[] = keys.map(() => root);
  const starts: number[] = keys.map(() => 0);
  let touched = 0;
  // All leaves have the same depth.
  while (nodes[0] instanceof InnerNode) touched += descend(nodes as InnerNode[], starts, keys);
  const leaves = nodes as Page[];
  touched += startSearches(leaves, starts, keys);
  for (let at = 0; at < leaves.length; at++) touched += (leaves[at] as Page).touchEnd();
  // What is read must be used, or a compiler may leave the reading out.
  invariant(touched >= 0, "bytes are not negative");
  return { leaves, starts };
}

/** Puts in the place of each node the child its key belongs to. */
function descend(nodes: InnerNode[], starts: number[], keys: readonly Bytes[]): number {
  const { length } = nodes;
  const pages: Page[] = [];
  for (let at = 0; at < length; at++) pages.push((nodes[at] as InnerNode).separators);
  const touched = startSearches(pages, starts, keys);
  for (let at = 0; at < length; at++)
    starts[at] = (nodes[at] as InnerNode).childFor(keys[at] as Bytes, starts[at] as number);
  const children: TreeNode[] = nodes;
  for (let at = 0; at < length; at++) children[at] = (nodes[at] as InnerNode).child(starts[at] as number);
  return touched;
}

/** Begins the search of each page, and reads what the rest of it will. Loops as simple as these keep the reads near each other. */
function startSearches(pages: readonly Page[], starts: number[], keys: readonly Bytes[]): number {
  const { length } = pages;
  let touched = 0;
  for (let at = 0; at < length; at++) touched += (pages[at] as Page).count;
  for (let at = 0; at < length; at++) touched += (pages[at] as Page).logBytes;
  for (let at = 0; at < length; at++) touched += (pages[at] as Page).touchSlot(keys[at] as Bytes);
  for (let at = 0; at < length; at++) starts[at] = (pages[at] as Page).searchStart(keys[at] as Bytes);
  for (let at = 0; at < length; at++) touched += (pages[at] as Page).touchRecord(starts[at] as number);
  return touched;
}
