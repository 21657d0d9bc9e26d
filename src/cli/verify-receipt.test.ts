import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { utf8Encode } from "../core/codec/bytes.ts";
import { parseBatch } from "../core/ledger/batch-format.ts";
import { makeCoseReceipt } from "../core/ledger/cose-receipt.ts";
import type { EndorsementUse } from "../core/governance/governance-crypto.ts";
import { pemOfDer } from "../core/governance/pem.ts";
import { makeReceipt } from "../core/ledger/receipt.ts";
import { makeNode, privateTransaction, TestLedger } from "../core/ledger/fixture.test.ts";
import {
  createOrganisationCertificate,
  createServiceCertificate,
  endorseNodeCertificate,
  endorseServiceCertificate,
  generateKeyPairPem,
} from "../enclave/manager/certificates.ts";
import { createSignFunction, nodeEntropy } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { RECEIPT, SERVICE_CERTIFICATE } from "./test-receipt-sample.ts";
import { verifyReceiptFile, verifyReceiptText } from "./verify-receipt.ts";

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

describe("a receipt in JSON", () => {
  test("with a field twice, or null for one that is left out, is refused", () => {
    const text = JSON.stringify(RECEIPT);
    const { transaction_id: _id, ...without } = RECEIPT;
    assert.equal(verifyReceiptText(JSON.stringify(without), SERVICE_CERTIFICATE).transaction_id, "2.6");
    for (const changed of [
      text.replace("{", '{"transaction_id":"9.9",'),
      text.replace('"claims_digest":', `"claims_digest":"${"0".repeat(64)}","claims_digest":`),
      JSON.stringify({ ...RECEIPT, transaction_id: null }),
      JSON.stringify({ ...RECEIPT, leaf: null }),
      `\ufeff${text}`,
    ]) {
      assert.notEqual(changed, text);
      assert.throws(
        () => verifyReceiptText(changed, SERVICE_CERTIFICATE),
        (error) => error instanceof CocoError && error.code === "ReceiptInvalid",
        changed.slice(0, 60),
      );
    }
  });
});

