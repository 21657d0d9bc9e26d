import { describe, test } from "node:test";
import assert from "node:assert/strict";
import { generateKeyPairSync, sign, webcrypto, constants } from "node:crypto";
import type { SignatureAlgorithm, VerifySignature } from "../core/certificates/algorithm.ts";
import type { Bytes } from "../core/codec/bytes.ts";
import { createAttestationCrypto } from "../enclave/manager/attestation-crypto.ts";
import { MAX_DEFERRED_SIGNATURES, withDeferredSignatures } from "./deferred-signatures.ts";
import { createWebVerifier, webDigest } from "./web-crypto.ts";

const node = createAttestationCrypto();
const verifyLater = createWebVerifier<webcrypto.CryptoKey>(webcrypto.subtle);
const data = new Uint8Array(100).fill(7);

interface Signed {
  readonly name: string;
  readonly algorithm: SignatureAlgorithm;
  readonly key: Bytes;
  readonly signature: Bytes;
}

function signedBy(name: string): Signed {
  if (name === "rsa" || name === "rsa-pss") {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const padding = name === "rsa" ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_PSS_PADDING;
    const saltLength = 48;
    const algorithm: SignatureAlgorithm =
      name === "rsa" ? { type: "rsa", hash: "sha256" } : { type: "rsa-pss", hash: "sha384", saltLength };
    const signature = sign(algorithm.hash, data, { key: privateKey, padding, saltLength });
    return { name, algorithm, key: new Uint8Array(publicKey.export({ type: "spki", format: "der" })), signature };
  }
  const { publicKey, privateKey } =
    name === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: name });
  const key = new Uint8Array(publicKey.export({ type: "spki", format: "der" }));
  if (name === "ed25519") return { name, algorithm: { type: "ed25519" }, key, signature: sign(null, data, privateKey) };
  return { name, algorithm: { type: "ecdsa", hash: "sha384" }, key, signature: sign("sha384", data, privateKey) };
}

const samples = ["P-256", "P-384", "P-521", "rsa", "rsa-pss", "ed25519"].map(signedBy);

describe("WebCrypto", () => {
  test("comes to the same answers as node:crypto, for each key and each algorithm", async () => {
    for (const { name, algorithm, key, signature } of samples) {
      assert.equal(await verifyLater(algorithm, key, data, signature), true, name);
      for (const other of samples) {
        const question = [other.algorithm, key, data, signature] as const;
        assert.equal(await verifyLater(...question), node.verify(...question), `${name} as ${other.name}`);
      }
      for (const at of [0, 5, signature.length - 1]) {
        const changed = Uint8Array.from(signature);
        changed[at] = (changed[at] as number) ^ 1;
        assert.equal(await verifyLater(algorithm, key, data, changed), false, `${name}, byte ${at}`);
      }
      assert.equal(await verifyLater(algorithm, key.subarray(1), data, signature), false);
      assert.equal(await verifyLater({ type: "unsupported", identifier: "1.2" }, key, data, signature), false);
    }
  });

  test("hashes as node:crypto does", () => {
    for (const hash of ["sha256", "sha384", "sha512"] as const)
      assert.deepEqual(webDigest(hash, data), node.digest(hash, data));
  });
});

describe("deferred signatures", () => {
  const [first, second] = samples as [Signed, Signed];
  const ask = (verify: VerifySignature, { algorithm, key, signature }: Signed, about = data) =>
    verify(algorithm, key, about, signature);

  test("a judgement says what it would have said with answers at once", async () => {
    const judge = (verify: VerifySignature) =>
      ask(verify, first, new Uint8Array(1)) ? "first" : ask(verify, second) ? "second" : "none";
    assert.equal(await withDeferredSignatures(judge, verifyLater), "second");
    assert.equal(judge(node.verify), "second");
  });

  test("what is thrown because a bad signature was taken for good is not the verdict", async () => {
    const judge = (verify: VerifySignature) => {
      if (ask(verify, first, new Uint8Array(1))) throw new Error("read what nobody signed");
      return "refused";
    };
    assert.equal(await withDeferredSignatures(judge, verifyLater), "refused");
    const thrown = withDeferredSignatures((verify) => {
      ask(verify, first);
      throw new Error("the verdict");
    }, verifyLater);
    await assert.rejects(thrown, /the verdict/);
  });

  test("a judgement that asks without end is stopped", async () => {
    let asked = 0;
    const endless = (verify: VerifySignature) => ask(verify, first, Uint8Array.of(asked++ & 0xff, asked >> 8));
    await assert.rejects(withDeferredSignatures(endless, verifyLater), { code: "LimitExceeded" });
    const many = (verify: VerifySignature) => {
      for (let at = 0; at <= MAX_DEFERRED_SIGNATURES; at++) ask(verify, first, Uint8Array.of(at & 0xff, at >> 8));
    };
    await assert.rejects(withDeferredSignatures(many, verifyLater), { code: "LimitExceeded" });
  });
});
