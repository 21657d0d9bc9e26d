/**
 * What the ledger needs of cryptography, and the keys it derives from an epoch key.
 *
 * A batch is sealed and its transactions are blinded under keys of their own per (epoch, signer, salt): the salt is fresh
 * for each boot of the signer and the nonce counter of a boot only grows, so a (key, nonce) pair never comes twice.
 * Derivation: HKDF-SHA-256 (RFC 5869) with the salt `signer ‖ per-boot salt`.
 */
import { type Bytes, concatBytes, type HashFunction, toHex } from "../codec/bytes.ts";

/** The synchronous cryptography the ledger is given; the enclave's `Crypto` port has this shape. */
export interface LedgerCrypto {
  readonly sha256: HashFunction;
  /** HKDF-SHA-256 (RFC 5869). */
  hkdf(key: Bytes, salt: Bytes, info: string, length: number): Bytes;
  /** AES-256-GCM with a 12-byte nonce: ciphertext followed by the 16-byte tag. */
  seal(key: Bytes, nonce: Bytes, plaintext: Bytes, associatedData: Bytes): Bytes;
  /** Opens {@link LedgerCrypto.seal}; undefined when the tag does not fit. */
  open(key: Bytes, nonce: Bytes, sealed: Bytes, associatedData: Bytes): Bytes | undefined;
  /** `length` pseudo-random bytes from a key and a 16-byte counter block (AES-256-CTR). */
  keystream(key: Bytes, counter: Bytes, length: number): Bytes;
  /** ECDSA P-256 with SHA-256 over `data` by this node's key: 64 bytes r ‖ s. */
  sign(data: Bytes): Bytes;
  /** Verifies {@link LedgerCrypto.sign} by a public key (SubjectPublicKeyInfo, DER). */
  verify(publicKey: Bytes, data: Bytes, signature: Bytes): boolean;
}

/** The part of {@link LedgerCrypto} that checks signed roots; needs no key. */
export type VerifyCrypto = Pick<LedgerCrypto, "sha256" | "verify">;

/** The keys of one signer's boot within one epoch, 32 bytes each. */
export interface BatchKeys {
  /** AES-256-GCM key of the sealed sections. */
  readonly sealing: Bytes;
  /** AES-256-CTR key of blindings and commit-evidence nonces. */
  readonly evidence: Bytes;
}

/** Most derived key pairs kept; the oldest is derived again when it is asked for. */
export const MAX_CACHED_BATCH_KEYS = 256;

const KEY_LENGTH = 32;

interface CachedKeys {
  readonly epoch: number;
  readonly keys: BatchKeys;
}

function wipe({ sealing, evidence }: BatchKeys): void {
  sealing.fill(0);
  evidence.fill(0);
}

/** Derives the keys of batches from epoch keys, and remembers them. */
export class LedgerKeys {
  readonly #crypto: Pick<LedgerCrypto, "hkdf">;
  readonly #epochKeyOf: (epoch: number) => Bytes | undefined;
  readonly #cache = new Map<string, CachedKeys>();

  /** `epochKeyOf` gives the 32-byte key of an epoch (1, 2, ...), or undefined when this node does not hold it. */
  constructor(crypto: Pick<LedgerCrypto, "hkdf">, epochKeyOf: (epoch: number) => Bytes | undefined) {
    this.#crypto = crypto;
    this.#epochKeyOf = epochKeyOf;
  }

  /**
   * The keys for batches of `signer` (32 bytes) with this per-boot salt (16 bytes); undefined when the epoch key is not here.
   * To be used at once and not kept: {@link LedgerKeys.forget} overwrites them.
   */
  batchKeys(epoch: number, signer: Bytes, salt: Bytes): BatchKeys | undefined {
    const name = `${epoch}.${toHex(signer)}.${toHex(salt)}`;
    const known = this.#cache.get(name);
    if (known !== undefined) return known.keys;
    const epochKey = this.#epochKeyOf(epoch);
    if (epochKey === undefined) return undefined;
    const keySalt = concatBytes(signer, salt);
    const keys: BatchKeys = {
      sealing: this.#crypto.hkdf(epochKey, keySalt, "coco batch v1", KEY_LENGTH),
      evidence: this.#crypto.hkdf(epochKey, keySalt, "coco evidence v1", KEY_LENGTH),
    };
    if (this.#cache.size >= MAX_CACHED_BATCH_KEYS) {
      for (const oldest of this.#cache.keys()) {
        this.#remove(oldest);
        break;
      }
    }
    this.#cache.set(name, { epoch, keys });
    return keys;
  }

  #remove(name: string): void {
    const cached = this.#cache.get(name);
    if (cached === undefined) return;
    wipe(cached.keys);
    this.#cache.delete(name);
  }

  /** Overwrites and forgets the keys derived from an epoch's key. */
  forget(epoch: number): void {
    for (const [name, cached] of this.#cache) if (cached.epoch === epoch) this.#remove(name);
  }

  /** Overwrites and forgets every derived key. */
  clear(): void {
    for (const name of this.#cache.keys()) this.#remove(name);
  }
}
