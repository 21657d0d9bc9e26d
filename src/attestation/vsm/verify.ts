/**
 * Verification of a VBS enclave's report (format `vbs-hgs`): the Secure Kernel signed it, and a host guardian service (HGS)
 * of the organisation certified the Secure Kernel's key by a health certificate, which it issues for hours only after it
 * measured the machine. Such services have roots of their own, so a network pins them: without a pinned root nothing is
 * genuine. A health certificate may be pinned itself.
 */
import { fitsKey, isStrongKey, type SignatureAlgorithm } from "../../core/certificates/algorithm.ts";
import { type Certificate, readOrNothing, tryParseCertificate } from "../../core/certificates/certificate.ts";
import { type AcceptedPath, type PathProblem, type RefusedPath, validatePath } from "../../core/certificates/path.ts";
import { toHex, type Bytes } from "../../core/codec/bytes.ts";
import { type DerReader, readDer } from "../../core/codec/der.ts";
import { type AttestationCrypto, Checks, type Verification } from "../checks.ts";
import type { ReasonCode } from "../reasons.ts";
import { parseVbsReport, type VbsIdentity, type VbsModule, type VbsReport } from "./report.ts";

/** Most certificates between a health certificate and its root. */
export const MAX_HEALTH_INTERMEDIATES = 4;
/** Most purposes in one extension of a health certificate. */
export const MAX_CERTIFICATE_POLICIES = 64;

const SIGNATURE: SignatureAlgorithm = { type: "rsa-pss", hash: "sha256", saltLength: 32 };
/** Microsoft's form of an extended key usage, and the purpose "health of a host" in it. */
const APPLICATION_POLICIES = "1.3.6.1.4.1.311.21.10";
const HOST_HEALTH = "1.3.6.1.4.1.311.48.1.2";

/** Evidence of a VBS enclave with its endorsements. */
export interface VbsEvidence {
  /** As `EnclaveGetAttestationReport` writes it. */
  readonly report: Bytes;
  /** Of the Secure Kernel's key, DER; absent: nobody vouches for the report. */
  readonly healthCertificate?: Bytes;
  /** What leads from it to a root, DER. */
  readonly intermediates?: readonly Bytes[];
}

/** What the report of a VBS enclave claims. */
export interface VsmClaims extends Omit<VbsIdentity, "uniqueId"> {
  readonly tee: "vsm";
  readonly format: "vbs-hgs";
  /** The unique id of the enclave's image, in lower-case hex: 32 bytes. */
  readonly measurement: string;
  /** The machine: SHA-256 of its Secure Kernel's key, in lower-case hex; absent without a health certificate. */
  readonly machine?: string;
  /** What the enclave bound, in lower-case hex: 64 bytes. */
  readonly reportData: string;
  readonly modules: readonly VbsModule[];
  /** Who certified the Secure Kernel's key, and for how long; absent without a health certificate. */
  readonly health?: {
    readonly subject: string;
    readonly issuer: string;
    readonly notBeforeMs: number;
    readonly notAfterMs: number;
  };
}

/** What a report of a VBS enclave is verified with. */
export interface VbsAnchors {
  /** Pinned by governance, DER: roots of host guardian services, or health certificates themselves. */
  readonly roots: readonly Bytes[];
  readonly nowMs: number;
}

/** Verifies the report of a VBS enclave; throws `MalformedInput` when it cannot be read. */
export function verifyVbs(
  evidence: VbsEvidence,
  anchors: VbsAnchors,
  crypto: AttestationCrypto,
): Verification<VsmClaims> {
  const report = parseVbsReport(evidence.report);
  const checks = new Checks();
  const health = readHealth(checks, evidence.healthCertificate);
  if (health !== undefined) {
    checkHealth(checks, health, evidence, { ...anchors, crypto });
    checkSignature(checks, health, report, crypto);
  }
  const { uniqueId, ...identity } = report.identity;
  const claims: VsmClaims = {
    tee: "vsm",
    format: "vbs-hgs",
    measurement: uniqueId,
    reportData: toHex(report.enclaveData),
    ...identity,
    modules: report.modules,
    ...(health && { machine: toHex(crypto.digest("sha256", health.publicKey)), health: healthClaims(health) }),
  };
  return { claims, checks: checks.list };
}