describe("a COSE receipt", () => {
  const key = createPrivateKey(generateKeyPairPem().privateKey);
  const pem = key.export({ type: "pkcs8", format: "pem" }).toString();
  const certificate = createServiceCertificate(pem, { notBeforeMs: Date.now(), days: 1, entropy: nodeEntropy });
  const ledger = new TestLedger();
  const batch = parseBatch(ledger.build([privateTransaction(4), privateTransaction(5)]).bytes);
  const receipt = makeCoseReceipt({
    batch,
    position: 1,
    tail: ledger.tail,
    keys: ledger.keys,
    crypto: ledger.node.crypto,
    serviceKey: new Uint8Array(createPublicKey(key).export({ type: "spki", format: "der" })),
    issuer: "network",
    signAsService: createSignFunction(key),
  });

  test("is told from JSON by its first byte and verified by the service certificate alone", () => {
    const proven = verifyReceiptFile(receipt, certificate);
    assert.equal(proven.transaction_id, "1.2");
    assert.equal("issuer" in proven && proven.issuer, "network");
  });

  test("of an older or newer service key is verified by endorsements beside it, in both formats", () => {
    const issuance = { notBeforeMs: Date.now(), days: 1, entropy: nodeEntropy };
    const made = { privateKey: pem, certificate };
    const [before, after] = [0, 1].map(() => {
      const { privateKey } = generateKeyPairPem();
      return { privateKey, certificate: createServiceCertificate(privateKey, issuance) };
    }) as [typeof made, typeof made];
    const cross = (subject: typeof made, issuer: typeof made, use: EndorsementUse = "service") =>
      endorseServiceCertificate(subject.certificate, issuer, issuance, use);
    const back = [cross(made, after, "documents"), cross(before, made, "documents")];
    const bundle = [cross(made, before), cross(after, made), ...back].join("");
    const publicKey = pemOfDer(ledger.node.publicKey, "PUBLIC KEY");
    const nodeCertificate = endorseNodeCertificate({ nodeId: "node", publicKey, hosts: [] }, made, issuance);
    const place = { batch, position: 1, tail: ledger.tail, keys: ledger.keys, crypto: ledger.node.crypto };
    const json = utf8Encode(JSON.stringify(makeReceipt({ ...place, certificate: nodeCertificate })));
    for (const bytes of [receipt, json]) {
      for (const trusted of [before, made, after])
        assert.equal(verifyReceiptFile(bytes, trusted.certificate, bundle).transaction_id, "1.2");
      assert.throws(() => verifyReceiptFile(bytes, before.certificate), { code: "ReceiptInvalid" });
      assert.throws(() => verifyReceiptFile(bytes, before.certificate, cross(before, made)), {
        code: "ReceiptInvalid",
      });
      for (const junk of [
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        `${bundle}-----BEGIN X-----`,
      ])
        assert.throws(() => verifyReceiptFile(bytes, made.certificate, junk), { code: "ConfigurationInvalid" });
    }
    const embedded = makeReceipt({
      ...place,
      certificate: nodeCertificate,
      serviceEndorsements: [cross(made, before)],
    });
    assert.equal(verifyReceiptText(JSON.stringify(embedded), before.certificate).transaction_id, "1.2");
    const forged = JSON.stringify({ ...embedded, service_endorsements: back });
    assert.throws(
      () => verifyReceiptText(forged, after.certificate),
      { code: "ReceiptInvalid" },
      "an old key's holder",
    );
    // By an old key, with the endorsement of it in the place of the node's certificate: the newer one has signed that.
    const { privateKey: oldKey } = generateKeyPairPem();
    const old = { privateKey: oldKey, certificate: createServiceCertificate(oldKey, issuance) };
    const oldSigner = new TestLedger(makeNode(createPrivateKey(oldKey)));
    for (const use of ["documents", "service"] as const) {
      const byOldKey = makeReceipt({
        batch: parseBatch(oldSigner.build([privateTransaction(4), privateTransaction(5)]).bytes),
        position: 1,
        tail: oldSigner.tail,
        keys: oldSigner.keys,
        crypto: oldSigner.node.crypto,
        certificate: cross(old, made, use),
      });
      assert.throws(
        () => verifyReceiptText(JSON.stringify(byOldKey), made.certificate),
        { code: "ReceiptInvalid" },
        use,
      );
    }
  });

  test("a certificate by a key that is not on an elliptic curve is not followed: such keys can take minutes to verify with", () => {
    const folder = mkdtempSync(join(tmpdir(), "coco-receipt-"));
    try {
      const file = (name: string): string => join(folder, name);
      const openssl = (...args: string[]): void => void execFileSync("openssl", args, { stdio: "ignore" });
      const accepted = [
        ["ec", "ec_paramgen_curve:P-384"],
        ["rsa", "rsa_keygen_bits:2048"],
      ].map(([algorithm = "", option = ""]) => {
        const key = ["-newkey", algorithm, "-pkeyopt", option, "-nodes", "-keyout", file("ca.key")];
        openssl("req", "-x509", ...key, "-subj", "/CN=service", "-out", file("ca.pem"));
        const { privateKey } = generateKeyPairPem();
        writeFileSync(file("node.key"), privateKey);
        openssl("req", "-new", "-key", file("node.key"), "-subj", "/CN=node", "-out", file("node.csr"));
        const issuer = ["-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial"];
        openssl("x509", "-req", "-in", file("node.csr"), ...issuer, "-out", file("node.pem"));
        const signer = new TestLedger(makeNode(createPrivateKey(privateKey)));
        const made = makeReceipt({
          batch: parseBatch(signer.build([privateTransaction(4)]).bytes),
          position: 0,
          tail: signer.tail,
          keys: signer.keys,
          crypto: signer.node.crypto,
          certificate: readFileSync(file("node.pem"), "utf8"),
        });
        try {
          return verifyReceiptText(JSON.stringify(made), readFileSync(file("ca.pem"), "utf8")).transaction_id;
        } catch (error) {
          return error instanceof CocoError ? error.code : error;
        }
      });
      assert.deepEqual(accepted, ["1.1", "ReceiptInvalid"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("an answer that was saved instead of a receipt is told as such", () => {
    const answer = {
      error: { code: "TransactionNotCommitted", message: "transaction 9.9 is Unknown\u001b", remedy: "-" },
    };
    assert.throws(() => verifyReceiptText(JSON.stringify(answer), SERVICE_CERTIFICATE), {
      code: "ReceiptInvalid",
      message: /no receipt but what a node answered instead: TransactionNotCommitted: transaction 9\.9 is Unknown $/,
    });
  });

  test("names what fails, for a changed byte and for another service", () => {
    const refuses = (bytes: Uint8Array, trusted: string, reason: RegExp): void =>
      assert.throws(
        () => verifyReceiptFile(bytes, trusted),
        (error) => error instanceof CocoError && error.code === "ReceiptInvalid" && reason.test(error.message),
      );
    refuses(receipt.with(-1, (receipt.at(-1) ?? 0) ^ 1), certificate, /signature/);
    refuses(receipt, SERVICE_CERTIFICATE, /key id/);
    refuses(receipt.subarray(1), certificate, /not JSON/);
  });
});
