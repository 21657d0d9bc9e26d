/** Evidence of a confidential Azure machine as it travels: the TPM's part and the SNP report in it, judged as a whole by a policy. */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { SnpPolicy } from "../../core/governance/policy-snp.ts";
import type { AttestationCrypto, Verification } from "../checks.ts";
import { evidenceRejected } from "../evidence.ts";
import type { HardwareEvidence } from "../hardware-evidence.ts";
import { appraiseSnp } from "../snp/appraise.ts";
import { readCertificates } from "../snp/certificates.ts";
import type { SnpClaims } from "../snp/claims.ts";
import { type SnpOptions, verifySnp } from "../snp/verify.ts";
import { malformedAsRejected } from "../vsm/evidence.ts";
import { type AzureVtpmClaims, type AzureVtpmEvidence, verifyAzureVtpm, vtpmNonce } from "./azure-vtpm.ts";
import { decodeTpmQuote } from "./azure-vtpm-codec.ts";
import { isHclReport } from "./hcl-report.ts";

/** Claims of the SNP report, with those of the TPM. */
export interface AzureVtpmEvidenceClaims extends SnpClaims {
  readonly vtpm: Omit<AzureVtpmClaims, "snpReport" | "certificates">;
}

/** What a machine is judged with, besides its policy. */
export interface AzureVtpmJudgement extends SnpOptions {
  /** What the quote must bind: its nonce itself, or 64 bytes of report data whose digest the nonce is; absent: not judged. */
  readonly bound?: { readonly nonce: Bytes } | { readonly reportData: Bytes };
}

/** Whether SNP evidence is that of a confidential Azure machine: its report is inside of what the TPM holds. */
export function isAzureVtpmEvidence({ tee, evidence }: HardwareEvidence): boolean {
  return tee === "snp" && isHclReport(evidence);
}

/** The parts of evidence that travelled. Throws `EvidenceRejected` with the reason `Malformed`. */
export function azureVtpmEvidenceOf({ evidence, endorsements }: HardwareEvidence): AzureVtpmEvidence {
  return malformedAsRejected(() => {
    const [quote, ...others] = endorsements.filter(({ kind }) => kind === "tpm-quote");
    if (quote === undefined || others.length > 0)
      throw evidenceRejected("Malformed", "evidence of an Azure machine: expected one quote of its TPM");
    const certificates = endorsements.filter(({ kind }) => kind === "certificates");
    const revocations = endorsements.filter(({ kind }) => kind === "revocations").map(({ content }) => content);
    return {
      hclReport: evidence,
      quote: decodeTpmQuote(quote.content),
      certificates: certificates.flatMap(({ content }) => readCertificates(content)),
      ...(revocations.length > 0 && { revocations }),
    };
  });
}

/** Verifies and appraises evidence. Throws `EvidenceRejected` with the reason `Malformed` when a part cannot be read. */
export function judgeAzureVtpm(
  evidence: AzureVtpmEvidence,
  policy: SnpPolicy,
  judgement: AzureVtpmJudgement,
  crypto: AttestationCrypto,
): Verification<AzureVtpmEvidenceClaims> {
  return malformedAsRejected(() => {
    const { bound } = judgement;
    const { revocations = [] } = evidence;
    const nonce = bound && ("nonce" in bound ? bound.nonce : vtpmNonce(bound.reportData, crypto));
    const { claims: tpm, checks } = verifyAzureVtpm(evidence, nonce === undefined ? {} : { nonce }, crypto);
    const { snpReport, certificates, ...vtpm } = tpm;
    const { claims, checks: verified } = verifySnp({ report: snpReport, certificates, revocations }, judgement, crypto);
    return { claims: { ...claims, vtpm }, checks: [...checks, ...verified, ...appraiseSnp(claims, policy)] };
  });
}
