import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { missingTeeVectors, teeVector } from "../../../test/support/tee-vectors.ts";
import { concatBytes, fromHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { type SnpPolicy, STRICT_SNP_POLICY } from "../../core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import {
  issueRevocationList,
  makeKey,
  NOW_MS,
  type TestCertificate,
} from "../../../test/support/issue-certificates.ts";
import { AMD_SIGNATURE, makeSnpPki, type ReportFields, TEST_CHIP } from "../../../test/support/snp-pki.ts";
import { CocoError } from "../../errors.ts";
import { reasonsOf } from "../checks.ts";
import type { HardwareEvidence } from "../hardware-evidence.ts";
import { createAmdRoots } from "../snp/roots.ts";
import { vtpmNonce } from "./azure-vtpm.ts";
import { encodeTpmQuote, parseAzureVtpmJson } from "./azure-vtpm-codec.ts";
import { azureVtpmEvidenceOf, isAzureVtpmEvidence, judgeAzureVtpm } from "./evidence.ts";
import { makeVtpmEvidence } from "./test-azure-vtpm.ts";

const crypto = createAttestationCrypto();
const roots = createAmdRoots();
const nowMs = Date.UTC(2026, 0, 1);
const policy = STRICT_SNP_POLICY;
const pki = makeSnpPki();

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

