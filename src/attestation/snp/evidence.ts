/** SNP evidence as it travels, judged as a whole: report, certificates, utility VM endorsement and host policy, by a policy. */
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import type { SnpPolicy } from "../../core/governance/policy-snp.ts";
import { type AttestationCrypto, Checks, type Verification } from "../checks.ts";
import { evidenceRejected } from "../evidence.ts";
import type { EndorsementKind, HardwareEvidence } from "../hardware-evidence.ts";
import { appraiseUvm } from "../uvm/appraise.ts";
import { type UvmClaims, verifyUvm } from "../uvm/verify.ts";
import { appraiseSnp } from "./appraise.ts";
import { readCertificates } from "./certificates.ts";
import type { SnpClaims } from "./claims.ts";
import { type SnpOptions, verifySnp } from "./verify.ts";

/** Claims of SNP evidence, with those of the endorsement of its utility VM when it carries one. */
export interface SnpEvidenceClaims extends SnpClaims {
  readonly uvm?: UvmClaims;
}

/** Verifies and appraises evidence. Throws `EvidenceRejected` with the reason `Malformed` when a part cannot be read. */
export function judgeSnpEvidence(
  evidence: HardwareEvidence,
  policy: SnpPolicy,
  options: SnpOptions,
  crypto: AttestationCrypto,
): Verification<SnpEvidenceClaims> {
  const all = (kind: EndorsementKind): readonly Bytes[] =>
    evidence.endorsements.filter((endorsement) => endorsement.kind === kind).map(({ content }) => content);
  const one = (kind: EndorsementKind): Bytes | undefined => {
    const [first, ...more] = all(kind);
    if (more.length > 0) throw evidenceRejected("Malformed", `SNP evidence: several endorsements of kind ${kind}`);
    return first;
  };
  const parts = {
    report: evidence.evidence,
    certificates: all("certificates").flatMap(readCertificates),
    revocations: all("revocations"),
  };
  const { claims, checks: verified } = verifySnp(parts, options, crypto);
  const checks = new Checks();
  checks.add(verified);
  checks.add(appraiseSnp(claims, policy));
  const endorsement = one("uvm-endorsements");
  const uvm = judgeUvm(checks, { endorsement, claims, policy }, crypto);
  checkHostPolicy(checks, one("host-policy"), claims, crypto);
  return { claims: { ...claims, ...(uvm && { uvm }) }, checks: checks.list };
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
  const { claims: uvm, checks: verified } = verifyUvm(endorsement, crypto);
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
