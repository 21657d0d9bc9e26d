/**
 * Quotes of Intel's DCAP, versions 3, 4 and 5, of SGX enclaves and TDX guests (Intel, "Quote Generation/Verification Library
 * and Quoting Enclave", appendix A; "TDX DCAP Quoting Library API", appendix A). Numbers are little-endian.
 *
 * Whatever is not signed has one form: lengths must meet, certificates are PEM without anything between or beside its lines.
 * Behind a quote there may be zeros, since some kernels hand quotes out in a buffer of fixed size, and nothing else. Before
 * it there may be the header of Open Enclave. What does not fit is `EvidenceRejected` for the reason `Malformed`.
 */
import { ByteReader, bytesEqual, fromHex, toHex, type Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { evidenceRejected } from "../evidence.ts";
import { certificatesOfQuote } from "./text-forms.ts";

/** Largest quote in bytes, zeros behind it included. */
export const MAX_QUOTE_BYTES = 32 * 1024;

/** The report of an SGX enclave. */
export interface EnclaveReport {
  readonly kind: "enclave";
  readonly cpuSvn: Bytes;
  readonly miscSelect: Bytes;
  /** FLAGS and XFRM, 8 bytes each. */
  readonly attributes: Bytes;
  readonly mrEnclave: Bytes;
  readonly mrSigner: Bytes;
  readonly configId: Bytes;
  readonly productId: number;
  readonly version: number;
  readonly configVersion: number;
  readonly familyId: Bytes;
  readonly extendedProductId: Bytes;
  readonly reportData: Bytes;
  /** All 384 bytes. */
  readonly encoding: Bytes;
}

/** The report of a TDX guest ("trust domain"). */
export interface GuestReport {
  readonly kind: "guest";
  readonly teeTcbSvn: Bytes;
  readonly mrSeam: Bytes;
  readonly mrSignerSeam: Bytes;
  readonly seamAttributes: Bytes;
  readonly tdAttributes: Bytes;
  readonly xfam: Bytes;
  readonly mrTd: Bytes;
  readonly mrConfigId: Bytes;
  readonly mrOwner: Bytes;
  readonly mrOwnerConfig: Bytes;
  readonly registers: readonly Bytes[];
  readonly reportData: Bytes;
  /** What modules of version 1.5 add. */
  readonly extension?: { readonly teeTcbSvn2: Bytes; readonly mrServiceTd: Bytes };
}

/** A quote that was read; nothing of it is trusted. */
export interface Quote {
  readonly version: 3 | 4 | 5;
  readonly body: EnclaveReport | GuestReport;
  /** What the attestation key signed. */
  readonly signedBytes: Bytes;
  /** r and s side by side. */
  readonly signature: Bytes;
  /** x and y of the attestation key side by side. */
  readonly attestationKey: Bytes;
  /** The quoting enclave's report, which binds the attestation key. */
  readonly quotingReport: EnclaveReport;
  readonly quotingReportSignature: Bytes;
  readonly authentication: Bytes;
  /** Certificates of the key that signed the quoting enclave's report, DER; undefined where a quote carries none. */
  readonly certificates: readonly Bytes[] | undefined;
}

const OPEN_ENCLAVE_PREFIX = fromHex("0100000002000000");
const VENDOR_INTEL = "939a7233f79c4ca9940a0db3957f0607";
const ECDSA_P256 = 2;
const TEE_SGX = 0;
const TEE_TDX = 0x81;
const ENCLAVE_REPORT_BYTES = 384;
const GUEST_REPORT_10_BYTES = 584;
const GUEST_REPORT_15_BYTES = 648;
/** Body types of version 5, with what they hold. */
const BODY_TYPES: ReadonlyMap<number, readonly [tee: number, length: number]> = new Map([
  [1, [TEE_SGX, ENCLAVE_REPORT_BYTES]],
  [2, [TEE_TDX, GUEST_REPORT_10_BYTES]],
  [3, [TEE_TDX, GUEST_REPORT_15_BYTES]],
]);
/** Certification data: the certificates in PEM; the quoting enclave's report with its own certification data. */
const CERTIFICATES_PEM = 5;
const QUOTING_REPORT = 6;
/** Kinds that name the platform, by an identifier or a manifest, so that a verifier would have to ask Intel for its certificate. */
const WITHOUT_CERTIFICATES = [1, 2, 3, 4, 7];

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", problem);
}

function u16(reader: ByteReader): number {
  const low = reader.u8();
  return low | (reader.u8() << 8);
}

function u32(reader: ByteReader): number {
  const low = u16(reader);
  return low + u16(reader) * 0x10000;
}

function zeros(reader: ByteReader, length: number): void {
  if (reader.bytes(length).some((byte) => byte !== 0)) throw malformed("reserved bytes that are not zero");
}

/** Reads a quote; throws `EvidenceRejected`. */
export function parseQuote(bytes: Bytes): Quote {
  if (bytes.length > MAX_QUOTE_BYTES) throw evidenceRejected("Malformed", "quote: too large");
  try {
    return readQuote(new ByteReader(withoutPrefix(bytes)));
  } catch (error) {
    if (!(error instanceof CocoError) || error.code !== "MalformedInput") throw error;
    throw evidenceRejected("Malformed", `quote: ${error.message}`, error);
  }
}

