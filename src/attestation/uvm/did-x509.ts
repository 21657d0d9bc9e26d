/**
 * Resolution of did:x509 (version 0): a name for whoever holds a certificate that a pinned CA issued, with further properties
 * of the certificate as predicates. Source: the method's specification (microsoft/did-x509), whose test vectors hold.
 *
 * The certificates' validity is left aside, as the method says: what such a DID signs is meant to be checked later. All links
 * of the chain must hold by RFC 5280, whichever CA is pinned. The leaf's own fingerprint never counts.
 */
import { fitsKey, isStrongKey, type SignatureHash } from "../../core/certificates/algorithm.ts";
import { type Certificate, tryParseCertificate } from "../../core/certificates/certificate.ts";
import { breaksConstraints, isSelfIssued, namesIssuer, signatureProblem } from "../../core/certificates/path.ts";
import { toBase64Url } from "../../core/codec/base64.ts";
import { type Bytes, utf8Decode } from "../../core/codec/bytes.ts";
import { MAX_DID_LENGTH } from "../../core/governance/policy-snp.ts";
import { CocoError } from "../../errors.ts";
import type { AttestationCrypto } from "../checks.ts";

/** Most certificates of a chain under a did:x509. */
export const MAX_DID_CHAIN = 8;

/** What a DID stands for. */
export interface ResolvedDid {
  readonly leaf: Certificate;
  /** Whether its key may sign. */
  readonly maySign: boolean;
  /** Whether its key may agree on keys. */
  readonly mayAgree: boolean;
}

/** Why a DID cannot be resolved with a chain. */
export interface DidProblem {
  readonly problem: string;
}

type Predicate = (leaf: Certificate) => boolean;

interface ParsedDid {
  readonly hash: SignatureHash;
  readonly fingerprint: string;
  readonly predicates: readonly Predicate[];
}

const PREFIX = "did:x509:0:";
const SEPARATOR = "::";
const ENCODED = /^(?:[A-Za-z0-9._-]|%[0-9A-Fa-f]{2})+$/;
const OBJECT_IDENTIFIER = /^[0-2](?:\.(?:0|[1-9][0-9]*))+$/;
const CERTIFICATE_POLICIES = "2.5.29.32";
const FULCIO_ISSUER = "1.3.6.1.4.1.57264.1.1";
const HASHES: readonly SignatureHash[] = ["sha256", "sha384", "sha512"];
const SUBJECT_KEYS: Readonly<Record<string, string>> = {
  CN: "2.5.4.3",
  C: "2.5.4.6",
  L: "2.5.4.7",
  ST: "2.5.4.8",
  STREET: "2.5.4.9",
  O: "2.5.4.10",
  OU: "2.5.4.11",
};
const ALTERNATIVE_NAMES: readonly string[] = ["email", "dns", "uri"];

/** Resolves a DID with a chain of certificates, DER, from the leaf upwards. */
export function resolveDidX509(
  did: string,
  chain: readonly Bytes[],
  crypto: AttestationCrypto,
): ResolvedDid | DidProblem {
  const parsed = parseDid(did);
  if ("problem" in parsed) return parsed;
  if (chain.length < 2 || chain.length > MAX_DID_CHAIN)
    return { problem: `the chain has ${chain.length} certificates, 2 to ${MAX_DID_CHAIN} are expected` };
  const certificates = chain.map(tryParseCertificate).filter((certificate) => certificate !== undefined);
  const [leaf, ...authorities] = certificates;
  if (leaf === undefined || certificates.length !== chain.length) return { problem: "a certificate cannot be read" };
  const problem = chainProblem(certificates, crypto) ?? leafProblem(leaf);
  if (problem !== undefined) return { problem };
  const isPinned = ({ der }: Certificate): boolean =>
    toBase64Url(crypto.digest(parsed.hash, der)) === parsed.fingerprint;
  if (!authorities.some(isPinned)) return { problem: "no CA of the chain has the fingerprint" };
  if (!parsed.predicates.every((holds) => holds(leaf))) return { problem: "the leaf is not what a predicate says" };
  const { keyUsage } = leaf;
  return { leaf, maySign: keyUsage?.digitalSignature ?? true, mayAgree: keyUsage?.keyAgreement ?? true };
}

function parseDid(url: string): ParsedDid | DidProblem {
  if (url.length > MAX_DID_LENGTH) return { problem: "the DID is too long" };
  // What follows names a part of the resolved document.
  const [did = ""] = url.split("#");
  if (!did.startsWith(PREFIX)) return { problem: `the DID does not begin with ${PREFIX}` };
  const [authority = "", ...texts] = did.slice(PREFIX.length).split(SEPARATOR);
  const [name, fingerprint = "", ...more] = authority.split(":");
  const hash = HASHES.find((candidate) => candidate === name);
  if (hash === undefined) return { problem: "the fingerprint's hash is not supported" };
  if (more.length > 0 || !/^[A-Za-z0-9_-]+$/.test(fingerprint)) return { problem: "the fingerprint is malformed" };
  if (texts.length === 0) return { problem: "the DID has no predicate" };
  const predicates = texts.map(parsePredicate).filter((predicate) => predicate !== undefined);
  if (predicates.length !== texts.length) return { problem: "a predicate is unknown or malformed" };
  return { hash, fingerprint, predicates };
}

