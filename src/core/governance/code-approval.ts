/**
 * Approving code (R7, R8, R10): a proposal by one member and ballots by members, judged by the constitution's own policy.
 *
 * A proposal names the network, the version and the digest of the constitution it is made for, and a ballot names the
 * proposal by digest. So a bundle counts once: the constitution it produces is another one, and no bundle fits it twice.
 * Whatever does not hold is `ProposalInvalid` with a machine-readable `reason`.
 */
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { bytesEqual, fromHex, type Bytes } from "../codec/bytes.ts";
import { readCodeIdentity } from "./constitution-codec.ts";
import { MAX_ACTORS, MAX_MANIFEST_ENTRIES, type Constitution, type VotingPolicy } from "./constitution.ts";
import { actorById } from "./constitution-verify.ts";
import { encodeSign1, MAX_SIGN1_BYTES, parseSign1, type Sign1 } from "./cose.ts";
import { readDocument, treeToCbor, type FieldContext, type FieldReader } from "./fields.ts";
import type { GovernanceCrypto, Signer } from "./governance-crypto.ts";
import { CocoError } from "../../errors.ts";

/** COSE content type of a proposal. */
export const PROPOSAL_CONTENT_TYPE = "application/vnd.coco.proposal+cbor";
/** COSE content type of a ballot. */
export const BALLOT_CONTENT_TYPE = "application/vnd.coco.ballot+cbor";

/** Why an approval was refused. */
export type ProposalRefusal =
  | "Malformed"
  | "OtherNetwork"
  | "OtherConstitution"
  | "NotAMember"
  | "SignatureInvalid"
  | "OtherProposal"
  | "DuplicateBallot"
  | "NotEnoughVotes"
  | "AlreadyApproved"
  | "ManifestFull";

/** A proposal to add one measurement to the code manifest. */
export interface CodeProposal {
  readonly action: "approve_code";
  /** Lower-case hex SHA-256 of the genesis constitution. */
  readonly networkId: string;
  /** Version and digest of the constitution the proposal is made for. */
  readonly constitutionVersion: number;
  readonly constitutionDigest: Bytes;
  /** Lower-case hex, 32 bytes. */
  readonly measurement: string;
  readonly name: string;
  readonly version: string;
}

/** A member's vote on a proposal. */
export interface Ballot {
  /** {@link proposalDigest} of the proposal. */
  readonly proposal: Bytes;
  readonly vote: "for" | "against";
}

/** A signed proposal with the signed ballots on it; each item is a COSE Sign1 message. */
export interface CodeApproval {
  readonly proposal: Bytes;
  readonly ballots: readonly Bytes[];
}

/** The constitution in force, as proposals refer to it. */
export interface StandingConstitution {
  readonly networkId: string;
  readonly constitution: Constitution;
  readonly constitutionDigest: Bytes;
}

const CONTEXT: FieldContext = { form: "cbor", code: "ProposalInvalid", data: { reason: "Malformed" } };

function refused(reason: ProposalRefusal, message: string): CocoError {
  return new CocoError("ProposalInvalid", message, { reason });
}

/** Signs a proposal as one member. */
export function signCodeProposal(proposal: CodeProposal, member: Signer): Bytes {
  const { action, networkId, constitutionVersion, constitutionDigest, measurement, name, version } = proposal;
  const payload = treeToCbor({
    action,
    networkId: fromHex(networkId),
    constitutionVersion,
    constitutionDigest,
    measurement: fromHex(measurement),
    name,
    version,
  });
  return encodeSign1(
    { contentType: PROPOSAL_CONTENT_TYPE, keyId: member.actor, payload: encodeCbor(payload) },
    member.sign,
  );
}

/** Names a signed proposal in its ballots: SHA-256 of what its signature covers (one signer can sign the same bytes twice). */
export function proposalDigest(signedProposal: Bytes, crypto: Pick<GovernanceCrypto, "sha256">): Bytes {
  return crypto.sha256(parse(signedProposal).signedBytes);
}

/** What a signed proposal says. Nothing is verified: for a member to look at before it votes. */
export function readCodeProposal(signedProposal: Bytes): CodeProposal {
  return readProposal(parse(signedProposal));
}

/** Signs a ballot as one member. */
export function signBallot(ballot: Ballot, member: Signer): Bytes {
  const payload = encodeCbor(treeToCbor({ proposal: ballot.proposal, vote: ballot.vote }));
  return encodeSign1({ contentType: BALLOT_CONTENT_TYPE, keyId: member.actor, payload }, member.sign);
}

