/**
 * Public keys and signature algorithms of certificates and revocation lists: ECDSA on the NIST curves (RFC 5480, 5758),
 * RSA PKCS #1 v1.5 and PSS (RFC 4055), Ed25519 (RFC 8410); hashes from SHA-256 on. What is not here is read as
 * `unsupported`, so that a certificate can be shown and refused with a reason.
 */
import type { Bytes } from "../codec/bytes.ts";
import { contextTag, type DerReader } from "../codec/der.ts";
import { CocoError } from "../../errors.ts";

/** Smallest RSA modulus that counts, in bits. */
export const MIN_RSA_BITS = 2048;
/** Largest RSA modulus, in bits: verification time grows with its square. */
export const MAX_RSA_BITS = 8192;
/** Largest RSA exponent, in bytes. */
export const MAX_RSA_EXPONENT_BYTES = 4;
/** Longest salt of an RSA-PSS signature, in bytes. */
export const MAX_SALT_BYTES = 64;

/** A hash under a signature. */
export type SignatureHash = "sha256" | "sha384" | "sha512";

/** How a certificate or revocation list is signed. */
export type SignatureAlgorithm =
  | { readonly type: "ecdsa" | "rsa"; readonly hash: SignatureHash }
  | { readonly type: "rsa-pss"; readonly hash: SignatureHash; readonly saltLength: number }
  | { readonly type: "ed25519" }
  | { readonly type: "unsupported"; readonly identifier: string };

/** Which key a certificate holds. */
export type KeyType =
  | { readonly type: "ec"; readonly curve: "P-256" | "P-384" | "P-521" }
  | { readonly type: "rsa"; readonly bits: number }
  | { readonly type: "ed25519" }
  | { readonly type: "unsupported"; readonly identifier: string };

/** Verifies a signature by a public key (SubjectPublicKeyInfo, DER); false for whatever does not fit together. */
export type VerifySignature = (
  algorithm: SignatureAlgorithm,
  publicKey: Bytes,
  data: Bytes,
  signature: Bytes,
) => boolean;

const RSA_ENCRYPTION = "1.2.840.113549.1.1.1";
const EC_PUBLIC_KEY = "1.2.840.10045.2.1";
const RSA_PSS = "1.2.840.113549.1.1.10";
const MASK_GENERATION_1 = "1.2.840.113549.1.1.8";
const ED25519 = "1.3.101.112";

const HASHES: ReadonlyMap<string, SignatureHash> = new Map([
  ["2.16.840.1.101.3.4.2.1", "sha256"],
  ["2.16.840.1.101.3.4.2.2", "sha384"],
  ["2.16.840.1.101.3.4.2.3", "sha512"],
]);
const ECDSA: ReadonlyMap<string, SignatureHash> = new Map([
  ["1.2.840.10045.4.3.2", "sha256"],
  ["1.2.840.10045.4.3.3", "sha384"],
  ["1.2.840.10045.4.3.4", "sha512"],
]);
const RSA_PKCS1: ReadonlyMap<string, SignatureHash> = new Map([
  ["1.2.840.113549.1.1.11", "sha256"],
  ["1.2.840.113549.1.1.12", "sha384"],
  ["1.2.840.113549.1.1.13", "sha512"],
]);
const CURVES: ReadonlyMap<string, { readonly curve: "P-256" | "P-384" | "P-521"; readonly pointBytes: number }> =
  new Map([
    ["1.2.840.10045.3.1.7", { curve: "P-256", pointBytes: 65 }],
    ["1.3.132.0.34", { curve: "P-384", pointBytes: 97 }],
    ["1.3.132.0.35", { curve: "P-521", pointBytes: 133 }],
  ]);
const UNCOMPRESSED = 0x04;

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", problem);
}

function skipAll(reader: DerReader): void {
  while (!reader.atEnd) reader.any();
}

/** RFC 4055 has NULL written, and readers take its absence. */
function optionalNull(reader: DerReader): void {
  if (!reader.atEnd) reader.null();
}

/** Reads an AlgorithmIdentifier of a signature. */
export function readSignatureAlgorithm(reader: DerReader): SignatureAlgorithm {
  return reader.sequence((inner): SignatureAlgorithm => {
    const identifier = inner.objectIdentifier();
    const ecdsa = ECDSA.get(identifier);
    if (ecdsa !== undefined) return { type: "ecdsa", hash: ecdsa };
    if (identifier === ED25519) return { type: "ed25519" };
    const rsa = RSA_PKCS1.get(identifier);
    if (rsa !== undefined) {
      optionalNull(inner);
      return { type: "rsa", hash: rsa };
    }
    const pss = identifier === RSA_PSS ? inner.sequence(readPssParameters) : undefined;
    if (pss !== undefined) return pss;
    skipAll(inner);
    return { type: "unsupported", identifier };
  });
}