function parsePredicate(text: string): Predicate | undefined {
  const [name, ...encoded] = text.split(":");
  const values = encoded.map(decodeValue).filter((value) => value !== undefined);
  if (values.length === 0 || values.length !== encoded.length) return undefined;
  switch (name) {
    case "eku":
      return ekuPredicate(values);
    case "subject":
      return subjectPredicate(values);
    case "san":
      return sanPredicate(values);
    case "fulcio-issuer":
      return fulcioPredicate(values);
    default:
      return undefined;
  }
}

function decodeValue(encoded: string): string | undefined {
  if (!ENCODED.test(encoded)) return undefined;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

function ekuPredicate([purpose = "", ...more]: readonly string[]): Predicate | undefined {
  if (more.length > 0 || !OBJECT_IDENTIFIER.test(purpose)) return undefined;
  return ({ keyPurposes }) => keyPurposes?.includes(purpose) === true;
}

function subjectPredicate(values: readonly string[]): Predicate | undefined {
  if (values.length % 2 !== 0) return undefined;
  const wanted = new Map<string, string>();
  for (let at = 0; at < values.length; at += 2) {
    const key = values[at] ?? "";
    const type = Object.hasOwn(SUBJECT_KEYS, key) ? SUBJECT_KEYS[key] : OBJECT_IDENTIFIER.test(key) ? key : undefined;
    if (type === undefined || wanted.has(type)) return undefined;
    wanted.set(type, values[at + 1] ?? "");
  }
  return ({ subject: { attributes } }) => {
    const actual = new Map(attributes.map(({ type, text }) => [type, text]));
    // With an attribute that stands there twice, two readers may see two names.
    return actual.size === attributes.length && [...wanted].every(([type, text]) => actual.get(type) === text);
  };
}

function sanPredicate([form = "", text, ...more]: readonly string[]): Predicate | undefined {
  if (text === undefined || more.length > 0 || !ALTERNATIVE_NAMES.includes(form)) return undefined;
  return ({ alternativeNames }) =>
    alternativeNames.some((name) => name.form === form && "text" in name && name.text === text);
}

function fulcioPredicate([issuer = "", ...more]: readonly string[]): Predicate | undefined {
  if (more.length > 0) return undefined;
  return ({ extensions }) => {
    const value = extensions.find(({ identifier }) => identifier === FULCIO_ISSUER)?.value;
    return value !== undefined && textOf(value) === `https://${issuer}`;
  };
}

/** This extension's value is text without any encoding around it. */
function textOf(value: Bytes): string | undefined {
  try {
    return utf8Decode(value);
  } catch (error) {
    if (error instanceof CocoError) return undefined;
    throw error;
  }
}

function chainProblem(chain: readonly Certificate[], crypto: AttestationCrypto): string | undefined {
  for (const [at, certificate] of chain.entries()) {
    const name = certificate.subject.text;
    // Policies of certificates bind nobody here: no set of them is asked for.
    if (certificate.unknownCritical.some((identifier) => identifier !== CERTIFICATE_POLICIES))
      return `${name}: a critical extension is not understood`;
    if (at > 0 && !mayIssue(certificate, chain.slice(1, at))) return `${name}: may not issue the certificate below it`;
    if (breaksConstraints(certificate, chain.slice(at + 1), at === 0))
      return `${name}: a CA above may not issue for it`;
    const issuer = chain[at + 1];
    if (issuer === undefined) continue;
    const isIssued = namesIssuer(certificate, issuer) && fitsKey(certificate.algorithm, issuer.keyType);
    if (!isIssued || signatureProblem(certificate, issuer, crypto.verify) !== undefined)
      return `${name}: not issued by the certificate above it`;
  }
  return undefined;
}

function mayIssue({ isCa, keyUsage, pathLength }: Certificate, below: readonly Certificate[]): boolean {
  const length = below.filter((certificate) => !isSelfIssued(certificate)).length;
  return isCa && keyUsage?.certificateSign !== false && length <= (pathLength ?? length);
}

function leafProblem({ keyUsage, keyType, alternativeNames }: Certificate): string | undefined {
  if (!isStrongKey(keyType)) return "the leaf's key is too weak";
  if (keyUsage !== undefined && !keyUsage.digitalSignature && !keyUsage.keyAgreement)
    return "the leaf's key may neither sign nor agree on keys";
  const isKnown = alternativeNames.every(({ form }) => form === "directory" || ALTERNATIVE_NAMES.includes(form));
  return isKnown ? undefined : "the leaf has an alternative name of an unknown form";
}
