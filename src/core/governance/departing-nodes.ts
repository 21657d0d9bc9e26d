/** Nodes that were voted out since the newest epoch was opened: they may still vote, and their signatures still count. */
import type { Bytes } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import { MAX_NODES, type Constitution, type NodeEntry } from "./constitution.ts";
import { refused } from "./refusal.ts";

/** Most nodes that were removed and whose signatures still count, because no epoch was opened since. */
export const MAX_DEPARTING_NODES = 2 * MAX_NODES;

/** The part of the governance state that knows of them. */
export interface DepartingState {
  readonly constitution: Constitution;
  readonly departing: readonly NodeEntry[];
}

/** Who is departing once this is the constitution; throws `ProposalInvalid` when they would be too many. */
export function departingNodes(
  { constitution, departing }: DepartingState,
  after: Pick<Constitution, "nodes">,
): readonly NodeEntry[] {
  const listed = new Set(after.nodes.map(({ nodeId }) => nodeId));
  const leaving = [...departing, ...constitution.nodes].filter(({ nodeId }) => !listed.has(nodeId));
  if (leaving.length > MAX_DEPARTING_NODES)
    throw refused("ChangeInProgress", "too many nodes were removed since the newest epoch was opened");
  return leaving;
}

/** Public key (SubjectPublicKeyInfo, DER) of each node whose signature counts: the listed ones and those that are leaving. */
export function signingKeys(state: DepartingState): Map<NodeId, Bytes> {
  return new Map([...state.departing, ...state.constitution.nodes].map((node) => [node.nodeId, node.publicKey]));
}
