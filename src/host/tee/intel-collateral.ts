/**
 * Collateral of DCAP quotes from Intel's Provisioning Certification Service (PCS, API version 4), or from a cache that speaks
 * the same API (PCCS). The attester fetches it and sends it along; nothing here is trusted, verifiers check signatures.
 *
 * Each part that was fetched is kept in a file and used while it is valid, for a week at most; a day before that ends it is fetched
 * anew, while what is kept serves. The parts that a quote does not verify for are forgotten, and not asked for again for a while.
 */
import type { Check } from "../../attestation/checks.ts";
import { MAX_COLLATERAL_BYTES } from "../../attestation/dcap/collateral.ts";
import { platformOf } from "../../attestation/dcap/pck.ts";
import { parseQuote } from "../../attestation/dcap/quote.ts";
import { parseCertificate } from "../../core/certificates/certificate.ts";
import { commonNameOf } from "../../core/certificates/name.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import {
  collateralUnavailable,
  type FetchOptions,
  KEPT_COLLATERAL_MS,
  KeptAnswers,
  request,
  withDeadline,
} from "./bounded-fetch.ts";
import {
  COLLATERAL_PARTS,
  type CollateralPart,
  collateralOfParts,
  partsAtFault,
  type PlatformKind,
} from "./collateral-parts.ts";

/** Intel's service. */
export const INTEL_PCS_URL = "https://api.trustedservices.intel.com";
/** The root's list of revoked certificates, DER, which Intel serves apart from the rest. */
export const INTEL_ROOT_LIST_URL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

/** Gives the collateral of a quote, as collateral.ts reads it. */
export interface CollateralSource {
  (quote: Bytes): Promise<Bytes>;
  /**
   * Forgets what is kept for such quotes and is at fault for these checks of one that does not verify; sources that keep nothing
   * have nothing to forget.
   */
  readonly forget?: (quote: Bytes, checks: readonly Check[]) => Promise<void>;
}

/** Where collateral comes from. */
export interface IntelCollateralOptions extends FetchOptions {
  /** {@link INTEL_PCS_URL} unless given: the address of a PCCS, say. */
  readonly serviceUrl?: string;
  /** {@link INTEL_ROOT_LIST_URL} unless given; a PCCS has it at `/sgx/certification/v4/rootcacrl`. */
  readonly rootListUrl?: string;
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
    const kept = (part: CollateralPart): Promise<Bytes> =>
      answers.get({
        name: part.name(kind),
        maxBytes: MAX_COLLATERAL_BYTES,
        usableUntilMs: (bytes: Bytes) => part.validUntilMs(bytes, kind),
        maxAgeMs: KEPT_COLLATERAL_MS,
        ask: async () => part.take(await request(urlOf(part, kind, options), bounded)),
      });
    return collateralOfParts(await Promise.all(COLLATERAL_PARTS.map(kept)));
  };
  const forget = async (quote: Bytes, checks: readonly Check[]): Promise<void> => {
    const kind = platformKind(quote);
    await Promise.all(partsAtFault(checks).map((part) => answers.forget(part.name(kind))));
  };
  return Object.assign(source, { forget });
}

function urlOf({ path }: CollateralPart, kind: PlatformKind, options: IntelCollateralOptions): string {
  if (path === "root list") return options.rootListUrl ?? INTEL_ROOT_LIST_URL;
  return `${(options.serviceUrl ?? INTEL_PCS_URL).replace(/\/+$/, "")}${path(kind)}`;
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
