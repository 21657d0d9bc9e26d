/**
 * Evidence of a confidential Azure machine as it travels: what its virtual TPM holds, in which the SNP report is, with a quote and
 * the data that the quote binds as endorsements. The TPM's part is verified here, the report by snp/evidence.ts.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { AttestationCrypto, Check } from "../checks.ts";
import { evidenceRejected, REPORT_DATA_BYTES } from "../evidence.ts";
import { endorsementOf, type HardwareEvidence } from "../hardware-evidence.ts";
import { malformedAsRejected } from "../vsm/evidence.ts";
import { type AzureVtpmClaims, verifyAzureVtpm, vtpmNonce } from "./azure-vtpm.ts";
import { decodeTpmQuote } from "./azure-vtpm-codec.ts";
import { isHclReport } from "./hcl-report.ts";

/** What the TPM claims beside the SNP report. */
export type TpmClaims = Omit<AzureVtpmClaims, "tee" | "snpReport">;

/** The TPM's part of evidence, and the report in it, which is not verified yet. */
export interface TpmPart {
  readonly snpReport: Bytes;
  readonly claims: TpmClaims;
  readonly checks: readonly Check[];
  /** The 64 bytes whose digest the quote must bind, when they came along. */
  readonly reportData?: Bytes;
}

/** Whether SNP evidence is that of a confidential Azure machine: its report is inside of what the TPM holds. */
export function isAzureVtpmEvidence({ tee, evidence }: HardwareEvidence): boolean {
  return tee === "snp" && isHclReport(evidence);
}

/**
 * Verifies the TPM's part of SNP evidence that has one. Throws `EvidenceRejected` with the reason `Malformed`.
 * @param nonce what the quote must bind where the data do not come along; undefined: it is not judged
 */
export function verifyTpmPart(
  evidence: HardwareEvidence,
  nonce: Bytes | undefined,
  crypto: AttestationCrypto,
): TpmPart | undefined {
  if (!isAzureVtpmEvidence(evidence)) return undefined;
  return malformedAsRejected(() => {
    const quote = endorsementOf(evidence, "tpm-quote");
    if (quote === undefined) throw evidenceRejected("Malformed", "evidence of an Azure machine: no quote of its TPM");
    const reportData = endorsementOf(evidence, "report-data");
    if (reportData !== undefined && reportData.length !== REPORT_DATA_BYTES)
      throw evidenceRejected("Malformed", `report data of ${reportData.length} bytes`);
    const bound = reportData === undefined ? nonce : vtpmNonce(reportData, crypto);
    const parts = { hclReport: evidence.evidence, quote: decodeTpmQuote(quote) };
    const { claims: all, checks } = verifyAzureVtpm(parts, bound === undefined ? {} : { nonce: bound }, crypto);
    const { tee: _, snpReport, ...claims } = all;
    return { snpReport, claims, checks, ...(reportData !== undefined && { reportData }) };
  });
}

/** The data that evidence through a virtual TPM is made for, where others verify it. Throws `EvidenceRejected` with `Malformed`. */
export function requireReportData(evidence: HardwareEvidence): void {
  if (isAzureVtpmEvidence(evidence) && endorsementOf(evidence, "report-data") === undefined)
    throw evidenceRejected("Malformed", "evidence of an Azure machine: the data that its quote binds are not there");
}
