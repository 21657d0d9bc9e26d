/**
 * Joining (R12, R14): what a node that the network does not know and a node of the network tell each other before the first
 * channel, and how either checks the other's evidence. Pure: both sides run this code.
 *
 * The newcomer asks for a challenge (GET /node/join/challenge: single use, for a short time) and sends its tuple, a challenge
 * of its own, and evidence (POST /node/join, CBOR). Its report data are SHA-256 of {network, node keys, challenge} and
 * SHA-256 of {code, constitution, configuration}, 32 bytes each: the constitution, which holds the code manifest, is the one it
 * was told with the challenge, and must be the one in force, and the one of the answer. The answer brings the genesis constitution,
 * the one in force, and evidence of the answering node for the newcomer's challenge, bound to that constitution and to the service
 * certificate.
 */
import { decodeCbor, encodeCbor } from "../core/codec/cbor.ts";
import { bytesEqual, fromHex, toHex, type Bytes, type HashFunction } from "../core/codec/bytes.ts";
import { nodeTupleTree, readNodeTuple } from "../core/governance/constitution-codec.ts";
import {
  MAX_CONSTITUTION_BYTES,
  type Constitution,
  type NodeEntry,
  type NodeTuple,
} from "../core/governance/constitution.ts";
import { MAX_MEASUREMENT_BYTES, MEASUREMENT_BYTES, readMeasurement } from "../core/governance/manifest-codec.ts";
import { readDocument, treeToCbor, type FieldContext } from "../core/governance/fields.ts";
import { MAX_SERVICE_CERTIFICATE_BYTES, MAX_SERVICES } from "../core/governance/service-chain.ts";
import type { RecordedMachines } from "../core/governance/shared-machine.ts";
import { CocoError, type ErrorCode } from "../errors.ts";
import { appraise, otherOnMachine } from "./appraise.ts";
import {
  MAX_EVIDENCE_BYTES,
  REPORT_DATA_BYTES,
  type Claims,
  type EvidenceCrypto,
  type EvidenceRejection,
} from "./evidence.ts";
import { CHALLENGE_BYTES } from "./report-data.ts";
import { verifyEvidence } from "./verify-evidence.ts";

/** Largest request to join, in bytes. */
export const MAX_JOIN_REQUEST_BYTES = MAX_EVIDENCE_BYTES + 4096;
/** Largest answer to one, in bytes. */
export const MAX_JOIN_ANSWER_BYTES = 2 * MAX_CONSTITUTION_BYTES + 4 * 1024 * 1024;

const HALF = REPORT_DATA_BYTES / 2;
const KEYS_DOMAIN = "coco join v1";
const CODE_DOMAIN = "coco join code v2";
const ANSWER_DOMAIN = "coco join answer v1";
const CONTEXT: FieldContext = { form: "cbor", code: "MalformedInput" };

/** A newcomer's request. */
export interface JoinRequest {
  /** Hex, 32 bytes. */
  readonly networkId: string;
  /** What its owner signed, or is to sign. */
  readonly node: NodeTuple;
  /** The network's challenge, 32 bytes. */
  readonly challenge: Bytes;
  /** The newcomer's challenge, 32 bytes. */
  readonly ownChallenge: Bytes;
  /** The code it runs; lower-case hex, 32 bytes. */
  readonly measurement: string;
  /** Digest of the constitution it was told, 32 bytes: which code and machines it believes approved. */
  readonly constitutionDigest: Bytes;
  readonly evidence: Bytes;
}

/** The answer to a newcomer that is listed and appraised. */
export interface JoinAnswer {
  /** The node that answers. */
  readonly nodeId: string;
  readonly evidence: Bytes;
  /** Binary forms. */
  readonly genesis: Bytes;
  readonly constitution: Bytes;
  /** DER. */
  readonly serviceCertificate: Bytes;
  /** What leads from the newest service identity to those before it, newest first; DER. */
  readonly endorsements: readonly Bytes[];
}

/** The binary form of a request. */
export function encodeJoinRequest(request: JoinRequest): Bytes {
  const { networkId, node, challenge, ownChallenge, measurement, constitutionDigest, evidence } = request;
  return encodeCbor(
    treeToCbor({
      networkId: fromHex(networkId),
      node: nodeTupleTree(node),
      ...{ challenge, ownChallenge, constitutionDigest, evidence },
      measurement: fromHex(measurement),
    }),
  );
}

