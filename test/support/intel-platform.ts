/**
 * Plays Intel for tests: a root of its own, certificates, revocation lists, TCB infos, identities, and quotes of SGX and TDX,
 * all correctly signed. Each part can be changed before it is signed, so that tests see what is refused of content that is
 * signed as it should be. No verifier trusts the root unless it is handed in.
 */
import { createHash, sign, type KeyObject } from "node:crypto";
import { concatBytes, fromHex, toHex, utf8Encode, type Bytes } from "../../src/core/codec/bytes.ts";
import { DER } from "../../src/core/codec/der.ts";
import { element, integer, objectIdentifier, octets, sequence } from "./der-writer.ts";
import {
  certificatesPem,
  DAY_MS,
  issue,
  issueRevocationList,
  makeKey,
  NOW_MS,
  type CertificateOptions,
  type RevocationListOptions,
  type TestCertificate,
  type TestKey,
} from "./issue-certificates.ts";

export type QuoteForm = "sgx-3" | "sgx-4" | "sgx-5" | "tdx-4" | "tdx-5-10" | "tdx-5-15";
export const QUOTE_FORMS: readonly QuoteForm[] = ["sgx-3", "sgx-4", "sgx-5", "tdx-4", "tdx-5-10", "tdx-5-15"];

type Change<T> = (value: T) => void;

/** A JSON document before it is written. */
export type Document = Record<string, unknown>;

/** What differs from a platform that is up to date. */
export interface PlatformChanges {
  readonly form?: QuoteForm;
  /** The 48 bytes (and the descriptor of version 5) before the body. */
  readonly header?: Change<Uint8Array>;
  readonly body?: Change<Uint8Array>;
  /** The quoting enclave's report, before and after the attestation key is bound. */
  readonly quotingReport?: Change<Uint8Array>;
  readonly boundReport?: Change<Uint8Array>;
  readonly certificationKind?: number;
  readonly certificationData?: Bytes;
  /** In place of the attestation key, to sign the quote. */
  readonly quoteSigner?: TestKey;
  readonly quotingSigner?: TestKey;
  readonly platform?: { components?: number[]; pceSvn?: number; pceId?: string; fmspc?: string };
  /** The extension of the PCK certificate as a whole. */
  readonly extension?: Bytes;
  readonly leaf?: CertificateOptions;
  readonly authority?: CertificateOptions;
  readonly root?: CertificateOptions;
  readonly tcbSigning?: CertificateOptions;
  /** Certificates of the quote, from the leaf to the root. */
  readonly chain?: (chain: readonly TestCertificate[]) => readonly TestCertificate[];
  readonly tcbChain?: (chain: readonly TestCertificate[]) => readonly TestCertificate[];
  readonly identityChain?: (chain: readonly TestCertificate[]) => readonly TestCertificate[];
  readonly tcbInfo?: Change<Document>;
  readonly identity?: Change<Document>;
  readonly documentSigner?: TestKey;
  readonly rootList?: Partial<RevocationListOptions> | ((made: Made) => Partial<RevocationListOptions>);
  readonly pckList?: Partial<RevocationListOptions> | ((made: Made) => Partial<RevocationListOptions>);
  /** The finished collateral, by its fields. */
  readonly collateral?: Change<Record<string, unknown>>;
}

/** Certificates of one platform. */
export interface Made {
  readonly root: TestCertificate;
  readonly authority: TestCertificate;
  readonly leaf: TestCertificate;
  readonly tcbSigning: TestCertificate;
}

export interface TestEvidence extends Made {
  readonly quote: Bytes;
  readonly collateral: Bytes;
  readonly roots: readonly string[];
  readonly nowMs: number;
}

export const FMSPC = "00a067110000";
export const PCE_ID = "0000";
export const SEAM_SIGNER = "00".repeat(48);
export const SGX_TCB = [11, 11, 2, 2, 255, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0];
export const QUOTING_SIGNER = "8c".repeat(32);
export const PLATFORM_NAMES = {
  root: "C=US, O=Intel Corporation, CN=Intel SGX Root CA",
  authority: "C=US, O=Intel Corporation, CN=Intel SGX PCK Platform CA",
  leaf: "C=US, O=Intel Corporation, CN=Intel SGX PCK Certificate",
  tcbSigning: "C=US, O=Intel Corporation, CN=Intel SGX TCB Signing",
};

