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

/** The leaf each key belongs to. What a search of it reads is near to the processor afterwards. */
export function findLeaves(root: TreeNode, keys: readonly Bytes[]): readonly Page[] {
  const nodes: TreeNode[] = keys.map(() => root);
  let touched = 0;
  // All leaves have the same depth.
  while (nodes[0] instanceof InnerNode) touched += descend(nodes as InnerNode[], keys);
  const leaves = nodes as Page[];
  touched += touchPages(leaves, keys);
  for (let at = 0; at < leaves.length; at++) touched += (leaves[at] as Page).touchEnd();
  // What is read must be used, or a compiler may leave the reading out.
  invariant(touched >= 0, "bytes are not negative");
  return leaves;
}

/** Puts in the place of each node the child its key belongs to. */
function descend(nodes: InnerNode[], keys: readonly Bytes[]): number {
  const { length } = nodes;
  const pages: Page[] = [];
  let touched = 0;
  for (let at = 0; at < length; at++) pages.push((nodes[at] as InnerNode).separators);
  touched += touchPages(pages, keys);
  const indexes: number[] = [];
  for (let at = 0; at < length; at++) indexes.push((nodes[at] as InnerNode).childFor(keys[at] as Bytes));
  const children: TreeNode[] = nodes;
  for (let at = 0; at < length; at++) children[at] = (nodes[at] as InnerNode).child(indexes[at] as number);
  return touched;
}

/** Reads what searches of pages read. Loops as simple as these keep the reads near each other. */
function touchPages(pages: readonly Page[], keys: readonly Bytes[]): number {
  const { length } = pages;
  let touched = 0;
  for (let at = 0; at < length; at++) touched += (pages[at] as Page).count;
  for (let at = 0; at < length; at++) touched += (pages[at] as Page).logBytes;
  for (let at = 0; at < length; at++) touched += (pages[at] as Page).touchTable();
  const offsets: number[] = [];
  for (let at = 0; at < length; at++) offsets.push((pages[at] as Page).likelyRecord(keys[at] as Bytes));
  for (let at = 0; at < length; at++) touched += (pages[at] as Page).touchRecord(offsets[at] as number);
  return touched;
}
