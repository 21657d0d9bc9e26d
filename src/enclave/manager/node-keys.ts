/**
 * The keys of a validating node (R12): a P-256 key that names it and signs, and an X25519 key others encrypt to.
 *
 * They are made inside the enclave and leave it sealed only; what is public of them goes to the owner for signing.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { decodeCbor, encodeCbor } from "../../core/codec/cbor.ts";
import { toHex, type Bytes } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import { readDocument, treeToCbor, type FieldContext } from "../../core/governance/fields.ts";
import { CocoError } from "../../errors.ts";
import type { Entropy } from "../ports.ts";
import { createSignFunction, sha256 } from "./node-crypto.ts";
import { encryptionKeyFromSeed, rawEncryptionKey } from "./key-wrapping.ts";

/** How the TEE keeps secrets on an untrusted disk. */
export interface Sealer {
  seal(secret: Bytes): Bytes | Promise<Bytes>;
  /** Throws `SealedElsewhere` when the bytes were changed, or sealed elsewhere. */
  unseal(sealed: Bytes): Bytes | Promise<Bytes>;
}

/** What is public of a node's keys. */
export interface NodePublicKeys {
  /** Hex SHA-256 of `publicKey`. */
  readonly nodeId: NodeId;
  /** P-256, SubjectPublicKeyInfo DER. */
  readonly publicKey: Bytes;
  /** X25519, 32 bytes. */
  readonly encryptionKey: Bytes;
}

/** A node's keys inside the enclave. */
export interface NodeKeys extends NodePublicKeys {
  readonly signingKey: KeyObject;
  readonly decryptionKey: KeyObject;
}

const MAX_PRIVATE_KEY_BYTES = 1024;
const CONTEXT: FieldContext = { form: "cbor", code: "ConfigurationInvalid" };

function publicKeysOf(signingKey: KeyObject, decryptionKey: KeyObject): NodePublicKeys {
  const publicKey = new Uint8Array(createPublicKey(signingKey).export({ type: "spki", format: "der" }));
  return { nodeId: toHex(sha256(publicKey)), publicKey, encryptionKey: rawEncryptionKey(decryptionKey) };
}

/** Makes new node keys and seals them. */
export async function createNodeKeys(
  sealer: Sealer,
  entropy: Entropy,
): Promise<{ readonly sealed: Bytes; readonly keys: NodePublicKeys }> {
  const { privateKey: signingKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const seed = entropy.bytes(32);
  const decryptionKey = encryptionKeyFromSeed(seed);
  const secret = {
    signingKey: new Uint8Array(signingKey.export({ type: "pkcs8", format: "der" })),
    decryptionKey: seed,
  };
  return { sealed: await sealer.seal(encodeCbor(treeToCbor(secret))), keys: publicKeysOf(signingKey, decryptionKey) };
}

/** Opens sealed node keys; throws `SealedElsewhere` when they are not this machine's. */
export async function openNodeKeys(sealed: Bytes, sealer: Sealer): Promise<NodeKeys> {
  const secret = readDocument(decodeSecret(await sealer.unseal(sealed)), CONTEXT, (fields) => ({
    signingKey: fields.bytes("signingKey", { max: MAX_PRIVATE_KEY_BYTES }),
    decryptionKey: fields.bytes("decryptionKey", { length: 32 }),
  }));
  const signingKey = readSigningKey(secret.signingKey);
  const decryptionKey = encryptionKeyFromSeed(secret.decryptionKey);
  return { ...publicKeysOf(signingKey, decryptionKey), signingKey, decryptionKey };
}

function decodeSecret(secret: Bytes): unknown {
  try {
    return decodeCbor(secret);
  } catch {
    // No cause: an error about secret bytes may quote them.
    throw new CocoError("ConfigurationInvalid", "sealed keys hold something else");
  }
}

function readSigningKey(pkcs8: Bytes): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
  } catch {
    throw new CocoError("ConfigurationInvalid", "sealed keys hold something else");
  }
  createSignFunction(key);
  return key;
}

/** The node's P-256 private key in PEM, for TLS inside the enclave. */
export function signingKeyPem(keys: NodeKeys): string {
  return keys.signingKey.export({ type: "pkcs8", format: "pem" }).toString();
}
