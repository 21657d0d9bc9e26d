/**
 * What a network accepts of AMD SEV-SNP: an appraisal policy, a part of the TEE manifest and of policy files.
 *
 * The strict policy is the default: privilege level 0 of a guest that nobody may debug or move, attested by a report of
 * version 3 or later, signed by the chip's own key. `allow` opens it by name, the rest narrows it; a list that is empty
 * says nothing. Both forms are read strictly; in the JSON form a field that is left out has its strict value.
 */
import { fromHex } from "../codec/bytes.ts";
import { fieldInvalid, type FieldReader, type FieldRecord } from "./fields.ts";

/** Most entries of each list of a policy for SNP. */
export const MAX_SNP_POLICY_ENTRIES = 64;
/** Longest decentralized identifier (DID) in a policy, in UTF-16 units. */
export const MAX_DID_LENGTH = 1024;
/** Longest name of a feed in a policy, in UTF-16 units. */
export const MAX_FEED_LENGTH = 256;

/**
 * Highest register of a TPM that a policy may name: those behind it can be reset while the machine runs, so that what they hold
 * says nothing of what was started.
 */
export const MAX_POLICY_REGISTER = 15;

/** Generations of chips that make reports. */
export const SNP_PRODUCTS = ["Milan", "Genoa", "Turin"] as const;
/** A generation of chips; Genoa includes Bergamo and Siena. */
export type SnpProduct = (typeof SNP_PRODUCTS)[number];

/** What the strict policy refuses and a policy can allow. */
export const SNP_ALLOWANCES = [
  /** Reports of version 2: their firmware has known faults (AMD-SB-3019), and they do not name the chip's model. */
  "v2",
  /** Reports signed by a key that a cloud provider loaded into its chips. */
  "vlek",
  /** Guests whose memory the host may read. */
  "debug",
  /** Guests that a migration agent may move. */
  "migration",
  /** Reports asked for at privilege level 1, 2 or 3: below whatever runs at level 0 inside the guest. */
  "vmpl1",
  "vmpl2",
  "vmpl3",
  /** Nodes on a chip that another node runs on (shared-machine.ts). */
  "shared-machine",
] as const;
/** Something a policy can allow. */
export type SnpAllowance = (typeof SNP_ALLOWANCES)[number];

/** What the strict policy leaves open and a policy can require. */
export const SNP_REQUIREMENTS = [
  /** The firmware checked that no two addresses mean one cell of memory (BadRAM, AMD-SB-3015). */
  "alias-check",
  /** One thread per core. */
  "no-smt",
  /** The guest runs on one socket. */
  "single-socket",
  /** No memory behind CXL. */
  "no-cxl",
  "ecc",
  "tsme",
  /** Memory encrypted by AES-256 XTS. */
  "aes-256-xts",
  /** No measurement of power from outside. */
  "no-rapl",
  /** The host cannot read ciphertext. */
  "ciphertext-hiding",
  "no-page-swap",
  /** A current list of revoked certificates by AMD came with the evidence. */
  "revocation-list",
  /** The host data are not empty, and not those of a container policy that allows everything. */
  "host-policy",
] as const;
/** Something a policy can require. */
export type SnpRequirement = (typeof SNP_REQUIREMENTS)[number];

/** The lowest TCB that counts on one model of chip. */
export interface SnpMinimumTcb {
  /** CPUID function 1, EAX: 8 hex digits, such as `00a00f11`. */
  readonly cpuid: string;
  /** As a number of 64 bits: 16 hex digits, microcode first, such as `d315000000000004`. */
  readonly tcb: string;
}

/** An approved issuer of utility VM endorsements. */
export interface UvmPolicy {
  /** `did:x509:…` */
  readonly did: string;
  readonly feed: string;
  /** Lowest security version, compared as a number. */
  readonly minSvn: number;
}

/** Values of a TPM's registers (PCRs of the SHA-256 bank) by their number, in lower-case hex. */
export type PcrValues = Readonly<Record<number, string>>;

/** An appraisal policy for SNP. Digests and ids are lower-case hex. */
export interface SnpPolicy {
  /** Empty: every product with a pinned root. */
  readonly products: readonly SnpProduct[];
  /** Empty: no minimum; otherwise a model that is not listed is refused. */
  readonly minimumTcb: readonly SnpMinimumTcb[];
  readonly allow: readonly SnpAllowance[];
  readonly require: readonly SnpRequirement[];
  /** Digests of keys that sign guests' identity blocks, 48 bytes. */
  readonly idKeyDigests: readonly string[];
  /** Digests of keys that certify those, 48 bytes. */
  readonly authorKeyDigests: readonly string[];
  /** 16 bytes. */
  readonly familyId?: string;
  /** 16 bytes. */
  readonly imageId?: string;
  /** 32 bytes each: for containers, SHA-256 of the policy that names them. */
  readonly hostData: readonly string[];
  /** Empty: no endorsement of a utility VM is asked for. */
  readonly uvm: readonly UvmPolicy[];
  /**
   * What registers of the machine's virtual TPM must hold, at least one. With it only evidence counts that carries a quote of all
   * of them; without it none that comes through a virtual TPM, whose report measures the firmware alone.
   */
  readonly pcrs?: PcrValues;
}

