/**
 * What the paravisor of a confidential virtual machine of Azure (HCL, OpenHCL) leaves in the machine's virtual TPM: the SNP
 * report of the machine, and the runtime data that the report binds. These name the key with which the TPM attests.
 * Layout, little-endian: header `HCLA` of 32 bytes, the report, a header of 20 bytes, JSON, and zeros.
 */
import type { SignatureHash } from "../../core/certificates/algorithm.ts";
import { toHex, type Bytes } from "../../core/codec/bytes.ts";
import type { StrictJson } from "../../core/codec/json.ts";
import { CocoError } from "../../errors.ts";
import { LittleEndianReader } from "../little-endian.ts";
import { rsaKeyOfText } from "../maa/keys.ts";
import { asFields, asFlag, asText, parseJsonFields } from "../maa/token.ts";

/** Largest HCL report, in bytes; the index of the TPM that holds it is smaller. */
export const MAX_HCL_REPORT_BYTES = 16 * 1024;
/** Most keys in the runtime data. */
export const MAX_RUNTIME_KEYS = 16;

const SIGNATURE = 0x414c_4348;
/** Versions of the header that paravisors write; what follows is the same. */
const HEADER_VERSIONS = [1, 2];
const RUNTIME_VERSION = 1;
const REQUEST_TYPE = 2;
const HEADER_BYTES = 32;
const SNP_REPORT_BYTES = 1184;
const RUNTIME_HEADER_BYTES = 20;
const SNP_REPORT_TYPE = 2;
const HASHES: Readonly<Record<number, SignatureHash>> = { 1: "sha256", 2: "sha384", 3: "sha512" };
const ATTESTATION_KEY = "HCLAkPub";

/** An HCL report that was read; nothing of it is trusted. */
export interface HclReport {
  /** 1184 bytes. */
  readonly snpReport: Bytes;
  /** JSON whose digest the report binds. */
  readonly runtimeData: Bytes;
  readonly runtimeHash: SignatureHash;
  /** With which the TPM signs its quotes, SubjectPublicKeyInfo DER. */
  readonly attestationKey: Bytes;
  readonly machineId?: string;
  readonly secureBoot?: boolean;
}

/** Whether bytes start as an HCL report does. */
export function isHclReport(bytes: Bytes): boolean {
  return toHex(bytes.subarray(0, 4)) === "48434c41";
}

/** Reads an HCL report; throws `MalformedInput`. */
export function parseHclReport(bytes: Bytes): HclReport {
  if (bytes.length > MAX_HCL_REPORT_BYTES)
    throw new CocoError("MalformedInput", `HCL report: ${bytes.length} bytes, ${MAX_HCL_REPORT_BYTES} allowed`);
  const reader = new LittleEndianReader(bytes, "HCL report");
  reader.exactly("its mark", SIGNATURE);
  if (!HEADER_VERSIONS.includes(reader.u32())) throw reader.malformed("an unknown version of its header");
  const contentBytes = reader.u32();
  reader.exactly("the type of the request", REQUEST_TYPE);
  reader.exactly("its status", 0);
  reader.zeros(12);
  const snpReport = reader.bytes(SNP_REPORT_BYTES);
  const runtime = readRuntime(reader, contentBytes);
  reader.zeros(reader.remaining);
  return { snpReport, ...runtime, ...parseRuntimeData(runtime.runtimeData) };
}

function readRuntime(reader: LittleEndianReader, contentBytes: number) {
  const dataBytes = reader.u32();
  reader.exactly("the version of the runtime data", RUNTIME_VERSION);
  reader.exactly("the type of the report", SNP_REPORT_TYPE);
  const runtimeHash = HASHES[reader.u32()];
  if (runtimeHash === undefined) throw reader.malformed("an unknown digest of the runtime data");
  const jsonBytes = reader.u32();
  if (dataBytes !== RUNTIME_HEADER_BYTES + jsonBytes) throw reader.malformed("two sizes of the runtime data");
  const runtimeData = reader.bytes(jsonBytes);
  if (contentBytes !== HEADER_BYTES + SNP_REPORT_BYTES + dataBytes) throw reader.malformed("two sizes of the content");
  return { runtimeData, runtimeHash };
}

function parseRuntimeData(runtimeData: Bytes): Pick<HclReport, "attestationKey" | "machineId" | "secureBoot"> {
  const fields = parseJsonFields(runtimeData, "runtime data");
  const keys = fields.get("keys");
  if (!Array.isArray(keys) || keys.length > MAX_RUNTIME_KEYS) throw malformed("expected a list of few keys");
  // The others, such as that for encryption, are for nothing here, and may be of any type.
  const [named, ...others] = keys.filter((key: StrictJson) => asFields(key)?.get("kid") === ATTESTATION_KEY);
  if (named === undefined || others.length > 0) throw malformed(`expected one key ${ATTESTATION_KEY}`);
  const machine = asFields(fields.get("vm-configuration"));
  const [machineId, secureBoot] = [asText(machine?.get("vmUniqueId")), asFlag(machine?.get("secure-boot"))];
  return {
    attestationKey: readRsaKey(named),
    ...(machineId !== undefined && { machineId }),
    ...(secureBoot !== undefined && { secureBoot }),
  };
}

function readRsaKey(value: StrictJson): Bytes {
  const fields = asFields(value);
  const [modulus, exponent] = ["n", "e"].map((field) => asText(fields?.get(field)));
  if (fields?.get("kty") !== "RSA" || modulus === undefined || exponent === undefined)
    throw malformed("expected an RSA key");
  return rsaKeyOfText(modulus, exponent);
}

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", `runtime data: ${problem}`);
}
