/**
 * Appraisal policies of VSM, a part of the TEE manifest: which evidence of Windows' virtual secure mode a network accepts.
 *
 * `vbs-hgs`: reports of VBS enclaves under pinned roots of host guardian services. `maa-jwt`: tokens of a pinned instance of
 * Microsoft Azure Attestation, by pinned keys, under a pinned policy. Both forms are read strictly; in the JSON form what has a
 * default, the strict choice, may be left out. Lists of ids that are empty limit nothing.
 */
import { MAX_RSA_BITS, MIN_RSA_BITS } from "../certificates/algorithm.ts";
import { type Bytes, fromHex } from "../codec/bytes.ts";
import { MAX_CERTIFICATE_BYTES } from "./certificate-limits.ts";
import { type FieldReader, type FieldRecord, PemField } from "./fields.ts";

/** Most pinned roots of host guardian services. */
export const MAX_HGS_ROOTS = 16;
/** Most ids of one kind in a policy. */
export const MAX_ENCLAVE_IDS = 64;
/** Most pinned keys of one issuer of tokens. */
export const MAX_TOKEN_KEYS = 32;
/** Longest id of a key that signs tokens, in UTF-16 units. */
export const MAX_TOKEN_KEY_ID_LENGTH = 256;
/** Longest name of an issuer of tokens, in UTF-16 units. */
export const MAX_ISSUER_LENGTH = 256;
/** Largest public key that signs tokens, SubjectPublicKeyInfo DER, in bytes. */
export const MAX_TOKEN_KEY_BYTES = 2048;

/** Largest certificate of a key that signs tokens, DER, in bytes: it may carry evidence of the issuer's own TEE. */
export const MAX_TOKEN_CERTIFICATE_BYTES = 64 * 1024;

/** Kinds of TEE that tokens of Azure Attestation are about. */
export const TOKEN_TEES = ["sevsnpvm", "azurevm", "sgx", "vbs"] as const;
/** A kind of TEE that a token is about. */
export type TokenTee = (typeof TOKEN_TEES)[number];

/** Which enclaves count, besides the code manifest's measurements. Ids are lower-case hex; an empty list limits nothing. */
export interface EnclavePolicy {
  /** Of who signed the enclave, 32 bytes. */
  readonly authorIds: readonly string[];
  /** 16 bytes. */
  readonly familyIds: readonly string[];
  /** 16 bytes. */
  readonly imageIds: readonly string[];
  readonly minimumEnclaveSvn: number;
  readonly minimumPlatformSvn: number;
  /** Whether enclaves and machines whose memory may be looked at count: for tests only. */
  readonly allowDebug: boolean;
}

/** Policy for reports of VBS enclaves under a host guardian service. */
export interface VbsHgsPolicy extends EnclavePolicy {
  readonly format: "vbs-hgs";
  /** Roots of host guardian services, or health certificates themselves, DER. */
  readonly roots: readonly Bytes[];
  /** Of exact images, 32 bytes. */
  readonly uniqueIds: readonly string[];
  readonly minimumSecureKernelSvn: number;
  /** Whether a node may run on a machine that another node runs on (shared-machine.ts). */
  readonly allowSharedMachine: boolean;
}

/** The strict policy for reports of VBS enclaves: nobody is trusted until it names a root. */
export const STRICT_VBS_POLICY: VbsHgsPolicy = {
  format: "vbs-hgs",
  roots: [],
  uniqueIds: [],
  authorIds: [],
  familyIds: [],
  imageIds: [],
  minimumEnclaveSvn: 0,
  minimumSecureKernelSvn: 0,
  minimumPlatformSvn: 0,
  allowDebug: false,
  allowSharedMachine: false,
};

/** A pinned key of an issuer of tokens: bare (SubjectPublicKeyInfo DER), or in a certificate (DER). */
export type PinnedTokenKey =
  | { readonly keyId: string; readonly publicKey: Bytes }
  | { readonly keyId: string; readonly certificate: Bytes };

/** Policy for tokens of Microsoft Azure Attestation. */
export interface MaaJwtPolicy extends EnclavePolicy {
  readonly format: "maa-jwt";
  /** The instance, as `iss` names it. */
  readonly issuer: string;
  readonly keys: readonly PinnedTokenKey[];
  /** SHA-256 that `x-ms-policy-hash` names, in lower-case hex. */
  readonly policyHash: string;
  /** Host data of guests that count, 32 bytes in lower-case hex: the containers, where the measurement is a utility VM's. */
  readonly hostData: readonly string[];
  readonly attestationTypes: readonly TokenTee[];
  readonly minimumKeyBits: number;
}

/** An appraisal policy of VSM. */
export type VsmPolicy = VbsHgsPolicy | MaaJwtPolicy;

const ID_BYTES = 32;
const SHORT_ID_BYTES = 16;
const HASH_BYTES = 32;
const SVN = { min: 0, max: 0xffff_ffff };
const ISSUER = /^https:\/\/[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::[0-9]{1,5})?$/;

/** In JSON what is left out has its default; CBOR, which is signed, has everything written. */
function orDefault<T>(fields: FieldReader, name: string, strict: T, read: () => T): T {
  return fields.context.form === "json" && !fields.has(name) ? strict : read();
}

