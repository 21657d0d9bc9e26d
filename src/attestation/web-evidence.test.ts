/**
 * Every verifier comes to the same over WebCrypto as over node:crypto: on real evidence where it is there, on that of made
 * PKIs, and on evidence and endorsements in which bytes are changed, so that signatures fail wherever they are asked for.
 */
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, test } from "node:test";
import { foundNetwork } from "../../test/support/founders.ts";
import { makeEvidence, QUOTE_FORMS } from "../../test/support/intel-platform.ts";
import { makeKey, NOW_MS } from "../../test/support/issue-certificates.ts";
import { makeSnpPki } from "../../test/support/snp-pki.ts";
import { missingTeeVectors, teeText, teeVector } from "../../test/support/tee-vectors.ts";
import { endorsement as uvmEndorsement } from "../../test/support/uvm-endorsement.ts";
import { parseCertificate } from "../core/certificates/certificate.ts";
import { fromHex, toHex, utf8Decode, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { constitutionToJson } from "../core/governance/constitution-codec.ts";
import { allowingSnp, STRICT_SNP_POLICY } from "../core/governance/policy-snp.ts";
import { STRICT_VBS_POLICY } from "../core/governance/policy-vsm.ts";
import { createEvidenceCrypto } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { type AttestationCrypto, reasonsOf, type Verification } from "./checks.ts";
import { appraiseDcap } from "./dcap/appraise.ts";
import { realQuotes } from "./dcap/test-vectors.ts";
import { verifyDcap } from "./dcap/verify.ts";
import type { Claims, EvidenceCrypto, HardwareRoots } from "./evidence.ts";
import type { Endorsement } from "./hardware-evidence.ts";
import { encodeHardwareEvidence } from "./hardware.ts";
import { appraiseMaa } from "./maa/appraise.ts";
import { guest, guestPolicy, keys, token } from "./maa/test-tokens.ts";
import { verifyMaa } from "./maa/verify.ts";
import { pinnedRoots } from "./pinned-roots.ts";
import { readCertificates } from "./snp/certificates.ts";
import { judgeSnpEvidence } from "./snp/evidence.ts";
import { MAX_SNP_CERTIFICATES } from "./snp/verify.ts";
import { verifyAzureVtpm } from "./tpm/azure-vtpm.ts";
import { parseAzureVtpmJson } from "./tpm/azure-vtpm-codec.ts";
import { makeVtpmEvidence, NONCE } from "./tpm/test-azure-vtpm.ts";
import { appraiseUvm, MICROSOFT_UVM_ISSUERS } from "./uvm/appraise.ts";
import { verifyUvm } from "./uvm/verify.ts";
import { verifyEvidence } from "./verify-evidence.ts";
import { encodeVirtualEvidence } from "./virtual.ts";
import { appraiseVbs } from "./vsm/appraise.ts";
import { makeGuardian, makeReport } from "./vsm/test-vsm-evidence.ts";
import { verifyVbs } from "./vsm/verify.ts";
import { createWebVerifier } from "./web-crypto.ts";
import { judgeEvidence, judgeLater } from "./web-evidence.ts";

const pki = makeSnpPki();
const intel = makeEvidence();
const guardian = makeGuardian();
const made: HardwareRoots = { amd: pki.roots, intel: intel.roots };
const pinned = pinnedRoots();
const subtle: webcrypto.SubtleCrypto = webcrypto.subtle;
const verifyLater = createWebVerifier<webcrypto.CryptoKey>(subtle);

/** Parts of evidence, each of which is changed in its turn, and what judges them. */
interface Case {
  readonly name: string;
  readonly parts: readonly Bytes[];
  readonly judge: (parts: readonly Bytes[], crypto: AttestationCrypto) => Verification<object>;
  /** Of the unchanged parts. */
  readonly reasons?: readonly string[];
}

const part = (parts: readonly Bytes[], at: number): Bytes => parts[at] ?? assert.fail("a part");

function snpCase(
  name: string,
  parts: readonly Bytes[],
  roots = pinned.amd,
  at = NOW_MS,
  reasons?: readonly string[],
): Case {
  const policy = allowingSnp(STRICT_SNP_POLICY, ["v2", "vlek", "vmpl1"]) ?? assert.fail("known words");
  const judge: Case["judge"] = ([report, ...certificates], crypto) => {
    const endorsements = certificates.map((content): Endorsement => ({ kind: "certificates", content }));
    const evidence = { tee: "snp" as const, evidence: report ?? assert.fail(), endorsements };
    return judgeSnpEvidence(evidence, policy, { roots, nowMs: at }, crypto);
  };
  return { name, parts, judge, ...(reasons !== undefined && { reasons }) };
}

const dcapCase = (name: string, parts: readonly Bytes[], roots: readonly string[], nowMs: number): Case => ({
  ...{ name, parts },
  judge: ([quote, collateral], crypto) => {
    const evidence = { quote: quote ?? assert.fail(), collateral: collateral ?? assert.fail() };
    const { claims, checks } = verifyDcap(evidence, { roots, nowMs }, crypto);
    return { claims, checks: [...checks, ...appraiseDcap(claims, {})] };
  },
});

const uvmCase = (name: string, content: Bytes): Case => ({
  ...{ name, parts: [content] },
  judge: (parts, crypto) => {
    const { claims, checks } = verifyUvm(part(parts, 0), crypto);
    return { claims, checks: [...checks, ...appraiseUvm(claims, MICROSOFT_UVM_ISSUERS)] };
  },
});

const vbsCase = (name: string, parts: readonly Bytes[], roots: readonly Bytes[], nowMs: number): Case => ({
  ...{ name, parts },
  judge: (some, crypto) => {
    const evidence = { report: part(some, 0), healthCertificate: part(some, 1) };
    const { claims, checks } = verifyVbs(evidence, { roots, nowMs }, crypto);
    return { claims, checks: [...checks, ...appraiseVbs(claims, { ...STRICT_VBS_POLICY, roots })] };
  },
});

function tokenCase(name: string, text: string, nowMs: number, jwks?: Bytes): Case {
  const judge: Case["judge"] = (parts, crypto) => {
    const evidence = { token: utf8Decode(part(parts, 0)), ...(jwks !== undefined && { jwks }) };
    const { claims, checks } = verifyMaa(evidence, { nowMs, ...(jwks === undefined && { keys }) }, crypto);
    return { claims, checks: [...checks, ...appraiseMaa(claims, guestPolicy)] };
  };
  return { name, parts: [utf8Encode(text)], judge };
}

const vtpmCase = (name: string, evidence: ReturnType<typeof makeVtpmEvidence>): Case => ({
  name,
  parts: [evidence.hclReport, evidence.quote.message, evidence.quote.signature],
  judge: ([hclReport, message, signature], crypto) =>
    verifyAzureVtpm(
      {
        hclReport: hclReport ?? assert.fail(),
        quote: { ...evidence.quote, message: message ?? assert.fail(), signature: signature ?? assert.fail() },
      },
      { nonce: NONCE },
      crypto,
    ),
});

const chain = [pki.vek(), pki.ask, pki.ark].map(({ der }) => der);
const MADE: readonly Case[] = [
  snpCase("a made SNP report", [pki.report(), ...chain], made.amd, NOW_MS, []),
  ...QUOTE_FORMS.map((form) => {
    const { quote, collateral, roots, nowMs } = makeEvidence({ form });
    return { ...dcapCase(`a made quote, ${form}`, [quote, collateral], roots, nowMs), reasons: [] };
  }),
  uvmCase("a made UVM endorsement", uvmEndorsement()),
  {
    ...vbsCase("a made VBS report", [makeReport(guardian.key), guardian.health.der], [guardian.root.der], NOW_MS),
  },
  { ...tokenCase("a made token", token(guest), NOW_MS), reasons: [] },
  { ...vtpmCase("a made vTPM", makeVtpmEvidence(makeKey("rsa"))), reasons: [] },
];

const SNP_FILES: readonly (readonly [report: string, certificates: readonly string[], at?: string])[] = [
  ["go-sev-guest/attestation.bin", ["go-sev-guest/vcek.testcer"]],
  ["virtee/report_milan.hex", ["virtee/vcek_milan.der"]],
  ["trustee/test-report.bin", ["trustee/test-vcek.der", "roots/ask_ark_milan.pem"]],
  ["trustee/test-report.bin", ["trustee/test-vcek-invalid-new.der"]],
  ["trustee/test-vlek-report.bin", ["trustee/test-vlek.der", "roots/ask_ark_milan_vlek.pem"], "2025-06-01"],
  ["ms-tee-av/milan_attestation_report.bin", ["ms-tee-av/milan_vcek.pem", "ms-tee-av/milan_ask.pem"]],
  ["sidecar/attest/snp_report.bin", ["sidecar/attest/uvm_host_amd_certificate.json"]],
  ["ccf/milan_attestation.bin", ["ccf/milan_endorsements.pem"]],
  ["ccf/genoa_attestation.bin", ["ccf/genoa_endorsements.pem"]],
  ["ccf/genoa_attestation.bin", ["ccf/milan_endorsements.pem"]],
];

function realCases(): readonly Case[] {
  if (missingTeeVectors("snp") !== false) return [];
  const snp = (name: string) =>
    name.endsWith(".hex") ? fromHex(teeText(`snp/${name}`).trim()) : teeVector(`snp/${name}`);
  const maa = (name: string) => teeVector(`vbs-maa/maa-azurevm-sevsnpvm/${name}`);
  const vsm = ["enclave-report.bin", "health-cert.der"].map((name) => teeVector(`vbs-maa/sql-vsm/${name}`));
  return [
    ...SNP_FILES.map(([report, files, at = "2026-11-01"]) => {
      const certificates = files.flatMap((name) => readCertificates(snp(name)));
      return snpCase(`${report} with ${files[0]}`, [snp(report), ...certificates], pinned.amd, Date.parse(at));
    }),
    ...realQuotes().map(({ name, quote, collateral, expected }) =>
      dcapCase(name, [quote, collateral], pinned.intel, Date.parse(expected.verify_at)),
    ),
    ...["rsa_test1", "ecdsa_test1", "int_svn"].map((name) => uvmCase(name, teeVector(`uvm-did/${name}.cose`))),
    uvmCase("reference info", teeVector("snp/sidecar/attest/body.uvm_reference_info.bin")),
    { ...vbsCase("a SQL Server enclave", vsm, [part(vsm, 1)], Date.UTC(2019, 9, 30, 20)) },
    tokenCase("a real token", utf8Decode(maa("token.jwt")).trim(), Date.UTC(2022, 8, 7, 22), maa("jwks.json")),
    ...["evidence-v1.json", "evidence-v2.json"].map((name) =>
      vtpmCase(name, parseAzureVtpmJson(snp(`trustee-az-vtpm/${name}`))),
    ),
  ];
}

/** Verdict, reasons, checks and claims, or why it cannot be read. */
function outcomeOf(judge: () => Verification<object>) {
  try {
    const { claims, checks } = judge();
    return { reasons: reasonsOf(checks), checks, claims };
  } catch (error) {
    if (!(error instanceof CocoError)) throw error;
    return { code: error.code, message: error.message, data: error.data };
  }
}

const nodeCrypto = createEvidenceCrypto().hardware?.crypto ?? assert.fail("crypto of hardware");

async function same({ judge }: Case, parts: readonly Bytes[], what: string) {
  const expected = outcomeOf(() => judge(parts, nodeCrypto));
  const found = await judgeLater(verifyLater, pinned, ({ hardware: { crypto } }) =>
    outcomeOf(() => judge(parts, crypto)),
  );
  assert.deepEqual(found, expected, what);
  return expected;
}

/** Each part with a byte changed, at some places of it. */
function* changes({ parts }: Case): Generator<readonly [Bytes[], string]> {
  for (const [at, content] of parts.entries())
    for (const share of [0.1, 0.35, 0.6, 0.85, 0.999]) {
      const changed = Uint8Array.from(content);
      const place = Math.floor(share * content.length);
      changed[place] = (changed[place] ?? 0) ^ 1;
      yield [parts.with(at, changed), `part ${at}, byte ${place}`];
    }
}

describe("over WebCrypto", () => {
  for (const [kind, cases] of [
    ["made", MADE],
    ["real", realCases()],
  ] as const)
    for (const each of cases)
      test(`${kind}: ${each.name} has the verdict, reasons and claims that it has in a node`, async () => {
        const outcome = await same(each, each.parts, each.name);
        assert.ok("reasons" in outcome, JSON.stringify(outcome));
        if (each.reasons !== undefined) assert.deepEqual(outcome.reasons, each.reasons);
        for (const [parts, what] of changes(each)) await same(each, parts, what);
      });

  test("real evidence of every verifier was there", { skip: missingTeeVectors("snp") }, () => {
    assert.ok(realCases().length >= 25, String(realCases().length));
  });
});

/** The modules that a module loads, itself included. */
async function loadedBy(file: string, seen = new Set<string>()): Promise<ReadonlySet<string>> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = await readFile(file, "utf8");
  for (const [, name = ""] of text.matchAll(/^(?:import|export)\b[^;]*?from "([^"]+)";$/gm))
    if (name.startsWith(".")) await loadedBy(join(dirname(file), name), seen);
    else seen.add(name);
  return seen;
}

