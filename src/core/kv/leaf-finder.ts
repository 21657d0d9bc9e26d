/**
 * Finds the leaves of many keys at once. In a large tree most of what a search reads is in none of the processor's caches, and a
 * search by itself waits for one read after the other. Here all keys take each step together: the reads of one step do not
 * depend on each other, so the processor has many of them under way at a time (memory-level parallelism; Kocberber, Falsafi and
 * Grot, "Asynchronous Memory Access Chaining", VLDB 2015). It pays although each step reads in vain when all is in a cache.
 */
import type { Bytes } from "../codec/bytes.ts";
import { InnerNode, type TreeNode } from "./inner-node.ts";
import type { Page } from "./page.ts";
import { LINE_BYTES, touchPlaces } from "./page-log.ts";

/** Leaves, one for each key, and where the search of each for its key begins. */
interface FoundLeaves {
  readonly leaves: readonly Page[];
  readonly starts: readonly number[];
  /** Made of what was read ahead, and means nothing: what is never used, a compiler may not read. */
  readonly touched: number;
}

/** The leaf each key belongs to. What a search of it reads is near to the processor afterwards. */
export function findLeaves(root: TreeNode, keys: readonly Bytes[]): FoundLeaves {
  const nodes: TreeNode[] = keys.map(() => root);
  let touched = 0;
  // All leaves have the same depth.
  while (nodes[0] instanceof InnerNode) touched ^= descend(nodes as InnerNode[], keys);
  const leaves = nodes as Page[];
  const starts: number[] = keys.map(() => 0);
  touched ^= startSearches(leaves, starts, keys);
  return { leaves, starts, touched };
}

/**
 * Puts in the place of each node the child its key belongs to. Here and below, loops that read one thing each keep the reads
 * near each other: one that goes from thing to thing has few of them under way.
 */
function descend(nodes: InnerNode[], keys: readonly Bytes[]): number {
  const { length } = nodes;
  const places: number[] = keys.map(() => 0);
  let touched = 0;
  for (let at = 0; at < length; at++) places[at] = (nodes[at] as InnerNode).index.guess(keys[at] as Bytes);
  for (let at = 0; at < length; at++) touched ^= (nodes[at] as InnerNode).index.touchHint(places[at] as number);
  for (let at = 0; at < length; at++)
    places[at] = (nodes[at] as InnerNode).childFor(keys[at] as Bytes, places[at] as number);
  const children: TreeNode[] = nodes;
  for (let at = 0; at < length; at++) children[at] = (nodes[at] as InnerNode).child(places[at] as number);
  return touched;
}

/** Begins the search of each leaf, and reads what the rest of it will. */
function startSearches(leaves: readonly Page[], starts: number[], keys: readonly Bytes[]): number {
  const { length } = leaves;
  const logs = leaves.map((leaf) => leaf.memory);
  const places: number[] = keys.map(() => 0);
  let touched = 0;
  for (let at = 0; at < length; at++) touched ^= (logs[at] as Uint8Array).length;
  for (let at = 0; at < length; at++) starts[at] = (leaves[at] as Page).guess(keys[at] as Bytes);
  for (let at = 0; at < length; at++) places[at] = (leaves[at] as Page).slotPlace(starts[at] as number);
  touched ^= touchPlaces(logs, places);
  for (let at = 0; at < length; at++)
    starts[at] = (leaves[at] as Page).searchStart(keys[at] as Bytes, starts[at] as number);
  for (let at = 0; at < length; at++) places[at] = (leaves[at] as Page).recordPlace(starts[at] as number);
  touched ^= touchPlaces(logs, places);
  for (let at = 0; at < length; at++) places[at] = (places[at] as number) + LINE_BYTES - 1;
  touched ^= touchPlaces(logs, places);
  for (let at = 0; at < length; at++) touched ^= (leaves[at] as Page).touchEnd();
  return touched;
}
