/**
 * Attestation in the ledger (R7, R9, R32): what a listed node was found to run, with its evidence, which also begins its lease.
 * Every node verifies the evidence and appraises it itself, by the constitution in force and the ledger's clock.
 *
 * What evidence is made for follows from the state: from a challenge of the ledger, which nobody knew before it began
 * (challenges.ts), and from the evidence recorded of the node before. So evidence counts once, and only for as long as its
 * challenge is young: what a node ran earlier cannot be recorded again, nor can evidence be made in stock.
 */
import { encodeCbor } from "../codec/cbor.ts";
import { bytesEqual, EMPTY, fromHex, type Bytes, type HashFunction } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import { youngChallenges, type ChallengeRecord, type ChallengesState } from "./challenges.ts";
import type { Constitution, NodeEntry } from "./constitution.ts";
import type { FieldReader, FieldTree } from "./fields.ts";
import type { AttestedNode, EvidenceClaims, GovernanceCrypto } from "./governance-crypto.ts";
import { LEASE_REST_PART, leaseLengthMs, mayRenew, renewed, type Leases } from "./leases.ts";
import { refused } from "./refusal.ts";
import { holderOf, sharingManifests } from "./shared-machine.ts";

/** Largest evidence of a node in the ledger, in bytes. */
export const MAX_ATTESTED_EVIDENCE_BYTES = 64 * 1024;

/**
 * Shortest time between two records of one node by the ledger's clock, in milliseconds, or the part of a lease in which it is not
 * renewed, if that is less: code that changes to and fro must not fill the ledger, nor what every node has to verify.
 */
export const ATTEST_REST_MS = 10_000;

const DIGEST_BYTES = 32;
/** Length of what evidence is bound to, in bytes. */
export const REPORT_DATA_BYTES = 64;
const CHALLENGE_DOMAIN = "coco-attest-challenge-v2";
const REPORT_DOMAIN = "coco-attest-v1";

/** Records what a listed node runs. */
export interface AttestTransaction {
  readonly type: "attest";
  readonly nodeId: NodeId;
  /** See the module's header; 32 bytes. */
  readonly challenge: Bytes;
  readonly evidence: Bytes;
}

/** The part of the governance state that attestation depends on. */
export interface AttestationState extends ChallengesState {
  readonly networkId: string;
  readonly attested: ReadonlyMap<NodeId, AttestedNode>;
  readonly leases: Leases;
}

/** The tree form of the transaction's fields. */
export function attestTree({ nodeId, challenge, evidence }: Omit<AttestTransaction, "type">) {
  return { nodeId: fromHex(nodeId), challenge, evidence } satisfies FieldTree;
}

/** Reads the transaction's fields. */
export function readAttest(fields: FieldReader): Omit<AttestTransaction, "type"> {
  return {
    nodeId: fields.hex("nodeId", 32),
    challenge: fields.bytes("challenge", { length: DIGEST_BYTES }),
    evidence: fields.bytes("evidence", { max: MAX_ATTESTED_EVIDENCE_BYTES }),
  };
}

/** The challenge that a node's next evidence is for: of the newest one of the ledger. Undefined before the first epoch. */
export function attestChallenge(state: AttestationState, nodeId: NodeId, sha256: HashFunction): Bytes | undefined {
  const newest = state.challenges.at(-1);
  return newest && nodeChallenge(state, nodeId, newest, sha256);
}

/** A challenge of the ledger as one node is to answer it. */
function nodeChallenge(
  { networkId, attested }: AttestationState,
  nodeId: NodeId,
  { digest }: ChallengeRecord,
  sha256: HashFunction,
): Bytes {
  const recorded = attested.get(nodeId);
  const before = recorded === undefined ? EMPTY : sha256(recorded.evidence);
  return sha256(encodeCbor([CHALLENGE_DOMAIN, fromHex(networkId), fromHex(nodeId), digest, before]));
}

/** Whether evidence for a challenge may be recorded of a node at this time. */
function isFresh(
  state: AttestationState,
  { nodeId, challenge }: Pick<AttestTransaction, "nodeId" | "challenge">,
  nowMs: number,
  sha256: HashFunction,
): boolean {
  return youngChallenges(state, nowMs).some((young) =>
    bytesEqual(challenge, nodeChallenge(state, nodeId, young, sha256)),
  );
}

/**
 * What a node's TEE binds into such evidence: SHA-256 of the network, the node's keys and the challenge, then the challenge, so that
 * whoever has the evidence sees whose keys it is about; 64 bytes.
 */
export function attestReportData(
  networkId: string,
  { publicKey, encryptionKey }: Pick<NodeEntry, "publicKey" | "encryptionKey">,
  challenge: Bytes,
  sha256: HashFunction,
): Bytes {
  const reportData = new Uint8Array(REPORT_DATA_BYTES);
  reportData.set(sha256(encodeCbor([REPORT_DOMAIN, fromHex(networkId), publicKey, encryptionKey, challenge])));
  reportData.set(challenge, DIGEST_BYTES);
  return reportData;
}

