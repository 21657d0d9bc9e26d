/**
 * Signed requests of members as administrative transactions: proposals, ballots, withdrawals and automatic votes. Every
 * validating node verifies the signature, the signer's certificates and the content itself; what does not hold is refused
 * with a reason of its own and leaves nothing behind.
 *
 * A request that comes again is refused: proposals and automatic votes by the replay guard, ballots and automatic votes because
 * they must be newer than the member's last, withdrawals because the proposal is not open any more.
 */
import { bytesEqual, toHex } from "../codec/bytes.ts";
import { judgedActions } from "./actions.ts";
import { readProposalPayload } from "./action-codec.ts";
import { readCriteria } from "./automatic-votes.ts";
import type { BatchPlace } from "./epochs.ts";
import { parseJsonBytes, readDocument, type FieldContext, type FieldReader } from "./fields.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { proposalTimes } from "./policy.ts";
import {
  isPending,
  MAX_AUTOMATIC_VOTES_BYTES,
  MAX_BALLOTS,
  MAX_OPEN_PROPOSALS,
  MAX_OPEN_PROPOSALS_BYTES,
  MAX_OPEN_PROPOSALS_PER_MEMBER,
  memberBytes,
  messageBytes,
  MIN_MEMBER_AUTOMATIC_VOTES_BYTES,
  MIN_MEMBER_BYTES,
  proposalBytes,
  type BallotChoice,
  type BallotRecord,
  type ProposalRecord,
  type SignedMessage,
} from "./proposal.ts";
import { refused } from "./refusal.ts";
import { isByLedger } from "./removal-proposals.ts";
import { checkCreatedAt, checkReplay, remember, replayOf, type RememberedRequest } from "./replay-guard.ts";
import { MAX_SCRIPT_BYTES, readScriptValidation, SCRIPT_RETURNS } from "./script.ts";
import { settleProposal, withProposal, type SettledState } from "./settle.ts";
import { verifySigner, type VerifiedRequest } from "./signer.ts";
import {
  effectOf,
  memberIds,
  onlySetsScript,
  proposalText,
  prospectOf,
  type Trial,
  type VotingState,
} from "./vote-count.ts";
import { scriptView } from "./script-view.ts";

/** The part of the governance state that requests change. */
export interface ProposalsState extends VotingState {
  readonly recentRequests: readonly RememberedRequest[];
}

/** The id of the proposal that a message is about: its own, or the one it names; undefined for automatic votes. */
export function proposalIdOf({ request }: VerifiedRequest, sha256: GovernanceCrypto["sha256"]): string | undefined {
  return request.type === "proposal" ? toHex(sha256(request.signedBytes)) : request.proposalId;
}

/** Executes a request on the state before it; throws `ProposalInvalid`, with nothing changed, when it does not hold. */
export function executeRequest<State extends ProposalsState>(
  state: State,
  message: SignedMessage,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): SettledState<State> {
  const verified = verifySigner(state, message, place.timeMs, crypto);
  checkCreatedAt(verified.request.createdAt, place.timeMs);
  switch (verified.request.type) {
    case "proposal":
      return propose(state, verified, place, crypto);
    case "ballot":
      return cast(state, verified, place, crypto);
    case "withdrawal":
      return { state: withdraw(state, verified, place), effect: undefined };
    case "automatic_vote":
      return { state: registerCriteria(state, verified, place, crypto), effect: undefined };
    case "resume":
      throw refused("Malformed", "a resume goes to the node it is for, not into the ledger");
  }
}

function readPayload<T>({ request }: VerifiedRequest, read: (fields: FieldReader) => T): T {
  const context: FieldContext = { form: "json", code: "ProposalInvalid", data: { reason: "Malformed" } };
  return readDocument(parseJsonBytes(request.payload, context), context, read);
}

