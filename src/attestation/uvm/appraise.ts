/** Appraisal of utility VM endorsements: whether a policy names the issuer and feed, and the version is high enough. */
import type { UvmPolicy } from "../../core/governance/policy-snp.ts";
import { type Check, Checks } from "../checks.ts";
import type { UvmClaims } from "./verify.ts";

const MICROSOFT_ROOT = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s";

/** Who endorses the utility VMs of Azure's confidential containers: to be copied into policies, with a version that is recent. */
export const MICROSOFT_UVM_ISSUERS: readonly UvmPolicy[] = [
  { did: `${MICROSOFT_ROOT}::eku:1.3.6.1.4.1.311.76.59.1.2`, feed: "ContainerPlat-AMD-UVM", minSvn: 0 },
  { did: `${MICROSOFT_ROOT}::eku:1.3.6.1.4.1.311.76.59.1.5`, feed: "ConfAKS-AMD-UVM", minSvn: 0 },
];

/** Judges claims by the approved issuers; DIDs are compared as text. */
export function appraiseUvm({ issuer, feed, svn }: UvmClaims, approved: readonly UvmPolicy[]): readonly Check[] {
  const checks = new Checks();
  const entry = approved.find((candidate) => candidate.did === issuer && candidate.feed === feed);
  checks.require("utility VM's issuer", entry !== undefined, "UvmEndorsementNotAllowed", `${issuer} ${feed}`);
  if (entry !== undefined) {
    const detail = `version ${svn}, at least ${entry.minSvn} is required`;
    checks.require("utility VM's version", svn >= entry.minSvn, "UvmEndorsementNotAllowed", detail);
  }
  return checks.list;
}
