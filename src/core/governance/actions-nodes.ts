/** Actions on the VN list (R6, R9): add, remove, replace validating nodes; every entry is signed by its owner. */
import { bytesEqual, fromHex, toHex } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import { requireChange, withReplaced, type ActionContext, type ActionKind } from "./action-kind.ts";
import { withMachine } from "./actions-manifests.ts";
import { nodeEntryTree, readNodeEntry } from "./constitution-codec.ts";
import { readTeeEntry, teeEntryTree } from "./manifest-codec.ts";
import { isInForce, type TeeEntry } from "./manifest-entries.ts";
import { MAX_NODES, type Constitution, type NodeEntry } from "./constitution.ts";
import { MEASUREMENT_BYTES } from "./manifest-codec.ts";
import type { FieldReader } from "./fields.ts";
import { nodeEntryProblem } from "./node-entry.ts";
import { teeKey } from "./manifest-entries.ts";
import { MAX_MEASUREMENT_BYTES, readMeasurement } from "./manifest-codec.ts";
import { refused } from "./refusal.ts";

const NODE_ID_BYTES = 32;

/** A node to be listed. */
export interface AddNodeArgs {
  readonly entry: NodeEntry;
  /** Its machine, where the TEE manifest does not list it yet. */
  readonly tee?: TeeEntry;
  /** The code it will run, for those who vote on it; lower-case hex. */
  readonly measurement?: string;
}

/** A listed node. */
export interface RemoveNodeArgs {
  readonly nodeId: NodeId;
}

/** A node to be listed in place of another, or the same one with other addresses or another owner. */
export interface ReplaceNodeArgs {
  readonly nodeId: NodeId;
  readonly entry: NodeEntry;
  readonly tee?: TeeEntry;
}

function readTee(fields: FieldReader): { readonly tee?: TeeEntry } {
  return fields.has("tee") ? { tee: fields.record("tee", readTeeEntry) } : {};
}

function requireNode({ nodes }: Constitution, id: NodeId): NodeEntry {
  const node = nodes.find(({ nodeId }) => nodeId === id);
  if (node === undefined) throw refused("NodeUnknown", `node ${id} is not in the VN list`);
  return node;
}

function requireSigned(constitution: Constitution, entry: NodeEntry, { networkName, crypto }: ActionContext): void {
  const owner = constitution.actors.find(({ id }) => id === entry.owner);
  if (owner === undefined) throw refused("OwnerUnknown", `${entry.owner} is not an actor of this network`);
  const problem = nodeEntryProblem(networkName, entry, owner, crypto);
  if (problem !== undefined) throw refused("NodeSignatureInvalid", `node ${entry.nodeId}: ${problem}`);
}

function withTee(constitution: Constitution, tee: TeeEntry | undefined, nowMs: number): Constitution {
  if (tee === undefined) return constitution;
  const listed = constitution.teeManifest.find((other) => teeKey(other) === teeKey(tee));
  // Several nodes of one machine may be voted on at a time, and each brings it along.
  if (listed === undefined) return withMachine(constitution, tee, nowMs);
  if (!isInForce(listed, nowMs)) throw refused("TeeNotInForce", "the machine is listed, and not in force");
  return constitution;
}

function requireCode({ codeManifest }: Constitution, measurement: string, nowMs: number): void {
  if (!codeManifest.some((entry) => entry.measurement === measurement && isInForce(entry, nowMs)))
    throw refused("CodeNotInForce", `measurement ${measurement} is not in force`);
}

const ADD: ActionKind<AddNodeArgs> = {
  read: (fields) => ({
    entry: fields.record("entry", readNodeEntry),
    ...readTee(fields),
    ...(fields.has("measurement") && {
      measurement: readMeasurement(fields, "measurement", [MEASUREMENT_BYTES, MAX_MEASUREMENT_BYTES]),
    }),
  }),
  tree: ({ entry, tee, measurement }) => ({
    entry: nodeEntryTree(entry),
    tee: tee && teeEntryTree(tee),
    measurement: measurement === undefined ? undefined : fromHex(measurement),
  }),
  apply: (constitution, { entry, tee, measurement }, context) => {
    if (constitution.nodes.some(({ nodeId }) => nodeId === entry.nodeId))
      throw refused("NodeExists", `node ${entry.nodeId} is in the VN list`);
    requireSigned(constitution, entry, context);
    if (measurement !== undefined) requireCode(constitution, measurement, context.nowMs);
    return withTee({ ...constitution, nodes: [...constitution.nodes, entry] }, tee, context.nowMs);
  },
};

