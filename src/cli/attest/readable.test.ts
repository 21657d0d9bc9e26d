/**
 * `coco attest verify` on evidence that can be read, whatever is wrong with what goes with it: rejected, with what it claims. And
 * the forms in which files come. Over evidence made by the tests, and over real evidence where the vectors are there.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeEvidence } from "../../../test/support/intel-platform.ts";
import { coco } from "../../../test/support/coco-here.ts";
import { endorsement } from "../../../test/support/uvm-endorsement.ts";
import { missingTeeVectors, TEE_VECTORS } from "../../../test/support/tee-vectors.ts";
import { certificatesPem, issue, issueRevocationList, makeKey } from "../../../test/support/issue-certificates.ts";
import { encodeHardwareEvidence } from "../../attestation/hardware.ts";
import type { HardwareEvidence } from "../../attestation/hardware-evidence.ts";
import { makeVtpmEvidence } from "../../attestation/tpm/test-azure-vtpm.ts";
import {
  commonClaims,
  guestClaims,
  makeGuardian,
  makeReport,
  makeToken,
  rs256,
  vbsClaims,
} from "../../attestation/vsm/test-vsm-evidence.ts";
import { AMD_SIGNATURE, makeSnpPki } from "../../../test/support/snp-pki.ts";
import { toBase64, toBase64Url } from "../../core/codec/base64.ts";
import { toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import { NOW_MS } from "../../../test/support/issue-certificates.ts";
import { bytesOfHex, bytesOrText } from "./forms.ts";
import { filesOfFolder } from "./inputs.ts";

const AT = ["--at", new Date(NOW_MS).toISOString()];
const pki = makeSnpPki();
const guardian = makeGuardian();
const key = makeKey("rsa");

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "coco-readable-"));
});
after(() => rm(folder, { recursive: true, force: true }));

let files = 0;
async function file(content: Bytes | string): Promise<string> {
  const path = join(folder, `${files++}.bin`);
  await writeFile(path, content);
  return path;
}

async function folderOf(contents: Readonly<Record<string, Bytes | string>>): Promise<string> {
  const path = await mkdtemp(join(folder, "named-"));
  for (const [name, content] of Object.entries(contents)) await writeFile(join(path, name), content);
  return path;
}

interface Judged {
  readonly code: number;
  readonly tee: string | null;
  readonly verdict: string;
  readonly reasons: readonly string[];
  readonly claims: Readonly<Record<string, unknown>>;
}

async function judge(...args: readonly string[]): Promise<Judged> {
  const { code, data } = await coco("attest", "verify", ...args, "--json");
  return { ...JSON.parse(data), code };
}

/** That evidence is rejected for these reasons among others, and says of which TEE it is and what it claims. */
async function rejected(args: readonly string[], tee: string, reasons: readonly string[]): Promise<Judged> {
  const judged = await judge(...args, ...AT);
  assert.deepEqual([judged.code, judged.verdict, judged.tee], [1, "reject", tee], JSON.stringify(judged.reasons));
  for (const reason of reasons) assert.ok(judged.reasons.includes(reason), `${reason}: ${judged.reasons.join(", ")}`);
  assert.equal(typeof judged.claims["measurement"], "string");
  return judged;
}

