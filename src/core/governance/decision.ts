/**
 * Decisions (R8, R9, R10): a proposal by one member and ballots by members, judged by the constitution's own policy.
 *
 * A proposal names the network, the version and the digest of the constitution it is made for, and a ballot names the
 * proposal by digest. So a decision counts once: the constitution it produces is another one, and no decision fits it twice.
 * Whatever does not hold is `ProposalInvalid` with a machine-readable `reason`.
 */
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { bytesEqual, fromHex, type Bytes } from "../codec/bytes.ts";
import { checkReferences } from "./constitution-check.ts";
import {
  encodeConstitution,
  nodeEntryTree,
  readCodeIdentity,
  readNodeEntry,
  readTeeEntry,
  teeEntryTree,
} from "./constitution-codec.ts";
import {
  MAX_ACTORS,
  MAX_CONSTITUTION_BYTES,
  MAX_MANIFEST_ENTRIES,
  MAX_NODES,
  type Constitution,
  type NodeEntry,
  type TeeEntry,
  type VotingPolicies,
  type VotingPolicy,
} from "./constitution.ts";
import { actorById, verifyNodes } from "./constitution-verify.ts";
import { encodeSign1, MAX_SIGN1_BYTES, parseSign1, type Sign1 } from "./cose.ts";
import { readDocument, treeToCbor, type FieldContext, type FieldReader, type FieldTree } from "./fields.ts";
import type { GovernanceCrypto, Signer } from "./governance-crypto.ts";
import { refused } from "./refusal.ts";
import { CocoError } from "../../errors.ts";

/** COSE content type of a proposal. */
export const PROPOSAL_CONTENT_TYPE = "application/vnd.coco.proposal+cbor";
/** COSE content type of a ballot. */
export const BALLOT_CONTENT_TYPE = "application/vnd.coco.ballot+cbor";
/** Largest signed proposal in bytes: a whole VN list fits. */
export const MAX_PROPOSAL_BYTES = 512 * 1024;

/** What every proposal names: the network and the constitution it is made for. */
export interface ProposalBasis {
  /** Lower-case hex SHA-256 of the genesis constitution. */
  readonly networkId: string;
  /** Version and digest of the constitution the proposal is made for. */
  readonly constitutionVersion: number;
  readonly constitutionDigest: Bytes;
}

/** A proposal to add one measurement to the code manifest. */
export interface ApproveCodeProposal extends ProposalBasis {
  readonly action: "approve_code";
  /** Lower-case hex, 32 bytes. */
  readonly measurement: string;
  readonly name: string;
  readonly version: string;
}

/** A proposal to open the next epoch now. */
export interface OpenEpochProposal extends ProposalBasis {
  readonly action: "open_epoch";
}

/** A proposal to replace the VN list. */
export interface ChangeNodesProposal extends ProposalBasis {
  readonly action: "change_nodes";
  /** The whole new list; each entry is signed by its owner, a listed actor. */
  readonly nodes: readonly NodeEntry[];
  /** Machines to be added to the TEE manifest, for nodes that run on new ones. */
  readonly tees?: readonly TeeEntry[];
}

/** Any proposal. */
export type Proposal = ApproveCodeProposal | OpenEpochProposal | ChangeNodesProposal;

/** A member's vote on a proposal. */
export interface Ballot {
  /** {@link proposalDigest} of the proposal. */
  readonly proposal: Bytes;
  readonly vote: "for" | "against";
}

/** A signed proposal with the signed ballots on it; each item is a COSE Sign1 message. */
export interface Decision {
  readonly proposal: Bytes;
  readonly ballots: readonly Bytes[];
}

/** The constitution in force, as proposals refer to it. */
export interface StandingConstitution {
  readonly networkId: string;
  readonly constitution: Constitution;
  readonly constitutionDigest: Bytes;
}

/** What a decision brings about. */
export interface Judgement {
  /** The next constitution. */
  readonly constitution: Constitution;
  /** Whether an epoch is to be opened: voted for, or because somebody lost access. */
  readonly opensEpoch: boolean;
}

