/** What is refused of a VBS enclave's evidence although the rest of it holds: chains and signatures. */
import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { test } from "node:test";
import { issue, makeKey, NOW_MS, type CertificateOptions } from "../../../test/support/issue-certificates.ts";
import { concatBytes, toHex, type Bytes } from "../../core/codec/bytes.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { reasonsOf } from "../checks.ts";
import { makeGuardian, makeReport } from "./test-vsm-evidence.ts";
import { verifyVbs } from "./verify.ts";

const crypto = createAttestationCrypto();
const guardian = makeGuardian();
const roots = [guardian.root.der];
const report = makeReport(guardian.key);
const verify = (changed: Bytes) =>
  verifyVbs({ report: changed, healthCertificate: guardian.health.der }, { roots, nowMs: NOW_MS }, crypto);

/** Of two numbers, as many bytes as it takes. */
function sum(left: Bytes, right: Bytes): Bytes {
  const total = BigInt(`0x${toHex(left)}`) + BigInt(`0x${toHex(right)}`);
  return new Uint8Array(Buffer.from(total.toString(16).padStart(514, "0"), "hex"));
}

test("R12: rejects an intermediate that is no CA, of another name, or of another key", () => {
  const subject = "CN=Middle";
  const key = makeKey("rsa");
  const middle = (options: CertificateOptions): readonly string[] => {
    const issued = issue({ subject, key, issuer: guardian.root, ca: true, ...options });
    const below = makeGuardian({ issuer: issue({ subject, key, issuer: guardian.root, ca: true }) });
    const evidence = {
      report: makeReport(below.key),
      healthCertificate: below.health.der,
      intermediates: [issued.der],
    };
    return reasonsOf(verifyVbs(evidence, { roots, nowMs: NOW_MS }, crypto).checks);
  };
  assert.deepEqual(middle({}), []);
  assert.deepEqual(middle({ ca: false }), ["ChainInvalid"]);
  assert.deepEqual(middle({ subject: "CN=Other" }), ["RootNotTrusted"]);
  assert.deepEqual(middle({ key: makeKey("rsa") }), ["RootNotTrusted"]);
});

test("R19: rejects a signature of zeros, of the largest number, of the modulus and more, or of another length", () => {
  const { n = "" } = createPublicKey(guardian.key).export({ format: "jwk" });
  const modulus = new Uint8Array(Buffer.from(n, "base64url"));
  const good = report.subarray(report.length - modulus.length);
  const wrong = [new Uint8Array(256), new Uint8Array(256).fill(255), modulus, sum(modulus, good)];
  for (const signature of wrong) {
    const changed = concatBytes(report.subarray(0, report.length - modulus.length), signature.subarray(-256));
    assert.deepEqual(reasonsOf(verify(changed).checks), ["SignatureInvalid"]);
  }
  for (const length of [0, 255, 257]) {
    const changed = concatBytes(report.subarray(0, report.length - modulus.length), new Uint8Array(length));
    assert.throws(() => verify(changed), { code: "MalformedInput" });
  }
});
