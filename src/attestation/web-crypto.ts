/**
 * The cryptography of attestation over WebCrypto, for clients in browsers: hashes at once (@noble/hashes), signatures by
 * promises, which deferred-signatures.ts brings to the synchronous checkers.
 */
import { sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
import {
  type KeyType,
  readKeyType,
  type SignatureAlgorithm,
  type SignatureHash,
} from "../core/certificates/algorithm.ts";
import { readOrNothing } from "../core/certificates/certificate.ts";
import type { Bytes } from "../core/codec/bytes.ts";
import { readDer } from "../core/codec/der.ts";
import type { AttestationCrypto } from "./checks.ts";
import type { VerifySignatureLater } from "./deferred-signatures.ts";

/** A key of WebCrypto: only it looks inside. */
export type WebKey = object;

/** The part of `crypto.subtle` that is used here. */
export interface WebSignatures<Key extends WebKey> {
  importKey(
    format: "spki",
    key: Bytes,
    algorithm: WebAlgorithm,
    extractable: boolean,
    usages: ["verify"],
  ): Promise<Key>;
  verify(algorithm: WebAlgorithm, key: Key, signature: Bytes, data: Bytes): Promise<boolean>;
}

/** An algorithm as WebCrypto is told it. */
export interface WebAlgorithm {
  readonly name: string;
  readonly hash?: string;
  readonly namedCurve?: string;
  readonly saltLength?: number;
}

const HASH_NAMES: Readonly<Record<SignatureHash, string>> = { sha256: "SHA-256", sha384: "SHA-384", sha512: "SHA-512" };
const NUMBER_BYTES = { "P-256": 32, "P-384": 48, "P-521": 66 } as const;

/** Hashes without promises. */
export const webDigest: AttestationCrypto["digest"] = (hash, data) => {
  if (hash === "sha256") return sha256(data);
  return hash === "sha384" ? sha384(data) : sha512(data);
};

/** A verifier over `crypto.subtle`. */
export function createWebVerifier<Key extends WebKey>(subtle: WebSignatures<Key>): VerifySignatureLater {
  return async (algorithm, publicKey, data, signature) => {
    const keyType = readOrNothing(() => readDer(publicKey, readKeyType));
    const asked = keyType && webAlgorithmOf(algorithm, keyType);
    const bytes = keyType && webSignatureOf(signature, keyType);
    if (asked === undefined || bytes === undefined) return false;
    try {
      return await subtle.verify(
        asked,
        await subtle.importKey("spki", publicKey, asked, false, ["verify"]),
        bytes,
        data,
      );
    } catch {
      // A point that is not on its curve, or a key this browser does not know.
      return false;
    }
  };
}

function webAlgorithmOf(algorithm: SignatureAlgorithm, key: KeyType): WebAlgorithm | undefined {
  switch (algorithm.type) {
    case "ecdsa":
      return key.type === "ec" ? { name: "ECDSA", namedCurve: key.curve, hash: HASH_NAMES[algorithm.hash] } : undefined;
    case "rsa":
      return key.type === "rsa" ? { name: "RSASSA-PKCS1-v1_5", hash: HASH_NAMES[algorithm.hash] } : undefined;
    case "rsa-pss":
      return key.type === "rsa"
        ? { name: "RSA-PSS", hash: HASH_NAMES[algorithm.hash], saltLength: algorithm.saltLength }
        : undefined;
    case "ed25519":
      return key.type === "ed25519" ? { name: "Ed25519" } : undefined;
    case "unsupported":
      return undefined;
  }
}

/** WebCrypto takes ECDSA signatures as two numbers side by side; here they are DER. */
function webSignatureOf(signature: Bytes, key: KeyType): Bytes | undefined {
  if (key.type !== "ec") return signature;
  const length = NUMBER_BYTES[key.curve];
  return readOrNothing(() =>
    readDer(signature, (reader) =>
      reader.sequence((inner) => {
        const raw = new Uint8Array(2 * length);
        for (const end of [length, 2 * length]) raw.set(numberOf(inner.integer(), length), end - length);
        return raw;
      }),
    ),
  );
}

function numberOf(integer: Bytes, length: number): Bytes {
  const bytes = integer[0] === 0 ? integer.subarray(1) : integer;
  const number = new Uint8Array(length);
  // A number that is too long or negative is no part of a signature: zero verifies nothing.
  if (bytes.length <= length && (integer[0] ?? 0) < 0x80) number.set(bytes, length - bytes.length);
  return number;
}
