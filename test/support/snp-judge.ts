/** Test support: judges reports of a test PKI by a policy, and tells the reasons against them. */
import { appraiseSnp } from "../../src/attestation/snp/appraise.ts";
import type { SnpRoots } from "../../src/attestation/snp/roots.ts";
import { type SnpEvidence, verifySnp } from "../../src/attestation/snp/verify.ts";
import { reasonsOf } from "../../src/attestation/checks.ts";
import { type SnpPolicy, STRICT_SNP_POLICY } from "../../src/core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../../src/enclave/manager/attestation-crypto.ts";
import { NOW_MS, type TestCertificate } from "./issue-certificates.ts";
import { makeSnpPki, type ReportFields } from "./snp-pki.ts";

const crypto = createAttestationCrypto();
/** The root, and what it issued, that judged reports are of unless they say otherwise. */
export const pki = makeSnpPki();
/** The certificate of its chip. */
export const vcek = pki.vek();
/** Whether an error says that evidence cannot be read. */
export const malformed = (error: unknown): boolean =>
  error instanceof Error && "data" in error && (error.data as { reason?: string }).reason === "Malformed";

/** In place of what a good report has. */
export interface Judged extends Partial<SnpEvidence> {
  readonly fields?: ReportFields;
  readonly chain?: readonly TestCertificate[];
  readonly policy?: Partial<SnpPolicy>;
  readonly roots?: SnpRoots;
  readonly nowMs?: number;
}

/** The reasons against a report that is good but for what is given. */
export function reasons(judged: Judged = {}): readonly string[] {
  const { fields, chain = [vcek, pki.ask, pki.ark], policy, roots = pki.roots, nowMs = NOW_MS } = judged;
  const report = judged.report ?? pki.report(fields);
  const evidence = { certificates: chain.map(({ der }) => der), ...judged, report };
  const { claims, checks } = verifySnp(evidence, { roots, nowMs }, crypto);
  return reasonsOf([...checks, ...appraiseSnp(claims, { ...STRICT_SNP_POLICY, ...policy })]);
}

/** The chain of another certificate of the chip. */
export const withVek = (vek: TestCertificate): readonly TestCertificate[] => [vek, pki.ask, pki.ark];
