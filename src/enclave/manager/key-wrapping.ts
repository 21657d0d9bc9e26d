/** Keys wrapped to the X25519 key of a node: what epochs hand to each node, so that nobody else can open it. */
import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from "node:crypto";
import { concatBytes, type Bytes } from "../../core/codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { Entropy } from "../ports.ts";
import { hkdf, open, seal } from "./node-crypto.ts";

/** Length of a wrapped 32-byte key: ephemeral public key, ciphertext, tag. */
export const WRAPPED_KEY_BYTES = 32 + 32 + 16;

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const WRAP_INFO = "coco key wrap v1";
/** SubjectPublicKeyInfo and PKCS #8 of an X25519 key up to the 32 key bytes (RFC 8410). */
const X25519_SPKI_PREFIX = Uint8Array.from([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00]);
const X25519_PKCS8_PREFIX = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20,
]);

/** The raw 32 bytes of an X25519 public key (also of a private key's public half). */
export function rawEncryptionKey(key: KeyObject): Bytes {
  const spki = createPublicKeyOf(key).export({ format: "der", type: "spki" });
  return new Uint8Array(spki.subarray(X25519_SPKI_PREFIX.length));
}

function createPublicKeyOf(key: KeyObject): KeyObject {
  invariant(key.asymmetricKeyType === "x25519", "expected an X25519 key");
  return key.type === "private" ? createPublicKey(key) : key;
}

/** An X25519 private key from 32 random bytes. */
export function encryptionKeyFromSeed(seed: Bytes): KeyObject {
  invariant(seed.length === KEY_BYTES, "an X25519 private key has 32 bytes");
  return createPrivateKey({ key: Buffer.concat([X25519_PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
}

interface WrapSecrets {
  readonly key: Bytes;
  readonly nonce: Bytes;
}

/** Undefined for a public key that is none or of low order: the shared secret would not depend on the private key. */
function wrapSecrets(privateKey: KeyObject, peer: Bytes, ephemeral: Bytes, recipient: Bytes): WrapSecrets | undefined {
  try {
    const publicKey = createPublicKey({ key: Buffer.concat([X25519_SPKI_PREFIX, peer]), format: "der", type: "spki" });
    const shared = diffieHellman({ privateKey, publicKey });
    const output = hkdf(new Uint8Array(shared), concatBytes(ephemeral, recipient), WRAP_INFO, KEY_BYTES + NONCE_BYTES);
    return { key: output.subarray(0, KEY_BYTES), nonce: output.subarray(KEY_BYTES) };
  } catch {
    return undefined;
  }
}

/**
 * Encrypts a 32-byte key to an X25519 public key (ephemeral X25519, HKDF-SHA-256, AES-256-GCM). `context` is bound to the
 * result: opening needs the same one. Throws `MalformedInput` when the recipient's key can't be used.
 */
export function wrapKey(recipient: Bytes, key: Bytes, context: Bytes, entropy: Entropy): Bytes {
  invariant(key.length === KEY_BYTES, "wrapKey wraps keys of 32 bytes");
  const privateKey = encryptionKeyFromSeed(entropy.bytes(KEY_BYTES));
  const ephemeral = rawEncryptionKey(privateKey);
  const secrets = wrapSecrets(privateKey, recipient, ephemeral, recipient);
  if (secrets === undefined) throw new CocoError("MalformedInput", "not a usable X25519 public key");
  // The ephemeral key makes key and nonce of every call new, so a derived nonce is never used twice.
  return concatBytes(ephemeral, seal(secrets.key, secrets.nonce, key, context));
}

/** Opens {@link wrapKey} with the X25519 private key; undefined when key, context or bytes do not fit. */
export function unwrapKey(privateKey: KeyObject, wrapped: Bytes, context: Bytes): Bytes | undefined {
  if (wrapped.length !== WRAPPED_KEY_BYTES) return undefined;
  const ephemeral = wrapped.subarray(0, KEY_BYTES);
  const secrets = wrapSecrets(privateKey, ephemeral, ephemeral, rawEncryptionKey(privateKey));
  return secrets === undefined ? undefined : open(secrets.key, secrets.nonce, wrapped.subarray(KEY_BYTES), context);
}
