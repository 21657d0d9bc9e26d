/**
 * The real cryptography of the enclave over node:crypto: the `Crypto` and `Entropy` ports, the cryptography governance and
 * attestation are handed, and key wrapping to a node's X25519 key.
 *
 * Signatures are ECDSA P-256 with SHA-256 in IEEE P1363 form (64 bytes r ‖ s); actors may use P-384 with SHA-384 (96 bytes),
 * and their certificates may be signed with more. Whatever fails to verify or to open gives false or undefined, never an
 * exception that tells why.
 */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hash,
  hkdfSync,
  randomBytes,
  sign,
  verify,
  type KeyObject,
} from "node:crypto";
import { claimsOfEvidence } from "../../attestation/verify-evidence.ts";
import { describeCertificate, revocationListOf } from "../../core/certificates/description.ts";
import { bytesEqual, concatBytes, type Bytes, type HashFunction } from "../../core/codec/bytes.ts";
import { ActorIndex, type ListedActor } from "../../core/certificates/actor-index.ts";
import type { SignatureAlgorithm, VerifySignature } from "../../core/certificates/algorithm.ts";
import { type Certificate, tryParseCertificate } from "../../core/certificates/certificate.ts";
import { namesIssuer, signatureProblem } from "../../core/certificates/path.ts";
import type { CoseAlgorithm, SignFunction, VerifyFunction } from "../../core/governance/cose.ts";
import type { EndorsementUse, GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import type { RunScript } from "../../core/governance/script.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { Crypto, Entropy } from "../ports.ts";
import { endorsementUseOf } from "./certificates.ts";
import { createLaneHash, LANE_MESSAGE_BYTES, LANES } from "./sha256-lanes.ts";

/** Public keys kept ready for verification; the least recently used one makes room. */
export const MAX_CACHED_PUBLIC_KEYS = 1024;
/** Length of a wrapped 32-byte key: ephemeral public key, ciphertext, tag. */
export const WRAPPED_KEY_BYTES = 32 + 32 + 16;

const DIGEST_BYTES = 32;
const KEY_BYTES = 32;
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
/** Curve, hash and length r ‖ s of the signatures of nodes and actors (RFC 9053, 2.1). */
const ECDSA = {
  ES256: { curve: "prime256v1", hash: "sha256", bytes: 64 },
  ES384: { curve: "secp384r1", hash: "sha384", bytes: 96 },
} as const;
const WRAP_INFO = "coco key wrap v1";
/** SubjectPublicKeyInfo and PKCS #8 of an X25519 key up to the 32 key bytes (RFC 8410). */
const X25519_SPKI_PREFIX = Uint8Array.from([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00]);
const X25519_PKCS8_PREFIX = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20,
]);

/** The process's random number generator. */
export const nodeEntropy: Entropy = { bytes: (length) => plain(randomBytes(length)) };