const REMOVE: ActionKind<RemoveNodeArgs> = {
  read: (fields) => ({ nodeId: fields.hex("nodeId", NODE_ID_BYTES) }),
  tree: ({ nodeId }) => ({ nodeId: fromHex(nodeId) }),
  apply: (constitution, { nodeId }) => {
    const node = requireNode(constitution, nodeId);
    return { ...constitution, nodes: constitution.nodes.filter((other) => other !== node) };
  },
};

const REPLACE: ActionKind<ReplaceNodeArgs> = {
  read: (fields) => ({
    nodeId: fields.hex("nodeId", NODE_ID_BYTES),
    entry: fields.record("entry", readNodeEntry),
    ...readTee(fields),
  }),
  tree: ({ nodeId, entry, tee }) => ({
    nodeId: fromHex(nodeId),
    entry: nodeEntryTree(entry),
    tee: tee && teeEntryTree(tee),
  }),
  apply: (constitution, { nodeId, entry, tee }, context) => {
    const node = requireNode(constitution, nodeId);
    if (entry.nodeId !== nodeId && constitution.nodes.some((other) => other.nodeId === entry.nodeId))
      throw refused("NodeExists", `node ${entry.nodeId} is in the VN list`);
    requireSigned(constitution, entry, context);
    requireChange(nodeEntryTree(node), nodeEntryTree(entry), `node ${nodeId}`);
    return withTee({ ...constitution, nodes: withReplaced(constitution.nodes, node, entry) }, tee, context.nowMs);
  },
};

/** Refuses a VN list that consensus could not run on, or whose nodes would not be told apart. */
export function checkNodeList(after: Constitution, before: Constitution): void {
  const { nodes, settings } = after;
  if (nodes.length === 0) throw refused("NoNodeLeft", "the network would be left without a node");
  if (nodes.length > MAX_NODES) throw refused("NodesFull", `the VN list has at most ${MAX_NODES} nodes`);
  if (settings.consensus === "solo" && (nodes.length > 1 || nodes[0]?.nodeId !== before.nodes[0]?.nodeId))
    throw refused("SoloHasOneNode", "solo runs on the one node it began with");
  checkKeys(nodes, before);
  checkAddresses(nodes);
  checkOwners(after);
}

function checkKeys(nodes: readonly NodeEntry[], before: Constitution): void {
  const known = new Map(before.nodes.map((node) => [node.nodeId, node]));
  const users = new Map<string, NodeId>();
  for (const { nodeId, encryptionKey } of nodes) {
    const earlier = known.get(nodeId);
    // Epoch keys are wrapped to the key it had: with another one it could open none of them.
    if (earlier !== undefined && !bytesEqual(earlier.encryptionKey, encryptionKey))
      throw refused("NodeKeysChanged", `node ${nodeId} keeps its keys, or comes back as another node`);
    const user = users.get(toHex(encryptionKey));
    if (user !== undefined) throw refused("NodeKeyInUse", `nodes ${user} and ${nodeId} have one encryption key`);
    users.set(toHex(encryptionKey), nodeId);
  }
}

function checkAddresses(nodes: readonly NodeEntry[]): void {
  const users = new Map<string, NodeId>();
  for (const { nodeId, address, clientAddress } of nodes) {
    for (const used of [address.toLowerCase(), clientAddress.toLowerCase()]) {
      const user = users.get(used);
      if (user !== undefined)
        throw refused("NodeAddressInUse", `${used} is an address of node ${user}, and of ${nodeId}`);
      users.set(used, nodeId);
    }
  }
}

function checkOwners({ nodes, actors, settings }: Constitution): void {
  const listed = new Set(actors.map(({ id }) => id));
  const owned = new Map<string, number>();
  for (const { nodeId, owner } of nodes) {
    if (!listed.has(owner)) throw refused("ActorOwnsNodes", `${owner} would be gone, and owns node ${nodeId}`);
    const count = (owned.get(owner) ?? 0) + 1;
    owned.set(owner, count);
    if (settings.nodesPerActor > 0 && count > settings.nodesPerActor)
      throw refused("NodeQuota", `${owner} would own more than ${settings.nodesPerActor} nodes`);
  }
}

/** The actions of this file. */
export const NODE_ACTIONS = { add_node: ADD, remove_node: REMOVE, replace_node: REPLACE };
