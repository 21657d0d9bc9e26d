/**
 * Reading X.509 certificates of the service and of nodes with the runtime's own parser; those of actors and their staff are
 * read with src/core/certificates.
 *
 * `new X509Certificate(bytes)` tries PEM before DER, so that a DER certificate with PEM inside would be read as the one
 * inside; DER is therefore wrapped into PEM first and compared with what was parsed.
 */
import { X509Certificate } from "node:crypto";
import { bytesEqual, type Bytes } from "../../core/codec/bytes.ts";
import { MAX_CERTIFICATE_BYTES } from "../../core/governance/certificate-limits.ts";
import { isOneDerSequence, pemOfDer } from "../../core/governance/pem.ts";

/** The certificate in DER bytes; undefined when they are none. */
export function readCertificate(der: Bytes): X509Certificate | undefined {
  if (der.length > MAX_CERTIFICATE_BYTES || !isOneDerSequence(der)) return undefined;
  try {
    const certificate = new X509Certificate(pemOfDer(der, "CERTIFICATE"));
    return bytesEqual(certificate.raw, der) ? certificate : undefined;
  } catch {
    return undefined;
  }
}
