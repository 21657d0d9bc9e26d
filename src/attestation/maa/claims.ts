/**
 * What a token of Microsoft Azure Attestation says about the TEE it is about: a confidential guest (`sevsnpvm`, or inside of
 * `azurevm`), an SGX enclave, or a VBS enclave. Every claim that is judged must be there in its type; a token that lacks one
 * says nothing.
 */
import { fromBase64, fromBase64Url } from "../../core/codec/base64.ts";
import { toHex, type Bytes } from "../../core/codec/bytes.ts";
import { readOrNothing } from "../../core/certificates/certificate.ts";
import { asCount, asFields, asFlag, asHex, asText, type JsonFields } from "./token.ts";

/** What a token says about a confidential guest; ids and digests in lower-case hex. */
export interface GuestTokenClaims {
  readonly type: "sevsnpvm";
  readonly measurement: string;
  readonly reportData: string;
  readonly hostData: string;
  readonly familyId: string;
  readonly imageId: string;
  readonly isDebuggable: boolean;
  readonly isMigrationAllowed: boolean;
  readonly vmpl: number;
  readonly enclaveSvn: number;
  readonly bootloaderSvn: number;
  readonly teeSvn: number;
  readonly firmwareSvn: number;
  readonly microcodeSvn: number;
  /** What Azure says of guests of its confidential machines. */
  readonly compliance?: string;
}

/** What a token says about an SGX enclave; ids and digests in lower-case hex. */
export interface SgxTokenClaims {
  readonly type: "sgx";
  readonly measurement: string;
  /** Of who signed the enclave (MRSIGNER). */
  readonly authorId: string;
  readonly productId: number;
  readonly enclaveSvn: number;
  readonly isDebuggable: boolean;
  readonly reportData?: string;
}

/** What a token says about a VBS enclave and its machine; ids in lower-case hex. */
export interface VbsTokenClaims {
  readonly type: "vbs";
  readonly authorId: string;
  readonly imageId: string;
  readonly familyId: string;
  readonly ownerId: string;
  readonly enclaveSvn: number;
  readonly platformSvn: number;
  readonly flags: number;
  /** What the machine's TPM showed: each must be so. */
  readonly machine: Readonly<Record<(typeof MACHINE_FLAGS)[number], boolean>>;
  /** What the enclave's host gave to bind, when it is 64 bytes in base64url. */
  readonly reportData?: string;
}

/** What a token says about the machine around a guest: kinds of debugging that are on. */
export interface AzureVmTokenClaims {
  readonly debugging: readonly string[];
  /** What the guest gave to bind, in lower-case hex. */
  readonly nonce?: string;
}

/** What a token says about the TEE it is about. */
export type TeeTokenClaims = GuestTokenClaims | SgxTokenClaims | VbsTokenClaims;

/** Facts about a machine that must be true before a VBS enclave on it counts. */
export const MACHINE_FLAGS = [
  "aikValidated",
  "secureBootEnabled",
  "bootDebuggingDisabled",
  "vbsEnabled",
  "vbsReportPresent",
] as const;

const AZURE_DEBUGGING = ["bootdebug-enabled", "kerneldebug-enabled", "hypervisordebug-enabled"] as const;
const SNP = "x-ms-sevsnpvm-";
const SGX = "x-ms-sgx-";
const REPORT_DATA_BYTES = 64;

/** All values when each is there; undefined when one is missing. */
function complete<T extends object>(fields: { readonly [K in keyof T]: T[K] | undefined }): T | undefined {
  return Object.values(fields).includes(undefined) ? undefined : (fields as T);
}