const CONTEXT: FieldContext = { form: "cbor", code: "ProposalInvalid", data: { reason: "Malformed" } };
const NODES_CONTEXT: FieldContext = { form: "cbor", code: "ProposalInvalid", data: { reason: "NodesInvalid" } };

/** The constitution of a standing as a proposal names it. */
export function basisOf({ networkId, constitution, constitutionDigest }: StandingConstitution): ProposalBasis {
  return { networkId, constitutionVersion: constitution.version, constitutionDigest };
}

function contentTree(proposal: Proposal): { readonly [name: string]: FieldTree | undefined } {
  switch (proposal.action) {
    case "approve_code":
      return { measurement: fromHex(proposal.measurement), name: proposal.name, version: proposal.version };
    case "open_epoch":
      return {};
    case "change_nodes":
      return { nodes: proposal.nodes.map(nodeEntryTree), tees: proposal.tees?.map(teeEntryTree) };
  }
}

/** Signs a proposal as one member. */
export function signProposal(proposal: Proposal, member: Signer): Bytes {
  const { action, networkId, constitutionVersion, constitutionDigest } = proposal;
  const basis = { action, networkId: fromHex(networkId), constitutionVersion, constitutionDigest };
  const payload = encodeCbor(treeToCbor({ ...basis, ...contentTree(proposal) }));
  return encodeSign1({ contentType: PROPOSAL_CONTENT_TYPE, keyId: member.actor, payload }, member.sign);
}

/** Names a signed proposal in its ballots: SHA-256 of what its signature covers (one signer can sign the same bytes twice). */
export function proposalDigest(signedProposal: Bytes, crypto: Pick<GovernanceCrypto, "sha256">): Bytes {
  return crypto.sha256(parseProposal(signedProposal).signedBytes);
}

/** What a signed proposal says. Nothing is verified: for a member to look at before it votes. */
export function readProposal(signedProposal: Bytes): Proposal {
  return proposalOf(parseProposal(signedProposal));
}

/** Signs a ballot as one member. */
export function signBallot(ballot: Ballot, member: Signer): Bytes {
  const payload = encodeCbor(treeToCbor({ proposal: ballot.proposal, vote: ballot.vote }));
  return encodeSign1({ contentType: BALLOT_CONTENT_TYPE, keyId: member.actor, payload }, member.sign);
}

/** The tree form of a decision. */
export function decisionTree({ proposal, ballots }: Decision): FieldTree {
  return { proposal, ballots };
}

/** The binary form of a decision. */
export function encodeDecision(decision: Decision): Bytes {
  return encodeCbor(treeToCbor(decisionTree(decision)));
}

/** Reads the binary form of a decision; nothing in it is verified yet. */
export function decodeDecision(bytes: Bytes): Decision {
  return readDocument(
    guarded(() => decodeCbor(bytes)),
    CONTEXT,
    readDecision,
  );
}

/** Reads the fields of a decision. */
export function readDecision(fields: FieldReader): Decision {
  const proposal = fields.bytes("proposal", { max: MAX_PROPOSAL_BYTES });
  const ballots = fields.values("ballots", MAX_ACTORS).map((ballot) => {
    if (!(ballot instanceof Uint8Array) || ballot.length > MAX_SIGN1_BYTES)
      throw fields.invalid("ballots", "expected COSE Sign1 messages");
    return ballot;
  });
  return { proposal, ballots };
}

/** Whether the votes carry a proposal under a policy. */
export function policyAccepts(policy: VotingPolicy, votesFor: number, members: number): boolean {
  switch (policy.type) {
    case "majority":
      return votesFor * 2 > members;
  }
}

function policyFor(action: Proposal["action"], policies: VotingPolicies): VotingPolicy {
  switch (action) {
    case "approve_code":
      return policies.approveCode;
    case "open_epoch":
      return policies.openEpoch;
    case "change_nodes":
      return policies.changeNodes;
  }
}

