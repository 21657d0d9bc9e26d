/**
 * Expulsion (R8, R9): nodes on code or machines that are not in force any more leave the VN list. A vote that retires code
 * expels them by the same decision (actions.ts); when an entry ends by its date, any leader proposes an `expel`, which every
 * node judges by the ledger's clock. It waits for as long as the others were not enough to go on.
 */
import { fromHex } from "../codec/bytes.ts";
import { Quorum } from "../consensus/quorum.ts";
import type { Configuration, NodeId, VoterSet } from "../consensus/types.ts";
import type { ActionEffect } from "./actions.ts";
import { mayRun, type AttestationState } from "./attest.ts";
import { listedNodes, readNodes, voterSetOf } from "./configuration.ts";
import type { Constitution } from "./constitution.ts";
import type { FieldReader, FieldTree } from "./fields.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { refused } from "./refusal.ts";
import { isOneTooMany } from "./shared-machine.ts";
import { CocoError } from "../../errors.ts";

/** Takes nodes out of the VN list whose code or machine is not in force any more. */
export interface ExpelTransaction {
  readonly type: "expel";
  /** In the order of the VN list, each once. */
  readonly nodeIds: readonly NodeId[];
}

/** The part of the governance state that expulsion depends on. */
export interface ExpulsionState extends AttestationState {
  readonly configuration: Configuration;
}

/** Nodes that are to be expelled now. */
export interface DueExpulsion {
  /** Those the others can do without; in the order of the VN list. */
  readonly expels: readonly NodeId[];
  /** Those that stay for now, because too few would be left. */
  readonly waits: readonly NodeId[];
}

const NOBODY: DueExpulsion = { expels: [], waits: [] };

/** The tree form of the transaction's fields. */
export function expelTree({ nodeIds }: Omit<ExpelTransaction, "type">) {
  return { nodeIds: nodeIds.map(fromHex) } satisfies FieldTree;
}

/** Reads the transaction's fields. */
export function readExpel(fields: FieldReader): Omit<ExpelTransaction, "type"> {
  return { nodeIds: readNodes(fields, "nodeIds") };
}

/** Who is to be expelled at a time of the ledger's clock; of a node that was never attested nothing is known. */
export function dueExpulsion(
  state: ExpulsionState,
  nowMs: number,
  crypto: Pick<GovernanceCrypto, "appraise">,
): DueExpulsion {
  const { constitution, attested } = state;
  const due = listedNodes(constitution).filter((nodeId) => {
    const node = attested.get(nodeId);
    if (node === undefined) return false;
    return !mayRun(constitution, node, nowMs, crypto) || isOneTooMany(state, nodeId, nowMs, crypto);
  });
  if (due.length === 0) return NOBODY;
  let count = due.length;
  while (count > 0 && !canSpare(state, due.slice(0, count))) count--;
  return { expels: due.slice(0, count), waits: due.slice(count) };
}

/** Expelled nodes may be cut off before they have handed over: the other voters must be enough without them. */
function canSpare({ configuration, constitution }: ExpulsionState, expelled: readonly NodeId[]): boolean {
  const staying = new Set(listedNodes(withoutNodes(constitution, expelled)));
  const stays = (nodeId: NodeId): boolean => staying.has(nodeId);
  const { current, previous } = configuration;
  if (previous !== undefined || quorumOf(voterSetOf(withoutNodes(constitution, expelled))) === undefined) return false;
  const quorum = quorumOf(current);
  return quorum?.elects(stays) === true && quorum.replicatedIndex((voter) => (stays(voter) ? 1 : 0)) === 1;
}

/** Undefined when there is no such quorum: too few voters, or none. */
function quorumOf({ voters, quorum }: VoterSet): Quorum | undefined {
  try {
    return new Quorum(voters, quorum);
  } catch (error) {
    if (error instanceof CocoError && error.code === "ConfigurationInvalid") return undefined;
    throw error;
  }
}

function withoutNodes(constitution: Constitution, expelled: readonly NodeId[]): Constitution {
  return { ...constitution, nodes: constitution.nodes.filter(({ nodeId }) => !expelled.includes(nodeId)) };
}

/** What an `expel` does; throws `ProposalInvalid` unless it names exactly those who are due and can be spared. */
export function expulsionEffect(
  state: ExpulsionState,
  { nodeIds }: Pick<ExpelTransaction, "nodeIds">,
  nowMs: number,
  crypto: Pick<GovernanceCrypto, "appraise">,
): ActionEffect {
  const { expels } = dueExpulsion(state, nowMs, crypto);
  const isDue = expels.length > 0 && expels.length === nodeIds.length && expels.every((id, at) => id === nodeIds[at]);
  if (!isDue) throw refused("ExpulsionNotDue", "these are not the nodes that are to be expelled now");
  const { constitution } = state;
  const after = { ...withoutNodes(constitution, expels), version: constitution.version + 1 };
  return { constitution: after, opensEpoch: true, rotatesService: true, expels };
}
