/**
 * A second, independent model of voting rules, and random rules over the members m0, m1, ...: members are bits of a mask,
 * and a rule is the set of masks of yes votes that satisfy it.
 */
import fc from "fast-check";
import type { PlainRule, Rule, Vote } from "./policy.ts";

/** How a member of the model stands; undefined has not voted. */
export type ModelVote = Vote | undefined;

/** The members of a network of this size. */
export function modelMembers(size: number): readonly string[] {
  return Array.from({ length: size }, (_, at) => `m${at}`);
}

const bit = (member: string): number => 1 << Number(member.slice(1));
const ones = (mask: number): number => [...mask.toString(2)].filter((digit) => digit === "1").length;
const maskOf = (group: readonly string[]): number => group.reduce((mask, member) => mask | bit(member), 0);

/** Whether these yes votes of a network of `size` satisfy a rule without its veto. */
function satisfies(rule: Rule, yes: number, size: number): boolean {
  switch (rule.type) {
    case "unanimous":
      return yes === 2 ** size - 1;
    case "majority":
      return ones(yes) > size - ones(yes);
    case "count":
      return ones(yes) >= rule.yes;
    case "weighted":
      return (
        modelMembers(size)
          .filter((member) => (yes & bit(member)) !== 0)
          .reduce((sum, member) => sum + (rule.weights[member] ?? 0), 0) >= rule.threshold
      );
    case "stages":
      return rule.stages.every((stage) => ones(yes & maskOf(stage.group)) >= stage.yes);
    case "veto":
      return satisfies(rule.rule, yes, size);
    case "script":
      return false;
  }
}

/** How votes stand by the model: tried out over everything that those who have not voted could do. */
export function modelVerdict(rule: Rule, votes: readonly ModelVote[]): "open" | "accepted" | "rejected" {
  const size = votes.length;
  const mask = (wanted: ModelVote) => votes.reduce((sum, vote, at) => (vote === wanted ? sum | (1 << at) : sum), 0);
  if (rule.type === "veto" && (mask("no") & maskOf(rule.by)) !== 0) return "rejected";
  const yes = mask("yes");
  if (satisfies(rule, yes, size)) return "accepted";
  const silent = mask(undefined);
  for (let some = silent; some > 0; some = (some - 1) & silent) if (satisfies(rule, yes | some, size)) return "open";
  return "rejected";
}

/** All votes a network of this size can have. */
export function* everyVotes(size: number): Generator<readonly ModelVote[]> {
  const choices: readonly ModelVote[] = [undefined, "yes", "no", "abstain"];
  for (let number = 0; number < 4 ** size; number += 1)
    yield Array.from({ length: size }, (_, at) => choices[Math.floor(number / 4 ** at) % 4]);
}

/** Votes of the model as governance has them. */
export function votesOf(votes: readonly ModelVote[]): ReadonlyMap<string, Vote> {
  return new Map(votes.flatMap((vote, at) => (vote === undefined ? [] : [[`m${at}`, vote] as const])));
}

const groupOf = (size: number): fc.Arbitrary<string[]> =>
  fc.uniqueArray(fc.constantFrom(...modelMembers(size)), { minLength: 1, maxLength: size });

const weightedOf = (size: number): fc.Arbitrary<PlainRule> =>
  fc.array(fc.nat(4), { minLength: size, maxLength: size }).chain((weights) =>
    fc.integer({ min: 1, max: 4 * size }).map((threshold) => ({
      type: "weighted" as const,
      weights: Object.fromEntries(weights.flatMap((weight, at) => (weight === 0 ? [] : [[`m${at}`, weight]]))),
      threshold,
    })),
  );

const stagesOf = (size: number): fc.Arbitrary<PlainRule> =>
  fc
    .array(
      groupOf(size).chain((group) => fc.integer({ min: 1, max: group.length + 1 }).map((yes) => ({ group, yes }))),
      { minLength: 1, maxLength: 3 },
    )
    .map((stages) => ({ type: "stages" as const, stages }));

/** Random rules over a network of this size, by type; some can never pass. */
export function rulesOf(size: number): Readonly<Record<Exclude<Rule["type"], "script">, fc.Arbitrary<Rule>>> {
  const count = fc.integer({ min: 1, max: size + 1 }).map((yes) => ({ type: "count" as const, yes }));
  const unanimous = fc.constant({ type: "unanimous" as const });
  const majority = fc.constant({ type: "majority" as const });
  const weighted = weightedOf(size);
  const stages = stagesOf(size);
  const plain = fc.oneof(unanimous, majority, count, weighted, stages);
  const veto = fc.tuple(groupOf(size), plain).map(([by, rule]) => ({ type: "veto" as const, by, rule }));
  return { unanimous, majority, count, weighted, stages, veto };
}

/** A network size and a rule over it. */
export function anyRule(): fc.Arbitrary<readonly [number, Rule]> {
  return fc
    .integer({ min: 1, max: 5 })
    .chain((size) => fc.oneof(...Object.values(rulesOf(size))).map((rule) => [size, rule] as const));
}
