/**
 * Making signed governance requests where the signer's key is at hand. Where it is not, the same content goes through
 * `bytesToSign` and `assembleSignedRequest` of signed-request.ts, with the signature made elsewhere in between.
 */
import { toHex, utf8Encode, type Bytes, type HashFunction } from "../codec/bytes.ts";
import { actionsTree } from "./action-codec.ts";
import type { Action } from "./actions.ts";
import { criteriaTree } from "./automatic-votes.ts";
import type { CoseAlgorithm, SignFunction } from "./cose.ts";
import { treeToJson } from "./fields.ts";
import type { Vote } from "./policy.ts";
import type { SignedMessage, VoteCriteria } from "./proposal.ts";
import { assembleSignedRequest, bytesToSign, type RequestContent, type RequestType } from "./signed-request.ts";

/** Whoever signs: a certificate, those between it and the listed one, and the function that reaches its key. */
export interface RequestSigner {
  /** DER, the signing certificate first. */
  readonly chain: readonly Bytes[];
  readonly algorithm: CoseAlgorithm;
  readonly sign: SignFunction;
}

/** What goes with every request. */
export interface RequestOrigin {
  readonly signer: RequestSigner;
  readonly networkId: string;
  /** Seconds since 1970. */
  readonly createdAt: number;
  readonly sha256: HashFunction;
}

/** A signed proposal, and the id by which ballots name it. */
export interface SignedProposal extends SignedMessage {
  readonly id: string;
}

/** The payload of a proposal. */
export function proposalPayload(actions: readonly Action[], description?: string): Bytes {
  return jsonBytes(treeToJson({ actions: actionsTree(actions), description }));
}

/** The payload of a plain ballot for the effect of this digest. */
export function ballotPayload(vote: Vote, effect: Bytes): Bytes {
  return jsonBytes({ vote, effect: toHex(effect) });
}

/** The payload of a registration of automatic votes. */
export function criteriaPayload(criteria: readonly VoteCriteria[]): Bytes {
  return jsonBytes(treeToJson({ criteria: criteriaTree(criteria) }));
}

function jsonBytes(value: unknown): Bytes {
  return utf8Encode(JSON.stringify(value));
}

/** Where a request comes from, whoever signs it in the end. */
export interface UnsignedOrigin extends Omit<RequestOrigin, "signer"> {
  readonly signer: Pick<RequestSigner, "chain" | "algorithm">;
}

/** What is signed for a request of any type, for keys that are elsewhere; `proposalId` is for ballots and withdrawals. */
export function requestContent(
  type: RequestType,
  payload: Bytes,
  origin: UnsignedOrigin,
  proposalId?: string,
): RequestContent {
  const { signer, networkId, createdAt, sha256 } = origin;
  const [certificate = new Uint8Array(0)] = signer.chain;
  const keyId = toHex(sha256(certificate));
  const common = { type, algorithm: signer.algorithm, keyId, createdAt, networkId, payload };
  return proposalId === undefined ? common : { ...common, proposalId };
}

/** Signs a request of any type; `proposalId` is for ballots and withdrawals. */
export function signRequest(
  type: RequestType,
  payload: Bytes,
  origin: RequestOrigin,
  proposalId?: string,
): SignedMessage {
  const content = requestContent(type, payload, origin, proposalId);
  const { chain, sign } = origin.signer;
  return { message: assembleSignedRequest(content, sign(bytesToSign(content))), chain };
}

/** Signs a proposal. */
export function signProposal(payload: Bytes, origin: RequestOrigin): SignedProposal {
  const id = toHex(origin.sha256(bytesToSign(requestContent("proposal", payload, origin))));
  return { ...signRequest("proposal", payload, origin), id };
}
