/**
 * Which voting policies do not fit a network: those that name strangers, and every one under which no proposal could ever
 * be accepted. A network that took one could never change what it covers, the policy itself perhaps included.
 *
 * What cannot be known is whether a script will ever say yes, and whether members will.
 */
import { isActionName } from "./action-names.ts";
import {
  judge,
  type PolicyActor,
  type PolicyStage,
  type Rule,
  type VotingPolicies,
  type VotingPolicy,
  type WeightedRule,
} from "./policy.ts";

/** What is wrong with a policy: the field, such as `policies.default.rule.yes`, and a sentence that says what to do. */
export interface PolicyProblem {
  readonly field: string;
  readonly problem: string;
}

/** What a rule is checked against, and what was found. */
class PolicyCheck {
  readonly problems: PolicyProblem[] = [];
  readonly members: readonly string[];
  readonly hasScript: boolean;
  readonly #roles: ReadonlyMap<string, PolicyActor["role"]>;

  constructor(actors: readonly PolicyActor[], script: string | undefined) {
    this.#roles = new Map(actors.map((actor) => [actor.id, actor.role]));
    this.members = actors.flatMap((actor) => (actor.role === "member" ? [actor.id] : []));
    this.hasScript = script !== undefined;
  }

  add(field: string, problem: string): void {
    this.problems.push({ field, problem });
  }

  /** A group of members, each once. */
  group(field: string, group: readonly string[]): void {
    if (group.length === 0) this.add(field, "is empty: name at least one member");
    const seen = new Set<string>();
    for (const [at, actor] of group.entries()) {
      if (seen.has(actor)) this.add(`${field}[${at}]`, `${actor} is named twice: name each member once`);
      seen.add(actor);
      this.member(`${field}[${at}]`, actor);
    }
  }

  member(field: string, actor: string): void {
    const role = this.#roles.get(actor);
    if (role === undefined) this.add(field, `${actor} is not an actor of this network: name a member`);
    else if (role === "participant")
      this.add(field, `${actor} is a participant, and participants do not vote: name a member`);
  }
}

/** So many yes votes of so many. */
function checkCount(check: PolicyCheck, field: string, yes: number, of: number): void {
  if (yes === 0) check.add(field, "is 0, so that nobody would have to agree: name at least 1");
  else if (yes > of)
    check.add(field, `is ${yes}, and only ${of} can vote, so that nothing could ever pass: name 1 to ${of}`);
}

function checkStages(check: PolicyCheck, field: string, stages: readonly PolicyStage[]): void {
  if (stages.length === 0) check.add(field, "is empty: name at least one stage");
  for (const [at, stage] of stages.entries()) {
    check.group(`${field}[${at}].group`, stage.group);
    if (stage.group.length > 0) checkCount(check, `${field}[${at}].yes`, stage.yes, new Set(stage.group).size);
  }
}

function checkWeighted(check: PolicyCheck, field: string, rule: WeightedRule): void {
  const weights = Object.entries(rule.weights);
  if (weights.length === 0) check.add(`${field}.weights`, "is empty: give at least one member a weight");
  for (const [actor, weight] of weights) {
    check.member(`${field}.weights.${actor}`, actor);
    if (weight === 0) check.add(`${field}.weights.${actor}`, "is 0: leave out members without a weight");
  }
  const sum = weights.reduce((total, [actor, weight]) => total + (check.members.includes(actor) ? weight : 0), 0);
  const problem =
    rule.threshold === 0
      ? "is 0, so that nobody would have to agree: name at least 1"
      : `is ${rule.threshold}, and all weights of members together are ${sum}, so that nothing could ever pass: name 1 to ${sum}`;
  if (rule.threshold === 0 || rule.threshold > sum) check.add(`${field}.threshold`, problem);
}

function checkRule(check: PolicyCheck, field: string, rule: Rule): void {
  switch (rule.type) {
    case "unanimous":
    case "majority":
      break;
    case "count":
      checkCount(check, `${field}.yes`, rule.yes, check.members.length);
      break;
    case "weighted":
      checkWeighted(check, field, rule);
      break;
    case "stages":
      checkStages(check, `${field}.stages`, rule.stages);
      break;
    case "veto":
      check.group(`${field}.by`, rule.by);
      checkRule(check, `${field}.rule`, rule.rule);
      break;
    case "script":
      if (!check.hasScript)
        check.add(
          field,
          "is decided by the constitution's script, and there is none: add a script, or choose another rule",
        );
  }
}

function checkPolicy(check: PolicyCheck, field: string, policy: VotingPolicy): void {
  const found = check.problems.length;
  checkRule(check, `${field}.rule`, policy.rule);
  const allYes = new Map(check.members.map((member) => [member, "yes" as const]));
  if (check.problems.length === found && judge(policy.rule, allYes, check.members, "accepted") !== "accepted")
    check.add(`${field}.rule`, "accepts nothing even if every member votes yes: choose another rule");
  if (policy.deliberationMs >= policy.expiresAfterMs) {
    const lapse = `proposals lapse after ${policy.expiresAfterMs}, so that nothing could ever pass`;
    const problem = `is ${policy.deliberationMs}, and ${lapse}: name less`;
    check.add(`${field}.deliberationMs`, problem);
  }
}

/** What is wrong with the policies of a network with these actors and this script; nothing when the list is empty. */
export function checkPolicies(
  policies: VotingPolicies,
  actors: readonly PolicyActor[],
  script: string | undefined,
): readonly PolicyProblem[] {
  const check = new PolicyCheck(actors, script);
  if (check.members.length === 0) check.add("policies", "nobody can vote: the network needs at least one member");
  checkPolicy(check, "policies.default", policies.default);
  for (const [name, policy] of Object.entries(policies.actions))
    if (isActionName(name)) checkPolicy(check, `policies.actions.${name}`, policy);
  return check.problems;
}
