import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { fromHex, toHex } from "../codec/bytes.ts";
import { signatureFromDer, signatureToDer } from "./ecdsa-der.ts";

test("any 64 bytes come back from DER, also with leading zeros and high bits", () => {
  const scalar = fc
    .tuple(fc.integer({ min: 0, max: 32 }), fc.uint8Array({ minLength: 32, maxLength: 32 }))
    .map(([zeros, bytes]) => bytes.fill(0, 0, zeros));
  fc.assert(
    fc.property(scalar, scalar, (r, s) => {
      const signature = Uint8Array.of(...r, ...s);
      assert.equal(toHex(signatureFromDer(signatureToDer(signature))), toHex(signature));
    }),
  );
});

test("DER signatures of OpenSSL are read and written alike", () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  for (let at = 0; at < 20; at++) {
    const der = sign("sha256", Uint8Array.of(at), privateKey);
    assert.equal(toHex(signatureToDer(signatureFromDer(der))), toHex(der));
  }
});

test("forms other than the shortest are refused", () => {
  const forms = [
    "30060201010201",
    "3006020101020101ff",
    "300702020001020101",
    "3006020181020101",
    "310602010102 0101",
    "30050200020101",
    "3007020101020101",
  ];
  for (const hex of forms) {
    assert.throws(
      () => signatureFromDer(fromHex(hex.replace(" ", ""))),
      (error) => error instanceof CocoError && error.code === "MalformedInput",
      hex,
    );
  }
  assert.equal(signatureFromDer(fromHex("3006020101020101")).length, 64);
});
