/**
 * Verifying a receipt, JSON or COSE, with node:crypto. The service certificate is the only trust anchor; a node's certificate must be
 * signed by it, or by one that a chain of endorsements leads to it: a newer one by those of the receipt, an older or newer
 * one by those given beside it.
 *
 * Dates of certificates are not looked at: a receipt is to hold for as long as the service's key is trusted, long after
 * the certificate of the node that signed it has run out.
 */
import type { X509Certificate } from "node:crypto";
import { type Bytes, toHex } from "../core/codec/bytes.ts";
import { parseStrictJson } from "../core/codec/json.ts";
import { derOfPem } from "../core/governance/pem.ts";
import { COSE_RECEIPT_FIRST_BYTE, verifyCoseReceipt } from "../core/ledger/cose-receipt.ts";
import { MAX_ENDORSEMENTS, verifyReceipt } from "../core/ledger/receipt.ts";
import { endorsementUseOf } from "../enclave/manager/certificates.ts";
import { readCertificate } from "../enclave/manager/certificate-reader.ts";
import { createVerifier, sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";

/** What a valid receipt proves, as the command prints it. */
export type ProvenReceipt = Readonly<Record<"transaction_id" | "claims_digest", string | null>> &
  Readonly<Record<"node_id" | "root", string>>;

/** What a valid COSE receipt proves, as the command prints it. */
export type ProvenCoseReceipt = Readonly<
  Record<"transaction_id" | "signature_transaction_id" | "claims_digest" | "root" | "issuer" | "issued_at", string>
>;

function certificateOf(pem: string): X509Certificate | undefined {
  const der = derOfPem(pem, "CERTIFICATE");
  return der === undefined ? undefined : readCertificate(der);
}

/** Only by keys on elliptic curves, as all of a service's are: others can be made that take minutes to verify with. */
function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  if (!issuer.ca || !certificate.checkIssued(issuer)) return false;
  return issuer.publicKey.asymmetricKeyType === "ec" && certificate.verify(issuer.publicKey);
}

/**
 * Whether a path of signatures leads from a certificate over some of the endorsements to the trusted one. Each endorsement
 * is followed once, so that a receipt full of certificates that sign each other takes no longer than an honest one.
 */
function leadsTo(
  trusted: X509Certificate,
  certificate: X509Certificate,
  endorsements: readonly X509Certificate[],
): boolean {
  let unseen = endorsements;
  const reached = [certificate];
  for (const next of reached) {
    if (isSignedBy(next, trusted)) return true;
    const issuers = unseen.filter((issuer) => isSignedBy(next, issuer));
    unseen = unseen.filter((issuer) => !issuers.includes(issuer));
    reached.push(...issuers);
  }
  return false;
}

function trustedCertificate(pem: string): X509Certificate {
  const trusted = certificateOf(pem);
  if (trusted === undefined)
    throw new CocoError("ConfigurationInvalid", "the service certificate is not one certificate in PEM");
  return trusted;
}

function publicKeyOf(certificate: X509Certificate): Bytes {
  return certificate.publicKey.export({ type: "spki", format: "der" });
}

/** The certificates of a text that holds any number of them in PEM. Throws `ConfigurationInvalid` when one is none. */
function certificatesOf(bundle: string): readonly X509Certificate[] {
  const blocks = bundle.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  const certificates = blocks.map(certificateOf).filter((certificate) => certificate !== undefined);
  const isWhole = certificates.length === (bundle.match(/-----BEGIN/g) ?? []).length;
  if (!isWhole || blocks.length > MAX_ENDORSEMENTS)
    throw new CocoError(
      "ConfigurationInvalid",
      `the endorsements are not up to ${MAX_ENDORSEMENTS} certificates in PEM`,
    );
  return certificates;
}