/** Whether report data are bound to these keys of a node. */
export function bindsKeys(
  networkId: string,
  node: Pick<NodeEntry, "publicKey" | "encryptionKey">,
  reportData: Bytes,
  sha256: HashFunction,
): boolean {
  return bytesEqual(attestReportData(networkId, node, reportData.subarray(DIGEST_BYTES), sha256), reportData);
}

/** Whether a constitution lets a node run what it runs, at a time of the ledger's clock. */
export function mayRun(
  constitution: Constitution,
  node: AttestedNode,
  nowMs: number,
  crypto: Pick<GovernanceCrypto, "appraise">,
): boolean {
  return crypto.appraise(node, constitution, nowMs).length === 0;
}

/** The node that is recorded on the machine of a newly attested one, if no entry in force lets that one be there too. */
export function machineConflict(
  state: Pick<AttestationState, "constitution" | "attested">,
  { nodeId, node, nowMs }: { readonly nodeId: NodeId; readonly node: AttestedNode; readonly nowMs: number },
  crypto: Pick<GovernanceCrypto, "appraise">,
): NodeId | undefined {
  const holder = holderOf(state, nodeId, node.platform);
  const isRefused =
    holder !== undefined && crypto.appraise(node, sharingManifests(state.constitution), nowMs).length > 0;
  return isRefused ? holder : undefined;
}

/** Whether a node is recorded with this code on this platform. */
export function isRecorded(
  { attested }: Pick<AttestationState, "attested">,
  nodeId: NodeId,
  { tee, measurement, platform }: EvidenceClaims,
): boolean {
  const record = attested.get(nodeId);
  return record?.tee === tee && record.measurement === measurement && record.platform === platform;
}

/** Whether a node was recorded so lately that nothing is recorded of it now, whatever it runs. */
export function restsFromRecord(
  { constitution, attested }: Pick<AttestationState, "constitution" | "attested">,
  nodeId: NodeId,
  nowMs: number,
): boolean {
  const lengthMs = leaseLengthMs(constitution);
  const restMs = lengthMs === 0 ? ATTEST_REST_MS : Math.min(ATTEST_REST_MS, lengthMs * LEASE_REST_PART);
  const record = attested.get(nodeId);
  return record !== undefined && nowMs - record.attestedAtMs < restMs;
}

/** What is known of nodes that are listed; the same map when that is all there is. */
export function attestedOf(
  attested: AttestationState["attested"],
  { nodes }: Pick<Constitution, "nodes">,
): AttestationState["attested"] {
  const listed = new Set(nodes.map(({ nodeId }) => nodeId));
  const kept = [...attested].filter(([nodeId]) => listed.has(nodeId));
  return kept.length === attested.size ? attested : new Map(kept);
}

/** What an `attest` makes of the state: the record, and the node's lease begun anew. */
export type Attested = Pick<AttestationState, "attested" | "leases">;

/** Records a node's evidence; throws `ProposalInvalid` when it does not hold or does not appraise, or nothing asks for it. */
export function executeAttest(
  state: AttestationState,
  { nodeId, challenge, evidence }: AttestTransaction,
  nowMs: number,
  crypto: GovernanceCrypto,
): Attested {
  const entry = state.constitution.nodes.find((listed) => listed.nodeId === nodeId);
  if (entry === undefined) throw refused("NodeNotListed", `node ${nodeId} is not in the VN list`);
  if (!isFresh(state, { nodeId, challenge }, nowMs, crypto.sha256))
    throw refused("ChallengeStale", `the evidence of node ${nodeId} was made for none of the newest challenges`);
  // Before anything is verified: that is what costs.
  if (restsFromRecord(state, nodeId, nowMs))
    throw refused("RecordedLately", `node ${nodeId} was recorded a moment ago`);
  const reportData = attestReportData(state.networkId, entry, challenge, crypto.sha256);
  const claims = genuineClaims(nodeId, crypto.verifyEvidence(evidence, reportData, nowMs));
  const { tee, measurement, platform } = claims;
  const node = { tee, measurement, platform, evidence, reportData, attestedAtMs: nowMs };
  const [reason] = crypto.appraise(node, state.constitution, nowMs);
  if (reason !== undefined) {
    const refusal = reason.manifest === "code" ? "CodeNotInForce" : "TeeNotInForce";
    throw refused(refusal, `node ${nodeId}: ${reason.message}`);
  }
  const holder = machineConflict(state, { nodeId, node, nowMs }, crypto);
  if (holder !== undefined)
    throw refused("MachineInUse", `node ${nodeId} runs on a machine that node ${holder} is recorded on`);
  if (isRecorded(state, nodeId, claims) && !mayRenew(state, nodeId, nowMs))
    throw refused(
      "NothingChanged",
      `node ${nodeId} is recorded with this code on this platform, and its lease is young`,
    );
  return {
    attested: new Map(state.attested).set(nodeId, node),
    leases: renewed(state.leases, nodeId, nowMs),
  };
}

function genuineClaims(nodeId: NodeId, result: ReturnType<GovernanceCrypto["verifyEvidence"]>): EvidenceClaims {
  if ("problem" in result) {
    const { problem } = result;
    throw refused("EvidenceInvalid", `the evidence of node ${nodeId} does not hold: ${problem}`, { problem });
  }
  return result;
}
