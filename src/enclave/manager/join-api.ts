/** The endpoints under `/node/join`: for nodes that are no client yet, so without a client certificate. */
import { decodeJoinRequest, encodeJoinAnswer, MAX_JOIN_REQUEST_BYTES } from "../../attestation/join.ts";
import { toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { errorResponse, type FrontendResponse, type PublicRequest } from "./frontend.ts";
import { JOIN_CHALLENGE_MS, type JoinDesk } from "./join-desk.ts";

/** Where a newcomer asks for a challenge. */
export const JOIN_CHALLENGE_PATH = "/node/join/challenge";
/** Where it sends its request. */
export const JOIN_PATH = "/node/join";

/** Whether a path is open to callers without a client certificate. */
export function isJoinPath(path: string): boolean {
  return path === JOIN_PATH || path.startsWith(`${JOIN_PATH}/`);
}

/** Answers a request under `/node/join`. */
export function handleJoinRequest(desk: JoinDesk, request: PublicRequest): FrontendResponse {
  try {
    return answerOf(desk, request);
  } catch (error) {
    return errorResponse(error instanceof CocoError ? error : new CocoError("Internal", "the request failed"));
  }
}

function answerOf(desk: JoinDesk, { method, path, body }: PublicRequest): FrontendResponse {
  if (path === JOIN_CHALLENGE_PATH) {
    requireMethod(method, "GET", path);
    const { networkId, challenge } = desk.challenge();
    const fields = { network_id: networkId, challenge: toHex(challenge), expires_in_ms: JOIN_CHALLENGE_MS };
    return { status: 200, contentType: "application/json", body: utf8Encode(JSON.stringify(fields)) };
  }
  if (path !== JOIN_PATH) throw new CocoError("NotFound", `nothing is served at ${path}`);
  requireMethod(method, "POST", path);
  if (body.length > MAX_JOIN_REQUEST_BYTES) throw new CocoError("LimitExceeded", "the request to join is too large");
  const answer = encodeJoinAnswer(desk.join(decodeJoinRequest(body)));
  return { status: 200, contentType: "application/cbor", body: answer };
}

function requireMethod(method: string, expected: string, path: string): void {
  if (method !== expected) throw new CocoError("MethodNotAllowed", `${path} takes ${expected}`);
}
