/**
 * Collateral of DCAP quotes from Intel's Provisioning Certification Service (PCS, API version 4), or from a cache that speaks
 * the same API (PCCS). The attester fetches it and sends it along; nothing here is trusted, verifiers check signatures.
 *
 * What was fetched is kept in a file per kind of platform and used while all of it is valid, for a week at most; a day before that ends
 * it is fetched anew, while what is kept serves. It is forgotten when a quote does not verify with it.
 */
import {
  encodeCollateral,
  MAX_COLLATERAL_BYTES,
  parseCollateral,
  type Collateral,
} from "../../attestation/dcap/collateral.ts";
import { platformOf } from "../../attestation/dcap/pck.ts";
import { parseQuote } from "../../attestation/dcap/quote.ts";
import { cutSignedJson } from "../../attestation/dcap/signed-json.ts";
import { parseQuotingIdentity, parseTcbInfo } from "../../attestation/dcap/tcb-info.ts";
import { revocationListOf } from "../../attestation/dcap/text-forms.ts";
import { parseCertificate, readOrNothing } from "../../core/certificates/certificate.ts";
import { MAX_REVOCATION_LIST_BYTES, parseRevocationList } from "../../core/certificates/crl.ts";
import { commonNameOf } from "../../core/certificates/name.ts";
import { toHex, utf8Decode, type Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import {
  type Answer,
  collateralUnavailable,
  type FetchOptions,
  KEPT_COLLATERAL_MS,
  KeptAnswers,
  request,
  withDeadline,
} from "./bounded-fetch.ts";

/** Intel's service. */
export const INTEL_PCS_URL = "https://api.trustedservices.intel.com";
/** The root's list of revoked certificates, DER, which Intel serves apart from the rest. */
export const INTEL_ROOT_LIST_URL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";
/** Longest issuer chain in a header of an answer, in characters. */
export const MAX_CHAIN_HEADER_LENGTH = 16 * 1024;

/** Gives the collateral of a quote, as collateral.ts reads it. */
export interface CollateralSource {
  (quote: Bytes): Promise<Bytes>;
  /** Forgets what is kept for such quotes, because one does not verify with it; sources that keep nothing have nothing to forget. */
  readonly forget?: (quote: Bytes) => Promise<void>;
}

/** Where collateral comes from. */
export interface IntelCollateralOptions extends FetchOptions {
  /** {@link INTEL_PCS_URL} unless given: the address of a PCCS, say. */
  readonly serviceUrl?: string;
  /** {@link INTEL_ROOT_LIST_URL} unless given; a PCCS has it at `/sgx/certification/v4/rootcacrl`. */
  readonly rootListUrl?: string;
}

/** Of which kind a platform is: what its collateral is asked for by. */
interface PlatformKind {
  readonly tee: "sgx" | "tdx";
  readonly fmspc: string;
  readonly authority: "platform" | "processor";
}

const AUTHORITIES: ReadonlyMap<string | undefined, PlatformKind["authority"]> = new Map([
  ["Intel SGX PCK Platform CA", "platform"],
  ["Intel SGX PCK Processor CA", "processor"],
]);

/** Makes a source of collateral over Intel's service. */
export function createIntelCollateral(options: IntelCollateralOptions): CollateralSource {
  const answers = new KeptAnswers(options);
  const source = async (quote: Bytes) => {
    const kind = platformKind(quote);
    const bounded = withDeadline(options);
    return answers.get({
      name: nameOf(kind),
      maxBytes: MAX_COLLATERAL_BYTES,
      usableUntilMs: (bytes: Bytes) => validUntilMs(bytes, kind),
      maxAgeMs: KEPT_COLLATERAL_MS,
      ask: async () => encodeCollateral(await fetchCollateral(kind, bounded)),
    });
  };
  return Object.assign(source, { forget: (quote: Bytes) => answers.forget(nameOf(platformKind(quote))) });
}

function nameOf({ tee, fmspc, authority }: PlatformKind): string {
  return `dcap-${tee}-${fmspc}-${authority}.json`;
}

function platformKind(quote: Bytes): PlatformKind {
  const { body, certificates = [] } = parseQuote(quote);
  const [leaf] = certificates;
  if (leaf === undefined) throw collateralUnavailable("the quote carries no certificates that name its platform");
  const certificate = parseCertificate(leaf);
  const authority = AUTHORITIES.get(commonNameOf(certificate.issuer));
  if (authority === undefined) throw collateralUnavailable(`no PCK CA: ${certificate.issuer.text}`);
  return { tee: body.kind === "enclave" ? "sgx" : "tdx", fmspc: platformOf(certificate).fmspc, authority };
}

async function fetchCollateral({ tee, fmspc, authority }: PlatformKind, options: IntelCollateralOptions) {
  const base = (options.serviceUrl ?? INTEL_PCS_URL).replace(/\/+$/, "");
  const api = `${base}/${tee}/certification/v4`;
  const [info, identity, pckList, rootList] = await Promise.all([
    request(`${api}/tcb?fmspc=${fmspc}`, options),
    request(`${api}/qe/identity`, options),
    request(`${base}/sgx/certification/v4/pckcrl?ca=${authority}&encoding=der`, options),
    request(options.rootListUrl ?? INTEL_ROOT_LIST_URL, options),
  ]);
  const tcbInfo = signedDocument(info, "tcbInfo", parseTcbInfo);
  const quotingIdentity = signedDocument(identity, "enclaveIdentity", parseQuotingIdentity);
  const collateral: Collateral = {
    root_ca_crl: revocationList(rootList),
    pck_crl: revocationList(pckList),
    tcb_info_issuer_chain: chainOf(info, "TCB-Info-Issuer-Chain"),
    tcb_info: tcbInfo.document,
    tcb_info_signature: tcbInfo.signature,
    qe_identity_issuer_chain: chainOf(identity, "SGX-Enclave-Identity-Issuer-Chain"),
    qe_identity: quotingIdentity.document,
    qe_identity_signature: quotingIdentity.signature,
  };
  return collateral;
}

/** What `read` makes of an answer; an answer that it refuses is of no use to anybody. */
function fromAnswer<T>({ url }: Answer, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CocoError && error.code === "Internal") throw error;
    throw collateralUnavailable(`${url}: ${what} that cannot be read`, error);
  }
}