/** The binary form of an approval. */
export function encodeCodeApproval(approval: CodeApproval): Bytes {
  return encodeCbor(treeToCbor({ proposal: approval.proposal, ballots: approval.ballots }));
}

/** Reads the binary form of an approval; nothing in it is verified yet. */
export function decodeCodeApproval(bytes: Bytes): CodeApproval {
  return readDocument(
    guarded(() => decodeCbor(bytes)),
    CONTEXT,
    readCodeApproval,
  );
}

/** Reads the fields of an approval. */
export function readCodeApproval(fields: FieldReader): CodeApproval {
  const proposal = fields.bytes("proposal", { max: MAX_SIGN1_BYTES });
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

/** Judges an approval under the constitution in force and returns the next constitution, or throws `ProposalInvalid`. */
export function judgeCodeApproval(
  standing: StandingConstitution,
  approval: CodeApproval,
  crypto: GovernanceCrypto,
): Constitution {
  const { constitution } = standing;
  const proposal = readProposal(verifiedByMember(approval.proposal, PROPOSAL_CONTENT_TYPE, standing, crypto));
  checkProposal(proposal, standing);
  const votesFor = countVotes(approval, standing, crypto);
  const members = constitution.members.filter((actor) => actor.role === "member").length;
  if (!policyAccepts(constitution.policies.approveCode, votesFor, members)) {
    throw refused("NotEnoughVotes", `${votesFor} of ${members} members voted for the proposal`);
  }
  const version = constitution.version + 1;
  const entry = {
    measurement: proposal.measurement,
    name: proposal.name,
    version: proposal.version,
    approvedAt: version,
  };
  return { ...constitution, version, codeManifest: [...constitution.codeManifest, entry] };
}

function checkProposal(proposal: CodeProposal, standing: StandingConstitution): void {
  const { constitution } = standing;
  if (proposal.networkId !== standing.networkId) throw refused("OtherNetwork", "the proposal is for another network");
  const sameVersion = proposal.constitutionVersion === constitution.version;
  if (!sameVersion || !bytesEqual(proposal.constitutionDigest, standing.constitutionDigest)) {
    throw refused(
      "OtherConstitution",
      `the proposal is for constitution version ${proposal.constitutionVersion}, not the one in force`,
    );
  }
  if (constitution.codeManifest.some((code) => code.measurement === proposal.measurement)) {
    throw refused("AlreadyApproved", "the measurement stands in the code manifest");
  }
  if (constitution.codeManifest.length >= MAX_MANIFEST_ENTRIES)
    throw refused("ManifestFull", "the code manifest has no room");
}

function countVotes(approval: CodeApproval, standing: StandingConstitution, crypto: GovernanceCrypto): number {
  const digest = proposalDigest(approval.proposal, crypto);
  const voters = new Set<string>();
  let votesFor = 0;
  for (const signed of approval.ballots) {
    const message = verifiedByMember(signed, BALLOT_CONTENT_TYPE, standing, crypto);
    const ballot = readBallot(message);
    if (!bytesEqual(ballot.proposal, digest)) throw refused("OtherProposal", "a ballot is for another proposal");
    if (voters.has(message.keyId)) throw refused("DuplicateBallot", `member ${message.keyId} voted twice`);
    voters.add(message.keyId);
    if (ballot.vote === "for") votesFor++;
  }
  return votesFor;
}

function verifiedByMember(
  signed: Bytes,
  contentType: string,
  standing: StandingConstitution,
  crypto: GovernanceCrypto,
): Sign1 {
  const message = parse(signed);
  if (message.contentType !== contentType) throw refused("Malformed", `expected content type ${contentType}`);
  const actor = actorById(standing.constitution, message.keyId);
  if (actor?.role !== "member") throw refused("NotAMember", "the signer is not a member of this network");
  const key = crypto.certificateKey(actor.certificate);
  if (key === undefined || !crypto.verify(key, message.signedBytes, message.signature)) {
    throw refused("SignatureInvalid", `the signature does not verify by the certificate of ${actor.id}`);
  }
  return message;
}

function readProposal(message: Sign1): CodeProposal {
  return readDocument(
    guarded(() => decodeCbor(message.payload)),
    CONTEXT,
    (fields) => ({
      action: fields.choice("action", ["approve_code"]),
      networkId: fields.hex("networkId", 32),
      constitutionVersion: fields.integer("constitutionVersion", { min: 1, max: Number.MAX_SAFE_INTEGER }),
      constitutionDigest: fields.bytes("constitutionDigest", { length: 32 }),
      ...readCodeIdentity(fields),
    }),
  );
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

function parse(signed: Bytes): Sign1 {
  return guarded(() => parseSign1(signed));
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
