/**
 * Sealing with a key that only a TEE, or a machine, has: AES-256-GCM under a key derived for this one secret.
 *
 *   version (1 byte, 2) ‖ seal (1) ‖ salt (32) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
 *
 * What stands before the ciphertext is authenticated with it. Each secret has a salt of its own, so each has a key of its own: no pair
 * of key and nonce comes twice, however often the same machine seals. The byte `seal` says to whom a secret is sealed, so that
 * whoever opens it with another seal is told which.
 */
import { concatBytes, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import type { LedgerCrypto } from "../core/ledger/keys.ts";
import type { Entropy } from "../enclave/ports.ts";
import { hkdf, nodeEntropy, open, seal } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";

const SEALED_VERSION = 2;
const HEAD_BYTES = 2;
const SALT_BYTES = 32;
const NONCE_BYTES = 12;
const KEY_BYTES = 32;
const CIPHERTEXT_AT = HEAD_BYTES + SALT_BYTES + NONCE_BYTES;

/** To whom secrets are sealed, each with its byte, the label of its keys, what it is called to people, and why it may not open. */
const SEALS = {
  machine: {
    byte: 1,
    label: "coco machine key sealing v2",
    words: "a machine key file",
    other: "not to this one",
  },
  enclave: {
    byte: 2,
    label: "coco gramine enclave sealing v2",
    words: "the code of an enclave",
    other: "this is other code, another machine, or a processor whose microcode changed",
  },
  signer: {
    byte: 3,
    label: "coco gramine signer sealing v2",
    words: "the signer of an enclave",
    other:
      "this is code of another signer or security version, another machine, or a processor whose microcode changed",
  },
} as const;
/** To whom a secret is sealed. */
export type SealName = keyof typeof SEALS;

/** What sealing is made of. */
export interface SealingTools {
  readonly crypto: Pick<LedgerCrypto, "hkdf" | "seal" | "open">;
  readonly entropy: Entropy;
}

const NODE_TOOLS: SealingTools = { crypto: { hkdf, seal, open }, entropy: nodeEntropy };

/** Encrypts under a key that is derived from secret material. */
export function sealWith(
  material: Bytes,
  secret: Bytes,
  name: SealName,
  { crypto, entropy }: SealingTools = NODE_TOOLS,
): Bytes {
  const salt = entropy.bytes(SALT_BYTES);
  const nonce = entropy.bytes(NONCE_BYTES);
  const before = concatBytes(Uint8Array.of(SEALED_VERSION, SEALS[name].byte), salt, nonce);
  const key = crypto.hkdf(material, salt, SEALS[name].label, KEY_BYTES);
  return concatBytes(before, crypto.seal(key, nonce, secret, authenticated(before, name)));
}

/** Opens {@link sealWith}; throws `SealedElsewhere` when it was sealed to somebody else, or changed. */
export function unsealWith(
  material: Bytes,
  sealed: Bytes,
  name: SealName,
  { crypto }: Pick<SealingTools, "crypto"> = NODE_TOOLS,
): Bytes {
  if (sealed[0] !== SEALED_VERSION || sealed.length < CIPHERTEXT_AT)
    throw sealedElsewhere("it is cut off, changed, or not in the form of this version");
  const [other] = Object.values(SEALS).filter(({ byte }) => byte === sealed[1]);
  if (other?.byte !== SEALS[name].byte)
    throw sealedElsewhere(`it is sealed to ${other?.words ?? "nobody known"}, not to ${SEALS[name].words}`);
  const before = sealed.subarray(0, CIPHERTEXT_AT);
  const salt = before.subarray(HEAD_BYTES, HEAD_BYTES + SALT_BYTES);
  const key = crypto.hkdf(material, salt, SEALS[name].label, KEY_BYTES);
  const nonce = before.subarray(HEAD_BYTES + SALT_BYTES);
  const secret = crypto.open(key, nonce, sealed.subarray(CIPHERTEXT_AT), authenticated(before, name));
  if (secret === undefined)
    throw sealedElsewhere(`it is sealed to ${SEALS[name].words}, but ${SEALS[name].other}; or it was changed since`);
  return secret;
}

function authenticated(before: Bytes, name: SealName): Bytes {
  return concatBytes(before, utf8Encode(SEALS[name].label));
}

/** Names nothing of key or content. */
function sealedElsewhere(why: string): CocoError {
  return new CocoError("SealedElsewhere", `the sealed keys do not open here: ${why}`);
}
