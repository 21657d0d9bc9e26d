/**
 * Cheap, deterministic cryptography for the simulator. It keeps the shape of the real one (a changed byte is noticed, a
 * wrong key opens nothing) and watches what the real one could not forgive: the same key and nonce sealing twice.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { ByteReader, ByteWriter, bytesEqual, concatBytes, toHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import type { GovernanceCrypto } from "../../src/core/governance/governance-crypto.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import type { Crypto } from "../../src/enclave/ports.ts";
import { CocoError, invariant } from "../../src/errors.ts";
import { SeededRandom } from "./scheduler.ts";

const MAC_CONTEXT = utf8Encode("simulated signature");
const DER_SEQUENCE = 0x30;
const KEY_LENGTH = 32;
const TAG_LENGTH = 16;

/** A signature is a MAC under a key that everybody could compute: no simulated node forges. */
function mac(publicKey: Bytes, data: Bytes): Bytes {
  const digest = sha256(concatBytes(MAC_CONTEXT, publicKey, data));
  return concatBytes(digest, digest);
}

function verify(publicKey: Bytes, data: Bytes, signature: Bytes): boolean {
  return bytesEqual(signature, mac(publicKey, data));
}

/** Signs for a public key. */
export function simulatedSigner(publicKey: Bytes): (data: Bytes) => Bytes {
  return (data) => mac(publicKey, data);
}

/** A certificate that holds nothing but its key: one DER SEQUENCE. */
export function simulatedCertificate(publicKey: Bytes): Bytes {
  invariant(publicKey.length === KEY_LENGTH, "simulated public keys have 32 bytes");
  return concatBytes(Uint8Array.of(DER_SEQUENCE, KEY_LENGTH), publicKey);
}

/** Governance over simulated keys. */
export const SIMULATED_GOVERNANCE_CRYPTO: GovernanceCrypto = {
  sha256,
  verify,
  certificateKey: (certificate) => (certificate.length === KEY_LENGTH + 2 ? certificate.subarray(2) : undefined),
};

function stream(key: Bytes, counter: Bytes, length: number): Bytes {
  return new SeededRandom(new ByteReader(sha256(concatBytes(key, counter))).u32()).bytes(length);
}

function exclusiveOr(left: Bytes, right: Bytes): Bytes {
  return left.map((byte, at) => byte ^ (right[at] as number));
}

function tagOf(key: Bytes, nonce: Bytes, ciphertext: Bytes, associatedData: Bytes): Bytes {
  return sha256(concatBytes(key, nonce, sha256(associatedData), ciphertext)).subarray(0, TAG_LENGTH);
}

function hkdf(key: Bytes, salt: Bytes, info: string, length: number): Bytes {
  const context = concatBytes(key, salt, utf8Encode(info));
  const blocks: Bytes[] = [];
  for (let at = 0; at * KEY_LENGTH < length; at++) blocks.push(sha256(concatBytes(context, Uint8Array.of(at))));
  return concatBytes(...blocks).subarray(0, length);
}

function open(key: Bytes, nonce: Bytes, sealed: Bytes, associatedData: Bytes): Bytes | undefined {
  if (sealed.length < TAG_LENGTH) return undefined;
  const ciphertext = sealed.subarray(0, sealed.length - TAG_LENGTH);
  if (!bytesEqual(tagOf(key, nonce, ciphertext, associatedData), sealed.subarray(ciphertext.length))) return undefined;
  return exclusiveOr(ciphertext, stream(key, nonce, ciphertext.length));
}

/** The cryptography of one simulated network. */
export class SimulatedCrypto {
  readonly #used = new Set<string>();

  /** Messages sealed so far, each under a key and nonce of its own. */
  get sealedCount(): number {
    return this.#used.size;
  }

  /** The `Crypto` port of the node with this public key. */
  of(publicKey: Bytes): Crypto {
    return {
      sha256,
      hkdf,
      seal: (key, nonce, plaintext, associatedData) => {
        this.#noteUse(key, nonce);
        const ciphertext = exclusiveOr(plaintext, stream(key, nonce, plaintext.length));
        return concatBytes(ciphertext, tagOf(key, nonce, ciphertext, associatedData));
      },
      open,
      keystream: stream,
      sign: simulatedSigner(publicKey),
      verify,
    };
  }

  #noteUse(key: Bytes, nonce: Bytes): void {
    const use = `${toHex(key)}.${toHex(nonce)}`;
    if (this.#used.has(use)) throw new CocoError("Internal", "a key and nonce sealed twice");
    this.#used.add(use);
  }
}

/** Wraps an epoch key to a node; wrapping what is wrapped opens it. */
export function simulatedWrap(encryptionKey: Bytes, epoch: number, key: Bytes): Bytes {
  const pad = sha256(concatBytes(encryptionKey, new ByteWriter(8).u64(epoch).finish()));
  return exclusiveOr(key, pad);
}