const EXTENSION = "1.2.840.113741.1.13.1";
const keys = {
  root: makeKey(),
  authority: makeKey(),
  leaf: makeKey(),
  tcbSigning: makeKey(),
  attestation: makeKey(),
};

/** SHA-256 of a SubjectPublicKeyInfo, as verifiers pin roots. */
export function pinOf(key: TestKey): string {
  return createHash("sha256").update(key.spki).digest("hex");
}

function raw(data: Bytes, key: KeyObject): Bytes {
  return new Uint8Array(sign("sha256", data, { key, dsaEncoding: "ieee-p1363" }));
}

function le(value: number, length: number): Bytes {
  return Uint8Array.from({ length }, (_, at) => Math.floor(value / 256 ** at) & 255);
}

function digest(data: Bytes): Bytes {
  return new Uint8Array(createHash("sha256").update(data).digest());
}

/** The extension of a PCK certificate. */
export function platformExtension(platform: PlatformChanges["platform"] = {}): Bytes {
  const { components = SGX_TCB, pceSvn = 13, pceId = PCE_ID, fmspc = FMSPC } = platform;
  const entry = (number: string, value: Bytes): Bytes => sequence(objectIdentifier(`${EXTENSION}.${number}`), value);
  return sequence(
    entry("1", octets(new Uint8Array(16).fill(7))),
    entry(
      "2",
      sequence(
        ...components.map((svn, at) => entry(`2.${at + 1}`, integer(svn))),
        entry("2.17", integer(pceSvn)),
        entry("2.18", octets(Uint8Array.from(components))),
      ),
    ),
    entry("3", octets(fromHex(pceId))),
    entry("4", octets(fromHex(fmspc))),
    entry("5", element(DER.enumerated, Uint8Array.of(0))),
  );
}

function makeCertificates(changes: PlatformChanges): Made {
  const root = issue({
    subject: PLATFORM_NAMES.root,
    key: keys.root,
    ca: { pathLength: 1 },
    ...changes.root,
  });
  const authority = issue({
    subject: PLATFORM_NAMES.authority,
    key: keys.authority,
    issuer: root,
    ca: { pathLength: 0 },
    ...changes.authority,
  });
  const value = changes.extension ?? platformExtension(changes.platform);
  const leaf = issue({
    subject: PLATFORM_NAMES.leaf,
    key: keys.leaf,
    issuer: authority,
    more: [{ identifier: EXTENSION, value }],
    ...changes.leaf,
  });
  const tcbSigning = issue({
    subject: PLATFORM_NAMES.tcbSigning,
    key: keys.tcbSigning,
    issuer: root,
    ...changes.tcbSigning,
  });
  return { root, authority, leaf, tcbSigning };
}

function isGuest(form: QuoteForm): boolean {
  return form.startsWith("tdx");
}

const DATES = {
  issueDate: `${new Date(NOW_MS - DAY_MS).toISOString().slice(0, 19)}Z`,
  nextUpdate: `${new Date(NOW_MS + DAY_MS).toISOString().slice(0, 19)}Z`,
  tcbEvaluationDataNumber: 17,
};

const svns = (list: readonly number[]) => list.map((svn) => ({ svn }));

/** A level of a TCB info. */
export function level(
  status: string,
  sgx: readonly number[],
  pcesvn: number,
  tdx?: readonly number[],
  advisoryIDs?: readonly string[],
): Document {
  return {
    tcb: {
      sgxtcbcomponents: svns(sgx),
      pcesvn,
      ...(tdx && { tdxtcbcomponents: svns([...tdx, ...new Array<number>(16 - tdx.length).fill(0)]) }),
    },
    tcbDate: "2030-11-13T00:00:00Z",
    tcbStatus: status,
    ...(advisoryIDs && { advisoryIDs }),
  };
}

