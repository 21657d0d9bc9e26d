/**
 * Governance over HTTP, with the paths and shapes of CCF: members' signed requests in, proposals, actors and nodes out, and a
 * feed of what happens. What is read is what this node has committed; requests are answered once that holds their outcome.
 */
import { utf8Encode } from "../../core/codec/bytes.ts";
import { constitutionToJson } from "../../core/governance/constitution-codec.ts";
import type { Actor } from "../../core/governance/constitution.ts";
import { PROPOSAL_STATES, type ProposalRecord } from "../../core/governance/proposal.ts";
import { isByLedger } from "../../core/governance/removal-proposals.ts";
import { proposalText } from "../../core/governance/vote-count.ts";
import { parseSignedRequest } from "../../core/governance/signed-request.ts";
import { CocoError } from "../../errors.ts";
import { type Asker, type Endpoint, Endpoints, json, type Respond, type RoutedRequest } from "./endpoints.ts";
import type { FrontendResponse } from "./frontend.ts";
import {
  answerAt,
  committedId,
  committedState,
  type GovApiParts,
  listOf,
  proposalOf,
  requireApiVersion,
} from "./gov-parts.ts";
import { ballotView, proposalDetail, proposalHistory, proposalSummary } from "./gov-proposal-views.ts";
import { actorNamed, actorView, nodeViews, policyViews } from "./gov-service-views.ts";
import { answerDryRun, submitRequest } from "./gov-submissions.ts";

/** Most proposals of one answer; there is a link to the next ones. */
export const PROPOSALS_ANSWERED_MAX = 100;

const TRANSACTION_ID = /^([1-9]\d{0,15})\.([1-9]\d{0,15})$/;

type Read = (parts: GovApiParts, request: RoutedRequest) => FrontendResponse;

function get(path: string, read: Read): Endpoint<GovApiParts> {
  return versioned("GET", path, "actor", (parts, request, respond) => {
    respond(answerAt(committedId(parts), read(parts, request)));
  });
}

function post(path: string, who: Asker, handle: Endpoint<GovApiParts>["handle"]): Endpoint<GovApiParts> {
  return versioned("POST", path, who, handle);
}

function versioned(
  method: "GET" | "POST",
  path: string,
  who: Asker,
  handle: Endpoint<GovApiParts>["handle"],
): Endpoint<GovApiParts> {
  return {
    ...{ method, path, who },
    handle: (parts, request, respond) => {
      requireApiVersion(request);
      return handle(parts, request, respond);
    },
  };
}

const PROPOSALS = "/gov/members/proposals";

/** The endpoints under `/gov`. */
export const GOV_ENDPOINTS: Endpoints<GovApiParts> = new Endpoints([
  post(`${PROPOSALS}:create`, "signed", submitRequest("proposal")),
  post(`${PROPOSALS}:dry-run`, "member", answerDryRun),
  post(`${PROPOSALS}/{proposalId}:withdraw`, "signed", submitRequest("withdrawal")),
  post(`${PROPOSALS}/{proposalId}/ballots/{memberId}:submit`, "signed", submitRequest("ballot")),
  post("/gov/members/automatic-votes/{memberId}:register", "signed", submitRequest("automatic_vote")),
  get(PROPOSALS, proposals),
  get(`${PROPOSALS}/{proposalId}`, proposal),
  get(`${PROPOSALS}/{proposalId}/actions`, proposalActions),
  get(`${PROPOSALS}/{proposalId}/ballots/{memberId}`, ballot),
  get(`${PROPOSALS}/{proposalId}/history`, (parts, { parameters }) =>
    listOf(proposalHistory(proposalOf(parts, parameters["proposalId"]))),
  ),
  get("/gov/service/constitution", (parts) => jsonText(constitutionToJson(committedState(parts).constitution))),
  get("/gov/service/info", info),
  get("/gov/service/members", (parts) => actors(parts, "member")),
  get("/gov/service/members/{memberId}", (parts, request) => actor(parts, request, "member")),
  get("/gov/service/participants", (parts) => actors(parts, "participant")),
  get("/gov/service/participants/{memberId}", (parts, request) => actor(parts, request, "participant")),
  get("/gov/service/nodes", (parts) => listOf(nodeViews(committedState(parts)))),
  get("/gov/service/nodes/{nodeId}", node),
  get("/gov/service/policies", (parts) => listOf(policyViews(committedState(parts).constitution))),
  get("/gov/service/transactions/commit", (parts) => json({ transactionId: committedId(parts) ?? null })),
  get("/gov/service/transactions/{transactionId}", transaction),
  versioned("GET", "/gov/feed", "actor", feed),
]);

/** Whether a path belongs to these endpoints. */
export function isGovPath(path: string): boolean {
  return path === "/gov" || path.startsWith("/gov/");
}

function jsonText(text: string): FrontendResponse {
  return { status: 200, contentType: "application/json", body: utf8Encode(text) };
}

function choiceOf<T extends string>({ query }: RoutedRequest, name: string, choices: readonly T[]): T | undefined {
  const given = query.get(name);
  if (given === null) return undefined;
  const found = choices.find((choice) => choice === given);
  if (found === undefined) throw new CocoError("MalformedInput", `${name}: expected one of ${choices.join(", ")}`);
  return found;
}

