/** A member's keys as files: what signs its governance requests. */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { derOfPem, pemBlocks } from "../core/governance/pem.ts";
import type { RequestSigner } from "../core/governance/request-signing.ts";
import { createActorSigner } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";

/**
 * The signer of a certificate, with those between it and the listed one behind it (PEM), and its private key (PEM). Throws
 * `ConfigurationInvalid` without a word of the key.
 */
export function readRequestSigner(certificates: string, privateKey: string): RequestSigner {
  const chain = pemBlocks(certificates, "CERTIFICATE").flatMap((block) => derOfPem(block, "CERTIFICATE") ?? []);
  if (chain.length === 0) throw new CocoError("ConfigurationInvalid", "certificate: expected PEM");
  let key: KeyObject;
  try {
    key = createPrivateKey(privateKey);
  } catch {
    throw new CocoError("ConfigurationInvalid", "private key: expected PEM");
  }
  return { chain, ...createActorSigner(key) };
}
