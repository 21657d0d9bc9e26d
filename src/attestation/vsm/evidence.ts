/** VSM evidence as it travels, verified and appraised as a whole by a policy of the TEE manifest, whose format says how it is read. */
import { utf8Decode } from "../../core/codec/bytes.ts";
import type { VsmPolicy } from "../../core/governance/policy-vsm.ts";
import { CocoError } from "../../errors.ts";
import type { Expected } from "../bound-data.ts";
import type { AttestationCrypto, Verification } from "../checks.ts";
import { evidenceRejected } from "../evidence.ts";
import { endorsementOf, endorsementsOf, type HardwareEvidence } from "../hardware-evidence.ts";
import { appraiseMaa } from "../maa/appraise.ts";
import { pinnedKeys } from "../maa/keys.ts";
import { type MaaClaims, verifyMaa } from "../maa/verify.ts";
import { appraiseVbs } from "./appraise.ts";
import { verifyVbs, type VsmClaims } from "./verify.ts";

/** With what evidence is judged, besides its policy. */
export interface VsmJudgement extends Expected {
  readonly nowMs: number;
}

/** Verifies and appraises evidence. Throws `EvidenceRejected` with the reason `Malformed` when a part cannot be read. */
export function judgeVsmEvidence(
  evidence: HardwareEvidence,
  policy: VsmPolicy,
  judgement: VsmJudgement,
  crypto: AttestationCrypto,
): Verification<VsmClaims | MaaClaims> {
  const { nowMs } = judgement;
  return malformedAsRejected(() => {
    if (policy.format === "vbs-hgs") {
      const { claims, checks } = verifyVbs(vbsEvidenceOf(evidence), { roots: policy.roots, nowMs }, crypto);
      return { claims, checks: [...checks, ...appraiseVbs(claims, policy, judgement)] };
    }
    const token = utf8Decode(evidence.evidence);
    const { claims, checks } = verifyMaa({ token }, { nowMs, keys: pinnedKeys(policy.keys) }, crypto);
    return { claims, checks: [...checks, ...appraiseMaa(claims, policy, judgement)] };
  });
}

/** Whether evidence is a report of an enclave, and no token. */
export function isVbsReport({ endorsements }: HardwareEvidence): boolean {
  return endorsements.some(({ kind }) => kind === "health-certificate");
}

function vbsEvidenceOf(evidence: HardwareEvidence) {
  const healthCertificate = endorsementOf(evidence, "health-certificate");
  if (healthCertificate === undefined)
    throw evidenceRejected("Malformed", "VSM evidence: there is no health certificate");
  return { report: evidence.evidence, healthCertificate, intermediates: endorsementsOf(evidence, "certificates") };
}

/** Reads and judges; what cannot be read is evidence that is rejected as malformed. */
export function malformedAsRejected<T>(judge: () => T): T {
  try {
    return judge();
  } catch (error) {
    const isUnreadable = error instanceof CocoError && ["MalformedInput", "LimitExceeded"].includes(error.code);
    throw isUnreadable ? evidenceRejected("Malformed", error.message, error) : error;
  }
}