/** Judges a decision under the constitution in force and returns what it brings about, or throws `ProposalInvalid`. */
export function judgeDecision(standing: StandingConstitution, decision: Decision, crypto: GovernanceCrypto): Judgement {
  const { constitution } = standing;
  const message = parseProposal(decision.proposal);
  verifyByMember(message, PROPOSAL_CONTENT_TYPE, standing, crypto);
  const proposal = proposalOf(message);
  checkBasis(proposal, standing);
  const votesFor = countVotes(decision, standing, crypto);
  const members = constitution.members.filter((actor) => actor.role === "member").length;
  if (!policyAccepts(policyFor(proposal.action, constitution.policies), votesFor, members)) {
    throw refused("NotEnoughVotes", `${votesFor} of ${members} members voted for the proposal`);
  }
  const next = { ...constitutionAfter(proposal, constitution, crypto), version: constitution.version + 1 };
  if (encodeConstitution(next).length > MAX_CONSTITUTION_BYTES)
    throw refused("ConstitutionTooLarge", `a constitution has at most ${MAX_CONSTITUTION_BYTES} bytes`);
  return { constitution: next, opensEpoch: proposal.action === "open_epoch" || takesAccess(constitution, next) };
}

function checkBasis(proposal: ProposalBasis, standing: StandingConstitution): void {
  const { constitution } = standing;
  if (proposal.networkId !== standing.networkId) throw refused("OtherNetwork", "the proposal is for another network");
  const sameVersion = proposal.constitutionVersion === constitution.version;
  if (!sameVersion || !bytesEqual(proposal.constitutionDigest, standing.constitutionDigest)) {
    throw refused(
      "OtherConstitution",
      `the proposal is for constitution version ${proposal.constitutionVersion}, not the one in force`,
    );
  }
}

function constitutionAfter(proposal: Proposal, constitution: Constitution, crypto: GovernanceCrypto): Constitution {
  switch (proposal.action) {
    case "approve_code":
      return withCode(proposal, constitution);
    case "open_epoch":
      return constitution;
    case "change_nodes":
      return withNodes(proposal, constitution, crypto);
  }
}

function withCode({ measurement, name, version }: ApproveCodeProposal, constitution: Constitution): Constitution {
  if (constitution.codeManifest.some((code) => code.measurement === measurement))
    throw refused("AlreadyApproved", "the measurement stands in the code manifest");
  if (constitution.codeManifest.length >= MAX_MANIFEST_ENTRIES)
    throw refused("ManifestFull", "the code manifest has no room");
  const entry = { measurement, name, version, approvedAt: constitution.version + 1 };
  return { ...constitution, codeManifest: [...constitution.codeManifest, entry] };
}

function withNodes(proposal: ChangeNodesProposal, constitution: Constitution, crypto: GovernanceCrypto): Constitution {
  const { nodes, tees = [] } = proposal;
  if (constitution.teeManifest.length + tees.length > MAX_MANIFEST_ENTRIES)
    throw refused("ManifestFull", "the TEE manifest has no room");
  const next = { ...constitution, nodes, teeManifest: [...constitution.teeManifest, ...tees] };
  checkReferences(next, NODES_CONTEXT);
  verifyNodes(next, crypto, NODES_CONTEXT);
  const known = new Map(constitution.nodes.map((node) => [node.nodeId, node]));
  for (const { nodeId, encryptionKey } of nodes) {
    const before = known.get(nodeId);
    // Epoch keys are wrapped to the key it had: with another one it could open none of them.
    if (before !== undefined && !bytesEqual(before.encryptionKey, encryptionKey))
      throw refused("NodeKeysChanged", `node ${nodeId} keeps its keys, or comes back as another node`);
  }
  if (constitution.settings.consensus === "solo" && !nodes.every(({ nodeId }) => known.has(nodeId)))
    throw refused("NodesInvalid", "solo has nobody to hand the ledger over to another node");
  if (tees.length === 0 && sameEntries(constitution.nodes, nodes))
    throw refused("NodesUnchanged", "the proposal changes nothing");
  return next;
}

