/**
 * `coco attest verify` on real evidence of real machines. Where the vectors are not there, only what needs none of them runs.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPublicKey } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { REASONS } from "../../attestation/reasons.ts";
import { encodeHardwareEvidence } from "../../attestation/hardware.ts";
import { parseAzureVtpmJson } from "../../attestation/tpm/azure-vtpm-codec.ts";
import { travelling } from "../../attestation/tpm/test-azure-vtpm.ts";
import { toHex } from "../../core/codec/bytes.ts";
import { sha256 } from "../../enclave/manager/node-crypto.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import { coco } from "../../../test/support/coco-here.ts";
import { missingTeeVectors, TEE_VECTORS } from "../../../test/support/tee-vectors.ts";

/** A file that is there. */
const CLI_FILE = fileURLToPath(import.meta.url);
const skip = missingTeeVectors("snp");
const vector = (...names: readonly string[]) => join(TEE_VECTORS, ...names);
const snp = (name: string) => vector("snp", name);

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "coco-attest-"));
});
after(() => rm(folder, { recursive: true, force: true }));

interface Expected {
  readonly code: number;
  readonly verdict: "accept" | "reject" | "error";
  readonly reasons?: readonly string[];
  readonly tcbStatus?: string;
  readonly claims?: Readonly<Record<string, unknown>>;
}

async function expectVerdict(args: readonly string[], expected: Expected): Promise<void> {
  const { code, data } = await coco("attest", "verify", ...args, "--json");
  const judgement = JSON.parse(data);
  const found = { code, verdict: judgement.verdict, reasons: judgement.reasons, tcbStatus: judgement.tcbStatus };
  const { claims = {}, reasons = [], tcbStatus, ...rest } = expected;
  assert.deepEqual(found, { ...rest, reasons, tcbStatus }, args.join(" "));
  for (const [name, value] of Object.entries(claims)) assert.deepEqual(judgement.claims[name], value, name);
}

