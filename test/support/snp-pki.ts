/**
 * Test support: chips, providers and roots of our own, so that reports can be signed correctly whatever they say. Nothing of
 * it counts where AMD's roots are pinned.
 */
import { createHash, sign } from "node:crypto";
import { parseCertificate } from "../../src/core/certificates/certificate.ts";
import { concatBytes, toHex, type Bytes } from "../../src/core/codec/bytes.ts";
import type { SnpProduct } from "../../src/core/governance/policy-snp.ts";
import type { SnpRoots } from "../../src/attestation/snp/roots.ts";
import { ia5, integer } from "./der-writer.ts";
import { type CertificateOptions, issue, makeKey, type TestCertificate, type TestKey } from "./issue-certificates.ts";

/** How AMD signs certificates. */
export const AMD_SIGNATURE = { algorithm: "pss", hash: "sha384", saltLength: 48 } as const;
/** The chip that test reports are of, unless they say otherwise. */
export const TEST_CHIP: Bytes = Uint8Array.from({ length: 64 }, (_, at) => at + 1);
/** The TCB of test reports, first byte first. */
export const TEST_TCB: Bytes = Uint8Array.of(4, 0, 0, 0, 0, 0, 0x18, 0xdb);
/** Likewise, of Turin. */
export const TURIN_TCB: Bytes = Uint8Array.of(1, 2, 0, 3, 0, 0, 0, 0x91);

const PREFIX = "1.3.6.1.4.1.3704.1";
const EARLY_PARTS = [1, 2, 4, 5, 6, 7, 3, 8];
const TURIN_PARTS = [9, 1, 2, 3, 5, 6, 7, 8];

/** What a certificate of a signing key says. */
export interface VekOptions {
  readonly kind?: "vcek" | "vlek";
  readonly tcb?: Bytes;
  /** Numbers of parts of the TCB whose extension is left out. */
  readonly without?: readonly number[];
  /** Value of the extension; undefined: left out. */
  readonly hardwareId?: Bytes | undefined;
  readonly providerId?: string;
  readonly certificate?: Partial<CertificateOptions>;
}

/** A report before it is signed: bytes by their place in it. */
export type ReportFields = Readonly<Record<number, Bytes | number>>;

/** A root of its own, what it issues, and reports by the keys that it vouches for. */
export interface SnpPki {
  readonly product: SnpProduct;
  readonly ark: TestCertificate;
  readonly ask: TestCertificate;
  readonly asvk: TestCertificate;
  readonly roots: SnpRoots;
  readonly vekKey: TestKey;
  vek(options?: VekOptions): TestCertificate;
  /** A signed report of version 3 with these fields in place of those of a good one. */
  report(fields?: ReportFields, signer?: TestKey): Bytes;
}

const CPU: Readonly<Record<SnpProduct, readonly [family: number, model: number]>> = {
  Milan: [0x19, 0x01],
  Genoa: [0x19, 0x11],
  Turin: [0x1a, 0x02],
};

/** Makes roots and an intermediate for each kind of key; takes a moment for the RSA keys, so tests share it. */
export function makeSnpPki(
  product: SnpProduct = "Milan",
  arkOptions: CertificateOptions = {},
  dates: Pick<CertificateOptions, "fromMs" | "untilMs"> = {},
): SnpPki {
  const ca = (subject: string, options: CertificateOptions): TestCertificate =>
    issue({ subject: `O=Test, CN=${subject}`, key: makeKey("rsa"), ca: true, ...AMD_SIGNATURE, ...dates, ...options });
  const ark = ca(`ARK-${product}`, arkOptions);
  const ask = ca(`SEV-${product}`, { issuer: ark, ca: { pathLength: 0 } });
  const asvk = issue({
    subject: `O=Test, CN=SEV-VLEK-${product}`,
    key: ask.key,
    issuer: ark,
    ca: { pathLength: 0 },
    ...AMD_SIGNATURE,
    ...dates,
  });
  const vekKey = makeKey("P-384");
  const pin = toHex(new Uint8Array(createHash("sha256").update(ark.key.spki).digest()));
  const tcb = product === "Turin" ? TURIN_TCB : TEST_TCB;
  return {
    product,
    ark,
    ask,
    asvk,
    roots: { pins: { [product]: pin }, certificates: [] },
    vekKey,
    vek: (options = {}) => issueVek({ product, ask, asvk, vekKey }, { tcb, certificate: dates, ...options }),
    report: (fields = {}, signer = vekKey) => signReport({ ...goodFields(product, tcb), ...fields }, signer),
  };
}

