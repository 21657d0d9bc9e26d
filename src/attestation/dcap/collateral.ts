/**
 * Collateral of a quote: what Intel says of the platform and of its quoting enclave, and lists of revoked certificates. Its
 * form is one JSON object of texts, with the names of Intel's `sgx_ql_qve_collateral_t` (what services for collateral and
 * `dcap-qvl` write). The attester fetches it; it travels with the quote, so that verifiers ask nobody.
 */
import { readOrNothing } from "../../core/certificates/certificate.ts";
import { fromHex, utf8Decode, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { parseStrictJson } from "../../core/codec/json.ts";
import { CocoError } from "../../errors.ts";
import { ecdsaSignature } from "../raw-keys.ts";
import type { Chain, ChainContext } from "./chains.ts";

/** Largest collateral in bytes. */
export const MAX_COLLATERAL_BYTES = 512 * 1024;

/** Names of the fields that must be there. */
export const COLLATERAL_FIELDS = [
  "root_ca_crl",
  "pck_crl",
  "tcb_info_issuer_chain",
  "tcb_info",
  "tcb_info_signature",
  "qe_identity_issuer_chain",
  "qe_identity",
  "qe_identity_signature",
] as const;
/**
 * Names that may be there and are not used: the chains of the PCK certificate and of its issuer's revocation list are those of
 * the quote, and what it is of the quote itself says; the version is that of the structure in C.
 */
const UNUSED_FIELDS: readonly string[] = ["pck_crl_issuer_chain", "pck_certificate_chain", "version", "tee_type"];

/** Collateral by the names of its fields; each still as text. */
export type Collateral = Readonly<Record<(typeof COLLATERAL_FIELDS)[number], string>>;

/** Reads collateral; throws `MalformedInput`. */
export function parseCollateral(bytes: Bytes): Collateral {
  if (bytes.length > MAX_COLLATERAL_BYTES) throw new CocoError("MalformedInput", "collateral: too large");
  const fields = parseStrictJson(utf8Decode(bytes));
  if (!(fields instanceof Map)) throw new CocoError("MalformedInput", "collateral: expected an object");
  for (const name of fields.keys())
    if (!COLLATERAL_FIELDS.some((field) => field === name) && !UNUSED_FIELDS.includes(name))
      throw new CocoError("MalformedInput", `collateral: a field that is not known: ${name.slice(0, 64)}`);
  const text = (name: (typeof COLLATERAL_FIELDS)[number]): string => {
    const value: unknown = fields.get(name);
    if (typeof value !== "string") throw new CocoError("MalformedInput", `collateral: ${name}: expected text`);
    return value;
  };
  return {
    root_ca_crl: text("root_ca_crl"),
    pck_crl: text("pck_crl"),
    tcb_info_issuer_chain: text("tcb_info_issuer_chain"),
    tcb_info: text("tcb_info"),
    tcb_info_signature: text("tcb_info_signature"),
    qe_identity_issuer_chain: text("qe_identity_issuer_chain"),
    qe_identity: text("qe_identity"),
    qe_identity_signature: text("qe_identity_signature"),
  };
}

/** The bytes of collateral, one line per field; {@link parseCollateral} reads them. */
export function encodeCollateral(collateral: Collateral): Bytes {
  const fields = COLLATERAL_FIELDS.map((name) => [name, collateral[name]]);
  return utf8Encode(`${JSON.stringify(Object.fromEntries(fields), null, 1)}\n`);
}

/** A document of collateral. */
interface SignedDocument<T> {
  readonly name: string;
  /** The very text that is signed. */
  readonly text: string;
  /** r and s, hex. */
  readonly signature: string;
  readonly chain: Chain | undefined;
  readonly parse: (text: string) => T;
}

/**
 * Checks that a document is signed by the leaf of its chain, well-formed and current; undefined when it can't be read. The
 * signature is over the text as it stands: written again, the same content has another one.
 */
export function judgeDocument<T extends { readonly issuedMs: number; readonly nextUpdateMs: number }>(
  { name, text, signature, chain, parse }: SignedDocument<T>,
  { checks, crypto, nowMs }: ChainContext,
): T | undefined {
  const key = chain?.[0]?.publicKey;
  const isSigned =
    key !== undefined &&
    /^[0-9a-fA-F]{128}$/.test(signature) &&
    crypto.verify({ type: "ecdsa", hash: "sha256" }, key, utf8Encode(text), ecdsaSignature(fromHex(signature)));
  checks.require(`${name}: signature`, isSigned, "CollateralInvalid", "not signed by the leaf of its chain");
  const document = readOrNothing(() => parse(text));
  if (!checks.require(`${name}: form`, document !== undefined, "CollateralInvalid", "not well-formed") || !document)
    return undefined;
  const isCurrent = document.issuedMs <= nowMs && nowMs <= document.nextUpdateMs;
  checks.require(`${name}: dates`, isCurrent, "CollateralExpired", "not valid at this time");
  return document;
}
