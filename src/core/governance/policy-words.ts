/**
 * Voting policies in plain words, for members who decide on them: how many must agree, who alone can stop or decide a
 * change, how many may be absent, and when a vote ends. What a sentence says is found by judging, not by reading the rule.
 */
import { ACTION_NAMES, type ActionName } from "./action-names.ts";
import {
  judge,
  policyOf,
  weightOf,
  type PolicyActor,
  type Rule,
  type VotingPolicies,
  type VotingPolicy,
  type Vote,
  type WeightedRule,
} from "./policy.ts";

/** Most names a sentence lists; of more it says how many. */
export const MAX_NAMES_IN_WORDS = 8;

/** Each action as the subject of a sentence. */
export const ACTION_WORDS: Readonly<Record<ActionName, string>> = {
  add_member: "adding a member",
  add_participant: "adding a participant",
  remove_member: "removing a member",
  remove_participant: "removing a participant",
  replace_member: "replacing a member",
  replace_participant: "replacing a participant",
  add_certificate: "adding a certificate of an actor",
  remove_certificate: "removing a certificate of an actor",
  set_revocations: "setting what an actor has revoked",
  restrict_participant: "restricting a participant",
  add_node: "adding a validating node",
  remove_node: "removing a validating node",
  replace_node: "replacing a validating node",
  approve_code: "approving code",
  retire_code: "retiring code",
  approve_tee: "approving a TEE",
  retire_tee: "retiring a TEE",
  set_policy: "setting a voting policy",
  remove_policy: "removing a voting policy",
  set_script: "setting the script of the constitution",
  set_settings: "changing settings",
  open_network: "opening the network",
  rotate_service_identity: "rotating the service identity",
  open_epoch: "opening an epoch",
  mount_adapter: "mounting an adapter",
  configure_adapter: "configuring an adapter",
  remove_adapter: "removing an adapter",
};

const UNITS: readonly (readonly [number, string])[] = [
  [24 * 3600 * 1000, "day"],
  [3600 * 1000, "hour"],
  [60 * 1000, "minute"],
  [1000, "second"],
  [1, "millisecond"],
];

