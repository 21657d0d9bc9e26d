/**
 * Voting policies as the command line takes them: `add_member=unanimous`, `default=count:2`, `remove_member=veto:acme,majority`,
 * each with times behind slashes: `approve_code=majority/expires=2d/deliberation=1h/delay=1h`.
 */
import { InvalidArgumentError } from "commander";
import { ACTION_NAMES, isActionName, type ActionName } from "../core/governance/action-names.ts";
import { DEFAULT_POLICIES } from "../core/governance/constitution.ts";
import { readDocument, type FieldContext } from "../core/governance/fields.ts";
import { readVotingPolicies, readVotingPolicy } from "../core/governance/policy-codec.ts";
import type { VotingPolicies, VotingPolicy } from "../core/governance/policy.ts";

const CONTEXT: FieldContext = { form: "json", code: "ConstitutionInvalid" };
const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const TIMES: Readonly<Record<string, string>> = {
  expires: "expiresAfterMs",
  deliberation: "deliberationMs",
  delay: "delayMs",
};
/** How a rule is written. */
export const RULE_FORMS =
  "unanimous, majority, count:N, veto:MEMBER,...,RULE, weighted:THRESHOLD:MEMBER=WEIGHT,..., stages:N:MEMBER+MEMBER,..., script";

/** The policy of one action, or of everything else. */
export interface PolicyArgument {
  readonly action: ActionName | "default";
  readonly policy: VotingPolicy;
}

/** Collects policies; wrong usage when one can't be read. Whether it fits the network is checked with the constitution. */
export function collectPolicy(text: string, before: readonly PolicyArgument[]): readonly PolicyArgument[] {
  const mark = text.indexOf("=");
  const action = text.slice(0, Math.max(mark, 0));
  if (action !== "default" && !isActionName(action))
    throw new InvalidArgumentError(`Expected ACTION=RULE; an action is default or one of ${ACTION_NAMES.join(", ")}.`);
  return [...before, { action, policy: policyOf(text.slice(mark + 1)) }];
}

function policyOf(text: string): VotingPolicy {
  const [rule = "", ...times] = text.split("/");
  const fields: Record<string, unknown> = { rule: ruleOf(rule) };
  for (const time of times) {
    const [, name = "", number, unit = ""] = /^([a-z]+)=([0-9]{1,6})([smhd])$/.exec(time) ?? [];
    const field = TIMES[name];
    if (field === undefined)
      throw new InvalidArgumentError(
        `${time}: expected expires=, deliberation= or delay= with a time such as 90m or 7d.`,
      );
    fields[field] = Number(number) * (UNITS[unit] ?? 1);
  }
  try {
    return readDocument(fields, CONTEXT, readVotingPolicy);
  } catch (error) {
    throw new InvalidArgumentError(`${error instanceof Error ? error.message : String(error)} (${RULE_FORMS})`);
  }
}

function ruleOf(text: string): unknown {
  const mark = text.indexOf(":");
  const type = mark < 0 ? text : text.slice(0, mark);
  const rest = mark < 0 ? "" : text.slice(mark + 1);
  switch (type) {
    case "count":
      return { type, yes: wholeNumberOf(rest) };
    case "veto": {
      // The rule comes last; what it has of commas belongs to it.
      const [, by = "", rule = ""] = /^((?:[a-z0-9._-]+,)+)([a-z]+(?::.*)?)$/.exec(rest) ?? [];
      return { type, by: by.split(",").filter((name) => name !== ""), rule: ruleOf(rule) };
    }
    case "weighted": {
      const [, threshold = "", list = ""] = /^(\d+):(.+)$/.exec(rest) ?? [];
      const weights = list.split(",").map((item) => item.split("="));
      return {
        ...{ type, threshold: wholeNumberOf(threshold) },
        weights: Object.fromEntries(weights.map(([member = "", weight = ""]) => [member, wholeNumberOf(weight)])),
      };
    }
    case "stages":
      return { type, stages: rest.split(",").map(stageOf) };
    default:
      if (rest !== "") throw new InvalidArgumentError(`${text}: expected one of ${RULE_FORMS}.`);
      return { type };
  }
}

function stageOf(text: string): unknown {
  const [, yes = "", group = ""] = /^(\d+):(.+)$/.exec(text) ?? [];
  return { group: group.split("+"), yes: wholeNumberOf(yes) };
}

function wholeNumberOf(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`${text || "nothing"} is not a number; expected one of ${RULE_FORMS}.`);
}

/** The policies of a file, or the default ones, with single ones in place of theirs. Throws `ConstitutionInvalid`. */
export function readPolicies(file: unknown, single: readonly PolicyArgument[]): VotingPolicies {
  const base = file === undefined ? DEFAULT_POLICIES : readDocument(file, CONTEXT, readVotingPolicies);
  const actions = { ...base.actions };
  let standard = base.default;
  for (const { action, policy } of single) {
    if (action === "default") standard = policy;
    else actions[action] = policy;
  }
  return { default: standard, actions };
}
