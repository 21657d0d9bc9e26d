/**
 * A second, independent model of voting on proposals: members are a list, votes a map, and whether a rule can still be met is
 * tried out over everything that the silent members could do.
 */
import type { Rule, Vote, VotingPolicy } from "../../src/core/governance/policy.ts";
import type { ProposalState } from "../../src/core/governance/proposal.ts";

/** What a proposal of the model wants. */
export type Wish =
  | { readonly type: "code"; readonly number: number }
  | { readonly type: "add"; readonly member: string }
  | { readonly type: "remove"; readonly member: string }
  | { readonly type: "policy"; readonly at: number };

interface ModelProposal {
  readonly wish: Wish;
  readonly proposer: string;
  readonly openedAtMs: number;
  readonly expiresAtMs: number;
  state: ProposalState;
  scheduled: { readonly atMs: number; readonly effect: string } | undefined;
  /** Newest ballot of each member, and what it was for. */
  readonly ballots: Map<string, { readonly vote: Vote; readonly effect: string }>;
}

function isMet(rule: Rule, yes: ReadonlySet<string>, members: readonly string[]): boolean {
  const among = (group: readonly string[]) => group.filter((id) => members.includes(id) && yes.has(id)).length;
  switch (rule.type) {
    case "unanimous":
      return members.length > 0 && members.every((id) => yes.has(id));
    case "majority":
      return 2 * among(members) > members.length;
    case "count":
      return among(members) >= rule.yes;
    case "weighted":
      return members.reduce((sum, id) => sum + (yes.has(id) ? (rule.weights[id] ?? 0) : 0), 0) >= rule.threshold;
    case "stages":
      return rule.stages.every(({ group, yes: needed }) => among(group) >= needed);
    case "veto":
      return isMet(rule.rule, yes, members);
    case "script":
      return false;
  }
}

/** How votes stand under a rule. */
export function verdictOf(rule: Rule, votes: ReadonlyMap<string, Vote>, members: readonly string[]): string {
  if (rule.type === "veto" && rule.by.some((id) => members.includes(id) && votes.get(id) === "no")) return "rejected";
  const yes = members.filter((id) => votes.get(id) === "yes");
  if (isMet(rule, new Set(yes), members)) return "accepted";
  const silent = members.filter((id) => !votes.has(id));
  for (let mask = 1; mask < 2 ** silent.length; mask++) {
    const more = silent.filter((_, at) => (mask & (1 << at)) !== 0);
    if (isMet(rule, new Set([...yes, ...more]), members)) return "open";
  }
  return "rejected";
}

/** Whether these members could ever accept anything under a rule, and it names nobody else. */
export function fits(rule: Rule, members: readonly string[]): boolean {
  const named = {
    veto: () => (rule.type === "veto" ? rule.by : []),
    weighted: () => (rule.type === "weighted" ? Object.keys(rule.weights) : []),
    stages: () => (rule.type === "stages" ? rule.stages.flatMap(({ group }) => group) : []),
  };
  const isKnown = Object.values(named).every((ids) => ids().every((id) => members.includes(id)));
  const inner = rule.type !== "veto" || fits(rule.rule, members);
  return isKnown && inner && isMet(rule, new Set(members), members);
}

/** The network as the model has it. */
export class VotingModel {
  members: readonly string[];
  readonly codes = new Set<number>();
  policyAt = 0;
  readonly proposals: ModelProposal[] = [];
  readonly #policies: readonly VotingPolicy[];

  constructor(members: readonly string[], policies: readonly VotingPolicy[]) {
    this.members = members;
    this.#policies = policies;
  }

