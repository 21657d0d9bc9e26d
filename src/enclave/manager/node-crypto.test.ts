import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import { describe, test } from "node:test";
import { EMPTY, fromHex, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { issue, makeKey, NOW_MS } from "../../../test/support/issue-certificates.ts";
import type { SignatureAlgorithm } from "../../core/certificates/algorithm.ts";
import { parseCertificate } from "../../core/certificates/certificate.ts";
import {
  createActorSigner,
  createCertificateVerifier,
  createGovernanceCrypto,
  createNodeCrypto,
  createVerifier,
  nodeEntropy,
} from "./node-crypto.ts";
import { encryptionKeyFromSeed, rawEncryptionKey, unwrapKey, wrapKey, WRAPPED_KEY_BYTES } from "./key-wrapping.ts";

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }));
const crypto = createNodeCrypto(privateKey);
const data = utf8Encode("data");

describe("the Crypto port over node:crypto", () => {
  test("hashes with SHA-256", () => {
    assert.equal(
      toHex(crypto.sha256(utf8Encode("abc"))),
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
    assert.equal(Object.getPrototypeOf(crypto.sha256(data)), Uint8Array.prototype);
  });

  test("derives keys as in RFC 5869, test case 3", () => {
    const key = fromHex("0b".repeat(22));
    const expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
    assert.equal(toHex(crypto.hkdf(key, EMPTY, "", 42)), expected);
  });

  test("seals as AES-256-GCM (NIST test case 16) and opens nothing that was changed", () => {
    const key = fromHex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    const nonce = fromHex("cafebabefacedbaddecaf888");
    const plaintext = fromHex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    const associatedData = fromHex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    const sealed = crypto.seal(key, nonce, plaintext, associatedData);
    const expected =
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662" +
      "76fc6ece0f4e1768cddf8853bb2d551b";
    assert.equal(toHex(sealed), expected);
    assert.deepEqual(crypto.open(key, nonce, sealed, associatedData), plaintext);
    for (let at = 0; at < sealed.length; at++) {
      const changed = Uint8Array.from(sealed);
      changed[at] = (changed[at] as number) ^ 1;
      assert.equal(crypto.open(key, nonce, changed, associatedData), undefined);
    }
    assert.equal(crypto.open(key, nonce, sealed, EMPTY), undefined);
    assert.equal(crypto.open(key, nonce, sealed.subarray(0, 15), associatedData), undefined);
    assert.deepEqual(crypto.open(key, nonce, crypto.seal(key, nonce, EMPTY, EMPTY), EMPTY), EMPTY);
  });

  test("its keystream is AES-256-CTR (NIST SP 800-38A, F.5.5)", () => {
    const key = fromHex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    const stream = crypto.keystream(key, fromHex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), 16);
    assert.equal(toHex(stream), "0bdf7df1591716335e9a8b15c860c502");
    assert.equal(crypto.keystream(key, new Uint8Array(16), 100).length, 100);
  });

  test("signs 64 bytes that verify by the key's DER and by no other bytes", () => {
    const signature = crypto.sign(data);
    assert.equal(signature.length, 64);
    assert.ok(crypto.verify(spki, data, signature));
    assert.ok(!crypto.verify(spki, utf8Encode("date"), signature));
    assert.ok(!crypto.verify(spki, data, signature.subarray(1)));
    for (let at = 0; at < spki.length; at++) {
      const changed = Uint8Array.from(spki);
      changed[at] = (changed[at] as number) ^ 1;
      assert.ok(!crypto.verify(changed, data, signature), `byte ${at}`);
    }
    assert.ok(!crypto.verify(new Uint8Array(0), data, signature));
  });

  test("keeps verifying when keys come and go in its cache", () => {
    const verify = createVerifier(2);
    const signed = Array.from({ length: 4 }, () => {
      const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const key = new Uint8Array(pair.publicKey.export({ type: "spki", format: "der" }));
      return { key, signature: createNodeCrypto(pair.privateKey).sign(data) };
    });
    for (let round = 0; round < 3; round++) {
      for (const [at, { key, signature }] of signed.entries()) {
        assert.ok(verify(key, data, signature));
        assert.ok(!verify(key, data, signed.at(at - 1)?.signature ?? EMPTY));
      }
    }
  });

  test("takes a P-256 private key only", () => {
    assert.throws(() => createNodeCrypto(publicKey), { code: "ConfigurationInvalid" });
    assert.throws(() => createNodeCrypto(generateKeyPairSync("ed25519").privateKey), { code: "ConfigurationInvalid" });
    assert.equal(createGovernanceCrypto().certificateKey(spki), undefined);
  });

  test("lets actors sign with P-256 and P-384, each with its own hash; nodes with P-256 alone", () => {
    const governance = createGovernanceCrypto();
    for (const [type, algorithm, length] of [
      ["P-256", "ES256", 64],
      ["P-384", "ES384", 96],
    ] as const) {
      const { der, key } = issue({ key: makeKey(type) });
      const signer = createActorSigner(key.privateKey);
      const signature = signer.sign(data);
      assert.deepEqual([signer.algorithm, signature.length], [algorithm, length]);
      assert.deepEqual(governance.certificateKey(der), key.spki);
      assert.ok(governance.verify(key.spki, data, signature));
      assert.ok(governance.verifyWith(algorithm, der, data, signature));
      assert.ok(!governance.verifyWith(algorithm === "ES256" ? "ES384" : "ES256", der, data, signature));
      assert.ok(!governance.verifyWith(algorithm, der, utf8Encode("date"), signature));
      assert.equal(crypto.verify(key.spki, data, signature), type === "P-256");
    }
    const p384 = makeKey("P-384");
    assert.throws(() => createNodeCrypto(p384.privateKey), { code: "ConfigurationInvalid" });
    for (const type of ["P-521", "rsa", "ed25519"] as const) {
      const key = makeKey(type);
      assert.equal(governance.certificateKey(issue({ key }).der), undefined);
      assert.throws(() => createActorSigner(key.privateKey), { code: "ConfigurationInvalid" });
    }
  });

  test("identifies actors by the list handed in, also when it changes", () => {
    const governance = createGovernanceCrypto();
    const [one, two] = [issue({ ca: true }), issue({ ca: true })];
    const actors = [one, two].map(({ der }, at) => ({
      id: `actor${at}`,
      role: "member" as const,
      certificates: [der],
      revocations: [],
    }));
    const find = (listed: typeof actors) => {
      const found = governance.identify(listed, [issue({ issuer: two }).der], NOW_MS);
      return "problem" in found ? found.problem : found.actor;
    };
    assert.deepEqual(
      [find(actors), find(actors), find(actors.slice(0, 1)), find(actors)],
      ["actor1", "actor1", "UnknownIssuer", "actor1"],
    );
  });

  test("verifies no signature of a certificate by a key of another type", () => {
    const verifyCertificate = createCertificateVerifier();
    const keys = (["P-256", "rsa", "ed25519"] as const).map((type) => makeKey(type));
    const algorithms: readonly SignatureAlgorithm[] = [
      { type: "ecdsa", hash: "sha256" },
      { type: "rsa", hash: "sha256" },
      { type: "rsa-pss", hash: "sha256", saltLength: 32 },
      { type: "ed25519" },
      { type: "unsupported", identifier: "1.2.3" },
    ];
    const issued = keys.map((key) => parseCertificate(issue({ key }).der));
    const fitting = issued.flatMap(({ publicKey, signedBytes, signature }) =>
      algorithms.map((algorithm) => verifyCertificate(algorithm, publicKey, signedBytes, signature)),
    );
    assert.deepEqual(
      fitting.flatMap((fits, at) => (fits ? [at] : [])),
      [0, 6, 13],
    );
    assert.equal(verifyCertificate({ type: "ed25519" }, new Uint8Array(3), data, data), false);
  });

  test("hashes alike with and without the one-shot call", () => {
    assert.equal(toHex(crypto.sha256(data)), createHash("sha256").update(data).digest("hex"));
  });
});

