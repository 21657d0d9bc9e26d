/**
 * Members' signed requests as they come in: what can be told at once is, and the rest goes to the leader. Who sends one does
 * not matter, its signature does; the certificates that name its signer come with it, or from the constitution, or from TLS.
 */
import { toHex, type Bytes } from "../../core/codec/bytes.ts";
import { readProposalPayload } from "../../core/governance/action-codec.ts";
import { criteriaTree } from "../../core/governance/automatic-votes.ts";
import { dryRun } from "../../core/governance/dry-run.ts";
import { type FieldContext, parseJsonBytes, readDocument, treeToJson } from "../../core/governance/fields.ts";
import { holdsRequest } from "../../core/governance/held-requests.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { refused } from "../../core/governance/refusal.ts";
import { proposalIdOf } from "../../core/governance/proposal-requests.ts";
import { type VerifiedRequest, verifySigner } from "../../core/governance/signer.ts";
import {
  MAX_REQUEST_BYTES,
  MAX_REQUEST_CHAIN,
  parseSignedRequest,
  type RequestType,
  type SignedRequest,
} from "../../core/governance/signed-request.ts";
import { CocoError } from "../../errors.ts";
import { json, type Respond, type RoutedRequest } from "./endpoints.ts";
import { errorResponse } from "./frontend.ts";
import { answerAt, committedId, committedState, type GovApiParts, proposalOf } from "./gov-parts.ts";
import { dryRunView, proposalSummary } from "./gov-proposal-views.ts";
import { actorNamed, certificatesByFingerprint } from "./gov-service-views.ts";

function requireSize(body: Bytes): void {
  if (body.length > MAX_REQUEST_BYTES)
    throw new CocoError("LimitExceeded", `a governance request has at most ${MAX_REQUEST_BYTES} bytes`);
}

/** Takes a signed request of this type, answered when its outcome is applied here. */
export function submitRequest(type: RequestType) {
  return (parts: GovApiParts, request: RoutedRequest, respond: Respond): void => {
    requireSize(request.body);
    const signed = parseSignedRequest(request.body);
    requirePath(type, signed, request.parameters);
    const message = { message: request.body, chain: chainOf(parts, signed, request.chain) };
    const verified = verifySigner(newestState(parts), message, parts.now(), parts.crypto);
    const refuse = (error: CocoError): void => {
      parts.refused.note(
        { type, actor: verified.actor, request: toHex(parts.crypto.sha256(signed.signedBytes)) },
        error,
      );
      respond(errorResponse(error));
    };
    try {
      requireMember(parts, verified, request.parameters["memberId"]);
      refuseKnown(parts, message);
    } catch (error) {
      if (!(error instanceof CocoError)) throw error;
      refuse(error);
      return;
    }
    parts.manager.govern(message, (answer) => {
      if (answer.type === "refused") refuse(answer.error);
      else respondHeld(parts, verified, answer.transactionId, respond);
    });
  };
}

function newestState({ administration }: GovApiParts) {
  if (administration.appended !== undefined) return administration.appended;
  throw new CocoError("NotReady", "the genesis of the network is not committed yet");
}

function requirePath(type: RequestType, signed: SignedRequest, { proposalId }: RoutedRequest["parameters"]): void {
  if (signed.type !== type) throw refused("OtherPath", `this path takes requests of type ${type}, not ${signed.type}`);
  if (proposalId !== undefined && signed.proposalId !== proposalId)
    throw refused("OtherPath", "the request was signed for another proposal than the path names");
}

/** The path names the member by its id, by a listed certificate, or as CCF does by the certificate that signed. */
function requireMember(
  parts: GovApiParts,
  { actor, certificate }: VerifiedRequest,
  memberId: string | undefined,
): void {
  if (memberId === undefined || memberId === actor || memberId === certificate) return;
  const named = actorNamed(newestState(parts).constitution, memberId, parts.crypto.sha256);
  if (named?.id !== actor) throw refused("OtherPath", `the request was signed by ${actor}, not by whom the path names`);
}

/** The certificates that name the signer: from the message, else the listed one of the key id, else those of TLS. */
function chainOf(
  { crypto, ...parts }: GovApiParts,
  signed: SignedRequest,
  presented: readonly Bytes[],
): readonly Bytes[] {
  if (signed.chain.length > 0) return signed.chain;
  const { constitution } = newestState({ crypto, ...parts });
  const listed = certificatesByFingerprint(constitution, crypto.sha256).get(signed.keyId);
  if (listed !== undefined) return [listed.certificate];
  const [leaf] = presented;
  if (leaf !== undefined && toHex(crypto.sha256(leaf)) === signed.keyId) return presented.slice(0, MAX_REQUEST_CHAIN);
  throw refused(
    "CertificateNotValid",
    "the certificate of the key id is not listed: send it with the request (x5chain)",
  );
}

/** What is in effect already is refused here, however often it comes. */
function refuseKnown({ administration, crypto, now }: GovApiParts, message: SignedMessage): void {
  const state = administration.committed;
  if (state !== undefined && holdsRequest(state, message.message, crypto.sha256)) administration.check(message, now());
}

function respondHeld(
  parts: GovApiParts,
  verified: VerifiedRequest,
  transactionId: string | undefined,
  respond: Respond,
): void {
  try {
    const proposalId = proposalIdOf(verified, parts.crypto.sha256);
    const answer =
      proposalId === undefined
        ? automaticVotesView(parts, verified.actor)
        : proposalSummary(proposalOf(parts, proposalId));
    respond(answerAt(transactionId ?? committedId(parts), json(answer)));
  } catch (error) {
    respond(errorResponse(error instanceof CocoError ? error : new CocoError("Internal", "the request failed")));
  }
}

function automaticVotesView(parts: GovApiParts, actor: string) {
  const votes = committedState(parts).automaticVotes.find(({ member }) => member === actor);
  return { memberId: actor, criteria: treeToJson(criteriaTree(votes?.criteria ?? [])) };
}

/** Says what a proposal would do and need; nothing is recorded. */
export function answerDryRun(parts: GovApiParts, request: RoutedRequest, respond: Respond): void {
  requireSize(request.body);
  const context: FieldContext = { form: "json", code: "ProposalInvalid", data: { reason: "Malformed" } };
  const { actions } = readDocument(parseJsonBytes(request.body, context), context, readProposalPayload);
  const nowMs = parts.now();
  const result = dryRun(committedState(parts), actions, nowMs, parts.crypto);
  respond(answerAt(committedId(parts), json(dryRunView(result, nowMs))));
}
