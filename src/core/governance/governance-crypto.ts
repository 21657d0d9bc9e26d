/**
 * The cryptography that governance is handed: it stays pure and runs alike on validating nodes, clients and in simulations.
 */
import type { Bytes, HashFunction } from "../codec/bytes.ts";
import type { SignFunction, VerifyFunction } from "./cose.ts";

/** What an endorsement is good for: whatever the service does, or the checking of what it signed, but no TLS. */
export type EndorsementUse = "service" | "documents";

/** Hashing and verification for governance. */
export interface GovernanceCrypto {
  readonly sha256: HashFunction;
  readonly verify: VerifyFunction;
  /** Public key (SubjectPublicKeyInfo, DER) of a certificate (DER); undefined when it is none or its key is not P-256. */
  readonly certificateKey: (certificate: Bytes) => Bytes | undefined;
  /**
   * Whether `endorsement` is a CA certificate of the name and key of `subject`, signed by the key of the CA certificate
   * `issuer`, for this use; all DER. Dates are not looked at: every node must come to the same result at any time.
   */
  readonly verifyEndorsement: (endorsement: Bytes, subject: Bytes, issuer: Bytes, use: EndorsementUse) => boolean;
}

/** Someone who signs: the actor id and the function that reaches the key. */
export interface Signer {
  readonly actor: string;
  readonly sign: SignFunction;
}
