/**
 * Counting the votes on a proposal: what it would do to the constitution in force, which ballots are for exactly that, who
 * votes by script or by criteria, and what the policies make of it. Pure and the same on every validating node.
 */
import { bytesEqual, type Bytes } from "../codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { ActionContext } from "./action-kind.ts";
import { applyActions, judgedActions, type Action, type ActionEffect } from "./actions.ts";
import { matchesCriteria } from "./automatic-votes.ts";
import { scriptView } from "./script-view.ts";
import type { Constitution } from "./constitution.ts";
import type { NodeId } from "../consensus/types.ts";
import { departingNodes, type DepartingState } from "./departing-nodes.ts";
import { effectDigest } from "./effects.ts";
import { actionsTree, readActions } from "./action-codec.ts";
import { treeToJson } from "./fields.ts";
import type { AttestedNode, GovernanceCrypto } from "./governance-crypto.ts";
import type { JsonValue } from "./json-value.ts";
import {
  judge,
  judgeProposal,
  policyOf,
  type ProposalJudgement,
  type Rule,
  type Verdict,
  type Vote,
} from "./policy.ts";
import type { AutomaticVotes, BallotRecord, FinalVote, ProposalFailure, ProposalRecord } from "./proposal.ts";
import { isRefusal, refused, remedyOf } from "./refusal.ts";
import { readAddedActions, readScriptResolution, readScriptVote, SCRIPT_RETURNS } from "./script.ts";
import { stillSpeaks } from "./standing-signer.ts";

/** Longest message of a failure in the state, in characters. */
export const MAX_FAILURE_LENGTH = 1_000;

/**
 * Work that all scripted ballots on open proposals may take together, inputs included, when the votes on every one are counted:
 * about a third of a second of a processor. Nodes count when something changes, so it is bounded however many there are.
 */
export const MAX_BALLOTS_FUEL = 64_000_000;
/** Most of it that the ballots of one member may take, however few other members vote by script. */
export const MAX_MEMBER_BALLOTS_FUEL = 8_000_000;

/** The part of the governance state that votes are counted on. */
export interface VotingState extends DepartingState {
  readonly networkId: string;
  readonly proposals: readonly ProposalRecord[];
  readonly automaticVotes: readonly AutomaticVotes[];
  /** What is known of the code and machine each node runs on. */
  readonly attested: ReadonlyMap<NodeId, AttestedNode>;
}

/** What a proposal would do now. */
export type ProspectiveEffect =
  | { readonly type: "effect"; readonly effect: ActionEffect; readonly digest: Bytes }
  | { readonly type: "failure"; readonly failure: ProposalFailure };

/** How the votes on a proposal stand. */
export interface VoteCount {
  readonly prospect: ProspectiveEffect;
  readonly votes: readonly FinalVote[];
  /** Members whose ballot was for another effect, or whose certificate does not count any more: they are asked again. */
  readonly stale: readonly string[];
  /** Members whose scripted ballot did not come to a vote, and why. */
  readonly scriptFailures: readonly { readonly member: string; readonly message: string }[];
  readonly judgement: ProposalJudgement;
}

/** Ids of the members of a constitution. */
export function memberIds({ actors }: Pick<Constitution, "actors">): readonly string[] {
  return actors.filter(({ role }) => role === "member").map(({ id }) => id);
}

function viewOf(state: VotingState, nowMs: number): JsonValue {
  return { constitution: scriptView(state.constitution), now: nowMs, networkId: state.networkId };
}

/** A proposal as scripts get it, JSON text as in CCF: the actions its member signed. */
export function proposalText(actions: readonly Action[]): string {
  return JSON.stringify(treeToJson({ actions: actionsTree(actions) }));
}

/**
 * Whether a proposal does nothing but replace or remove the constitution's script. It is not put before `validate` and `apply`
 * of that script, and what every member wants passes whatever `resolve` says: a script that fails could never go otherwise.
 */
