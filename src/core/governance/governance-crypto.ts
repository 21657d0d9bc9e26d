/**
 * The cryptography that governance is handed: it stays pure and runs alike on validating nodes, clients and in simulations.
 */
import type { IdentifiedActor, ListedActor, UnknownActor } from "../certificates/actor-index.ts";
import type { Bytes, HashFunction } from "../codec/bytes.ts";
import type { Constitution } from "./constitution.ts";
import type { TeeName } from "./manifest-entries.ts";
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

/** What genuine evidence of a node's TEE says, as far as all TEEs say it. */
export interface EvidenceClaims {
  readonly tee: TeeName;
  /** The code; lower-case hex. */
  readonly measurement: string;
  /** What the code runs on, as the TEE names it, lower-case hex: the key of a virtual TEE's machine, the id of a chip. */
  readonly platform: string;
  /** How up to date the platform is, in the TEE's words; absent where the TEE has none. */
  readonly tcb?: string;
}

/** What a node was found to run when it was attested, and the evidence of it. */
export interface AttestedNode extends Omit<EvidenceClaims, "tcb"> {
  readonly evidence: Bytes;
  /** What the evidence is bound to, 64 bytes. */
  readonly reportData: Bytes;
  /** Ledger's clock when it was recorded: the time at which it was verified, and is verified again. */
  readonly attestedAtMs: number;
}

/** One reason of the manifests against what evidence claims. */
export interface AppraisalReason {
  /** Which manifest speaks against it. */
  readonly manifest: "code" | "tee";
  /** For programs. */
  readonly reason: string;
  readonly message: string;
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
  /** What evidence of a TEE says that is genuine at a time of the ledger's clock, and bound to these report data (64 bytes). */
  readonly verifyEvidence: (evidence: Bytes, reportData: Bytes, nowMs: number) => EvidenceClaims | EvidenceProblem;
  /**
   * What the manifests have against what a node was found to run, at a time of the ledger's clock; undefined: whatever the dates
   * of their entries. Evidence of hardware is verified again for it, at the time of its record.
   */
  readonly appraise: (
    node: AttestedNode,
    manifests: Pick<Constitution, "codeManifest" | "teeManifest">,
    nowMs: number | undefined,
  ) => readonly AppraisalReason[];
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
