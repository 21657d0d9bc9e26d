/** Reading and writing voting policies, a part of the constitution. */
import { ACTION_NAMES, type ActionName } from "./action-names.ts";
import type { FieldReader, FieldTree } from "./fields.ts";
import type { Rule, VotingPolicies, VotingPolicy } from "./policy.ts";

/** Longest time a voting policy may name, in milliseconds: one year. */
export const MAX_POLICY_DURATION_MS = 365 * 24 * 3600 * 1000;
/** Most stages of a rule. */
export const MAX_STAGES = 16;

const DURATION_BOUNDS = { min: 0, max: MAX_POLICY_DURATION_MS };
const VOTES_BOUNDS = { min: 1, max: 1_000_000 };
const MAX_GROUP = 1000;

function readGroup(fields: FieldReader, name: string): readonly string[] {
  return fields.values(name, MAX_GROUP).map((id) => {
    if (typeof id !== "string" || id.length > 64) throw fields.invalid(name, "expected ids of actors");
    return id;
  });
}

function readWeights(fields: FieldReader): Readonly<Record<string, number>> {
  return fields.record("weights", (weights) =>
    Object.fromEntries([...weights.names()].sort().map((name) => [name, weights.integer(name, VOTES_BOUNDS)])),
  );
}

function readRule(fields: FieldReader): Rule {
  const type = fields.choice("type", ["unanimous", "majority", "count", "weighted", "veto", "stages", "script"]);
  switch (type) {
    case "count":
      return { type, yes: fields.integer("yes", VOTES_BOUNDS) };
    case "weighted":
      return { type, weights: readWeights(fields), threshold: fields.integer("threshold", VOTES_BOUNDS) };
    case "veto": {
      const by = readGroup(fields, "by");
      const rule = fields.record("rule", readRule);
      if (rule.type === "veto") throw fields.invalid("rule.type", "a veto holds no other veto");
      return { type, by, rule };
    }
    case "stages":
      return {
        type,
        stages: fields.list("stages", MAX_STAGES, (stage) => ({
          group: readGroup(stage, "group"),
          yes: stage.integer("yes", VOTES_BOUNDS),
        })),
      };
    default:
      return { type };
  }
}

/** Reads the fields of a voting policy. */
export function readVotingPolicy(fields: FieldReader): VotingPolicy {
  return {
    rule: fields.record("rule", readRule),
    expiresAfterMs: fields.integer("expiresAfterMs", { ...DURATION_BOUNDS, min: 1 }),
    deliberationMs: fields.integer("deliberationMs", DURATION_BOUNDS),
    delayMs: fields.integer("delayMs", DURATION_BOUNDS),
  };
}

/** Reads the fields of the voting policies of a network. */
export function readVotingPolicies(fields: FieldReader): VotingPolicies {
  return {
    default: fields.record("default", readVotingPolicy),
    actions: fields.record("actions", (actions) => {
      const read: Partial<Record<ActionName, VotingPolicy>> = {};
      for (const name of ACTION_NAMES) if (actions.has(name)) read[name] = actions.record(name, readVotingPolicy);
      return read;
    }),
  };
}

function ruleTree(rule: Rule): FieldTree {
  switch (rule.type) {
    case "count":
      return { type: rule.type, yes: rule.yes };
    case "weighted":
      return { type: rule.type, weights: rule.weights, threshold: rule.threshold };
    case "veto":
      return { type: rule.type, by: rule.by, rule: ruleTree(rule.rule) };
    case "stages":
      return { type: rule.type, stages: rule.stages.map(({ group, yes }) => ({ group, yes })) };
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
export function votingPoliciesTree({ default: standard, actions }: VotingPolicies): FieldTree {
  return {
    default: votingPolicyTree(standard),
    actions: Object.fromEntries(Object.entries(actions).map(([name, policy]) => [name, votingPolicyTree(policy)])),
  };
}
