/**
 * The enclave's own cryptography for a few seeds: P-256, SHA-256, AES-256-GCM. The keys come from the seed; signatures are
 * not the same in two runs, but nothing depends on their bytes, so that the trace is.
 */
import { createECDH, createHash, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { createNodeCrypto, sha256 } from "../../src/enclave/manager/node-crypto.ts";
import type { NodeCryptography } from "./founding.ts";

function privateKey(seed: number, place: number): KeyObject {
  const secret = createHash("sha256").update(`simulated node key ${seed} ${place}`).digest();
  const curve = createECDH("prime256v1");
  curve.setPrivateKey(secret);
  const point = curve.getPublicKey();
  const field = (bytes: Buffer): string => bytes.toString("base64url");
  const [x, y] = [field(point.subarray(1, 33)), field(point.subarray(33))];
  return createPrivateKey({ key: { kty: "EC", crv: "P-256", d: field(secret), x, y }, format: "jwk" });
}

/** Real node keys from a seed. */
export function realCryptography(seed: number): NodeCryptography {
  const publicKey = (place: number): Bytes =>
    new Uint8Array(createPublicKey(privateKey(seed, place)).export({ type: "spki", format: "der" }));
  return { hash: sha256, publicKey, crypto: (place) => createNodeCrypto(privateKey(seed, place)) };
}