describe("evidence that can be read is rejected, with its claims", () => {
  test("a quote without collateral, with some that can't be read, of another TEE, without certificates", async () => {
    const { quote, collateral } = makeEvidence({ form: "tdx-4" });
    const named = ["--quote", await file(quote)];
    await rejected(named, "tdx", ["CollateralInvalid"]);
    await rejected([...named, "--collateral", await file("{")], "tdx", ["CollateralInvalid"]);
    const good = [...named, "--collateral", await file(collateral)];
    const { reasons } = await rejected([...good, "--tee", "sgx"], "tdx", ["ProductNotAllowed"]);
    assert.ok(!(await rejected(good, "tdx", ["RootNotTrusted"])).reasons.includes("ProductNotAllowed"));
    assert.ok(!reasons.includes("Malformed"));
    for (const certificationKind of [1, 4, 7]) {
      const { quote: bare } = makeEvidence({ certificationKind });
      await rejected(["--quote", await file(bare)], "tdx", ["CertificateMissing"]);
    }
  });

  test("a token without keys, or with keys that can't be read", async () => {
    const text = makeToken(
      { alg: "RS256", kid: "k", typ: "JWT" },
      { ...commonClaims("sevsnpvm"), ...guestClaims() },
      rs256(key.privateKey),
    );
    const token = ["--token", await file(text)];
    const { reasons } = await rejected(token, "maa", ["TokenInvalid"]);
    assert.deepEqual(reasons, ["TokenInvalid"], "nothing of a key's length, and nothing of a policy");
    await rejected([...token, "--jwks", await file("[]")], "maa", ["Malformed", "TokenInvalid"]);
  });

  test("a report of VBS without a health certificate, or with one that can't be read", async () => {
    const report = ["--tee", "vsm", "--report", await file(makeReport(guardian.key))];
    await rejected(report, "vsm", ["CertificateMissing"]);
    await rejected([...report, "--certs", await file("no certificate")], "vsm", ["Malformed", "CertificateMissing"]);
    await rejected([...report, "--certs", await file(Uint8Array.of(0x30, 0))], "vsm", ["Malformed"]);
  });

  test("a report of VBS with its certificates in any order, or with none but a CA's", async () => {
    const authority = issue({ subject: "CN=Test Intermediate", ca: true, key: makeKey("rsa"), issuer: guardian.root });
    const health = makeGuardian({ issuer: authority });
    const policy = await file(
      JSON.stringify({ format: "vbs-hgs", roots: [pemOfDer(guardian.root.der, "CERTIFICATE")] }),
    );
    const report = ["--tee", "vsm", "--report", await file(makeReport(health.key)), "--policy", policy, ...AT];
    const [own, ca] = [await file(health.health.der), await file(authority.der)];
    const both = await file(certificatesPem([authority.der, health.health.der]));
    for (const certs of [[own, ca], [ca, own], [both]])
      assert.deepEqual((await judge(...report, "--certs", ...certs)).reasons, []);
    assert.ok((await judge(...report, "--certs", ca)).reasons.includes("SignatureInvalid"));
    assert.ok((await judge(...report, "--certs", own)).reasons.includes("RootNotTrusted"));
  });

  test("a report of SNP with certificates or an endorsement that can't be read", async () => {
    const report = ["--report", await file(pki.report())];
    await rejected([...report, "--certs", await file("no certificate")], "snp", ["Malformed", "CertificateMissing"]);
    await rejected([...report, "--uvm", await file("no endorsement")], "snp", ["Malformed", "CertificateMissing"]);
    await rejected(report, "snp", ["CertificateMissing"]);
  });

  test("a report of SNP by lists of revoked certificates: good ones, one that revokes, and none", async () => {
    const chain = certificatesPem([pki.vek().der, pki.ask.der, pki.ark.der]);
    const policy = await file('{"require":["revocation-list"]}');
    const certs = ["--certs", await file(chain), "--policy", policy];
    const reasonsBy = async (...lists: readonly (Bytes | string)[]) => {
      const crl = lists.length === 0 ? [] : ["--crl", ...(await Promise.all(lists.map(file)))];
      const { reasons } = await rejected(["--report", await file(pki.report()), ...certs, ...crl], "snp", []);
      return reasons.filter((reason) => reason !== "RootNotTrusted");
    };
    const list = issueRevocationList({ issuer: pki.ark, ...AMD_SIGNATURE });
    const pem = pemOfDer(list, "X509 CRL");
    const oneLine = pem.replaceAll(/(?<!-)\n(?!-)/g, "");
    for (const form of [list, pem, pem.replaceAll("\n", "\r\n"), oneLine, toBase64(list)])
      assert.deepEqual(await reasonsBy(form), []);
    assert.deepEqual(await reasonsBy(), ["RevocationMissing"]);
    assert.deepEqual(await reasonsBy("no list"), ["Malformed", "RevocationMissing"]);
    // It may be the one that revokes.
    assert.deepEqual(await reasonsBy(list, "no list"), ["Malformed"]);
    const revoking = issueRevocationList({ issuer: pki.ark, revoked: [pki.ask], ...AMD_SIGNATURE });
    assert.deepEqual(await reasonsBy(list, revoking), ["CertificateRevoked"]);
    const dir = await folderOf({
      "report.bin": pki.report(),
      "chain.pem": chain,
      "milan.crl": revoking,
      "more.crl": list,
    });
    await rejected([dir], "snp", ["CertificateRevoked"]);
  });

  test("but what itself can't be read is neither accepted nor rejected", async () => {
    for (const args of [
      ["--tee", "uvm", "--uvm", await file("no endorsement")],
      ["--tee", "snp", "--report", await file(pki.report().subarray(1))],
      ["--tee", "snp", "--report", await file("{}")],
      ["--tee", "tdx", "--quote", await file(makeEvidence().quote.subarray(1))],
      ["--tee", "maa", "--token", await file("no token")],
      ["--tee", "vsm", "--report", await file(makeReport(guardian.key).subarray(1))],
    ]) {
      const { code, verdict, tee } = await judge(...args, ...AT);
      assert.deepEqual([code, verdict, tee], [2, "error", args[1]], args.join(" "));
    }
  });

  test("a record without collateral, or of VSM without a policy", async () => {
    const record = {
      format: "coco-recorded-evidence-v1",
      networkId: "00".repeat(32),
      transactionId: "2.4",
      owner: "acme",
    };
    const node = {
      nodeId: "00".repeat(32),
      publicKey: "00",
      encryptionKey: "00".repeat(32),
      challenge: "00".repeat(32),
    };
    const recorded = async (evidence: HardwareEvidence) => {
      const content = { ...record, ...node, timeMs: NOW_MS, evidence: toHex(encodeHardwareEvidence(evidence)) };
      return ["--recorded", await file(JSON.stringify(content))];
    };
    const { quote } = makeEvidence();
    await rejected(await recorded({ tee: "tdx", evidence: quote, endorsements: [] }), "tdx", ["CollateralInvalid"]);
    const health = { kind: "health-certificate", content: guardian.health.der } as const;
    const report = makeReport(guardian.key);
    await rejected(await recorded({ tee: "vsm", evidence: report, endorsements: [health] }), "vsm", ["RootNotTrusted"]);
    const token = makeToken(
      { alg: "RS256", kid: "k" },
      { ...commonClaims("vbs"), ...vbsClaims() },
      rs256(key.privateKey),
    );
    await rejected(await recorded({ tee: "vsm", evidence: utf8Encode(token), endorsements: [] }), "vsm", [
      "TokenInvalid",
    ]);
  });
});

