import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { missingTeeVectors, teeVector } from "../../../test/support/tee-vectors.ts";
import { concatBytes, fromHex, toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { type SnpPolicy, STRICT_SNP_POLICY } from "../../core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import {
  issueRevocationList,
  makeKey,
  NOW_MS,
  type TestCertificate,
  type TestKey,
} from "../../../test/support/issue-certificates.ts";
import { AMD_SIGNATURE, makeSnpPki, type ReportFields, TEST_CHIP } from "../../../test/support/snp-pki.ts";
import { CocoError } from "../../errors.ts";
import { reasonsOf } from "../checks.ts";
import type { HardwareEvidence } from "../hardware-evidence.ts";
import { judgeSnpEvidence } from "../snp/evidence.ts";
import { createAmdRoots } from "../snp/roots.ts";
import type { AzureVtpmEvidence } from "./azure-vtpm.ts";
import { parseAzureVtpmJson } from "./azure-vtpm-codec.ts";
import { isAzureVtpmEvidence } from "./evidence.ts";
import {
  makeHclReport,
  makeVtpmEvidence,
  nonceFor,
  PCRS,
  POLICY_PCRS,
  type QuoteOptions,
  travelling,
} from "./test-azure-vtpm.ts";

const crypto = createAttestationCrypto();
const roots = createAmdRoots();
const nowMs = Date.UTC(2026, 0, 1);
const policy: SnpPolicy = { ...STRICT_SNP_POLICY, pcrs: POLICY_PCRS };
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
    const registers = { 4: toHex(real().quote.pcrs[4] as Bytes), 11: toHex(real().quote.pcrs[11] as Bytes) };
    const judge = (bound: Bytes, change: Partial<SnpPolicy> = {}, at = nowMs) => {
      const judgement = { roots, nowMs: at, nonce: bound };
      return judgeSnpEvidence(travelling(real()), { ...policy, pcrs: registers, ...change }, judgement, crypto);
    };

    test("is accepted under the strict policy with its registers, and claims report and TPM", () => {
      const { claims, checks } = judge(nonce);
      assert.deepEqual(reasonsOf(checks), []);
      assert.equal(claims.generation, "Milan");
      assert.equal(claims.vmpl, 0);
      assert.match(claims.measurement, /^[0-9a-f]{96}$/);
      assert.equal(claims.tpm?.secureBoot, true);
      assert.equal(claims.tpm.pcrs[4], registers[4]);
    });

    test("is rejected by a policy for others, for another nonce, before its certificate, and with other registers", () => {
      assert.deepEqual(reasonsOf(judge(nonce, { products: ["Genoa"] }).checks), ["ProductNotAllowed"]);
      assert.deepEqual(reasonsOf(judge(new Uint8Array(32)).checks), ["NonceMismatch"]);
      assert.deepEqual(reasonsOf(judge(nonce, {}, Date.UTC(2015, 0)).checks), ["CertificateExpired"]);
      assert.deepEqual(reasonsOf(judge(nonce, { pcrs: { ...registers, 4: registers[11] } }).checks), [
        "MeasurementMismatch",
      ]);
    });

    test("carries one quote", () => {
      assert.ok(isAzureVtpmEvidence(travelling(real())));
      const judged = (evidence: HardwareEvidence) => judgeSnpEvidence(evidence, policy, { roots, nowMs }, crypto);
      const travelled = travelling(real());
      for (const endorsements of [[], [...travelled.endorsements, { kind: "tpm-quote" as const, content: nonce }]])
        assert.throws(() => judged({ ...travelled, endorsements }), isMalformed);
    });
  });
}

function isMalformed(error: unknown): boolean {
  return error instanceof CocoError && error.code === "EvidenceRejected" && error.data["reason"] === "Malformed";
}

test("evidence of a machine without a genuine SNP report is rejected as malformed", () => {
  const made = makeVtpmEvidence(makeKey("rsa"));
  for (const evidence of [made, { ...made, hclReport: made.hclReport.subarray(0, 1300) }])
    assert.throws(() => judgeSnpEvidence(travelling(evidence), policy, { roots, nowMs }, crypto), isMalformed);
});

