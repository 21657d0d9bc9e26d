/**
 * What must be refused although everything else holds: correctly signed by a root of our own. Names in brackets are the classes
 * of docs/reference/attestation.md.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { octets } from "../../../test/support/der-writer.ts";
import { DAY_MS, issue, issueRevocationList, makeKey, NOW_MS } from "../../../test/support/issue-certificates.ts";
import { pki, malformed, reasons, vcek, withVek } from "../../../test/support/snp-judge.ts";
import { AMD_SIGNATURE, known, makeSnpPki } from "../../../test/support/snp-pki.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { createAmdRoots } from "./roots.ts";

const other = makeSnpPki("Milan");

describe("chains", () => {
  test("[R6] a root of one's own, with every name right", () => {
    const chain = [other.vek(), other.ask, other.ark];
    const certificates = chain.map(({ der }) => der);
    assert.deepEqual(reasons({ report: other.report(), certificates }), ["RootNotTrusted"]);
    const production = createAmdRoots();
    assert.deepEqual(reasons({ roots: production }), ["RootNotTrusted"]);
  });

  test("[R6] the right root's certificate in place of the one that signed, or made anew by another key", () => {
    const foreign = { report: other.report() };
    assert.deepEqual(reasons({ chain: [other.vek(), other.ask, pki.ark], ...foreign }), ["CertificateMissing"]);
    const unnamed = issue({
      subject: "O=Test, CN=ARK-Milan",
      key: pki.ark.key,
      ca: true,
      keyIds: false,
      ...AMD_SIGNATURE,
    });
    assert.deepEqual(reasons({ chain: [other.vek(), other.ask, unnamed], ...foreign }), ["ChainInvalid"]);
    const swapped = issue({
      subject: "O=Test, CN=ARK-Milan",
      key: pki.ark.key,
      signer: other.ark.key,
      ca: true,
      ...AMD_SIGNATURE,
    });
    assert.deepEqual(reasons({ chain: [vcek, pki.ask, swapped] }), ["RootNotTrusted"]);
  });

  test("[R6] a pinned root of another product", () => {
    const { Milan: pin = "" } = pki.roots.pins;
    assert.deepEqual(reasons({ roots: { pins: { Genoa: pin }, certificates: [] } }), ["RootNotTrusted"]);
    assert.deepEqual(reasons({ fields: { 393: 0x11 } }), ["EndorsementMismatch"]);
    assert.deepEqual(reasons({ fields: { 392: 0x17 } }), ["EndorsementMismatch", "ProductNotAllowed"]);
    assert.deepEqual(reasons({ policy: { products: ["Genoa", "Turin"] } }), ["ProductNotAllowed"]);
  });

  test("[R6] evidence needs neither root nor intermediate where the roots carry them", () => {
    const roots = { ...pki.roots, certificates: known(pki.ask, pki.ark) };
    assert.deepEqual(reasons({ chain: [vcek], roots }), []);
    assert.deepEqual(reasons({ chain: [vcek, pki.ask, pki.ark, other.ark, other.ask], roots }), []);
    assert.deepEqual(reasons({ chain: [vcek, pki.ask] }), ["CertificateMissing"]);
    assert.deepEqual(reasons({ chain: [vcek, pki.ark] }), ["CertificateMissing"]);
    assert.deepEqual(reasons({ chain: [pki.ask, pki.ark] }), ["CertificateMissing"]);
  });

  test("[R12] a signing key as CA, a CA that is none, broken names, a key above that may not issue", () => {
    const asCa = pki.vek({ certificate: { ca: true } });
    assert.deepEqual(reasons({ chain: withVek(asCa) }), ["ChainInvalid"]);
    const intermediate = (options: object) =>
      issue({
        subject: "O=Test, CN=SEV-Milan",
        key: pki.ask.key,
        issuer: pki.ark,
        ca: true,
        ...AMD_SIGNATURE,
        ...options,
      });
    assert.deepEqual(reasons({ chain: [vcek, intermediate({}), pki.ark] }), []);
    assert.deepEqual(reasons({ chain: [vcek, intermediate({ ca: false }), pki.ark] }), ["ChainInvalid"]);
    assert.deepEqual(reasons({ chain: [vcek, intermediate({ usage: 0x80 }), pki.ark] }), ["ChainInvalid"]);
    const critical = { more: [{ identifier: "1.2.3.4", critical: true, value: octets(Uint8Array.of(1)) }] };
    assert.deepEqual(reasons({ chain: [vcek, intermediate(critical), pki.ark] }), ["ChainInvalid"]);
    const renamed = intermediate({ subject: "O=Test, CN=SEV-Genoa" });
    assert.deepEqual(reasons({ chain: [vcek, renamed, pki.ark] }), ["CertificateMissing"]);
    const direct = pki.vek({ certificate: { issuer: pki.ark } });
    const byRoot = reasons({ chain: [direct, pki.ark] });
    assert.ok(byRoot.includes("EndorsementMismatch"));
  });

  test("signatures of certificates by another algorithm than AMD's, and keys on another curve", () => {
    for (const signature of [{ hash: "sha256" }, { algorithm: undefined }] as const)
      assert.deepEqual(reasons({ chain: withVek(pki.vek({ certificate: { ...signature } as object })) }), [
        "AlgorithmNotAllowed",
      ]);
    const key = makeKey("P-256");
    const weak = pki.vek({ certificate: { key } });
    assert.deepEqual(reasons({ chain: withVek(weak) }), ["AlgorithmNotAllowed", "SignatureInvalid"]);
  });

  test("certificates that do not hold yet or any more, each of the three", () => {
    for (const nowMs of [NOW_MS - 11 * DAY_MS, NOW_MS + 11 * DAY_MS])
      assert.deepEqual(reasons({ nowMs }), ["CertificateExpired"]);
    const brief = { fromMs: NOW_MS - DAY_MS, untilMs: NOW_MS - 1000 };
    assert.deepEqual(reasons({ chain: withVek(pki.vek({ certificate: brief })) }), ["CertificateExpired"]);
    const options = { subject: "O=Test, CN=ARK-Milan", key: pki.ark.key, ca: true, ...AMD_SIGNATURE, ...brief };
    assert.deepEqual(reasons({ chain: [vcek, pki.ask, issue(options)] }), ["CertificateExpired"]);
  });

  test("too many certificates are not looked at", () => {
    assert.throws(() => reasons({ chain: Array.from({ length: 17 }, () => vcek) }), malformed);
  });
});

describe("revocation [R7]", () => {
  const list = (options: object = {}) => issueRevocationList({ issuer: pki.ark, ...AMD_SIGNATURE, ...options });
  const revokedReasons = (...revocations: readonly Bytes[]) =>
    reasons({ revocations, policy: { require: ["revocation-list"] } });

  test("a current list by the root is enough, and asked for where the policy requires it", () => {
    assert.deepEqual(revokedReasons(list()), []);
    assert.deepEqual(revokedReasons(), ["RevocationMissing"]);
    assert.deepEqual(reasons(), []);
  });

  test("an intermediate that is revoked, by any list of the root", () => {
    assert.deepEqual(revokedReasons(list({ revoked: [pki.ask] })), ["CertificateRevoked"]);
    assert.deepEqual(revokedReasons(list(), list({ revoked: [pki.ask] })), ["CertificateRevoked"]);
  });

  test("lists that are expired, of the future, by another, unsigned or no list at all", () => {
    const unsigned = Uint8Array.from(list());
    unsigned[unsigned.length - 1] = (unsigned.at(-1) ?? 0) ^ 1;
    for (const bad of [
      list({ untilMs: NOW_MS - 1 }),
      list({ fromMs: NOW_MS + 1000 }),
      issueRevocationList({ issuer: other.ark, ...AMD_SIGNATURE }),
      issueRevocationList({ issuer: pki.ask, ...AMD_SIGNATURE }),
      unsigned,
      Uint8Array.of(1, 2, 3),
    ])
      assert.deepEqual(revokedReasons(bad), ["RevocationMissing"]);
  });
});