describe("--allow debug", () => {
  test("counts without a policy, too", async () => {
    const flagged = ["--tee", "vsm", "--report", await file(makeReport(guardian.key, { flags: 1 }))];
    assert.ok((await judge(...flagged, ...AT)).reasons.includes("DebugEnabled"));
    assert.ok(!(await judge(...flagged, ...AT, "--allow", "debug")).reasons.includes("DebugEnabled"));
    const claims = { ...commonClaims("sevsnpvm"), ...guestClaims({ "is-debuggable": true }) };
    const token = ["--token", await file(makeToken({ alg: "RS256", kid: "k" }, claims, rs256(key.privateKey)))];
    assert.ok((await judge(...token, ...AT)).reasons.includes("DebugEnabled"));
    assert.ok(!(await judge(...token, ...AT, "--allow", "debug")).reasons.includes("DebugEnabled"));
  });
});

describe("forms of files", () => {
  test("hex with 0x before it, in lines, in capitals; both base64", () => {
    const bytes = Uint8Array.from({ length: 61 }, (_, at) => at * 4);
    const hex = toHex(bytes);
    for (const text of [
      hex,
      `0x${hex}`,
      `0X${hex.toUpperCase()}\r\n`,
      ` ${hex.replace(/.{32}/g, "$&\n")}\n`,
      hex.replace(/../g, "$& "),
      toBase64(bytes),
      toBase64(bytes).replace(/.{20}/g, "$&\n"),
      toBase64Url(bytes),
    ])
      assert.deepEqual(bytesOrText(utf8Encode(text)), bytes, text);
    assert.deepEqual(bytesOrText(bytes), bytes);
    for (const text of ["0x", "", "123", "0x0x12", "12 3g"]) assert.equal(bytesOfHex(text), undefined, text);
  });

  test("evidence of a virtual TPM is taken as a report, wrapped or not", async () => {
    const snpReport = (bound: Bytes) => pki.report({ 80: bound });
    const { hclReport, quote } = makeVtpmEvidence(key, { snpReport, version: 2 });
    const { message, signature, pcrs } = quote;
    const inner = {
      version: 1,
      tpm_quote: { message: toHex(message), signature: toHex(signature), pcrs: pcrs.map(toHex) },
      hcl_report: toBase64Url(hclReport),
      vcek: toBase64(pki.vek().der),
    };
    for (const document of [inner, { platform: "az-snp", evidence: inner }]) {
      const path = await file(`\n${JSON.stringify(document)}`);
      for (const args of [
        ["--report", path],
        ["--tee", "snp", "--report", path],
        ["--vtpm", path],
      ]) {
        const { reasons } = await rejected(args, "snp", []);
        assert.ok(!reasons.includes("KeyNotBound") && !reasons.includes("Malformed"), reasons.join(", "));
      }
      await rejected(["--report", path, "--nonce", "00"], "snp", ["NonceMismatch"]);
    }
    const { code } = await judge("--tee", "vsm", "--report", await file(JSON.stringify(inner)), ...AT);
    assert.equal(code, 2, "of VBS it is none");
  });

  test("an endorsement as bytes, hex and both base64", async () => {
    const cose = endorsement();
    const verdicts = [];
    for (const content of [cose, toHex(cose), `0x${toHex(cose)}`, toBase64(cose), toBase64Url(cose)]) {
      const { verdict, claims, reasons } = await judge("--tee", "uvm", "--uvm", await file(content), ...AT);
      verdicts.push({ verdict, claims, reasons });
    }
    for (const found of verdicts) assert.deepEqual(found, verdicts[0]);
    assert.deepEqual(verdicts[0]?.reasons, ["UvmEndorsementNotAllowed"]);
  });
});