function issueVek(
  { product, ask, asvk, vekKey }: Pick<SnpPki, "product" | "ask" | "asvk" | "vekKey">,
  options: VekOptions,
): TestCertificate {
  const { kind = "vcek", tcb = TEST_TCB, without = [], providerId } = options;
  const shortId = product === "Turin" ? TEST_CHIP.subarray(0, 8) : TEST_CHIP;
  const hardwareId = "hardwareId" in options ? options.hardwareId : kind === "vcek" ? shortId : undefined;
  const provider = providerId ?? (kind === "vlek" ? "CN=cloud.example" : undefined);
  const parts = product === "Turin" ? TURIN_PARTS : EARLY_PARTS;
  const more = [
    { identifier: `${PREFIX}.1`, value: integer(1) },
    { identifier: `${PREFIX}.2`, value: ia5(`${product}-B0`) },
    ...parts
      .map((part, at) => ({ part, identifier: `${PREFIX}.3.${part}`, value: integer(tcb[at] ?? 0) }))
      .filter(({ part }) => !without.includes(part)),
    ...(hardwareId ? [{ identifier: `${PREFIX}.4`, value: hardwareId }] : []),
    ...(provider === undefined ? [] : [{ identifier: `${PREFIX}.5`, value: ia5(provider) }]),
  ];
  return issue({
    subject: `O=Test, CN=SEV-${kind.toUpperCase()}`,
    key: vekKey,
    issuer: kind === "vcek" ? ask : asvk,
    usage: 0,
    more,
    ...AMD_SIGNATURE,
    ...options.certificate,
  });
}

/** Numbers are one byte; everything else is zero. */
function goodFields(product: SnpProduct, tcb: Bytes): ReportFields {
  const chip = product === "Turin" ? TEST_CHIP.subarray(0, 8) : TEST_CHIP;
  return {
    0: 3,
    4: 2,
    8: Uint8Array.of(0x1f, 0, 3),
    52: 1,
    56: tcb,
    64: 0x25,
    80: new Uint8Array(64).fill(0x50),
    144: new Uint8Array(48).fill(0x90),
    192: new Uint8Array(32).fill(0xc0),
    384: tcb,
    392: Uint8Array.of(...CPU[product], 1),
    416: chip,
    480: tcb,
    496: tcb,
  };
}

function signReport(fields: ReportFields, { privateKey }: TestKey): Bytes {
  const report = new Uint8Array(1184);
  const write = (place: string, value: Bytes | number): void =>
    report.set(typeof value === "number" ? [value] : value, Number(place));
  const [signed, behind] = [0x2a0, Object.entries(fields)];
  for (const [place, value] of behind) if (Number(place) < signed) write(place, value);
  const signature = sign("sha384", report.subarray(0, signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  report.set(new Uint8Array(signature.subarray(0, 48)).toReversed(), signed);
  report.set(new Uint8Array(signature.subarray(48)).toReversed(), signed + 72);
  for (const [place, value] of behind) if (Number(place) >= signed) write(place, value);
  return report;
}

/** The parsed certificates of an issuer, for roots that carry them. */
export function known(...certificates: readonly TestCertificate[]): SnpRoots["certificates"] {
  return certificates.map(({ der }) => parseCertificate(der));
}

/** A host's table of certificates: entries of GUID in hex and content. */
export function certificateTable(entries: readonly (readonly [guid: string, content: Bytes])[]): Bytes {
  let offset = (entries.length + 1) * 24;
  const heads = entries.map(([guid, content]) => {
    const head = Buffer.alloc(24);
    head.write(guid, "hex");
    head.writeUInt32LE(offset, 16);
    head.writeUInt32LE(content.length, 20);
    offset += content.length;
    return new Uint8Array(head);
  });
  return concatBytes(...heads, new Uint8Array(24), ...entries.map(([, content]) => content));
}
