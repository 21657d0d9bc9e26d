/** The actions that change a VN list into another one. */
import type { Action } from "../../src/core/governance/actions.ts";
import type { Constitution, NodeEntry } from "../../src/core/governance/constitution.ts";

/** The actions that lead from the VN list of a constitution to another one. */
export function nodeListActions({ nodes: before }: Constitution, after: readonly NodeEntry[]): readonly Action[] {
  const isIn = (list: readonly NodeEntry[], { nodeId }: NodeEntry) => list.some((node) => node.nodeId === nodeId);
  const removed = before.filter((node) => !isIn(after, node));
  const added = after.filter((node) => !isIn(before, node));
  return [
    ...removed.map(({ nodeId }): Action => ({ name: "remove_node", args: { nodeId } })),
    ...added.map((entry): Action => ({ name: "add_node", args: { entry } })),
  ];
}
