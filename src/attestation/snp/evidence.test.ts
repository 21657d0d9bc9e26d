import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { certificatesPem, issueRevocationList, NOW_MS } from "../../../test/support/issue-certificates.ts";
import { pki, vcek } from "../../../test/support/snp-judge.ts";
import { AMD_SIGNATURE } from "../../../test/support/snp-pki.ts";
import { DID, endorsement, FEED, MEASUREMENT } from "../../../test/support/uvm-endorsement.ts";
import { type Bytes, fromHex, utf8Encode } from "../../core/codec/bytes.ts";
import { type SnpPolicy, STRICT_SNP_POLICY } from "../../core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { reasonsOf } from "../checks.ts";
import type { Endorsement, EndorsementKind } from "../hardware-evidence.ts";
import { judgeSnpEvidence } from "./evidence.ts";

const crypto = createAttestationCrypto();
const HOST_POLICY = utf8Encode("package policy");
const report = pki.report({ 144: fromHex(MEASUREMENT), 192: crypto.digest("sha256", HOST_POLICY) });
const certificates = utf8Encode(certificatesPem([vcek, pki.ask, pki.ark].map(({ der }) => der)));
const UVM = [{ did: DID, feed: FEED, minSvn: 10 }];

function judge(
  more: readonly (readonly [EndorsementKind, Bytes])[],
  policy: Partial<SnpPolicy> = {},
  evidence = report,
) {
  const endorsements: Endorsement[] = [["certificates", certificates] as const, ...more].map(([kind, content]) => ({
    kind,
    content,
  }));
  const whole = { tee: "snp" as const, evidence, endorsements };
  return judgeSnpEvidence(whole, { ...STRICT_SNP_POLICY, ...policy }, { roots: pki.roots, nowMs: NOW_MS }, crypto);
}

const reasons = (...question: Parameters<typeof judge>): readonly string[] => reasonsOf(judge(...question).checks);

describe("SNP evidence as a whole", () => {
  test("is accepted with everything that it may carry", () => {
    const list = issueRevocationList({ issuer: pki.ark, ...AMD_SIGNATURE });
    const { claims, checks } = judge(
      [
        ["uvm-endorsements", endorsement()],
        ["host-policy", HOST_POLICY],
        ["revocations", list],
      ],
      { uvm: UVM, require: ["host-policy", "revocation-list"] },
    );
    assert.deepEqual(reasonsOf(checks), []);
    assert.equal(claims.uvm?.svn, 10);
    assert.equal(claims.revocationChecked, true);
  });

  test("[R15] with an endorsement of another measurement is refused, whatever the policy asks for", () => {
    const other = pki.report();
    assert.deepEqual(reasons([["uvm-endorsements", endorsement()]], { uvm: UVM }, other), ["MeasurementMismatch"]);
    assert.deepEqual(reasons([["uvm-endorsements", endorsement()]], {}, other), ["MeasurementMismatch"]);
  });

  test("[R15] without an endorsement that the policy asks for, or with one that does not hold, is refused", () => {
    assert.deepEqual(reasons([], { uvm: UVM }), ["UvmEndorsementInvalid"]);
    const unsigned = endorsement({ sign: () => new Uint8Array(96) });
    assert.deepEqual(reasons([["uvm-endorsements", unsigned]], { uvm: UVM }), ["UvmEndorsementInvalid"]);
    assert.deepEqual(reasons([["uvm-endorsements", unsigned]]), ["UvmEndorsementInvalid"]);
    const old = endorsement({ svn: 9 });
    assert.deepEqual(reasons([["uvm-endorsements", old]], { uvm: UVM }), ["UvmEndorsementNotAllowed"]);
  });

  test("[R14] with another host policy than the report's is refused", () => {
    assert.deepEqual(reasons([["host-policy", HOST_POLICY]]), []);
    assert.deepEqual(reasons([["host-policy", HOST_POLICY.subarray(1)]]), ["HostDataMismatch"]);
  });

  test("with endorsements that cannot be read is refused, and says what it claims", () => {
    const { claims, checks } = judge([["certificates", Uint8Array.of(1)]]);
    assert.deepEqual(reasonsOf(checks), ["Malformed"]);
    assert.equal(claims.measurement, MEASUREMENT);
    assert.deepEqual(reasons([["uvm-endorsements", Uint8Array.of(1)]]), ["Malformed"]);
    const many = Array.from({ length: 5 }, () => ["certificates", certificates] as const);
    assert.deepEqual(reasons(many), ["Malformed", "CertificateMissing"], "18 certificates");
    assert.deepEqual(reasons([["uvm-endorsements", Uint8Array.of(1)]], { uvm: UVM }), ["Malformed"]);
  });

  test("with a report that cannot be read, or parts that stand there twice, cannot be read", () => {
    const malformed = { code: "EvidenceRejected", data: { reason: "Malformed" } };
    assert.throws(() => judge([], {}, report.subarray(1)), malformed);
    for (const kind of ["uvm-endorsements", "host-policy"] as const) {
      const twice = [kind, kind === "host-policy" ? HOST_POLICY : endorsement()] as const;
      assert.throws(() => judge([twice, twice]), malformed);
    }
  });
});
