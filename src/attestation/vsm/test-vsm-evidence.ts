/** Test support: makes evidence of VSM that is correctly signed, and wrong where a test wants it, under roots made for it. */
import { constants, sign, type KeyObject } from "node:crypto";
import { element, nothing, objectIdentifier, sequence } from "../../../test/support/der-writer.ts";
import { issue, makeKey, NOW_MS, type CertificateOptions } from "../../../test/support/issue-certificates.ts";
import { concatBytes, fromHex, type Bytes } from "../../core/codec/bytes.ts";
import { toBase64Url } from "../../core/codec/base64.ts";
import { utf8Encode } from "../../core/codec/bytes.ts";

/** Choices that are the same for the same seed (mulberry32): below 1. */
export function seededChoices(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A mutation of bytes: some are changed, cut out, doubled, or put in. */
export function mutate(bytes: Bytes, next: () => number): Bytes {
  let result: Uint8Array = Uint8Array.from(bytes);
  for (let left = 1 + Math.floor(next() * 4); left > 0; left--) {
    const at = Math.floor(next() * (result.length + 1));
    const kind = Math.floor(next() * 4);
    const value = Math.floor(next() * 256);
    if (kind <= 1 && at < result.length) result[at] = value;
    else if (kind === 2) result = concatBytes(result.subarray(0, at), result.subarray(at + 1 + (value % 16)));
    else result = concatBytes(result.subarray(0, at), Uint8Array.of(value), result.subarray(at));
  }
  return result;
}

/** Little-endian, four bytes. */
export function u32(value: number): Bytes {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

export interface ReportOptions {
  readonly enclaveData?: Bytes;
  readonly ids?: Bytes;
  readonly enclaveSvn?: number;
  readonly secureKernelSvn?: number;
  readonly platformSvn?: number;
  readonly flags?: number;
  readonly enclaveType?: number;
  readonly modules?: readonly Bytes[];
  readonly saltLength?: number;
  readonly header?: { readonly version?: number; readonly scheme?: number; readonly reserved?: number };
}

/** A module of a report. */
export function vbsModule(name: string, type = 1): Bytes {
  const units = concatBytes(...[...name, "\0"].map((unit) => Uint8Array.of(unit.charCodeAt(0), 0)));
  const padding = new Uint8Array((8 - ((108 + units.length) % 8)) % 8);
  return concatBytes(
    u32(type),
    u32(108 + units.length + padding.length),
    new Uint8Array(96).fill(7),
    u32(3),
    units,
    padding,
  );
}

/** OwnerId, UniqueId, AuthorId, FamilyId and ImageId of made reports. */
export const IDS = { ownerId: "11", uniqueId: "22", authorId: "33", familyId: "44", imageId: "55" };
const IDS_BYTES = concatBytes(...Object.values(IDS).map((byte, at) => fromHex(byte.repeat(at < 3 ? 32 : 16))));

/** A report of a VBS enclave, signed. */
export function makeReport(key: KeyObject, options: ReportOptions = {}): Bytes {
  const { header = {}, modules = [vbsModule("enclave.dll")], enclaveData = new Uint8Array(64).fill(9) } = options;
  const { enclaveSvn = 5, secureKernelSvn = 6, platformSvn = 7, flags = 0, enclaveType = 16 } = options;
  const numbers = [enclaveSvn, secureKernelSvn, platformSvn, flags, 0, enclaveType].map(u32);
  const content = concatBytes(u32(1), enclaveData, options.ids ?? IDS_BYTES, ...numbers, ...modules);
  const statement = concatBytes(u32(content.length + 4), content);
  const saltLength = options.saltLength ?? 32;
  const signature = sign("sha256", statement, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
  const sizes = [statement.length, signature.length, header.reserved ?? 0];
  const start = [24 + statement.length + signature.length, header.version ?? 1, header.scheme ?? 1, ...sizes];
  return concatBytes(...start.map(u32), statement, signature);
}

/** Microsoft's extension with these purposes. */
export function applicationPolicies(...purposes: readonly string[]) {
  const value = sequence(...purposes.map((purpose) => sequence(objectIdentifier(purpose))));
  return { identifier: "1.3.6.1.4.1.311.21.10", value };
}

/** A host guardian service: a root, and a health certificate of a Secure Kernel's key under it. */
export function makeGuardian(health: CertificateOptions = {}) {
  const root = issue({ subject: "CN=Test Host Guardian Service", ca: true, key: makeKey("rsa") });
  const healthKey = health.key ?? makeKey("rsa");
  const more = health.more ?? [applicationPolicies("1.3.6.1.4.1.311.48.1.2")];
  const certificate = issue({ subject: "CN=Test Host", issuer: root, ...health, key: healthKey, more });
  return { root, health: certificate, key: healthKey.privateKey };
}

export type JsonObject = Readonly<Record<string, unknown>>;

/** A token in the compact form; `signer` makes the signature over what stands in front of it. */
export function makeToken(header: JsonObject, payload: JsonObject | string, signer: (data: Bytes) => Bytes): string {
  const text = typeof payload === "string" ? payload : JSON.stringify(payload);
  const body = `${toBase64Url(utf8Encode(JSON.stringify(header)))}.${toBase64Url(utf8Encode(text))}`;
  return `${body}.${toBase64Url(signer(utf8Encode(body)))}`;
}

/** Signs as RS256 does. */
export function rs256(key: KeyObject): (data: Bytes) => Bytes {
  return (data) => new Uint8Array(sign("sha256", data, key));
}

/** Seconds at which made tokens are issued: an hour before the time of verification. */
export const TOKEN_TIME = NOW_MS / 1000 - 3600;
export const ISSUER = "https://test.attest.azure.net";
export const POLICY_HASH = new Uint8Array(32).fill(0xab);

/** Claims that every token has. */
export function commonClaims(type: string, more: JsonObject = {}): JsonObject {
  return {
    iss: ISSUER,
    iat: TOKEN_TIME,
    nbf: TOKEN_TIME,
    exp: TOKEN_TIME + 8 * 3600,
    "x-ms-attestation-type": type,
    "x-ms-policy-hash": toBase64Url(POLICY_HASH),
    ...more,
  };
}

/** Claims about a confidential guest. */
export function guestClaims(more: JsonObject = {}): JsonObject {
  const numbers = ["guestsvn", "bootloader-svn", "tee-svn", "snpfw-svn", "microcode-svn"];
  const claims = {
    launchmeasurement: "aa".repeat(48),
    reportdata: "09".repeat(64),
    hostdata: "bb".repeat(32),
    familyId: "44".repeat(16),
    imageId: "55".repeat(16),
    "is-debuggable": false,
    "migration-allowed": false,
    vmpl: 0,
    ...Object.fromEntries(numbers.map((name) => [name, 3])),
    ...more,
  };
  return Object.fromEntries(Object.entries(claims).map(([name, value]) => [`x-ms-sevsnpvm-${name}`, value]));
}

/** Claims about an SGX enclave. */
export function sgxClaims(more: JsonObject = {}): JsonObject {
  const claims = {
    mrenclave: "cc".repeat(32),
    mrsigner: "33".repeat(32),
    "product-id": 1,
    svn: 5,
    "is-debuggable": false,
    "report-data": "09".repeat(64),
    ...more,
  };
  return Object.fromEntries(Object.entries(claims).map(([name, value]) => [`x-ms-sgx-${name}`, value]));
}

/** Claims about a VBS enclave. */
export function vbsClaims(more: JsonObject = {}): JsonObject {
  const id = (byte: string, length: number) => toBase64Url(fromHex(byte.repeat(length)));
  return {
    aikValidated: true,
    secureBootEnabled: true,
    bootDebuggingDisabled: true,
    vbsEnabled: true,
    vbsReportPresent: true,
    enclaveAuthorId: id(IDS.authorId, 32),
    enclaveImageId: id(IDS.imageId, 16),
    enclaveOwnerId: id(IDS.ownerId, 32),
    enclaveFamilyId: id(IDS.familyId, 16),
    enclaveSvn: 5,
    enclavePlatformSvn: 7,
    enclaveFlags: 0,
    rp_data: toBase64Url(new Uint8Array(64).fill(9)),
    ...more,
  };
}

/** A SEQUENCE that holds PEM, as certificates with evidence inside do. */
export function extensionWithPem(pem: string) {
  return { identifier: "1.3.6.1.4.1.311.105.1", value: sequence(element(0x04, utf8Encode(pem)), nothing()) };
}