export function onlySetsScript(actions: readonly Action[]): boolean {
  return actions.every(({ name }) => name === "set_script");
}

/** The actions of a proposal, and those that the constitution's script adds to them. */
function allActions(
  state: VotingState,
  proposal: Pick<ProposalRecord, "id" | "actions">,
  nowMs: number,
  crypto: GovernanceCrypto,
): readonly Action[] {
  const { script } = state.constitution;
  if (script === undefined || onlySetsScript(proposal.actions)) return proposal.actions;
  const result = crypto.runScript({
    source: script,
    function: "apply",
    arguments: [proposalText(proposal.actions), proposal.id],
    view: viewOf(state, nowMs),
  });
  if (!result.ok) {
    if (result.reason === "NotAFunction") return proposal.actions;
    throw refused("ScriptFailed", `apply of the constitution's script: ${result.message}`);
  }
  const added = readAddedActions(result.value);
  if (added === undefined) throw refused("ScriptFailed", `apply returns ${SCRIPT_RETURNS.apply}`);
  if (added.length === 0) return proposal.actions;
  const more = readActions({ actions: added.map(({ name, args }) => ({ name, args })) });
  return [...proposal.actions, ...more];
}

/** What a proposal would do to the constitution in force; never throws for what can't be done. */
export function prospectOf(
  state: VotingState,
  proposal: Pick<ProposalRecord, "id" | "actions">,
  nowMs: number,
  crypto: GovernanceCrypto,
): ProspectiveEffect {
  try {
    const tried = tryOut(state, proposal, { nowMs, crypto });
    tried.digest ??= effectDigest(state, tried.effect, crypto.sha256);
    return { type: "effect", effect: tried.effect, digest: tried.digest };
  } catch (error) {
    return { type: "failure", failure: failureOf(error) };
  }
}

/** When, and by whose cryptography, something is tried. */
export interface Trial {
  /** The ledger's clock, in milliseconds since 1970. */
  readonly nowMs: number;
  readonly crypto: GovernanceCrypto;
  /** How the vote went; absent while it is only judged what a proposal would do. */
  readonly approval?: ActionContext["approval"];
}

/** What a proposal does; throws `ProposalInvalid` naming the action when it can't be done. */
export function effectOf(
  state: VotingState,
  proposal: Pick<ProposalRecord, "id" | "actions">,
  trial: Trial,
): ActionEffect {
  return tryOut(state, proposal, trial).effect;
}

/** An effect on a constitution, and all else that it follows from. */
interface TriedEffect extends Trial, Pick<VotingState, "networkId" | "attested" | "departing"> {
  readonly proposal: Pick<ProposalRecord, "id" | "actions">;
  readonly effect: ActionEffect;
  /** Whether it depends on how the vote went. */
  readonly asksForApproval: boolean;
  digest: Bytes | undefined;
}

/** The newest effect on each constitution: a single ballot asks for it several times. */
const triedEffects = new WeakMap<Constitution, TriedEffect>();

function tryOut(state: VotingState, { id, actions }: TriedEffect["proposal"], trial: Trial): TriedEffect {
  const { constitution, networkId, attested, departing } = state;
  const { nowMs, crypto, approval } = trial;
  const known = triedEffects.get(constitution);
  if (known?.proposal.actions === actions && known.proposal.id === id && followsFromSame(known, state, trial))
    return known;
  let asksForApproval = false;
  const effect = applyActions(constitution, allActions(state, { id, actions }, nowMs, crypto), {
    nowMs,
    networkName: constitution.network.name,
    crypto,
    attested,
    get approval() {
      asksForApproval = true;
      return approval;
    },
  });
  departingNodes(state, effect.constitution);
  const inputs = { ...trial, networkId, attested, departing, proposal: { id, actions } };
  const tried = { ...inputs, effect, asksForApproval, digest: undefined };
  triedEffects.set(constitution, tried);
  return tried;
}