/** A plain Uint8Array over the same memory: what leaves this file is not a Buffer. */
function plain(bytes: Uint8Array): Bytes {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * The one-shot call is a sixth of the other, where the runtime has it (Node 20.12 and later). It gives a text with one character
 * per byte: a Buffer from the runtime costs twice as much as all the hashing.
 */
function sha256Into(data: Bytes, target: Uint8Array, at: number): void {
  if (typeof hash !== "function") {
    target.set(createHash("sha256").update(data).digest(), at);
    return;
  }
  const text = hash("sha256", data, "binary");
  for (let offset = 0; offset < DIGEST_BYTES; offset++) target[at + offset] = text.charCodeAt(offset);
}

/** Undefined where the processor has no vectors. */
const laneHash = createLaneHash();

function sha256Many(messages: Bytes, length: number, target: Uint8Array): void {
  const group = LANES * length;
  const inLanes =
    laneHash === undefined || length > LANE_MESSAGE_BYTES ? 0 : messages.length - (messages.length % group);
  if (inLanes > 0) laneHash?.(messages.subarray(0, inLanes), length, target);
  let place = (inLanes / length) * DIGEST_BYTES;
  for (let from = inLanes; from < messages.length; from += length) {
    sha256Into(messages.subarray(from, from + length), target, place);
    place += DIGEST_BYTES;
  }
}

/** SHA-256. */
export const sha256: HashFunction = Object.assign(
  (data: Bytes): Bytes => {
    const digest = new Uint8Array(DIGEST_BYTES);
    sha256Into(data, digest, 0);
    return digest;
  },
  { many: sha256Many },
);

/** HKDF-SHA-256 (RFC 5869). */
export function hkdf(key: Bytes, salt: Bytes, info: string, length: number): Bytes {
  return new Uint8Array(hkdfSync("sha256", key, salt, info, length));
}

/** AES-256-GCM: ciphertext followed by the 16-byte tag. */
export function seal(key: Bytes, nonce: Bytes, plaintext: Bytes, associatedData: Bytes): Bytes {
  invariant(
    key.length === KEY_BYTES && nonce.length === NONCE_BYTES,
    "AES-256-GCM takes a key of 32 and a nonce of 12 bytes",
  );
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(associatedData);
  return concatBytes(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}

/** Opens {@link seal}; undefined when the tag does not fit. */
export function open(key: Bytes, nonce: Bytes, sealed: Bytes, associatedData: Bytes): Bytes | undefined {
  invariant(
    key.length === KEY_BYTES && nonce.length === NONCE_BYTES,
    "AES-256-GCM takes a key of 32 and a nonce of 12 bytes",
  );
  if (sealed.length < TAG_BYTES) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(associatedData);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  const head = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
  try {
    const rest = decipher.final();
    // A stream cipher keeps nothing back: no copy.
    return rest.length === 0 ? plain(head) : concatBytes(head, rest);
  } catch {
    return undefined;
  }
}

/** What a keystream is the encryption of; as long as the longest so far, 64 bytes per transaction of a batch. */
let zeros: Bytes = new Uint8Array(0);

function keystream(key: Bytes, counter: Bytes, length: number): Bytes {
  if (zeros.length < length) zeros = new Uint8Array(length);
  return plain(createCipheriv("aes-256-ctr", key, counter).update(zeros.subarray(0, length)));
}

/** What a key signs with; undefined for keys that are of neither curve. */
function algorithmOf(key: KeyObject): CoseAlgorithm | undefined {
  if (key.asymmetricKeyType !== "ec") return undefined;
  const curve = key.asymmetricKeyDetails?.namedCurve;
  return curve === ECDSA.ES256.curve ? "ES256" : curve === ECDSA.ES384.curve ? "ES384" : undefined;
}

/** The public key of a SubjectPublicKeyInfo; undefined when the bytes are none in their one DER form. */
function importPublicKey(spki: Bytes): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    return bytesEqual(key.export({ format: "der", type: "spki" }), spki) ? key : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps the imported keys used last, because an import costs as much as a verification. */
function keyImporter(maxCachedKeys: number): (publicKey: Bytes) => KeyObject | undefined {
  const keys = new Map<string, KeyObject>();
  return (publicKey) => {
    const name = Buffer.from(publicKey).toString("latin1");
    const key = keys.get(name) ?? importPublicKey(publicKey);
    if (key === undefined) return undefined;
    keys.delete(name);
    keys.set(name, key);
    if (keys.size > maxCachedKeys) {
      const [oldest] = keys.keys();
      if (oldest !== undefined) keys.delete(oldest);
    }
    return key;
  };
}

/** A verifier for keys of these curves: which one it is decides over hash and length. */
export function createVerifier(
  maxCachedKeys = MAX_CACHED_PUBLIC_KEYS,
  algorithms: readonly CoseAlgorithm[] = ["ES256"],
): VerifyFunction {
  const importKey = keyImporter(maxCachedKeys);
  const lengths: readonly number[] = algorithms.map((algorithm) => ECDSA[algorithm].bytes);
  return (publicKey, data, signature) => {
    if (!lengths.includes(signature.length)) return false;
    const key = importKey(publicKey);
    const algorithm = key && algorithmOf(key);
    if (key === undefined || algorithm === undefined || !algorithms.includes(algorithm)) return false;
    const { hash: digest, bytes } = ECDSA[algorithm];
    return signature.length === bytes && verify(digest, data, { key, dsaEncoding: "ieee-p1363" }, signature);
  };
}

/** A function that signs with a P-256 private key: 64 bytes r ‖ s. Throws `ConfigurationInvalid` for any other key. */
export function createSignFunction(privateKey: KeyObject): SignFunction {
  const { algorithm, sign: signWithKey } = createActorSigner(privateKey);
  if (algorithm !== "ES256") throw new CocoError("ConfigurationInvalid", "expected a P-256 private key");
  return signWithKey;
}

/** What an actor's private key signs with; throws `ConfigurationInvalid` for keys on other curves than P-256 and P-384. */
export function createActorSigner(privateKey: KeyObject): { algorithm: CoseAlgorithm; sign: SignFunction } {
  const algorithm = privateKey.type === "private" ? algorithmOf(privateKey) : undefined;
  if (algorithm === undefined) throw new CocoError("ConfigurationInvalid", "expected a private key on P-256 or P-384");
  const { hash: digest } = ECDSA[algorithm];
  return { algorithm, sign: (data) => plain(sign(digest, data, { key: privateKey, dsaEncoding: "ieee-p1363" })) };
}

/** Verifies signatures of certificates and revocation lists (`VerifySignature`); keeps the issuers' keys used last. */
export function createCertificateVerifier(maxCachedKeys = MAX_CACHED_PUBLIC_KEYS): VerifySignature {
  const importKey = keyImporter(maxCachedKeys);
  return (algorithm, publicKey, data, signature) => {
    const key = importKey(publicKey);
    try {
      return key !== undefined && verifyBy(algorithm, key, data, signature);
    } catch {
      // A key of another type than the algorithm's.
      return false;
    }
  };
}

const KEY_TYPES: Readonly<Record<SignatureAlgorithm["type"], KeyObject["asymmetricKeyType"]>> = {
  ecdsa: "ec",
  rsa: "rsa",
  "rsa-pss": "rsa",
  ed25519: "ed25519",
  unsupported: undefined,
};

function verifyBy(algorithm: SignatureAlgorithm, key: KeyObject, data: Bytes, signature: Bytes): boolean {
  // The library would verify by whatever key it is given, and leave the padding aside.
  if (key.asymmetricKeyType !== KEY_TYPES[algorithm.type]) return false;
  switch (algorithm.type) {
    case "ecdsa":
      return verify(algorithm.hash, data, { key, dsaEncoding: "der" }, signature);
    case "rsa":
      return verify(algorithm.hash, data, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
    case "rsa-pss": {
      const { hash: digest, saltLength } = algorithm;
      return verify(digest, data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signature);
    }
    case "ed25519":
      return verify(null, data, key, signature);
    case "unsupported":
      return false;
  }
}

/** The `Crypto` port; `privateKey` is the node's P-256 key. */
export function createNodeCrypto(privateKey: KeyObject): Crypto {
  return {
    sha256,
    hkdf,
    seal,
    open,
    keystream,
    sign: createSignFunction(privateKey),
    verify: createVerifier(),
  };
}

/** For programs that come to no script; a network's scripts without a runner are a fault of the program. */
const noScripts: RunScript = () => {
  throw new CocoError("Internal", "there is no runner for scripts here");
};

/**
 * The cryptography of governance; it is what verification of evidence needs, too.
 * @param runScript needed wherever governance transactions are executed
 */
export function createGovernanceCrypto(runScript = noScripts): GovernanceCrypto {
  const verifyByKey = createVerifier(MAX_CACHED_PUBLIC_KEYS, ["ES256", "ES384"]);
  const evidenceCrypto = { sha256, verify: createVerifier() };
  const verifyIssued = createCertificateVerifier();
  return {
    sha256,
    verify: verifyByKey,
    certificateKey,
    verifyWith: (algorithm, certificate, data, signature) => {
      const key = certificateKey(certificate);
      if (key === undefined || signature.length !== ECDSA[algorithm].bytes) return false;
      return verifyByKey(key, data, signature);
    },
    describeCertificate,
    revocationListOf: (list, certificate) => revocationListOf(list, certificate, verifyIssued),
    identify: identifier(verifyIssued),
    verifyEndorsement: (endorsement, subject, issuer, use) =>
      verifyEndorsement([endorsement, subject, issuer], use, verifyIssued),
    appraise: (evidence, reportData) => claimsOfEvidence(evidence, reportData, evidenceCrypto),
    runScript,
  };
}

/** Keeps the index of the list of actors asked for last: it changes by vote only, and is asked for many times. */
function identifier(verifyIssued: VerifySignature): GovernanceCrypto["identify"] {
  const crypto = { sha256, verify: verifyIssued };
  let indexed: { readonly actors: readonly ListedActor[]; readonly index: ActorIndex } | undefined;
  return (actors, chain, nowMs) => {
    if (indexed?.actors !== actors) indexed = { actors, index: new ActorIndex(actors, crypto) };
    return indexed.index.identify(chain, nowMs);
  };
}

function certificateKey(certificate: Bytes): Bytes | undefined {
  const { publicKey, keyType } = tryParseCertificate(certificate) ?? {};
  const isForSigning = keyType?.type === "ec" && keyType.curve !== "P-521";
  // The curve's own rules are the library's to check.
  return isForSigning && publicKey && importPublicKey(publicKey) ? publicKey : undefined;
}

function isP256({ keyType }: Certificate): boolean {
  return keyType.type === "ec" && keyType.curve === "P-256";
}

/** See `GovernanceCrypto`. */
function verifyEndorsement(
  [endorsement, subject, issuer]: readonly [Bytes, Bytes, Bytes],
  use: EndorsementUse,
  verifyIssued: VerifySignature,
): boolean {
  const [cross, named, signer] = [endorsement, subject, issuer].map(tryParseCertificate);
  if (!cross?.isCa || !named?.isCa || !signer?.isCa || !isP256(cross) || !isP256(signer)) return false;
  return (
    endorsementUseOf(cross.keyPurposes) === use &&
    cross.subject.key === named.subject.key &&
    bytesEqual(cross.publicKey, named.publicKey) &&
    namesIssuer(cross, signer) &&
    signatureProblem(cross, signer, verifyIssued) === undefined
  );
}

/** The raw 32 bytes of an X25519 public key (also of a private key's public half). */
export function rawEncryptionKey(key: KeyObject): Bytes {
  const spki = createPublicKeyOf(key).export({ format: "der", type: "spki" });
  return plain(spki.subarray(X25519_SPKI_PREFIX.length));
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
    const output = hkdf(plain(shared), concatBytes(ephemeral, recipient), WRAP_INFO, KEY_BYTES + NONCE_BYTES);
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