/** The strict policy. */
export const STRICT_SNP_POLICY: SnpPolicy = {
  products: [],
  minimumTcb: [],
  allow: [],
  require: [],
  idKeyDigests: [],
  authorKeyDigests: [],
  hostData: [],
  uvm: [],
};

const CPUID_BYTES = 4;
const TCB_BYTES = 8;
const KEY_DIGEST_BYTES = 48;
const ID_BYTES = 16;
const HOST_DATA_BYTES = 32;
const REGISTER_BYTES = 32;
const SVN_BOUNDS = { min: 0, max: 0xffff_ffff };

/** In JSON a list that is left out is empty; CBOR, which is signed, has everything written. */
function listOf<T>(fields: FieldReader, name: string, read: () => readonly T[]): readonly T[] {
  return fields.context.form === "json" && !fields.has(name) ? [] : read();
}

/** Records that `keyOf` tells apart: two of one key would leave open which of them counts. */
function recordsOf<T>(
  fields: FieldReader,
  name: string,
  read: (record: FieldReader) => T,
  keyOf: (record: T) => string,
): readonly T[] {
  const records = listOf(fields, name, () => fields.list(name, MAX_SNP_POLICY_ENTRIES, read));
  if (new Set(records.map(keyOf)).size !== records.length) throw fields.invalid(name, "has two entries for one thing");
  return records;
}

function readMinimum(fields: FieldReader): SnpMinimumTcb {
  return { cpuid: fields.hex("cpuid", CPUID_BYTES), tcb: fields.hex("tcb", TCB_BYTES) };
}

function readUvm(fields: FieldReader): UvmPolicy {
  return {
    did: fields.text("did", { max: MAX_DID_LENGTH, pattern: /^did:x509:/ }),
    feed: fields.text("feed", { max: MAX_FEED_LENGTH }),
    minSvn: fields.integer("minSvn", SVN_BOUNDS),
  };
}

function readPcrs(fields: FieldReader): PcrValues {
  const names = fields.names();
  if (names.length === 0) throw fieldInvalid(fields.context, fields.path, "names no register");
  return Object.fromEntries(
    names.map((name) => {
      if (!/^(?:0|[1-9]\d?)$/.test(name) || Number(name) > MAX_POLICY_REGISTER)
        throw fields.invalid(name, `expected the number of a register, 0 to ${MAX_POLICY_REGISTER}`);
      return [name, fields.hex(name, REGISTER_BYTES)];
    }),
  );
}

/** Reads the fields of a policy. */
export function readSnpPolicy(fields: FieldReader): SnpPolicy {
  const hexes = (name: string, length: number) =>
    listOf(fields, name, () => fields.hexes(name, { length, count: MAX_SNP_POLICY_ENTRIES }));
  const chosen = <T extends string>(name: string, choices: readonly T[]) =>
    listOf(fields, name, () => fields.choices(name, choices));
  const minimumTcb = recordsOf(fields, "minimumTcb", readMinimum, ({ cpuid }) => cpuid);
  const uvm = recordsOf(fields, "uvm", readUvm, ({ did, feed }) => JSON.stringify([did, feed]));
  return {
    products: chosen("products", SNP_PRODUCTS),
    minimumTcb,
    allow: chosen("allow", SNP_ALLOWANCES),
    require: chosen("require", SNP_REQUIREMENTS),
    idKeyDigests: hexes("idKeyDigests", KEY_DIGEST_BYTES),
    authorKeyDigests: hexes("authorKeyDigests", KEY_DIGEST_BYTES),
    ...(fields.has("familyId") && { familyId: fields.hex("familyId", ID_BYTES) }),
    ...(fields.has("imageId") && { imageId: fields.hex("imageId", ID_BYTES) }),
    hostData: hexes("hostData", HOST_DATA_BYTES),
    uvm,
    ...(fields.has("pcrs") && { pcrs: fields.record("pcrs", readPcrs) }),
  };
}

/** The record that {@link readSnpPolicy} reads. */
export function snpPolicyTree(policy: SnpPolicy): FieldRecord {
  const { products, minimumTcb, allow, require, idKeyDigests, authorKeyDigests, familyId, imageId, hostData } = policy;
  return {
    products,
    minimumTcb: minimumTcb.map(({ cpuid, tcb }) => ({ cpuid: fromHex(cpuid), tcb: fromHex(tcb) })),
    allow,
    require,
    idKeyDigests: idKeyDigests.map(fromHex),
    authorKeyDigests: authorKeyDigests.map(fromHex),
    familyId: familyId === undefined ? undefined : fromHex(familyId),
    imageId: imageId === undefined ? undefined : fromHex(imageId),
    hostData: hostData.map(fromHex),
    uvm: policy.uvm.map(({ did, feed, minSvn }) => ({ did, feed, minSvn })),
    pcrs: policy.pcrs && Object.fromEntries(Object.entries(policy.pcrs).map(([at, value]) => [at, fromHex(value)])),
  };
}

/** A policy that also allows what these names of {@link SNP_ALLOWANCES} say; undefined when one is not known. */
export function allowingSnp(policy: SnpPolicy, names: readonly string[]): SnpPolicy | undefined {
  const allow = SNP_ALLOWANCES.filter((name) => names.includes(name) || policy.allow.includes(name));
  const isKnown = names.every((name) => SNP_ALLOWANCES.some((allowance) => allowance === name));
  return isKnown ? { ...policy, allow } : undefined;
}