function readHealth(checks: Checks, der: Bytes | undefined): Certificate | undefined {
  const health = der && tryParseCertificate(der);
  if (der === undefined) checks.require("health certificate", false, "CertificateMissing", "there is none");
  else if (health === undefined) checks.require("health certificate", false, "Malformed", "it can't be read");
  return health;
}

function healthClaims({ subject, issuer, notBeforeMs, notAfterMs }: Certificate) {
  return { subject: subject.text, issuer: issuer.text, notBeforeMs, notAfterMs };
}

function checkSignature(
  checks: Checks,
  { publicKey, keyType }: Certificate,
  { signedStatement, signature }: VbsReport,
  crypto: AttestationCrypto,
): void {
  const isRsa = isStrongKey(keyType) && fitsKey(SIGNATURE, keyType);
  checks.require("key of the Secure Kernel", isRsa, "AlgorithmNotAllowed", "not an RSA key of 2048 bits or more");
  if (isRsa) {
    const isSigned = crypto.verify(SIGNATURE, publicKey, signedStatement, signature);
    checks.require("signature of the report", isSigned, "SignatureInvalid", "not by the health certificate's key");
  } else checks.skip("signature of the report", "no key that counts");
}

function checkHealth(
  checks: Checks,
  health: Certificate,
  { intermediates = [] }: VbsEvidence,
  { roots, nowMs, crypto }: VbsAnchors & { readonly crypto: AttestationCrypto },
): void {
  const isCurrent = nowMs >= health.notBeforeMs && nowMs <= health.notAfterMs;
  const validity = `valid from ${shownTime(health.notBeforeMs)} to ${shownTime(health.notAfterMs)}`;
  checks.require("validity of the health certificate", isCurrent, "CertificateExpired", validity);
  const purposes = purposesOf(health);
  const isForHealth = purposes.length > 0 && purposes.every((each) => each.includes(HOST_HEALTH));
  const missing = `the health of a host (${HOST_HEALTH}) is not among its purposes`;
  checks.require("purpose of the health certificate", isForHealth, "ChainInvalid", missing);
  const isFew = intermediates.length <= MAX_HEALTH_INTERMEDIATES;
  const verdict = isFew
    ? validatePath({
        leaf: health,
        intermediates: intermediates.flatMap((der) => tryParseCertificate(der) ?? []),
        anchors: roots.flatMap((der) => tryParseCertificate(der) ?? []),
        revocations: [],
        nowMs,
        verify: crypto.verify,
        purpose: "any",
      })
    : ({ problem: "PathTooLong", certificate: health } as const);
  requirePath(checks, verdict);
}

function requirePath(checks: Checks, verdict: AcceptedPath | RefusedPath): void {
  const name = "path to a pinned root";
  if ("problem" in verdict) {
    const { problem, certificate } = verdict;
    checks.require(name, false, PATH_REASONS[problem], `${problem}: ${certificate.subject.text}`);
  } else checks.require(name, true, "RootNotTrusted", "");
}

const PATH_REASONS: Readonly<Record<PathProblem, ReasonCode>> = {
  Expired: "CertificateExpired",
  NotYetValid: "CertificateExpired",
  UnknownIssuer: "RootNotTrusted",
  BadSignature: "ChainInvalid",
  NotACa: "ChainInvalid",
  PathTooLong: "ChainInvalid",
  KeyUsage: "ChainInvalid",
  NameConstraint: "ChainInvalid",
  UnsupportedCriticalExtension: "ChainInvalid",
  Revoked: "CertificateRevoked",
  RevocationExpired: "RevocationMissing",
  WeakKey: "AlgorithmNotAllowed",
};

/** Purposes stand in Microsoft's extension, in the common one, or in both; each must then have the one asked for. */
function purposesOf({ extensions, keyPurposes }: Certificate): readonly (readonly string[])[] {
  const policies = extensions.find(({ identifier }) => identifier === APPLICATION_POLICIES);
  return [
    ...(policies === undefined ? [] : [readOrNothing(() => readDer(policies.value, readPolicies)) ?? []]),
    ...(keyPurposes ? [keyPurposes] : []),
  ];
}

function readPolicies(reader: DerReader): readonly string[] {
  return reader.sequence((sequence) =>
    sequence.list(MAX_CERTIFICATE_POLICIES, (list) =>
      list.sequence((policy) => {
        const identifier = policy.objectIdentifier();
        while (!policy.atEnd) policy.any();
        return identifier;
      }),
    ),
  );
}

function shownTime(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
