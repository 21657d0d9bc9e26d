/**
 * Decisions of a test network's only member, made as `coco` would make them: a signed proposal for the constitution in force,
 * and the member's ballot on it.
 */
import { constitutionDigest, constitutionFromJson } from "../../../src/core/governance/constitution-codec.ts";
import {
  basisOf,
  encodeDecision,
  type Proposal,
  type ProposalBasis,
  proposalDigest,
  type ChangeNodesProposal,
  type OpenEpochProposal,
  signBallot,
  signProposal,
} from "../../../src/core/governance/decision.ts";
import type { Constitution } from "../../../src/core/governance/constitution.ts";
import { sha256 } from "../../../src/enclave/manager/node-crypto.ts";
import type { HttpAnswer } from "./json-rpc.ts";
import type { Network, NetworkNode } from "./network.ts";

/** What a node says of the network under `/node/network`. */
export interface NetworkView {
  readonly network_id: string;
  readonly primary_id: string | null;
  readonly constitution_version: number;
  readonly service_certificate: string | null;
  readonly nodes: readonly { readonly node_id: string; readonly primary: boolean }[];
}

/** What a proposal wants, without the constitution it is for. */
export type Wish = Omit<OpenEpochProposal, keyof ProposalBasis> | Omit<ChangeNodesProposal, keyof ProposalBasis>;

/** The constitution in force as a node tells it. */
export async function constitutionOf(node: NetworkNode): Promise<Constitution> {
  const { body } = await node.rpc.http({ method: "GET", path: "/node/constitution" });
  return constitutionFromJson(body);
}

/** The encoded decision of the network's member for a wish, made for the constitution that a node tells. */
export async function decisionFor(network: Network, node: NetworkNode, wish: Wish): Promise<Buffer> {
  const constitution = await constitutionOf(node);
  const { network_id: networkId } = await node.read<NetworkView>("/node/network");
  const basis = basisOf({ networkId, constitution, constitutionDigest: constitutionDigest(constitution, sha256) });
  const proposal = signProposal({ ...wish, ...basis } as Proposal, network.member);
  const digest = proposalDigest(proposal, { sha256 });
  const ballots = [signBallot({ proposal: digest, vote: "for" }, network.member)];
  return Buffer.from(encodeDecision({ proposal, ballots }));
}

/** Hands a decision, or what is none, to a node. */
export function postDecision(node: NetworkNode, decision: Buffer): Promise<HttpAnswer> {
  return node.rpc.http({ path: "/node/decisions", body: decision });
}