describe("coco attest verify", { skip }, () => {
  test("SNP: files, hex, a version and a kind of key that must be allowed", async () => {
    const milan = ["--report", snp("virtee/report_milan.hex"), "--certs", snp("virtee/vcek_milan.der")];
    await expectVerdict(milan, { code: 1, verdict: "reject", reasons: ["VersionNotAllowed"] });
    const measurement = JSON.parse(await readFile(snp("expected.json"), "utf8"))["virtee-milan"].measurement;
    await expectVerdict([...milan, "--allow", "V2"], {
      ...{ code: 0, verdict: "accept" },
      claims: { measurement, product: "Milan-B0" },
    });
    const vlek = [
      "--tee",
      "snp",
      "--report",
      snp("trustee/test-vlek-report.bin"),
      "--certs",
      snp("trustee/test-vlek.der"),
    ];
    const inTime = [...vlek, "--at", "2025-06-01"];
    await expectVerdict(inTime, { code: 1, verdict: "reject", reasons: ["KeyKindNotAllowed", "PrivilegeLevel"] });
    await expectVerdict([...inTime, "--allow", "vlek,vmpl1"], { code: 0, verdict: "accept" });
    const now = [...vlek, "--allow", "vlek,vmpl1", "--at", "2026-06-01"];
    await expectVerdict(now, { code: 1, verdict: "reject", reasons: ["CertificateExpired"] });
  });

  test("of what speaks against evidence it says what it means, and what can be done", async () => {
    const vlek = ["--report", snp("trustee/test-vlek-report.bin"), "--certs", snp("trustee/test-vlek.der")];
    const rejected = await coco("attest", "verify", ...vlek, "--at", "2025-06-01");
    assert.equal(rejected.code, 1);
    const told = `\nKeyKindNotAllowed: ${REASONS.KeyKindNotAllowed.meaning}\n  ${REASONS.KeyKindNotAllowed.remedy}\n`;
    assert.ok(rejected.data.includes(told), rejected.data);
    const asJson = JSON.parse((await coco("attest", "verify", ...vlek, "--at", "2025-06-01", "--json")).data);
    assert.deepEqual(
      asJson.explained.map(({ reason }: { reason: string }) => reason),
      asJson.reasons,
    );
    const accepted = await coco("attest", "verify", ...vlek, "--at", "2025-06-01", "--allow", "vlek,vmpl1");
    assert.match(accepted.data, /allowed +vlek,vmpl1\n$/);
  });

  test("SNP: an Azure container's folder, with endorsement, container policy and runtime data", async () => {
    const dir = snp("sidecar/attest");
    await expectVerdict([dir, "--allow", "v2"], { code: 0, verdict: "accept" });
    const other = join(folder, "other.json");
    await writeFile(other, "{}");
    await expectVerdict([dir, "--allow", "v2", "--runtime-data", other], {
      ...{ code: 1, verdict: "reject", reasons: ["ReportDataMismatch"] },
    });
    await expectVerdict([dir, "--allow", "v2", "--security-policy", other], {
      ...{ code: 1, verdict: "reject", reasons: ["HostDataMismatch"] },
    });
    const uvm = vector("uvm-did", "rsa_test1.cose");
    await expectVerdict([dir, "--allow", "v2", "--uvm", uvm], {
      ...{ code: 1, verdict: "reject", reasons: ["MeasurementMismatch"] },
    });
    const { code, talk } = await coco("attest", "verify", snp("sidecar/security-context"));
    assert.equal(code, 2);
    assert.match(talk, /no report.*--report/s);
  });

  test("SNP inside the vTPM of an Azure machine", async () => {
    await expectVerdict(["--vtpm", snp("trustee-az-vtpm/evidence-v1.json")], {
      ...{ code: 0, verdict: "accept" },
      claims: { version: 3, product: "Milan-B0", vmpl: 0 },
    });
    const nonce = ["--vtpm", snp("trustee-az-vtpm/evidence-v1.json"), "--nonce"];
    await expectVerdict([...nonce, Buffer.from("challenge").toString("hex")], { code: 0, verdict: "accept" });
    await expectVerdict([...nonce, "00"], { code: 1, verdict: "reject", reasons: ["NonceMismatch"] });
    const file = ["--vtpm", snp("trustee-az-vtpm/evidence-v1.json")];
    const { data } = await coco("attest", "verify", ...file, "--json");
    const { pcrs } = JSON.parse(data).claims.tpm;
    await expectVerdict([...file, "--pcr", `4=${pcrs[4]}`, "--pcr", `11=${pcrs[11]}`], { code: 0, verdict: "accept" });
    await expectVerdict([...file, "--pcr", `4=${pcrs[4]}`, "--pcr", `11=${"ff".repeat(32)}`], {
      ...{ code: 1, verdict: "reject", reasons: ["MeasurementMismatch"] },
    });
    const told = await coco("attest", "verify", ...file);
    assert.match(told.data, /^- +values of the registers: none are expected: what was booted is not judged$/m);
    assert.equal((await coco("attest", "verify", ...file, "--pcr", "24=00")).code, 2);
    const elsewhere = ["--report", snp("virtee/report_milan.hex"), "--pcr", `4=${pcrs[4]}`];
    assert.match((await coco("attest", "verify", ...elsewhere)).talk, /--pcr goes with --vtpm/);
    const policy = join(folder, "registers.json");
    const by = async (content: object) => {
      await writeFile(policy, JSON.stringify(content));
      return [...file, "--policy", policy];
    };
    await expectVerdict(await by({ pcrs: { 4: pcrs[4], 11: pcrs[11] } }), { code: 0, verdict: "accept" });
    await expectVerdict(await by({ pcrs: { 4: pcrs[11] } }), {
      ...{ code: 1, verdict: "reject", reasons: ["MeasurementMismatch"] },
    });
    await expectVerdict(await by({}), { code: 1, verdict: "reject", reasons: ["RegistersMissing"] });
    const both = async (content: object, value: string) => [...(await by(content)), "--pcr", `4=${value}`];
    await expectVerdict(await both({}, pcrs[4]), { code: 1, verdict: "reject", reasons: ["RegistersMissing"] });
    await expectVerdict(await both({ pcrs: { 11: pcrs[11] } }, pcrs[4]), { code: 0, verdict: "accept" });
    for (const [inPolicy, beside] of [
      [pcrs[4], pcrs[11]],
      [pcrs[11], pcrs[4]],
    ])
      await expectVerdict(await both({ pcrs: { 4: inPolicy } }, beside), {
        ...{ code: 1, verdict: "reject", reasons: ["MeasurementMismatch"] },
      });
    await expectVerdict(await by({ pcrs: { 16: pcrs[4] } }), {
      ...{ code: 2, verdict: "error", reasons: ["ConfigurationInvalid"] },
    });
  });

  test("SGX and TDX: a folder each, at the time of its collateral", async () => {
    const tdx = [vector("tdx", "google-v5-uptodate")];
    await expectVerdict([...tdx, "--at", "2026-03-18T00:00:00Z"], {
      ...{ code: 0, verdict: "accept", tcbStatus: "UpToDate" },
    });
    const { code, data } = await coco("attest", "verify", ...tdx, "--at", "2027-03-18", "--json");
    assert.equal(code, 1);
    assert.ok(JSON.parse(data).reasons.includes("CollateralExpired"), data);
    const sgx = [vector("sgx", "phala-v3"), "--at", "2025-06-20"];
    const tcbStatus = "ConfigurationAndSWHardeningNeeded";
    await expectVerdict(sgx, { code: 1, verdict: "reject", reasons: ["TcbStatusNotAllowed"], tcbStatus });
    await expectVerdict([...sgx, "--allow", tcbStatus], { code: 0, verdict: "accept", tcbStatus });
  });

  test("SNP and TDX as a ledger records them: judged by the same rules, and bound to the keys of a node", async () => {
    const bytes = async (...names: readonly string[]) => new Uint8Array(await readFile(vector(...names)));
    const certificate = { kind: "certificates", content: await bytes("snp", "trustee", "test-vlek.der") } as const;
    const report = await bytes("snp", "trustee", "test-vlek-report.bin");
    const collateral = {
      kind: "collateral",
      content: await bytes("tdx", "google-v5-uptodate", "collateral.json"),
    } as const;
    const quote = await bytes("tdx", "google-v5-uptodate", "quote.bin");
    const vtpm = travelling(
      parseAzureVtpmJson(await bytes("snp", "trustee-az-vtpm", "evidence-v1.json")),
      new Uint8Array(64),
    );
    const file = join(folder, "recorded.json");
    const record = {
      ...{ format: "coco-recorded-evidence-v1", networkId: "00".repeat(32), transactionId: "2.4", owner: "acme" },
      ...{ nodeId: toHex(sha256(new Uint8Array(1))), publicKey: "00", encryptionKey: "00".repeat(32) },
      challenge: "00".repeat(32),
    };
    for (const [evidence, at, reasons] of [
      [
        { tee: "snp", evidence: report, endorsements: [certificate] },
        "2025-06-01",
        ["KeyKindNotAllowed", "PrivilegeLevel"],
      ],
      [{ tee: "tdx", evidence: quote, endorsements: [collateral] }, "2026-03-18", []],
      [vtpm, "2026-03-18", ["NonceMismatch"]],
    ] as const) {
      const content = { ...record, timeMs: Date.parse(at), evidence: toHex(encodeHardwareEvidence(evidence)) };
      await writeFile(file, JSON.stringify(content));
      const { code, data } = await coco("attest", "verify", "--recorded", file, "--json");
      const judgement = JSON.parse(data);
      assert.deepEqual([code, judgement.tee], [1, evidence.tee]);
      assert.deepEqual(judgement.reasons, [...reasons, "ReportDataMismatch"], "a vector is bound to no node's keys");
      assert.equal(judgement.claims.recorded.owner, "acme");
    }
  });

  test("VBS: nobody is trusted unless the policy names a root", async () => {
    const dir = vector("vbs-maa", "sql-vsm");
    const at = ["--at", "2019-10-30T20:00:00Z"];
    const { code, data } = await coco("attest", "verify", dir, ...at, "--json");
    assert.equal(code, 1);
    assert.ok(JSON.parse(data).reasons.includes("RootNotTrusted"), data);
    const policy = join(folder, "vbs.json");
    const anchor = pemOfDer(new Uint8Array(await readFile(join(dir, "health-cert.der"))), "CERTIFICATE");
    await writeFile(policy, JSON.stringify({ format: "vbs-hgs", roots: [anchor] }));
    await expectVerdict([dir, ...at, "--policy", policy], { code: 0, verdict: "accept" });
    const later = await coco("attest", "verify", dir, "--policy", policy, "--json");
    assert.ok(JSON.parse(later.data).reasons.includes("CertificateExpired"), later.data);
  });

  test("a token of Azure Attestation, and one that is no evidence", async () => {
    const dir = vector("vbs-maa", "maa-azurevm-sevsnpvm");
    const at = ["--at", "2022-09-07T22:00:00Z"];
    await expectVerdict([dir, ...at], { code: 0, verdict: "accept" });
    await expectVerdict([dir], { code: 1, verdict: "reject", reasons: ["TokenExpired"] });
    const policyToken = ["--token", join(dir, "policy-update-token.jwt"), "--jwks", join(dir, "jwks.json"), ...at];
    const { code, data } = await coco("attest", "verify", ...policyToken, "--json");
    assert.equal(code, 1);
    assert.ok(JSON.parse(data).reasons.includes("TokenPolicyMismatch"), data);
  });

  test("of keys given beside a policy only those count that it pins, too", async () => {
    const dir = vector("vbs-maa", "maa-azurevm-sevsnpvm");
    const jwks = join(dir, "jwks.json");
    const [key] = JSON.parse(await readFile(jwks, "utf8")).keys;
    const publicKey = createPublicKey({ key, format: "jwk" }).export({ type: "spki", format: "der" }).toString("hex");
    const [policy, others] = [join(folder, "maa.json"), join(folder, "others.json")];
    const issuer = "https://sharedeus2.eus2.attest.azure.net";
    const keys = [{ keyId: key.kid, publicKey }];
    await writeFile(
      policy,
      JSON.stringify({
        ...{ format: "maa-jwt", issuer, keys, policyHash: "00".repeat(32), attestationTypes: ["azurevm"] },
      }),
    );
    await writeFile(others, JSON.stringify({ keys: [] }));
    const reasons = async (given: string): Promise<readonly string[]> => {
      const token = ["--token", join(dir, "token.jwt"), "--at", "2022-09-07T22:00:00Z", "--policy", policy];
      const { code, data } = await coco("attest", "verify", ...token, "--jwks", given, "--json");
      assert.equal(code, 1, "it names another policy");
      return JSON.parse(data).reasons;
    };
    assert.ok(!(await reasons(jwks)).includes("TokenInvalid"));
    assert.ok((await reasons(others)).includes("TokenInvalid"));
  });

  test("an endorsement alone, what must be in the evidence, and words for people", async () => {
    const uvm = ["--tee", "uvm", "--uvm", vector("uvm-did", "int_svn.cose")];
    await expectVerdict(uvm, { code: 0, verdict: "accept", claims: { svn: 102, feed: "ContainerPlat-AMD-UVM" } });
    const issuers = join(folder, "uvm.json");
    const did = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2";
    await writeFile(issuers, JSON.stringify({ uvm: [{ did, feed: "ContainerPlat-AMD-UVM", minSvn: 103 }] }));
    await expectVerdict([...uvm, "--policy", issuers], {
      ...{ code: 1, verdict: "reject", reasons: ["UvmEndorsementNotAllowed"] },
    });
    const dir = snp("ms-tee-av");
    await expectVerdict([dir, "--measurement", "00"], {
      ...{ code: 1, verdict: "reject", reasons: ["MeasurementMismatch"] },
    });
    const { code, data } = await coco("attest", "verify", dir, "--report-data", "ff");
    assert.equal(code, 1);
    assert.match(data, /^ok {4}signature$/m);
    assert.match(data, /^FAIL {2}expected report data: ReportDataMismatch: found /m);
    assert.match(data, /^verdict +reject$/m);
  });

  test("what cannot be read is neither accepted nor rejected", async () => {
    const report = join(folder, "report.bin");
    await writeFile(report, (await readFile(snp("ccf/milan_attestation.bin"))).subarray(0, 1183));
    const certs = ["--certs", snp("ccf/milan_endorsements.pem")];
    await expectVerdict(["--tee", "snp", "--report", report, ...certs], {
      ...{ code: 2, verdict: "error", reasons: ["Malformed"] },
    });
  });
});

