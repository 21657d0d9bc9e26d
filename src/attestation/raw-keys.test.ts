import { test } from "node:test";
import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { createAttestationCrypto } from "../enclave/manager/attestation-crypto.ts";
import { ecdsaSignature, p256PublicKey, rsaPublicKey } from "./raw-keys.ts";

const { verify, digest } = createAttestationCrypto();

test("a point of two numbers and a signature of two numbers verify", () => {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { x = "", y = "" } = publicKey.export({ format: "jwk" });
  const point = new Uint8Array(Buffer.concat([Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]));
  const key = p256PublicKey(point);
  assert.deepEqual(key, new Uint8Array(publicKey.export({ format: "der", type: "spki" })));
  for (let at = 0; at < 600; at++) {
    const data = digest("sha384", Uint8Array.of(at & 0xff, at >> 8));
    const raw = new Uint8Array(sign("sha256", data, { key: privateKey, dsaEncoding: "ieee-p1363" }));
    assert.ok(
      verify({ type: "ecdsa", hash: "sha256" }, key, data, ecdsaSignature(raw)),
      Buffer.from(raw).toString("hex"),
    );
    raw[at % 64] = (raw[at % 64] as number) ^ 1;
    assert.ok(!verify({ type: "ecdsa", hash: "sha256" }, key, data, ecdsaSignature(raw)));
  }
});

test("numbers of zero are written as numbers", () => {
  assert.deepEqual(ecdsaSignature(new Uint8Array(64)), Uint8Array.of(0x30, 6, 2, 1, 0, 2, 1, 0));
});

test("an RSA key of two numbers is the library's encoding of it", () => {
  for (const modulusLength of [1024, 2048, 3072]) {
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength });
    const { n = "", e = "" } = publicKey.export({ format: "jwk" });
    const key = rsaPublicKey(Buffer.from(n, "base64url"), Buffer.from(e, "base64url"));
    assert.deepEqual(key, new Uint8Array(publicKey.export({ format: "der", type: "spki" })));
  }
});
