/** A signed request in a file, as whoever gets it checks it. */
import assert from "node:assert/strict";
import { present } from "../e2e/lib/processes.ts";
import { derOfPem } from "../../src/core/governance/pem.ts";
import { parseSignedRequest } from "../../src/core/governance/signed-request.ts";
import { createGovernanceCrypto } from "../../src/enclave/manager/node-crypto.ts";

/** The type of a request that the key of this certificate (PEM) signed. */
export function verifySignedFile(message: Uint8Array, certificate: string): string {
  const { type, algorithm, signature, signedBytes } = parseSignedRequest(new Uint8Array(message));
  const der = present(derOfPem(certificate, "CERTIFICATE"));
  assert.ok(createGovernanceCrypto().verifyWith(algorithm, der, signedBytes, signature), "the signature holds");
  return type;
}
