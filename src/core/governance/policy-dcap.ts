/**
 * What a network accepts of Intel SGX and TDX: the appraisal policy of DCAP evidence, as plain data for the TEE manifest and
 * for policy files. Every field may be absent, and its absence is the strict choice: an empty policy accepts only a TCB
 * that is up to date, and nothing that can be looked into or moved.
 */
import { fromHex } from "../codec/bytes.ts";
import type { FieldReader, FieldRecord } from "./fields.ts";

/** What Intel says of a TCB, the best first. `Revoked` is there to be told: no policy can allow it. */
export const TCB_STATUSES = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "TDRelaunchAdvised",
  "TDRelaunchAdvisedConfigurationNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
] as const;
/** What Intel says of a TCB. */
export type TcbStatus = (typeof TCB_STATUSES)[number];

/** What a policy can allow that is refused otherwise. */
export const DCAP_ALLOWANCES = [
  /** Enclaves and guests whose owner of the host may look inside. */
  "debug",
  /** Guests that may be moved to another machine. */
  "migratable",
  /** Guests that a service guest is bound to (MRSERVICETD), such as one that moves them. */
  "mrservicetd",
  /** Guests in which the host may cause exceptions by taking pages away. */
  "no-sept-ve-disable",
  /** Nodes on a platform that another node runs on (shared-machine.ts). */
  "shared-machine",
] as const;
/** Something a policy can allow. */
export type DcapAllowance = (typeof DCAP_ALLOWANCES)[number];

/** Who signed an SGX enclave, which product it is, and its lowest version. */
export interface EnclaveIdentity {
  /** MRSIGNER, hex. */
  readonly signer: string;
  readonly productId: number;
  readonly minVersion: number;
}

/** What is accepted of DCAP evidence. */
export interface DcapPolicy {
  /** Absent: `UpToDate` only. */
  readonly statuses?: readonly TcbStatus[];
  /** Security advisories that may apply; absent: any, as far as `statuses` allows the TCB. */
  readonly advisories?: readonly string[];
  /** Lowest `tcbEvaluationDataNumber` of TCB info and enclave identity; absent: any. */
  readonly minEvaluationNumber?: number;
  readonly allow?: readonly DcapAllowance[];
  /** Bits of an enclave's ATTRIBUTES that may be set, 8 bytes as they stand in quotes, hex; absent: the default. */
  readonly enclaveAttributes?: string;
  /** Bits of TDATTRIBUTES that may be set, likewise. */
  readonly guestAttributes?: string;
  /** Bits of XFAM (of XFRM for enclaves) that may be set, likewise. */
  readonly extendedFeatures?: string;
  /** MRSEAM of the TDX modules that may be in use, hex; absent: whichever Intel's collateral knows. */
  readonly moduleMeasurements?: readonly string[];
  /** Whose enclaves are accepted; absent: the code manifest alone decides. */
  readonly enclaves?: readonly EnclaveIdentity[];
}

/** INIT, MODE64BIT, CET, KSS and AEX-Notify: neither DEBUG nor the keys of provisioning and launching. */
export const DEFAULT_ENCLAVE_ATTRIBUTES = "c504000000000000";
/** SEPT_VE_DISABLE, PKS, KL and PERFMON. */
export const DEFAULT_GUEST_ATTRIBUTES = "000000d000000080";
/** Every state component that TDX modules and processors with SGX know. */
export const DEFAULT_EXTENDED_FEATURES = "e7db0e0000000000";

/** Most entries of each list of a policy for DCAP. */
export const MAX_DCAP_POLICY_ENTRIES = 256;
/** Largest number of an evaluation of TCBs by Intel. */
export const MAX_EVALUATION_NUMBER = 1_000_000;

const MAX_U16 = 0xffff;
const ADVISORY = /^INTEL-SA-[0-9]{5}$/;
const ALLOWABLE_STATUSES = TCB_STATUSES.filter(isAllowableStatus);
const MODULES = { length: 48, count: MAX_DCAP_POLICY_ENTRIES };
const MASK_BYTES = 8;
const MRSIGNER_BYTES = 32;

