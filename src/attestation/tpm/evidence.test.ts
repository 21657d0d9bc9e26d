import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { missingTeeVectors, teeVector } from "../../../test/support/tee-vectors.ts";
import { fromHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { type SnpPolicy, STRICT_SNP_POLICY } from "../../core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { makeKey } from "../../../test/support/issue-certificates.ts";
import { CocoError } from "../../errors.ts";
import { reasonsOf } from "../checks.ts";
import type { HardwareEvidence } from "../hardware-evidence.ts";
import { createAmdRoots } from "../snp/roots.ts";
import { encodeTpmQuote, parseAzureVtpmJson } from "./azure-vtpm-codec.ts";
import { azureVtpmEvidenceOf, isAzureVtpmEvidence, judgeAzureVtpm } from "./evidence.ts";
import { makeVtpmEvidence } from "./test-azure-vtpm.ts";

const crypto = createAttestationCrypto();
const roots = createAmdRoots();
const nowMs = Date.UTC(2026, 0, 1);
const policy = STRICT_SNP_POLICY;

for (const [name, nonce] of [
  ["evidence-v1.json", utf8Encode("challenge")],
  [
    "evidence-v2.json",
    fromHex("982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef"),
  ],
] as const) {
  const file = `snp/trustee-az-vtpm/${name}`;
  describe(`a confidential Azure machine as a whole (${name})`, { skip: missingTeeVectors(file) }, () => {
    const real = () => parseAzureVtpmJson(teeVector(file));
    const judge = (bound: Bytes, change: Partial<SnpPolicy> = {}, at = nowMs) =>
      judgeAzureVtpm(real(), { ...policy, ...change }, { roots, nowMs: at, bound: { nonce: bound } }, crypto);

    test("is accepted under the strict policy, and claims report and TPM", () => {
      const { claims, checks } = judge(nonce);
      assert.deepEqual(reasonsOf(checks), []);
      assert.equal(claims.generation, "Milan");
      assert.equal(claims.vmpl, 0);
      assert.match(claims.measurement, /^[0-9a-f]{96}$/);
      assert.equal(claims.vtpm.secureBoot, true);
    });

    test("is rejected by a policy for others, for another nonce, and before its certificate", () => {
      assert.deepEqual(reasonsOf(judge(nonce, { products: ["Genoa"] }).checks), ["ProductNotAllowed"]);
      assert.deepEqual(reasonsOf(judge(new Uint8Array(32)).checks), ["NonceMismatch"]);
      assert.deepEqual(reasonsOf(judge(nonce, {}, Date.UTC(2015, 0)).checks), ["CertificateExpired"]);
    });

    test("is the same after it travelled", () => {
      const { hclReport, quote, certificates } = real();
      const travelled: HardwareEvidence = {
        tee: "snp",
        evidence: hclReport,
        endorsements: [
          { kind: "tpm-quote", content: encodeTpmQuote(quote) },
          ...certificates.map((content) => ({ kind: "certificates" as const, content })),
        ],
      };
      assert.ok(isAzureVtpmEvidence(travelled));
      assert.deepEqual(azureVtpmEvidenceOf(travelled), real());
      for (const endorsements of [[], [...travelled.endorsements, { kind: "tpm-quote" as const, content: nonce }]])
        assert.throws(() => azureVtpmEvidenceOf({ ...travelled, endorsements }), isMalformed);
    });
  });
}

function isMalformed(error: unknown): boolean {
  return error instanceof CocoError && error.code === "EvidenceRejected" && error.data["reason"] === "Malformed";
}

test("evidence of a machine without a genuine SNP report is rejected as malformed", () => {
  const made = makeVtpmEvidence(makeKey("rsa"));
  assert.throws(() => judgeAzureVtpm(made, policy, { roots, nowMs }, crypto), isMalformed);
  const wrong = { ...made, hclReport: made.hclReport.subarray(1) };
  assert.throws(() => judgeAzureVtpm(wrong, policy, { roots, nowMs }, crypto), isMalformed);
});