function signedDocument(answer: Answer, name: string, parse: (text: string) => unknown) {
  return fromAnswer(answer, "a document", () => {
    const signed = cutSignedJson(utf8Decode(answer.body), name);
    parse(signed.document);
    return signed;
  });
}

/** A list in DER, or in its hex as a PCCS gives it. */
function revocationList(answer: Answer): string {
  return fromAnswer(answer, "a revocation list", () => {
    const { body } = answer;
    const der = body[0] === 0x30 && body.length <= MAX_REVOCATION_LIST_BYTES && !isText(body) ? body : undefined;
    const list = der ?? revocationListOf(utf8Decode(body));
    parseRevocationList(list);
    return toHex(list);
  });
}

/** DER begins with 0x30 as hex of DER does ("30..."): what follows tells them apart. */
function isText(body: Bytes): boolean {
  return body.every((byte) => byte >= 0x20 && byte < 0x7f);
}

function chainOf(answer: Answer, name: string): string {
  const value = answer.header(name);
  if (value === null || value.length > MAX_CHAIN_HEADER_LENGTH)
    throw collateralUnavailable(`${answer.url}: without its issuer chain`);
  return fromAnswer(answer, "an issuer chain", () => decodedHeader(value));
}

function decodedHeader(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch (error) {
    throw new CocoError("MalformedInput", "a header that is not encoded as in URLs", {}, { cause: error });
  }
}

/** Until when all of collateral is valid; undefined where it cannot be read, or is of another platform. */
function validUntilMs(bytes: Bytes, { fmspc }: PlatformKind): number | undefined {
  return readOrNothing(() => {
    const collateral = parseCollateral(bytes);
    const info = parseTcbInfo(collateral.tcb_info);
    if (info.fmspc !== fmspc) throw new CocoError("MalformedInput", "collateral of another platform");
    return Math.min(
      info.nextUpdateMs,
      parseQuotingIdentity(collateral.qe_identity).nextUpdateMs,
      parseRevocationList(revocationListOf(collateral.pck_crl)).nextUpdateMs,
      parseRevocationList(revocationListOf(collateral.root_ca_crl)).nextUpdateMs,
    );
  });
}
