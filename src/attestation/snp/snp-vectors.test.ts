import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { missingTeeVectors, teeJson, teeText, teeVector } from "../../../test/support/tee-vectors.ts";
import { type Bytes, fromHex, toHex } from "../../core/codec/bytes.ts";
import { fromBase64 } from "../../core/codec/base64.ts";
import { allowingSnp, type SnpPolicy, STRICT_SNP_POLICY } from "../../core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { isAccepted, reasonsOf } from "../checks.ts";
import { appraiseSnp } from "./appraise.ts";
import { readCertificates } from "./certificates.ts";
import { judgeSnpEvidence } from "./evidence.ts";
import { createAmdRoots } from "./roots.ts";
import { verifySnp } from "./verify.ts";

interface Expected {
  readonly version: number;
  readonly product: string | null;
  readonly policy: string;
  readonly policy_debug: boolean;
  readonly policy_migrate_ma: boolean;
  readonly policy_smt: boolean;
  readonly vmpl: number;
  readonly guest_svn: number;
  readonly signing_key: number;
  readonly platform_info: string;
  readonly report_data: string;
  readonly measurement: string;
  readonly host_data: string;
  readonly family_id: string;
  readonly image_id: string;
  readonly id_key_digest: string;
  readonly reported_tcb_hex_le: string;
  readonly committed_tcb_hex_le: string;
  readonly chip_id: string;
  readonly vek: { readonly csp_id?: string };
}

/** Where a vector's files are, when it is verified, and what it is refused for. */
interface Case {
  readonly name: string;
  readonly report: string;
  readonly certificates: readonly string[];
  readonly at?: string;
  /** By the strict policy. */
  readonly reasons: readonly string[];
  readonly allow?: readonly string[];
  /** With what `allow` allows. */
  readonly allowed?: readonly string[];
}

const NOW = "2026-11-01T00:00:00Z";
const OTHER_CHIP = ["SignatureInvalid", "ChainInvalid", "TcbMismatch", "EndorsementMismatch"];
const CASES: readonly Case[] = [
  {
    name: "go-sev-guest",
    report: "go-sev-guest/attestation.bin",
    certificates: ["go-sev-guest/vcek.testcer"],
    reasons: ["VersionNotAllowed", "DebugEnabled"],
    allow: ["v2"],
    allowed: ["DebugEnabled"],
  },
  {
    name: "virtee-milan",
    report: "virtee/report_milan.hex",
    certificates: ["virtee/vcek_milan.der"],
    reasons: ["VersionNotAllowed"],
    allow: ["v2"],
    allowed: [],
  },
  {
    name: "trustee",
    report: "trustee/test-report.bin",
    certificates: ["trustee/test-vcek.der", "roots/ask_ark_milan.pem"],
    reasons: ["VersionNotAllowed"],
    allow: ["v2"],
    allowed: [],
  },
  ...["legacy", "new"].map((kind) => ({
    name: `trustee-bad${kind}`,
    report: "trustee/test-report.bin",
    certificates: [`trustee/test-vcek-invalid-${kind}.der`],
    reasons: [...OTHER_CHIP, "VersionNotAllowed"],
  })),
  {
    name: "trustee-vlek",
    report: "trustee/test-vlek-report.bin",
    certificates: ["trustee/test-vlek.der", "roots/ask_ark_milan_vlek.pem"],
    at: "2025-06-01T00:00:00Z",
    reasons: ["KeyKindNotAllowed", "PrivilegeLevel"],
    allow: ["vlek", "vmpl1"],
    allowed: [],
  },
  {
    name: "ms-milan",
    report: "ms-tee-av/milan_attestation_report.bin",
    certificates: ["ms-tee-av/milan_vcek.pem", "ms-tee-av/milan_ask.pem", "ms-tee-av/milan_ark.pem"],
    reasons: [],
  },
  {
    name: "sidecar-attest",
    report: "sidecar/attest/snp_report.bin",
    certificates: ["sidecar/attest/uvm_host_amd_certificate.json"],
    reasons: ["VersionNotAllowed"],
    allow: ["v2"],
    allowed: [],
  },
  ...["milan", "genoa"].map((name) => ({
    name: `ccf-${name}`,
    report: `ccf/${name}_attestation.bin`,
    certificates: [`ccf/${name}_endorsements.pem`],
    reasons: [],
  })),
  {
    name: "ccf-v2",
    report: "ccf/v2_format_milan_attestation.bin",
    certificates: [],
    reasons: ["CertificateMissing", "VersionNotAllowed", "ProductNotAllowed"],
  },
];

const crypto = createAttestationCrypto();
const roots = createAmdRoots();
const skip = missingTeeVectors("snp");
const vector = (name: string): Bytes =>
  name.endsWith(".hex") ? fromHex(teeText(`snp/${name}`).trim()) : teeVector(`snp/${name}`);
