/**
 * Keys that sign tokens: a key set as issuers publish it (JWKS, RFC 7517), or what a policy pins. Only RSA keys are read, from
 * modulus and exponent or from the first certificate of `x5c`, by our own reader: the certificates of Azure Attestation carry
 * evidence with PEM inside, and libraries that look for PEM first take the key of a certificate in there. No address that a
 * token or a key names is ever followed.
 */
import { MAX_RSA_BITS, MIN_RSA_BITS, readKeyType } from "../../core/certificates/algorithm.ts";
import { type Certificate, parseLargeCertificate, readOrNothing } from "../../core/certificates/certificate.ts";
import { fromBase64, fromBase64Url } from "../../core/codec/base64.ts";
import { bytesEqual, type Bytes } from "../../core/codec/bytes.ts";
import { readDer } from "../../core/codec/der.ts";
import type { StrictJson } from "../../core/codec/json.ts";
import {
  MAX_TOKEN_CERTIFICATE_BYTES,
  MAX_TOKEN_KEY_BYTES,
  type PinnedTokenKey,
} from "../../core/governance/policy-vsm.ts";
import { CocoError } from "../../errors.ts";
import { rsaPublicKey } from "../raw-keys.ts";
import { asFields, asText, type JsonFields, parseJsonFields } from "./token.ts";

/** Most keys of a key set. */
export const MAX_KEY_SET_KEYS = 64;
/** Most certificates beside one key. */
export const MAX_KEY_CERTIFICATES = 8;

/** A key that may have signed a token. */
export interface TokenKey {
  readonly keyId: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Bytes;
  readonly bits: number;
  /** The only algorithm it is for; absent: any that counts. */
  readonly algorithm?: string;
  /** Absent for a bare key. */
  readonly certificate?: Certificate;
}

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", `key set: ${problem}`);
}

/**
 * Reads a key set. Keys of other types than RSA, for another use than signing, without an id, or that only a certificate gives which
 * cannot be read, are left out: each stands for itself. Throws `MalformedInput`.
 */
export function readKeySet(json: Bytes): readonly TokenKey[] {
  const keys = parseJsonFields(json, "key set").get("keys");
  if (!Array.isArray(keys) || keys.length > MAX_KEY_SET_KEYS)
    throw malformed(`expected a list of at most ${MAX_KEY_SET_KEYS} keys`);
  const read = keys.flatMap((key: StrictJson) => readKey(key) ?? []);
  if (new Set(read.map(({ keyId }) => keyId)).size !== read.length) throw malformed("two keys have the same id");
  return read;
}

/** The keys a policy pins; what is no RSA key is left out. */
export function pinnedKeys(pinned: readonly PinnedTokenKey[]): readonly TokenKey[] {
  return pinned.flatMap((key) => {
    if ("publicKey" in key) return keyOf(key.keyId, key.publicKey) ?? [];
    const { keyId } = key;
    const certificate = readOrNothing(() => parseLargeCertificate(key.certificate, MAX_TOKEN_CERTIFICATE_BYTES));
    const bare = certificate && keyOf(keyId, certificate.publicKey);
    return bare === undefined || certificate === undefined ? [] : { ...bare, certificate };
  });
}

function readKey(value: StrictJson): TokenKey | undefined {
  const fields = asFields(value);
  if (fields === undefined) throw malformed("a key is no JSON object");
  const use = fields.get("use");
  if (fields.get("kty") !== "RSA" || (use !== undefined && use !== "sig")) return undefined;
  // A token names its key by the id, so that a key without one is never meant.
  if (!fields.has("kid")) return undefined;
  const keyId = asText(fields.get("kid"));
  if (keyId === undefined || keyId === "") throw malformed("an id of a key that is no text");
  const certificate = certificateOf(fields);
  const publicKey = numbersOf(fields) ?? certificate?.publicKey;
  if (publicKey === undefined && fields.has("x5c")) return undefined;
  const key = publicKey && keyOf(keyId, publicKey);
  if (key === undefined) throw malformed(`key ${keyId} is no RSA key`);
  if (certificate !== undefined && !bytesEqual(certificate.publicKey, key.publicKey))
    throw malformed(`key ${keyId} is not the one of its certificate`);
  const algorithm = asText(fields.get("alg"));
  return { ...key, ...(algorithm !== undefined && { algorithm }), ...(certificate && { certificate }) };
}

/** The key's own certificate: the first one. Those behind it vouch for nothing here, because keys are pinned. */
function certificateOf(fields: JsonFields): Certificate | undefined {
  const chain = fields.get("x5c");
  if (chain === undefined) return undefined;
  const first = Array.isArray(chain) && chain.length <= MAX_KEY_CERTIFICATES ? asText(chain[0]) : undefined;
  if (first === undefined) throw malformed(`expected 1 to ${MAX_KEY_CERTIFICATES} certificates beside a key`);
  return readOrNothing(() => parseLargeCertificate(fromBase64(first), MAX_TOKEN_CERTIFICATE_BYTES));
}

function numbersOf(fields: JsonFields): Bytes | undefined {
  if (!fields.has("n") && !fields.has("e")) return undefined;
  const [modulus, exponent] = [asText(fields.get("n")), asText(fields.get("e"))];
  if (modulus === undefined || exponent === undefined) throw malformed("an RSA key needs modulus and exponent");
  return rsaKeyOfText(modulus, exponent);
}

/** The SubjectPublicKeyInfo (DER) of an RSA key in JSON (RFC 7518, 6.3.1); throws `MalformedInput`. */
export function rsaKeyOfText(modulus: string, exponent: string): Bytes {
  const numbers = [fromBase64Url(modulus), fromBase64Url(exponent)] as const;
  if (numbers.some((number) => number.length === 0 || number[0] === 0 || number.length > MAX_RSA_BITS / 8))
    throw malformed("an RSA number that is empty, too long, or starts with zeros");
  return rsaPublicKey(...numbers);
}

function keyOf(keyId: string, publicKey: Bytes): TokenKey | undefined {
  const type = readOrNothing(() => readDer(publicKey, readKeyType, MAX_TOKEN_KEY_BYTES));
  return type?.type === "rsa" ? { keyId, publicKey, bits: type.bits } : undefined;
}

/** Whether signatures by a key count: never below 2048 bits. */
export function isLongKey({ bits }: TokenKey): boolean {
  return bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS;
}
