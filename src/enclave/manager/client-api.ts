/**
 * Everything clients can ask of a validating node, by path: governance under `/gov`, the node itself under `/node`, and the
 * adapters under their mounts.
 */
import { CocoError } from "../../errors.ts";
import type { EndpointRule, Respond } from "./endpoints.ts";
import { errorResponse, type FrontendParts, type FrontendRequest } from "./frontend.ts";
import { GOV_ENDPOINTS, isGovPath } from "./gov-api.ts";
import type { GovApiParts } from "./gov-parts.ts";
import type { Manager } from "./manager.ts";
import { isJoinPath, JOIN_ENDPOINTS } from "./join-api.ts";
import type { JoinDesk } from "./join-desk.ts";
import { quarantined } from "./request-router.ts";
import { isNodePath, NODE_ENDPOINTS, type NodeApiParts } from "./node-api.ts";

/** Header of requests and answers: `local` (what this node has applied) or `linearizable` (everything committed before). */
export const CONSISTENCY_HEADER = "x-coco-consistency";

/** The endpoints every node has, whatever its adapters are. */
export const ENDPOINT_RULES: readonly EndpointRule[] = [
  ...NODE_ENDPOINTS.rules,
  ...JOIN_ENDPOINTS.rules,
  ...GOV_ENDPOINTS.rules,
];

/** What requests are answered with. */
export interface ClientApiParts {
  readonly node: Omit<NodeApiParts, "endpoints">;
  readonly gov: GovApiParts;
  readonly join: JoinDesk;
  readonly manager: Pick<Manager, "serves" | "request" | "leases">;
  /** Whether adapters are served yet. */
  readonly serves: () => boolean;
}

/** Answers clients' requests; see the module's header. */
export function createClientApi(parts: ClientApiParts): Pick<FrontendParts, "isSigned" | "handle"> {
  const { gov, join, manager } = parts;
  const node: NodeApiParts = { ...parts.node, endpoints: ENDPOINT_RULES };
  const constitution = () => gov.administration.committed?.constitution;
  return {
    isSigned: (method, path) => GOV_ENDPOINTS.isSigned(method, path) || JOIN_ENDPOINTS.isSigned(method, path),
    handle: (request, respond) => {
      const isClosed = manager.leases.own === "quarantined" && !isOpenInQuarantine(request.path);
      if (isClosed) refuse(quarantined(), respond);
      else if (isJoinPath(request.path)) JOIN_ENDPOINTS.answer(join, request, constitution, respond);
      else if (isNodePath(request.path)) NODE_ENDPOINTS.answer(node, request, constitution, respond);
      else if (isGovPath(request.path)) GOV_ENDPOINTS.answer(gov, request, constitution, respond);
      else if (!parts.serves()) refuse(new CocoError("NotReady", "this node does not serve yet"), respond);
      else if (request.method !== "POST" && manager.serves(request.path))
        refuse(new CocoError("MethodNotAllowed", "adapters are reached with POST", { allow: "POST" }), respond);
      else serveRequest(manager, request, respond);
    },
  };
}

/** What operators and members need to see why a node is quarantined, and to bring it back. */
const OPEN_IN_QUARANTINE: readonly string[] = [
  "/node/api",
  "/node/state",
  "/node/network",
  "/node/constitution",
  "/node/evidence",
  "/node/recovery",
  "/node/resume",
];

function isOpenInQuarantine(path: string): boolean {
  return OPEN_IN_QUARANTINE.includes(path);
}

function refuse(error: CocoError, respond: Respond): void {
  respond(errorResponse(error));
}

/** Every answer says how fresh what it read was; a write is answered after its effect can be read here anyway. */
function serveRequest(
  manager: Pick<Manager, "request">,
  { path, body, caller, headers }: FrontendRequest,
  respond: Respond,
): void {
  const consistency = headers[CONSISTENCY_HEADER] ?? "local";
  if (consistency !== "local" && consistency !== "linearizable") {
    refuse(new CocoError("MalformedInput", `${CONSISTENCY_HEADER} is local or linearizable`), respond);
    return;
  }
  if (caller === undefined) {
    refuse(new CocoError("AuthenticationRequired", "no client certificate"), respond);
    return;
  }
  manager.request({ path, body, caller, linearizable: consistency === "linearizable" }, (response) =>
    respond({ ...response, headers: { ...response.headers, [CONSISTENCY_HEADER]: consistency } }),
  );
}
