/** Reading and writing the entries of the code manifest and the TEE manifest; both forms strictly. */
import { bytesEqual, fromHex, toHex, type Bytes } from "../codec/bytes.ts";
import type { FieldReader, FieldRecord } from "./fields.ts";
import { TEE_NAMES, type CodeEntry, type InForce, type ReferenceValues, type TeeEntry } from "./manifest-entries.ts";
import { dcapPolicyTree, readDcapPolicy } from "./policy-dcap.ts";
import { readSnpPolicy, snpPolicyTree } from "./policy-snp.ts";
import { readVsmPolicy, vsmPolicyTree } from "./policy-vsm.ts";

/** Latest time an in-force date may name, in milliseconds since 1970: the last one a `Date` holds. */
export const MAX_DATE_MS = 8_640_000_000_000_000;
/** Bounds of a date of a manifest. */
export const DATE_BOUNDS = { min: 0, max: MAX_DATE_MS };
/** Length of a code measurement in bytes: of the virtual TEE, of SGX and VSM. */
export const MEASUREMENT_BYTES = 32;
/** Longest measurement of any TEE in bytes: of SNP and TDX. */
export const MAX_MEASUREMENT_BYTES = 48;
/** Longest name or version of code, in UTF-16 units. */
export const NAME_BOUNDS = { max: 128 };
/** Largest machine key in bytes, SubjectPublicKeyInfo DER. */
export const MAX_MACHINE_KEY_BYTES = 256;
/** What a P-256 key in the form SubjectPublicKeyInfo (RFC 5480) begins with, up to the mark of an uncompressed point. */
export const P256_KEY_HEAD = fromHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004");
/** Bytes of the point behind {@link P256_KEY_HEAD}. */
export const P256_POINT_BYTES = 64;
/** Registers of a TDX guest. */
export const TDX_REGISTERS = 4;

const NOTE_BOUNDS = { max: 256 };
const ENTRY_ID_BOUNDS = { max: 64, pattern: /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/ };
const U16 = { min: 0, max: 0xffff };

/** Reads a measurement of any TEE, lower-case hex. */
export function readMeasurement(
  fields: FieldReader,
  name: string,
  lengths: readonly number[] = [MEASUREMENT_BYTES],
): string {
  const value = fields.bytes(name, { max: MAX_MEASUREMENT_BYTES });
  if (lengths.includes(value.length)) return toHex(value);
  throw fields.invalid(name, `expected ${lengths.join(" or ")} bytes`);
}

/** Reads the dates of an entry of a manifest, each of which may be absent. */
export function readInForce(fields: FieldReader): InForce {
  return {
    ...(fields.has("inForceFrom") && { inForceFrom: fields.integer("inForceFrom", DATE_BOUNDS) }),
    ...(fields.has("inForceUntil") && { inForceUntil: fields.integer("inForceUntil", DATE_BOUNDS) }),
  };
}

/** Reads reference values. */
export function readReference(fields: FieldReader): ReferenceValues {
  const tee = fields.choice("tee", ["snp", "sgx", "tdx", "vsm"]);
  switch (tee) {
    case "snp":
      return { tee, ...(fields.has("hostData") && { hostData: fields.hex("hostData", 32) }) };
    case "sgx":
      return {
        tee,
        ...(fields.has("signer") && { signer: fields.hex("signer", 32) }),
        ...(fields.has("productId") && { productId: fields.integer("productId", U16) }),
        ...(fields.has("minVersion") && { minVersion: fields.integer("minVersion", U16) }),
      };
    case "tdx":
      return { tee, ...(fields.has("registers") && { registers: readRegisters(fields) }) };
    case "vsm":
      return { tee };
  }
}

function readRegisters(fields: FieldReader): readonly string[] {
  const registers = fields.list("registers", TDX_REGISTERS, (register) => register.hex("value", MAX_MEASUREMENT_BYTES));
  if (registers.length === TDX_REGISTERS) return registers;
  throw fields.invalid("registers", `expected all ${TDX_REGISTERS}`);
}

/** The tree form of reference values. */
export function referenceTree(reference: ReferenceValues): FieldRecord {
  const hex = (text: string | undefined) => (text === undefined ? undefined : fromHex(text));
  const { tee } = reference;
  switch (tee) {
    case "snp":
      return { tee, hostData: hex(reference.hostData) };
    case "sgx":
      return { tee, signer: hex(reference.signer), productId: reference.productId, minVersion: reference.minVersion };
    case "tdx":
      return { tee, registers: reference.registers?.map((value) => ({ value: fromHex(value) })) };
    case "vsm":
      return { tee };
  }
}

