/** Who signed a governance request: its certificates lead to a member of the constitution, and the signature holds. */
import { toHex } from "../codec/bytes.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import type { SignedMessage } from "./proposal.ts";
import { refused } from "./refusal.ts";
import { MAX_REQUEST_CHAIN, parseSignedRequest, type SignedRequest } from "./signed-request.ts";
import type { VotingState } from "./vote-count.ts";

/** A request whose signer is known. */
export interface VerifiedRequest {
  readonly request: SignedRequest;
  /** The message and chain as they go into the state. */
  readonly message: SignedMessage;
  /** Id of the member. */
  readonly actor: string;
  /** Hex SHA-256 of the signing certificate. */
  readonly certificate: string;
}

/** Throws `ProposalInvalid` unless a member signed the message, for this network, with a certificate valid at `nowMs`. */
export function verifySigner(
  { constitution, networkId }: Pick<VotingState, "constitution" | "networkId">,
  message: SignedMessage,
  nowMs: number,
  crypto: GovernanceCrypto,
): VerifiedRequest {
  const request = parseSignedRequest(message.message);
  const { chain } = message;
  const [signing] = chain;
  if (signing === undefined || chain.length > MAX_REQUEST_CHAIN)
    throw refused("Malformed", `a request comes with 1 to ${MAX_REQUEST_CHAIN} certificates`);
  const certificate = toHex(crypto.sha256(signing));
  if (certificate !== request.keyId) throw refused("SignatureInvalid", "the key id names another certificate");
  if (request.networkId !== undefined && request.networkId !== networkId)
    throw refused("OtherNetwork", "the request is for another network");
  const identity = crypto.identify(constitution.actors, chain, nowMs);
  if ("problem" in identity) throw refused("CertificateNotValid", `the signing certificate: ${identity.problem}`);
  const actor = constitution.actors.find(({ id }) => id === identity.actor);
  if (actor?.role !== "member") throw refused("NotAMember", "the signer is not a member of this network");
  if (!crypto.verifyWith(request.algorithm, signing, request.signedBytes, request.signature))
    throw refused("SignatureInvalid", `the signature does not verify by the certificate of ${actor.id}`);
  return { request, message, actor: actor.id, certificate };
}