describe("wrapped keys", () => {
  const recipient = encryptionKeyFromSeed(nodeEntropy.bytes(32));
  const key = nodeEntropy.bytes(32);
  const context = utf8Encode("epoch 1");
  const wrapped = wrapKey(rawEncryptionKey(recipient), key, context, nodeEntropy);

  test("open for the recipient in the same context only", () => {
    assert.equal(wrapped.length, WRAPPED_KEY_BYTES);
    assert.deepEqual(unwrapKey(recipient, wrapped, context), key);
    assert.equal(unwrapKey(recipient, wrapped, utf8Encode("epoch 2")), undefined);
    assert.equal(unwrapKey(encryptionKeyFromSeed(nodeEntropy.bytes(32)), wrapped, context), undefined);
  });

  test("do not open when any byte was changed, cut or added", () => {
    for (let at = 0; at < wrapped.length; at++) {
      const changed = Uint8Array.from(wrapped);
      changed[at] = (changed[at] as number) ^ 1;
      assert.equal(unwrapKey(recipient, changed, context), undefined, `byte ${at}`);
    }
    assert.equal(unwrapKey(recipient, wrapped.subarray(1), context), undefined);
    assert.equal(unwrapKey(recipient, Uint8Array.from([...wrapped, 0]), context), undefined);
  });

  test("are never the same twice", () => {
    assert.notDeepEqual(wrapKey(rawEncryptionKey(recipient), key, context, nodeEntropy), wrapped);
  });

  test("public keys of low order are refused on both sides", () => {
    assert.throws(() => wrapKey(new Uint8Array(32), key, context, nodeEntropy), { code: "MalformedInput" });
    assert.throws(() => wrapKey(new Uint8Array(31), key, context, nodeEntropy), { code: "MalformedInput" });
    const lowOrder = Uint8Array.from(wrapped);
    lowOrder.fill(0, 0, 32);
    assert.equal(unwrapKey(recipient, lowOrder, context), undefined);
  });

  test("X25519 keys are those of RFC 7748 section 6.1", () => {
    const bob = encryptionKeyFromSeed(fromHex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
    assert.equal(toHex(rawEncryptionKey(bob)), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  });
});
