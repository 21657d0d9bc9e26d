/**
 * Attestation in the ledger (R7, R9): which code and machine a listed node was found to run. Every node verifies the evidence
 * and appraises it itself, by the constitution in force and the ledger's clock.
 *
 * The challenge follows from the state: from the newest epoch, whose sealed service key nobody knew before it was opened,
 * and from the evidence recorded of the node before. So evidence counts once, and only in the epoch it was made in: what
 * a node ran earlier cannot be recorded again.
 */
import { encodeCbor } from "../codec/cbor.ts";
import { bytesEqual, EMPTY, fromHex, type Bytes, type HashFunction } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import type { AttestedNode } from "./action-kind.ts";
import { isInForce, type Constitution, type NodeEntry } from "./constitution.ts";
import type { EpochRecord } from "./epochs.ts";
import type { FieldReader, FieldTree } from "./fields.ts";
import type { EvidenceClaims, GovernanceCrypto } from "./governance-crypto.ts";
import { refused } from "./refusal.ts";

/** Largest evidence of a node in the ledger, in bytes. */
export const MAX_ATTESTED_EVIDENCE_BYTES = 64 * 1024;

const DIGEST_BYTES = 32;
const REPORT_DATA_BYTES = 64;
const CHALLENGE_DOMAIN = "coco-attest-challenge-v1";
const REPORT_DOMAIN = "coco-attest-v1";

/** Records what a listed node runs. */
export interface AttestTransaction {
  readonly type: "attest";
  readonly nodeId: NodeId;
  /** See the module's header; 32 bytes. */
  readonly challenge: Bytes;
  readonly evidence: Bytes;
}

/** What the state keeps of a node's attestation. */
export interface AttestedRecord extends AttestedNode {
  /** SHA-256 of the evidence, 32 bytes: part of the next challenge. */
  readonly evidenceDigest: Bytes;
}

/** The part of the governance state that attestation depends on. */
export interface AttestationState {
  readonly networkId: string;
  readonly constitution: Constitution;
  readonly epochs: readonly EpochRecord[];
  readonly attested: ReadonlyMap<NodeId, AttestedRecord>;
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

/** The challenge that a node's next evidence is for; undefined before the first epoch. */
export function attestChallenge(state: AttestationState, nodeId: NodeId, sha256: HashFunction): Bytes | undefined {
  const newest = state.epochs.at(-1);
  if (newest === undefined) return undefined;
  const before = state.attested.get(nodeId)?.evidenceDigest ?? EMPTY;
  const epoch = [newest.epoch, sha256(newest.sealedServiceKey)];
  return sha256(encodeCbor([CHALLENGE_DOMAIN, fromHex(state.networkId), fromHex(nodeId), epoch, before]));
}

/** What a node's TEE binds into such evidence: the network, the node's keys, the challenge; 64 bytes. */
export function attestReportData(
  networkId: string,
  { publicKey, encryptionKey }: Pick<NodeEntry, "publicKey" | "encryptionKey">,
  challenge: Bytes,
  sha256: HashFunction,
): Bytes {
  const reportData = new Uint8Array(REPORT_DATA_BYTES);
  reportData.set(sha256(encodeCbor([REPORT_DOMAIN, fromHex(networkId), publicKey, encryptionKey, challenge])));
  return reportData;
}

/** Whether a constitution lets a node run what it runs, at a time of the ledger's clock. */
export function mayRun(constitution: Constitution, node: AttestedNode, nowMs: number): boolean {
  return codeInForce(constitution, node, nowMs) && machineInForce(constitution, node, nowMs);
}

function codeInForce({ codeManifest }: Constitution, { measurement }: AttestedNode, nowMs: number): boolean {
  return codeManifest.some((code) => code.measurement === measurement && isInForce(code, nowMs));
}

function machineInForce({ teeManifest }: Constitution, { machineKey }: AttestedNode, nowMs: number): boolean {
  return teeManifest.some((tee) => bytesEqual(tee.machineKey, machineKey) && isInForce(tee, nowMs));
}

/** Whether a node is recorded with this code and machine. */
export function isRecorded(state: AttestationState, nodeId: NodeId, node: AttestedNode): boolean {
  const record = state.attested.get(nodeId);
  return record?.measurement === node.measurement && bytesEqual(record.machineKey, node.machineKey);
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

/** The attested nodes with this one; throws `ProposalInvalid` when its evidence does not hold or does not appraise. */
export function executeAttest(
  state: AttestationState,
  { nodeId, challenge, evidence }: AttestTransaction,
  nowMs: number,
  crypto: GovernanceCrypto,
): ReadonlyMap<NodeId, AttestedRecord> {
  const node = state.constitution.nodes.find((entry) => entry.nodeId === nodeId);
  if (node === undefined) throw refused("NodeNotListed", `node ${nodeId} is not in the VN list`);
  const expected = attestChallenge(state, nodeId, crypto.sha256);
  if (expected === undefined || !bytesEqual(challenge, expected))
    throw refused("ChallengeStale", `the evidence of node ${nodeId} was made for another state of the ledger`);
  const reportData = attestReportData(state.networkId, node, challenge, crypto.sha256);
  const claims = genuineClaims(nodeId, crypto.appraise(evidence, reportData));
  if (!codeInForce(state.constitution, claims, nowMs))
    throw refused("CodeNotInForce", `node ${nodeId} runs code ${claims.measurement}, which is not in force`);
  if (!machineInForce(state.constitution, claims, nowMs))
    throw refused("TeeNotInForce", `node ${nodeId} runs on a machine that is not in force`);
  if (isRecorded(state, nodeId, claims))
    throw refused("NothingChanged", `node ${nodeId} is recorded with this code and machine`);
  const { measurement, machineKey } = claims;
  return new Map(state.attested).set(nodeId, { measurement, machineKey, evidenceDigest: crypto.sha256(evidence) });
}

function genuineClaims(nodeId: NodeId, result: ReturnType<GovernanceCrypto["appraise"]>): EvidenceClaims {
  if ("problem" in result) {
    const { problem } = result;
    throw refused("EvidenceInvalid", `the evidence of node ${nodeId} does not hold: ${problem}`, { problem });
  }
  return result;
}
