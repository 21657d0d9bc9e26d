/** Voting policies (R8): how votes are judged, as data, so that a vote can change it. */
import type { ActionName } from "./action-names.ts";

/** When votes accept or reject a proposal. */
export type Rule =
  | { readonly type: "unanimous" }
  | { readonly type: "majority" }
  | { readonly type: "count"; readonly yes: number }
  | { readonly type: "weighted"; readonly weights: Readonly<Record<string, number>>; readonly threshold: number }
  | { readonly type: "veto"; readonly by: readonly string[]; readonly rule: Rule }
  | { readonly type: "stages"; readonly stages: readonly { readonly group: readonly string[]; readonly yes: number }[] }
  | { readonly type: "script" };

/** The policy of one action. */
export interface VotingPolicy {
  readonly rule: Rule;
  /** How long a proposal stays open, in milliseconds of the ledger's clock. */
  readonly expiresAfterMs: number;
  /** How long a proposal stays open at least. */
  readonly deliberationMs: number;
  /** How long an accepted proposal waits before it takes effect. */
  readonly delayMs: number;
}

/** The policies of a network. */
export interface VotingPolicies {
  readonly default: VotingPolicy;
  readonly actions: Readonly<Partial<Record<ActionName, VotingPolicy>>>;
}

/** What is wrong with a policy, and where. */
export interface PolicyProblem {
  readonly field: string;
  readonly problem: string;
}

/** Ids of the actors a rule names. */
function namedBy(rule: Rule): readonly string[] {
  switch (rule.type) {
    case "weighted":
      return Object.keys(rule.weights);
    case "veto":
      return [...rule.by, ...namedBy(rule.rule)];
    case "stages":
      return rule.stages.flatMap(({ group }) => group);
    default:
      return [];
  }
}

function problemOf(rule: Rule, members: ReadonlySet<string>, script: string | undefined): string | undefined {
  const stranger = namedBy(rule).find((id) => !members.has(id));
  if (stranger !== undefined) return `${stranger} is not a member`;
  switch (rule.type) {
    case "count":
      return rule.yes > members.size ? `needs ${rule.yes} of ${members.size} members` : undefined;
    case "weighted": {
      const sum = Object.values(rule.weights).reduce((total, weight) => total + weight, 0);
      return rule.threshold > sum ? `threshold ${rule.threshold} is above the sum of the weights ${sum}` : undefined;
    }
    case "veto":
      return problemOf(rule.rule, members, script);
    case "stages":
      return rule.stages.some(({ group, yes }) => yes > group.length)
        ? "a stage needs more votes than it has"
        : undefined;
    case "script":
      return script === undefined ? "the constitution has no script" : undefined;
    default:
      return undefined;
  }
}

/** What is wrong with the policies of a network with these actors and this script. */
export function checkPolicies(
  policies: VotingPolicies,
  actors: readonly { readonly id: string; readonly role: "member" | "participant" }[],
  script: string | undefined,
): readonly PolicyProblem[] {
  const members = new Set(actors.filter(({ role }) => role === "member").map(({ id }) => id));
  const all = [
    ["default", policies.default] as const,
    ...Object.entries(policies.actions).map(([name, policy]) => [`actions.${name}`, policy] as const),
  ];
  return all.flatMap(([path, { rule }]) => {
    const problem = problemOf(rule, members, script);
    return problem === undefined ? [] : [{ field: `policies.${path}.rule`, problem }];
  });
}
