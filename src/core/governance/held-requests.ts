/**
 * Whether the governance state holds a signed request already. A request goes from node to node until somebody leads: who
 * gets it again must tell "this very request is in" from "it does not hold".
 */
import { toHex, type Bytes, type HashFunction } from "../codec/bytes.ts";
import type { SignedMessage } from "./proposal.ts";
import type { ProposalsState } from "./proposal-requests.ts";
import { parseSignedRequest } from "./signed-request.ts";

/** Names a request by what its signature covers, hex; the id of a proposal. Throws `ProposalInvalid` when it is malformed. */
export function requestKey(message: Bytes, sha256: HashFunction): string {
  return toHex(sha256(parseSignedRequest(message).signedBytes));
}

/** Whether the state has this very request in it: executed before, and not replaced or forgotten since. */
export function holdsRequest(state: ProposalsState, message: Bytes, sha256: HashFunction): boolean {
  const request = parseSignedRequest(message);
  const key = toHex(sha256(request.signedBytes));
  const isSame = (other: Pick<SignedMessage, "message"> | undefined): boolean =>
    other !== undefined && requestKey(other.message, sha256) === key;
  const proposal = state.proposals.find(({ id }) => id === (request.proposalId ?? key));
  switch (request.type) {
    case "proposal":
      return proposal !== undefined || state.recentRequests.some(({ id }) => id === key);
    case "ballot":
      return proposal?.ballots.some((cast) => cast.createdAt === request.createdAt && isSame(cast)) ?? false;
    case "withdrawal":
      return isSame(proposal?.withdrawal);
    case "automatic_vote":
      return state.automaticVotes.some((votes) => votes.createdAt === request.createdAt && isSame(votes));
    case "resume":
      return false;
  }
}
