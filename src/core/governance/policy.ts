/**
 * Voting policies as data (R8): what a vote needs to be accepted, and how a proposal's votes are judged.
 *
 * Judging is a pure function of rule, votes and members. A vote that is no yes (no, abstain) is not counted as one, and a
 * member that has not voted is counted as a possible yes: a rule accepts when the yes votes satisfy it, and rejects when
 * they could not even if everybody else voted yes. So more votes never turn a rejection into anything else.
 * policy-codec.ts reads and writes policies, policy-check.ts finds those that can never pass, policy-words.ts explains.
 */
import type { ActionName } from "./action-names.ts";

/** Most stages of one rule. */
export const MAX_POLICY_STAGES = 16;
/** Largest weight of one member's vote. */
export const MAX_VOTE_WEIGHT = 1_000_000;
/** How long a proposal is open where the policy does not say: seven days. */
export const DEFAULT_EXPIRY_MS = 7 * 24 * 3600 * 1000;

/** So many yes votes of a group; one step of a rule in stages. */
export interface PolicyStage {
  readonly group: readonly string[];
  readonly yes: number;
}

/** All members vote yes. */
export interface UnanimousRule {
  readonly type: "unanimous";
}

/** More than half of all members vote yes. */
export interface MajorityRule {
  readonly type: "majority";
}

/** M of N: this many members vote yes, whoever they are. */
export interface CountRule {
  readonly type: "count";
  readonly yes: number;
}

/** The weights of those who vote yes add up to the threshold; a member without a weight counts nothing. */
export interface WeightedRule {
  readonly type: "weighted";
  readonly weights: Readonly<Record<string, number>>;
  readonly threshold: number;
}

/** Each stage has its yes votes. Members of a stage are asked once the earlier ones are met; votes cast before count then. */
export interface StagesRule {
  readonly type: "stages";
  readonly stages: readonly PolicyStage[];
}

/** The constitution's script decides, by its function `resolve`. */
export interface ScriptRule {
  readonly type: "script";
}

/** A rule without a veto. */
export type PlainRule = UnanimousRule | MajorityRule | CountRule | WeightedRule | StagesRule | ScriptRule;

/** The inner rule, and none of these members votes no. */
export interface VetoRule {
  readonly type: "veto";
  readonly by: readonly string[];
  readonly rule: PlainRule;
}

/** What a vote needs to be accepted. */
export type Rule = PlainRule | VetoRule;

/** How one kind of change is voted on. */
export interface VotingPolicy {
  readonly rule: Rule;
  /** After this time a proposal lapses. */
  readonly expiresAfterMs: number;
  /** Nothing is accepted before this time has passed, so that members can discuss and change their votes. */
  readonly deliberationMs: number;
  /** What was accepted takes effect after this time. */
  readonly delayMs: number;
}

/** The policies of a network: one for each action that has its own, and one for all others. */
export interface VotingPolicies {
  readonly default: VotingPolicy;
  readonly actions: Readonly<Partial<Record<ActionName, VotingPolicy>>>;
}

/** What a member says to a proposal. An abstention is a vote that is no yes and no veto. */
export type Vote = "yes" | "no" | "abstain";

/** How votes stand under one rule. */
export type Verdict = "open" | "accepted" | "rejected";

/** What policies need to know of an actor. */
export interface PolicyActor {
  readonly id: string;
  readonly name: string;
  readonly role: "member" | "participant";
}

/** Votes counted under a rule: of members only, each at most once. */
class Count {
  readonly #votes: ReadonlyMap<string, Vote>;
  readonly #members: ReadonlySet<string>;

  constructor(votes: ReadonlyMap<string, Vote>, members: ReadonlySet<string>) {
    this.#votes = votes;
    this.#members = members;
  }

