/**
 * Leases (R32): every listed node holds one in the ledger, from the batch that recorded its newest evidence on. Whose lease has
 * ended by the ledger's clock is quarantined by a `quarantine`, which any leader proposes and every node judges: from then on
 * it is handed no epoch key and has no say in elections, until evidence of it is recorded again.
 *
 * What a quarantined node acknowledges counts as before, so that the quorums of Raft stay what they are. Its votes do not: every
 * election is decided by others, and each of their quorums meets every quorum of acknowledgements in one of them. So nothing
 * committed can be lost, whatever a quarantined node claims to have stored. It is therefore quarantined only as long as the
 * others can elect and replicate without it.
 */
import { fromHex } from "../codec/bytes.ts";
import { Quorum } from "../consensus/quorum.ts";
import type { Configuration, NodeId, VoterSet } from "../consensus/types.ts";
import { listedNodes, readNodes } from "./configuration.ts";
import type { Constitution } from "./constitution.ts";
import type { FieldReader, FieldTree } from "./fields.ts";
import { refused } from "./refusal.ts";
import { CocoError } from "../../errors.ts";

/** Part of a lease after which a node renews it: there is time for many attempts. */
export const LEASE_RENEWAL_PART = 1 / 2;
/** Part of a lease in which a node's unchanged evidence is not recorded again: renewals must not fill the ledger. */
export const LEASE_REST_PART = 1 / 4;

/** The lease of one node. */
export interface LeaseRecord {
  /** Ledger's clock when it began: the node was listed, its evidence recorded, or the length of leases changed. */
  readonly fromMs: number;
  /** Ledger's clock when the node was quarantined; absent: it is not. */
  readonly quarantinedAtMs?: number;
}

/** Quarantines nodes whose lease has ended. */
export interface QuarantineTransaction {
  readonly type: "quarantine";
  /** In the order of the VN list, each once. */
  readonly nodeIds: readonly NodeId[];
}

/** The leases of all listed nodes. */
export type Leases = ReadonlyMap<NodeId, LeaseRecord>;

/** The part of the governance state that leases depend on. */
export interface LeasesState {
  readonly constitution: Constitution;
  readonly configuration: Configuration;
  readonly leases: Leases;
}

/** The tree form of the transaction's fields. */
export function quarantineTree({ nodeIds }: Omit<QuarantineTransaction, "type">) {
  return { nodeIds: nodeIds.map(fromHex) } satisfies FieldTree;
}

/** Reads the transaction's fields. */
export function readQuarantine(fields: FieldReader): Omit<QuarantineTransaction, "type"> {
  return { nodeIds: readNodes(fields, "nodeIds") };
}

/** How long leases are, in milliseconds; 0: there are none. */
export function leaseLengthMs({ settings }: Pick<Constitution, "settings">): number {
  return settings.leaseMs ?? 0;
}

/** Whether a node is quarantined. */
export function isQuarantined({ leases }: Pick<LeasesState, "leases">, nodeId: NodeId): boolean {
  return leases.get(nodeId)?.quarantinedAtMs !== undefined;
}

/** The listed nodes that are handed keys and have a say in elections, in the order of the VN list. */
export function nodesInGoodStanding<Node extends { readonly nodeId: NodeId }>(
  state: Pick<LeasesState, "leases"> & { readonly constitution: { readonly nodes: readonly Node[] } },
): readonly Node[] {
  return state.constitution.nodes.filter(({ nodeId }) => !isQuarantined(state, nodeId));
}

/** When the lease of a node ends, by the ledger's clock; undefined when it has none. */
export function leaseEndsAtMs(
  { constitution, leases }: Pick<LeasesState, "constitution" | "leases">,
  nodeId: NodeId,
): number | undefined {
  const lengthMs = leaseLengthMs(constitution);
  const lease = leases.get(nodeId);
  return lengthMs === 0 || lease === undefined ? undefined : lease.fromMs + lengthMs;
}

/** Whether a node may renew its lease with unchanged evidence, at a time of the ledger's clock. */
export function mayRenew(state: Pick<LeasesState, "constitution" | "leases">, nodeId: NodeId, nowMs: number): boolean {
  return isPast(state, nodeId, nowMs, LEASE_REST_PART);
}

