/** Endorsements of utility VMs in the newer form: CWT claims in a header, and the measurement in a hash envelope. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DID, didOf, endorsement, FEED, leaf, MEASUREMENT, middle } from "../../../test/support/uvm-endorsement.ts";
import { type Bytes, fromHex } from "../../core/codec/bytes.ts";
import type { CborKey, CborValue } from "../../core/codec/cbor.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { NOW_MS } from "../../../test/support/issue-certificates.ts";
import { reasonsOf } from "../checks.ts";
import { assertEveryByteCounts } from "./test-changed-bytes.ts";
import { verifyUvm } from "./verify.ts";

const crypto = createAttestationCrypto();
const INVALID = ["UvmEndorsementInvalid"];
const malformed = { code: "EvidenceRejected", data: { reason: "Malformed" } };
const NOW = NOW_MS / 1000;
const tagged = (seconds: number): CborValue => ({ tag: 1, value: seconds });
const CLAIMS: readonly (readonly [CborKey, CborValue])[] = [
  [1, DID],
  [2, FEED],
  [6, tagged(NOW)],
  ["svn", 104],
];

type Entries = readonly (readonly [CborKey, CborValue])[];

interface Change {
  /** In place of, or beside, the claims. */
  readonly claims?: Entries;
  readonly withoutClaims?: readonly CborKey[];
  readonly headers?: Entries;
  readonly without?: readonly CborKey[];
  readonly unprotected?: Entries;
  readonly payload?: Bytes | string;
}

/** As production writes them since ContainerPlat 0.2.10. */
function envelope(change: Change = {}): Bytes {
  const claims = new Map<CborKey, CborValue>([...CLAIMS, ...(change.claims ?? [])]);
  for (const name of change.withoutClaims ?? []) claims.delete(name);
  const headers: Entries = [[15, claims], [258, -43], [259, "application/octet-stream"], ...(change.headers ?? [])];
  const { payload = fromHex(MEASUREMENT), unprotected = [[394, [Uint8Array.of(0)]]] } = change;
  const kept = new Map<CborKey, CborValue>(change.headers).has(3) ? [] : [3];
  return endorsement({ headers, payload, unprotected, without: [...kept, "iss", "feed", ...(change.without ?? [])] });
}

const reasons = (change: Change = {}): readonly string[] => reasonsOf(verifyUvm(envelope(change), crypto).checks);

describe("endorsements with CWT claims in a hash envelope", () => {
  test("are accepted, and claim what older ones claim", () => {
    const { claims, checks } = verifyUvm(envelope(), crypto);
    assert.deepEqual(reasonsOf(checks), []);
    const expected = { issuer: DID, feed: FEED, svn: 104, measurement: MEASUREMENT, signedAtMs: NOW_MS };
    assert.deepEqual(claims, expected);
    assert.equal(verifyUvm(envelope({ claims: [[6, NOW]] }), crypto).claims.signedAtMs, NOW_MS);
    assert.deepEqual(reasons({ withoutClaims: [6] }), []);
    assert.equal(verifyUvm(envelope({ claims: [["svn", "105"]] }), crypto).claims.svn, 105);
  });

  test("must name issuer, feed and version, and in one way only", () => {
    for (const name of [1, 2, "svn"]) assert.throws(() => reasons({ withoutClaims: [name] }), malformed, String(name));
    for (const claims of [[[1, 7]], [[2, ""]], [["svn", -1]], [["svn", "x"]], [[6, "now"]], [[6, -1]]] as const)
      assert.throws(() => reasons({ claims }), malformed, JSON.stringify(claims));
    assert.throws(() => reasons({ headers: [[15, [1]]] }), malformed);
  });

  test("[R15] that another purpose, or no certificate of the chain, is named by are refused", () => {
    assert.deepEqual(reasons({ claims: [[1, didOf(leaf)]] }), INVALID);
    assert.deepEqual(reasons({ claims: [[1, didOf(middle, "1.3.6.1.4.1.311.76.59.1.1")]] }), INVALID);
  });

  test("name the same as the older headers, where they have both", () => {
    const both = (headers: Entries): Bytes => {
      const claims = new Map(CLAIMS);
      return endorsement({ headers: [[15, claims], ...headers], svn: 104 });
    };
    assert.deepEqual(reasonsOf(verifyUvm(both([]), crypto).checks), []);
    assert.equal(verifyUvm(both([]), crypto).claims.svn, 104);
    assert.throws(() => verifyUvm(both([["iss", didOf(middle)]]), crypto), malformed);
    assert.throws(() => verifyUvm(both([["feed", "other"]]), crypto), malformed);
    const older = endorsement({ headers: [[15, new Map(CLAIMS)]], svn: "103" });
    assert.throws(() => verifyUvm(older, crypto), malformed, "two versions");
  });

  test("with JSON inside name its content type by the usual header, or by the early one", () => {
    const json = (headers: Entries, without: readonly CborKey[]): readonly string[] => {
      const message = endorsement({ headers: [[15, new Map(CLAIMS)], ...headers], svn: "104", without });
      return reasonsOf(verifyUvm(message, crypto).checks);
    };
    assert.deepEqual(json([], ["iss", "feed"]), []);
    assert.deepEqual(json([[300, "application/json"]], ["iss", "feed", 3]), []);
    assert.deepEqual(json([[300, "application/cbor"]], ["iss", "feed", 3]), INVALID);
    assert.deepEqual(json([], ["iss", "feed", 3]), INVALID);
  });

  test("are of SHA-384, and have the headers of an envelope in their places", () => {
    assert.deepEqual(reasons({ headers: [[258, -16]] }), INVALID);
    assert.deepEqual(reasons({ without: [258] }), INVALID);
    assert.deepEqual(reasons({ headers: [[259, "application/json"]] }), INVALID);
    assert.deepEqual(reasons({ without: [259] }), INVALID);
    assert.deepEqual(reasons({ headers: [[3, "application/json"]] }), INVALID);
    assert.deepEqual(reasons({ unprotected: [[3, "application/json"]] }), INVALID);
    assert.deepEqual(reasons({ unprotected: [[260, "https://example.org"]] }), INVALID);
    assert.deepEqual(reasons({ headers: [[2, [258]]] }), INVALID);
  });

  test("hold a measurement of 48 bytes", () => {
    for (const payload of [new Uint8Array(47), new Uint8Array(49), new Uint8Array(0), MEASUREMENT])
      assert.throws(() => reasons({ payload }), malformed);
  });

  test("were issued while their chain held", () => {
    const day = 24 * 3600;
    assert.deepEqual(reasons({ claims: [[6, tagged(NOW - 11 * day)]] }), INVALID);
    assert.deepEqual(reasons({ claims: [[6, tagged(NOW + 11 * day)]] }), INVALID);
    assert.deepEqual(reasons({ claims: [[6, 0]] }), INVALID);
  });

  test("[R18] any byte of one changed, or cut off", () => assertEveryByteCounts(envelope({ unprotected: [] })));
});
