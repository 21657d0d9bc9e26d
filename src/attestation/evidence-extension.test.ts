import { test } from "node:test";
import assert from "node:assert/strict";
import { parseCertificate } from "../core/certificates/certificate.ts";
import { concatBytes, utf8Encode } from "../core/codec/bytes.ts";
import { encodeCbor } from "../core/codec/cbor.ts";
import {
  certificateDer,
  createServiceCertificate,
  endorseNodeCertificate,
  generateKeyPairPem,
} from "../enclave/manager/certificates.ts";
import { nodeEntropy } from "../enclave/manager/node-crypto.ts";
import { EVIDENCE_EXTENSION, evidenceDigestOf, evidenceExtension } from "./evidence-extension.ts";

const issuance = { notBeforeMs: Date.UTC(2030, 0, 1), days: 10, entropy: nodeEntropy };
const digest = new Uint8Array(32).fill(7);
const withValue = (value: Uint8Array) =>
  evidenceDigestOf({ extensions: [{ identifier: EVIDENCE_EXTENSION, critical: false, value }] });

test("a node's certificate names the evidence of the node", () => {
  const [service, node] = [generateKeyPairPem(), generateKeyPairPem()];
  const certificate = createServiceCertificate(service.privateKey, issuance);
  const endorse = (evidenceDigest?: Uint8Array) => {
    const subject = { nodeId: "n", publicKey: node.publicKey, hosts: ["127.0.0.1"], evidenceDigest };
    const pem = endorseNodeCertificate(subject, { certificate, privateKey: service.privateKey }, issuance);
    return parseCertificate(certificateDer(pem));
  };
  assert.deepEqual(evidenceDigestOf(endorse(digest)), digest);
  assert.equal(evidenceDigestOf(endorse()), undefined);
});

test("what is in another form names nothing", () => {
  assert.deepEqual(withValue(evidenceExtension(digest)), digest);
  const wrapped = (value: Parameters<typeof encodeCbor>[0]) => {
    const message = encodeCbor(value);
    return withValue(concatBytes(Uint8Array.of(4, message.length), message));
  };
  const type = "application/vnd.coco-framework.evidence-digest";
  assert.deepEqual(wrapped([type, digest]), digest);
  assert.equal(wrapped([type, digest.subarray(1)]), undefined);
  assert.equal(wrapped(["application/cbor", digest]), undefined);
  assert.equal(wrapped([type, digest, 1]), undefined);
  assert.equal(wrapped([type, "text"]), undefined);
  assert.equal(wrapped(type), undefined);
  assert.equal(withValue(utf8Encode("none")), undefined);
  assert.equal(withValue(new Uint8Array()), undefined);
});
