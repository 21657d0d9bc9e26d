/** Appraisal of what a token of Microsoft Azure Attestation claims, against the policy of the TEE manifest (verify.ts is apart). */
import { toHex } from "../../core/codec/bytes.ts";
import type { MaaJwtPolicy } from "../../core/governance/policy-vsm.ts";
import { type Check, Checks } from "../checks.ts";
import { type Expected, requireExpected } from "../bound-data.ts";
import { type EnclaveIds, requireEnclave } from "../vsm/appraise.ts";
import { type GuestTokenClaims, MACHINE_FLAGS, type TeeTokenClaims, type VbsTokenClaims } from "./claims.ts";
import { pinnedKeys } from "./keys.ts";
import type { MaaClaims } from "./verify.ts";

const COMPLIANT = "azure-compliant-cvm";

/** Judges the claims of a token. */
export function appraiseMaa(claims: MaaClaims, policy: MaaJwtPolicy, expected: Expected = {}): readonly Check[] {
  const checks = new Checks();
  checks.require("issuer", claims.issuer === policy.issuer, "IssuerNotTrusted", claims.issuer ?? "there is none");
  requireKey(checks, claims, policy);
  const { policyHash, attestationType, subject } = claims;
  checks.require("policy", policyHash === policy.policyHash, "TokenPolicyMismatch", policyHash ?? "there is none");
  const isListed = policy.attestationTypes.some((type) => type === attestationType);
  checks.require("kind of TEE", isListed, "TokenPolicyMismatch", `type ${attestationType ?? "none"}`);
  if (subject === undefined) return checks.list;
  requireNoDebugging(checks, claims, subject, policy);
  if (subject.type === "sevsnpvm") {
    requireGuest(checks, subject, claims.machine !== undefined);
    requireHostData(checks, claims, policy);
  }
  if (subject.type === "vbs") requireMachine(checks, subject, policy);
  requireEnclave(checks, idsOf(subject), policy);
  requireExpected(checks, boundOf(claims), expectedOf(subject, expected));
  return checks.list;
}

function requireKey(checks: Checks, { key, keyId }: MaaClaims, policy: MaaJwtPolicy): void {
  const isPinned = pinnedKeys(policy.keys).some((pinned) => toHex(pinned.publicKey) === key?.publicKey);
  checks.require("pinned key", isPinned, "IssuerNotTrusted", `the policy does not name the key ${keyId ?? "(none)"}`);
  if (key === undefined) checks.skip("minimum length of the key", "no key signed the token");
  else {
    const isLong = key.bits >= policy.minimumKeyBits;
    checks.require("minimum length of the key", isLong, "AlgorithmNotAllowed", `${key.bits} bits`);
  }
}

function requireNoDebugging(checks: Checks, claims: MaaClaims, subject: TeeTokenClaims, policy: MaaJwtPolicy): void {
  const isDebuggable = subject.type === "vbs" ? subject.flags !== 0 : subject.isDebuggable;
  checks.require(
    "debugging",
    !isDebuggable || policy.allowDebug,
    "DebugEnabled",
    `the ${subject.type} may be debugged`,
  );
  if (claims.machine === undefined) return;
  const { debugging } = claims.machine;
  const isOff = debugging.length === 0 || policy.allowDebug;
  checks.require("debugging of the machine", isOff, "DebugEnabled", debugging.join(", "));
}

/** The measurement of a container group is that of its utility VM: which containers run in it, the host data say alone. */
function requireHostData(checks: Checks, { hostData = "none" }: MaaClaims, policy: MaaJwtPolicy): void {
  if (policy.hostData.length === 0) checks.skip("host data", "the policy names none: any containers count");
  else checks.require("host data", policy.hostData.includes(hostData), "HostDataMismatch", hostData);
}

function requireGuest(checks: Checks, guest: GuestTokenClaims, isAzureVm: boolean): void {
  checks.require(
    "migration",
    !guest.isMigrationAllowed,
    "MigrationEnabled",
    "the guest may be moved to another machine",
  );
  checks.require("privilege level", guest.vmpl === 0, "PrivilegeLevel", `VMPL ${guest.vmpl}`);
  if (!isAzureVm) return;
  const found = guest.compliance ?? "none";
  checks.require("compliance", found === COMPLIANT, "FeatureRequired", `x-ms-compliance-status ${found}`);
}

/** A token names no unique image of a VBS enclave, so the policy must say whose enclave it is, and which one. */
function requireMachine(checks: Checks, { machine }: VbsTokenClaims, policy: MaaJwtPolicy): void {
  const off = MACHINE_FLAGS.filter((name) => !machine[name]);
  checks.require("security of the machine", off.length === 0, "FeatureRequired", off.join(", "));
  const isNamed = policy.authorIds.length > 0 && policy.imageIds.length > 0;
  checks.require("named enclave", isNamed, "IdentityMismatch", "the policy names no author and image");
}

function idsOf(subject: TeeTokenClaims): EnclaveIds {
  const { enclaveSvn } = subject;
  if (subject.type === "sgx") return { authorId: subject.authorId, enclaveSvn };
  if (subject.type === "sevsnpvm") return { familyId: subject.familyId, imageId: subject.imageId, enclaveSvn };
  const { authorId, familyId, imageId, platformSvn } = subject;
  return { authorId, familyId, imageId, enclaveSvn, platformSvn };
}

/** In a machine of Azure the host's firmware holds the guest's report data; the guest itself binds by the nonce. */
function boundOf({ machine, measurement, reportData }: MaaClaims) {
  const bound = machine === undefined ? reportData : machine.nonce;
  return { ...(measurement !== undefined && { measurement }), ...(bound !== undefined && { reportData: bound }) };
}

/** A VBS enclave in a token is known by author, image and version, not by a measurement. */
function expectedOf(subject: TeeTokenClaims, expected: Expected): Expected {
  if (subject.type !== "vbs") return expected;
  const { measurements: _, ...others } = expected;
  return others;
}
