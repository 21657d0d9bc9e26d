/**
 * What a ledger has recorded of its nodes (`attest`), read from the ledger alone: each record with what its evidence says, verified
 * again here, by which constitution it was accepted, and whether that of the ledger's end still allows it. A record can be
 * written to a file of its own, with what is needed to judge it again without the ledger (`coco attest verify --recorded`).
 */
import { toHex, type Bytes } from "../core/codec/bytes.ts";
import type { GovernanceState } from "../core/governance/administrative.ts";
import { decodeAdministrative } from "../core/governance/administrative-codec.ts";
import { attestReportData, type AttestTransaction } from "../core/governance/attest.ts";
import type { Constitution, NodeEntry } from "../core/governance/constitution.ts";
import type { AttestedNode, GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import type { TeeName } from "../core/governance/manifest-entries.ts";
import type { ParsedBatch } from "../core/ledger/batch-format.ts";
import { CocoError } from "../errors.ts";
import { moment } from "./effect-lines.ts";
import { RESTS_ON } from "./network-trust.ts";

/** What of the cryptography records are read with. */
export type AttestationCrypto = Pick<GovernanceCrypto, "appraise" | "sha256" | "verifyEvidence">;

/** One record of a ledger that was verified. */
export interface ToldAttestation {
  /** `view.seqno`. */
  readonly transactionId: string;
  readonly seqno: number;
  readonly timeMs: number;
  readonly networkId: string;
  readonly node: NodeEntry;
  readonly challenge: Bytes;
  readonly tcb: string | undefined;
  /** Name and version of the code, as the code manifest had them. */
  readonly code: string;
  /** Version of the constitution that accepted it. */
  readonly constitutionVersion: number;
  /** Its digest: the appraisal policy, of which its manifests are what counts. */
  readonly policyDigest: Bytes;
  readonly attested: AttestedNode;
}

/** A record, and what the ledger's end makes of it. */
export interface JudgedAttestation extends ToldAttestation {
  /** Nothing: the node may still run this. */
  readonly against: readonly string[];
  /** Whether a later record of the node stands behind it. */
  readonly isNewest: boolean;
}

/** The governance around a batch. */
export interface BatchSurroundings {
  readonly before: GovernanceState | undefined;
  readonly after: GovernanceState;
}

/** The records of a batch that was verified. */
export function attestationsOf(
  { header, transactions }: ParsedBatch,
  around: BatchSurroundings,
  crypto: AttestationCrypto,
): readonly ToldAttestation[] {
  if (header.kind !== "administrative") return [];
  return transactions.flatMap(({ publicPart }, at) => {
    const transaction = decodeAdministrative(publicPart);
    if (transaction.type !== "attest") return [];
    const seqno = header.firstSeqno + at;
    const place = { transactionId: `${header.view}.${seqno}`, seqno, timeMs: header.timeMs };
    return [{ ...place, ...toldOf(transaction, around, header.timeMs, crypto) }];
  });
}

/** The state that the record was made in is the one before the batch, or one within it. */
function toldOf(
  { nodeId, challenge, evidence }: AttestTransaction,
  { before, after }: BatchSurroundings,
  timeMs: number,
  crypto: AttestationCrypto,
): Omit<ToldAttestation, "transactionId" | "seqno" | "timeMs"> {
  const found: Omit<ToldAttestation, "transactionId" | "seqno" | "timeMs">[] = [];
  for (const state of before === undefined ? [after] : [before, after]) {
    const { networkId, constitution, constitutionDigest: policyDigest } = state;
    const node = constitution.nodes.find((listed) => listed.nodeId === nodeId);
    if (node === undefined) continue;
    const reportData = attestReportData(networkId, node, challenge, crypto.sha256);
    const claims = crypto.verifyEvidence(evidence, reportData, timeMs);
    if ("problem" in claims) continue;
    const { tee, measurement, platform, tcb } = claims;
    const attested = { tee, measurement, platform, evidence, reportData, attestedAtMs: timeMs };
    const code = codeOf(constitution, claims);
    const told = {
      networkId,
      node,
      challenge,
      tcb,
      code,
      constitutionVersion: constitution.version,
      policyDigest,
      attested,
    };
    if (crypto.appraise(attested, constitution, timeMs).length === 0) return told;
    found.push(told);
  }
  const [first] = found;
  if (first !== undefined) return first;
  // Whoever verified the batch has verified the evidence.
  throw new CocoError("Internal", `the evidence of node ${nodeId} holds in neither state around its batch`);
}

function codeOf(
  { codeManifest }: Pick<Constitution, "codeManifest">,
  { tee, measurement }: Pick<AttestedNode, "tee" | "measurement">,
): string {
  const code = codeManifest.find(
    ({ reference, ...listed }) => listed.measurement === measurement && (reference?.tee ?? "virtual") === tee,
  );
  return code === undefined ? "code that is not listed" : `${code.name} ${code.version}`;
}

/** Judges records by the governance and the clock at the end of the ledger. */
export function judgeAttestations(
  told: readonly ToldAttestation[],
  { constitution }: Pick<GovernanceState, "constitution">,
  nowMs: number,
  crypto: Pick<GovernanceCrypto, "appraise">,
): readonly JudgedAttestation[] {
  const newest = new Map(told.map(({ node, seqno }) => [node.nodeId, seqno]));
  return told.map((record) => {
    const { nodeId } = record.node;
    const isListed = constitution.nodes.some((listed) => listed.nodeId === nodeId);
    const reasons = crypto.appraise(record.attested, constitution, nowMs).map(({ message }) => message);
    const against = [...(isListed ? [] : ["the node is not listed any more"]), ...reasons];
    return { ...record, against, isNewest: newest.get(nodeId) === record.seqno };
  });
}

const SHORT = 16;

/** A record in a few words, for the line of its transaction. */
export function attestationWords(told: ToldAttestation): string {
  const { node, attested, code, tcb, constitutionVersion } = told;
  const what = `${code}, measurement ${attested.measurement}, on ${attested.tee}`;
  const level = tcb === undefined ? "" : `, TCB ${tcb}`;
  return `node ${node.nodeId.slice(0, SHORT)}… of ${node.owner}: ${what}${level}; accepted by constitution version ${constitutionVersion}`;
}

/** A record as lines for people. */
export function attestationLines(judged: JudgedAttestation): readonly string[] {
  const { transactionId, timeMs, node, attested, code, tcb, constitutionVersion, policyDigest, against, isNewest } =
    judged;
  const now = against.length === 0 ? "allowed" : `not allowed: ${against.join("; ")}`;
  return [
    `transaction ${transactionId}, ${moment(timeMs)}: node ${node.nodeId} of ${node.owner}`,
    `  code      ${code}, measurement ${attested.measurement}`,
    `  TEE       ${attested.tee}: ${RESTS_ON[attested.tee]}`,
    ...(tcb === undefined ? [] : [`  TCB       ${tcb}`]),
    `  verdict   accepted by constitution version ${constitutionVersion}; the evidence verifies again here`,
    `  policy    ${toHex(policyDigest)} (digest of that constitution, which holds the manifests)`,
    `  at the end of the ledger  ${now}${isNewest ? "" : "; a later record of the node stands behind it"}`,
  ];
}

/** A record as JSON. */
export interface AttestationJson {
  readonly transactionId: string;
  readonly time: string;
  readonly nodeId: string;
  readonly owner: string;
  readonly tee: TeeName;
  readonly code: string;
  readonly measurement: string;
  readonly platform: string;
  readonly tcb: string | null;
  readonly acceptedByConstitutionVersion: number;
  /** The Attestation Result as RATS names it: what is recorded was accepted, or it would not be recorded. */
  readonly result: { readonly status: "affirming"; readonly verifiedAt: string; readonly policyDigest: string };
}

/** What a record says, for JSON. */
export function attestationJson(told: ToldAttestation): AttestationJson {
  const { transactionId, timeMs, node, attested, code, tcb = null, constitutionVersion, policyDigest } = told;
  const verifiedAt = new Date(timeMs).toISOString();
  return {
    ...{ transactionId, time: verifiedAt, nodeId: node.nodeId, owner: node.owner },
    ...{ tee: attested.tee, code, measurement: attested.measurement, platform: attested.platform, tcb },
    acceptedByConstitutionVersion: constitutionVersion,
    result: { status: "affirming", verifiedAt, policyDigest: toHex(policyDigest) },
  };
}

/** How a file of recorded evidence begins. */
export const RECORDED_FORMAT = "coco-recorded-evidence-v1";

/** The file of a record: all that is needed to verify and judge its evidence again; bytes are hex. */
export function recordedFile({ networkId, node, challenge, attested, ...told }: ToldAttestation): string {
  const { transactionId, timeMs } = told;
  const content = {
    ...{ format: RECORDED_FORMAT, networkId, transactionId, timeMs, nodeId: node.nodeId, owner: node.owner },
    publicKey: toHex(node.publicKey),
    encryptionKey: toHex(node.encryptionKey),
    challenge: toHex(challenge),
    evidence: toHex(attested.evidence),
  };
  return `${JSON.stringify(content, undefined, 2)}\n`;
}