function propose<State extends ProposalsState>(
  state: State,
  verified: VerifiedRequest,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): SettledState<State> {
  const { request, actor, certificate, message } = verified;
  const id = toHex(crypto.sha256(request.signedBytes));
  const remembered = { createdAt: request.createdAt, id };
  if (state.proposals.some((proposal) => proposal.id === id))
    throw refused("ProposalReplay", "this very proposal was submitted before");
  checkReplay(state.recentRequests, remembered, place.timeMs);
  const { actions, description } = readPayload(verified, readProposalPayload);
  const content = { id, actions };
  validateByScript(state, content, place.timeMs, crypto);
  // What can't be carried out now is refused now, where its proposer can still correct it.
  effectOf(state, content, { nowMs: place.timeMs, crypto });
  const proposal: ProposalRecord = {
    ...content,
    ...message,
    proposer: actor,
    certificate,
    description,
    state: "Open",
    openedAtMs: place.timeMs,
    openedAtSeqno: place.firstSeqno,
    expiresAtMs: place.timeMs + proposalTimes(state.constitution.policies, judgedActions(actions)).expiresAfterMs,
    scheduled: undefined,
    ballots: [],
    withdrawal: undefined,
    finalVotes: [],
    failure: undefined,
    decidedAtMs: undefined,
  };
  checkRoom(state, proposal);
  const recentRequests = remember(state.recentRequests, remembered);
  return settleProposal(withProposal({ ...state, recentRequests }, proposal), id, place.timeMs, crypto);
}

/** Throws `ProposalInvalid` when the constitution's script does not take the actions. */
export function validateByScript(
  state: ProposalsState,
  { actions }: Pick<ProposalRecord, "actions">,
  nowMs: number,
  crypto: GovernanceCrypto,
): void {
  const { constitution, networkId } = state;
  if (constitution.script === undefined || onlySetsScript(actions)) return;
  const result = crypto.runScript({
    source: constitution.script,
    function: "validate",
    arguments: [proposalText(actions)],
    view: { constitution: scriptView(constitution), now: nowMs, networkId },
  });
  if (!result.ok) {
    if (result.reason === "NotAFunction") return;
    throw refused("ScriptFailed", `validate of the constitution's script: ${result.message}`);
  }
  const said = readScriptValidation(result.value);
  if (said === undefined) throw refused("ScriptFailed", `validate returns ${SCRIPT_RETURNS.validate}`);
  if (!said.valid) throw refused("NotValidByScript", said.description);
}

function checkRoom(state: ProposalsState, proposal: ProposalRecord): void {
  const all = state.proposals.filter(isPending);
  const pending = all.filter((one) => !isByLedger(one));
  if (pending.length >= MAX_OPEN_PROPOSALS)
    throw refused("TooManyProposals", `at most ${MAX_OPEN_PROPOSALS} proposals are open at once`);
  if (pending.filter(({ proposer }) => proposer === proposal.proposer).length >= MAX_OPEN_PROPOSALS_PER_MEMBER)
    throw refused("TooManyProposals", `a member has at most ${MAX_OPEN_PROPOSALS_PER_MEMBER} open proposals`);
  // Ballots on proposals of the ledger take room of those who cast them.
  checkBytes(state, [...all, proposal], proposal.proposer);
}

/** Every member has its part of the room, so that none can keep the others from voting. */
function partOf({ constitution }: ProposalsState, total: number, least: number): number {
  return Math.max(Math.floor(total / memberIds(constitution).length), least);
}

function checkBytes(state: ProposalsState, pending: readonly ProposalRecord[], member: string): void {
  const part = partOf(state, MAX_OPEN_PROPOSALS_BYTES, MIN_MEMBER_BYTES);
  if (memberBytes(pending, member) > part)
    throw refused("TooManyProposals", `a member's open proposals and its ballots take at most ${part} bytes`);
  const bytes = pending.reduce((total, proposal) => total + proposalBytes(proposal), 0);
  if (bytes > MAX_OPEN_PROPOSALS_BYTES)
    throw refused(
      "TooManyProposals",
      `open proposals and their ballots take at most ${MAX_OPEN_PROPOSALS_BYTES} bytes`,
    );
}

function requireProposal(state: ProposalsState, id: string | undefined): ProposalRecord {
  const proposal = state.proposals.find((candidate) => candidate.id === id);
  if (proposal === undefined) throw refused("ProposalNotFound", `there is no proposal ${id ?? ""} in the state`);
  return proposal;
}

function requireOpen(state: ProposalsState, id: string | undefined): ProposalRecord {
  const proposal = requireProposal(state, id);
  if (proposal.state !== "Open") throw refused("ProposalNotOpen", `the proposal is ${proposal.state}`);
  return proposal;
}

