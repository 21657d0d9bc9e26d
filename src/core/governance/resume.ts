/**
 * A resume: members take it upon them that nothing committed is missing on nodes which may have forgotten what they promised,
 * and let them take part again. It is no transaction, because without those nodes nothing can be committed. Each member
 * signs the same statement, a request of type `resume`: the network, and each node with the end of its log and a nonce of
 * its present boot, so that a resume holds for what the members have looked at, once. It is judged as a change of the VN list.
 */
import { bytesEqual, toHex, utf8Decode, utf8Encode, type Bytes } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import type { StandingConstitution } from "./administrative.ts";
import { MAX_NODES } from "./constitution.ts";
import { parseJson, readDocument, type FieldContext, type FieldReader } from "./fields.ts";
import { judge, policyOf, type Vote } from "./policy.ts";
import type { SignedMessage } from "./proposal.ts";
import { refused } from "./refusal.ts";
import { verifySigner } from "./signer.ts";
import { memberIds, type Trial } from "./vote-count.ts";

/** Bytes of a nonce. */
export const RESUME_NONCE_BYTES = 32;

/** A node as it asks for a resume. */
export interface ResumingNode {
  readonly nodeId: NodeId;
  /** Random, shown by the node since its start. */
  readonly nonce: Bytes;
  /** Transaction id at the end of its log; zeros when it has none. */
  readonly view: number;
  readonly seqno: number;
}

const CONTEXT: FieldContext = { form: "json", code: "ProposalInvalid", data: { reason: "Malformed" } };
const NUMBER = { min: 0, max: Number.MAX_SAFE_INTEGER };

/** The payload of a resume: the same bytes for every member that signs it. */
export function resumePayload(nodes: readonly ResumingNode[]): Bytes {
  const listed = nodes.map(({ nodeId, nonce, view, seqno }) => ({ nodeId, nonce: toHex(nonce), view, seqno }));
  return utf8Encode(JSON.stringify({ nodes: listed }));
}

/**
 * Throws `ProposalInvalid` unless enough members of the constitution have signed one statement that names exactly this node
 * in its present state.
 */
export function checkResume(
  standing: Pick<StandingConstitution, "networkId" | "constitution">,
  signed: readonly SignedMessage[],
  node: ResumingNode,
  { nowMs, crypto }: Trial,
): void {
  const verified = signed.map((message) => verifySigner(standing, message, nowMs, crypto));
  const [first] = verified;
  if (first === undefined) throw refused("NotEnoughVotes", "nobody has signed");
  const votes = new Map<string, Vote>();
  for (const { request, actor } of verified) {
    if (request.type !== "resume") throw refused("Malformed", "expected requests of type resume");
    if (request.networkId === undefined) throw refused("OtherNetwork", "a resume names its network");
    if (!bytesEqual(request.payload, first.request.payload))
      throw refused("OtherProposal", "members have signed different statements");
    if (votes.has(actor)) throw refused("DuplicateBallot", `member ${actor} signed twice`);
    votes.set(actor, "yes");
  }
  requireNode(readNodes(first.request.payload), node);
  const { policies } = standing.constitution;
  const members = memberIds(standing.constitution);
  if (judge(policyOf(policies, "replace_node").rule, votes, members) !== "accepted")
    throw refused("NotEnoughVotes", `${votes.size} of ${members.length} members signed the resume`);
}

function requireNode(nodes: readonly ResumingNode[], node: ResumingNode): void {
  const [named, ...more] = nodes.filter(({ nodeId }) => nodeId === node.nodeId);
  if (named === undefined || more.length > 0) throw refused("NodeNotListed", "the resume does not name this node once");
  if (!bytesEqual(named.nonce, node.nonce))
    throw refused("OtherBoot", "the resume was signed for another start of this node, or was used");
  if (named.view !== node.view || named.seqno !== node.seqno)
    throw refused("OtherBoot", `the resume is for a log that ends with ${named.view}.${named.seqno}`);
}

function readNodes(payload: Bytes): readonly ResumingNode[] {
  return readDocument(parseJson(utf8Decode(payload), CONTEXT), CONTEXT, (fields) =>
    fields.list("nodes", MAX_NODES, readNode),
  );
}

function readNode(fields: FieldReader): ResumingNode {
  return {
    nodeId: fields.hex("nodeId", 32),
    nonce: fields.bytes("nonce", { length: RESUME_NONCE_BYTES }),
    view: fields.integer("view", NUMBER),
    seqno: fields.integer("seqno", NUMBER),
  };
}