function counted(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

/** A time in words, in its two largest units: `7 days`, `1 hour 30 minutes`. */
export function durationInWords(durationMs: number): string {
  const words: string[] = [];
  let left = durationMs;
  for (const [unitMs, unit] of UNITS) {
    const whole = Math.floor(left / unitMs);
    if (whole > 0) words.push(counted(whole, unit));
    left -= whole * unitMs;
  }
  return words.length === 0 ? "0 seconds" : words.slice(0, 2).join(" ");
}

/** The actors of a network, as sentences name them. */
class Names {
  readonly members: readonly string[];
  readonly #names: ReadonlyMap<string, string>;

  constructor(actors: readonly PolicyActor[]) {
    this.members = actors.flatMap((actor) => (actor.role === "member" ? [actor.id] : []));
    this.#names = new Map(actors.map((actor) => [actor.id, actor.name]));
  }

  one(actor: string): string {
    return this.#names.get(actor) ?? actor;
  }

  /** `A`, `A and B`, `A, B and C`, or how many there are. */
  list(actors: readonly string[], conjunction: "and" | "or"): string {
    if (actors.length > MAX_NAMES_IN_WORDS) return `${counted(actors.length, "member")}`;
    const names = actors.map((actor) => this.one(actor));
    const last = names.at(-1) ?? "nobody";
    return names.length < 2 ? last : `${names.slice(0, -1).join(", ")} ${conjunction} ${last}`;
  }
}

function outOf(yes: number, of: number): string {
  return yes === of ? (of === 1 ? "the only member" : `all ${of} members`) : `${yes} of ${of} members`;
}

function weightsInWords(rule: WeightedRule, names: Names): string {
  const weights = names.members.flatMap((actor) =>
    weightOf(rule, actor) > 0 ? [[actor, weightOf(rule, actor)] as const] : [],
  );
  const sum = weights.reduce((total, [, weight]) => total + weight, 0);
  const shown = weights.slice(0, MAX_NAMES_IN_WORDS).map(([actor, weight]) => `${names.one(actor)} ${weight}`);
  const more = weights.length > shown.length ? `, ${weights.length - shown.length} more` : "";
  return `a weight of ${rule.threshold} of ${sum} (${shown.join(", ")}${more})`;
}

/** What must agree, after the word "needs". */
function needed(rule: Rule, names: Names): string {
  const members = names.members.length;
  switch (rule.type) {
    case "unanimous":
      return outOf(members, members);
    case "majority":
      return outOf(Math.floor(members / 2) + 1, members);
    case "count":
      return outOf(rule.yes, members);
    case "weighted":
      return weightsInWords(rule, names);
    case "stages":
      return rule.stages
        .map(({ group, yes }) =>
          yes === group.length ? names.list(group, "and") : `${yes} of ${names.list(group, "or")}`,
        )
        .join(", then ");
    case "veto":
      return `${needed(rule.rule, names)}, and no veto by ${names.list(rule.by, "or")}`;
    case "script":
      return "what the script of the constitution decides";
  }
}

/** How many members may stay away, whoever they are, and a change can still be accepted; undefined where a script decides. */
export function mayBeAbsent(rule: Rule, members: readonly string[]): number | undefined {
  switch (rule.type) {
    case "unanimous":
      return 0;
    case "majority":
      return members.length - (Math.floor(members.length / 2) + 1);
    case "count":
      return members.length - rule.yes;
    case "stages":
      return Math.min(...rule.stages.map((stage) => stage.group.length - stage.yes));
    case "weighted":
      return absentByWeight(rule, members);
    case "veto":
      return mayBeAbsent(rule.rule, members);
    case "script":
      return undefined;
  }
}

/** The worst that can stay away are the heaviest. */
function absentByWeight(rule: WeightedRule, members: readonly string[]): number {
  const weights = members.map((member) => weightOf(rule, member)).sort((left, right) => right - left);
  let left = weights.reduce((total, weight) => total + weight, 0);
  let absent = 0;
  for (const weight of weights) {
    left -= weight;
    if (left < rule.threshold) break;
    absent += 1;
  }
  return absent;
}

/** What single members can do under a rule. */
interface Powers {
  /** Their yes alone is enough. */
  readonly deciders: readonly string[];
  /** Without their yes nothing passes. */
  readonly indispensable: readonly string[];
  /** Their no stops what passes without them. */
  readonly vetoers: readonly string[];
}

function powersOf(rule: Rule, members: readonly string[]): Powers {
  const outcome = (member: string, own: Vote | undefined, others: Vote) => {
    const votes = new Map<string, Vote>();
    for (const other of members) if (other !== member) votes.set(other, others);
    if (own !== undefined) votes.set(member, own);
    return judge(rule, votes, members);
  };
  const passesWithout = (member: string) => outcome(member, undefined, "yes") === "accepted";
  return {
    deciders: members.filter((member) => outcome(member, "yes", "abstain") === "accepted"),
    indispensable: members.filter((member) => !passesWithout(member)),
    vetoers: members.filter((member) => passesWithout(member) && outcome(member, "no", "yes") === "rejected"),
  };
}

function powersInWords(rule: Rule, names: Names): readonly string[] {
  const { members } = names;
  const { deciders, indispensable, vetoers } = powersOf(rule, members);
  const words: string[] = [];
  if (deciders.length > 0 && members.length > 1)
    words.push(
      `${deciders.length === members.length ? "every member" : names.list(deciders, "or")} alone can decide it`,
    );
  if (indispensable.length === members.length) words.push("every member can block it, also by being absent");
  else if (indispensable.length > 0)
    words.push(
      `${names.list(indispensable, "and")} can block it${indispensable.length > 1 ? " alone each" : " alone"}, also by being absent`,
    );
  if (vetoers.length > 0) words.push(`${names.list(vetoers, "or")} can stop it by voting no before it is accepted`);
  if (indispensable.length === 0 && vetoers.length === 0) words.push("nobody alone can block it");
  return words;
}

function timesInWords(policy: VotingPolicy): readonly string[] {
  const words = [`lapses after ${durationInWords(policy.expiresAfterMs)}`];
  if (policy.deliberationMs > 0)
    words.unshift(`not accepted before ${durationInWords(policy.deliberationMs)} have passed`);
  if (policy.delayMs > 0) words.push(`takes effect ${durationInWords(policy.delayMs)} after it is accepted`);
  return words;
}

function absenceInWords(rule: Rule, names: Names): readonly string[] {
  const absent = mayBeAbsent(rule, names.members);
  if (absent === undefined || absent < 0) return [];
  if (absent === 0) return ["nobody who is needed may be absent"];
  return [absent === 1 ? "any one member may be absent" : `any ${absent} members may be absent`];
}

/** A policy in plain words, such as `needs 2 of 3 members; nobody alone can block it; any 1 may be absent; ...`. */
export function explainPolicy(policy: VotingPolicy, actors: readonly PolicyActor[]): string {
  const names = new Names(actors);
  const { rule } = policy;
  const isScripted = rule.type === "script" || (rule.type === "veto" && rule.rule.type === "script");
  const powers = isScripted ? [] : [...powersInWords(rule, names), ...absenceInWords(rule, names)];
  return [`needs ${needed(rule, names)}`, ...powers, ...timesInWords(policy)].join("; ");
}

/** One kind of change and what it needs. */
export interface ExplainedPolicy {
  /** Absent for the policy of everything that has none of its own. */
  readonly action?: ActionName;
  readonly words: string;
}

/** All policies of a network in plain words: the actions that have one of their own, then everything else. */
export function explainPolicies(policies: VotingPolicies, actors: readonly PolicyActor[]): readonly ExplainedPolicy[] {
  const own = ACTION_NAMES.filter((action) => policies.actions[action] !== undefined).map((action) => ({
    action,
    words: `${ACTION_WORDS[action]} ${explainPolicy(policyOf(policies, action), actors)}`,
  }));
  const subject = own.length === 0 ? "every change" : "everything else";
  return [...own, { words: `${subject} ${explainPolicy(policies.default, actors)}` }];
}