describe("a folder", () => {
  test("may have an endorsement in both of its forms, and in one of them", async () => {
    const [older, newer] = ["reference-info-base64", "hash-envelope-reference-info-base64"];
    const both = await mkdtemp(join(folder, "both-"));
    await writeFile(join(both, older), "older");
    await writeFile(join(both, newer), "newer");
    assert.deepEqual(await filesOfFolder(both, {}), { uvm: join(both, older) });
    await rm(join(both, older));
    assert.deepEqual(await filesOfFolder(both, {}), { uvm: join(both, newer) });
    await writeFile(join(both, "a.cose"), "");
    await writeFile(join(both, "b.cose"), "");
    await assert.rejects(filesOfFolder(both, {}), { code: "WrongUsage" });
  });
});

describe("what was named is looked at, or is an error", () => {
  const wrongUsage = async (args: readonly string[], says: RegExp) => {
    const { code, data, talk } = await coco("attest", "verify", ...args, ...AT);
    assert.deepEqual([code, data], [2, ""], args.join(" "));
    assert.match(talk, says, args.join(" "));
  };
  const { hclReport, quote: tpm } = makeVtpmEvidence(key, {
    snpReport: (bound) => pki.report({ 80: bound }),
    version: 2,
  });
  const machine = JSON.stringify({
    version: 1,
    tpm_quote: { message: toHex(tpm.message), signature: toHex(tpm.signature), pcrs: tpm.pcrs.map(toHex) },
    hcl_report: toBase64Url(hclReport),
    vcek: toBase64(pki.vek().der),
  });
  const { quote } = makeEvidence();
  const report = pki.report();

  test("of two pieces of evidence none is judged, wherever they come from", async () => {
    const azure = await folderOf({ "evidence.json": machine });
    const inside = /the report of an Azure machine is inside the evidence of its vTPM/;
    await wrongUsage([azure, "--report", await file(new Uint8Array(1184).fill(7))], inside);
    await wrongUsage([azure, "--report", await file(machine)], inside);
    await wrongUsage([azure, "--tee", "snp", "--report", await file(machine)], inside);
    await wrongUsage([await folderOf({ "evidence.json": machine, "report.bin": report })], inside);
    const several = /several pieces of evidence/;
    await wrongUsage([azure, "--quote", await file(quote)], several);
    await wrongUsage([await folderOf({ "quote.bin": quote, "token.jwt": "a.b.c" })], several);
    await wrongUsage([await folderOf({ "quote.bin": quote, "report.bin": report })], several);
    await wrongUsage([await folderOf({ "quote.bin": quote, "a.cose": endorsement() })], several);
    await wrongUsage([await folderOf({ "report.bin": makeReport(guardian.key), "a.cose": endorsement() })], several);
  });

  test("what is named takes the place of the same kind in the folder, and --tee says which kind counts", async () => {
    const all = await folderOf({ "evidence.json": machine, "quote.bin": "00", "token.jwt": "a.b.c" });
    await rejected([all, "--tee", "tdx", "--quote", await file(quote)], "tdx", ["CollateralInvalid"]);
    await rejected([all, "--tee", "snp", "--vtpm", await file(machine)], "snp", []);
    await rejected([await folderOf({ "report.bin": "00" }), "--report", await file(report)], "snp", []);
  });

  test("an option that is given twice is refused, unless both count", async () => {
    const one = await file(report);
    const twice = async (...args: readonly string[]) => {
      const { code, talk } = await coco("attest", "verify", "--report", one, ...args);
      assert.equal(code, 2, args.join(" "));
      assert.match(talk, /given before/, args.join(" "));
    };
    await twice("--report", one);
    await twice("--at", "2026-06-01", "--at", "2025-06-01");
    await twice("--policy", one, "--policy", one);
    await twice("--measurement", "00", "--measurement", "01");
    await twice("--pcr", `4=${"00".repeat(32)}`, "--pcr", `4=${"11".repeat(32)}`);
    const levels = await file(pki.report({ [0x30]: Uint8Array.of(1, 0, 0, 0) }));
    const { reasons } = await judge("--report", levels, "--allow", "vmpl1", "--allow", "v2");
    assert.deepEqual(reasons, ["CertificateMissing"]);
  });

  test("an option that has nothing to do with what is judged is refused", async () => {
    const dir = await folderOf({ "quote.bin": quote, "evidence.json": machine });
    await wrongUsage([dir, "--tee", "tdx", "--nonce", "00"], /--nonce goes with --vtpm/);
    await wrongUsage([dir, "--tee", "tdx", "--pcr", `4=${"ff".repeat(32)}`], /--pcr goes with --vtpm/);
    await wrongUsage([dir, "--tee", "snp", "--machine-key", "00"], /--machine-key goes with --recorded/);
    for (const option of ["--measurement", "--report-data"])
      for (const value of ["zz", ""])
        await wrongUsage([dir, "--tee", "tdx", option, value], new RegExp(`${option}: expected hex`));
  });
});