function followsFromSame(before: TriedEffect, state: VotingState, now: Trial): boolean {
  return (
    before.networkId === state.networkId &&
    before.attested === state.attested &&
    before.departing === state.departing &&
    before.nowMs === now.nowMs &&
    before.crypto === now.crypto &&
    (!before.asksForApproval || before.approval === now.approval)
  );
}

/** What goes into the record of a proposal that can't be carried out. */
export function failureOf(error: unknown): ProposalFailure {
  if (!(error instanceof CocoError) || !isRefusal(error)) throw error;
  const { reason, action, name } = error.data;
  return {
    ...(typeof action === "number" && { action }),
    ...(typeof name === "string" && { name }),
    reason: String(reason),
    message: oneLine(error.message),
    remedy: remedyOf(error),
  };
}

/** A message without control characters, cut to what a record holds: it may come from a script. */
function oneLine(message: string): string {
  const text = message.replaceAll(/[\p{Cc}\p{Surrogate}]/gu, " ").slice(0, MAX_FAILURE_LENGTH);
  // The cut may have split a character.
  return text.replaceAll(/\p{Surrogate}/gu, " ");
}

/** Counts the votes on an open proposal. */
export function countVotes(
  state: VotingState,
  proposal: ProposalRecord,
  nowMs: number,
  crypto: GovernanceCrypto,
): VoteCount {
  const prospect = prospectOf(state, proposal, nowMs, crypto);
  const open: OpenProposal = { state, proposal, prospect, nowMs, crypto, fuelOf: ballotFuel(state.proposals) };
  const members = memberIds(state.constitution);
  const newest = newestBallots(proposal);
  const { actors } = state.constitution;
  const stale: string[] = [];
  const scriptFailures: { member: string; message: string }[] = [];
  const votes = members.flatMap((member): FinalVote[] => {
    const cast = newest.get(member);
    const ballot = cast && stillSpeaks(actors, cast, crypto) ? cast : undefined;
    if (cast !== undefined && ballot === undefined) stale.push(member);
    const vote = ballot && voteOf(ballot, open);
    if (typeof vote === "string") return [{ member, vote, by: ballot?.choice.type === "script" ? "script" : "ballot" }];
    if (vote?.type === "stale") stale.push(member);
    if (vote?.type === "failed") scriptFailures.push({ member, message: vote.message });
    return votesByCriteria(member, open) ? [{ member, vote: "yes", by: "criteria" }] : [];
  });
  const counted = new Map(votes.map(({ member, vote }) => [member, vote]));
  const verdict = scriptVerdict(votes, open);
  const judgement = judgeProposal(state.constitution.policies, {
    actionNames: judgedActions(proposal.actions),
    votes: counted,
    members,
    openedAtMs: proposal.openedAtMs,
    expiresAtMs: proposal.expiresAtMs,
    nowMs,
    ...(verdict !== undefined && { scriptVerdict: verdict }),
  });
  return { prospect, votes, stale, scriptFailures, judgement };
}

type BallotOutcome = Vote | { readonly type: "stale" } | { readonly type: "failed"; readonly message: string };

/** A proposal whose votes are being counted. */
interface OpenProposal extends Trial {
  readonly state: VotingState;
  readonly proposal: ProposalRecord;
  readonly prospect: ProspectiveEffect;
  /** Work that each scripted ballot of a member may take. */
  readonly fuelOf: ReadonlyMap<string, number>;
}

/** Of each member the newest ballot counts. */
function newestBallots({ ballots }: ProposalRecord): ReadonlyMap<string, BallotRecord> {
  return new Map(ballots.map((ballot) => [ballot.member, ballot]));
}

const ballotFuels = new WeakMap<readonly ProposalRecord[], ReadonlyMap<string, number>>();