function sameEntries(left: readonly NodeEntry[], right: readonly NodeEntry[]): boolean {
  return bytesEqual(encodeCbor(treeToCbor(left.map(nodeEntryTree))), encodeCbor(treeToCbor(right.map(nodeEntryTree))));
}

/** Whether a validating node or an actor that was listed no longer is (R15). */
function takesAccess(before: Constitution, after: Constitution): boolean {
  const nodes = new Set(after.nodes.map(({ nodeId }) => nodeId));
  const actors = new Set(after.members.map(({ id }) => id));
  return before.nodes.some(({ nodeId }) => !nodes.has(nodeId)) || before.members.some(({ id }) => !actors.has(id));
}

function countVotes(decision: Decision, standing: StandingConstitution, crypto: GovernanceCrypto): number {
  const digest = proposalDigest(decision.proposal, crypto);
  const voters = new Set<string>();
  let votesFor = 0;
  for (const signed of decision.ballots) {
    const message = guarded(() => parseSign1(signed));
    verifyByMember(message, BALLOT_CONTENT_TYPE, standing, crypto);
    const ballot = readBallot(message);
    if (!bytesEqual(ballot.proposal, digest)) throw refused("OtherProposal", "a ballot is for another proposal");
    if (voters.has(message.keyId)) throw refused("DuplicateBallot", `member ${message.keyId} voted twice`);
    voters.add(message.keyId);
    if (ballot.vote === "for") votesFor++;
  }
  return votesFor;
}

/** Throws `ProposalInvalid` unless a message is of this content type and signed by a member of the constitution. */
export function verifyByMember(
  message: Sign1,
  contentType: string,
  standing: Pick<StandingConstitution, "constitution">,
  crypto: GovernanceCrypto,
): void {
  if (message.contentType !== contentType) throw refused("Malformed", `expected content type ${contentType}`);
  const actor = actorById(standing.constitution, message.keyId);
  if (actor?.role !== "member") throw refused("NotAMember", "the signer is not a member of this network");
  const key = crypto.certificateKey(actor.certificate);
  if (key === undefined || !crypto.verify(key, message.signedBytes, message.signature)) {
    throw refused("SignatureInvalid", `the signature does not verify by the certificate of ${actor.id}`);
  }
}

function parseProposal(signedProposal: Bytes): Sign1 {
  return guarded(() => parseSign1(signedProposal, MAX_PROPOSAL_BYTES));
}

function proposalOf(message: Sign1): Proposal {
  return readDocument(
    guarded(() => decodeCbor(message.payload)),
    CONTEXT,
    readProposalFields,
  );
}

function readProposalFields(fields: FieldReader): Proposal {
  const action = fields.choice("action", ["approve_code", "open_epoch", "change_nodes"]);
  const basis = {
    networkId: fields.hex("networkId", 32),
    constitutionVersion: fields.integer("constitutionVersion", { min: 1, max: Number.MAX_SAFE_INTEGER }),
    constitutionDigest: fields.bytes("constitutionDigest", { length: 32 }),
  };
  switch (action) {
    case "approve_code":
      return { action, ...basis, ...readCodeIdentity(fields) };
    case "open_epoch":
      return { action, ...basis };
    case "change_nodes": {
      const nodes = fields.list("nodes", MAX_NODES, readNodeEntry);
      const tees = fields.has("tees") ? fields.list("tees", MAX_NODES, readTeeEntry) : undefined;
      return { action, ...basis, nodes, ...(tees && { tees }) };
    }
  }
}

function readBallot(message: Sign1): Ballot {
  return readDocument(
    guarded(() => decodeCbor(message.payload)),
    CONTEXT,
    (fields) => ({
      proposal: fields.bytes("proposal", { length: 32 }),
      vote: fields.choice("vote", ["for", "against"]),
    }),
  );
}

/** Runs a decoder; malformed input becomes a refusal of the proposal. */
function guarded<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof CocoError && error.code === "Internal") throw error;
    throw new CocoError(
      "ProposalInvalid",
      "the proposal or a ballot is malformed",
      { reason: "Malformed" },
      { cause: error },
    );
  }
}
