/** Policies under which nothing could pass: found before they are in force. */
import type { Rule, VotingPolicies } from "./policy.ts";

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
