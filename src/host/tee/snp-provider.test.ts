import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { certificatesPem, NOW_MS } from "../../../test/support/issue-certificates.ts";
import { certificateTable, makeSnpPki } from "../../../test/support/snp-pki.ts";
import { reasonsOf } from "../../attestation/checks.ts";
import { judgeSnpEvidence } from "../../attestation/snp/evidence.ts";
import { toBase64 } from "../../core/codec/base64.ts";
import { type Bytes, EMPTY, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { STRICT_SNP_POLICY } from "../../core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import type { ChipCertificates } from "./chip-certificates.ts";
import { MAX_HOST_POLICY_BYTES, MAX_SECURITY_CONTEXT_FILE_BYTES, readSecurityContext } from "./security-context.ts";
import { createSnpProvider } from "./snp-provider.ts";
import { TSM_FILES, type TsmFiles } from "./tsm-files.ts";

const REPORT_DATA = new Uint8Array(64).fill(0xda);
const pki = makeSnpPki();
const table = certificateTable([
  ["63da758de6644564adc5f4b93be8accd", pki.vek().der],
  ["4ab7b379bbac4fe4a02f05aef327c782", pki.ask.der],
  ["c0b406a4a803495297433fb6014cd0ae", pki.ark.der],
]);
let root = "";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "coco-snp-"));
});

afterEach(() => rmSync(root, { recursive: true }));

/** A kernel of a chip of the test's own. */
function kernel(driver = "sev_guest", makeReport = (data: Bytes) => pki.report({ 80: data }), aux = table): TsmFiles {
  return {
    ...TSM_FILES,
    async makeFolder(folder) {
      mkdirSync(folder);
      for (const name of ["inblob", "outblob"]) writeFileSync(join(folder, name), "");
      writeFileSync(join(folder, "auxblob"), aux);
      writeFileSync(join(folder, "provider"), `${driver}\n`);
      writeFileSync(join(folder, "generation"), "0\n");
    },
    async writeOnce(file, data) {
      assert.equal(basename(file), "inblob");
      writeFileSync(join(dirname(file), "outblob"), makeReport(data));
      writeFileSync(join(dirname(file), "generation"), "1\n");
    },
    async removeFolder(folder) {
      rmSync(folder, { recursive: true });
    },
  };
}

function provider(files: TsmFiles, securityContextFolder?: string, certificates?: ChipCertificates) {
  const tsm = { folder: root, files, pause: async () => undefined };
  return createSnpProvider({ tsm, securityContextFolder, certificates });
}

describe("the SNP provider", () => {
  test("makes evidence that verifies, with the host's certificates", async () => {
    const evidence = await provider(kernel()).attest(REPORT_DATA);
    const options = { roots: pki.roots, nowMs: NOW_MS };
    const { claims, checks } = judgeSnpEvidence(evidence, STRICT_SNP_POLICY, options, createAttestationCrypto());
    assert.deepEqual(reasonsOf(checks), []);
    assert.equal(claims.reportData, toHex(REPORT_DATA));
  });

  test("makes evidence without certificates where the host gives none, or something else", async () => {
    for (const aux of [EMPTY, new Uint8Array(24), Uint8Array.of(1, 2, 3)]) {
      const evidence = await provider(kernel("sev_guest", undefined, aux)).attest(REPORT_DATA);
      assert.deepEqual(evidence.endorsements, []);
    }
  });

  test("fetches certificates where the host has none of this key, or of another TCB", async () => {
    const fetched = { kind: "certificates" as const, content: pki.vek().der };
    const asked: Bytes[] = [];
    const certificates: ChipCertificates = async (report) => {
      asked.push(report);
      return [fetched];
    };
    const older = pki.vek({ tcb: Uint8Array.of(3, 0, 0, 0, 0, 0, 0x18, 0xdb) }).der;
    for (const aux of [EMPTY, certificateTable([["63da758de6644564adc5f4b93be8accd", older]])]) {
      const made = await provider(kernel("sev_guest", undefined, aux), undefined, certificates).attest(REPORT_DATA);
      assert.deepEqual(made.endorsements, [fetched]);
      assert.deepEqual(asked.pop(), made.evidence);
    }
    const local = await provider(kernel(), undefined, certificates).attest(REPORT_DATA);
    assert.deepEqual(local.endorsements, [{ kind: "certificates", content: table }]);
    assert.deepEqual(asked, [], "the host's own table is complete");
  });

  test("asks the files beside a container before it fetches", async () => {
    const folder = join(root, "context");
    mkdirSync(folder);
    const pem = certificatesPem([pki.vek().der]);
    const thim = JSON.stringify({ vcekCert: pem, certificateChain: certificatesPem([pki.ask.der, pki.ark.der]) });
    writeFileSync(join(folder, "host-amd-cert-base64"), toBase64(utf8Encode(thim)));
    const certificates: ChipCertificates = () => assert.fail("fetched");
    const context = provider(kernel("sev_guest", undefined, EMPTY), folder, certificates);
    assert.deepEqual((await context.attest(REPORT_DATA)).endorsements, [
      { kind: "certificates", content: utf8Encode(thim) },
    ]);
  });

  test("refuses another driver, a report of other data, and what is no report", async () => {
    const unavailable = { code: "TeeUnavailable" };
    await assert.rejects(provider(kernel("tdx_guest")).attest(REPORT_DATA), unavailable);
    await assert.rejects(provider(kernel("sev_guest", () => pki.report())).attest(REPORT_DATA), unavailable);
    await assert.rejects(provider(kernel("sev_guest", () => Uint8Array.of(1))).attest(REPORT_DATA), unavailable);
  });

  test("adds what Azure puts beside a container", async () => {
    const folder = join(root, "context");
    mkdirSync(folder);
    writeFileSync(join(folder, "security-policy-base64"), toBase64(utf8Encode("package policy")));
    writeFileSync(join(folder, "reference-info-base64"), `${toBase64(Uint8Array.of(1, 2))}\n`);
    writeFileSync(join(folder, "host-amd-cert-base64"), toBase64(utf8Encode("{}")));
    const { endorsements } = await provider(kernel("sev_guest", undefined, EMPTY), folder).attest(REPORT_DATA);
    assert.deepEqual(endorsements, [
      { kind: "certificates", content: utf8Encode("{}") },
      { kind: "uvm-endorsements", content: Uint8Array.of(1, 2) },
      { kind: "host-policy", content: utf8Encode("package policy") },
    ]);
  });
});

describe("the files beside an Azure container", () => {
  test("may be missing; those that are there must be base64 and not too large", async () => {
    assert.deepEqual(await readSecurityContext(join(root, "absent")), []);
    const file = join(root, "host-amd-cert-base64");
    for (const content of ["not base64!", "A", "x".repeat(MAX_SECURITY_CONTEXT_FILE_BYTES + 1)]) {
      writeFileSync(file, content);
      await assert.rejects(readSecurityContext(root), { code: "ConfigurationInvalid", data: { file } });
    }
  });

  test("a container policy too large to travel is left out", async () => {
    const file = join(root, "security-policy-base64");
    writeFileSync(file, toBase64(new Uint8Array(MAX_HOST_POLICY_BYTES)));
    assert.equal((await readSecurityContext(root)).length, 1);
    writeFileSync(file, toBase64(new Uint8Array(MAX_HOST_POLICY_BYTES + 1)));
    assert.deepEqual(await readSecurityContext(root), []);
  });
});
