/** SNP evidence as it travels, judged as a whole: report, certificates, utility VM endorsement and host policy, by a policy. */
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import type { SnpPolicy } from "../../core/governance/policy-snp.ts";
import { type AttestationCrypto, type Check, Checks, type Verification } from "../checks.ts";
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

/** What evidence is verified with. */
export interface SnpEvidenceOptions extends SnpOptions {
  /** What a quote must bind that comes without the data whose digest that is; absent: it is not judged. */
  readonly nonce?: Bytes;
}

/** What evidence is judged with, besides its policy. */
export interface SnpJudgement extends SnpEvidenceOptions {
  /** See {@link appraiseSnpEvidence}. */
  readonly anyRegisters?: boolean;
}

/** Evidence whose signatures, digests and forms were judged: what is left is for a policy to say, and costs next to nothing. */
export interface SnpVerification {
  readonly claims: SnpEvidenceClaims;
  /** The report, its certificates, and what a TPM says of it. */
  readonly report: readonly Check[];
  /** The endorsement of the utility VM; undefined when none came. */
  readonly uvm: readonly Check[] | undefined;
  readonly hostPolicy: readonly Check[];
}

/**
 * Verifies evidence. Throws `EvidenceRejected` with the reason `Malformed` when the report, or what a TPM holds of it, cannot be
 * read, or when an endorsement stands there twice; an endorsement that cannot be read is a check that fails.
 */
export function verifySnpEvidence(
  evidence: HardwareEvidence,
  options: SnpEvidenceOptions,
  crypto: AttestationCrypto,
): SnpVerification {
  const checks = new Checks();
  const tpm = verifyTpmPart(evidence, options.nonce, crypto);
  if (tpm !== undefined) checks.add(tpm.checks);
  const parts = {
    report: tpm?.snpReport ?? evidence.evidence,
    certificates: certificatesOf(checks, evidence),
    revocations: endorsementsOf(evidence, "revocations"),
  };
  const { claims, checks: verified } = verifySnp(parts, options, crypto);
  checks.add(verified);
  const endorsement = endorsementOf(evidence, "uvm-endorsements");
  const uvm = endorsement === undefined ? undefined : verifyUvmPart(endorsement, claims, crypto);
  const bound = tpm?.reportData === undefined ? {} : { reportData: toHex(tpm.reportData) };
  return {
    claims: { ...claims, ...bound, ...(uvm?.claims && { uvm: uvm.claims }), ...(tpm && { tpm: tpm.claims }) },
    report: checks.list,
    uvm: uvm?.checks,
    hostPolicy: checkHostPolicy(endorsementOf(evidence, "host-policy"), claims, crypto),
  };
}

/**
 * All checks of verified evidence by a policy.
 * @param anyRegisters whether registers of a TPM may hold anything where the policy names none: for those who only ask what is
 * genuine
 */
export function appraiseSnpEvidence(
  { claims, report, uvm, hostPolicy }: SnpVerification,
  policy: SnpPolicy,
  anyRegisters = false,
): readonly Check[] {
  const checks = new Checks();
  checks.add(report);
  checks.add(appraiseSnp(claims, policy));
  checks.add(appraiseRegisters(claims.tpm?.pcrs, policy.pcrs, anyRegisters));
  if (uvm !== undefined) checks.add(uvm);
  appraiseUvmPart(checks, { came: uvm !== undefined, claims: claims.uvm }, policy);
  checks.add(hostPolicy);
  return checks.list;
}

/** {@link verifySnpEvidence} and {@link appraiseSnpEvidence} by one policy. */
export function judgeSnpEvidence(
  evidence: HardwareEvidence,
  policy: SnpPolicy,
  judgement: SnpJudgement,
  crypto: AttestationCrypto,
): Verification<SnpEvidenceClaims> {
  const verification = verifySnpEvidence(evidence, judgement, crypto);
  return { claims: verification.claims, checks: appraiseSnpEvidence(verification, policy, judgement.anyRegisters) };
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

function verifyUvmPart(
  endorsement: Bytes,
  { measurement }: SnpClaims,
  crypto: AttestationCrypto,
): { readonly claims?: UvmClaims; readonly checks: readonly Check[] } {
  const checks = new Checks();
  const verification = checks.readable("utility VM", () => verifyUvm(endorsement, crypto));
  if (verification === undefined) return { checks: checks.list };
  const { claims, checks: verified } = verification;
  checks.add(verified);
  const isOfGuest = claims.measurement === measurement;
  checks.require("utility VM's measurement", isOfGuest, "MeasurementMismatch", `endorsed: ${claims.measurement}`);
  return { claims, checks: checks.list };
}

/** What a policy says of an endorsement that came and could be read, or that did not come. */
function appraiseUvmPart(
  checks: Checks,
  { came, claims }: { readonly came: boolean; readonly claims: UvmClaims | undefined },
  { uvm: issuers }: SnpPolicy,
): void {
  if (claims !== undefined && issuers.length === 0)
    checks.skip("utility VM's issuer", "the policy names none: only the measurement counts");
  else if (claims !== undefined) checks.add(appraiseUvm(claims, issuers));
  else if (!came && issuers.length === 0)
    checks.skip("utility VM", "the policy asks for no endorsement, and there is none");
  else if (!came) checks.require("utility VM", false, "UvmEndorsementInvalid", "there is no endorsement");
}

/** A host policy that comes along is the one of the report: what it says may then be read from it. */
function checkHostPolicy(
  hostPolicy: Bytes | undefined,
  { hostData }: SnpClaims,
  crypto: AttestationCrypto,
): readonly Check[] {
  const checks = new Checks();
  if (hostPolicy === undefined) checks.skip("host policy", "it did not come with the evidence");
  else {
    const digest = toHex(crypto.digest("sha256", hostPolicy));
    checks.require("host policy", digest === hostData, "HostDataMismatch", `its SHA-256 is ${digest}`);
  }
  return checks.list;
}
