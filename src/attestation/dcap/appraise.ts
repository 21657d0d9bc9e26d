/**
 * Appraisal of DCAP claims: whether a policy accepts what a verified quote says. It judges claims whatever became of their
 * verification, so that a person sees all that speaks against them at once; both lists of checks must hold.
 */
import { fromHex, type Bytes } from "../../core/codec/bytes.ts";
import {
  DEFAULT_ENCLAVE_ATTRIBUTES,
  DEFAULT_EXTENDED_FEATURES,
  DEFAULT_GUEST_ATTRIBUTES,
  type DcapAllowance,
  type DcapPolicy,
} from "../../core/governance/policy-dcap.ts";
import { Checks, type Check } from "../checks.ts";
import type { DcapClaims, PlatformClaims, SgxClaims, TdxClaims } from "./claims.ts";

/** Bits of ATTRIBUTES of an enclave. */
const ENCLAVE = { initialised: 0, debug: 1, mode64: 2 } as const;
/** Bits of TDATTRIBUTES; the first eight are all of a guest that is debugged. */
const GUEST = { debugBits: 8, septVeDisable: 28, migratable: 29 } as const;
const ATTRIBUTE_BYTES = 8;

/** Checks claims against a policy. */
export function appraiseDcap(claims: DcapClaims, policy: DcapPolicy): readonly Check[] {
  const checks = new Checks();
  appraisePlatform(claims, policy, checks);
  if (claims.tee === "sgx") appraiseEnclave(claims, policy, checks);
  else appraiseGuest(claims, policy, checks);
  return checks.list;
}

function appraisePlatform(claims: PlatformClaims, policy: DcapPolicy, checks: Checks): void {
  const { tcbStatus, advisories, evaluationNumber, quotingEvaluationNumber } = claims;
  const { statuses = ["UpToDate"], minEvaluationNumber = 0 } = policy;
  // Nothing is known for good of a platform whose TCB is revoked: a policy that lists it changes nothing.
  const isAllowed = tcbStatus !== undefined && tcbStatus !== "Revoked" && statuses.includes(tcbStatus);
  checks.require("tcb status", isAllowed, "TcbStatusNotAllowed", tcbStatus ?? "unknown");
  const refused = advisories.filter((advisory) => policy.advisories?.includes(advisory) === false);
  checks.require("advisories", refused.length === 0, "AdvisoryNotAllowed", refused.join(", "));
  const number = Math.min(evaluationNumber ?? -1, quotingEvaluationNumber ?? -1);
  const isRecent = number >= minEvaluationNumber;
  checks.require("evaluation number", isRecent, "TcbTooOld", `${number}, at least ${minEvaluationNumber} is asked for`);
}

function bit(bytes: Bytes, number: number): boolean {
  return ((bytes[number >> 3] ?? 0) & (1 << (number & 7))) !== 0;
}

/** The numbers of the bits that are set, and in no mask. */
function bitsBeyond(bytes: Bytes, maskHex: string, more: readonly number[] = []): readonly number[] {
  const mask = fromHex(maskHex);
  return Array.from({ length: 8 * bytes.length }, (_, number) => number).filter(
    (number) => bit(bytes, number) && !bit(mask, number) && !more.includes(number),
  );
}

function requireNoMore(name: string, numbers: readonly number[], checks: Checks): void {
  checks.require(name, numbers.length === 0, "FeatureNotAllowed", `bits that are not allowed: ${numbers.join(", ")}`);
}

function allows(policy: DcapPolicy, allowance: DcapAllowance): boolean {
  return policy.allow?.includes(allowance) === true;
}

function appraiseEnclave(claims: SgxClaims, policy: DcapPolicy, checks: Checks): void {
  const attributes = fromHex(claims.attributes);
  const flags = attributes.subarray(0, ATTRIBUTE_BYTES);
  const { enclaveAttributes = DEFAULT_ENCLAVE_ATTRIBUTES, extendedFeatures = DEFAULT_EXTENDED_FEATURES } = policy;
  const isDebug = bit(flags, ENCLAVE.debug);
  checks.require("debug", !isDebug || allows(policy, "debug"), "DebugEnabled", "the enclave's DEBUG bit is set");
  const runs = bit(flags, ENCLAVE.initialised) && bit(flags, ENCLAVE.mode64);
  checks.require("attributes: required", runs, "FeatureRequired", "not an initialised enclave of 64 bits");
  requireNoMore("attributes", bitsBeyond(flags, enclaveAttributes, [ENCLAVE.debug]), checks);
  requireNoMore("extended features", bitsBeyond(attributes.subarray(ATTRIBUTE_BYTES), extendedFeatures), checks);
  const { enclaves } = policy;
  if (enclaves === undefined) {
    checks.skip("enclave", "the policy names none");
    return;
  }
  const isNamed = enclaves.some(
    ({ signer, productId, minVersion }) =>
      signer === claims.signer && productId === claims.productId && claims.version >= minVersion,
  );
  const found = `signer ${claims.signer}, product ${claims.productId}, version ${claims.version}`;
  checks.require("enclave", isNamed, "IdentityMismatch", found);
}

function appraiseGuest(claims: TdxClaims, policy: DcapPolicy, checks: Checks): void {
  const attributes = fromHex(claims.attributes);
  const { guestAttributes = DEFAULT_GUEST_ATTRIBUTES, extendedFeatures = DEFAULT_EXTENDED_FEATURES } = policy;
  const debugBits = Array.from({ length: GUEST.debugBits }, (_, number) => number);
  const isDebug = debugBits.some((number) => bit(attributes, number));
  checks.require("debug", !isDebug || allows(policy, "debug"), "DebugEnabled", "a bit for debugging is set");
  const isMigratable = bit(attributes, GUEST.migratable);
  const mayMigrate = !isMigratable || allows(policy, "migratable");
  checks.require("migration", mayMigrate, "MigrationEnabled", "the guest's MIGRATABLE bit is set");
  const hasService = claims.serviceGuest !== undefined && !/^0+$/.test(claims.serviceGuest);
  const mayBeServed = !hasService || allows(policy, "mrservicetd");
  checks.require("service guest", mayBeServed, "MigrationEnabled", `bound to the guest ${claims.serviceGuest ?? ""}`);
  const isFixed = bit(attributes, GUEST.septVeDisable) || allows(policy, "no-sept-ve-disable");
  checks.require("pages", isFixed, "FeatureRequired", "SEPT_VE_DISABLE is off: the host may take pages away unnoticed");
  const judged = [...debugBits, GUEST.migratable];
  requireNoMore("attributes", bitsBeyond(attributes, guestAttributes, judged), checks);
  requireNoMore("extended features", bitsBeyond(fromHex(claims.extendedFeatures), extendedFeatures), checks);
  const { moduleMeasurements } = policy;
  if (moduleMeasurements === undefined) {
    checks.skip("TDX module", "the policy names none");
    return;
  }
  const isNamed = moduleMeasurements.includes(claims.moduleMeasurement);
  checks.require("TDX module", isNamed, "MeasurementMismatch", `MRSEAM ${claims.moduleMeasurement}`);
}
