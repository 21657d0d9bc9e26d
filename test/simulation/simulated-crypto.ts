/**
 * Cheap, deterministic cryptography for the simulator. It keeps the shape of the real one (a changed byte is noticed, a
 * wrong key opens nothing) and watches what the real one could not forgive: the same key and nonce sealing twice.
 */
import type { Claims } from "../../src/attestation/evidence.ts";
import { commonClaims } from "../../src/attestation/verify-evidence.ts";
import { recordedAppraiser } from "../../src/attestation/appraise-recorded.ts";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { ByteWriter, bytesEqual, concatBytes, EMPTY, toHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import type {
  CertificateDescription,
  EvidenceProblem,
  GovernanceCrypto,
} from "../../src/core/governance/governance-crypto.ts";
import { P256_KEY_HEAD, P256_POINT_BYTES } from "../../src/core/governance/manifest-codec.ts";
import {
  type OfferedService,
  type ServiceState,
  serviceCertificateOf,
} from "../../src/core/governance/service-chain.ts";
import type { Crypto } from "../../src/enclave/ports.ts";
import { CocoError, invariant } from "../../src/errors.ts";
import { absorb, begin, cheapHash, squeeze, squeezeNumber } from "./cheap-hash.ts";

const DER_SEQUENCE = 0x30;
const KEY_LENGTH = 32;
const MACHINE_KEY_LENGTH = P256_KEY_HEAD.length + P256_POINT_BYTES;
const TAG_LENGTH = 16;
const SIGNATURE_LENGTH = 64;
const WRAP = utf8Encode("wrap");
const KIND = { signature: 2, stream: 3, tag: 4, derived: 5, use: 6 } as const;

/** A signature is a MAC under a key that everybody could compute: no simulated node forges. */
function mac(publicKey: Bytes, data: Bytes): Bytes {
  begin(KIND.signature);
  absorb(publicKey);
  absorb(data);
  return squeeze(SIGNATURE_LENGTH);
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

function keyOf(certificate: Bytes): Bytes | undefined {
  return certificate.length === KEY_LENGTH + 2 ? certificate.subarray(2) : undefined;
}

/** Every simulated certificate is one of a CA, and holds for ever. */
const DESCRIPTION: CertificateDescription = {
  subject: "CN=simulated",
  notBeforeMs: 0,
  notAfterMs: Number.MAX_SAFE_INTEGER,
  isCa: true,
  canSign: true,
  keyType: "P-256",
};
/** A cross certificate: a key, and the signature of the key that certifies it. */
function simulatedEndorsement(publicKey: Bytes, issuerKey: Bytes): Bytes {
  return concatBytes(Uint8Array.of(DER_SEQUENCE, KEY_LENGTH + SIGNATURE_LENGTH), publicKey, mac(issuerKey, publicKey));
}

function verifyEndorsement(endorsement: Bytes, subject: Bytes, issuer: Bytes): boolean {
  if (bytesEqual(subject, issuer)) return bytesEqual(endorsement, subject);
  return bytesEqual(endorsement, simulatedEndorsement(subject.subarray(2), issuer.subarray(2)));
}

/** The service identity that the next epoch carries: a new one when a rotation is due. */
export function simulatedService({ services, serviceRotationDue }: ServiceState): OfferedService {
  const keyOf = (at: number): Bytes => cheapHash(utf8Encode(`service ${at}`));
  const before = serviceCertificateOf({ services });
  if (before !== undefined && !serviceRotationDue) return { serviceCertificate: before };
  // Named by the place in the ledger of the one before: older ones may have left the state.
  const key = keyOf(services.at(-1)?.fromSeqno ?? 0);
  const serviceCertificate = simulatedCertificate(key);
  if (before === undefined) return { serviceCertificate };
  return {
    serviceCertificate,
    endorsement: simulatedEndorsement(key, before.subarray(2)),
    backEndorsement: simulatedEndorsement(before.subarray(2), key),
  };
}

/** The key of a simulated machine: it has the form of a real one, but its point is on no curve. */
export function simulatedMachineKey(secret: Bytes): Bytes {
  invariant(secret.length === KEY_LENGTH, "simulated secrets have 32 bytes");
  return concatBytes(P256_KEY_HEAD, secret, secret);
}

/** Evidence of a simulated machine: its key, the code, and its signature over both and the report data. */
export function simulatedEvidence(machineKey: Bytes, measurement: Bytes, reportData: Bytes): Bytes {
  return concatBytes(machineKey, measurement, mac(machineKey, concatBytes(measurement, reportData)));
}

function verifyEvidence(evidence: Bytes, reportData: Bytes): ReturnType<GovernanceCrypto["verifyEvidence"]> {
  return commonClaims(claimsOfSimulated(evidence, reportData));
}

function claimsOfSimulated(evidence: Bytes, reportData: Bytes): Claims | EvidenceProblem {
  const machineKey = evidence.subarray(0, MACHINE_KEY_LENGTH);
  const measurement = evidence.subarray(MACHINE_KEY_LENGTH, MACHINE_KEY_LENGTH + KEY_LENGTH);
  const isGenuine =
    evidence.length === MACHINE_KEY_LENGTH + KEY_LENGTH + SIGNATURE_LENGTH &&
    bytesEqual(evidence, simulatedEvidence(machineKey, measurement, reportData));
  if (!isGenuine) return { problem: "SignatureInvalid" };
  return { tee: "virtual", measurement: toHex(measurement), reportData, machineKey };
}

/** Governance over simulated keys, with one hash or another. */
export function simulatedGovernanceCrypto(hash: (data: Bytes) => Bytes): GovernanceCrypto {
  return {
    sha256: hash,
    verify,
    certificateKey: keyOf,
    verifyWith: (_algorithm, certificate, data, signature) => verify(keyOf(certificate) ?? EMPTY, data, signature),
    // No CA stands between a simulated actor and its certificate, and none ever expires.
    identify: (actors, [certificate = EMPTY]) => {
      const owner = actors.find(({ certificates }) => certificates.some((listed) => bytesEqual(listed, certificate)));
      if (owner === undefined) return { problem: "UnknownIssuer", subject: "" };
      return {
        actor: owner.id,
        role: owner.role,
        certificate: toHex(hash(certificate)),
        untilMs: Number.MAX_SAFE_INTEGER,
      };
    },
    describeCertificate: (certificate) => (keyOf(certificate) === undefined ? undefined : DESCRIPTION),
    // A list of a simulated CA is signed by saying so: one DER SEQUENCE with its key.
    revocationListOf: (list, certificate) =>
      bytesEqual(list, certificate) ? { thisUpdateMs: 0, nextUpdateMs: Number.MAX_SAFE_INTEGER } : undefined,
    verifyEndorsement,
    verifyEvidence,
    appraise: recordedAppraiser(({ evidence, reportData }) => claimsOfSimulated(evidence, reportData)),
    runScript: () => {
      throw new CocoError("Internal", "a simulated network has no scripts");
    },
  };
}

/** Governance over simulated keys. */
export const SIMULATED_GOVERNANCE_CRYPTO: GovernanceCrypto = simulatedGovernanceCrypto(cheapHash);

function stream(key: Bytes, counter: Bytes, length: number): Bytes {
  begin(KIND.stream);
  absorb(key);
  absorb(counter);
  return squeeze(length);
}

function exclusiveOr(left: Bytes, right: Bytes): Bytes {
  const result = new Uint8Array(left.length);
  for (let at = 0; at < left.length; at++) result[at] = (left[at] as number) ^ (right[at] as number);
  return result;
}

function tagOf(key: Bytes, nonce: Bytes, ciphertext: Bytes, associatedData: Bytes): Bytes {
  begin(KIND.tag);
  absorb(key);
  absorb(nonce);
  absorb(associatedData);
  absorb(ciphertext);
  return squeeze(TAG_LENGTH);
}

function hkdf(key: Bytes, salt: Bytes, info: string, length: number): Bytes {
  begin(KIND.derived);
  absorb(key);
  absorb(salt);
  absorb(utf8Encode(info));
  return squeeze(length);
}

function open(key: Bytes, nonce: Bytes, sealed: Bytes, associatedData: Bytes): Bytes | undefined {
  if (sealed.length < TAG_LENGTH) return undefined;
  const ciphertext = sealed.subarray(0, sealed.length - TAG_LENGTH);
  if (!bytesEqual(tagOf(key, nonce, ciphertext, associatedData), sealed.subarray(ciphertext.length))) return undefined;
  return exclusiveOr(ciphertext, stream(key, nonce, ciphertext.length));
}

function seal(key: Bytes, nonce: Bytes, plaintext: Bytes, associatedData: Bytes): Bytes {
  const ciphertext = exclusiveOr(plaintext, stream(key, nonce, plaintext.length));
  return concatBytes(ciphertext, tagOf(key, nonce, ciphertext, associatedData));
}

/** The `Crypto` port of the node with this public key, without anybody watching. */
export function simulatedCrypto(publicKey: Bytes): Crypto {
  return { sha256: cheapHash, hkdf, seal, open, keystream: stream, sign: simulatedSigner(publicKey), verify };
}

/** Sees every use of a key with a nonce in a network, by whichever node. */
export class NonceWatch {
  readonly #used = new Set<number>();

  /** Messages sealed so far, each under a key and nonce of its own. */
  get sealedCount(): number {
    return this.#used.size;
  }

  /** The same port, watched. */
  watch(crypto: Crypto): Crypto {
    return {
      ...crypto,
      seal: (key, nonce, plaintext, associatedData) => {
        this.#note(key, nonce);
        return crypto.seal(key, nonce, plaintext, associatedData);
      },
    };
  }

  /** Two uses are told apart by 53 bits of a hash: a run seals some ten thousand messages at most. */
  #note(key: Bytes, nonce: Bytes): void {
    begin(KIND.use);
    absorb(key);
    absorb(nonce);
    const use = squeezeNumber();
    if (this.#used.has(use)) throw new CocoError("Internal", "a key and nonce sealed twice");
    this.#used.add(use);
  }
}

/** The cheap cryptography of one network, watched. */
export class SimulatedCrypto {
  readonly #nonces = new NonceWatch();

  /** The `Crypto` port of the node with this public key. */
  of(publicKey: Bytes): Crypto {
    return this.#nonces.watch(simulatedCrypto(publicKey));
  }
}

/** Wraps an epoch key to a node. */
export function simulatedWrap(encryptionKey: Bytes, epoch: number, key: Bytes): Bytes {
  return seal(encryptionKey, epochBytes(epoch), key, WRAP);
}

/** Opens a wrap of {@link simulatedWrap}; undefined when it was not made for this key and epoch. */
export function simulatedUnwrap(encryptionKey: Bytes, epoch: number, wrapped: Bytes): Bytes | undefined {
  return open(encryptionKey, epochBytes(epoch), wrapped, WRAP);
}

function epochBytes(epoch: number): Bytes {
  return new ByteWriter(8).u64(epoch).finish();
}