/** Whether a text names a TCB status that a policy can allow. */
export function isAllowableStatus(text: string): text is TcbStatus {
  return text !== "Revoked" && TCB_STATUSES.some((status) => status === text);
}

/** Whether a text names something that a policy can allow. */
export function isDcapAllowance(text: string): text is DcapAllowance {
  return DCAP_ALLOWANCES.some((allowance) => allowance === text);
}

function readAdvisories(fields: FieldReader): readonly string[] {
  const advisories = fields.values("advisories", MAX_DCAP_POLICY_ENTRIES).map((value, at) => {
    if (typeof value === "string" && ADVISORY.test(value)) return value;
    throw fields.invalid(`advisories[${at}]`, "expected an advisory such as INTEL-SA-00615");
  });
  if (new Set(advisories).size !== advisories.length) throw fields.invalid("advisories", "has an item twice");
  return advisories;
}

function readEnclave(fields: FieldReader): EnclaveIdentity {
  return {
    signer: fields.hex("signer", MRSIGNER_BYTES),
    productId: fields.integer("productId", { min: 0, max: MAX_U16 }),
    minVersion: fields.integer("minVersion", { min: 0, max: MAX_U16 }),
  };
}

/** Reads the fields of a policy. */
export function readDcapPolicy(fields: FieldReader): DcapPolicy {
  const has = (name: string): boolean => fields.has(name);
  return {
    ...(has("statuses") && { statuses: fields.choices("statuses", ALLOWABLE_STATUSES) }),
    ...(has("advisories") && { advisories: readAdvisories(fields) }),
    ...(has("minEvaluationNumber") && {
      minEvaluationNumber: fields.integer("minEvaluationNumber", { min: 0, max: MAX_EVALUATION_NUMBER }),
    }),
    ...(has("allow") && { allow: fields.choices("allow", DCAP_ALLOWANCES) }),
    ...(has("enclaveAttributes") && { enclaveAttributes: fields.hex("enclaveAttributes", MASK_BYTES) }),
    ...(has("guestAttributes") && { guestAttributes: fields.hex("guestAttributes", MASK_BYTES) }),
    ...(has("extendedFeatures") && { extendedFeatures: fields.hex("extendedFeatures", MASK_BYTES) }),
    ...(has("moduleMeasurements") && { moduleMeasurements: fields.hexes("moduleMeasurements", MODULES) }),
    ...(has("enclaves") && { enclaves: fields.list("enclaves", MAX_DCAP_POLICY_ENTRIES, readEnclave) }),
  };
}

/** The tree form of a policy: what is absent is left out. */
export function dcapPolicyTree(policy: DcapPolicy): FieldRecord {
  const { enclaveAttributes, guestAttributes, extendedFeatures, moduleMeasurements, enclaves } = policy;
  const mask = (hex: string | undefined) => (hex === undefined ? undefined : fromHex(hex));
  return {
    statuses: policy.statuses,
    advisories: policy.advisories,
    minEvaluationNumber: policy.minEvaluationNumber,
    allow: policy.allow,
    enclaveAttributes: mask(enclaveAttributes),
    guestAttributes: mask(guestAttributes),
    extendedFeatures: mask(extendedFeatures),
    moduleMeasurements: moduleMeasurements?.map(fromHex),
    enclaves: enclaves?.map(({ signer, productId, minVersion }) => ({
      signer: fromHex(signer),
      productId,
      minVersion,
    })),
  };
}

/**
 * A policy that also allows what these names say: TCB statuses, and what {@link DCAP_ALLOWANCES} lists. Undefined when a name
 * is neither.
 */
export function allowingDcap(policy: DcapPolicy, names: readonly string[]): DcapPolicy | undefined {
  const statuses = names.filter(isAllowableStatus);
  const allow = names.filter(isDcapAllowance);
  if (statuses.length + allow.length !== names.length) return undefined;
  return {
    ...policy,
    statuses: [...new Set([...(policy.statuses ?? ["UpToDate" as const]), ...statuses])],
    allow: [...new Set([...(policy.allow ?? []), ...allow])],
  };
}
