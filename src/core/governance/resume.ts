/**
 * A resume: members take it upon them that nothing committed is missing on nodes which may have forgotten what they promised,
 * and let them take part again. It is no transaction, because without those nodes nothing can be committed. Each member
 * signs the same statement (COSE Sign1): the network, and each node with the end of its log and a nonce of its present boot,
 * so that a resume holds for what the members have looked at, once. It needs as many as a change of the VN list.
 */
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { bytesEqual, fromHex, type Bytes } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import { MAX_ACTORS, MAX_NODES } from "./constitution.ts";
import { encodeSign1, MAX_SIGN1_BYTES, parseSign1, type Sign1 } from "./cose.ts";
import { policyAccepts, type StandingConstitution, verifyByMember } from "./decision.ts";
import { readDocument, treeToCbor, type FieldContext, type FieldReader } from "./fields.ts";
import type { GovernanceCrypto, Signer } from "./governance-crypto.ts";
import { refused } from "./refusal.ts";
import { CocoError } from "../../errors.ts";

/** COSE content type of a resume statement. */
export const RESUME_CONTENT_TYPE = "application/vnd.coco.resume+cbor";
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

/** What members sign. */
export interface ResumeStatement {
  /** Lower-case hex. */
  readonly networkId: string;
  readonly nodes: readonly ResumingNode[];
}

const CONTEXT: FieldContext = { form: "cbor", code: "ProposalInvalid", data: { reason: "Malformed" } };
const NUMBER = { min: 0, max: Number.MAX_SAFE_INTEGER };

/** Signs a statement as one member. */
export function signResume({ networkId, nodes }: ResumeStatement, member: Signer): Bytes {
  const tree = nodes.map(({ nodeId, nonce, view, seqno }) => ({ nodeId: fromHex(nodeId), nonce, view, seqno }));
  const payload = encodeCbor(treeToCbor({ networkId: fromHex(networkId), nodes: tree }));
  return encodeSign1({ contentType: RESUME_CONTENT_TYPE, keyId: member.actor, payload }, member.sign);
}

/** The binary form of a resume: the members' signed statements. */
export function encodeResume(signed: readonly Bytes[]): Bytes {
  return encodeCbor(treeToCbor({ signed }));
}

/** Reads the binary form; nothing in it is verified yet. Throws `ProposalInvalid`. */
export function decodeResume(bytes: Bytes): readonly Bytes[] {
  return readDocument(
    guarded(() => decodeCbor(bytes)),
    CONTEXT,
    (fields) =>
      fields.values("signed", MAX_ACTORS).map((item) => {
        if (!(item instanceof Uint8Array) || item.length > MAX_SIGN1_BYTES)
          throw fields.invalid("signed", "expected COSE Sign1 messages");
        return item;
      }),
  );
}

/**
 * Throws `ProposalInvalid` unless enough members of the constitution have signed one statement that names exactly this node
 * in its present state.
 */
export function checkResume(
  standing: Pick<StandingConstitution, "networkId" | "constitution">,
  signed: readonly Bytes[],
  node: ResumingNode,
  crypto: GovernanceCrypto,
): void {
  const { members, policies } = standing.constitution;
  const messages = signed.map((item) => guarded(() => parseSign1(item)));
  const [first] = messages;
  if (first === undefined) throw refused("NotEnoughVotes", "nobody has signed");
  const signers = new Set<string>();
  for (const message of messages) {
    verifyByMember(message, RESUME_CONTENT_TYPE, standing, crypto);
    if (!bytesEqual(message.payload, first.payload))
      throw refused("OtherProposal", "members have signed different statements");
    if (signers.has(message.keyId)) throw refused("DuplicateBallot", `member ${message.keyId} signed twice`);
    signers.add(message.keyId);
  }
  requireNode(readStatement(first), standing.networkId, node);
  const voters = members.filter(({ role }) => role === "member").length;
  if (!policyAccepts(policies.changeNodes, signers.size, voters))
    throw refused("NotEnoughVotes", `${signers.size} of ${voters} members signed the resume`);
}

function requireNode({ networkId, nodes }: ResumeStatement, ownNetwork: string, node: ResumingNode): void {
  if (networkId !== ownNetwork) throw refused("OtherNetwork", "the resume is for another network");
  const [named, ...more] = nodes.filter(({ nodeId }) => nodeId === node.nodeId);
  if (named === undefined || more.length > 0) throw refused("NodeNotListed", "the resume does not name this node once");
  if (!bytesEqual(named.nonce, node.nonce))
    throw refused("OtherBoot", "the resume was signed for another start of this node, or was used");
  if (named.view !== node.view || named.seqno !== node.seqno)
    throw refused("OtherBoot", `the resume is for a log that ends with ${named.view}.${named.seqno}`);
}

function readStatement({ payload }: Sign1): ResumeStatement {
  return readDocument(
    guarded(() => decodeCbor(payload)),
    CONTEXT,
    (fields) => ({ networkId: fields.hex("networkId", 32), nodes: fields.list("nodes", MAX_NODES, readNode) }),
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

/** Runs a decoder; malformed input becomes a refusal. */
function guarded<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof CocoError && error.code === "Internal") throw error;
    throw new CocoError("ProposalInvalid", "the resume is malformed", { reason: "Malformed" }, { cause: error });
  }
}
