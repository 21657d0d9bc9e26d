/**
 * The cryptography that governance is handed: it stays pure and runs alike on validating nodes, clients and in simulations.
 */
import type { IdentifiedActor, ListedActor, UnknownActor } from "../certificates/actor-index.ts";
import type { Bytes, HashFunction } from "../codec/bytes.ts";
import type { CoseAlgorithm, SignFunction, VerifyFunction } from "./cose.ts";
import type { RunScript } from "./script.ts";

/** What governance needs to know of a certificate. */
export interface CertificateDescription {
  /** The subject in words, on one line. */
  readonly subject: string;
  readonly notBeforeMs: number;
  /** The last millisecond at which it is valid. */
  readonly notAfterMs: number;
  readonly isCa: boolean;
  /** Whether it may do what it is listed for: issue certificates if it is a CA certificate, otherwise sign. */
  readonly canSign: boolean;
  readonly keyType: "P-256" | "P-384" | "other";
}

/** From when until when a list of revoked certificates is current, in milliseconds since 1970. */
export interface RevocationListTimes {
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

/** What an endorsement is good for: whatever the service does, or the checking of what it signed, but no TLS. */
export type EndorsementUse = "service" | "documents";

/** What genuine evidence of a node's TEE says. */
export interface EvidenceClaims {
  /** Lower-case hex, 32 bytes. */
  readonly measurement: string;
  /** Public key of the machine, SubjectPublicKeyInfo DER. */
  readonly machineKey: Bytes;
}

/** Why evidence is not genuine, or not made for what it was to be made for. */
export interface EvidenceProblem {
  readonly problem: string;
}

/** Hashing and verification for governance. */
export interface GovernanceCrypto {
  readonly sha256: HashFunction;
  readonly verify: VerifyFunction;
  /** Public key (SubjectPublicKeyInfo) of a certificate, both DER; undefined when it is none, or its key not P-256 or P-384. */
  readonly certificateKey: (certificate: Bytes) => Bytes | undefined;
  /** What a certificate (DER) says of itself; undefined when it is none. */
  readonly describeCertificate: (certificate: Bytes) => CertificateDescription | undefined;
  /** When a list of revoked certificates (DER) is current; undefined when it is none that the key of this CA certificate (DER) signed. */
  readonly revocationListOf: (list: Bytes, certificate: Bytes) => RevocationListTimes | undefined;
  /** Whether the key of a certificate (DER) made a signature r ‖ s with this algorithm; who it is says {@link identify}. */
  readonly verifyWith: (algorithm: CoseAlgorithm, certificate: Bytes, data: Bytes, signature: Bytes) => boolean;
  /**
   * The actor of a chain of certificates (DER), the signer's first, at a time of the ledger's clock. The index of the actors
   * is kept for as long as the same array of them is handed in.
   */
  readonly identify: (
    actors: readonly ListedActor[],
    chain: readonly Bytes[],
    nowMs: number,
  ) => IdentifiedActor | UnknownActor;
  /** What evidence of a TEE says that is genuine and bound to these report data (64 bytes). */
  readonly appraise: (evidence: Bytes, reportData: Bytes) => EvidenceClaims | EvidenceProblem;
  /** Runs a script of the constitution or of a ballot; the same result on every node. */
  readonly runScript: RunScript;
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
  /** ES256 unless given. */
  readonly algorithm?: CoseAlgorithm;
}