function readHash(reader: DerReader): string {
  return reader.sequence((inner) => {
    const identifier = inner.objectIdentifier();
    optionalNull(inner);
    return identifier;
  });
}

/** Both hashes must be named and the same: what is left out means SHA-1. */
function readPssParameters(reader: DerReader): SignatureAlgorithm {
  const hash = reader.optional(contextTag(0, "constructed"), readHash);
  const mask = reader.optional(contextTag(1, "constructed"), (tagged) =>
    tagged.sequence((inner) => ({ identifier: inner.objectIdentifier(), hash: readHash(inner) })),
  );
  const saltLength = reader.optional(contextTag(2, "constructed"), (tagged) => tagged.smallInteger(MAX_SALT_BYTES));
  // It can only be its default, which DER leaves out, and which the certificates of AMD's chips repeat.
  reader.optional(contextTag(3, "constructed"), (tagged) => tagged.smallInteger(1));
  const known = HASHES.get(hash ?? "");
  if (known === undefined || mask?.identifier !== MASK_GENERATION_1 || mask.hash !== hash)
    return { type: "unsupported", identifier: RSA_PSS };
  return { type: "rsa-pss", hash: known, saltLength: saltLength ?? 20 };
}

/** Reads a SubjectPublicKeyInfo. Points must be uncompressed, so that a key has one encoding. */
export function readKeyType(reader: DerReader): KeyType {
  return reader.sequence((inner): KeyType => {
    const { identifier, curve } = inner.sequence(readKeyAlgorithm);
    const key = inner.bitBytes();
    if (identifier === EC_PUBLIC_KEY) {
      const known = CURVES.get(curve ?? "");
      if (known === undefined) return { type: "unsupported", identifier: curve ?? identifier };
      if (key.length !== known.pointBytes || key[0] !== UNCOMPRESSED) throw malformed("expected an uncompressed point");
      return { type: "ec", curve: known.curve };
    }
    if (identifier === RSA_ENCRYPTION) return inner.parse(key, readRsaKey);
    if (identifier !== ED25519) return { type: "unsupported", identifier };
    if (key.length !== 32) throw malformed("expected an Ed25519 key of 32 bytes");
    return { type: "ed25519" };
  });
}

function readKeyAlgorithm(reader: DerReader): { readonly identifier: string; readonly curve?: string } {
  const identifier = reader.objectIdentifier();
  if (identifier === RSA_ENCRYPTION) optionalNull(reader);
  if (identifier === EC_PUBLIC_KEY) return { identifier, curve: reader.objectIdentifier() };
  if (identifier !== ED25519) skipAll(reader);
  return { identifier };
}

function readRsaKey(reader: DerReader): KeyType {
  return reader.sequence((inner): KeyType => {
    const modulus = inner.integer();
    const exponent = inner.integer();
    const [first = 0, second = 0] = modulus;
    if (first >= 0x80 || ((modulus.at(-1) ?? 0) & 1) === 0) throw malformed("an RSA modulus that is negative or even");
    const isOdd = ((exponent.at(-1) ?? 0) & 1) === 1;
    const isOne = exponent.length === 1 && exponent[0] === 1;
    if ((exponent[0] ?? 0) >= 0x80 || !isOdd || isOne || exponent.length > MAX_RSA_EXPONENT_BYTES)
      throw malformed("an RSA exponent that is negative, even, one or too large");
    const bits =
      first === 0 ? 8 * (modulus.length - 1) - Math.clz32(second) + 24 : 8 * modulus.length - Math.clz32(first) + 24;
    return { type: "rsa", bits };
  });
}

/** Whether signatures by this key count. */
export function isStrongKey(key: KeyType): boolean {
  if (key.type === "rsa") return key.bits >= MIN_RSA_BITS && key.bits <= MAX_RSA_BITS;
  return key.type !== "unsupported";
}

/** Whether a key can have made a signature of this algorithm. */
export function fitsKey(algorithm: SignatureAlgorithm, key: KeyType): boolean {
  if (algorithm.type === "ecdsa") return key.type === "ec";
  if (algorithm.type === "ed25519") return key.type === "ed25519";
  return algorithm.type !== "unsupported" && key.type === "rsa";
}