describe("hostile files", () => {
  test("a folder, a device without end and a policy that contradicts itself are told", async () => {
    const twice = join(folder, "twice.json");
    await writeFile(twice, '{"allow":[],"allow":["debug"]}');
    const many = await mkdtemp(join(folder, "many-"));
    await Promise.all(Array.from({ length: 257 }, (_, at) => writeFile(join(many, `${at}.pem`), "")));
    for (const [args, told] of [
      [["--tee", "snp", "--report", folder], /is not a file/],
      [["--tee", "snp", "--report", CLI_FILE, "--policy", twice], /twice/],
      [[many], /more than 256 files/],
      [["--tee", "snp", "--report", CLI_FILE, "--at", "2026-06-31"], /expected a time/],
      [["--tee", "snp", "--report", CLI_FILE, "--vtpm", CLI_FILE], /inside the evidence of its vTPM/],
    ] as const) {
      const { code, talk } = await coco("attest", "verify", ...args);
      assert.equal(code, 2, args.join(" "));
      assert.match(talk, told);
    }
  });

  test("a pipe is not waited for", { skip: process.platform === "win32" && "no named pipes in folders" }, async () => {
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    const { code, talk } = await coco("attest", "verify", "--tee", "snp", "--report", pipe);
    assert.equal(code, 2);
    assert.match(talk, /is not a file/);
  });
});

