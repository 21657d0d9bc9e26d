/**
 * The cryptography that governance is handed: it stays pure and runs alike on validating nodes, clients and in simulations.
 */
import type { Bytes, HashFunction } from "../codec/bytes.ts";
import type { IdentifiedActor, ListedActor, UnknownActor } from "../certificates/actor-index.ts";
import type { CoseAlgorithm, SignFunction, VerifyFunction } from "./cose.ts";

/** Hashing and verification for governance. */
export interface GovernanceCrypto {
  readonly sha256: HashFunction;
  readonly verify: VerifyFunction;
  /** Public key (SubjectPublicKeyInfo) of a certificate, both DER; undefined when it is none, or its key not P-256 or P-384. */
  readonly certificateKey: (certificate: Bytes) => Bytes | undefined;
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
}

/** Someone who signs: the actor id and the function that reaches the key. */
export interface Signer {
  readonly actor: string;
  readonly sign: SignFunction;
  /** ES256 unless given. */
  readonly algorithm?: CoseAlgorithm;
}
