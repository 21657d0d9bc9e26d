import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createOrganisationCertificate, generateKeyPairPem } from "../enclave/manager/certificates.ts";
import { nodeEntropy } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { RECEIPT, SERVICE_CERTIFICATE } from "./test-receipt-sample.ts";
import { verifyReceiptText } from "./verify-receipt.ts";

/** A certificate that signed itself. */
function selfSigned(): string {
  const issuance = { notBeforeMs: Date.now(), days: 1, entropy: nodeEntropy };
  return createOrganisationCertificate({ commonName: "stranger" }, generateKeyPairPem().privateKey, issuance);
}

describe("endorsements of a receipt", () => {
  test("that lead nowhere do no harm to a valid receipt", () => {
    const receipt = { ...RECEIPT, service_endorsements: [selfSigned(), SERVICE_CERTIFICATE] };
    assert.equal(verifyReceiptText(JSON.stringify(receipt), SERVICE_CERTIFICATE).transaction_id, "2.6");
  });

  test("that all sign each other are refused without trying every order", () => {
    const certificate = selfSigned();
    const receipt = { ...RECEIPT, cert: certificate, service_endorsements: Array(64).fill(certificate) };
    assert.throws(
      () => verifyReceiptText(JSON.stringify(receipt), SERVICE_CERTIFICATE),
      (error) => error instanceof CocoError && error.code === "ReceiptInvalid",
    );
  });
});