  get #policy(): VotingPolicy {
    const policy = this.#policies[this.policyAt];
    if (policy === undefined) throw new RangeError("no such policy");
    return policy;
  }

  /** What a wish would change now; undefined when it can't be done. */
  effectOf(wish: Wish): string | undefined {
    const after = { members: this.members, at: this.policyAt };
    if (wish.type === "code") return this.codes.has(wish.number) ? undefined : `code ${wish.number}`;
    if (wish.type === "add") {
      if (this.members.includes(wish.member)) return undefined;
      after.members = [...this.members, wish.member];
    }
    if (wish.type === "remove") {
      if (!this.members.includes(wish.member) || this.members.length === 1) return undefined;
      after.members = this.members.filter((id) => id !== wish.member);
    }
    if (wish.type === "policy") {
      if (wish.at === this.policyAt) return undefined;
      after.at = wish.at;
    }
    const policy = this.#policies[after.at];
    if (policy === undefined || !fits(policy.rule, after.members)) return undefined;
    return wish.type === "policy" ? `policy ${this.policyAt} to ${wish.at}` : `${wish.type} ${wish.member}`;
  }

  /** False when it is refused. */
  propose(proposer: string, wish: Wish, nowMs: number): boolean {
    if (!this.members.includes(proposer) || this.effectOf(wish) === undefined) return false;
    const times = { openedAtMs: nowMs, expiresAtMs: nowMs + this.#policy.expiresAfterMs };
    const proposal: ModelProposal = {
      ...{ wish, proposer, ...times, state: "Open", scheduled: undefined, ballots: new Map() },
    };
    this.proposals.push(proposal);
    this.#settle(proposal, nowMs);
    return true;
  }

  /** A ballot for an effect; false when it is refused. */
  cast(member: string, at: number, ballot: { readonly vote: Vote; readonly effect: string }, nowMs: number): boolean {
    const proposal = this.proposals[at];
    if (proposal === undefined || proposal.state !== "Open" || !this.members.includes(member)) return false;
    const effect = this.effectOf(proposal.wish);
    if (effect !== undefined && effect !== ballot.effect) return false;
    proposal.ballots.set(member, ballot);
    this.#settle(proposal, nowMs);
    return true;
  }

  /** False when it is refused. */
  withdraw(member: string, at: number): boolean {
    const proposal = this.proposals[at];
    if (proposal === undefined || proposal.proposer !== member || !this.members.includes(member)) return false;
    if (proposal.state !== "Open" && proposal.state !== "Scheduled") return false;
    proposal.state = "Withdrawn";
    return true;
  }

  /** Settles whatever is due, the oldest proposal first. */
  settle(nowMs: number): void {
    while (this.proposals.some((proposal) => this.#settle(proposal, nowMs)));
  }

  #votesOn({ ballots }: ModelProposal, effect: string | undefined): ReadonlyMap<string, Vote> {
    const counts = [...ballots].filter(([id, ballot]) => {
      return this.members.includes(id) && (effect === undefined || ballot.effect === effect);
    });
    return new Map(counts.map(([id, { vote }]) => [id, vote]));
  }

  /** Whether the proposal is another now. */
  #settle(proposal: ModelProposal, nowMs: number): boolean {
    const before = proposal.state;
    if (before !== "Open" && before !== "Scheduled") return false;
    const effect = this.effectOf(proposal.wish);
    proposal.state = this.#nextState(proposal, effect, nowMs);
    if (proposal.state === "Accepted") this.#apply(proposal.wish);
    return proposal.state !== before;
  }

  #nextState(proposal: ModelProposal, effect: string | undefined, nowMs: number): ProposalState {
    if (!this.members.includes(proposal.proposer)) return "Dropped";
    if (proposal.state === "Scheduled") {
      if (proposal.scheduled === undefined || nowMs < proposal.scheduled.atMs) return "Scheduled";
      if (effect === undefined) return "Failed";
      return effect === proposal.scheduled.effect ? "Accepted" : "Open";
    }
    if (nowMs >= proposal.expiresAtMs) return "Expired";
    const verdict = verdictOf(this.#policy.rule, this.#votesOn(proposal, effect), this.members);
    if (verdict === "rejected") return "Rejected";
    if (verdict === "open" || nowMs < proposal.openedAtMs + this.#policy.deliberationMs) return "Open";
    if (effect === undefined) return "Failed";
    if (this.#policy.delayMs === 0) return "Accepted";
    proposal.scheduled = { atMs: nowMs + this.#policy.delayMs, effect };
    return "Scheduled";
  }

  #apply(wish: Wish): void {
    if (wish.type === "code") this.codes.add(wish.number);
    else if (wish.type === "add") this.members = [...this.members, wish.member];
    else if (wish.type === "remove") this.members = this.members.filter((id) => id !== wish.member);
    else this.policyAt = wish.at;
  }
}