/** What identifies code. */
export type CodeIdentity = Pick<CodeEntry, "measurement" | "name" | "version" | "reference">;

/** Lengths of measurements by TEE; tokens of VSM are about guests and enclaves. */
const LENGTHS: Readonly<Record<ReferenceValues["tee"], readonly number[]>> = {
  snp: [MAX_MEASUREMENT_BYTES],
  tdx: [MAX_MEASUREMENT_BYTES],
  sgx: [MEASUREMENT_BYTES],
  vsm: [MEASUREMENT_BYTES, MAX_MEASUREMENT_BYTES],
};

/** Reads measurement and reference values: SNP and TDX measure 48 bytes, SGX, VBS and the virtual TEE 32. */
export function readMeasured(fields: FieldReader): Pick<CodeEntry, "measurement" | "reference"> {
  if (!fields.has("reference")) return { measurement: readMeasurement(fields, "measurement") };
  const reference = fields.record("reference", readReference);
  return { measurement: readMeasurement(fields, "measurement", LENGTHS[reference.tee]), reference };
}

/** Reads measurement, reference values, name and version of a code identity. */
export function readCodeIdentity(fields: FieldReader): CodeIdentity {
  return {
    ...readMeasured(fields),
    name: fields.text("name", NAME_BOUNDS),
    version: fields.text("version", NAME_BOUNDS),
  };
}

/** A key that signs nothing must not be voted in: it would only be found out with the first evidence. */
function readMachineKey(fields: FieldReader): Bytes {
  const key = fields.bytes("machineKey", { length: P256_KEY_HEAD.length + P256_POINT_BYTES });
  if (bytesEqual(key.subarray(0, P256_KEY_HEAD.length), P256_KEY_HEAD)) return key;
  throw fields.invalid("machineKey", "expected a P-256 key, SubjectPublicKeyInfo DER with an uncompressed point");
}

/** Reads the fields of an entry of the TEE manifest. */
export function readTeeEntry(fields: FieldReader): TeeEntry {
  const tee = fields.choice("tee", TEE_NAMES);
  if (tee === "virtual") {
    return { tee, machineKey: readMachineKey(fields), note: fields.text("note", NOTE_BOUNDS), ...readInForce(fields) };
  }
  const head = {
    id: fields.text("id", ENTRY_ID_BOUNDS),
    note: fields.text("note", NOTE_BOUNDS),
    ...readInForce(fields),
  };
  if (tee === "snp") return { tee, ...head, policy: fields.record("policy", readSnpPolicy) };
  if (tee === "vsm") return { tee, ...head, policy: fields.record("policy", readVsmPolicy) };
  return { tee, ...head, policy: fields.record("policy", readDcapPolicy) };
}

/** The tree form of an entry of the TEE manifest. */
export function teeEntryTree(entry: TeeEntry): FieldRecord {
  const { note, inForceFrom, inForceUntil } = entry;
  const rest = { note, inForceFrom, inForceUntil };
  if (entry.tee === "virtual") return { tee: entry.tee, machineKey: entry.machineKey, ...rest };
  return { tee: entry.tee, id: entry.id, policy: policyTree(entry), ...rest };
}

function policyTree(entry: Exclude<TeeEntry, { readonly tee: "virtual" }>): FieldRecord {
  if (entry.tee === "snp") return snpPolicyTree(entry.policy);
  return entry.tee === "vsm" ? vsmPolicyTree(entry.policy) : dcapPolicyTree(entry.policy);
}

/** Reads what names an entry of the TEE manifest: a machine key, or TEE and id; as {@link teeKey} writes it. */
export function readTeeKey(fields: FieldReader): string {
  if (fields.has("machineKey")) return toHex(fields.bytes("machineKey", { max: MAX_MACHINE_KEY_BYTES }));
  const tee = fields.choice("tee", ["snp", "sgx", "tdx", "vsm"]);
  return `${tee}.${fields.text("id", ENTRY_ID_BOUNDS)}`;
}

/** The tree form of what {@link readTeeKey} reads. */
export function teeKeyTree(key: string): FieldRecord {
  const [tee, id] = key.split(".");
  return id === undefined ? { machineKey: fromHex(key) } : { tee, id };
}
