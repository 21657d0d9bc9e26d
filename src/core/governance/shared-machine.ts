/**
 * One machine, one node (R7): whoever has taken over one machine, or the key of one chip, is one node of the network and no more.
 * Of the nodes on one machine all but the first need an entry of the TEE manifest that accepts them and says that they may be there.
 *
 * What is compared is what the ledger has recorded, so every node comes to the same result. Machines are told apart across TEEs: an
 * enclave of SGX and a guest of TDX can be on one chip. Evidence that names no machine is as of one and the same.
 */
import type { NodeId } from "../consensus/types.ts";
import type { Constitution } from "./constitution.ts";
import type { AttestedNode, GovernanceCrypto } from "./governance-crypto.ts";
import type { TeeEntry } from "./manifest-entries.ts";

/** What is known of the nodes and their machines. */
export interface RecordedMachines {
  readonly constitution: Pick<Constitution, "nodes">;
  readonly attested: ReadonlyMap<NodeId, Pick<AttestedNode, "platform">>;
}

/** What evidence is appraised by. */
export type Manifests = Pick<Constitution, "codeManifest" | "teeManifest">;

/**
 * Whether a node may be where another one is, as far as this entry goes. A machine of the virtual TEE is listed itself, by its key,
 * and shows nothing that its nodes could not: how many are on it is up to who votes for them. Tokens name no machine.
 */
export function allowsSharedMachine(entry: TeeEntry): boolean {
  switch (entry.tee) {
    case "virtual":
      return true;
    case "snp":
      return entry.policy.allow.includes("shared-machine");
    case "sgx":
    case "tdx":
      return entry.policy.allow?.includes("shared-machine") ?? false;
    case "vsm":
      return entry.policy.format === "maa-jwt" || entry.policy.allowSharedMachine;
  }
}

/** The manifests with those entries only that let a node be where another one is. */
export function sharingManifests({ codeManifest, teeManifest }: Manifests): Manifests {
  return { codeManifest, teeManifest: teeManifest.filter(allowsSharedMachine) };
}

/**
 * The first other listed node that is recorded on the platform of a listed one; undefined when there is none, or that one is recorded
 * there itself: then it was admitted. A node that was voted out may make room on its machine for the one after it.
 */
export function holderOf(
  { constitution: { nodes }, attested }: RecordedMachines,
  nodeId: NodeId,
  platform: string,
): NodeId | undefined {
  const isThere = (id: NodeId): boolean => attested.get(id)?.platform === platform;
  if (isThere(nodeId) || nodes.every((node) => node.nodeId !== nodeId)) return undefined;
  return nodes.find((node) => isThere(node.nodeId))?.nodeId;
}

/** Whether one of the nodes listed before it is recorded on the same machine, and no entry in force lets this one be there. */
export function isOneTooMany(
  {
    constitution,
    attested,
  }: { readonly constitution: Constitution; readonly attested: ReadonlyMap<NodeId, AttestedNode> },
  nodeId: NodeId,
  nowMs: number,
  crypto: Pick<GovernanceCrypto, "appraise">,
): boolean {
  if (constitution.teeManifest.every(allowsSharedMachine)) return false;
  const node = attested.get(nodeId);
  const first = constitution.nodes.find((listed) => attested.get(listed.nodeId)?.platform === node?.platform)?.nodeId;
  if (node === undefined || first === nodeId) return false;
  return crypto.appraise(node, sharingManifests(constitution), nowMs).length > 0;
}
