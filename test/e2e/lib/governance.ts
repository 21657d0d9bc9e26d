/**
 * Governance by a test network's only member, as `coco` would do it: a signed proposal for what the constitution in force is to
 * become, and the member's ballot on what it does.
 */
import assert from "node:assert/strict";
import { fromHex } from "../../../src/core/codec/bytes.ts";
import type { Action } from "../../../src/core/governance/actions.ts";
import { agreedRequests } from "../../../src/core/governance/agreed-requests.ts";
import { constitutionFromJson } from "../../../src/core/governance/constitution-codec.ts";
import type { Constitution } from "../../../src/core/governance/constitution.ts";
import {
  ballotPayload,
  proposalPayload,
  type RequestOrigin,
  type RequestSigner,
  signProposal,
  signRequest,
} from "../../../src/core/governance/request-signing.ts";
import { parseSignedRequest } from "../../../src/core/governance/signed-request.ts";
import { createGovernanceCrypto } from "../../../src/enclave/manager/node-crypto.ts";
import type { HttpAnswer } from "./json-rpc.ts";
import type { Network, NetworkNode } from "./network.ts";
import { delay, present } from "./processes.ts";

const API = "api-version=2024-07-01";

/** A node as far as governance asks it. */
export type AskedNode = Pick<NetworkNode, "rpc" | "read">;
/** The network's member as it signs. */
export type Governed = Pick<Network, "member" | "memberId">;

/** What a node says of the network under `/node/network`. */
export interface NetworkView {
  readonly network_id: string;
  readonly primary_id: string | null;
  readonly constitution_version: number;
  readonly service_certificate: string | null;
  readonly nodes: readonly { readonly node_id: string; readonly primary: boolean }[];
}

/** A proposal and ballots on it, as COSE messages; `ballot` is the network's member's. */
export interface Agreed {
  readonly proposal: Buffer;
  readonly ballot: Buffer;
  /** Of the others who agreed, each to be cast under its id. */
  readonly others: readonly Buffer[];
  readonly proposalId: string;
}

/** The constitution in force as a node tells it. */
export async function constitutionOf(node: AskedNode): Promise<Constitution> {
  const { body } = await node.rpc.http({ method: "GET", path: "/node/constitution" });
  return constitutionFromJson(body);
}

/** The requests of the network's member that bring about actions, for the constitution that a node tells. */
export function agree(network: Governed, node: AskedNode, ...actions: readonly Action[]): Promise<Agreed> {
  return agreeBy([network.member], node, ...actions);
}

let lastSecond = 0;

/** The time, in a second that was not given before: the same proposal signed twice in one second is the very same. */
async function anotherSecond(): Promise<number> {
  while (Math.floor(Date.now() / 1000) <= lastSecond) await delay(20);
  const nowMs = Date.now();
  lastSecond = Math.floor(nowMs / 1000);
  return nowMs;
}

/** The requests of several members that bring about actions, proposed by the first. */
export async function agreeBy(
  members: readonly [RequestSigner, ...RequestSigner[]],
  node: AskedNode,
  ...actions: readonly Action[]
): Promise<Agreed> {
  const constitution = await constitutionOf(node);
  const { network_id: networkId } = await node.read<NetworkView>("/node/network");
  const state = { networkId, constitution, proposals: [], automaticVotes: [], departing: [], attested: new Map() };
  const crypto = createGovernanceCrypto();
  const [proposal, ...cast] = agreedRequests(state, actions, members, { crypto, nowMs: await anotherSecond() });
  const [ballot, ...others] = cast.map(({ message }) => Buffer.from(message));
  const message = present(ballot);
  return {
    proposal: Buffer.from(proposal.message),
    ballot: message,
    others,
    proposalId: present(parseSignedRequest(message).proposalId),
  };
}

function post(node: AskedNode, path: string, message: Buffer): Promise<HttpAnswer> {
  return node.rpc.http({ path: `${path}?${API}`, headers: { "content-type": "application/cose" }, body: message });
}

/** Hands a proposal, or what is none, to a node. */
export function postProposal(node: AskedNode, proposal: Buffer): Promise<HttpAnswer> {
  return post(node, "/gov/members/proposals:create", proposal);
}

/** Hands a ballot of this member on a proposal to a node. */
export function postBallotOf(node: AskedNode, member: string, proposalId: string, ballot: Buffer): Promise<HttpAnswer> {
  return post(node, `/gov/members/proposals/${proposalId}/ballots/${member}:submit`, ballot);
}

/** Hands the member's ballot on a proposal to a node. */
export function postBallot(node: AskedNode, network: Governed, { proposalId, ballot }: Agreed): Promise<HttpAnswer> {
  return postBallotOf(node, network.memberId, proposalId, ballot);
}

/** Both; the first answer that is an error, or the last one. */
export async function postAgreed(node: AskedNode, network: Governed, agreed: Agreed): Promise<HttpAnswer> {
  const proposed = await postProposal(node, agreed.proposal);
  return proposed.status < 300 ? postBallot(node, network, agreed) : proposed;
}

/**
 * A proposal of the network's member and its yes on what the node says that it would do: also where that depends on what the
 * ledger knows of the nodes. Fails unless it is accepted.
 */
export async function decide(network: Governed, node: AskedNode, ...actions: readonly Action[]): Promise<void> {
  const { network_id: networkId } = await node.read<NetworkView>("/node/network");
  const origin = (): RequestOrigin => ({
    ...{ signer: network.member, networkId, createdAt: Math.floor(Date.now() / 1000) },
    sha256: createGovernanceCrypto().sha256,
  });
  const { id, message } = signProposal(proposalPayload(actions), origin());
  const proposed = await postProposal(node, Buffer.from(message));
  assert.equal(proposed.status, 200, proposed.body);
  const { effect } = await node.read<{ effect: { digest: string } | null }>(`/gov/members/proposals/${id}?${API}`);
  const ballot = signRequest("ballot", ballotPayload("yes", fromHex(present(effect).digest)), origin(), id);
  const voted = await postBallotOf(node, network.memberId, id, Buffer.from(ballot.message));
  assert.equal(voted.status, 200, voted.body);
  assert.equal((JSON.parse(voted.body) as { proposalState: string }).proposalState, "Accepted");
}
