/**
 * Verification of evidence of any supported TEE: genuine, and made for exactly the report data the verifier expects.
 * Fails closed: whatever is not understood is `EvidenceRejected`, with a machine-readable `reason` in its data.
 */
import { bytesEqual, type Bytes } from "../core/codec/bytes.ts";
import { readDocument, type FieldContext } from "../core/governance/fields.ts";
import type { EvidenceClaims, EvidenceProblem } from "../core/governance/governance-crypto.ts";
import { CocoError } from "../errors.ts";
import { TEE_NAMES } from "../core/governance/manifest-entries.ts";
import { evidenceRejected, MAX_EVIDENCE_BYTES, platformOf, type Claims, type EvidenceCrypto } from "./evidence.ts";
import { readHardwareEvidence, verifyHardware } from "./hardware.ts";
import { decodeEvidenceCbor, readVirtualEvidence } from "./virtual.ts";

const CONTEXT: FieldContext = { form: "cbor", code: "EvidenceRejected", data: { reason: "Malformed" } };

/**
 * The claims of evidence that is genuine at a time of the ledger's clock and bound to `expectedReportData` (64 bytes); throws
 * `EvidenceRejected`. Without expected data the caller compares those of the claims itself.
 */
export function verifyEvidence(
  evidence: Bytes,
  expectedReportData: Bytes | undefined,
  crypto: EvidenceCrypto,
  nowMs: number,
): Claims {
  if (evidence.length > MAX_EVIDENCE_BYTES) throw evidenceRejected("Malformed", "evidence is too large");
  const claims = readDocument(decodeEvidenceCbor(evidence), CONTEXT, (fields) => {
    const named = fields.value("tee");
    const tee = TEE_NAMES.find((name) => name === named);
    if (tee === "virtual") return readVirtualEvidence(fields, crypto);
    if (tee === undefined || crypto.hardware === undefined)
      throw evidenceRejected("UnknownTee", "evidence of a TEE this version does not know");
    return verifyHardware(readHardwareEvidence(fields, tee), crypto.hardware, nowMs);
  });
  if (expectedReportData !== undefined && !bytesEqual(claims.reportData, expectedReportData)) {
    throw evidenceRejected("ReportDataMismatch", "evidence was made for another channel");
  }
  return claims;
}

/** As {@link verifyEvidence}, for governance: what is wrong with evidence is an answer, not an exception. */
export function claimsOfEvidence(
  evidence: Bytes,
  expectedReportData: Bytes,
  crypto: EvidenceCrypto,
  nowMs: number,
): Claims | EvidenceProblem {
  try {
    return verifyEvidence(evidence, expectedReportData, crypto, nowMs);
  } catch (error) {
    if (error instanceof CocoError && error.code === "EvidenceRejected")
      return { problem: String(error.data["reason"]) };
    throw error;
  }
}

/** What claims say as far as all TEEs say it. */
export function commonClaims(claims: Claims | EvidenceProblem): EvidenceClaims | EvidenceProblem {
  if ("problem" in claims) return claims;
  const tcb = claims.tee === "virtual" ? undefined : claims.tcb;
  const common = { tee: claims.tee, measurement: claims.measurement, platform: platformOf(claims) };
  return { ...common, ...(tcb !== undefined && { tcb }) };
}