function proposals(parts: GovApiParts, request: RoutedRequest): FrontendResponse {
  const { query } = request;
  const state = choiceOf(request, "state", PROPOSAL_STATES);
  const [proposer, action, after] = [query.get("proposer"), query.get("action"), query.get("after")];
  const all = committedState(parts).proposals;
  const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1;
  if (after !== null && from === 0)
    throw new CocoError("ProposalNotFound", "after: there is no such proposal in the state");
  const matches = (one: ProposalRecord): boolean =>
    (state === undefined || one.state === state) &&
    (proposer === null || one.proposer === proposer) &&
    (action === null || one.actions.some(({ name }) => name === action));
  const found = all.slice(from).filter(matches);
  const page = found.slice(0, limitOf(request));
  const last = page.at(-1);
  const next = new URLSearchParams(query);
  if (last !== undefined) next.set("after", last.id);
  return listOf(page.map(proposalSummary), page.length < found.length ? `${PROPOSALS}?${next}` : undefined);
}

function limitOf({ query }: RoutedRequest): number {
  const limit = Number(query.get("limit") ?? PROPOSALS_ANSWERED_MAX);
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= PROPOSALS_ANSWERED_MAX) return limit;
  throw new CocoError("MalformedInput", `limit: expected 1 to ${PROPOSALS_ANSWERED_MAX}`);
}

function proposal(parts: GovApiParts, { parameters }: RoutedRequest): FrontendResponse {
  const found = proposalOf(parts, parameters["proposalId"]);
  return json(proposalDetail(committedState(parts), found, parts.now(), parts.crypto));
}

/** As its member signed them, if one did. */
function proposalActions(parts: GovApiParts, { parameters }: RoutedRequest): FrontendResponse {
  const found = proposalOf(parts, parameters["proposalId"]);
  const { message, actions } = found;
  if (isByLedger(found)) return jsonText(proposalText(actions));
  return { status: 200, contentType: "application/json", body: parseSignedRequest(message).payload };
}

/** The newest ballot of a member: in JSON, or as CCF answers it when it is a script. */
function ballot(parts: GovApiParts, { parameters }: RoutedRequest): FrontendResponse {
  const { ballots } = proposalOf(parts, parameters["proposalId"]);
  const { memberId = "" } = parameters;
  const named = actorNamed(committedState(parts).constitution, memberId, parts.crypto.sha256)?.id ?? memberId;
  const cast = ballots.findLast(({ member, certificate }) => member === named || certificate === named);
  if (cast === undefined) throw new CocoError("VoteNotFound", "this member has cast no ballot on the proposal");
  if (cast.choice.type === "plain") return json(ballotView(cast));
  return { status: 200, contentType: "text/javascript", body: utf8Encode(cast.choice.source) };
}

function info(parts: GovApiParts): FrontendResponse {
  const { constitution, networkId, constitutionDigest, epochs } = committedState(parts);
  const [first] = parts.tail.viewHistory(1);
  return json({
    status: constitution.network.open ? "Open" : "Opening",
    certificate: parts.service()?.certificate ?? null,
    recoveryCount: 0,
    creationTransactionId: first === undefined ? null : `${first.view}.1`,
    networkId,
    name: constitution.network.name,
    constitutionVersion: constitution.version,
    constitutionDigest: Buffer.from(constitutionDigest).toString("hex"),
    epoch: epochs.length,
  });
}

function actors(parts: GovApiParts, role: Actor["role"]): FrontendResponse {
  const state = committedState(parts);
  const listed = state.constitution.actors.filter((one) => one.role === role);
  return listOf(listed.map((one) => actorView(state, one, parts.crypto.sha256)));
}

function actor(parts: GovApiParts, { parameters }: RoutedRequest, role: Actor["role"]): FrontendResponse {
  const state = committedState(parts);
  const found = actorNamed(state.constitution, parameters["memberId"] ?? "", parts.crypto.sha256);
  if (found?.role !== role) throw new CocoError("NotFound", `there is no such ${role}`);
  return json(actorView(state, found, parts.crypto.sha256));
}

function node(parts: GovApiParts, { parameters }: RoutedRequest): FrontendResponse {
  const found = nodeViews(committedState(parts)).find(({ nodeId }) => nodeId === parameters["nodeId"]);
  if (found === undefined) throw new CocoError("NotFound", "there is no such node");
  return json(found);
}

function transaction({ tail, manager }: GovApiParts, { parameters }: RoutedRequest): FrontendResponse {
  const { transactionId = "" } = parameters;
  const match = TRANSACTION_ID.exec(transactionId);
  const [view, seqno] = [Number(match?.[1]), Number(match?.[2])];
  if (!Number.isSafeInteger(view) || !Number.isSafeInteger(seqno))
    throw new CocoError("MalformedInput", "expected a transaction id of the form view.seqno");
  return json({ transactionId, status: tail.status(view, seqno, manager.committedSeqno) });
}

function feed(parts: GovApiParts, { caller, headers }: RoutedRequest, respond: Respond): void {
  if (caller === undefined) throw new CocoError("AuthenticationRequired", "no client certificate");
  const last = headers["last-event-id"];
  respond(parts.feed.follow(caller.actor, typeof last === "string" ? last : undefined));
}
