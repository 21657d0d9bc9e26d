/** SNP evidence as it travels, judged as a whole: report, certificates, utility VM endorsement and host policy, by a policy. */
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import type { SnpPolicy } from "../../core/governance/policy-snp.ts";
import { type AttestationCrypto, Checks, type Verification } from "../checks.ts";
import { endorsementOf, endorsementsOf, type HardwareEvidence } from "../hardware-evidence.ts";
import { appraiseRegisters } from "../tpm/appraise.ts";
import { type TpmClaims, verifyTpmPart } from "../tpm/evidence.ts";
import { appraiseUvm } from "../uvm/appraise.ts";
import { type UvmClaims, verifyUvm } from "../uvm/verify.ts";
import { appraiseSnp } from "./appraise.ts";
import { readCertificates } from "./certificates.ts";
import type { SnpClaims } from "./claims.ts";
import { MAX_SNP_CERTIFICATES, type SnpOptions, verifySnp } from "./verify.ts";

/** Claims of SNP evidence, with those of the endorsement of its utility VM when it carries one. */
export interface SnpEvidenceClaims extends SnpClaims {
  readonly uvm?: UvmClaims;
  /** Of evidence through a virtual TPM: what the quote says. Its report data are then those that the quote binds. */
  readonly tpm?: TpmClaims;
}

/** What evidence is judged with, besides its policy. */
export interface SnpJudgement extends SnpOptions {
  /** What a quote must bind that comes without the data whose digest that is; absent: it is not judged. */
  readonly nonce?: Bytes;
  /** Whether registers of a TPM may hold anything where the policy names none: for those who only ask what is genuine. */
  readonly anyRegisters?: boolean;
}

/**
 * Verifies and appraises evidence. Throws `EvidenceRejected` with the reason `Malformed` when the report, or what a TPM holds of it,
 * cannot be read, or when an endorsement stands there twice; an endorsement that cannot be read is a check that fails.
 */
export function judgeSnpEvidence(
  evidence: HardwareEvidence,
  policy: SnpPolicy,
  judgement: SnpJudgement,
  crypto: AttestationCrypto,
): Verification<SnpEvidenceClaims> {
  const checks = new Checks();
  const tpm = verifyTpmPart(evidence, judgement.nonce, crypto);
  if (tpm !== undefined) checks.add(tpm.checks);
  const parts = {
    report: tpm?.snpReport ?? evidence.evidence,
    certificates: certificatesOf(checks, evidence),
    revocations: endorsementsOf(evidence, "revocations"),
  };
  const { claims, checks: verified } = verifySnp(parts, judgement, crypto);
  checks.add(verified);
  checks.add(appraiseSnp(claims, policy));
  checks.add(appraiseRegisters(tpm?.claims.pcrs, policy.pcrs, judgement.anyRegisters));
  const endorsement = endorsementOf(evidence, "uvm-endorsements");
  const uvm = judgeUvm(checks, { endorsement, claims, policy }, crypto);
  checkHostPolicy(checks, endorsementOf(evidence, "host-policy"), claims, crypto);
  const bound = tpm?.reportData === undefined ? {} : { reportData: toHex(tpm.reportData) };
  return { claims: { ...claims, ...bound, ...(uvm && { uvm }), ...(tpm && { tpm: tpm.claims }) }, checks: checks.list };
}

/** Too many of them count for none: each costs signatures. */
function certificatesOf(checks: Checks, evidence: HardwareEvidence): readonly Bytes[] {
  const certificates = endorsementsOf(evidence, "certificates").flatMap(
    (container) => checks.readable("certificates", () => readCertificates(container)) ?? [],
  );
  if (certificates.length <= MAX_SNP_CERTIFICATES) return certificates;
  const detail = `${certificates.length}, at most ${MAX_SNP_CERTIFICATES} are looked at`;
  checks.require("number of certificates", false, "Malformed", detail);
  return [];
}

interface UvmQuestion {
  readonly endorsement: Bytes | undefined;
  readonly claims: SnpClaims;
  readonly policy: SnpPolicy;
}

function judgeUvm(
  checks: Checks,
  { endorsement, claims, policy }: UvmQuestion,
  crypto: AttestationCrypto,
): UvmClaims | undefined {
  if (endorsement === undefined) {
    if (policy.uvm.length === 0) checks.skip("utility VM", "the policy asks for no endorsement, and there is none");
    else checks.require("utility VM", false, "UvmEndorsementInvalid", "there is no endorsement");
    return undefined;
  }
  const verification = checks.readable("utility VM", () => verifyUvm(endorsement, crypto));
  if (verification === undefined) return undefined;
  const { claims: uvm, checks: verified } = verification;
  checks.add(verified);
  const isOfGuest = uvm.measurement === claims.measurement;
  checks.require("utility VM's measurement", isOfGuest, "MeasurementMismatch", `endorsed: ${uvm.measurement}`);
  if (policy.uvm.length === 0) checks.skip("utility VM's issuer", "the policy names none: only the measurement counts");
  else checks.add(appraiseUvm(uvm, policy.uvm));
  return uvm;
}

/** A host policy that comes along is the one of the report: what it says may then be read from it. */
function checkHostPolicy(
  checks: Checks,
  hostPolicy: Bytes | undefined,
  { hostData }: SnpClaims,
  crypto: AttestationCrypto,
): void {
  if (hostPolicy === undefined) checks.skip("host policy", "it did not come with the evidence");
  else {
    const digest = toHex(crypto.digest("sha256", hostPolicy));
    checks.require("host policy", digest === hostData, "HostDataMismatch", `its SHA-256 is ${digest}`);
  }
}