/**
 * The work that each scripted ballot on the open ones of these proposals may take, by member: members that vote by script have
 * equal parts, and a member's ballots equal parts of that. What a member's ballots do takes nothing from another's.
 */
export function ballotFuel(proposals: readonly ProposalRecord[]): ReadonlyMap<string, number> {
  const known = ballotFuels.get(proposals);
  if (known !== undefined) return known;
  const scripted = new Map<string, number>();
  for (const proposal of proposals.filter(({ state }) => state === "Open"))
    for (const [member, { choice }] of newestBallots(proposal))
      if (choice.type === "script") scripted.set(member, (scripted.get(member) ?? 0) + 1);
  const part = Math.min(MAX_MEMBER_BALLOTS_FUEL, MAX_BALLOTS_FUEL / scripted.size);
  const fuel = new Map([...scripted].map(([member, ballots]) => [member, Math.floor(part / ballots)]));
  ballotFuels.set(proposals, fuel);
  return fuel;
}

function voteOf({ choice, member }: BallotRecord, open: OpenProposal): BallotOutcome {
  const { state, proposal, prospect, nowMs, crypto, fuelOf } = open;
  if (choice.type === "plain") {
    // What can't be done at all has no effect to compare: then the votes decide whether it counts as failed.
    const fits = prospect.type === "failure" || bytesEqual(choice.effect, prospect.digest);
    return fits ? choice.vote : { type: "stale" };
  }
  const result = crypto.runScript({
    source: choice.source,
    function: "vote",
    arguments: [proposalText(proposal.actions), proposal.proposer],
    view: viewOf(state, nowMs),
    maxFuel: fuelOf.get(member) ?? 0,
  });
  if (!result.ok) return { type: "failed", message: `${result.reason}: ${result.message}` };
  return readScriptVote(result.value) ?? { type: "failed", message: `vote returns ${SCRIPT_RETURNS.vote}` };
}

function votesByCriteria(member: string, { state, proposal, prospect, crypto }: OpenProposal): boolean {
  if (prospect.type === "failure") return false;
  const own = state.automaticVotes.find((votes) => votes.member === member);
  if (own === undefined || !stillSpeaks(state.constitution.actors, own, crypto)) return false;
  return own.criteria.some((criteria) => matchesCriteria(criteria, state.constitution, proposal.actions));
}

function usesScript(rule: Rule): boolean {
  return rule.type === "script" || (rule.type === "veto" && rule.rule.type === "script");
}

/** What the constitution's script says, for policies that ask it; undefined when there is none or it does not say. */
function scriptVerdict(
  votes: readonly FinalVote[],
  { state, proposal, nowMs, crypto }: OpenProposal,
): Verdict | undefined {
  const { script, policies } = state.constitution;
  const isScripted = judgedActions(proposal.actions).some((name) => usesScript(policyOf(policies, name).rule));
  if (script === undefined || !isScripted) return undefined;
  const cast = votes.filter(({ vote }) => vote !== "abstain");
  const result = crypto.runScript({
    source: script,
    function: "resolve",
    arguments: [
      proposalText(proposal.actions),
      proposal.proposer,
      cast.map(({ member, vote }) => ({ member_id: member, vote: vote === "yes" })),
      proposal.id,
    ],
    view: viewOf(state, nowMs),
  });
  const said = result.ok ? readScriptResolution(result.value) : undefined;
  return onlySetsScript(proposal.actions) ? orByAll(said, state.constitution, votes) : said;
}

/** The script's verdict, where all members together can do without it: it does not end the vote before one of them says no. */
function orByAll(
  said: Verdict | undefined,
  constitution: Constitution,
  votes: readonly FinalVote[],
): Verdict | undefined {
  const byAll = judge(
    { type: "unanimous" },
    new Map(votes.map(({ member, vote }) => [member, vote])),
    memberIds(constitution),
  );
  if (byAll === "accepted") return byAll;
  return said === "rejected" && byAll === "open" ? byAll : said;
}
