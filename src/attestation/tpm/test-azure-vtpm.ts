/** Test support: makes evidence of a confidential machine of Azure, correctly signed, and wrong where a test wants it. */
import { createHash, createPublicKey, sign } from "node:crypto";
import { makeKey, type TestKey } from "../../../test/support/issue-certificates.ts";
import { concatBytes, toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { u32, type JsonObject } from "../vsm/test-vsm-evidence.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import type { Endorsement, HardwareEvidence } from "../hardware-evidence.ts";
import { type AzureVtpmEvidence, vtpmNonce } from "./azure-vtpm.ts";
import { encodeTpmQuote } from "./azure-vtpm-codec.ts";

export const sha256 = (data: Bytes): Bytes => new Uint8Array(createHash("sha256").update(data).digest());

/** An RSA key as runtime data write it. */
export function runtimeKey(kid: string, { spki }: TestKey): JsonObject {
  const { n, e, kty } = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" }).export({
    format: "jwk",
  });
  return { kid, kty, n, e };
}

export interface HclOptions {
  /** Of the header; 1 unless given. */
  readonly version?: 1 | 2;
  readonly runtime?: string;
  readonly reportData?: Bytes;
  /** Makes the SNP report for its report data; one that is empty otherwise unless given. */
  readonly snpReport?: (reportData: Bytes) => Bytes;
  /** In place of the numbers of the header and of that of the runtime data, by their position. */
  readonly header?: Readonly<Record<number, number>>;
  readonly runtimeHeader?: Readonly<Record<number, number>>;
  readonly padding?: Bytes;
}

function emptyReport(reportData: Bytes): Bytes {
  const report = new Uint8Array(1184);
  report.set(reportData, 0x50);
  return report;
}

/** An HCL report with this key of the TPM. */
export function makeHclReport(key: TestKey, options: HclOptions = {}): Bytes {
  const other = runtimeKey("HCLEkPub", makeSharedKey());
  const configuration = { vmUniqueId: "2F7E", "secure-boot": true };
  const runtime =
    options.runtime ??
    JSON.stringify({ keys: [runtimeKey("HCLAkPub", key), other], "vm-configuration": configuration });
  const json = utf8Encode(runtime);
  const bound = new Uint8Array(64);
  bound.set(options.reportData ?? sha256(json));
  const snpReport = (options.snpReport ?? emptyReport)(bound);
  const header = [0x414c4348, options.version ?? 1, 32 + 1184 + 20 + json.length, 2, 0, 0, 0, 0];
  const runtimeHeader = [20 + json.length, 1, 2, 1, json.length];
  const write = (values: readonly number[], changes: Readonly<Record<number, number>> = {}): Bytes =>
    concatBytes(...values.map((value, at) => u32(changes[at] ?? value)));
  const { padding = new Uint8Array(100) } = options;
  return concatBytes(
    write(header, options.header),
    snpReport,
    write(runtimeHeader, options.runtimeHeader),
    json,
    padding,
  );
}

let shared: TestKey | undefined;

/** One key for all that is only there. */
function makeSharedKey(): TestKey {
  shared ??= makeKey("rsa");
  return shared;
}

export interface QuoteOptions {
  readonly magic?: number;
  readonly type?: number;
  readonly nonce?: Bytes;
  readonly hash?: number;
  readonly banks?: number;
  readonly bitmap?: Bytes;
  readonly safe?: number;
  readonly pcrDigest?: Bytes;
  /** What the registers hold; {@link PCRS} unless given. */
  readonly pcrs?: readonly Bytes[];
  readonly more?: Bytes;
}

const u16 = (value: number): Bytes => Uint8Array.of(value >> 8, value);
const u32be = (value: number): Bytes => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
const sized = (bytes: Bytes): Bytes => concatBytes(u16(bytes.length), bytes);

/** Values of all registers of made evidence. */
export const PCRS = Array.from({ length: 24 }, (_, at) => new Uint8Array(32).fill(at + 1));
/** What of these a policy may name. */
export const POLICY_PCRS = Object.fromEntries([4, 7, 11].map((at) => [at, toHex(PCRS[at] as Bytes)]));
export const NONCE = utf8Encode("a challenge");

/** What a TPM signs as a quote. */
export function makeQuoteMessage(options: QuoteOptions = {}): Bytes {
  const { bitmap = Uint8Array.of(0xff, 0xff, 0xff), pcrs = PCRS } = options;
  const quoted = pcrs.filter((_, at) => ((bitmap[at >> 3] ?? 0) & (1 << (at & 7))) !== 0);
  return concatBytes(
    u32be(options.magic ?? 0xff544347),
    u16(options.type ?? 0x8018),
    sized(concatBytes(u16(0x000b), new Uint8Array(32).fill(7))),
    sized(options.nonce ?? NONCE),
    new Uint8Array(8),
    u32be(2),
    u32be(1),
    Uint8Array.of(options.safe ?? 1),
    new Uint8Array(8),
    u32be(options.banks ?? 1),
    u16(options.hash ?? 0x000b),
    Uint8Array.of(bitmap.length),
    bitmap,
    sized(options.pcrDigest ?? sha256(concatBytes(...quoted))),
    options.more ?? new Uint8Array(0),
  );
}

/** Evidence of a machine whose TPM has this key. */
export function makeVtpmEvidence(key: TestKey, hcl: HclOptions = {}, quote: QuoteOptions = {}): AzureVtpmEvidence {
  const message = makeQuoteMessage(quote);
  const signature = new Uint8Array(sign("sha256", message, key.privateKey));
  return { hclReport: makeHclReport(key, hcl), quote: { message, signature, pcrs: PCRS }, certificates: [] };
}

/** Evidence as it travels; with report data unless there are none, and with certificates last. */
export function travelling(
  { hclReport, quote, certificates }: AzureVtpmEvidence,
  reportData?: Bytes,
  more: readonly Endorsement[] = [],
): HardwareEvidence {
  const bound: readonly Endorsement[] = reportData === undefined ? [] : [{ kind: "report-data", content: reportData }];
  const carried = certificates.map((content) => ({ kind: "certificates" as const, content }));
  const endorsements = [{ kind: "tpm-quote" as const, content: encodeTpmQuote(quote) }, ...bound, ...more, ...carried];
  return { tee: "snp", evidence: hclReport, endorsements };
}

/** The nonce of a quote that binds these data. */
export const nonceFor = (reportData: Bytes): Bytes => vtpmNonce(reportData, createAttestationCrypto());