describe("the SNP report inside of a virtual TPM", () => {
  const chain = [pki.vek(), pki.ask, pki.ark].map(({ der }) => der);
  const key = makeKey("rsa");
  const bound = Uint8Array.from({ length: 64 }, (_, at) => at);
  const judgement = { roots: pki.roots, nowMs: NOW_MS };
  const judged = (evidence: HardwareEvidence, change: Partial<SnpPolicy> = {}) =>
    reasonsOf(judgeSnpEvidence(evidence, { ...policy, ...change }, judgement, crypto).checks);
  /** A machine whose quote is for some data. */
  const machine = (fields: ReportFields = {}, made = bound, quote: QuoteOptions = {}): AzureVtpmEvidence => {
    const snpReport = (reportData: Bytes) => pki.report({ 80: reportData, ...fields });
    const evidence = makeVtpmEvidence(key, { snpReport }, { nonce: nonceFor(made), ...quote });
    return { ...evidence, certificates: chain };
  };
  const judge = (fields: ReportFields, change: Partial<SnpPolicy> = {}, certificates = chain, made = bound) =>
    judged(travelling({ ...machine(fields, made), certificates }, bound), change);

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
    const withLists = (revocations: readonly Bytes[], change: Partial<SnpPolicy> = {}) => {
      const lists = revocations.map((content) => ({ kind: "revocations" as const, content }));
      return judged(travelling(machine(), bound, lists), change);
    };
    const require = ["revocation-list"] as const;
    const list = (revoked: readonly TestCertificate[]) =>
      issueRevocationList({ issuer: pki.ark, revoked, ...AMD_SIGNATURE });
    assert.deepEqual(withLists([]), []);
    assert.deepEqual(withLists([], { require }), ["RevocationMissing"]);
    assert.deepEqual(withLists([list([])], { require }), []);
    assert.deepEqual(withLists([list([pki.ask])]), ["CertificateRevoked"]);
  });

  test("is refused where the policy asks for an endorsement of a utility VM that does not come along", () => {
    const uvm = [{ did: "did:x509:0:sha256:abc::eku:1.2.3", feed: "UVM", minSvn: 1 }];
    assert.deepEqual(judge({}, { uvm }), ["UvmEndorsementInvalid"]);
  });

  test("[R13] comes with a quote over all 64 bytes of the expected data", () => {
    for (const at of [0, 31, 32, 63]) {
      const other = bound.map((byte, each) => (each === at ? byte ^ 1 : byte));
      assert.deepEqual(judge({}, {}, chain, other), ["NonceMismatch"]);
    }
    assert.deepEqual(judge({}, {}, chain, bound.subarray(0, 32)), ["NonceMismatch"]);
  });

  test("[R18] is refused with any byte of it, of its runtime data or of the quote changed", () => {
    const genuine = machine();
    const found = (evidence: AzureVtpmEvidence): readonly string[] => {
      try {
        return judged(travelling(evidence, bound));
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
    const { quote, ...rest } = machine();
    for (const signature of [
      new Uint8Array(256),
      new Uint8Array(256).fill(255),
      quote.signature.subarray(1),
      concatBytes(new Uint8Array(1), quote.signature),
    ]) {
      const evidence = { ...rest, quote: { ...quote, signature } };
      assert.deepEqual(judged(travelling(evidence, bound)), ["SignatureInvalid"]);
    }
  });

  test("is accepted by the registers that the policy names, and by no policy that names none", () => {
    const all = Object.fromEntries(PCRS.slice(0, 16).map((value, at) => [at, toHex(value)]));
    assert.deepEqual(judge({}, { pcrs: all }), []);
    const { pcrs: _, ...without } = policy;
    const evidence = travelling(machine(), bound);
    const { checks } = judgeSnpEvidence(evidence, without, judgement, crypto);
    assert.deepEqual(reasonsOf(checks), ["RegistersMissing"]);
    const asked = judgeSnpEvidence(evidence, without, { ...judgement, anyRegisters: true }, crypto);
    assert.deepEqual(reasonsOf(asked.checks), []);
    for (const at of Object.keys(all))
      assert.deepEqual(judge({}, { pcrs: { ...all, [at]: "00".repeat(32) } }), ["MeasurementMismatch"], at);
  });

  test("has a quote of every register that the policy names, with its values", () => {
    const quoting = (quote: QuoteOptions) => judged(travelling(machine({}, bound, quote), bound));
    // Registers 0 to 7 and 16 to 23: the policy names 11 besides.
    assert.deepEqual(quoting({ bitmap: Uint8Array.of(0xff, 0, 0xff) }), ["MeasurementMismatch"]);
    assert.deepEqual(quoting({ bitmap: Uint8Array.of(0x90, 0x08) }), []);
    const nothing = ["SignatureInvalid", "MeasurementMismatch"];
    assert.deepEqual(quoting({ pcrDigest: new Uint8Array(32) }), nothing);
    assert.deepEqual(quoting({ bitmap: new Uint8Array(3) }), nothing);
    const { quote, ...rest } = machine();
    const pcrs = quote.pcrs.map((value, at) => (at === 4 ? new Uint8Array(32) : value));
    const lie = { ...policy.pcrs, 4: "00".repeat(32) };
    assert.deepEqual(judged(travelling({ ...rest, quote: { ...quote, pcrs } }, bound), { pcrs: lie }), nothing);
  });

  test("is not that of another machine, nor by another key, nor plain", () => {
    const other = makeKey("rsa");
    const stranger = makeVtpmEvidence(
      other,
      { snpReport: (data) => pki.report({ 80: data }) },
      { nonce: nonceFor(bound) },
    );
    const mixed = { ...machine(), hclReport: stranger.hclReport };
    assert.deepEqual(judged(travelling(mixed, bound)), ["SignatureInvalid"], "report of another machine");
    const swapped = { ...stranger, certificates: chain, hclReport: makeHclReport(other, { snpReport: reportOf(key) }) };
    assert.deepEqual(judged(travelling(swapped, bound)), ["KeyNotBound"], "runtime data with another key");
    const plain = { tee: "snp", evidence: pki.report({ 80: bound }), endorsements: [] } as const;
    const endorsements = travelling(machine(), bound).endorsements;
    for (const evidence of [plain, { ...plain, endorsements }])
      assert.ok(judged(evidence).includes("RegistersMissing"), "a report without its TPM");
    assert.deepEqual(judged({ ...plain, endorsements }), ["RegistersMissing"]);
  });

  /** Makes the report of the machine with this key, whatever is asked. */
  function reportOf(owner: TestKey): () => Bytes {
    const { hclReport } = makeVtpmEvidence(owner, { snpReport: (data) => pki.report({ 80: data }) });
    return () => hclReport.subarray(32, 32 + 1184);
  }
});