function cast<State extends ProposalsState>(
  state: State,
  verified: VerifiedRequest,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): SettledState<State> {
  const { request, actor, certificate, message } = verified;
  const proposal = requireOpen(state, request.proposalId);
  const earlier = proposal.ballots.findLast(({ member }) => member === actor);
  if (earlier !== undefined && request.createdAt <= earlier.createdAt)
    throw refused("BallotNotNewer", "the member cast this ballot, or one signed after it, before");
  const choice = readPayload(verified, readBallotChoice);
  requireEffectSeen(state, proposal, choice, { nowMs: place.timeMs, crypto });
  const { createdAt } = request;
  const ballot: BallotRecord = { ...message, member: actor, certificate, createdAt, choice, atMs: place.timeMs };
  const ballots = [...proposal.ballots, ballot];
  if (ballots.length > MAX_BALLOTS) throw refused("TooManyBallots", `a proposal has at most ${MAX_BALLOTS} ballots`);
  const voted = { ...proposal, ballots };
  const pending = state.proposals.filter(isPending).map((other) => (other.id === voted.id ? voted : other));
  checkBytes(state, pending, actor);
  return settleProposal(withProposal(state, voted), voted.id, place.timeMs, crypto);
}

/** Reads what a ballot says: `{"vote","effect"}`, or CCF's `{"ballot": "export function vote (...) {...}"}`. */
export function readBallotChoice(fields: FieldReader): BallotChoice {
  if (fields.has("ballot")) {
    const source = fields.value("ballot");
    if (typeof source !== "string" || source.length === 0 || source.length > MAX_SCRIPT_BYTES)
      throw fields.invalid("ballot", `expected a script of 1 to ${MAX_SCRIPT_BYTES} characters`);
    return { type: "script", source };
  }
  return {
    type: "plain",
    vote: fields.choice("vote", ["yes", "no", "abstain"]),
    effect: fields.bytes("effect", { length: 32 }),
  };
}

/** A vote for an effect that the proposal does not have any more is the vote for something else. */
function requireEffectSeen(
  state: ProposalsState,
  proposal: ProposalRecord,
  choice: BallotChoice,
  { nowMs, crypto }: Trial,
): void {
  if (choice.type !== "plain") return;
  const prospect = prospectOf(state, proposal, nowMs, crypto);
  if (prospect.type === "effect" && !bytesEqual(prospect.digest, choice.effect))
    throw refused("EffectChanged", `the proposal's effect is ${toHex(prospect.digest)} now; look at it again and vote`);
}

function withdraw<State extends ProposalsState>(
  state: State,
  { request, actor, message }: VerifiedRequest,
  place: BatchPlace,
): State {
  const proposal = requireProposal(state, request.proposalId);
  if (!isPending(proposal)) throw refused("ProposalNotOpen", `the proposal is ${proposal.state}`);
  if (proposal.proposer !== actor)
    throw refused("NotTheProposer", "a proposal is withdrawn by the member that made it");
  const decidedAtMs = place.timeMs;
  return withProposal(state, {
    ...proposal,
    state: "Withdrawn",
    scheduled: undefined,
    withdrawal: message,
    decidedAtMs,
  });
}

function registerCriteria<State extends ProposalsState>(
  state: State,
  verified: VerifiedRequest,
  { timeMs }: BatchPlace,
  crypto: GovernanceCrypto,
): State {
  const { request, actor, certificate, message } = verified;
  const earlier = state.automaticVotes.find(({ member }) => member === actor);
  // The state forgets those of a member that leaves, and the member may come back.
  const remembered = { createdAt: request.createdAt, id: toHex(crypto.sha256(request.signedBytes)) };
  const isReplay = replayOf(state.recentRequests, remembered, timeMs) !== undefined;
  if (isReplay || (earlier !== undefined && request.createdAt <= earlier.createdAt))
    throw refused("RequestNotNewer", "the member registered these criteria, or some signed after them, before");
  const criteria = readPayload(verified, readCriteria);
  const { createdAt } = request;
  const members = memberIds(state.constitution);
  const others = state.automaticVotes.filter(({ member }) => member !== actor && members.includes(member));
  const part = partOf(state, MAX_AUTOMATIC_VOTES_BYTES, MIN_MEMBER_AUTOMATIC_VOTES_BYTES);
  if (messageBytes(message) > part)
    throw refused("TooManyCriteria", `a member's automatic votes take at most ${part} bytes`);
  const automaticVotes = [...others, { ...message, member: actor, certificate, createdAt, atMs: timeMs, criteria }];
  if (automaticVotes.reduce((total, votes) => total + messageBytes(votes), 0) > MAX_AUTOMATIC_VOTES_BYTES)
    throw refused("TooManyCriteria", `automatic votes take at most ${MAX_AUTOMATIC_VOTES_BYTES} bytes together`);
  return { ...state, automaticVotes, recentRequests: remember(state.recentRequests, remembered) };
}
