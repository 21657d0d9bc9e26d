import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { describe, test } from "node:test";
import { makeFounder, TEST_TIME_MS } from "../../../test/support/founders.ts";
import {
  createNodeCertificate,
  createStaffCertificate,
  generateKeyPairPem,
} from "../../enclave/manager/certificates.ts";
import { createGovernanceCrypto, nodeEntropy } from "../../enclave/manager/node-crypto.ts";
import { derOfPem } from "../governance/pem.ts";
import { describeCertificate } from "./description.ts";

const issuance = { notBeforeMs: TEST_TIME_MS, days: 10, entropy: nodeEntropy };
const crypto = createGovernanceCrypto();

function derOf(pem: string): Uint8Array {
  const der = derOfPem(pem, "CERTIFICATE");
  assert.ok(der);
  return der;
}

describe("what governance is told of a certificate", () => {
  const { issuer } = makeFounder("acme");

  test("an organisation's certificate is one of a CA that may issue", () => {
    const description = describeCertificate(derOf(issuer.certificate));
    assert.deepEqual([description?.isCa, description?.canSign, description?.keyType], [true, true, "P-256"]);
    assert.equal(description?.notBeforeMs, TEST_TIME_MS);
    assert.match(description?.subject ?? "", /CN=acme/);
    assert.deepEqual(crypto.describeCertificate(derOf(issuer.certificate)), description);
  });

  test("a certificate of staff is none of a CA, and may sign", () => {
    const { publicKey } = generateKeyPairPem();
    const staff = createStaffCertificate({ commonName: "Ann", organisation: "Test" }, publicKey, issuer, issuance);
    const description = describeCertificate(derOf(staff));
    assert.deepEqual([description?.isCa, description?.canSign], [false, true]);
  });

  test("what is no certificate has no description, and signs no list", () => {
    for (const der of [new Uint8Array(0), Uint8Array.of(0x30, 0), derOf(issuer.certificate).subarray(1)]) {
      assert.equal(describeCertificate(der), undefined);
      assert.equal(crypto.isRevocationListOf(der, derOf(issuer.certificate)), false);
    }
    assert.equal(crypto.isRevocationListOf(derOf(issuer.certificate), derOf(issuer.certificate)), false);
    const { privateKey } = generateKeyPairSync("ec", {
      namedCurve: "P-256",
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    });
    const node = createNodeCertificate("node", privateKey, issuance);
    assert.equal(describeCertificate(derOf(node))?.isCa, false);
  });
});
