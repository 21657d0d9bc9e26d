/**
 * Reading and writing voting policies, a part of the constitution. Both forms are read strictly; in the JSON form the times
 * of a policy may be left out. Whether a policy fits its network is the question of policy-check.ts.
 */
import { ACTION_NAMES, type ActionName } from "./action-names.ts";
import { IDENTIFIER, MAX_ACTORS } from "./constitution.ts";
import type { FieldReader, FieldTree } from "./fields.ts";
import {
  DEFAULT_EXPIRY_MS,
  MAX_POLICY_STAGES,
  MAX_VOTE_WEIGHT,
  type PlainRule,
  type PolicyStage,
  type Rule,
  type VotingPolicies,
  type VotingPolicy,
} from "./policy.ts";

/** Longest time a voting policy may name, in milliseconds: one year. */
export const MAX_POLICY_DURATION_MS = 365 * 24 * 3600 * 1000;

const MAX_ACTOR_ID_LENGTH = 64;
const COUNT_BOUNDS = { min: 0, max: MAX_ACTORS };
const WEIGHT_BOUNDS = { min: 0, max: MAX_VOTE_WEIGHT };
const THRESHOLD_BOUNDS = { min: 0, max: MAX_VOTE_WEIGHT * MAX_ACTORS };
const PLAIN_RULES = ["unanimous", "majority", "count", "weighted", "stages", "script"] as const;

function isActorId(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_ACTOR_ID_LENGTH && IDENTIFIER.test(value);
}

function readGroup(fields: FieldReader, name: string): readonly string[] {
  return fields.values(name, MAX_ACTORS).map((value, at) => {
    if (!isActorId(value)) throw fields.invalid(`${name}[${at}]`, "expected the id of an actor");
    return value;
  });
}

function readWeights(fields: FieldReader): Readonly<Record<string, number>> {
  const names = fields.names();
  if (names.length > MAX_ACTORS) throw fields.invalid("", `has ${names.length} weights, ${MAX_ACTORS} allowed`);
  return Object.fromEntries(
    names.toSorted().map((name) => {
      if (!isActorId(name)) throw fields.invalid(name, "expected the id of an actor");
      return [name, fields.integer(name, WEIGHT_BOUNDS)];
    }),
  );
}

function readStage(fields: FieldReader): PolicyStage {
  return { group: readGroup(fields, "group"), yes: fields.integer("yes", COUNT_BOUNDS) };
}

function readPlainRule(fields: FieldReader, type: PlainRule["type"]): PlainRule {
  switch (type) {
    case "count":
      return { type, yes: fields.integer("yes", COUNT_BOUNDS) };
    case "weighted": {
      const weights = fields.record("weights", readWeights);
      return { type, weights, threshold: fields.integer("threshold", THRESHOLD_BOUNDS) };
    }
    case "stages":
      return { type, stages: fields.list("stages", MAX_POLICY_STAGES, readStage) };
    default:
      return { type };
  }
}

function readRule(fields: FieldReader): Rule {
  const type = fields.choice("type", [...PLAIN_RULES, "veto"]);
  if (type !== "veto") return readPlainRule(fields, type);
  const by = readGroup(fields, "by");
  // A veto inside a veto would be a second form of one veto by both groups.
  const rule = fields.record("rule", (inner) => readPlainRule(inner, inner.choice("type", PLAIN_RULES)));
  return { type, by, rule };
}

function readTime(fields: FieldReader, name: string, standard: number, min: number): number {
  if (fields.context.form === "json" && !fields.has(name)) return standard;
  return fields.integer(name, { min, max: MAX_POLICY_DURATION_MS });
}

/** Reads the fields of a voting policy. */
export function readVotingPolicy(fields: FieldReader): VotingPolicy {
  return {
    rule: fields.record("rule", readRule),
    expiresAfterMs: readTime(fields, "expiresAfterMs", DEFAULT_EXPIRY_MS, 1),
    deliberationMs: readTime(fields, "deliberationMs", 0, 0),
    delayMs: readTime(fields, "delayMs", 0, 0),
  };
}

function readActions(fields: FieldReader): Partial<Record<ActionName, VotingPolicy>> {
  const actions: Partial<Record<ActionName, VotingPolicy>> = {};
  for (const name of ACTION_NAMES) if (fields.has(name)) actions[name] = fields.record(name, readVotingPolicy);
  const [unknown] = fields.names();
  if (unknown !== undefined) throw fields.invalid(unknown, "is not an action");
  return actions;
}

/** Reads the fields of the voting policies of a network. */
export function readVotingPolicies(fields: FieldReader): VotingPolicies {
  return { default: fields.record("default", readVotingPolicy), actions: fields.record("actions", readActions) };
}

function ruleTree(rule: Rule): FieldTree {
  switch (rule.type) {
    case "count":
      return { type: rule.type, yes: rule.yes };
    case "weighted":
      return { type: rule.type, weights: rule.weights, threshold: rule.threshold };
    case "stages":
      return { type: rule.type, stages: rule.stages.map(({ group, yes }) => ({ group, yes })) };
    case "veto":
      return { type: rule.type, by: rule.by, rule: ruleTree(rule.rule) };
    default:
      return { type: rule.type };
  }
}

/** The tree form of a voting policy. */
export function votingPolicyTree(policy: VotingPolicy): FieldTree {
  const { rule, expiresAfterMs, deliberationMs, delayMs } = policy;
  return { rule: ruleTree(rule), expiresAfterMs, deliberationMs, delayMs };
}

/** The tree form of the voting policies of a network. */
export function votingPoliciesTree(policies: VotingPolicies): FieldTree {
  const actions: Record<string, FieldTree> = {};
  for (const name of ACTION_NAMES) {
    const policy = policies.actions[name];
    if (policy !== undefined) actions[name] = votingPolicyTree(policy);
  }
  return { default: votingPolicyTree(policies.default), actions };
}
