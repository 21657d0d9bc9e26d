import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { concatBytes, EMPTY, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { makeEvidence, type QuoteForm } from "../../../test/support/intel-platform.ts";
import { verifyDcap } from "../../attestation/dcap/verify.ts";
import { isAccepted } from "../../attestation/checks.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { createGramineProvider, MAX_GRAMINE_QUOTE_BYTES, type GramineOptions } from "./gramine-provider.ts";
import { createTdxProvider } from "./tdx-provider.ts";
import { TSM_FILES, type TsmFiles } from "./tsm-files.ts";

const REPORT_DATA = Uint8Array.from({ length: 64 }, (_, at) => 200 - at);
const isUnavailable = { code: "TeeUnavailable" };
let root = "";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "coco-quotes-"));
});

afterEach(() => rmSync(root, { recursive: true }));

/** Evidence whose quote binds these data. */
function evidenceFor(form: QuoteForm, reportData: Bytes) {
  const at = form.startsWith("sgx") ? 320 : 520;
  return makeEvidence({ form, body: (bytes) => bytes.set(reportData, at) });
}

describe("quotes through Gramine", () => {
  /** A tree like Gramine's: the quote is made of what was written last, when it is read. */
  function provider(type = "dcap", quoteOf = (data: Bytes) => evidenceFor("sgx-3", data).quote, asked: Bytes[] = []) {
    writeFileSync(join(root, "attestation_type"), type);
    writeFileSync(join(root, "user_report_data"), EMPTY);
    const files: GramineOptions["files"] = {
      writeOnce: TSM_FILES.writeOnce,
      async read(file, maxBytes) {
        if (basename(file) === "quote") writeFileSync(file, quoteOf(readFileSync(join(root, "user_report_data"))));
        return TSM_FILES.read(file, maxBytes);
      },
    };
    const collateral = async (quote: Bytes) => {
      asked.push(quote);
      return utf8Encode("collateral");
    };
    return createGramineProvider({ folder: root, files, collateral });
  }

  test("bind the data, and come with the collateral of their platform", async () => {
    const asked: Bytes[] = [];
    const { tee, evidence, endorsements } = await provider("dcap\n", undefined, asked).attest(REPORT_DATA);
    assert.equal(tee, "sgx");
    assert.deepEqual(asked, [evidence]);
    assert.deepEqual(endorsements, [{ kind: "collateral", content: utf8Encode("collateral") }]);
    const { collateral, roots, nowMs } = makeEvidence({ form: "sgx-3" });
    const options = { roots, nowMs, expectedReportData: REPORT_DATA };
    const { checks } = verifyDcap({ quote: evidence, collateral }, options, createAttestationCrypto());
    assert.ok(isAccepted(checks));
  });

  test("that are asked for at the same time do not get each other's data", async () => {
    const sgx = provider();
    const wanted = [1, 2, 3, 4].map((value) => new Uint8Array(64).fill(value));
    const made = await Promise.all(wanted.map((data) => sgx.attest(data)));
    const bound = made.map(({ evidence }) => evidence.subarray(48 + 320, 48 + 384));
    assert.deepEqual(bound, wanted);
  });

  test("are refused outside of Gramine, and where it attests by other means", async () => {
    for (const type of ["none", "epid", "", "dcap2"])
      await assert.rejects(provider(type).attest(REPORT_DATA), isUnavailable);
    const absent = createGramineProvider({ folder: join(root, "absent"), collateral: async () => EMPTY });
    await assert.rejects(absent.attest(REPORT_DATA), isUnavailable);
  });

  test("that bind other data, are of another TEE, cut off or too large, are noticed", async () => {
    const wrong: readonly ((data: Bytes) => Bytes)[] = [
      () => evidenceFor("sgx-3", new Uint8Array(64)).quote,
      (data) => evidenceFor("tdx-4", data).quote,
      (data) => evidenceFor("sgx-3", data).quote.subarray(0, -1),
      () => EMPTY,
      (data) => concatBytes(evidenceFor("sgx-3", data).quote, new Uint8Array(MAX_GRAMINE_QUOTE_BYTES)),
    ];
    for (const quoteOf of wrong) await assert.rejects(provider("dcap", quoteOf).attest(REPORT_DATA), isUnavailable);
    await assert.rejects(provider().attest(REPORT_DATA.subarray(1)), isUnavailable);
  });

  test("work again after one that failed", async () => {
    let fails = true;
    const sgx = provider("dcap", (data) => (fails ? EMPTY : evidenceFor("sgx-3", data).quote));
    await assert.rejects(sgx.attest(REPORT_DATA), isUnavailable);
    fails = false;
    assert.equal((await sgx.attest(REPORT_DATA)).tee, "sgx");
  });
});

describe("quotes of TDX through configfs-tsm", () => {
  function provider(quoteOf: (data: Bytes) => Bytes, driver = "tdx_guest") {
    const files: TsmFiles = {
      ...TSM_FILES,
      async makeFolder(folder) {
        mkdirSync(folder);
        for (const name of ["inblob", "outblob"]) writeFileSync(join(folder, name), EMPTY);
        writeFileSync(join(folder, "generation"), "0\n");
        writeFileSync(join(folder, "provider"), `${driver}\n`);
      },
      async writeOnce(file, data) {
        await TSM_FILES.writeOnce(file, data);
        writeFileSync(join(dirname(file), "outblob"), quoteOf(data));
        writeFileSync(join(dirname(file), "generation"), "1\n");
      },
      async removeFolder(folder) {
        rmSync(folder, { recursive: true });
      },
    };
    return createTdxProvider({ tsm: { folder: root, files }, collateral: async () => utf8Encode("collateral") });
  }

  test("come as the kernel gives them, zeros behind them included, with their collateral", async () => {
    for (const form of ["tdx-4", "tdx-5-15"] as const) {
      const padded = (data: Bytes) => concatBytes(evidenceFor(form, data).quote, new Uint8Array(70));
      const { tee, evidence, endorsements } = await provider(padded).attest(REPORT_DATA);
      assert.equal(tee, "tdx");
      assert.deepEqual(evidence.subarray(-70), new Uint8Array(70));
      assert.deepEqual(
        endorsements.map(({ kind }) => kind),
        ["collateral"],
      );
      assert.deepEqual(readdirSync(root), []);
    }
  });

  test("of another driver, of other data, or none, are noticed", async () => {
    const genuine = (data: Bytes) => evidenceFor("tdx-4", data).quote;
    await assert.rejects(provider(genuine, "sev_guest").attest(REPORT_DATA), isUnavailable);
    await assert.rejects(provider(() => genuine(new Uint8Array(64))).attest(REPORT_DATA), isUnavailable);
    await assert.rejects(provider((data) => evidenceFor("sgx-4", data).quote).attest(REPORT_DATA), isUnavailable);
    await assert.rejects(provider(() => new Uint8Array(5000).fill(1)).attest(REPORT_DATA), isUnavailable);
  });
});
