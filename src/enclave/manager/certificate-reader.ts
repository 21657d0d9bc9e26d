/**
 * Reading X.509 certificates, and finding the actor a certificate speaks for (R3).
 *
 * `new X509Certificate(bytes)` tries PEM before DER, so that a DER certificate with PEM inside would be read as the one
 * inside; DER is therefore wrapped into PEM first and compared with what was parsed.
 */
import { X509Certificate } from "node:crypto";
import { bytesEqual, toHex, type Bytes } from "../../core/codec/bytes.ts";
import { MAX_CERTIFICATE_BYTES, type Actor, type Constitution } from "../../core/governance/constitution.ts";
import { isOneDerSequence, pemOfDer } from "../../core/governance/pem.ts";

const CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2";

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

/** Lower-case hex SHA-256 of a certificate's DER. */
export function certificateFingerprint(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(":", "").toLowerCase();
}

function isValidAt(certificate: X509Certificate, wallTimeMs: number): boolean {
  return Date.parse(certificate.validFrom) <= wallTimeMs && wallTimeMs <= Date.parse(certificate.validTo);
}

/** The actor a certificate speaks for. */
export interface IdentifiedActor {
  readonly actor: string;
  readonly role: Actor["role"];
  /** Lower-case hex SHA-256 of the presented certificate (DER). */
  readonly certificate: string;
}

/** Finds the actor of a certificate (DER) at a wall time in milliseconds since 1970; undefined when it speaks for none. */
export type ActorLookup = (certificate: Bytes, wallTimeMs: number) => IdentifiedActor | undefined;

interface Listed {
  readonly actor: Actor;
  readonly certificate: X509Certificate;
}

/**
 * The lookup for one constitution: make it anew when the constitution changes. A certificate speaks for an actor when it is
 * the listed one, or a staff certificate signed by a listed CA certificate; both must be valid at the time. A staff
 * certificate with extended key usages must allow client authentication.
 */
export function createActorLookup(constitution: Constitution): ActorLookup {
  const listed: Listed[] = [];
  for (const actor of constitution.actors) {
    for (const der of actor.certificates) {
      const certificate = readCertificate(der);
      if (certificate !== undefined) listed.push({ actor, certificate });
    }
  }
  const byCertificate = new Map(listed.map((entry) => [toHex(entry.certificate.raw), entry]));
  return (der, wallTimeMs) => {
    const certificate = readCertificate(der);
    if (certificate === undefined || !isValidAt(certificate, wallTimeMs)) return undefined;
    const found =
      byCertificate.get(toHex(der)) ?? listed.find((entry) => isStaffOf(certificate, entry.certificate, wallTimeMs));
    if (found === undefined) return undefined;
    return { actor: found.actor.id, role: found.actor.role, certificate: certificateFingerprint(certificate) };
  };
}

function isStaffOf(certificate: X509Certificate, issuer: X509Certificate, wallTimeMs: number): boolean {
  // checkIssued compares names, key identifiers and key usage; only verify looks at the signature.
  if (!issuer.ca || !isValidAt(issuer, wallTimeMs) || !certificate.checkIssued(issuer)) return false;
  const usages: readonly string[] | undefined = certificate.keyUsage;
  if (usages !== undefined && !usages.includes(CLIENT_AUTHENTICATION)) return false;
  return certificate.verify(issuer.publicKey);
}