function readIds(fields: FieldReader, name: string, length: number): readonly string[] {
  return orDefault(fields, name, [], () => fields.hexes(name, { length, count: MAX_ENCLAVE_IDS }));
}

function readEnclave(fields: FieldReader): EnclavePolicy {
  const svn = (name: string): number => orDefault(fields, name, 0, () => fields.integer(name, SVN));
  return {
    authorIds: readIds(fields, "authorIds", ID_BYTES),
    familyIds: readIds(fields, "familyIds", SHORT_ID_BYTES),
    imageIds: readIds(fields, "imageIds", SHORT_ID_BYTES),
    minimumEnclaveSvn: svn("minimumEnclaveSvn"),
    minimumPlatformSvn: svn("minimumPlatformSvn"),
    allowDebug: orDefault(fields, "allowDebug", false, () => fields.flag("allowDebug")),
  };
}

function readVbsHgs(fields: FieldReader): VbsHgsPolicy {
  const roots = fields.ders("roots", "CERTIFICATE", { count: MAX_HGS_ROOTS, max: MAX_CERTIFICATE_BYTES });
  if (roots.length === 0) throw fields.invalid("roots", "names no root: nothing would be accepted");
  const svn = "minimumSecureKernelSvn";
  const shared = "allowSharedMachine";
  return {
    format: "vbs-hgs",
    roots,
    uniqueIds: readIds(fields, "uniqueIds", ID_BYTES),
    ...readEnclave(fields),
    minimumSecureKernelSvn: orDefault(fields, svn, 0, () => fields.integer(svn, SVN)),
    allowSharedMachine: orDefault(fields, shared, false, () => fields.flag(shared)),
  };
}

function readPinnedKey(fields: FieldReader): PinnedTokenKey {
  const keyId = fields.text("keyId", { max: MAX_TOKEN_KEY_ID_LENGTH });
  return fields.has("certificate")
    ? { keyId, certificate: fields.certificate("certificate", MAX_TOKEN_CERTIFICATE_BYTES) }
    : { keyId, publicKey: fields.bytes("publicKey", { max: MAX_TOKEN_KEY_BYTES }) };
}

function readMaaJwt(fields: FieldReader): MaaJwtPolicy {
  const issuer = fields.text("issuer", { max: MAX_ISSUER_LENGTH, pattern: ISSUER });
  const keys = fields.list("keys", MAX_TOKEN_KEYS, readPinnedKey);
  if (keys.length === 0 || new Set(keys.map(({ keyId }) => keyId)).size !== keys.length)
    throw fields.invalid("keys", "names no key, or two keys with one id");
  const attestationTypes = fields.choices("attestationTypes", TOKEN_TEES);
  if (attestationTypes.length === 0) throw fields.invalid("attestationTypes", "names none: nothing would be accepted");
  const bits = { min: MIN_RSA_BITS, max: MAX_RSA_BITS };
  return {
    format: "maa-jwt",
    issuer,
    keys,
    policyHash: fields.hex("policyHash", HASH_BYTES),
    hostData: readIds(fields, "hostData", HASH_BYTES),
    attestationTypes,
    minimumKeyBits: orDefault(fields, "minimumKeyBits", MIN_RSA_BITS, () => fields.integer("minimumKeyBits", bits)),
    ...readEnclave(fields),
  };
}

/** Reads a policy, field by field; the caller ends the record. */
export function readVsmPolicy(fields: FieldReader): VsmPolicy {
  const format = fields.choice("format", ["vbs-hgs", "maa-jwt"]);
  return format === "vbs-hgs" ? readVbsHgs(fields) : readMaaJwt(fields);
}

function enclaveTree(policy: EnclavePolicy): FieldRecord {
  return {
    authorIds: policy.authorIds.map(fromHex),
    familyIds: policy.familyIds.map(fromHex),
    imageIds: policy.imageIds.map(fromHex),
    minimumEnclaveSvn: policy.minimumEnclaveSvn,
    minimumPlatformSvn: policy.minimumPlatformSvn,
    allowDebug: policy.allowDebug,
  };
}

const pemField = (der: Bytes): PemField => new PemField(der, "CERTIFICATE");

/** The record that {@link readVsmPolicy} reads. */
export function vsmPolicyTree(policy: VsmPolicy): FieldRecord {
  if (policy.format === "vbs-hgs") {
    const { format, roots, uniqueIds, minimumSecureKernelSvn, allowSharedMachine } = policy;
    const ids = { format, roots: roots.map(pemField), uniqueIds: uniqueIds.map(fromHex) };
    return { ...ids, ...enclaveTree(policy), minimumSecureKernelSvn, allowSharedMachine };
  }
  const { format, issuer, keys, policyHash, hostData, attestationTypes, minimumKeyBits } = policy;
  return {
    format,
    issuer,
    keys: keys.map((key) =>
      "certificate" in key
        ? { keyId: key.keyId, certificate: pemField(key.certificate) }
        : { keyId: key.keyId, publicKey: key.publicKey },
    ),
    policyHash: fromHex(policyHash),
    hostData: hostData.map(fromHex),
    attestationTypes: [...attestationTypes],
    minimumKeyBits,
    ...enclaveTree(policy),
  };
}
