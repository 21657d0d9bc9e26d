/**
 * `coco network trust`: for each validating node what it runs and on which TEE, what that rests on, how long its lease goes on and
 * why it is trusted or not; and the network's weakest link. The evidence is verified and appraised here: no node is believed.
 */
import { evidenceDigestOf } from "../attestation/evidence-extension.ts";
import { isReasonCode, REASONS } from "../attestation/reasons.ts";
import { tryParseCertificate } from "../core/certificates/certificate.ts";
import { bytesEqual, type Bytes } from "../core/codec/bytes.ts";
import { bindsKeys } from "../core/governance/attest.ts";
import type { Constitution, NodeEntry } from "../core/governance/constitution.ts";
import type { AppraisalReason, GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import { TEE_NAMES, type TeeName } from "../core/governance/manifest-entries.ts";
import { isOneTooMany } from "../core/governance/shared-machine.ts";
import { CocoError } from "../errors.ts";
import type { NetworkEvidence, RecordedEvidence } from "./evidence-reader.ts";

/** What a TEE rests on, in words. */
export const RESTS_ON: Readonly<Record<TeeName, string>> = {
  virtual: "a machine key in a file: identity, not isolation; whoever controls the machine sees and changes everything",
  vsm: "Windows' hypervisor and Secure Kernel, as a host guardian service or Azure Attestation vouches for them",
  sgx: "an Intel processor and its quoting enclave: memory of one process",
  tdx: "an Intel processor and its TDX module: memory of a whole guest",
  snp: "an AMD processor and its firmware: memory of a whole guest",
};

/** Where nodes keep their keys by their TEE, in words: evidence does not show it. */
export const KEEPS_KEYS: Readonly<Record<TeeName, string>> = {
  virtual: "in a file that its machine's operator can read",
  vsm: "sealed by its enclave, or in a file; in use they are in memory that its machine's administrator can read",
  sgx: "sealed to its code, or as its operator chose to the code's signer or in a file (--seal-to): evidence does not show which",
  tdx: "in a file that its machine's operator can read, unless that lies in the guest's memory or encrypted: TDX does not seal",
  snp: "in a file that its machine's operator can read, unless that lies in the guest's memory or encrypted: nodes do not seal on SNP",
};

/** How one node stands. */
export interface NodeTrust {
  readonly nodeId: string;
  readonly owner: string;
  readonly tee: TeeName | null;
  readonly code: string | null;
  readonly measurement: string | null;
  readonly platform: string | null;
  /** How up to date the platform is, in the TEE's words. */
  readonly tcb: string | null;
  readonly restsOn: string | null;
  readonly keepsKeys: string | null;
  readonly leaseEndsMs: number | null;
  readonly isQuarantined: boolean;
  readonly isTrusted: boolean;
  readonly reasons: readonly string[];
  /** What can be done about them, each once. */
  readonly remedies: readonly string[];
}

/** How the network stands. */
export interface NetworkTrust {
  /** The weakest TEE of a node that takes part, or that the TEE manifest admits. */
  readonly weakestRunning: TeeName | null;
  readonly weakestAdmitted: TeeName | null;
  readonly ledgerTimeMs: number;
  readonly leaseMs: number;
  /** The node that answered, if its TLS certificate names the evidence recorded of it and the evidence binds its TLS key. */
  readonly connectedTo: string | null;
  readonly nodes: readonly NodeTrust[];
}

/** What whoever asks sees for itself. */
export interface Surroundings {
  /** What the node that answered showed in TLS, DER. */
  readonly certificate?: Bytes | undefined;
  readonly localTimeMs?: number;
}

/** What trust is judged by. */
export type TrustCrypto = Pick<GovernanceCrypto, "appraise" | "sha256" | "verifyEvidence">;

/** What the network is known by. */
export interface KnownNetwork {
  readonly networkId: string;
  readonly constitution: Constitution;
}

function weakest(tees: readonly (TeeName | null)[]): TeeName | null {
  return TEE_NAMES.find((tee) => tees.includes(tee)) ?? null;
}

/**
 * Judges what a node shows by the constitution.
 */
export function judgeNetwork(
  network: KnownNetwork,
  { nodes, ledgerTimeMs, leaseMs }: NetworkEvidence,
  crypto: TrustCrypto,
  { certificate, localTimeMs = ledgerTimeMs }: Surroundings = {},
): NetworkTrust {
  const { constitution } = network;
  // The clock of an idle ledger stands still, and a node may tell an old one: what has ended here has ended.
  const nowMs = Math.max(ledgerTimeMs, localTimeMs);
  const recorded = new Map(nodes.flatMap(({ nodeId, attested }) => (attested ? [[nodeId, attested] as const] : [])));
  const judged = constitution.nodes.map((entry) => {
    const shown = nodes.find(({ nodeId }) => nodeId === entry.nodeId);
    const isTooMany = isOneTooMany({ constitution, attested: recorded }, entry.nodeId, nowMs, crypto);
    return judgeNode(network, { ...NOTHING_SHOWN, ...shown, entry, isTooMany }, nowMs, crypto);
  });
  return {
    weakestRunning: weakest(judged.map(({ tee }) => tee)),
    weakestAdmitted: weakest(constitution.teeManifest.map(({ tee }) => tee)),
    ...{ ledgerTimeMs, leaseMs, nodes: judged },
    connectedTo: trustedPeer(judged, attestedPeer(constitution, nodes, certificate, crypto)) ?? null,
  };
}

/** Evidence that does not hold, or is bound to other keys, says nothing of the connection. */
function trustedPeer(judged: readonly NodeTrust[], nodeId: string | undefined): string | undefined {
  return judged.some((node) => node.nodeId === nodeId && node.isTrusted) ? nodeId : undefined;
}

/** A listed node with what is shown of it. */
interface ListedEvidence extends Pick<RecordedEvidence, "attested" | "leaseEndsMs" | "isQuarantined"> {
  readonly entry: NodeEntry;
  /** Another node is on its machine, where the manifest lets one be. */
  readonly isTooMany: boolean;
}

const NOTHING_SHOWN = { attested: undefined, leaseEndsMs: undefined, isQuarantined: false };

/** The node whose key the certificate is of, when it names the evidence recorded of that node. */
function attestedPeer(
  constitution: Constitution,
  shown: readonly RecordedEvidence[],
  der: Bytes | undefined,
  { sha256 }: TrustCrypto,
): string | undefined {
  const certificate = der && tryParseCertificate(der);
  const digest = certificate && evidenceDigestOf(certificate);
  if (certificate === undefined || digest === undefined) return undefined;
  const entry = constitution.nodes.find(({ publicKey }) => bytesEqual(publicKey, certificate.publicKey));
  const evidence = shown.find(({ nodeId }) => nodeId === entry?.nodeId)?.attested?.evidence;
  return evidence !== undefined && bytesEqual(sha256(evidence), digest) ? entry?.nodeId : undefined;
}

function judgeNode(
  { networkId, constitution }: KnownNetwork,
  { entry, isTooMany, attested, leaseEndsMs: toldMs, isQuarantined }: ListedEvidence,
  nowMs: number,
  crypto: TrustCrypto,
): NodeTrust {
  const { nodeId, owner } = entry;
  const found = attested === undefined ? [NOTHING_RECORDED] : [...crypto.appraise(attested, constitution, nowMs)];
  if (attested !== undefined && !bindsKeys(networkId, entry, attested.reportData, crypto.sha256))
    found.push(OTHER_KEYS);
  const claims = attested && crypto.verifyEvidence(attested.evidence, attested.reportData, attested.attestedAtMs);
  const leaseEndsMs = leaseEndOf(constitution, attested, toldMs);
  const hasLapsed = leaseEndsMs !== undefined && leaseEndsMs <= nowMs;
  const reasons = [
    ...found.map(({ message }) => message),
    ...(isTooMany ? ["it runs on a machine that another node is recorded on, and may not be there too"] : []),
    ...(isQuarantined ? ["its lease has ended: it is quarantined"] : []),
    ...(hasLapsed && !isQuarantined ? ["its lease has ended"] : []),
  ];
  const code = constitution.codeManifest.find(({ measurement }) => measurement === attested?.measurement);
  return {
    ...{
      nodeId,
      owner,
      isQuarantined,
      reasons,
      isTrusted: reasons.length === 0,
      remedies: remediesOf(found, hasLapsed || isQuarantined),
    },
    tee: attested?.tee ?? null,
    code: code === undefined ? null : `${code.name} ${code.version}`,
    measurement: attested?.measurement ?? null,
    platform: attested?.platform ?? null,
    tcb: claims !== undefined && "tcb" in claims ? (claims.tcb ?? null) : null,
    restsOn: attested === undefined ? null : RESTS_ON[attested.tee],
    keepsKeys: attested === undefined ? null : KEEPS_KEYS[attested.tee],
    leaseEndsMs: leaseEndsMs ?? null,
  };
}

function remediesOf(found: readonly AppraisalReason[], hasLapsed: boolean): readonly string[] {
  const known = found.flatMap(({ reason }) => (isReasonCode(reason) ? [REASONS[reason].remedy] : []));
  return [...new Set([...known, ...(hasLapsed || found.includes(NOTHING_RECORDED) ? [LOOK_AT_LOG] : [])])];
}

const LOOK_AT_LOG = "Look for attestation_failed in the node's log, and for attestation_refused in the leader's.";

const NOTHING_RECORDED: AppraisalReason = {
  manifest: "tee",
  reason: "NothingRecorded",
  message: "the ledger holds no evidence of it yet",
};

/** When a lease ends by the constitution; a node may only tell an earlier time. */
function leaseEndOf(
  { settings }: Constitution,
  attested: RecordedEvidence["attested"],
  toldMs: number | undefined,
): number | undefined {
  const { leaseMs = 0 } = settings;
  if (leaseMs === 0 || attested === undefined) return toldMs;
  return Math.min(attested.attestedAtMs + leaseMs, toldMs ?? Number.POSITIVE_INFINITY);
}

const OTHER_KEYS: AppraisalReason = {
  manifest: "tee",
  reason: "ReportDataMismatch",
  message: "its evidence is not bound to the keys that the VN list has of it",
};

/** The constitution that nodes are judged by, and whose word it is. */
export interface JudgedBy {
  readonly version: number;
  /** Hex. */
  readonly digest: string;
  /** `node`: as the node tells it, without proof; `caller`: whoever asks named its digest. */
  readonly source: "node" | "caller";
}

/**
 * What a network was judged by. No receipt covers the constitution as a whole: who has replayed the ledger knows it, or has its digest
 * from somebody who has, and names that. Throws `ConstitutionDiffers` when the node tells another one.
 */
export function judgedBy(version: number, digest: string, expected: string | undefined): JudgedBy {
  if (expected !== undefined && expected !== digest)
    throw new CocoError("ConstitutionDiffers", `the node tells a constitution with digest ${digest}, not ${expected}`);
  return { version, digest, source: expected === undefined ? "node" : "caller" };
}

/** That, in words, line by line. */
export function judgedByLines({ version, digest, source }: JudgedBy): readonly string[] {
  const what = `judged by constitution version ${version}, digest ${digest}`;
  if (source === "caller") return [`${what}: the one you named`];
  return [
    `${what}: AS TOLD BY THIS NODE`,
    "  nothing proves these manifests and policies: a node that lies about them can call anything trusted",
    "  compare the digest with that of another owner's node, or name the one you know by --constitution-digest",
  ];
}

const SHORT = 16;

/** In words, line by line. */
export function trustLines(trust: NetworkTrust): readonly string[] {
  const { weakestRunning, weakestAdmitted, nodes, connectedTo } = trust;
  const weakestLine =
    weakestRunning === null ? "weakest link: nothing is recorded of any node" : `weakest link: ${weakestRunning}`;
  return [
    ...nodes.flatMap((node) => nodeLines(node)),
    connectedTo === null
      ? "this connection: its certificate names no evidence that is recorded"
      : `this connection: ends where the evidence of node ${connectedTo.slice(0, SHORT)}… was made`,
    weakestLine,
    ...(weakestRunning === null ? [] : [`  it rests on ${RESTS_ON[weakestRunning]}`]),
    ...(weakestAdmitted === weakestRunning || weakestAdmitted === null
      ? []
      : [`  the TEE manifest admits ${weakestAdmitted}: ${RESTS_ON[weakestAdmitted]}`]),
  ];
}

function nodeLines(node: NodeTrust): readonly string[] {
  const { nodeId, owner, tee, tcb, code, measurement, restsOn, keepsKeys, leaseEndsMs, isTrusted, reasons } = node;
  return [
    `node ${nodeId.slice(0, SHORT)}… of ${owner}: ${isTrusted ? "trusted" : "NOT trusted"}`,
    `  code   ${code ?? "not in the code manifest"}${measurement === null ? "" : `, measurement ${measurement}`}`,
    `  TEE    ${tee ?? "unknown"}${restsOn === null ? "" : `: ${restsOn}`}`,
    `  TCB    ${tcb ?? (tee === "virtual" ? "none: the virtual TEE has no parts whose versions count" : "unknown")}`,
    ...(keepsKeys === null ? [] : [`  keys   ${keepsKeys}`]),
    `  lease  ${leaseEndsMs === null ? "without end" : `until ${new Date(leaseEndsMs).toISOString()}`}`,
    ...(isTrusted ? ["  why    its evidence verifies here, and both manifests allow what it says"] : []),
    ...reasons.map((reason) => `  why    ${reason}`),
    ...node.remedies.map((remedy) => `  do     ${remedy}`),
  ];
}