/** Reads what a token says of a guest; undefined when a claim is missing or of another type. */
export function readGuestClaims(claims: JsonFields): GuestTokenClaims | undefined {
  const compliance = asText(claims.get("x-ms-compliance-status"));
  const guest = complete<Omit<GuestTokenClaims, "compliance">>({
    type: "sevsnpvm",
    measurement: asHex(claims.get(`${SNP}launchmeasurement`), 48),
    reportData: asHex(claims.get(`${SNP}reportdata`), REPORT_DATA_BYTES),
    hostData: asHex(claims.get(`${SNP}hostdata`), 32),
    familyId: asHex(claims.get(`${SNP}familyId`), 16),
    imageId: asHex(claims.get(`${SNP}imageId`), 16),
    isDebuggable: asFlag(claims.get(`${SNP}is-debuggable`)),
    isMigrationAllowed: asFlag(claims.get(`${SNP}migration-allowed`)),
    vmpl: asCount(claims.get(`${SNP}vmpl`)),
    enclaveSvn: asCount(claims.get(`${SNP}guestsvn`)),
    bootloaderSvn: asCount(claims.get(`${SNP}bootloader-svn`)),
    teeSvn: asCount(claims.get(`${SNP}tee-svn`)),
    firmwareSvn: asCount(claims.get(`${SNP}snpfw-svn`)),
    microcodeSvn: asCount(claims.get(`${SNP}microcode-svn`)),
  });
  return guest && { ...guest, ...(compliance !== undefined && { compliance }) };
}

/** Reads what a token says of an SGX enclave; undefined when a claim is missing or of another type. */
export function readSgxClaims(claims: JsonFields): SgxTokenClaims | undefined {
  const reportData = asHex(claims.get(`${SGX}report-data`), REPORT_DATA_BYTES);
  const enclave = complete<Omit<SgxTokenClaims, "reportData">>({
    type: "sgx",
    measurement: asHex(claims.get(`${SGX}mrenclave`), 32),
    authorId: asHex(claims.get(`${SGX}mrsigner`), 32),
    productId: asCount(claims.get(`${SGX}product-id`)),
    enclaveSvn: asCount(claims.get(`${SGX}svn`)),
    isDebuggable: asFlag(claims.get(`${SGX}is-debuggable`)),
  });
  return enclave && { ...enclave, ...(reportData !== undefined && { reportData }) };
}

/** Reads what a token says of a VBS enclave; undefined when a claim is missing or of another type. */
export function readVbsClaims(claims: JsonFields): VbsTokenClaims | undefined {
  const bound = decoded(claims.get("rp_data"), fromBase64Url);
  const id = (name: string, length: number): string | undefined => {
    const bytes = decoded(claims.get(name), fromBase64Url);
    return bytes?.length === length ? toHex(bytes) : undefined;
  };
  const enclave = complete<Omit<VbsTokenClaims, "reportData">>({
    type: "vbs",
    authorId: id("enclaveAuthorId", 32),
    imageId: id("enclaveImageId", 16),
    familyId: id("enclaveFamilyId", 16),
    ownerId: id("enclaveOwnerId", 32),
    enclaveSvn: asCount(claims.get("enclaveSvn")),
    platformSvn: asCount(claims.get("enclavePlatformSvn")),
    flags: asCount(claims.get("enclaveFlags")),
    machine: readMachineFlags(claims),
  });
  return enclave && { ...enclave, ...(bound?.length === REPORT_DATA_BYTES && { reportData: toHex(bound) }) };
}

/** What is not said is not so. */
function readMachineFlags(claims: JsonFields): VbsTokenClaims["machine"] {
  const isTrue = (name: string): boolean => claims.get(name) === true;
  return {
    aikValidated: isTrue("aikValidated"),
    secureBootEnabled: isTrue("secureBootEnabled"),
    bootDebuggingDisabled: isTrue("bootDebuggingDisabled"),
    vbsEnabled: isTrue("vbsEnabled"),
    vbsReportPresent: isTrue("vbsReportPresent"),
  };
}

/** Reads what a token says of the machine around a guest. */
export function readAzureVmClaims(claims: JsonFields): AzureVmTokenClaims {
  const debugging = AZURE_DEBUGGING.filter((name) => claims.get(`x-ms-azurevm-${name}`) !== false);
  const payload = asFields(asFields(claims.get("x-ms-runtime"))?.get("client-payload"));
  const nonce = decoded(payload?.get("nonce"), fromBase64);
  return { debugging, ...(nonce !== undefined && { nonce: toHex(nonce) }) };
}

function decoded(value: Parameters<typeof asText>[0], decode: (text: string) => Bytes): Bytes | undefined {
  const text = asText(value);
  return text === undefined ? undefined : readOrNothing(() => decode(text));
}
