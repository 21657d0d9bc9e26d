/** What the endpoints under `/gov` are made of, and what all of them do alike. */
import type { GovernanceState } from "../../core/governance/administrative.ts";
import type { GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import type { ProposalRecord } from "../../core/governance/proposal.ts";
import type { LedgerTail } from "../../core/ledger/tail.ts";
import { CocoError } from "../../errors.ts";
import type { Administration } from "./administration.ts";
import { json, type RoutedRequest } from "./endpoints.ts";
import type { FrontendResponse } from "./frontend.ts";
import type { GovernanceFeed } from "./gov-feed.ts";
import type { Manager } from "./manager.ts";
import type { RefusedRequests } from "./refused-requests.ts";
import type { ServiceIdentity } from "./service-keys.ts";

/** Versions of the endpoints that `api-version` may name; all are the same here. */
export const API_VERSIONS: readonly string[] = ["2024-07-01", "2023-06-01-preview"];
/** Header with the transaction of the ledger that an answer stands on. */
const TRANSACTION_ID_HEADER = "x-ms-ccf-transaction-id";

/** What the endpoints read and use. */
export interface GovApiParts {
  readonly manager: Pick<Manager, "govern" | "committedSeqno">;
  readonly administration: Pick<Administration, "appended" | "committed" | "check">;
  readonly tail: Pick<LedgerTail, "viewOfSeqno" | "viewHistory" | "status">;
  readonly crypto: GovernanceCrypto;
  readonly feed: GovernanceFeed;
  readonly refused: RefusedRequests;
  readonly service: () => ServiceIdentity | undefined;
  /** Time of a batch made now. */
  readonly now: () => number;
}

/** Throws unless the request names a version there is. */
export function requireApiVersion({ query }: Pick<RoutedRequest, "query">): void {
  const version = query.get("api-version");
  const known = `supported are ${API_VERSIONS.join(", ")}`;
  if (version === null)
    throw new CocoError("MissingApiVersionParameter", `the query parameter api-version is required; ${known}`);
  if (!API_VERSIONS.includes(version))
    throw new CocoError("UnsupportedApiVersionValue", `this api-version is not supported; ${known}`);
}

/** The state in effect here. */
export function committedState({ administration }: Pick<GovApiParts, "administration">): GovernanceState {
  const state = administration.committed;
  if (state === undefined) throw new CocoError("NotReady", "the genesis of the network is not committed yet");
  return state;
}

/** The proposal of this id in the state in effect here. */
export function proposalOf(parts: GovApiParts, proposalId: string | undefined): ProposalRecord {
  const proposal = committedState(parts).proposals.find(({ id }) => id === proposalId);
  if (proposal === undefined) throw new CocoError("ProposalNotFound", "there is no such proposal in the state");
  return proposal;
}

/** The id of the newest committed transaction here; undefined when there is none. */
export function committedId({ manager, tail }: GovApiParts): string | undefined {
  const view = tail.viewOfSeqno(manager.committedSeqno);
  return view === undefined ? undefined : `${view}.${manager.committedSeqno}`;
}

/** An answer that says which transaction it stands on. */
export function answerAt(transactionId: string | undefined, response: FrontendResponse): FrontendResponse {
  if (transactionId === undefined) return response;
  return { ...response, headers: { ...response.headers, [TRANSACTION_ID_HEADER]: transactionId } };
}

/** A list, as CCF answers it. */
export function listOf(value: readonly unknown[], nextLink?: string): FrontendResponse {
  return json({ value, ...(nextLink !== undefined && { nextLink }) });
}