/** Reads the binary form of a request; throws `MalformedInput` or `LimitExceeded`. */
export function decodeJoinRequest(bytes: Bytes): JoinRequest {
  if (bytes.length > MAX_JOIN_REQUEST_BYTES) throw new CocoError("LimitExceeded", "the request to join is too large");
  return readDocument(decodeCbor(bytes), CONTEXT, (fields) => ({
    networkId: fields.hex("networkId", 32),
    node: fields.record("node", readNodeTuple),
    challenge: fields.bytes("challenge", { length: CHALLENGE_BYTES }),
    ownChallenge: fields.bytes("ownChallenge", { length: CHALLENGE_BYTES }),
    measurement: readMeasurement(fields, "measurement", [MEASUREMENT_BYTES, MAX_MEASUREMENT_BYTES]),
    constitutionDigest: fields.bytes("constitutionDigest", { length: 32 }),
    evidence: fields.bytes("evidence", { max: MAX_EVIDENCE_BYTES }),
  }));
}

/** The binary form of an answer. */
export function encodeJoinAnswer(answer: JoinAnswer): Bytes {
  const { nodeId, evidence, genesis, constitution, serviceCertificate, endorsements } = answer;
  const tree = { nodeId: fromHex(nodeId), evidence, genesis, constitution, serviceCertificate, endorsements };
  return encodeCbor(treeToCbor(tree));
}

/** Reads the binary form of an answer; throws `MalformedInput` or `LimitExceeded`. */
export function decodeJoinAnswer(bytes: Bytes): JoinAnswer {
  if (bytes.length > MAX_JOIN_ANSWER_BYTES) throw new CocoError("LimitExceeded", "the answer is too large");
  return readDocument(decodeCbor(bytes), CONTEXT, (fields) => ({
    nodeId: fields.hex("nodeId", 32),
    evidence: fields.bytes("evidence", { max: MAX_EVIDENCE_BYTES }),
    genesis: fields.bytes("genesis", { max: MAX_CONSTITUTION_BYTES }),
    constitution: fields.bytes("constitution", { max: MAX_CONSTITUTION_BYTES }),
    serviceCertificate: fields.bytes("serviceCertificate", { max: MAX_SERVICE_CERTIFICATE_BYTES }),
    endorsements: fields.values("endorsements", MAX_SERVICES).map((endorsement) => {
      if (endorsement instanceof Uint8Array && endorsement.length <= MAX_SERVICE_CERTIFICATE_BYTES) return endorsement;
      throw fields.invalid("endorsements", "expected certificates");
    }),
  }));
}

/** SHA-256 over what of a node's configuration the network depends on: its addresses. */
export function joinConfigurationDigest(
  { address, clientAddress }: Pick<NodeTuple, "address" | "clientAddress">,
  sha256: HashFunction,
): Bytes {
  return sha256(encodeCbor(["coco join configuration v1", address, clientAddress]));
}

/** Report data of a newcomer. */
export function joinReportData(request: Omit<JoinRequest, "evidence" | "ownChallenge">, sha256: HashFunction): Bytes {
  const { networkId, node, challenge, measurement, constitutionDigest } = request;
  const reportData = new Uint8Array(REPORT_DATA_BYTES);
  reportData.set(sha256(encodeCbor([KEYS_DOMAIN, fromHex(networkId), node.publicKey, node.encryptionKey, challenge])));
  const code = [CODE_DOMAIN, fromHex(measurement), constitutionDigest, joinConfigurationDigest(node, sha256)];
  reportData.set(sha256(encodeCbor(code)), HALF);
  return reportData;
}

/** What the evidence of an answering node is bound to. */
export interface AnswerBinding {
  readonly networkId: string;
  readonly node: Pick<NodeTuple, "publicKey" | "encryptionKey">;
  /** The newcomer's. */
  readonly challenge: Bytes;
  /** Of the constitution in force. */
  readonly constitutionDigest: Bytes;
  /** DER. */
  readonly serviceCertificate: Bytes;
}

/** Report data of a node that answers a newcomer. */
export function answerReportData(binding: AnswerBinding, sha256: HashFunction): Bytes {
  const { networkId, node, challenge, constitutionDigest, serviceCertificate } = binding;
  const keys = [fromHex(networkId), node.publicKey, node.encryptionKey];
  const content = [constitutionDigest, sha256(serviceCertificate)];
  const reportData = new Uint8Array(REPORT_DATA_BYTES);
  reportData.set(sha256(encodeCbor([ANSWER_DOMAIN, ...keys, challenge, ...content])));
  return reportData;
}

const OF_EVIDENCE: Partial<Record<EvidenceRejection, ErrorCode>> = {
  UnknownTee: "JoinTeeUnknown",
  SignatureInvalid: "JoinSignatureInvalid",
  Malformed: "JoinEvidenceMalformed",
};

