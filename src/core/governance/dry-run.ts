/**
 * What a proposal would do and need, before anybody signs it: judged as it would be at its opening, nothing is recorded.
 */
import { toHex } from "../codec/bytes.ts";
import { judgedActions, type Action } from "./actions.ts";
import type { ActionName } from "./action-names.ts";
import { describeEffect, effectDigest, type DescribedChange } from "./effects.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { policyOf, proposalTimes, type ProposalTimes, type Verdict } from "./policy.ts";
import { ACTION_WORDS, explainPolicy } from "./policy-words.ts";
import type { FinalVote, ProposalRecord } from "./proposal.ts";
import { validateByScript, type ProposalsState } from "./proposal-requests.ts";
import { countVotes, effectOf } from "./vote-count.ts";

/** The policy that one kind of action is judged by. */
export interface NeededPolicy {
  readonly action: ActionName;
  readonly words: string;
}

/** What a proposal would do and need. */
export interface DryRun {
  /** Digest of the effect, hex: what ballots would name. */
  readonly digest: string;
  readonly changes: readonly DescribedChange[];
  readonly policies: readonly NeededPolicy[];
  /** How it would stand when it is opened: members vote by their criteria at once. */
  readonly verdict: Verdict | "expired";
  readonly votes: readonly FinalVote[];
  /** Members that would be asked. */
  readonly missing: readonly string[];
  readonly times: ProposalTimes;
}

/** The policies that judge a proposal with these actions, in words. */
export function neededPolicies(
  { constitution: { policies, actors } }: Pick<ProposalsState, "constitution">,
  actions: readonly Action[],
): readonly NeededPolicy[] {
  return judgedActions(actions).map((action) => ({
    action,
    words: `${ACTION_WORDS[action]} ${explainPolicy(policyOf(policies, action), actors)}`,
  }));
}

/** Tries a proposal of these actions; throws `ProposalInvalid` when it would be refused for what it says. */
export function dryRun(
  state: ProposalsState,
  actions: readonly Action[],
  nowMs: number,
  crypto: GovernanceCrypto,
): DryRun {
  const { constitution } = state;
  const times = proposalTimes(constitution.policies, judgedActions(actions));
  const proposal = proposalToTry(actions, nowMs, times);
  validateByScript(state, proposal, nowMs, crypto);
  const effect = effectOf(state, proposal, { nowMs, crypto });
  const { votes, judgement } = countVotes(state, proposal, nowMs, crypto);
  return {
    digest: toHex(effectDigest(state, effect, crypto.sha256)),
    changes: describeEffect(constitution, effect, crypto),
    policies: neededPolicies(state, actions),
    verdict: judgement.verdict,
    votes,
    missing: judgement.missing,
    times,
  };
}

/** Nobody's proposal. */
function proposalToTry(actions: readonly Action[], nowMs: number, times: ProposalTimes): ProposalRecord {
  const expiresAtMs = nowMs + times.expiresAfterMs;
  return {
    ...{ id: "", proposer: "", certificate: "", message: new Uint8Array(0), chain: [] },
    ...{ actions, description: undefined, state: "Open", openedAtMs: nowMs, openedAtSeqno: 0, expiresAtMs },
    ...{ scheduled: undefined, ballots: [], withdrawal: undefined, finalVotes: [], failure: undefined },
    decidedAtMs: undefined,
  };
}
