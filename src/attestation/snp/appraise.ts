/**
 * Appraisal of SNP claims: whether a policy accepts what verified evidence says. Depends on nothing but its arguments.
 * One check per rule, in this order; a rule that the policy does not have is skipped.
 */
import type { SnpAllowance, SnpPolicy, SnpRequirement } from "../../core/governance/policy-snp.ts";
import { fromHex } from "../../core/codec/bytes.ts";
import { type Check, Checks } from "../checks.ts";
import type { ReasonCode } from "../reasons.ts";
import type { SnpClaims } from "./claims.ts";
import { isTcbAtLeast } from "./product.ts";

const FIRST_SAFE_VERSION = 3;
const MAX_GUEST_PRIVILEGE_LEVEL = 3;
const NO_HOST_DATA = "00".repeat(32);
/** SHA-256 of the container policies that allow everything, as Azure's tools write them. */
const ALLOW_ALL_HOST_DATA: readonly string[] = [
  "4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10",
  "cadd74f71ebb8fbf9782baab649612520f3c416bc5ce9ac768808ddc8d9b031c",
];

/** Judges claims by a policy. */
export function appraiseSnp(claims: SnpClaims, policy: SnpPolicy): readonly Check[] {
  const checks = new Checks();
  checkKind(checks, claims, policy);
  checkGuest(checks, claims, policy);
  checkMinimumTcb(checks, claims, policy);
  for (const name of policy.require) checkRequirement(checks, name, claims);
  checkIdentity(checks, claims, policy);
  const { hostData } = policy;
  if (hostData.length === 0) checks.skip("host data", "the policy names none");
  else checks.require("host data", hostData.includes(claims.hostData), "HostDataMismatch", claims.hostData);
  return checks.list;
}

function checkKind(checks: Checks, claims: SnpClaims, policy: SnpPolicy): void {
  const { version, generation, signingKey } = claims;
  const isCurrent = version >= FIRST_SAFE_VERSION || policy.allow.includes("v2");
  checks.require("version", isCurrent, "VersionNotAllowed", `version ${version}`);
  const isKnown = generation !== undefined && (policy.products.length === 0 || policy.products.includes(generation));
  checks.require("allowed product", isKnown, "ProductNotAllowed", generation ?? "unknown");
  const isChipKey = signingKey === "vcek" || (signingKey === "vlek" && policy.allow.includes("vlek"));
  checks.require("allowed kind of key", isChipKey, "KeyKindNotAllowed", signingKey);
}

function checkGuest(checks: Checks, { guestPolicy, vmpl }: SnpClaims, { allow }: SnpPolicy): void {
  const { debug, migrationAgent } = guestPolicy;
  checks.require("debug", !debug || allow.includes("debug"), "DebugEnabled", "the host may read the guest's memory");
  const isFixed = !migrationAgent || allow.includes("migration");
  checks.require("migration", isFixed, "MigrationEnabled", "a migration agent may move the guest");
  // Reports for the host itself name a level that no guest has.
  const allowance = SNP_LEVELS.at(vmpl);
  const isAllowed = vmpl <= MAX_GUEST_PRIVILEGE_LEVEL && (vmpl === 0 || (allowance && allow.includes(allowance)));
  checks.require("privilege level", isAllowed === true, "PrivilegeLevel", `VMPL ${vmpl}`);
}

const SNP_LEVELS: readonly (SnpAllowance | undefined)[] = [undefined, "vmpl1", "vmpl2", "vmpl3"];

/** What is committed can't be taken back; what is reported is what the signing key is of. Both must be high enough. */
function checkMinimumTcb(checks: Checks, { cpuid, reportedTcb, committedTcb }: SnpClaims, policy: SnpPolicy): void {
  if (policy.minimumTcb.length === 0) {
    checks.skip("minimum TCB", "the policy names none");
    return;
  }
  const minimum = policy.minimumTcb.find((entry) => entry.cpuid === cpuid)?.tcb;
  const detail = minimum === undefined ? `no minimum for model ${cpuid ?? "unknown"}` : `minimum ${minimum}`;
  const isMet = (tcb: string): boolean => minimum !== undefined && isTcbAtLeast(fromHex(tcb), fromHex(minimum));
  checks.require("minimum of reported TCB", isMet(reportedTcb), "TcbTooOld", `reported ${reportedTcb}, ${detail}`);
  checks.require("minimum of committed TCB", isMet(committedTcb), "TcbTooOld", `committed ${committedTcb}, ${detail}`);
}

const REQUIREMENTS: Readonly<Record<SnpRequirement, readonly [ReasonCode, (claims: SnpClaims) => boolean]>> = {
  "alias-check": ["FeatureRequired", ({ platformInfo }) => platformInfo.aliasCheckComplete],
  "no-smt": ["FeatureNotAllowed", ({ platformInfo }) => !platformInfo.smt],
  "single-socket": ["FeatureRequired", ({ guestPolicy }) => guestPolicy.singleSocket],
  "no-cxl": ["FeatureNotAllowed", ({ guestPolicy }) => !guestPolicy.cxl],
  ecc: ["FeatureRequired", ({ platformInfo }) => platformInfo.ecc],
  tsme: ["FeatureRequired", ({ platformInfo }) => platformInfo.tsme],
  "aes-256-xts": ["FeatureRequired", ({ guestPolicy }) => guestPolicy.aes256Xts],
  "no-rapl": ["FeatureNotAllowed", ({ platformInfo }) => platformInfo.raplDisabled],
  "ciphertext-hiding": ["FeatureRequired", ({ platformInfo }) => platformInfo.ciphertextHiding],
  "no-page-swap": ["FeatureNotAllowed", ({ guestPolicy }) => guestPolicy.pageSwapDisabled],
  "revocation-list": ["RevocationMissing", ({ revocationChecked }) => revocationChecked],
  "host-policy": ["HostDataMismatch", ({ hostData }) => ![NO_HOST_DATA, ...ALLOW_ALL_HOST_DATA].includes(hostData)],
};

function checkRequirement(checks: Checks, name: SnpRequirement, claims: SnpClaims): void {
  const [code, holds] = REQUIREMENTS[name];
  checks.require(name, holds(claims), code, "the policy requires it");
}

/** Who signed the guest's identity, and what it calls itself. */
function checkIdentity(checks: Checks, claims: SnpClaims, policy: SnpPolicy): void {
  const { idKeyDigests, authorKeyDigests, familyId, imageId } = policy;
  const among = (name: string, digest: string, approved: readonly string[], isThere = true): void => {
    if (approved.length === 0) checks.skip(name, "the policy names none");
    else checks.require(name, isThere && approved.includes(digest), "IdentityMismatch", digest);
  };
  among("identity key", claims.idKeyDigest, idKeyDigests);
  among("author key", claims.authorKeyDigest, authorKeyDigests, claims.hasAuthorKey);
  among("family", claims.familyId, familyId === undefined ? [] : [familyId]);
  among("image", claims.imageId, imageId === undefined ? [] : [imageId]);
}
