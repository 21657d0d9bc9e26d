import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { concatBytes, EMPTY, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { makeEvidence, type PlatformChanges, type QuoteForm } from "../../../test/support/intel-platform.ts";
import { DAY_MS, NOW_MS } from "../../../test/support/issue-certificates.ts";
import { verifyDcap } from "../../attestation/dcap/verify.ts";
import { isAccepted } from "../../attestation/checks.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { createGramineProvider, MAX_GRAMINE_QUOTE_BYTES, type GramineOptions } from "./gramine-provider.ts";
import { sealsItself } from "./provider.ts";
import { createSnpProvider } from "./snp-provider.ts";
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

/** What verifiers of these quotes go by, and the collateral of their platforms. */
function platform(form: QuoteForm, changes: PlatformChanges = {}) {
  const { collateral, roots, nowMs } = makeEvidence({ form, ...changes });
  return { content: collateral, roots, nowMs: () => nowMs };
}

/** A quote that a byte was changed of, where only a signature shows it. */
function altered(quote: Bytes, at: number): Bytes {
  return quote.map((byte, index) => (index === at ? byte ^ 1 : byte));
}

describe("quotes through Gramine", () => {
  /** A tree like Gramine's: the quote is made of what was written last, when it is read. */
  function provider(
    type = "dcap",
    quoteOf = (data: Bytes) => evidenceFor("sgx-3", data).quote,
    asked: Bytes[] = [],
    changes: PlatformChanges = {},
  ) {
    writeFileSync(join(root, "attestation_type"), type);
    writeFileSync(join(root, "user_report_data"), EMPTY);
    const files: GramineOptions["files"] = {
      writeOnce: TSM_FILES.writeOnce,
      async read(file, maxBytes) {
        if (basename(file) === "quote") writeFileSync(file, quoteOf(readFileSync(join(root, "user_report_data"))));
        return TSM_FILES.read(file, maxBytes);
      },
    };
    const { content, ...judged } = platform("sgx-3", changes);
    const collateral = async (quote: Bytes) => {
      asked.push(quote);
      return content;
    };
    return createGramineProvider({ folder: root, files, collateral, ...judged });
  }

  test("bind the data, and come with the collateral of their platform", async () => {
    const asked: Bytes[] = [];
    const { tee, evidence, endorsements } = await provider("dcap\n", undefined, asked).attest(REPORT_DATA);
    assert.equal(tee, "sgx");
    assert.deepEqual(asked, [evidence]);
    const { collateral, roots, nowMs } = makeEvidence({ form: "sgx-3" });
    assert.deepEqual(
      endorsements.map(({ kind }) => kind),
      ["collateral"],
    );
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
      // MRENCLAVE, the signature of the quote, that of the quoting enclave's report.
      ...[48 + 64, 48 + 384 + 4, 48 + 384 + 4 + 128 + 384].map(
        (at) => (data: Bytes) => altered(evidenceFor("sgx-3", data).quote, at),
      ),
      () => EMPTY,
      (data) => concatBytes(evidenceFor("sgx-3", data).quote, new Uint8Array(MAX_GRAMINE_QUOTE_BYTES)),
    ];
    for (const quoteOf of wrong) await assert.rejects(provider("dcap", quoteOf).attest(REPORT_DATA), isUnavailable);
    await assert.rejects(provider().attest(REPORT_DATA.subarray(1)), isUnavailable);
  });

  test("that others would refuse for their collateral are noticed: ended, of another platform, not signed", async () => {
    const wrong: readonly PlatformChanges[] = [
      { pckList: { untilMs: NOW_MS - DAY_MS / 2 } },
      { tcbInfo: (info) => Object.assign(info, { nextUpdate: "2020-01-01T00:00:00Z" }) },
      { tcbInfo: (info) => Object.assign(info, { fmspc: "00A067110001" }) },
      { collateral: (fields) => Object.assign(fields, { qe_identity_signature: "00".repeat(64) }) },
    ];
    for (const changes of wrong) {
      const sgx = provider("dcap", undefined, [], changes);
      await assert.rejects(sgx.attest(REPORT_DATA), isUnavailable, JSON.stringify(Object.keys(changes)));
    }
    const { content } = platform("sgx-3");
    const byIntel = createGramineProvider({
      ...{ folder: root, collateral: async () => content },
      files: {
        writeOnce: TSM_FILES.writeOnce,
        read: async (file) => (file.endsWith("type") ? utf8Encode("dcap") : evidenceFor("sgx-3", REPORT_DATA).quote),
      },
    });
    await assert.rejects(byIntel.attest(REPORT_DATA), isUnavailable, "Intel's root is the one that counts");
  });

  test("work again after one that failed", async () => {
    let fails = true;
    const sgx = provider("dcap", (data) => (fails ? EMPTY : evidenceFor("sgx-3", data).quote));
    await assert.rejects(sgx.attest(REPORT_DATA), isUnavailable);
    fails = false;
    assert.equal((await sgx.attest(REPORT_DATA)).tee, "sgx");
  });
});

