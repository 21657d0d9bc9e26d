/**
 * Certificates of this machine's AMD chip, for a host that does not hand them in: from AMD's Key Distribution Service (AMD 57230),
 * from Azure's cache, or from the service that Azure has on every host (THIM). The attester fetches them and sends them along;
 * nothing here is trusted, verifiers check them up to AMD's pinned roots.
 *
 * A certificate is good for one chip at one TCB. It is kept in a file for a month at most, the list of revoked certificates for a week;
 * a day before that ends they are asked for anew, while what is kept serves. What the report does not verify for, certificates or list, is
 * forgotten, and not asked for again for a while; the other stays.
 */
import type { Endorsement } from "../../attestation/hardware-evidence.ts";
import { pinnedRoots } from "../../attestation/pinned-roots.ts";
import { MAX_CERTIFICATE_CONTAINER_BYTES, readCertificates } from "../../attestation/snp/certificates.ts";
import { generationOf, signingKeyOf } from "../../attestation/snp/claims.ts";
import { tcbExtensionsOf, tcbText } from "../../attestation/snp/product.ts";
import { parseSnpReport, type SnpReport } from "../../attestation/snp/report.ts";
import { SNP_LIST_CHECK } from "../../attestation/snp/chain.ts";
import type { SnpRoots } from "../../attestation/snp/roots.ts";
import { MAX_SNP_CERTIFICATES, SNP_REPORT_CHECKS, verifySnp } from "../../attestation/snp/verify.ts";
import { isForChip, readVek, tcbOfVek, type Vek } from "../../attestation/snp/vek.ts";
import { readOrNothing, tryParseCertificate } from "../../core/certificates/certificate.ts";
import { MAX_REVOCATION_LIST_BYTES, parseRevocationList } from "../../core/certificates/crl.ts";
import { commonNameOf } from "../../core/certificates/name.ts";
import { type Bytes, bytesEqual, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import { SNP_PRODUCTS, type SnpProduct } from "../../core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../../errors.ts";
import {
  collateralUnavailable,
  type FetchOptions,
  KEPT_CERTIFICATES_MS,
  KEPT_COLLATERAL_MS,
  KeptAnswers,
  request,
  withDeadline,
} from "./bounded-fetch.ts";
import type { ChipService } from "./tee-settings.ts";

/** Where the services are. */
export const CHIP_SERVICE_URLS: Readonly<Record<ChipService, string>> = {
  amd: "https://kdsintf.amd.com",
  "azure-cache": "https://global.acccache.azure.net",
  "azure-host": "http://169.254.169.254",
};

/** Gives the certificates that endorse the key of a report's chip, and the list of revoked ones where there is one. */
export type ChipCertificates = (report: Bytes) => Promise<readonly Endorsement[]>;

/** Where certificates come from. */
export interface ChipCertificateOptions extends FetchOptions {
  /** Those that are asked, one after the other until one has them; AMD's unless given. */
  readonly services?: readonly ChipService[];
  /** {@link CHIP_SERVICE_URLS} unless given. */
  readonly urls?: Readonly<Partial<Record<ChipService, string>>>;
  /** Roots that certificates must lead to, to stay kept; AMD's unless given, as tests do. */
  readonly roots?: SnpRoots;
}

/** Names of the parts of a TCB in AMD's queries, by the numbers of their extensions. */
const PART_NAMES: ReadonlyMap<number, string> = new Map([
  [9, "fmcSPL"],
  [1, "blSPL"],
  [2, "teeSPL"],
  [3, "snpSPL"],
  [8, "ucodeSPL"],
]);
const TURIN_CHIP_ID_BYTES = 8;
const AZURE_CACHE_VERSION = "2020-10-15-preview";

/** Makes a source of certificates over the services. */
export function createChipCertificates(options: ChipCertificateOptions): ChipCertificates {
  const answers = new KeptAnswers(options);
  return async (bytes) => {
    const report = parseSnpReport(bytes);
    const key = signingKeyOf(report);
    if (key !== "vcek") throw collateralUnavailable(`only chips' own keys have certificates to ask for, not a ${key}`);
    if (report.chipId.every((byte) => byte === 0)) throw collateralUnavailable("the report does not name its chip");
    const bounded = withDeadline(options);
    const name = `snp-${toHex(report.chipId)}-${tcbText(report.reportedTcb)}`;
    const content = await answers.get({
      name,
      maxBytes: MAX_CERTIFICATE_CONTAINER_BYTES,
      usableUntilMs: (kept) => vekFor(report, kept)?.certificate.notAfterMs,
      maxAgeMs: KEPT_CERTIFICATES_MS,
      ask: () => askServices(report, bounded),
    });
    const product = vekFor(report, content)?.product;
    const lists = await revocations(product, answers, bounded);
    // Others will say why; what is at fault is asked for again later.
    const fault = faultOf(bytes, content, lists, options);
    if (fault === "certificates") await answers.forget(name);
    if (fault === "list" && product !== undefined) await answers.forget(listName(product));
    return [{ kind: "certificates", content }, ...lists];
  };
}

/**
 * What is at fault where a report does not verify with what was given for it, as others will verify it: certificates that a good list
 * revokes, not that list. Nothing is, for what the report says of itself: it fails again with whatever comes.
 */
function faultOf(
  report: Bytes,
  container: Bytes,
  lists: readonly Endorsement[],
  { roots = pinnedRoots().amd, nowMs }: ChipCertificateOptions,
): "certificates" | "list" | undefined {
  const evidence = { report, certificates: readable(container), revocations: lists.map(({ content }) => content) };
  const { checks } = verifySnp(evidence, { roots, nowMs: nowMs() }, createAttestationCrypto());
  const failed = checks.flatMap(({ name, outcome }) => (outcome === "failed" && !isOfReport(name) ? [name] : []));
  if (failed.some((name) => name !== SNP_LIST_CHECK)) return "certificates";
  return failed.length > 0 ? "list" : undefined;
}

function isOfReport(name: string): boolean {
  return SNP_REPORT_CHECKS.some((check) => check === name);
}

function listName(product: SnpProduct): string {
  return `snp-${product}-revocations`;
}

/** Whether one of these endorsements has the certificate of the key that signed a report, for its TCB. */
export function hasCertificateFor(report: Bytes, endorsements: readonly Endorsement[]): boolean {
  const parsed = parseSnpReport(report);
  return endorsements.some(({ kind, content }) => kind === "certificates" && vekFor(parsed, content) !== undefined);
}

/** The certificate of the key that signed a report among those of a container; undefined also when that cannot be read. */
function vekFor(report: SnpReport, content: Bytes): Vek | undefined {
  const certificates = readable(content);
  // Evidence with more is refused as a whole.
  if (certificates.length > MAX_SNP_CERTIFICATES) return undefined;
  const veks = certificates.flatMap((der) => {
    const certificate = tryParseCertificate(der);
    return (certificate && readVek(certificate)) ?? [];
  });
  return veks.find((vek) => {
    const { product, kind } = vek;
    if (product === undefined || product !== generationOf(report, vek) || kind !== signingKeyOf(report)) return false;
    const tcb = tcbOfVek(vek, product);
    const isOfTcb = tcb !== undefined && bytesEqual(tcb, report.reportedTcb);
    return isOfTcb && (kind === "vlek" || isForChip(vek, report.chipId, product));
  });
}

function readable(container: Bytes): readonly Bytes[] {
  try {
    return readCertificates(container);
  } catch (error) {
    if (error instanceof CocoError && error.code === "EvidenceRejected") return [];
    throw error;
  }
}

/** The first answer with the certificate; without one, why the last service had none. */
async function askServices(report: SnpReport, options: ChipCertificateOptions): Promise<Bytes> {
  let problem: unknown = collateralUnavailable("no service for certificates of chips is configured");
  for (const service of options.services ?? ["amd"]) {
    try {
      return await askService(service, report, options);
    } catch (error) {
      if (!(error instanceof CocoError) || error.code !== "CollateralUnavailable") throw error;
      problem = error;
    }
  }
  throw problem;
}

async function askService(service: ChipService, report: SnpReport, options: ChipCertificateOptions): Promise<Bytes> {
  if (service === "amd") return askAmd(report, options);
  const base = urlOf(service, options);
  const { url, body } =
    service === "azure-host"
      ? await request(`${base}/metadata/THIM/amd/certification`, options, { Metadata: "true" })
      : await request(`${base}${azureCachePath(report)}`, options);
  if (vekFor(report, body) === undefined) throw collateralUnavailable(`${url}: no certificate for this chip and TCB`);
  return body;
}

function urlOf(service: ChipService, { urls = {} }: ChipCertificateOptions): string {
  return (urls[service] ?? CHIP_SERVICE_URLS[service]).replace(/\/+$/, "");
}

function azureCachePath({ chipId, reportedTcb }: SnpReport): string {
  const path = `/SevSnpVM/certificates/${toHex(chipId)}/${tcbText(reportedTcb)}`;
  return `${path}?api-version=${AZURE_CACHE_VERSION}`;
}

/** AMD files certificates by product, which reports of version 2 do not name. */
async function askAmd(report: SnpReport, options: ChipCertificateOptions): Promise<Bytes> {
  const named = generationOf(report, undefined);
  let problem: unknown;
  for (const product of named === undefined ? SNP_PRODUCTS : [named]) {
    const base = `${urlOf("amd", options)}/vcek/v1/${product}`;
    try {
      const { url, body } = await request(`${base}/${amdQuery(report, product)}`, options);
      if (vekFor(report, body) === undefined) throw collateralUnavailable(`${url}: not of this chip and TCB`);
      return await withChain(body, `${base}/cert_chain`, options);
    } catch (error) {
      if (!(error instanceof CocoError) || error.code !== "CollateralUnavailable") throw error;
      problem = error;
    }
  }
  throw problem;
}

function amdQuery({ chipId, reportedTcb }: SnpReport, product: SnpProduct): string {
  const id = toHex(product === "Turin" ? chipId.subarray(0, TURIN_CHIP_ID_BYTES) : chipId);
  const parts = tcbExtensionsOf(product).flatMap((extension, at) => {
    const name = PART_NAMES.get(extension);
    return name === undefined ? [] : [`${name}=${String(reportedTcb[at] ?? 0).padStart(2, "0")}`];
  });
  return `${id}?${parts.join("&")}`;
}

/** With the certificates above it, as far as AMD gives them: this program carries those it knows. */
async function withChain(der: Bytes, url: string, options: ChipCertificateOptions): Promise<Bytes> {
  try {
    const { body } = await request(url, options);
    const chain = readable(body);
    if (chain.length === 0 || chain.length >= MAX_SNP_CERTIFICATES) return der;
    return utf8Encode([der, ...chain].map((each) => pemOfDer(each, "CERTIFICATE")).join(""));
  } catch (error) {
    if (error instanceof CocoError && error.code === "CollateralUnavailable") return der;
    throw error;
  }
}

/** The list of the product's root, while it is current: one that has ended would make good evidence worthless. */
async function revocations(
  product: SnpProduct | undefined,
  answers: KeptAnswers,
  options: ChipCertificateOptions,
): Promise<readonly Endorsement[]> {
  const isAsked = (options.services ?? ["amd"]).includes("amd");
  if (product === undefined || !isAsked) return [];
  const url = `${urlOf("amd", options)}/vcek/v1/${product}/crl`;
  const usableUntilMs = (bytes: Bytes) => currentUntilMs(bytes, product, options.nowMs());
  try {
    const content = await answers.get({
      ...{ name: listName(product), maxBytes: MAX_REVOCATION_LIST_BYTES, usableUntilMs, maxAgeMs: KEPT_COLLATERAL_MS },
      ask: async () => {
        const { body } = await request(url, options);
        if (usableUntilMs(body) === undefined) throw collateralUnavailable(`${url}: no current list of ARK-${product}`);
        return body;
      },
    });
    return [{ kind: "revocations", content }];
  } catch (error) {
    if (error instanceof CocoError && error.code === "CollateralUnavailable") return [];
    throw error;
  }
}

function currentUntilMs(bytes: Bytes, product: SnpProduct, nowMs: number): number | undefined {
  if (bytes.length > MAX_REVOCATION_LIST_BYTES) return undefined;
  return readOrNothing(() => {
    const { issuer, thisUpdateMs, nextUpdateMs } = parseRevocationList(bytes);
    const isCurrent = thisUpdateMs <= nowMs && nowMs < nextUpdateMs;
    return isCurrent && commonNameOf(issuer) === `ARK-${product}` ? nextUpdateMs : undefined;
  });
}
