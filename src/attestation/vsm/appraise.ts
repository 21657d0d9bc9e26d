/** Appraisal of what a VBS enclave's report claims, against the policy of the TEE manifest; verification is apart (verify.ts). */
import type { EnclavePolicy, VbsHgsPolicy } from "../../core/governance/policy-vsm.ts";
import { type Check, Checks } from "../checks.ts";
import { type Expected, requireExpected } from "../bound-data.ts";
import type { VsmClaims } from "./verify.ts";

/** Real reports have 0 here although the platform's headers say 0x10. */
const ENCLAVE_TYPES: readonly number[] = [0, 0x10];

/** Ids and versions of an enclave, as far as its evidence names them. */
export interface EnclaveIds {
  readonly authorId?: string;
  readonly familyId?: string;
  readonly imageId?: string;
  readonly enclaveSvn?: number;
  readonly platformSvn?: number;
}

/** Judges the claims of a report of a VBS enclave. */
export function appraiseVbs(claims: VsmClaims, policy: VbsHgsPolicy, expected: Expected = {}): readonly Check[] {
  const checks = new Checks();
  const { flags, enclaveType, secureKernelSvn } = claims;
  checks.require("debugging", flags === 0 || policy.allowDebug, "DebugEnabled", `flags ${flags}`);
  const isVbs = ENCLAVE_TYPES.includes(enclaveType);
  checks.require("enclave type", isVbs, "ProductNotAllowed", `type ${enclaveType} is no VBS enclave`);
  requireId(checks, "unique id", claims.measurement, policy.uniqueIds);
  requireEnclave(checks, claims, policy);
  requireSvn(checks, "version of the Secure Kernel", secureKernelSvn, policy.minimumSecureKernelSvn);
  requireExpected(checks, claims, expected);
  return checks.list;
}

/** Judges ids and versions of an enclave; what the evidence does not name does not fit a policy that names it. */
export function requireEnclave(checks: Checks, claims: EnclaveIds, policy: EnclavePolicy): void {
  requireId(checks, "author id", claims.authorId, policy.authorIds);
  requireId(checks, "family id", claims.familyId, policy.familyIds);
  requireId(checks, "image id", claims.imageId, policy.imageIds);
  requireSvn(checks, "version of the enclave", claims.enclaveSvn, policy.minimumEnclaveSvn);
  requireSvn(checks, "version of the platform", claims.platformSvn, policy.minimumPlatformSvn);
}

function requireId(checks: Checks, name: string, found: string | undefined, accepted: readonly string[]): void {
  if (accepted.length === 0) checks.skip(name, "the policy names none");
  else
    checks.require(name, found !== undefined && accepted.includes(found), "IdentityMismatch", found ?? "there is none");
}

function requireSvn(checks: Checks, name: string, found: number | undefined, minimum: number): void {
  const isNew = found === undefined ? minimum === 0 : found >= minimum;
  checks.require(name, isNew, "TcbTooOld", `${found ?? "none"}, at least ${minimum} expected`);
}
