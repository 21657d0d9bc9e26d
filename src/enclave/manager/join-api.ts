/** The endpoints under `/node/join`: for nodes that are no client yet, so without a client certificate. */
import { decodeJoinRequest, encodeJoinAnswer } from "../../attestation/join.ts";
import { toHex } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { Endpoints, json } from "./endpoints.ts";
import { errorResponse } from "./frontend.ts";
import { JOIN_CHALLENGE_MS, type JoinDesk } from "./join-desk.ts";

/** Where a newcomer asks for a challenge. */
export const JOIN_CHALLENGE_PATH = "/node/join/challenge";
/** Where it sends its request. */
export const JOIN_PATH = "/node/join";

/** The endpoints under `/node/join`. */
export const JOIN_ENDPOINTS: Endpoints<JoinDesk> = new Endpoints([
  {
    ...{ method: "GET", path: JOIN_CHALLENGE_PATH, who: "newcomer" },
    handle: (desk, _request, respond) => {
      const { networkId, constitutionDigest, challenge } = desk.challenge();
      const told = { network_id: networkId, constitution_digest: toHex(constitutionDigest) };
      respond(json({ ...told, challenge: toHex(challenge), expires_in_ms: JOIN_CHALLENGE_MS }));
    },
  },
  {
    ...{ method: "POST", path: JOIN_PATH, who: "newcomer" },
    handle: (desk, { body }, respond) => {
      desk.join(decodeJoinRequest(body), (outcome) =>
        respond(
          outcome instanceof CocoError
            ? errorResponse(outcome)
            : { status: 200, contentType: "application/cbor", body: encodeJoinAnswer(outcome) },
        ),
      );
    },
  },
]);

/** Whether a path belongs to these endpoints. */
export function isJoinPath(path: string): boolean {
  return path === JOIN_PATH || path.startsWith(`${JOIN_PATH}/`);
}