/** A level of a module or an enclave. */
export function partLevel(status: string, isvsvn: number, advisoryIDs?: readonly string[]): Document {
  return {
    tcb: { isvsvn },
    tcbDate: "2030-11-13T00:00:00Z",
    tcbStatus: status,
    ...(advisoryIDs && { advisoryIDs }),
  };
}

function tcbInfoOf(form: QuoteForm): Document {
  const guest = isGuest(form);
  const module = { mrsigner: SEAM_SIGNER, attributes: "0000000000000000", attributesMask: "FFFFFFFFFFFFFFFF" };
  const tdx = guest ? [5, 0, 7] : undefined;
  return {
    id: guest ? "TDX" : "SGX",
    version: 3,
    ...DATES,
    fmspc: FMSPC.toUpperCase(),
    pceId: PCE_ID,
    tcbType: 0,
    ...(guest && {
      tdxModule: module,
      tdxModuleIdentities: [
        { id: "TDX_03", ...module, tcbLevels: [partLevel("UpToDate", 3)] },
        {
          id: "TDX_01",
          ...module,
          tcbLevels: [partLevel("UpToDate", 4), partLevel("OutOfDate", 2, ["INTEL-SA-01036"])],
        },
      ],
    }),
    tcbLevels: [
      level("UpToDate", SGX_TCB, 13, tdx),
      level("OutOfDate", [...SGX_TCB.slice(0, 6), ...new Array<number>(10).fill(0)], 5, guest ? [3, 0, 5] : undefined, [
        "INTEL-SA-00615",
        "INTEL-SA-00289",
      ]),
    ],
  };
}

function identityOf(form: QuoteForm): Document {
  return {
    id: isGuest(form) ? "TD_QE" : "QE",
    version: 2,
    ...DATES,
    miscselect: "00000000",
    miscselectMask: "FFFFFFFF",
    attributes: "11000000000000000000000000000000",
    attributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
    mrsigner: QUOTING_SIGNER.toUpperCase(),
    isvprodid: isGuest(form) ? 2 : 1,
    tcbLevels: [partLevel("UpToDate", 8), partLevel("OutOfDate", 6, ["INTEL-SA-00615"])],
  };
}

function enclaveReport(attributes: string, signer: string, productId: number, version: number): Uint8Array {
  const report = new Uint8Array(384);
  report.set(Uint8Array.from(SGX_TCB));
  report.set(fromHex(attributes), 48);
  report.fill(0xe1, 64, 96);
  report.set(fromHex(signer), 128);
  report.set(le(productId, 2), 256);
  report.set(le(version, 2), 258);
  report.set(
    Uint8Array.from({ length: 64 }, (_, at) => at + 1),
    320,
  );
  return report;
}

function guestReport(length: number): Uint8Array {
  const report = new Uint8Array(length);
  report.set([6, 1, 7]);
  report.set(fromHex("0000001000000000e700060000000000"), 120);
  report.fill(0xd1, 136, 184);
  for (const at of [0, 1, 2, 3]) report.fill(0xa0 + at, 328 + 48 * at, 376 + 48 * at);
  report.set(
    Uint8Array.from({ length: 64 }, (_, at) => at + 1),
    520,
  );
  if (length > 584) report.set([6, 1, 7], 584);
  return report;
}

/** The report data that quotes bind. */
export const REPORT_DATA = Uint8Array.from({ length: 64 }, (_, at) => at + 1);

function signedBytesOf(form: QuoteForm, changes: PlatformChanges): Bytes {
  const version = Number(form.split("-")[1]);
  const bodyType = form === "tdx-5-15" ? 3 : form === "tdx-5-10" ? 2 : 1;
  const body = isGuest(form)
    ? guestReport(form === "tdx-5-15" ? 648 : 584)
    : enclaveReport("0500000000000000e700000000000000", "5a".repeat(32), 3, 9);
  const header = concatBytes(
    le(version, 2),
    le(2, 2),
    le(isGuest(form) ? 0x81 : 0, 4),
    version === 3 ? fromHex("0a000f00") : new Uint8Array(4),
    fromHex("939a7233f79c4ca9940a0db3957f0607"),
    new Uint8Array(20).fill(3),
    ...(version === 5 ? [le(bodyType, 2), le(body.length, 4)] : []),
  );
  changes.header?.(header);
  changes.body?.(body);
  return concatBytes(header, body);
}