describe("the entry for browsers", () => {
  test("is exported by the package, and loads nothing of Node.js", async () => {
    const entry = ["coco-framework", "attestation"].join("/");
    const exported = (await import(entry)) as { judgeEvidence: unknown };
    assert.equal(exported.judgeEvidence, judgeEvidence);
    const loaded = [...(await loadedBy(fileURLToPath(import.meta.resolve(entry))))];
    assert.ok(loaded.length > 50, String(loaded.length));
    const packages = loaded.filter((name) => !name.startsWith("/")).sort();
    assert.deepEqual(
      packages.filter((name) => !name.startsWith("@noble/")),
      [],
    );
  });
});

describe("evidence as the ledger has it, over WebCrypto", () => {
  const reportData = Uint8Array.from({ length: 64 }, (_, at) => at + 1);
  const network = foundNetwork(3, 1);
  const { machine } = network;
  const virtual = { measurement: "11".repeat(32), reportData, machineKey: machine.machineKey };
  const quoteOf = (form: "sgx-3" | "tdx-4" | "tdx-5-15") => {
    const tee = form === "sgx-3" ? ("sgx" as const) : ("tdx" as const);
    const { quote, collateral } = makeEvidence({
      form,
      body: (body) => body.set(reportData, tee === "sgx" ? 320 : 520),
    });
    return encodeHardwareEvidence({
      tee,
      evidence: quote,
      endorsements: [{ kind: "collateral", content: collateral }],
    });
  };
  const ENVELOPES: Readonly<Record<string, Bytes>> = {
    virtual: encodeVirtualEvidence(virtual, machine.sign),
    snp: encodeHardwareEvidence({
      tee: "snp",
      evidence: pki.report({ 80: reportData }),
      endorsements: chain.map((content) => ({ kind: "certificates", content })),
    }),
    ...Object.fromEntries((["sgx-3", "tdx-4", "tdx-5-15"] as const).map((form) => [form, quoteOf(form)])),
    vbs: encodeHardwareEvidence({
      tee: "vsm",
      evidence: makeReport(guardian.key, { enclaveData: reportData }),
      endorsements: [{ kind: "health-certificate", content: guardian.health.der }],
    }),
  };

  /** Claims without what judges them further. */
  const verdictOn = (evidence: Bytes, crypto: EvidenceCrypto) => {
    try {
      const claims: Claims = verifyEvidence(evidence, reportData, crypto, NOW_MS);
      return { ...claims, judge: undefined };
    } catch (error) {
      return error instanceof CocoError ? { code: error.code, message: error.message } : assert.fail(String(error));
    }
  };

  for (const [name, evidence] of Object.entries(ENVELOPES))
    test(`${name}: claims are those that a node finds, also when bytes are changed`, async () => {
      const compare = async (content: Bytes) => {
        const expected = verdictOn(content, createEvidenceCrypto(made));
        assert.deepEqual(await judgeLater(verifyLater, made, (crypto) => verdictOn(content, crypto)), expected);
        return expected;
      };
      assert.ok("tee" in (await compare(evidence)));
      for (const at of [20, 100, 200, evidence.length - 1])
        await compare(evidence.map((byte, index) => (index === at ? byte ^ 1 : byte)));
    });

  test("snp: as many certificates as may come, of which the last is the one, lead to the claims that a node finds", async () => {
    const known = [pki.ark, pki.ask].map(({ der }) => parseCertificate(der));
    const roots: HardwareRoots = { ...made, amd: { ...pki.roots, certificates: known } };
    const keysOf = (length: number) =>
      Array.from({ length }, () => pki.vek({ certificate: { key: makeKey("P-384") } }).der);
    // With the key of the issuer, and not signed by its own: each is found out only after the one before.
    const askWithout = (at: number) =>
      pki.ask.der.map((byte, index) => (index === pki.ask.der.length - 1 - at ? byte ^ 1 : byte));
    const issuersOf = (length: number) => Array.from({ length }, (_, at) => askWithout(at));
    for (const decoys of [keysOf(15), [...keysOf(4), ...issuersOf(11)]]) {
      assert.equal(decoys.length, MAX_SNP_CERTIFICATES - 1);
      const evidence = encodeHardwareEvidence({
        tee: "snp",
        evidence: pki.report({ 80: reportData }),
        endorsements: [...decoys, pki.vek().der].map((content) => ({ kind: "certificates", content })),
      });
      const expected = verdictOn(evidence, createEvidenceCrypto(roots));
      assert.ok("tee" in expected, JSON.stringify(expected));
      assert.deepEqual(await judgeLater(verifyLater, roots, (crypto) => verdictOn(evidence, crypto)), expected);
    }
  });

  test("is judged by the constitution that the client trusts", async () => {
    const constitution = constitutionToJson(network.constitution);
    const evidence = encodeVirtualEvidence(virtual, machine.sign);
    const judged = await judgeEvidence(evidence, { constitution, reportData, nowMs: NOW_MS }, subtle);
    assert.deepEqual([judged.accepted, judged.reasons], [true, []]);
    assert.equal(judged.claims?.measurement, virtual.measurement);
    assert.equal(toHex(judged.claims?.reportData ?? new Uint8Array()), toHex(reportData));
    const reasons = async (content: Bytes, question = {}) => {
      const result = await judgeEvidence(content, { constitution, reportData, nowMs: NOW_MS, ...question }, subtle);
      assert.equal(result.accepted, false);
      return result.reasons.map(({ reason }) => reason);
    };
    const other = encodeVirtualEvidence({ ...virtual, measurement: "12".repeat(32) }, machine.sign);
    assert.deepEqual(await reasons(other), ["MeasurementNotListed"]);
    assert.deepEqual(await reasons(evidence, { reportData: new Uint8Array(64) }), ["ReportDataMismatch"]);
    assert.deepEqual(await reasons(evidence.map((byte, at) => (at === evidence.length - 1 ? byte ^ 1 : byte))), [
      "SignatureInvalid",
    ]);
    assert.deepEqual(await reasons(ENVELOPES["snp"] ?? assert.fail()), ["RootNotTrusted"]);
    await assert.rejects(reasons(evidence, { constitution: "{}" }), CocoError);
  });
});
