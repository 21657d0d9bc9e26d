import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, test } from "node:test";
import { issue, makeKey, NOW_MS } from "../../../test/support/issue-certificates.ts";
import { toBase64, toBase64Url } from "../../core/codec/base64.ts";
import { utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import { CocoError } from "../../errors.ts";
import { reasonsOf } from "../checks.ts";
import { pinnedKeys, readKeySet } from "./keys.ts";
import { verifyMaa } from "./verify.ts";
import { extensionWithPem, ISSUER, mutate, rs256, seededChoices } from "../vsm/test-vsm-evidence.ts";
import { crypto, key, attacker, keyId, HEADER, guest, token, keySet, numbersOf } from "./test-tokens.ts";

describe("key sets", () => {
  const good = token(guest);
  const withKeys = (jwks: Bytes) => reasonsOf(verifyMaa({ token: good, jwks }, { nowMs: NOW_MS }, crypto).checks);

  test("give keys by their numbers, or by their certificate alone", () => {
    assert.deepEqual(withKeys(keySet({ ...numbersOf(key), alg: "RS256", use: "sig" })), []);
    const certificate = issue({ key, subject: `CN=${ISSUER}` });
    const x5c = [toBase64(certificate.der)];
    assert.deepEqual(withKeys(keySet({ x5c })), []);
    assert.deepEqual(withKeys(keySet({ x5c, ...numbersOf(key) })), []);
    assert.throws(() => readKeySet(keySet({ x5c, ...numbersOf(attacker) })), { code: "MalformedInput" });
  });

  test("R18: give the key of the certificate itself, not of one inside it", () => {
    const pem = pemOfDer(issue({ key: attacker }).der, "CERTIFICATE");
    const certificate = issue({ key, more: [extensionWithPem(`\n${pem}`)] });
    const careless = new X509Certificate(certificate.der).publicKey.export({ type: "spki", format: "der" });
    assert.deepEqual(new Uint8Array(careless), attacker.spki, "the library takes what is inside");
    const jwks = keySet({ x5c: [toBase64(certificate.der)] });
    assert.deepEqual(readKeySet(jwks)[0]?.publicKey, key.spki);
    assert.deepEqual(withKeys(jwks), []);
    const forged = token(guest, HEADER, rs256(attacker.privateKey));
    assert.deepEqual(reasonsOf(verifyMaa({ token: forged, jwks }, { nowMs: NOW_MS }, crypto).checks), ["TokenInvalid"]);
  });

  test("R17: keys of less than 2048 bits prove nothing", () => {
    const short = makeKey("rsa-1024");
    const signed = token(guest, HEADER, rs256(short.privateKey));
    for (const jwks of [keySet(numbersOf(short)), keySet({ x5c: [toBase64(issue({ key: short }).der)] })])
      assert.deepEqual(reasonsOf(verifyMaa({ token: signed, jwks }, { nowMs: NOW_MS }, crypto).checks), [
        "AlgorithmNotAllowed",
      ]);
  });

  test("are judged by the dates of their certificates", () => {
    const x5c = [toBase64(issue({ key, untilMs: NOW_MS - 1000 }).der)];
    assert.deepEqual(withKeys(keySet({ x5c })), ["CertificateExpired"]);
  });

  test("leave out keys of other types and uses, and limit a key to its algorithm", () => {
    assert.deepEqual(readKeySet(keySet({ kty: "EC" })), []);
    assert.deepEqual(readKeySet(keySet({ ...numbersOf(key), use: "enc" })), []);
    const unnamed = { kty: "RSA", ...numbersOf(attacker) };
    const named = { kty: "RSA", kid: keyId, ...numbersOf(key) };
    assert.deepEqual(withKeys(utf8Encode(JSON.stringify({ keys: [unnamed, named] }))), []);
    for (const unreadable of ["AAAA", "?"]) assert.deepEqual(readKeySet(keySet({ x5c: [unreadable] })), []);
    assert.deepEqual(withKeys(keySet({ ...numbersOf(key), alg: "PS256" })), ["AlgorithmNotAllowed"]);
  });

  test("are refused when they are not what they say", () => {
    const one = { kty: "RSA", kid: keyId, ...numbersOf(key) };
    const { n, e } = numbersOf(key);
    const leading = toBase64Url(Uint8Array.from([0, ...Buffer.from(String(n), "base64url")]));
    const wrong: readonly unknown[] = [
      [],
      {},
      { keys: {} },
      { keys: [7] },
      { keys: [{ ...one, kid: 7 }] },
      { keys: [{ ...one, kid: "" }] },
      { keys: [{ ...one, n: undefined }] },
      { keys: [{ ...one, n: leading }] },
      { keys: [{ ...one, n: `${n}=` }] },
      { keys: [{ ...one, e: "AQ" }] },
      { keys: [{ ...one, e: "" }] },
      { keys: [{ kty: "RSA", kid: keyId }] },
      { keys: [{ kty: "RSA", kid: keyId, x5c: [] }] },
      { keys: [{ kty: "RSA", kid: keyId, x5c: [toBase64(issue().der)] }] },
      { keys: [one, { ...one, e }] },
      { keys: Array.from({ length: 65 }, (_, at) => ({ ...one, kid: String(at) })) },
    ];
    for (const value of wrong)
      assert.throws(
        () => readKeySet(utf8Encode(JSON.stringify(value))),
        { code: "MalformedInput" },
        JSON.stringify(value),
      );
  });

  test("end in keys or in a named error, whatever comes", () => {
    const seed = 2020;
    const next = seededChoices(seed);
    const set = keySet({ x5c: [toBase64(issue({ key }).der)] });
    for (let round = 0; round < 2000; round++) {
      try {
        readKeySet(mutate(set, next));
      } catch (error) {
        assert.ok(
          error instanceof CocoError && error.code === "MalformedInput",
          `seed ${seed}, ${round}: ${String(error)}`,
        );
      }
    }
  });

  test("pinned as what is no RSA key are left out", () => {
    assert.deepEqual(pinnedKeys([{ keyId, publicKey: makeKey().spki }]), []);
    assert.deepEqual(pinnedKeys([{ keyId, certificate: utf8Encode("none") }]), []);
    assert.deepEqual(pinnedKeys([{ keyId, certificate: issue().der }]), []);
    assert.equal(pinnedKeys([{ keyId, certificate: issue({ key }).der }])[0]?.bits, 2048);
  });
});