describe("real evidence in other forms", { skip: missingTeeVectors("snp") }, () => {
  test("an Azure machine's by --report; a report with a chain in text, or without one", async () => {
    const vector = (name: string): string => join(TEE_VECTORS, "snp", name);
    const machine = await judge("--tee", "snp", "--report", vector("trustee-az-vtpm/evidence-v1.json"));
    assert.deepEqual([machine.code, machine.claims["product"]], [0, "Milan-B0"]);
    const [report, endorsements] = [vector("ccf/milan_attestation.bin"), vector("ccf/milan_endorsements.pem")];
    const pem = await readFile(endorsements, "utf8");
    const [vcek = ""] = pem.split(/(?<=-----END CERTIFICATE-----\n)/);
    const thim = JSON.stringify({ vcekCert: vcek, tcbm: "db18000000000004", cacheControl: "86400" });
    for (const content of [
      `# chain\n${pem.replaceAll("-----BEGIN", "subject\n-----BEGIN")}`,
      thim,
      toBase64Url(utf8Encode(thim)),
    ]) {
      const { code, reasons } = await judge("--report", report, "--certs", await file(content));
      assert.deepEqual([code, reasons], [0, []], content.slice(0, 40));
    }
  });

  test("of a TEE that was not said", { skip: missingTeeVectors("tdx") }, async () => {
    const quote = join(TEE_VECTORS, "tdx", "google-v5-uptodate");
    const { code, tee, reasons } = await judge(quote, "--tee", "sgx", "--at", "2026-03-18");
    assert.deepEqual([code, tee, reasons], [1, "tdx", ["ProductNotAllowed"]]);
  });
});
