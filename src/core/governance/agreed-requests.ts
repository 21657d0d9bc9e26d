/** A proposal with the votes of several members whose keys are all at hand: a sandbox's, a test network's. */
import { CocoError } from "../../errors.ts";
import type { Action } from "./actions.ts";
import type { SignedMessage } from "./proposal.ts";
import {
  ballotPayload,
  proposalPayload,
  signProposal,
  signRequest,
  type RequestOrigin,
  type RequestSigner,
} from "./request-signing.ts";
import { prospectOf, type Trial, type VotingState } from "./vote-count.ts";

/**
 * A proposal of the first member, and a yes of each of them on what it would do to the state as it is. Throws
 * `ProposalInvalid` when it can't be done.
 * The time is that of signing.
 */
export function agreedRequests(
  state: VotingState,
  actions: readonly Action[],
  members: readonly [RequestSigner, ...RequestSigner[]],
  { nowMs, crypto }: Trial,
): readonly [SignedMessage, ...SignedMessage[]] {
  const origin = (signer: RequestSigner): RequestOrigin => ({
    signer,
    networkId: state.networkId,
    createdAt: Math.floor(nowMs / 1000),
    sha256: crypto.sha256,
  });
  const { id, ...proposal } = signProposal(proposalPayload(actions), origin(members[0]));
  const prospect = prospectOf(state, { id, actions }, nowMs, crypto);
  if (prospect.type === "failure") {
    const { reason, message } = prospect.failure;
    throw new CocoError("ProposalInvalid", message, { reason });
  }
  const payload = ballotPayload("yes", prospect.digest);
  return [proposal, ...members.map((member) => signRequest("ballot", payload, origin(member), id))];
}
