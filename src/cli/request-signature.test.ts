import assert from "node:assert/strict";
import { generateKeyPairSync, sign, verify } from "node:crypto";
import { describe, test } from "node:test";
import { COSE_ALGORITHMS } from "../core/governance/cose.ts";
import { HASHES, rawSignature } from "./request-signature.ts";

const KEYS = { ES256: "P-256", ES384: "P-384" } as const;

describe("signatures in either form", () => {
  for (const algorithm of ["ES256", "ES384"] as const) {
    const { privateKey: key, publicKey } = generateKeyPairSync("ec", { namedCurve: KEYS[algorithm] });
    const hash = HASHES[algorithm];

    test(`${algorithm}: DER becomes r and s, whatever their leading zeros`, () => {
      for (let at = 0; at < 200; at++) {
        const data = Buffer.from(`message ${at}`);
        const raw = rawSignature(new Uint8Array(sign(hash, data, { key, dsaEncoding: "der" })), algorithm);
        assert.ok(raw !== undefined && verify(hash, data, { key: publicKey, dsaEncoding: "ieee-p1363" }, raw));
        assert.equal(rawSignature(raw, algorithm), raw);
      }
    });

    test(`${algorithm}: what is cut, extended or of another kind is none`, () => {
      const der = new Uint8Array(sign(hash, Buffer.from("x"), { key, dsaEncoding: "der" }));
      for (let length = 0; length < der.length; length++)
        if (length !== COSE_ALGORITHMS[algorithm].bytes)
          // so long, it could be r and s: the signature is verified then
          assert.equal(rawSignature(der.subarray(0, length), algorithm), undefined);
      assert.equal(rawSignature(new Uint8Array([...der, 0]), algorithm), undefined);
      assert.equal(rawSignature(new Uint8Array([0x31, ...der.subarray(1)]), algorithm), undefined);
    });
  }
});