/** Takes off the header of Open Enclave: version 1, type 2 (remote), length. No quote begins like it. */
function withoutPrefix(bytes: Bytes): Bytes {
  if (!bytesEqual(bytes.subarray(0, OPEN_ENCLAVE_PREFIX.length), OPEN_ENCLAVE_PREFIX)) return bytes;
  const reader = new ByteReader(bytes.subarray(OPEN_ENCLAVE_PREFIX.length));
  const [low, high] = [u32(reader), u32(reader)];
  if (high !== 0 || low !== reader.remaining) throw malformed("a header of Open Enclave with another length");
  return reader.rest();
}

function readQuote(reader: ByteReader): Quote {
  const whole = reader.bytes(reader.remaining);
  const inner = new ByteReader(whole);
  const { version, bodyBytes } = readHeader(inner);
  const body = new ByteReader(inner.bytes(bodyBytes));
  const report = bodyBytes === ENCLAVE_REPORT_BYTES ? readEnclaveReport(body) : readGuestReport(body);
  const signedBytes = whole.subarray(0, inner.position);
  const signatureData = readSignatureData(new ByteReader(inner.bytes(u32(inner))), version);
  zeros(inner, inner.remaining);
  return { version, body: report, signedBytes, ...signatureData };
}

function readHeader(reader: ByteReader): { readonly version: 3 | 4 | 5; readonly bodyBytes: number } {
  const version = u16(reader);
  if (version !== 3 && version !== 4 && version !== 5) throw malformed(`version ${version}`);
  if (u16(reader) !== ECDSA_P256) throw malformed("an attestation key that is not ECDSA on P-256");
  const tee = u32(reader);
  // In version 3 the versions of quoting and provisioning enclave, later reserved: signed, and not needed.
  reader.skip(4);
  if (toHex(reader.bytes(16)) !== VENDOR_INTEL) throw malformed("a quoting enclave of another vendor");
  reader.skip(20);
  if (version === 5) return { version, bodyBytes: readBodyDescriptor(reader, tee) };
  if (tee === TEE_SGX) return { version, bodyBytes: ENCLAVE_REPORT_BYTES };
  if (tee === TEE_TDX && version === 4) return { version, bodyBytes: GUEST_REPORT_10_BYTES };
  throw malformed(`TEE type ${tee} in version ${version}`);
}

function readBodyDescriptor(reader: ByteReader, tee: number): number {
  const [type, length] = [u16(reader), u32(reader)];
  const [expectedTee, expectedLength] = BODY_TYPES.get(type) ?? [];
  if (expectedTee !== tee || expectedLength !== length) throw malformed(`body of type ${type} and ${length} bytes`);
  return length;
}

function readEnclaveReport(reader: ByteReader): EnclaveReport {
  const encoding = reader.bytes(ENCLAVE_REPORT_BYTES);
  const inner = new ByteReader(encoding);
  const cpuSvn = inner.bytes(16);
  const miscSelect = inner.bytes(4);
  zeros(inner, 12);
  const extendedProductId = inner.bytes(16);
  const attributes = inner.bytes(16);
  const mrEnclave = inner.bytes(32);
  zeros(inner, 32);
  const mrSigner = inner.bytes(32);
  zeros(inner, 32);
  const configId = inner.bytes(64);
  const [productId, version, configVersion] = [u16(inner), u16(inner), u16(inner)];
  zeros(inner, 42);
  const [familyId, reportData] = [inner.bytes(16), inner.bytes(64)];
  return {
    ...{ kind: "enclave", cpuSvn, miscSelect, attributes, mrEnclave, mrSigner, configId, productId },
    ...{ version, configVersion, familyId, extendedProductId, reportData, encoding },
  };
}

function readGuestReport(reader: ByteReader): GuestReport {
  const report: GuestReport = {
    kind: "guest",
    teeTcbSvn: reader.bytes(16),
    mrSeam: reader.bytes(48),
    mrSignerSeam: reader.bytes(48),
    seamAttributes: reader.bytes(8),
    tdAttributes: reader.bytes(8),
    xfam: reader.bytes(8),
    mrTd: reader.bytes(48),
    mrConfigId: reader.bytes(48),
    mrOwner: reader.bytes(48),
    mrOwnerConfig: reader.bytes(48),
    registers: [reader.bytes(48), reader.bytes(48), reader.bytes(48), reader.bytes(48)],
    reportData: reader.bytes(64),
  };
  if (reader.remaining === 0) return report;
  return { ...report, extension: { teeTcbSvn2: reader.bytes(16), mrServiceTd: reader.bytes(48) } };
}

type SignatureData = Omit<Quote, "version" | "body" | "signedBytes">;

function readSignatureData(reader: ByteReader, version: 3 | 4 | 5): SignatureData {
  const [signature, attestationKey] = [reader.bytes(64), reader.bytes(64)];
  if (version === 3) return { signature, attestationKey, ...readQuotingData(reader) };
  if (u16(reader) !== QUOTING_REPORT) throw malformed("no report of the quoting enclave");
  const inner = new ByteReader(reader.bytes(u32(reader)));
  reader.end();
  return { signature, attestationKey, ...readQuotingData(inner) };
}

function readQuotingData(reader: ByteReader): Omit<SignatureData, "signature" | "attestationKey"> {
  const quotingReport = readEnclaveReport(reader);
  const quotingReportSignature = reader.bytes(64);
  const authentication = reader.bytes(u16(reader));
  const kind = u16(reader);
  const data = reader.bytes(u32(reader));
  reader.end();
  if (kind !== CERTIFICATES_PEM && !WITHOUT_CERTIFICATES.includes(kind))
    throw malformed(`certification data of kind ${kind}`);
  const certificates = kind === CERTIFICATES_PEM ? certificatesOfQuote(data) : undefined;
  return { quotingReport, quotingReportSignature, authentication, certificates };
}
