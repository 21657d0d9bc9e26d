/** Finding the actor a client's certificates speak for (R3), and telling a client whose speak for nobody. */
import { ActorIndex, type UnknownActor } from "../../core/certificates/actor-index.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import { CocoError, type ErrorCode } from "../../errors.ts";
import { createCertificateVerifier, sha256 } from "./node-crypto.ts";

/** The index for one constitution: make it anew when its actors change. */
export function createActorIndex(constitution: Constitution): ActorIndex {
  return new ActorIndex(constitution.actors, { sha256, verify: createCertificateVerifier() });
}

/** What a client is told whose certificate speaks for nobody. */
export function certificateRefusal({ problem, subject }: UnknownActor): CocoError {
  const [code, words] = REFUSALS[problem];
  return new CocoError(code, subject === "" ? words : `${words}: ${subject}`, { problem });
}

const REFUSALS: Readonly<Record<UnknownActor["problem"], readonly [ErrorCode, string]>> = {
  UnknownIssuer: ["CertificateUnknown", "no certificate of the constitution, nor issued by a CA certificate of it"],
  BadSignature: ["CertificateUnknown", "not signed by the CA it names"],
  Expired: ["CertificateExpired", "expired"],
  Revoked: ["CertificateRevoked", "revoked by its organisation"],
  RevocationExpired: ["CertificateInvalid", "no current revocation list of its issuer"],
  NotYetValid: ["CertificateInvalid", "not valid yet"],
  NotACa: ["CertificateInvalid", "issued by a certificate that is no CA"],
  PathTooLong: ["CertificateInvalid", "too many certificates between it and the constitution's"],
  KeyUsage: ["CertificateInvalid", "its usage does not allow this"],
  NameConstraint: ["CertificateInvalid", "a name that a CA above it may not issue for"],
  UnsupportedCriticalExtension: ["CertificateInvalid", "a critical extension that is not supported"],
  WeakKey: ["CertificateInvalid", "a key or signature algorithm that is too weak or not supported"],
  Malformed: ["CertificateInvalid", "no X.509 certificate in strict DER, or too many of them"],
};
