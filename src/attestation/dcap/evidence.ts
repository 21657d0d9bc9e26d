/** DCAP evidence as it travels, judged as a whole: quote and collateral, by a policy. */
import type { DcapPolicy } from "../../core/governance/policy-dcap.ts";
import { type AttestationCrypto, Checks, type Verification } from "../checks.ts";
import { evidenceRejected } from "../evidence.ts";
import type { HardwareEvidence } from "../hardware-evidence.ts";
import { appraiseDcap } from "./appraise.ts";
import type { DcapClaims } from "./claims.ts";
import { type DcapOptions, verifyDcap } from "./verify.ts";

/**
 * Verifies and appraises evidence. Throws `EvidenceRejected` for the reason `Malformed` when the quote cannot be read, is of
 * another TEE than the evidence says, or does not come with exactly one piece of collateral.
 */
export function judgeDcapEvidence(
  evidence: HardwareEvidence,
  policy: DcapPolicy,
  options: DcapOptions,
  crypto: AttestationCrypto,
): Verification<DcapClaims> {
  const collaterals = evidence.endorsements.filter(({ kind }) => kind === "collateral");
  const [collateral] = collaterals;
  if (collateral === undefined || collaterals.length > 1)
    throw evidenceRejected("Malformed", `a quote comes with one piece of collateral, not ${collaterals.length}`);
  const parts = { quote: evidence.evidence, collateral: collateral.content };
  const { claims, checks: verified } = verifyDcap(parts, options, crypto);
  if (claims.tee !== evidence.tee) throw evidenceRejected("Malformed", `a quote of ${claims.tee} for ${evidence.tee}`);
  const checks = new Checks();
  checks.add(verified);
  checks.add(appraiseDcap(claims, policy));
  return { claims, checks: checks.list };
}
