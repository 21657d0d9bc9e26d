/** Endorsements of utility VMs that must be refused although they are signed: by an issuer of our own. */
import assert from "node:assert/strict";
import { constants, createHash, sign } from "node:crypto";
import { describe, test } from "node:test";
import { issue, makeKey } from "../../../test/support/issue-certificates.ts";
import {
  DID,
  didOf,
  endorsement,
  type EndorsementOptions,
  FEED,
  leaf,
  MEASUREMENT,
  middle,
  PURPOSE,
  root,
} from "../../../test/support/uvm-endorsement.ts";
import { type Bytes, concatBytes, fromHex } from "../../core/codec/bytes.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { reasonsOf } from "../checks.ts";
import { appraiseUvm } from "./appraise.ts";
import { assertEveryByteCounts } from "./test-changed-bytes.ts";
import { verifyUvm } from "./verify.ts";

const crypto = createAttestationCrypto();
const reasons = (options: EndorsementOptions = {}): readonly string[] =>
  reasonsOf(verifyUvm(endorsement(options), crypto).checks);
const INVALID = ["UvmEndorsementInvalid"];
const malformed = { code: "EvidenceRejected", data: { reason: "Malformed" } };

test("a good endorsement is accepted, by each algorithm", () => {
  assert.deepEqual(reasons(), []);
  const elliptic = [
    [-7, "P-256", "sha256"],
    [-36, "P-521", "sha512"],
  ] as const;
  for (const [algorithm, curve, hash] of elliptic) {
    const signer = issue({ key: makeKey(curve), issuer: middle, purposes: [PURPOSE] });
    const signBy = (data: Bytes) =>
      new Uint8Array(sign(hash, data, { key: signer.key.privateKey, dsaEncoding: "ieee-p1363" }));
    assert.deepEqual(reasons({ algorithm, chain: [signer, middle, root], sign: signBy }), []);
  }
  const signer = issue({ key: makeKey("rsa"), issuer: middle, purposes: [PURPOSE] });
  for (const [algorithm, hash, saltLength] of [
    [-37, "sha256", 32],
    [-38, "sha384", 48],
    [-39, "sha512", 64],
  ] as const) {
    const key = { key: signer.key.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
    const signBy = (data: Bytes) => new Uint8Array(sign(hash, data, key));
    assert.deepEqual(reasons({ algorithm, chain: [signer, middle, root], sign: signBy }), []);
  }
});

describe("issuers [R15]", () => {
  test("the fingerprint of the leaf, of no certificate of the chain, or another purpose", () => {
    assert.deepEqual(reasons({ did: didOf(middle) }), []);
    assert.deepEqual(reasons({ did: didOf(leaf) }), INVALID);
    assert.deepEqual(reasons({ did: didOf(issue({ ca: true })) }), INVALID);
    assert.deepEqual(reasons({ did: didOf(root, "1.3.6.1.4.1.311.76.59.1.20") }), INVALID);
    assert.deepEqual(reasons({ did: didOf(root, "1.3.6.1.4.1.311.76.59.1") }), INVALID);
    assert.deepEqual(reasons({ did: DID.split("::")[0] ?? "" }), INVALID);
  });

  test("[R6, R12] a chain that does not hold, or that anybody can make", () => {
    const own = issue({ subject: "O=Test, CN=Middle", ca: true });
    const forged = issue({ key: makeKey("P-384"), issuer: own, purposes: [PURPOSE] });
    for (const chain of [[forged, middle, root], [forged, own, root], [leaf, root], [leaf], []])
      assert.deepEqual(reasons({ chain, signer: chain[0] ?? leaf }), INVALID);
    const byLeaf = issue({ key: makeKey("P-384"), issuer: leaf, purposes: [PURPOSE] });
    assert.deepEqual(reasons({ chain: [byLeaf, leaf, middle, root], signer: byLeaf }), INVALID);
  });

  test("an issuer, feed or version that the policy does not name; versions are numbers", () => {
    const judge = (svn: unknown, minSvn: number, changes: { did?: string; feed?: string } = {}) => {
      const { claims } = verifyUvm(endorsement({ svn }), crypto);
      return reasonsOf(appraiseUvm(claims, [{ did: DID, feed: FEED, minSvn, ...changes }]));
    };
    assert.deepEqual(judge("10", 10), []);
    assert.deepEqual(judge(10, 9), []);
    assert.deepEqual(judge("9", 10), ["UvmEndorsementNotAllowed"], "as text, 9 would be higher than 10");
    assert.deepEqual(judge("100", 99), [], "as text, 100 would be lower than 99");
    assert.deepEqual(judge("10", 0, { feed: "Test-UVM2" }), ["UvmEndorsementNotAllowed"]);
    assert.deepEqual(judge("10", 0, { did: didOf(middle) }), ["UvmEndorsementNotAllowed"]);
    assert.deepEqual(judge("10", 0, { did: `${DID}0` }), ["UvmEndorsementNotAllowed"]);
    for (const svn of ["-1", "1e2", "0x10", "010", " 1", "", 1.5, -1, null, true, "4294967296", [1]])
      assert.throws(() => judge(svn, 0), malformed, JSON.stringify(svn));
  });
});

describe("messages [R16]", () => {
  test("algorithms that are none, unknown, or not the key's", () => {
    for (const algorithm of [0, -257, -65535, "ES384", -8])
      assert.deepEqual(reasons({ algorithm }), ["AlgorithmNotAllowed", ...INVALID]);
    assert.deepEqual(reasons({ without: [1] }), ["AlgorithmNotAllowed", ...INVALID]);
    assert.deepEqual(reasons({ without: [1], unprotected: [[1, -35]] }), ["AlgorithmNotAllowed", ...INVALID]);
    for (const algorithm of [-7, -36, -38]) assert.deepEqual(reasons({ algorithm }), INVALID);
  });

  test("critical headers, headers in both sets, another content type, a thumbprint of another certificate", () => {
    const critical = [[2, ["feed"]]] as const;
    assert.deepEqual(reasons({ headers: critical }), INVALID);
    assert.deepEqual(reasons({ unprotected: critical }), INVALID);
    assert.deepEqual(reasons({ unprotected: [["feed", FEED]] }), INVALID);
    assert.deepEqual(reasons({ headers: [[3, "application/octet-stream"]] }), INVALID);
    const thumbprint = (hash: string, number: number, of = leaf): EndorsementOptions => ({
      headers: [[34, [number, new Uint8Array(createHash(hash).update(of.der).digest())]]],
    });
    assert.deepEqual(reasons(thumbprint("sha256", -16)), []);
    assert.deepEqual(reasons(thumbprint("sha384", -43)), []);
    assert.deepEqual(reasons(thumbprint("sha256", -16, middle)), INVALID);
    assert.deepEqual(reasons(thumbprint("sha1", -14)), INVALID);
  });

  test("[R20] a detached payload, headers that are missing, trailing bytes, another tag", () => {
    assert.throws(() => reasons({ payload: null }), malformed);
    for (const label of ["iss", "feed"]) assert.throws(() => reasons({ without: [label] }), malformed);
    assert.deepEqual(reasons({ without: [33] }), INVALID);
    assert.throws(() => verifyUvm(concatBytes(endorsement(), Uint8Array.of(0)), crypto), malformed);
    assert.throws(() => verifyUvm(endorsement().subarray(1), crypto), malformed);
    assert.throws(() => verifyUvm(concatBytes(Uint8Array.of(0xd1), endorsement().subarray(1)), crypto), malformed);
  });

  test("[R9] payloads that are not one JSON object with both fields, each once", () => {
    const svn = '"x-ms-sevsnpvm-guestsvn":"1"';
    const measurement = `"x-ms-sevsnpvm-launchmeasurement":"${MEASUREMENT}"`;
    assert.deepEqual(reasons({ payload: `{${svn},${measurement},"more":[1]}` }), []);
    for (const payload of [
      "",
      "[]",
      `{${svn}}`,
      `{${measurement}}`,
      `{${svn},${svn},${measurement}}`,
      `{${svn},${measurement},${measurement}}`,
      `{${svn},${measurement}}x`,
      `{${svn},${measurement.toUpperCase()}}`,
      `{${svn},${measurement.replace('ab"', '"')}}`,
    ])
      assert.throws(() => reasons({ payload }), malformed, payload);
  });

  test("[R18] any byte of a message changed, or cut off", () => assertEveryByteCounts(endorsement()));

  test("[R19] a signature of zeros, of the largest numbers, of the group's order, or of another length", () => {
    const order = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    const numbers = [new Uint8Array(48), new Uint8Array(48).fill(255), fromHex(order)];
    for (const number of numbers) assert.deepEqual(reasons({ sign: () => concatBytes(number, number) }), INVALID);
    for (const length of [0, 95, 97, 104]) assert.deepEqual(reasons({ sign: () => new Uint8Array(length) }), INVALID);
  });

  test("a signature by another key, or over another message", () => {
    assert.deepEqual(reasons({ signer: issue({ key: makeKey("P-384") }) }), INVALID);
    assert.deepEqual(reasons({ sign: () => new Uint8Array(96) }), INVALID);
    assert.deepEqual(reasons({ sign: () => new Uint8Array(0) }), INVALID);
    const agreeOnly = issue({ key: makeKey("P-384"), issuer: middle, purposes: [PURPOSE], usage: 0x08 });
    assert.deepEqual(reasons({ chain: [agreeOnly, middle, root], signer: agreeOnly }), INVALID);
  });
});
