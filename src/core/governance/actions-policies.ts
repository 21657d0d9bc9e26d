/** Actions on voting policies and the script that may judge (R8). Whether the policies hold is judged with all actions applied. */
import { ACTION_NAMES, type ActionName } from "./action-names.ts";
import { requireChange, type ActionKind } from "./action-kind.ts";
import { readScript } from "./constitution-codec.ts";
import type { Constitution } from "./constitution.ts";
import { checkPolicies } from "./policy-check.ts";
import { readVotingPolicy, votingPolicyTree } from "./policy-codec.ts";
import type { VotingPolicies, VotingPolicy } from "./policy.ts";
import { refused } from "./refusal.ts";

/** A policy of one action, or of all that have none of their own. */
export interface SetPolicyArgs {
  readonly action: ActionName | "default";
  readonly policy: VotingPolicy;
}

/** An action that is to be judged by the default policy again. */
export interface RemovePolicyArgs {
  readonly action: ActionName;
}

/** The script of the constitution; null: none. */
export interface SetScriptArgs {
  readonly source: string | null;
}

function withPolicy(policies: VotingPolicies, action: ActionName | "default", policy: VotingPolicy): VotingPolicies {
  if (action === "default") return { ...policies, default: policy };
  return { ...policies, actions: { ...policies.actions, [action]: policy } };
}

const SET: ActionKind<SetPolicyArgs> = {
  read: (fields) => ({
    action: fields.choice("action", ["default", ...ACTION_NAMES]),
    policy: fields.record("policy", readVotingPolicy),
  }),
  tree: ({ action, policy }) => ({ action, policy: votingPolicyTree(policy) }),
  apply: (constitution, { action, policy }) => {
    const { policies } = constitution;
    const before = action === "default" ? policies.default : policies.actions[action];
    requireChange(before ? votingPolicyTree(before) : null, votingPolicyTree(policy), `the policy of ${action}`);
    return { ...constitution, policies: withPolicy(policies, action, policy) };
  },
};

const REMOVE: ActionKind<RemovePolicyArgs> = {
  read: (fields) => ({ action: fields.choice("action", ACTION_NAMES) }),
  tree: ({ action }) => ({ action }),
  apply: (constitution, { action }) => {
    const { policies } = constitution;
    const { [action]: removed, ...actions } = policies.actions;
    if (removed === undefined) throw refused("PolicyUnknown", `${action} has no policy of its own`);
    return { ...constitution, policies: { ...policies, actions } };
  },
};

const SET_SCRIPT: ActionKind<SetScriptArgs> = {
  read: (fields) => ({ source: fields.nullable("source", () => readScript(fields, "source")) }),
  tree: ({ source }) => ({ source }),
  apply: (constitution, { source }) => {
    const { script, ...rest } = constitution;
    requireChange(script ?? null, source, "the script");
    return source === null ? rest : { ...rest, script: source };
  },
};

/** Refuses policies that name strangers or under which nothing could pass; names what was changed as the cause. */
export function checkVoting(after: Constitution, before: Constitution): void {
  const { policies, actors, script } = after;
  const [first] = checkPolicies(policies, actors, script);
  if (first === undefined) return;
  const { field, problem } = first;
  const isOwnFault = policies !== before.policies || script !== before.script;
  throw refused(isOwnFault ? "PolicyInvalid" : "PolicyNeedsChange", `${field}: ${problem}`, { field });
}

/** The actions of this file. */
export const POLICY_ACTIONS = { set_policy: SET, remove_policy: REMOVE, set_script: SET_SCRIPT };