/** Whether it is time for a node to renew its lease. */
export function renewalIsDue(
  state: Pick<LeasesState, "constitution" | "leases">,
  nodeId: NodeId,
  nowMs: number,
): boolean {
  return isPast(state, nodeId, nowMs, LEASE_RENEWAL_PART);
}

function isPast(
  state: Pick<LeasesState, "constitution" | "leases">,
  nodeId: NodeId,
  nowMs: number,
  part: number,
): boolean {
  const lengthMs = leaseLengthMs(state.constitution);
  const lease = state.leases.get(nodeId);
  if (lengthMs === 0 || lease === undefined) return false;
  return lease.quarantinedAtMs !== undefined || nowMs >= lease.fromMs + lengthMs * part;
}

/** The leases after a change of the constitution: of the nodes listed now; all begin anew when their length changed. */
export function leasesAfter(before: Omit<LeasesState, "configuration">, after: Constitution, nowMs: number): Leases {
  const isSameLength = leaseLengthMs(before.constitution) === leaseLengthMs(after);
  return new Map(
    listedNodes(after).map((nodeId) => [nodeId, (isSameLength && before.leases.get(nodeId)) || { fromMs: nowMs }]),
  );
}

/** The leases with that of a node begun anew, and its quarantine ended. */
export function renewed(leases: Leases, nodeId: NodeId, nowMs: number): Leases {
  return new Map(leases).set(nodeId, { fromMs: nowMs });
}

/** Nodes whose leases have ended by a time of the ledger's clock, and that are not quarantined; in the order of the VN list. */
export function lapsedNodes(state: LeasesState, nowMs: number): readonly NodeId[] {
  if (leaseLengthMs(state.constitution) === 0) return [];
  return listedNodes(state.constitution).filter((nodeId) => {
    const endsAtMs = leaseEndsAtMs(state, nodeId);
    return endsAtMs !== undefined && nowMs >= endsAtMs && !isQuarantined(state, nodeId);
  });
}

/** As many of these nodes as the others can do without, the first ones first. */
export function quarantinable(state: LeasesState, nodeIds: readonly NodeId[]): readonly NodeId[] {
  let count = nodeIds.length;
  while (count > 0 && !canDoWithout(state, nodeIds.slice(0, count))) count--;
  return nodeIds.slice(0, count);
}

/** Whether the others, without those that are quarantined already, elect and replicate in every set of voters. */
function canDoWithout(state: LeasesState, nodeIds: readonly NodeId[]): boolean {
  const { current, previous } = state.configuration;
  const stays = (nodeId: NodeId): boolean => !nodeIds.includes(nodeId) && !isQuarantined(state, nodeId);
  return [current, previous].every((set) => set === undefined || goesOn(set, stays));
}

function goesOn({ voters, quorum: policy }: VoterSet, stays: (nodeId: NodeId) => boolean): boolean {
  try {
    const quorum = new Quorum(voters, policy);
    return quorum.elects(stays) && quorum.replicatedIndex((voter) => (stays(voter) ? 1 : 0)) === 1;
  } catch (error) {
    if (error instanceof CocoError && error.code === "ConfigurationInvalid") return false;
    throw error;
  }
}

/** The leases after a `quarantine`; throws `ProposalInvalid` unless each of its nodes has lapsed and can be done without. */
export function executeQuarantine(
  state: LeasesState,
  { nodeIds }: Pick<QuarantineTransaction, "nodeIds">,
  nowMs: number,
): Leases {
  const due = lapsedNodes(state, nowMs).filter((nodeId) => nodeIds.includes(nodeId));
  const isDue = due.length > 0 && due.length === nodeIds.length && due.every((nodeId, at) => nodeId === nodeIds[at]);
  if (!isDue || quarantinable(state, due).length < due.length)
    throw refused(
      "QuarantineNotDue",
      "these are not nodes whose lease has ended and without which the others can go on",
    );
  const leases = new Map(state.leases);
  for (const nodeId of nodeIds) {
    const { fromMs } = state.leases.get(nodeId) ?? { fromMs: nowMs };
    leases.set(nodeId, { fromMs, quarantinedAtMs: nowMs });
  }
  return leases;
}