function quoteOf(form: QuoteForm, changes: PlatformChanges, certificates: readonly TestCertificate[]): Bytes {
  const signedBytes = signedBytesOf(form, changes);
  const { attestation } = keys;
  const point = attestation.spki.subarray(-64);
  const authentication = Uint8Array.from({ length: 32 }, (_, at) => at);
  const quotingReport = enclaveReport("1500000000000000e700000000000000", QUOTING_SIGNER, isGuest(form) ? 2 : 1, 8);
  changes.quotingReport?.(quotingReport);
  quotingReport.set(concatBytes(digest(concatBytes(point, authentication)), new Uint8Array(32)), 320);
  changes.boundReport?.(quotingReport);
  const pem = concatBytes(utf8Encode(certificatesPem(certificates.map(({ der }) => der))), Uint8Array.of(0));
  const data = changes.certificationData ?? pem;
  const quoting = concatBytes(
    quotingReport,
    raw(quotingReport, (changes.quotingSigner ?? changes.leaf?.key ?? keys.leaf).privateKey),
    le(authentication.length, 2),
    authentication,
    le(changes.certificationKind ?? 5, 2),
    le(data.length, 4),
    data,
  );
  const signature = raw(signedBytes, (changes.quoteSigner ?? attestation).privateKey);
  const rest = form === "sgx-3" ? quoting : concatBytes(le(6, 2), le(quoting.length, 4), quoting);
  const signatureData = concatBytes(signature, point, rest);
  return concatBytes(signedBytes, le(signatureData.length, 4), signatureData);
}

function signedText(text: string, key: TestKey): string {
  return toHex(raw(utf8Encode(text), key.privateKey));
}

/** JSON of a document, written as Intel writes it, and its signature. */
function written(document: Document, change: Change<Document> | undefined, key: TestKey): readonly [string, string] {
  change?.(document);
  const text = JSON.stringify(document);
  return [text, signedText(text, key)];
}

/** The signature of a text by the key that signs TCB infos. */
export function signDocument(text: string): string {
  return signedText(text, keys.tcbSigning);
}

function listOf(issuer: TestCertificate, change: PlatformChanges["rootList"], made: Made): string {
  return toHex(issueRevocationList({ issuer, ...(typeof change === "function" ? change(made) : change) }));
}

const pemOf = (chain: readonly TestCertificate[]): string => certificatesPem(chain.map(({ der }) => der));
const same = (chain: readonly TestCertificate[]): readonly TestCertificate[] => chain;

/** Makes a quote with its collateral. */
export function makeEvidence(changes: PlatformChanges = {}): TestEvidence {
  const { form = "tdx-5-15" } = changes;
  const made = makeCertificates(changes);
  const { root, authority, leaf, tcbSigning } = made;
  const signer = changes.documentSigner ?? tcbSigning.key;
  const [tcbInfo, tcbInfoSignature] = written(tcbInfoOf(form), changes.tcbInfo, signer);
  const [identity, identitySignature] = written(identityOf(form), changes.identity, signer);
  const tcbChain = [tcbSigning, root];
  const collateral: Record<string, unknown> = {
    root_ca_crl: listOf(root, changes.rootList, made),
    pck_crl: listOf(authority, changes.pckList, made),
    tcb_info_issuer_chain: pemOf((changes.tcbChain ?? same)(tcbChain)),
    tcb_info: tcbInfo,
    tcb_info_signature: tcbInfoSignature,
    qe_identity_issuer_chain: pemOf((changes.identityChain ?? changes.tcbChain ?? same)(tcbChain)),
    qe_identity: identity,
    qe_identity_signature: identitySignature,
  };
  changes.collateral?.(collateral);
  const chain = (changes.chain ?? same)([leaf, authority, root]);
  return {
    ...made,
    quote: quoteOf(form, changes, chain),
    collateral: utf8Encode(JSON.stringify(collateral)),
    roots: [pinOf(keys.root)],
    nowMs: NOW_MS,
  };
}