  /** Whether a sum over the actors reaches `needed`: by the yes votes there are, or else by those there still could be. */
  judge(actors: Iterable<string>, needed: number, weightOf: (actor: string) => number): Verdict {
    let yes = 0;
    let possible = 0;
    for (const actor of actors) {
      if (!this.#members.has(actor)) continue;
      const vote = this.#votes.get(actor);
      if (vote === "yes") yes += weightOf(actor);
      if (vote === "yes" || vote === undefined) possible += weightOf(actor);
    }
    return yes >= needed ? "accepted" : possible >= needed ? "open" : "rejected";
  }

  /** Whether a member of the group says no. */
  hasNo(group: readonly string[]): boolean {
    return group.some((actor) => this.#members.has(actor) && this.#votes.get(actor) === "no");
  }
}

const one = (): number => 1;

/** The weight of an actor's vote; actor ids may be names that every object has, so only own fields count. */
export function weightOf(rule: WeightedRule, actor: string): number {
  return Object.hasOwn(rule.weights, actor) ? (rule.weights[actor] ?? 0) : 0;
}

/** Rejected if one is, accepted if all are, open otherwise. */
function together(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes("rejected")) return "rejected";
  return verdicts.includes("open") ? "open" : "accepted";
}

function judgeStage(stage: PolicyStage, count: Count): Verdict {
  return count.judge(new Set(stage.group), stage.yes, one);
}

function judgeCounted(rule: Rule, count: Count, members: ReadonlySet<string>, scripted: Verdict): Verdict {
  switch (rule.type) {
    case "unanimous":
      return members.size === 0 ? "rejected" : count.judge(members, members.size, one);
    case "majority":
      return count.judge(members, Math.floor(members.size / 2) + 1, one);
    case "count":
      return count.judge(members, rule.yes, one);
    case "weighted":
      return count.judge(members, rule.threshold, (actor) => weightOf(rule, actor));
    case "stages":
      return together(rule.stages.map((stage) => judgeStage(stage, count)));
    case "veto":
      return count.hasNo(rule.by) ? "rejected" : judgeCounted(rule.rule, count, members, scripted);
    case "script":
      return scripted;
  }
}

/**
 * How the votes stand under a rule. Votes of others than members do not count. What the script said stands for the rule
 * `script`; without it such a rule is open.
 */
export function judge(
  rule: Rule,
  votes: ReadonlyMap<string, Vote>,
  members: readonly string[],
  scriptVerdict: Verdict = "open",
): Verdict {
  const listed = new Set(members);
  return judgeCounted(rule, new Count(votes, listed), listed, scriptVerdict);
}

/** The policy an action is judged by. */
export function policyOf(policies: VotingPolicies, action: ActionName): VotingPolicy {
  return policies.actions[action] ?? policies.default;
}

/** How long a proposal with these actions is open, deliberated and delayed. */
export interface ProposalTimes {
  readonly expiresAfterMs: number;
  readonly deliberationMs: number;
  readonly delayMs: number;
}

function policiesOf(policies: VotingPolicies, actions: readonly ActionName[]): readonly VotingPolicy[] {
  return actions.length === 0 ? [policies.default] : [...new Set(actions.map((action) => policyOf(policies, action)))];
}

/**
 * The times of a proposal with several actions: the shortest expiry, the longest deliberation, the longest delay. Actions
 * whose deliberation together is not shorter than their expiry can't be accepted in one proposal: {@link fitTogether}.
 */
export function proposalTimes(policies: VotingPolicies, actions: readonly ActionName[]): ProposalTimes {
  const own = policiesOf(policies, actions);
  return {
    expiresAfterMs: Math.min(...own.map((policy) => policy.expiresAfterMs)),
    deliberationMs: Math.max(...own.map((policy) => policy.deliberationMs)),
    delayMs: Math.max(...own.map((policy) => policy.delayMs)),
  };
}

/** Whether a proposal with these actions leaves time to be accepted between its deliberation and its expiry. */
export function fitTogether(policies: VotingPolicies, actions: readonly ActionName[]): boolean {
  const { deliberationMs, expiresAfterMs } = proposalTimes(policies, actions);
  return deliberationMs < expiresAfterMs;
}

/** A proposal as it is judged. */
export interface JudgedProposal {
  readonly actionNames: readonly ActionName[];
  /** The votes that count now, by member. */
  readonly votes: ReadonlyMap<string, Vote>;
  readonly members: readonly string[];
  readonly openedAtMs: number;
  /** When it lapses, if that was fixed at its opening; otherwise the policies say. */
  readonly expiresAtMs?: number;
  readonly nowMs: number;
  /** What the constitution's script says; needed where a policy has the rule `script`. */
  readonly scriptVerdict?: Verdict;
}

/** How a proposal stands. */
export interface ProposalJudgement {
  readonly verdict: Verdict | "expired";
  /** Members that have not voted and whose vote could still matter, in the order of the members; none once it is decided. */
  readonly missing: readonly string[];
  /** The time of the judgement that accepted it. */
  readonly acceptedAt?: number;
  /** When an accepted proposal takes effect. */
  readonly takesEffectAtMs?: number;
  /** The end of the deliberation, while there are votes enough and only that is waited for. */
  readonly waitsUntilMs?: number;
}

/** Members a rule still asks: those without a vote whose yes could help, or whose no could stop it. */
function asked(rule: Rule, proposal: JudgedProposal, members: ReadonlySet<string>): readonly string[] {
  if (rule.type === "veto") return [...rule.by, ...asked(rule.rule, proposal, members)];
  if (judge(rule, proposal.votes, proposal.members, proposal.scriptVerdict) !== "open") return [];
  if (rule.type === "weighted") return proposal.members.filter((member) => weightOf(rule, member) > 0);
  if (rule.type !== "stages") return proposal.members;
  const count = new Count(proposal.votes, members);
  return rule.stages.find((stage) => judgeStage(stage, count) === "open")?.group ?? [];
}

function missingOf(own: readonly VotingPolicy[], proposal: JudgedProposal): readonly string[] {
  const members = new Set(proposal.members);
  const wanted = new Set(own.flatMap((policy) => asked(policy.rule, proposal, members)));
  return proposal.members.filter((member) => wanted.has(member) && !proposal.votes.has(member));
}

/**
 * How a proposal stands now. It needs the policy of every one of its actions: it is rejected if one rejects, accepted if
 * all accept. It is accepted at the end of the deliberation at the earliest, rejected as soon as it cannot be accepted any
 * more, and has expired from its last moment on, whatever votes there are: whoever judges does so at every vote.
 */
export function judgeProposal(policies: VotingPolicies, proposal: JudgedProposal): ProposalJudgement {
  const { votes, members, scriptVerdict, openedAtMs, nowMs } = proposal;
  const own = policiesOf(policies, proposal.actionNames);
  const times = proposalTimes(policies, proposal.actionNames);
  if (nowMs >= (proposal.expiresAtMs ?? openedAtMs + times.expiresAfterMs)) return { verdict: "expired", missing: [] };
  const verdict = together(own.map((policy) => judge(policy.rule, votes, members, scriptVerdict)));
  if (verdict === "rejected") return { verdict, missing: [] };
  if (verdict === "open") return { verdict, missing: missingOf(own, proposal) };
  const waitsUntilMs = openedAtMs + times.deliberationMs;
  if (nowMs < waitsUntilMs) return { verdict: "open", missing: missingOf(own, proposal), waitsUntilMs };
  return { verdict, missing: [], acceptedAt: nowMs, takesEffectAtMs: nowMs + times.delayMs };
}
