import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { makeFounder, TEST_TIME_MS } from "../../../test/support/founders.ts";
import { createStaffCertificate, generateKeyPairPem } from "../../enclave/manager/certificates.ts";
import { createGovernanceCrypto, nodeEntropy } from "../../enclave/manager/node-crypto.ts";
import { derOfPem } from "../governance/pem.ts";
import { parseRevocationList } from "./crl.ts";
import { describeCertificate } from "./description.ts";

const issuance = { notBeforeMs: TEST_TIME_MS, days: 10, entropy: nodeEntropy };
const crypto = createGovernanceCrypto();

function derOf(pem: string): Uint8Array {
  const der = derOfPem(pem, "CERTIFICATE");
  assert.ok(der);
  return der;
}

function fixture(name: string): string {
  return readFileSync(join("test/fixtures/certificates", name), "utf8");
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
      assert.equal(crypto.revocationListOf(der, derOf(issuer.certificate)), undefined);
    }
    assert.equal(crypto.revocationListOf(derOf(issuer.certificate), derOf(issuer.certificate)), undefined);
  });

  test("a list of revoked certificates is that of the CA that signed it, and of no other", () => {
    const list = derOfPem(fixture("issuing-crl.pem"), "X509 CRL");
    assert.ok(list);
    const { thisUpdateMs, nextUpdateMs } = parseRevocationList(list);
    const times = crypto.revocationListOf(list, derOf(fixture("issuing.pem")));
    assert.deepEqual(times, { thisUpdateMs, nextUpdateMs });
    assert.equal(crypto.revocationListOf(list, derOf(fixture("root.pem"))), undefined);
    assert.equal(crypto.revocationListOf(list, derOf(fixture("ann.pem"))), undefined);
    for (let at = 0; at < list.length; at += 17) {
      const changed: Uint8Array = Uint8Array.from(list);
      changed[at] = (changed[at] as number) ^ 1;
      assert.equal(crypto.revocationListOf(changed, derOf(fixture("issuing.pem"))), undefined);
    }
  });

  test("names of any length are in the order that DER asks for", () => {
    for (const commonName of ["A", "Ann", "acme", "a much longer name than that of its organisation"]) {
      const { publicKey } = generateKeyPairPem();
      const staff = createStaffCertificate({ commonName, organisation: "Test" }, publicKey, issuer, issuance);
      assert.match(describeCertificate(derOf(staff))?.subject ?? "", new RegExp(commonName));
    }
  });
});
