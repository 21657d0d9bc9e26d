/** Sealing with a key that only a TEE, or a machine, has: AES-256-GCM under a key derived for this one use. */
import { concatBytes, EMPTY, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { hkdf, nodeEntropy, open, seal } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";

const SEALED_VERSION = 1;
const NONCE_BYTES = 12;
const KEY_BYTES = 32;

/** What tells the secrets of one kind of TEE from those of another. */
export interface SealingDomain {
  /** Names the key that is derived. */
  readonly key: string;
  /** Names what is sealed, and is authenticated with it. */
  readonly content: string;
  /** Why what does not open does not, for people. */
  readonly refusal: string;
}

/** Encrypts under a key that is derived from secret material. */
export function sealWith(material: Bytes, secret: Bytes, domain: SealingDomain): Bytes {
  const nonce = nodeEntropy.bytes(NONCE_BYTES);
  const ciphertext = seal(keyOf(material, domain), nonce, secret, utf8Encode(domain.content));
  return concatBytes(Uint8Array.of(SEALED_VERSION), nonce, ciphertext);
}

/** Opens {@link sealWith}; throws `ConfigurationInvalid` when it was sealed under another key, or changed. */
export function unsealWith(material: Bytes, sealed: Bytes, domain: SealingDomain): Bytes {
  const nonce = sealed.subarray(1, 1 + NONCE_BYTES);
  const ciphertext = sealed.subarray(1 + NONCE_BYTES);
  const isComplete = sealed[0] === SEALED_VERSION && nonce.length === NONCE_BYTES;
  const secret = isComplete ? open(keyOf(material, domain), nonce, ciphertext, utf8Encode(domain.content)) : undefined;
  if (secret === undefined) throw new CocoError("ConfigurationInvalid", domain.refusal);
  return secret;
}

function keyOf(material: Bytes, { key }: SealingDomain): Bytes {
  return hkdf(material, EMPTY, key, KEY_BYTES);
}