describe("wrong usage of coco attest verify", () => {
  test("is told, and ends with 2", async () => {
    const empty = await mkdtemp(join(folder, "empty-"));
    for (const [args, told] of [
      [[], /nothing to verify/],
      [[empty], /known are quote\.bin with collateral\.json/],
      [["--tee", "tdx", "--nonce", "00"], /--quote FILE|--nonce goes with --vtpm/],
      [["--tee", "snp", "--report", CLI_FILE, "--quote", CLI_FILE], /--quote: not a part of evidence of snp/],
      [["--tee", "uvm", "--security-policy", CLI_FILE], /--security-policy: not a part of evidence of uvm/],
      [["--tee", "snp", "--report", join(folder, "none")], /does not exist/],
      [["--tee", "sev"], /expected one of snp/],
      [["--tee", "snp"], /--report FILE/],
      [["--tee", "tdx"], /--quote FILE/],
      [["--tee", "maa"], /--token FILE/],
      [["--tee", "snp", "--at", "yesterday"], /expected a time/],
      [["--tee", "snp", "--allow", "everything"], /expected some of v2/],
      [["--tee", "snp", "--allow", "Revoked"], /expected some of v2/],
    ] as const) {
      const { code, talk } = await coco("attest", "verify", ...args);
      assert.equal(code, 2, args.join(" "));
      assert.match(talk, told);
    }
    const { code, data } = await coco("attest", "verify", join(folder, "none"), "--json");
    assert.equal(code, 2);
    assert.equal(JSON.parse(data).verdict, "error");
  });
});
