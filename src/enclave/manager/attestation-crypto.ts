/** The cryptography of attestation on a validating node and on the command line: node:crypto. */
import { hash } from "node:crypto";
import type { AttestationCrypto } from "../../attestation/checks.ts";
import { createCertificateVerifier } from "./node-crypto.ts";

/** Makes {@link AttestationCrypto}. */
export function createAttestationCrypto(): AttestationCrypto {
  return { digest: (name, data) => new Uint8Array(hash(name, data, "buffer")), verify: createCertificateVerifier() };
}
