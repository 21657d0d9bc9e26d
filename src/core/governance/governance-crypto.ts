/**
 * The cryptography that governance is handed: it stays pure and runs alike on validating nodes, clients and in simulations.
 */
import type { Bytes, HashFunction } from "../codec/bytes.ts";
import type { SignFunction, VerifyFunction } from "./cose.ts";

/** Hashing and verification for governance. */
export interface GovernanceCrypto {
  readonly sha256: HashFunction;
  readonly verify: VerifyFunction;
  /** Public key (SubjectPublicKeyInfo, DER) of a certificate (DER); undefined when it is none or its key is not P-256. */
  readonly certificateKey: (certificate: Bytes) => Bytes | undefined;
}

/** Someone who signs: the actor id and the function that reaches the key. */
export interface Signer {
  readonly actor: string;
  readonly sign: SignFunction;
}