describe("the SNP report inside of a virtual TPM", () => {
  const chain = [pki.vek(), pki.ask, pki.ark].map(({ der }) => der);
  const key = makeKey("rsa");
  const bound = Uint8Array.from({ length: 64 }, (_, at) => at);
  const judge = (fields: ReportFields, change: Partial<SnpPolicy> = {}, certificates = chain, made = bound) => {
    const snpReport = (reportData: Bytes) => pki.report({ 80: reportData, ...fields });
    const evidence = makeVtpmEvidence(key, { snpReport }, { nonce: vtpmNonce(made, crypto) });
    const judgement = { roots: pki.roots, nowMs: NOW_MS, bound: { reportData: bound } };
    return reasonsOf(judgeAzureVtpm({ ...evidence, certificates }, { ...policy, ...change }, judgement, crypto).checks);
  };

  test("[R1, R2, R3, R4, R5, R6, R8, R14, R25] is judged as every SNP report is", () => {
    assert.deepEqual(judge({}), []);
    assert.deepEqual(judge({ 10: 0b1011 }), ["DebugEnabled"], "R1");
    assert.deepEqual(judge({ 10: 0b0111 }), ["MigrationEnabled"], "R2");
    assert.deepEqual(judge({ 48: 1 }), ["PrivilegeLevel"], "R3");
    assert.deepEqual(judge({ 72: 0b10 }), ["ChipHidden"], "R4");
    assert.deepEqual(judge({ 480: new Uint8Array(8) }), ["TcbMismatch"], "R5");
    assert.deepEqual(judge({}, { hostData: ["00".repeat(32)] }), ["HostDataMismatch"], "R14");
    assert.deepEqual(judge({}, { familyId: "11".repeat(16) }), ["IdentityMismatch"], "R25");
    const other = makeSnpPki();
    const foreign = [other.vek(), other.ask, other.ark].map(({ der }) => der);
    assert.deepEqual(judge({}, {}, foreign), ["SignatureInvalid", "RootNotTrusted"], "R6");
    assert.deepEqual(judge({}, {}, [pki.vek({ hardwareId: TEST_CHIP.toReversed() }).der, ...chain.slice(1)]), [
      "EndorsementMismatch",
    ]);
  });

  test("[R7] is refused when a list that came along revokes what leads to the root, or is asked for and is not there", () => {
    const { certificates: _, ...made } = makeVtpmEvidence(key, { snpReport: (data) => pki.report({ 80: data }) });
    const judged = (revocations: readonly Bytes[], change: Partial<SnpPolicy> = {}) => {
      const certificates = chain.map((content) => ({ kind: "certificates" as const, content }));
      const lists = revocations.map((content) => ({ kind: "revocations" as const, content }));
      const quote = { kind: "tpm-quote" as const, content: encodeTpmQuote(made.quote) };
      const travelled = {
        tee: "snp" as const,
        evidence: made.hclReport,
        endorsements: [quote, ...certificates, ...lists],
      };
      const judgement = { roots: pki.roots, nowMs: NOW_MS };
      return reasonsOf(
        judgeAzureVtpm(azureVtpmEvidenceOf(travelled), { ...policy, ...change }, judgement, crypto).checks,
      );
    };
    const require = ["revocation-list"] as const;
    const list = (revoked: readonly TestCertificate[]) =>
      issueRevocationList({ issuer: pki.ark, revoked, ...AMD_SIGNATURE });
    assert.deepEqual(judged([]), []);
    assert.deepEqual(judged([], { require }), ["RevocationMissing"]);
    assert.deepEqual(judged([list([])], { require }), []);
    assert.deepEqual(judged([list([pki.ask])]), ["CertificateRevoked"]);
  });

  test("[R13] comes with a quote over all 64 bytes of the expected data", () => {
    for (const at of [0, 31, 32, 63]) {
      const other = bound.map((byte, each) => (each === at ? byte ^ 1 : byte));
      assert.deepEqual(judge({}, {}, chain, other), ["NonceMismatch"]);
    }
    assert.deepEqual(judge({}, {}, chain, bound.subarray(0, 32)), ["NonceMismatch"]);
  });

  test("[R18] is refused with any byte of it, of its runtime data or of the quote changed", () => {
    const snpReport = (reportData: Bytes) => pki.report({ 80: reportData });
    const genuine = {
      ...makeVtpmEvidence(key, { snpReport }, { nonce: vtpmNonce(bound, crypto) }),
      certificates: chain,
    };
    const judgement = { roots: pki.roots, nowMs: NOW_MS, bound: { reportData: bound } };
    const found = (evidence: typeof genuine): readonly string[] => {
      try {
        return reasonsOf(judgeAzureVtpm(evidence, policy, judgement, crypto).checks);
      } catch (error) {
        assert.ok(isMalformed(error), String(error));
        return ["Malformed"];
      }
    };
    const flipped = (bytes: Bytes, at: number): Bytes =>
      bytes.map((byte, each) => (each === at ? byte ^ (1 << (at % 8)) : byte));
    assert.deepEqual(found(genuine), []);
    const { hclReport, quote } = genuine;
    for (let at = 0; at < hclReport.length; at++)
      assert.notDeepEqual(found({ ...genuine, hclReport: flipped(hclReport, at) }), [], `report ${at}`);
    for (const part of ["message", "signature"] as const)
      for (let at = 0; at < quote[part].length; at++) {
        const changed = { ...quote, [part]: flipped(quote[part], at) };
        assert.notDeepEqual(found({ ...genuine, quote: changed }), [], `${part} ${at}`);
      }
  });

  test("[R19] comes with a signature of the TPM's key that is none of zeros or of another length", () => {
    const snpReport = (reportData: Bytes) => pki.report({ 80: reportData });
    const { quote, ...rest } = makeVtpmEvidence(key, { snpReport }, { nonce: vtpmNonce(bound, crypto) });
    const judgement = { roots: pki.roots, nowMs: NOW_MS, bound: { reportData: bound } };
    for (const signature of [
      new Uint8Array(256),
      new Uint8Array(256).fill(255),
      quote.signature.subarray(1),
      concatBytes(new Uint8Array(1), quote.signature),
    ]) {
      const evidence = { ...rest, certificates: chain, quote: { ...quote, signature } };
      assert.deepEqual(reasonsOf(judgeAzureVtpm(evidence, policy, judgement, crypto).checks), ["SignatureInvalid"]);
    }
  });
});