/** Keys of the service that a certificate vouches for: its own, and those that endorsements lead to. */
function serviceKeysOf(trusted: X509Certificate, endorsements: readonly X509Certificate[]): readonly Bytes[] {
  const vouched = endorsements.filter((endorsement) => endorsement.ca && leadsTo(trusted, endorsement, endorsements));
  return [trusted, ...vouched].map(publicKeyOf);
}

/**
 * Verifies the bytes of a receipt, JSON or COSE, by the service certificate (PEM) and, beside those in the receipt, by
 * `endorsements` (any number of certificates in PEM). Throws `ReceiptInvalid` naming what is wrong, and
 * `ConfigurationInvalid` when what is given beside the receipt are no certificates.
 */
export function verifyReceiptFile(
  receipt: Bytes,
  serviceCertificate: string,
  endorsements = "",
): ProvenReceipt | ProvenCoseReceipt {
  if (receipt[0] !== COSE_RECEIPT_FIRST_BYTE)
    return verifyReceiptText(Buffer.from(receipt).toString("utf8"), serviceCertificate, endorsements);
  const serviceKeys = serviceKeysOf(trustedCertificate(serviceCertificate), certificatesOf(endorsements));
  const proven = verifyCoseReceipt(receipt, { sha256, verify: createVerifier(), serviceKeys });
  return {
    transaction_id: proven.transactionId,
    signature_transaction_id: proven.signatureTransactionId,
    claims_digest: toHex(proven.claimsDigest),
    root: toHex(proven.root),
    issuer: proven.issuer,
    issued_at: new Date(proven.issuedAt * 1000).toISOString(),
  };
}

/** Code and message of an error that a node answers with; whoever saves answers saves these, too. */
function failureIn(document: unknown): string | undefined {
  if (typeof document !== "object" || document === null || !("error" in document)) return undefined;
  const { error } = document;
  if (typeof error !== "object" || error === null || !("code" in error) || !("message" in error)) return undefined;
  return `${String(error.code)}: ${String(error.message)}`.replaceAll(/\p{Cc}/gu, " ").slice(0, 500);
}

/** Verifies the text of a JSON receipt; see {@link verifyReceiptFile}. */
export function verifyReceiptText(receipt: string, serviceCertificate: string, endorsements = ""): ProvenReceipt {
  const trusted = trustedCertificate(serviceCertificate);
  const given = certificatesOf(endorsements);
  let parsed: unknown;
  try {
    // A name that stands twice would tell another reader something else than what is verified.
    parseStrictJson(receipt);
    parsed = JSON.parse(receipt);
  } catch (error) {
    const why = error instanceof CocoError ? `: ${error.message}` : "";
    throw new CocoError("ReceiptInvalid", `receipt: it is not JSON${why}`, {}, { cause: error });
  }
  const failure = failureIn(parsed);
  if (failure !== undefined)
    throw new CocoError("ReceiptInvalid", `the file holds no receipt but what a node answered instead: ${failure}`);
  const checkNodeCertificate = (pem: string, embedded: readonly string[]): Bytes | undefined => {
    const certificate = certificateOf(pem);
    const issuers = embedded.map(certificateOf);
    if (certificate === undefined || !issuers.every((issuer) => issuer !== undefined)) return undefined;
    // What vouches for another key of the service, as the public back endorsement of an old one does, is no node's certificate.
    if (certificate.ca) return undefined;
    // Who holds an old key can put the public back endorsement of it into a receipt: that is followed only as given beside it.
    const forward = issuers.filter((issuer) => endorsementUseOf(issuer.keyUsage) === "service");
    if (!leadsTo(trusted, certificate, [...forward, ...given])) return undefined;
    return publicKeyOf(certificate);
  };
  const proven = verifyReceipt(parsed, { sha256, verify: createVerifier(), checkNodeCertificate });
  return {
    transaction_id: proven.transactionId ?? null,
    node_id: proven.nodeId,
    claims_digest: proven.claimsDigest === undefined ? null : toHex(proven.claimsDigest),
    root: toHex(proven.root),
  };
}
