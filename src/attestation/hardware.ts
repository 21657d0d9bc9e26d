/**
 * Evidence of hardware in the form it has in the ledger and on channels: the envelope, its verification, and its appraisal by an
 * entry of the TEE manifest. Each kind of TEE has its verifier in a folder of its own; this is where they are plugged in.
 *
 * Roots are an argument: production hands in pinned-roots.ts and nothing else, tests hand in roots of their own.
 */
import { encodeCbor } from "../core/codec/cbor.ts";
import { fromHex, toHex, utf8Decode, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { treeToCbor, type FieldReader } from "../core/governance/fields.ts";
import type { HardwareTeeEntry } from "../core/governance/manifest-entries.ts";
import { STRICT_SNP_POLICY } from "../core/governance/policy-snp.ts";
import type { AttestationCrypto, Check } from "./checks.ts";
import { appraiseDcap } from "./dcap/appraise.ts";
import type { DcapClaims } from "./dcap/claims.ts";
import { verifyDcap } from "./dcap/verify.ts";
import {
  evidenceRejected,
  MAX_EVIDENCE_BYTES,
  type HardwareClaims,
  type HardwareVerification,
  type MeasuredValues,
} from "./evidence.ts";
import { ENDORSEMENT_KINDS, endorsementOf, type HardwareEvidence } from "./hardware-evidence.ts";
import { appraiseSnpEvidence, verifySnpEvidence } from "./snp/evidence.ts";
import { requireReportData } from "./tpm/evidence.ts";
import { verifyMaa } from "./maa/verify.ts";
import { isVbsReport, judgeVsmEvidence, malformedAsRejected } from "./vsm/evidence.ts";
import { verifyVbs } from "./vsm/verify.ts";

/** Most endorsements that evidence carries. */
export const MAX_ENDORSEMENTS = 16;

/** The envelope of evidence of hardware. */
export function encodeHardwareEvidence({ tee, evidence, endorsements }: HardwareEvidence): Bytes {
  const carried = endorsements.map(({ kind, content }) => ({ kind, content }));
  return encodeCbor(treeToCbor({ tee, evidence, endorsements: carried }));
}

/** Reads the fields of an envelope after `tee`. */
export function readHardwareEvidence(fields: FieldReader, tee: HardwareTeeEntry["tee"]): HardwareEvidence {
  return {
    tee,
    evidence: fields.bytes("evidence", { max: MAX_EVIDENCE_BYTES }),
    endorsements: fields.list("endorsements", MAX_ENDORSEMENTS, (endorsement) => ({
      kind: endorsement.choice("kind", ENDORSEMENT_KINDS),
      content: endorsement.bytes("content", { max: MAX_EVIDENCE_BYTES }),
    })),
  };
}

/**
 * The claims of genuine evidence, at a time of the ledger's clock; throws `EvidenceRejected` with the first reason against it.
 * Evidence of VSM is genuine by roots that a policy pins, so of it only form and binding are judged here; like all
 * that a policy says, the rest is judged by {@link HardwareClaims.judge}.
 */
export function verifyHardware(
  evidence: HardwareEvidence,
  verification: HardwareVerification,
  nowMs: number,
): HardwareClaims {
  return malformedAsRejected(() => {
    switch (evidence.tee) {
      case "snp":
        return snpClaims(evidence, verification, nowMs);
      case "sgx":
      case "tdx":
        return dcapClaims(evidence, verification, nowMs);
      case "vsm":
        return vsmClaims(evidence, verification, nowMs);
      case "virtual":
        throw evidenceRejected("UnknownTee", "the virtual TEE is no hardware");
    }
  });
}

/** What speaks against evidence of a kind of TEE when judged by the policy for another. */
const OTHER_TEE: readonly Check[] = [
  {
    name: "TEE",
    outcome: "failed",
    code: "ProductNotAllowed",
    detail: "the entry is for another TEE, or another form of its evidence",
  },
];

function requireGenuine(checks: readonly Check[]): void {
  const failed = checks.find((check) => check.outcome === "failed");
  if (failed?.outcome !== "failed") return;
  throw evidenceRejected(failed.code, `${failed.name}: ${failed.detail}`);
}

function snpClaims(evidence: HardwareEvidence, { crypto, roots }: HardwareVerification, nowMs: number): HardwareClaims {
  const options = { roots: roots.amd, nowMs };
  requireReportData(evidence);
  // Whatever a policy may say of genuine reports is left to the policies of the manifest.
  const lax = { ...STRICT_SNP_POLICY, allow: ["v2", "vlek", "debug", "migration", "vmpl1", "vmpl2", "vmpl3"] } as const;
  const verification = verifySnpEvidence(evidence, options, crypto);
  requireGenuine(appraiseSnpEvidence(verification, lax, true));
  const { claims } = verification;
  return {
    tee: "snp",
    measurement: claims.measurement,
    reportData: fromHex(claims.reportData),
    platform: claims.chipId,
    tcb: `${claims.product ?? "unknown"} ${claims.reportedTcb}`,
    measured: { tee: "snp", hostData: claims.hostData },
    ...(claims.tpm && { pcrs: claims.tpm.pcrs }),
    judge: (entry) => (entry.tee === "snp" ? appraiseSnpEvidence(verification, entry.policy) : OTHER_TEE),
  };
}

function dcapClaims(
  evidence: HardwareEvidence,
  { crypto, roots }: HardwareVerification,
  nowMs: number,
): HardwareClaims {
  const collateral = endorsementOf(evidence, "collateral");
  if (collateral === undefined) throw evidenceRejected("Malformed", "evidence of DCAP: there is no collateral");
  const parts = { quote: evidence.evidence, collateral };
  const { claims, checks } = verifyDcap(parts, { roots: roots.intel, nowMs }, crypto);
  if (claims.tee !== evidence.tee) throw evidenceRejected("Malformed", `the quote is of ${claims.tee}`);
  requireGenuine(checks);
  return {
    tee: claims.tee,
    measurement: claims.measurement,
    reportData: fromHex(claims.reportData),
    platform: claims.ppid ?? "00",
    ...(claims.tcbStatus !== undefined && { tcb: `${claims.tcbStatus} of ${claims.tcbDate ?? "an unknown date"}` }),
    measured: dcapValues(claims),
    judge: (entry) =>
      (entry.tee === "sgx" || entry.tee === "tdx") && entry.tee === claims.tee
        ? appraiseDcap(claims, entry.policy)
        : OTHER_TEE,
  };
}

function dcapValues(claims: DcapClaims): MeasuredValues {
  if (claims.tee === "tdx") return { tee: "tdx", registers: claims.registers };
  const { signer, productId, version } = claims;
  return { tee: "sgx", signer, productId, version };
}

/** What a report of an enclave says of itself, or a token of what it is about; whether it is so a policy's roots must show. */
function vsmIdentity(evidence: HardwareEvidence, crypto: AttestationCrypto, nowMs: number) {
  const health = evidence.endorsements.find(({ kind }) => kind === "health-certificate");
  const claims =
    health === undefined
      ? verifyMaa({ token: utf8Decode(evidence.evidence) }, { nowMs, keys: [] }, crypto).claims
      : verifyVbs({ report: evidence.evidence, healthCertificate: health.content }, { nowMs, roots: [] }, crypto)
          .claims;
  const { measurement, reportData } = claims;
  // A token's image id is no measurement that the code manifest could approve: any author may give it to an enclave.
  const isImageOnly = "subject" in claims && claims.subject?.type === "vbs";
  if (measurement === undefined || reportData === undefined || isImageOnly)
    throw evidenceRejected("Malformed", "VSM evidence: names no measurement, or binds nothing");
  // Tokens name no machine: their platform is who vouches for it.
  const voucher = (issuer = "", keyId = "") => toHex(crypto.digest("sha256", utf8Encode(`${issuer} ${keyId}`)));
  const platform = claims.format === "vbs-hgs" ? claims.machine : voucher(claims.issuer, claims.keyId);
  if (platform === undefined) throw evidenceRejected("Malformed", "VSM evidence: its health certificate can't be read");
  return { measurement, reportData: fromHex(reportData), platform };
}

function vsmClaims(evidence: HardwareEvidence, { crypto }: HardwareVerification, nowMs: number): HardwareClaims {
  const format = isVbsReport(evidence) ? "vbs-hgs" : "maa-jwt";
  return {
    tee: "vsm",
    ...vsmIdentity(evidence, crypto, nowMs),
    measured: { tee: "vsm" },
    judge: (entry) =>
      entry.tee === "vsm" && entry.policy.format === format
        ? judgeVsmEvidence(evidence, entry.policy, { nowMs }, crypto).checks
        : OTHER_TEE,
  };
}
