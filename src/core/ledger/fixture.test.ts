/**
 * What the tests of the ledger share: the real cryptography of Node.js behind the ledger's interface, node keys, and
 * ledgers of a few batches.
 */
import assert from "node:assert/strict";
import * as nodeCrypto from "node:crypto";
import { test } from "node:test";
import { type Bytes, toHex } from "../codec/bytes.ts";
import { type BatchInput, type BatchTransaction, buildBatch, type BuiltBatch } from "./batch.ts";
import { type LedgerCrypto, LedgerKeys } from "./keys.ts";
import { LedgerTail } from "./tail.ts";

/** SHA-256 of Node.js. */
export function sha256(data: Bytes): Bytes {
  return nodeCrypto.createHash("sha256").update(data).digest();
}

/** The ledger's cryptography with a fresh signing key. */
export interface TestNode {
  readonly crypto: LedgerCrypto;
  readonly publicKey: Bytes;
  readonly id: Bytes;
}

function openSealed(key: Bytes, nonce: Bytes, sealed: Bytes, associatedData: Bytes): Bytes | undefined {
  const decipher = nodeCrypto.createDecipheriv("aes-256-gcm", key, nonce);
  decipher.setAAD(associatedData);
  decipher.setAuthTag(sealed.subarray(sealed.length - 16));
  const plaintext = decipher.update(sealed.subarray(0, sealed.length - 16));
  try {
    decipher.final();
    return plaintext;
  } catch {
    return undefined;
  }
}

/** A node with a P-256 key, a new one unless one is given. */
export function makeNode(
  privateKey = nodeCrypto.generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
): TestNode {
  const publicKey = nodeCrypto.createPublicKey(privateKey);
  const spki: Bytes = publicKey.export({ type: "spki", format: "der" });
  const crypto: LedgerCrypto = {
    sha256,
    hkdf: (key, salt, info, length) => new Uint8Array(nodeCrypto.hkdfSync("sha256", key, salt, info, length)),
    seal: (key, nonce, plaintext, associatedData) => {
      const cipher = nodeCrypto.createCipheriv("aes-256-gcm", key, nonce);
      cipher.setAAD(associatedData);
      return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    },
    open: openSealed,
    keystream: (key, counter, length) =>
      nodeCrypto.createCipheriv("aes-256-ctr", key, counter).update(new Uint8Array(length)),
    sign: (data) => nodeCrypto.sign("sha256", data, { key: privateKey, dsaEncoding: "ieee-p1363" }),
    verify: (key, data, signature) => {
      const keyObject = nodeCrypto.createPublicKey({ key: Buffer.from(key), format: "der", type: "spki" });
      return nodeCrypto.verify("sha256", data, { key: keyObject, dsaEncoding: "ieee-p1363" }, signature);
    },
  };
  return { crypto, publicKey: spki, id: sha256(spki) };
}

/** A node with its ledger. */
export class TestLedger {
  readonly node: TestNode;
  readonly tail: LedgerTail;
  readonly keys: LedgerKeys;
  readonly salt: Bytes = new Uint8Array(nodeCrypto.randomBytes(16));
  #nonceCounter = 0;

  constructor(node: TestNode = makeNode()) {
    this.node = node;
    this.tail = new LedgerTail(sha256);
    this.keys = new LedgerKeys(node.crypto, (epoch) => sha256(Uint8Array.of(epoch)));
  }

  /** Public keys by node id, of this node alone. */
  readonly publicKeyOf = (nodeId: string): Bytes | undefined =>
    nodeId === toHex(this.node.id) ? this.node.publicKey : undefined;

  /** Builds the next batch; an application batch in epoch 1 unless told otherwise. */
  build(transactions: readonly BatchTransaction[], changes: Partial<BatchInput> = {}): BuiltBatch {
    const input: BatchInput = {
      kind: "application",
      view: Math.max(1, this.tail.lastView),
      adapterId: 1,
      governanceVersion: 1,
      timeMs: 1_700_000_000_000,
      epoch: 1,
      salt: this.salt,
      nonceCounter: ++this.#nonceCounter,
      signer: this.node.id,
      transactions,
      ...changes,
    };
    return buildBatch(input, this.tail, this.keys, this.node.crypto);
  }
}

/** A transaction with a private part of `length` bytes. */
export function privateTransaction(length: number, claimsDigest?: Bytes): BatchTransaction {
  return {
    id: nodeCrypto.randomBytes(32),
    publicPart: Uint8Array.of(1, 2),
    privatePart: nodeCrypto.randomBytes(length),
    claimsDigest,
  };
}

/** A transaction with a public part alone. */
export function publicTransaction(...publicPart: readonly number[]): BatchTransaction {
  return {
    id: new Uint8Array(0),
    publicPart: Uint8Array.from(publicPart),
    privatePart: new Uint8Array(0),
    claimsDigest: undefined,
  };
}

/** Fields of an administrative batch before the first epoch. */
export const ADMINISTRATIVE: Partial<BatchInput> = { kind: "administrative", adapterId: 0, epoch: 0 };

test("what the fixture seals opens only with its associated data", () => {
  const { crypto } = makeNode();
  const [key, nonce] = [new Uint8Array(32), new Uint8Array(12)];
  const sealed = crypto.seal(key, nonce, Uint8Array.of(7), Uint8Array.of(1));
  assert.equal(toHex(crypto.open(key, nonce, sealed, Uint8Array.of(1)) ?? new Uint8Array(0)), "07");
  assert.equal(crypto.open(key, nonce, sealed, Uint8Array.of(2)), undefined);
});