describe("sealing by Gramine", () => {
  const SECRET = utf8Encode("the keys of a node");
  const [codeKey, signerKey] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)];

  /** The keys that the processor derives for an enclave. */
  function enclave(code: Bytes, signer = signerKey, sealTo?: "enclave" | "signer") {
    mkdirSync(join(root, "keys"), { recursive: true });
    writeFileSync(join(root, "keys", "_sgx_mrenclave"), code);
    writeFileSync(join(root, "keys", "_sgx_mrsigner"), signer);
    const collateral = () => assert.fail("nothing is fetched");
    return createGramineProvider({ folder: root, collateral, ...(sealTo && { sealTo }) });
  }

  test("is for exactly this code on this machine", async () => {
    const sealed = await enclave(codeKey).seal(SECRET);
    assert.deepEqual(await enclave(codeKey).unseal(sealed), SECRET);
    assert.ok(!Buffer.from(sealed).includes(Buffer.from(SECRET)));
    assert.notDeepEqual(await enclave(codeKey).seal(SECRET), sealed, "never twice the same");
    const other = enclave(new Uint8Array(16).fill(3));
    await assert.rejects(other.unseal(sealed), { code: "SealedElsewhere" });
  });

  test("is for all code of the signer where that is wanted, and one does not open what is sealed for the other", async () => {
    const sealed = await enclave(codeKey, signerKey, "signer").seal(SECRET);
    assert.deepEqual(await enclave(new Uint8Array(16).fill(3), signerKey, "signer").unseal(sealed), SECRET);
    await assert.rejects(enclave(signerKey, signerKey).unseal(sealed), { code: "SealedElsewhere" });
  });

  test("notices each byte that was changed, cut off or added", async () => {
    const sgx = enclave(codeKey);
    const sealed = await sgx.seal(SECRET);
    const wrong = [EMPTY, sealed.subarray(0, -1), concatBytes(sealed, new Uint8Array(1))];
    for (let at = 0; at < sealed.length; at++) wrong.push(altered(sealed, at));
    for (const bytes of wrong) await assert.rejects(sgx.unseal(bytes), { code: "SealedElsewhere" });
  });

  test("needs a key of 16 bytes that are not all zero", async () => {
    for (const key of [EMPTY, new Uint8Array(16), codeKey.subarray(1), new Uint8Array(17).fill(1)])
      await assert.rejects(enclave(key).seal(SECRET), isUnavailable);
    const absent = createGramineProvider({ folder: join(root, "absent"), collateral: () => assert.fail() });
    await assert.rejects(absent.unseal(SECRET), isUnavailable);
  });

  test("is what providers say that have it", () => {
    assert.ok(sealsItself(enclave(codeKey)));
    assert.ok(!sealsItself(createTdxProvider({ collateral: () => assert.fail() })));
    assert.ok(!sealsItself(createSnpProvider()));
  });
});

describe("quotes of TDX through configfs-tsm", () => {
  function provider(quoteOf: (data: Bytes) => Bytes, driver = "tdx_guest", form: QuoteForm = "tdx-4") {
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
    const { content, ...judged } = platform(form);
    return createTdxProvider({ tsm: { folder: root, files }, collateral: async () => content, ...judged });
  }

  test("come as the kernel gives them, zeros behind them included, with their collateral", async () => {
    for (const form of ["tdx-4", "tdx-5-15"] as const) {
      const padded = (data: Bytes) => concatBytes(evidenceFor(form, data).quote, new Uint8Array(70));
      const { tee, evidence, endorsements } = await provider(padded, undefined, form).attest(REPORT_DATA);
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
    // MRTD, and the signature of the quote.
    for (const at of [48 + 136, 48 + 584 + 4])
      await assert.rejects(provider((data) => altered(genuine(data), at)).attest(REPORT_DATA), isUnavailable);
  });
});
