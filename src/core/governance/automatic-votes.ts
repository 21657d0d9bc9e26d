/**
 * Automatic votes (R8): a member states criteria once, and votes yes on every proposal that meets them, without a ballot. A
 * ballot of the member always counts instead.
 */
import { judgedActions, type Action } from "./actions.ts";
import type { Constitution } from "./constitution.ts";
import type { FieldReader, FieldTree } from "./fields.ts";
import type { VoteCriteria } from "./proposal.ts";
import { ACTION_NAMES } from "./action-names.ts";

/** Most criteria a member registers. */
export const MAX_CRITERIA = 16;

/** Whether a proposal of these actions meets criteria under a constitution. */
export function matchesCriteria(
  criteria: VoteCriteria,
  constitution: Constitution,
  actions: readonly Action[],
): boolean {
  return (
    judgedActions(actions).every((name) => criteria.actions.includes(name)) &&
    (!criteria.existingActor || addedNodes(actions).every(({ owner }) => hasActor(constitution, owner))) &&
    withinQuota(criteria.nodesPerActor, constitution, actions) &&
    (!criteria.codeApprovedByMajority ||
      addedNodes(actions).every((node) => runsApproved(constitution, node.measurement)))
  );
}

/** A node that comes by a proposal, also in place of another. */
interface AddedNode {
  readonly owner: string;
  readonly measurement: string | undefined;
}

function addedNodes(actions: readonly Action[]): readonly AddedNode[] {
  return actions.flatMap((action): readonly AddedNode[] => {
    if (action.name === "add_node") return [{ owner: action.args.entry.owner, measurement: action.args.measurement }];
    // Nothing is said of the code of a node that takes another one's place.
    return action.name === "replace_node" ? [{ owner: action.args.entry.owner, measurement: undefined }] : [];
  });
}

function hasActor({ actors }: Constitution, id: string): boolean {
  return actors.some((actor) => actor.id === id);
}

function withinQuota(most: number, { nodes }: Constitution, actions: readonly Action[]): boolean {
  if (most === 0) return true;
  const added = addedNodes(actions).map(({ owner }) => owner);
  const owners = [...nodes.map(({ owner }) => owner), ...added];
  return added.every((owner) => owners.filter((other) => other === owner).length <= most);
}

/** Code of the genesis constitution was agreed on by all founders, who compared the network id. */
function runsApproved({ codeManifest }: Constitution, measurement: string | undefined): boolean {
  const code = codeManifest.find((entry) => entry.measurement === measurement);
  if (code === undefined) return false;
  return code.approval === undefined || code.approval.yes * 2 > code.approval.members;
}

/** Reads criteria from the payload of a request, or from the state. */
export function readCriteria(fields: FieldReader): readonly VoteCriteria[] {
  return fields.list("criteria", MAX_CRITERIA, (item) => ({
    actions: item.values("actions", ACTION_NAMES.length).map((name) => {
      const known = ACTION_NAMES.find((candidate) => candidate === name);
      if (known === undefined) throw item.invalid("actions", `expected names of actions: ${ACTION_NAMES.join(", ")}`);
      return known;
    }),
    existingActor: item.has("existingActor") ? item.flag("existingActor") : false,
    nodesPerActor: item.has("nodesPerActor") ? item.integer("nodesPerActor", { min: 0, max: 64 }) : 0,
    codeApprovedByMajority: item.has("codeApprovedByMajority") ? item.flag("codeApprovedByMajority") : false,
  }));
}

/** The tree form of criteria. */
export function criteriaTree(criteria: readonly VoteCriteria[]): FieldTree {
  return criteria.map(({ actions, existingActor, nodesPerActor, codeApprovedByMajority }) => ({
    actions,
    existingActor,
    nodesPerActor,
    codeApprovedByMajority,
  }));
}