const certificatesOf = (names: readonly string[]) => names.flatMap((name) => readCertificates(vector(name)));
const reversed = (hex: string): string => toHex(fromHex(hex).toReversed());
const number = (hex: string): string => hex.replace("0x", "").padStart(16, "0");

function judge(report: Bytes, certificates: readonly Bytes[], at = NOW, policy = STRICT_SNP_POLICY) {
  const { claims, checks } = verifySnp({ report, certificates }, { roots, nowMs: Date.parse(at) }, crypto);
  return { claims, checks: [...checks, ...appraiseSnp(claims, policy)] };
}

function judgeCase(name: string, policy?: SnpPolicy, at?: string) {
  const found = CASES.find((each) => each.name === name);
  assert.ok(found);
  return judge(vector(found.report), certificatesOf(found.certificates), at ?? found.at, policy);
}

describe("real SNP evidence", { skip }, () => {
  for (const { name, reasons, allow = [], allowed } of CASES) {
    test(`${name} gives exactly the expected reasons`, () => {
      const sorted = (list: readonly string[]) => [...list].sort();
      assert.deepEqual(sorted(reasonsOf(judgeCase(name).checks)), sorted(reasons));
      if (allowed === undefined) return;
      const policy = allowingSnp(STRICT_SNP_POLICY, allow);
      assert.deepEqual(sorted(reasonsOf(judgeCase(name, policy).checks)), sorted(allowed));
    });

    test(`${name} gives exactly the expected claims`, () => {
      const expected = teeJson<Record<string, Expected>>("snp/expected.json")[name];
      assert.ok(expected);
      const { claims } = judgeCase(name);
      const found = {
        version: claims.version,
        product: claims.product ?? null,
        policy: claims.policy,
        policy_debug: claims.guestPolicy.debug,
        policy_migrate_ma: claims.guestPolicy.migrationAgent,
        policy_smt: claims.guestPolicy.smt,
        vmpl: claims.vmpl,
        guest_svn: claims.guestSvn,
        signing_key: claims.signingKey === "vlek" ? 1 : 0,
        platform_info: claims.platform,
        report_data: claims.reportData,
        measurement: claims.measurement,
        host_data: claims.hostData,
        family_id: claims.familyId,
        image_id: claims.imageId,
        id_key_digest: claims.idKeyDigest,
        reported_tcb_hex_le: reversed(claims.reportedTcb),
        committed_tcb_hex_le: reversed(claims.committedTcb),
        chip_id: claims.chipId,
        csp_id: claims.providerId,
      };
      for (const [field, value] of Object.entries(found)) {
        const given: unknown = field === "csp_id" ? expected.vek.csp_id : expected[field as keyof Expected];
        const isBits = field === "policy" || field === "platform_info";
        assert.deepEqual(value, isBits ? number(String(given)) : given, field);
      }
    });
  }

  test("from version 3 on the product is that of a genuine certificate, or of the report itself", () => {
    const milan = vector("ccf/milan_attestation.bin");
    const judged = (certificates: readonly string[]) => judge(milan, certificatesOf(certificates)).claims;
    assert.equal(judged(["ccf/milan_endorsements.pem"]).product, "Milan-B0");
    for (const certificates of [[], ["ccf/genoa_endorsements.pem"], ["trustee/test-vcek-invalid-new.der"]]) {
      const { product, generation, providerId } = judged(certificates);
      assert.deepEqual(
        { product, generation, providerId },
        { product: "Milan", generation: "Milan", providerId: undefined },
      );
    }
  });

  test("names the processor as policies do", () => {
    assert.equal(judgeCase("ccf-milan").claims.cpuid, "00a00f11");
    assert.equal(judgeCase("ccf-genoa").claims.cpuid, "00a10f11");
    assert.equal(judgeCase("virtee-milan").claims.cpuid, undefined);
    assert.equal(judgeCase("ccf-milan").claims.reportedTcb, "db18000000000004");
  });

  test("endorsements of another product are refused, both ways", () => {
    for (const [report, other] of [
      ["milan", "genoa"],
      ["genoa", "milan"],
    ] as const) {
      const { checks } = judge(
        vector(`ccf/${report}_attestation.bin`),
        certificatesOf([`ccf/${other}_endorsements.pem`]),
      );
      const reasons = reasonsOf(checks);
      for (const reason of ["SignatureInvalid", "EndorsementMismatch"] as const) assert.ok(reasons.includes(reason));
    }
  });

  test("certificates come in any order, with others among them", () => {
    const own = certificatesOf(["ccf/genoa_endorsements.pem"]);
    const others = certificatesOf(["ccf/milan_endorsements.pem", "virtee/vcek_turin.der", "trustee/test-vlek.der"]);
    const garbage = Uint8Array.of(0x30, 1, 2);
    const all = [garbage, ...others, ...own.toReversed()];
    assert.deepEqual(reasonsOf(judge(vector("ccf/genoa_attestation.bin"), all).checks), []);
  });

  test("a provider's key is refused once its certificate has expired", () => {
    const policy = allowingSnp(STRICT_SNP_POLICY, ["vlek", "vmpl1"]);
    assert.deepEqual(reasonsOf(judgeCase("trustee-vlek", policy, NOW).checks), ["CertificateExpired"]);
    assert.deepEqual(reasonsOf(judgeCase("trustee-vlek", policy, "2024-12-01T00:00:00Z").checks), [
      "CertificateExpired",
    ]);
  });

  // COCO_ALL_FLIPS=1 looks at every report that is accepted, instead of one.
  const isForFlips = ({ name, allowed, reasons }: Case): boolean =>
    process.env["COCO_ALL_FLIPS"] === undefined ? name === "ms-milan" : (allowed ?? reasons).length === 0;
  for (const flipped of CASES.filter(isForFlips)) {
    test(`${flipped.name} with any byte changed is refused`, () => refuseFlips(flipped));
  }

  function refuseFlips({ report, certificates: names, at: time, allow = [] }: Case): void {
    const genuine = vector(report);
    const certificates = certificatesOf(names);
    const policy = allowingSnp(STRICT_SNP_POLICY, allow);
    assert.ok(isAccepted(judge(genuine, certificates, time, policy).checks));
    for (let at = 0; at < genuine.length; at++) {
      const changed = Uint8Array.from(genuine);
      changed[at] = (genuine[at] as number) ^ (1 << (at % 8));
      let accepted = false;
      try {
        const { checks } = judge(changed, certificates, time, policy);
        accepted = isAccepted(checks);
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, "EvidenceRejected");
      }
      assert.ok(!accepted, `byte ${at}`);
    }
  }

  test("a whole set of a confidential container verifies: report, certificates, utility VM, policy", () => {
    const evidence = {
      tee: "snp" as const,
      evidence: vector("sidecar/attest/snp_report.bin"),
      endorsements: [
        { kind: "certificates" as const, content: vector("sidecar/attest/uvm_host_amd_certificate.pem") },
        { kind: "uvm-endorsements" as const, content: vector("sidecar/attest/body.uvm_reference_info.bin") },
        {
          kind: "host-policy" as const,
          content: fromBase64(teeText("snp/sidecar/attest/uvm_security_policy.base64").trim()),
        },
      ],
    };
    const did = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2";
    const judgeWith = (minSvn: number, more: Partial<SnpPolicy> = {}) => {
      const policy: SnpPolicy = {
        ...STRICT_SNP_POLICY,
        allow: ["v2"],
        uvm: [{ did, feed: "ContainerPlat-AMD-UVM", minSvn }],
        ...more,
      };
      return judgeSnpEvidence(evidence, policy, { roots, nowMs: Date.parse(NOW) }, crypto);
    };
    const { claims, checks } = judgeWith(22);
    assert.deepEqual(reasonsOf(checks), []);
    assert.equal(claims.uvm?.svn, 22);
    assert.equal(
      claims.reportData.slice(0, 64),
      toHex(crypto.digest("sha256", vector("sidecar/attest/runtime-data.json"))),
    );
    assert.deepEqual(reasonsOf(judgeWith(23).checks), ["UvmEndorsementNotAllowed"]);
    assert.deepEqual(reasonsOf(judgeWith(22, { require: ["host-policy"] }).checks), ["HostDataMismatch"]);
  });

  test("the host policy of a report is recognised, and another refused", () => {
    const content = fromBase64(teeText("snp/sidecar/security-context/security-policy-base64").trim());
    const evidenceWith = (hostPolicy: Bytes) => ({
      tee: "snp" as const,
      evidence: vector("ms-tee-av/milan_attestation_report.bin"),
      endorsements: [
        { kind: "certificates" as const, content: vector("ms-tee-av/milan_vcek.pem") },
        { kind: "host-policy" as const, content: hostPolicy },
      ],
    });
    const options = { roots, nowMs: Date.parse(NOW) };
    const reasons = (hostPolicy: Bytes) =>
      reasonsOf(judgeSnpEvidence(evidenceWith(hostPolicy), STRICT_SNP_POLICY, options, crypto).checks);
    assert.deepEqual(reasons(content), []);
    assert.deepEqual(reasons(content.subarray(1)), ["HostDataMismatch"]);
  });

  test("every container of certificates is read to the same certificates", () => {
    const pem = certificatesOf(["sidecar/attest/uvm_host_amd_certificate.pem"]);
    assert.equal(pem.length, 3);
    assert.deepEqual(certificatesOf(["sidecar/attest/uvm_host_amd_certificate.json"]), pem);
    assert.equal(certificatesOf(["sidecar/security-context/host-amd-cert-base64"]).length, 3);
  });
});