/** What evidence claims that is genuine and bound to what the request says, field by field. */
function boundClaims(request: JoinRequest, crypto: EvidenceCrypto, nowMs: number): Claims {
  const { evidence, measurement } = request;
  const expected = joinReportData(request, crypto.sha256);
  const claims = genuine(evidence, crypto, nowMs);
  if (claims.measurement !== measurement)
    throw new CocoError("JoinCodeMismatch", `the evidence is of code ${claims.measurement}, the request of another`);
  if (!bytesEqual(claims.reportData.subarray(0, HALF), expected.subarray(0, HALF)))
    throw new CocoError("JoinBindingMismatch", "the evidence is for another network, other keys or another challenge");
  if (!bytesEqual(claims.reportData.subarray(HALF), expected.subarray(HALF)))
    throw new CocoError(
      "JoinConfigurationMismatch",
      "the evidence is for another constitution, or another configuration of the node",
    );
  return claims;
}

function genuine(evidence: Bytes, crypto: EvidenceCrypto, nowMs: number): Claims {
  try {
    return verifyEvidence(evidence, undefined, crypto, nowMs);
  } catch (error) {
    if (!(error instanceof CocoError) || error.code !== "EvidenceRejected") throw error;
    const code = OF_EVIDENCE[String(error.data["reason"]) as EvidenceRejection] ?? "JoinEvidenceMalformed";
    throw new CocoError(code, error.message, {}, { cause: error });
  }
}

/** The network a newcomer wants to be in, as the asked node knows it. */
export interface JoinedNetwork {
  readonly networkId: string;
  readonly constitution: Constitution;
  readonly constitutionDigest: Bytes;
  /** What the ledger has recorded of its nodes. */
  readonly attested: RecordedMachines["attested"];
  /** The ledger's clock. */
  readonly nowMs: number;
}

/**
 * Checks a request whose challenge is known and fresh: evidence first, then the code, then the VN list, then the machine, since
 * the vote on a node may bring its machine along. Throws a code of its own for each thing that does not hold.
 */
export function checkJoinRequest(request: JoinRequest, network: JoinedNetwork, crypto: EvidenceCrypto): NodeEntry {
  const { networkId, node } = request;
  if (networkId !== network.networkId)
    throw new CocoError("JoinOtherNetwork", `the request is for network ${networkId}, this is ${network.networkId}`);
  if (toHex(crypto.sha256(node.publicKey)) !== node.nodeId)
    throw new CocoError("JoinKeyMismatch", `${node.nodeId} is not the id of the public key`);
  const claims = boundClaims(request, crypto, network.nowMs);
  if (!bytesEqual(request.constitutionDigest, network.constitutionDigest))
    throw new CocoError("JoinConstitutionDiffers", "the node was told another constitution than the one in force");
  const { reasons } = appraise(claims, network.constitution, network.nowMs);
  const code = reasons.find((reason) => reason.code === "CodeNotApproved");
  if (code !== undefined) throw new CocoError("JoinCodeNotApproved", code.message, { reason: code.reason });
  const entry = listedEntry(node, network.constitution);
  const [machine] = reasons;
  if (machine !== undefined) throw new CocoError("JoinTeeNotApproved", machine.message, { reason: machine.reason });
  const other = otherOnMachine(claims, node.nodeId, network, network.nowMs);
  if (other !== undefined) throw new CocoError("JoinMachineInUse", `node ${other} is recorded on the machine`);
  return entry;
}

/** The entry of a node as the VN list has it; throws when there is none, or it is of other keys or addresses. */
export function listedEntry(node: NodeTuple, constitution: Constitution): NodeEntry {
  const entry = constitution.nodes.find(({ nodeId }) => nodeId === node.nodeId);
  if (entry === undefined) throw new CocoError("JoinNotListed", `node ${node.nodeId} is not in the VN list`);
  const isSame = bytesEqual(encodeCbor(treeToCbor(nodeTupleTree(entry))), encodeCbor(treeToCbor(nodeTupleTree(node))));
  if (isSame) return entry;
  throw new CocoError("JoinEntryDiffers", `the VN list has node ${node.nodeId} with other keys or addresses`);
}

/** Checks the evidence of the node that answered; throws `JoinAnswerUntrusted`. */
export function checkAnswerEvidence(
  evidence: Bytes,
  binding: AnswerBinding,
  network: Pick<JoinedNetwork, "constitution" | "nowMs">,
  crypto: EvidenceCrypto,
): void {
  let claims: Claims;
  try {
    claims = verifyEvidence(evidence, answerReportData(binding, crypto.sha256), crypto, network.nowMs);
  } catch (error) {
    if (!(error instanceof CocoError) || error.code !== "EvidenceRejected") throw error;
    throw new CocoError("JoinAnswerUntrusted", `the node's evidence: ${error.message}`, {}, { cause: error });
  }
  const [reason] = appraise(claims, network.constitution, network.nowMs).reasons;
  if (reason !== undefined) throw new CocoError("JoinAnswerUntrusted", reason.message, { reason: reason.reason });
}
