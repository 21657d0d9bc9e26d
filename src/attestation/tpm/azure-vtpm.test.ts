import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { makeKey } from "../../../test/support/issue-certificates.ts";
import { concatBytes, toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { toBase64, toBase64Url } from "../../core/codec/base64.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../../errors.ts";
import { reasonsOf } from "../checks.ts";
import { mutate, seededChoices } from "../vsm/test-vsm-evidence.ts";
import { missingTeeVectors, teeVector } from "../../../test/support/tee-vectors.ts";
import { type AzureVtpmEvidence, verifyAzureVtpm, vtpmNonce } from "./azure-vtpm.ts";
import { decodeTpmQuote, encodeTpmQuote, parseAzureVtpmJson } from "./azure-vtpm-codec.ts";
import { MAX_HCL_REPORT_BYTES, parseHclReport } from "./hcl-report.ts";
import { parseTpmQuote } from "./quote.ts";
import {
  makeHclReport,
  makeQuoteMessage,
  makeVtpmEvidence,
  NONCE,
  PCRS,
  runtimeKey,
  sha256,
  type HclOptions,
  type QuoteOptions,
} from "./test-azure-vtpm.ts";

const crypto = createAttestationCrypto();
const key = makeKey("rsa");
const attacker = makeKey("rsa");
const evidence = makeVtpmEvidence(key);

function reasonsAgainst(changed: AzureVtpmEvidence, nonce: Bytes = NONCE): readonly string[] {
  try {
    return reasonsOf(verifyAzureVtpm(changed, { nonce }, crypto).checks);
  } catch (error) {
    assert.ok(error instanceof CocoError && error.code === "MalformedInput", String(error));
    return ["Malformed"];
  }
}

function withQuote(change: Partial<AzureVtpmEvidence["quote"]>): AzureVtpmEvidence {
  return { ...evidence, quote: { ...evidence.quote, ...change } };
}

const flipped = (bytes: Bytes, at: number): Bytes =>
  bytes.map((byte, index) => (index === at ? byte ^ (1 << (at % 8)) : byte));

for (const [name, nonce] of [
  ["evidence-v1.json", toHex(utf8Encode("challenge"))],
  [
    "evidence-v2.json",
    "982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef",
  ],
] as const) {
  const file = `snp/trustee-az-vtpm/${name}`;
  describe(`real evidence of a confidential machine of Azure (${name})`, { skip: missingTeeVectors(file) }, () => {
    const real = (): AzureVtpmEvidence => parseAzureVtpmJson(teeVector(file));

    test("is accepted, and hands on the SNP report it belongs to", () => {
      const { claims, checks } = verifyAzureVtpm(real(), { nonce: Buffer.from(nonce, "hex") }, crypto);
      assert.deepEqual(reasonsOf(checks), []);
      assert.equal(claims.nonce, nonce);
      assert.equal(claims.snpReport.length, 1184);
      assert.equal(real().certificates.length, 1);
      assert.equal(claims.secureBoot, true);
      assert.match(claims.machineId ?? "", /^[0-9A-F-]{36}$/);
      assert.equal(Object.keys(claims.pcrs).length, 24);
      const { pcrs } = real().quote;
      assert.equal(claims.pcrs[7], toHex(pcrs[7] as Bytes));
    });

    test("is rejected for another nonce, and with the parts of other evidence", () => {
      assert.deepEqual(reasonsAgainst(real(), NONCE), ["NonceMismatch"]);
      assert.deepEqual(reasonsAgainst({ ...real(), quote: evidence.quote }), ["SignatureInvalid"]);
      assert.deepEqual(reasonsAgainst({ ...evidence, hclReport: real().hclReport }), ["SignatureInvalid"]);
    });

    test("is rejected with any bound byte flipped", () => {
      const { hclReport, quote, certificates } = real();
      const anyNonce = (changed: AzureVtpmEvidence): readonly string[] => {
        try {
          return reasonsOf(verifyAzureVtpm(changed, {}, crypto).checks);
        } catch (error) {
          assert.ok(error instanceof CocoError && error.code === "MalformedInput", String(error));
          return ["Malformed"];
        }
      };
      for (const part of ["message", "signature"] as const)
        for (let at = 0; at < quote[part].length; at++) {
          const changed = { hclReport, certificates, quote: { ...quote, [part]: flipped(quote[part], at) } };
          assert.notDeepEqual(anyNonce(changed), [], `${part} ${at}`);
        }
      // The SNP report but for its report data is for the verifier of SNP reports.
      const snpOnly = (at: number): boolean => at >= 32 && at < 32 + 1184 && (at < 32 + 0x50 || at >= 32 + 0x90);
      for (let at = 0; at < hclReport.length; at++)
        if (!snpOnly(at))
          assert.notDeepEqual(
            anyNonce({ quote, certificates, hclReport: flipped(hclReport, at) }),
            [],
            `HCL report ${at}`,
          );
      for (let register = 0; register < 24; register++) {
        const pcrs = quote.pcrs.map((value, at) => (at === register ? flipped(value, register) : value));
        assert.deepEqual(anyNonce({ hclReport, certificates, quote: { ...quote, pcrs } }), ["SignatureInvalid"]);
      }
    });
  });
}

describe("verification of a machine's virtual TPM", () => {
  test("accepts a quote of the key that the SNP report binds", () => {
    const { claims, checks } = verifyAzureVtpm(evidence, { nonce: NONCE }, crypto);
    assert.deepEqual(reasonsOf(checks), []);
    assert.deepEqual(
      [claims.resetCount, claims.restartCount, claims.machineId, claims.secureBoot],
      [2, 1, "2F7E", true],
    );
    assert.equal(claims.attestationKey, toHex(key.spki));
  });

  test("claims only the registers that are quoted", () => {
    const few = makeVtpmEvidence(key, {}, { bitmap: Uint8Array.of(0b101, 0, 0x80) });
    const { claims } = verifyAzureVtpm(few, {}, crypto);
    const values = [0, 2, 23].map((at) => [String(at), toHex(PCRS[at] as Bytes)]);
    assert.deepEqual(Object.entries(claims.pcrs), values);
    assert.deepEqual(reasonsAgainst(makeVtpmEvidence(key, {}, { bitmap: new Uint8Array(3) })), ["SignatureInvalid"]);
    assert.deepEqual(reasonsAgainst(withQuote({ pcrs: PCRS.slice(0, 23) })), ["SignatureInvalid"]);
  });

  test("R11: rejects a TPM key that the report does not bind", () => {
    const mine = makeHclReport(attacker);
    const bound = parseHclReport(evidence.hclReport).snpReport.subarray(0x50, 0x90);
    const forged = makeVtpmEvidence(attacker, { reportData: bound });
    assert.deepEqual(reasonsAgainst(forged), ["KeyNotBound"]);
    assert.deepEqual(reasonsAgainst({ ...evidence, hclReport: mine }), ["SignatureInvalid"]);
  });

  test("R13: rejects report data that are more than the digest, and replayed quotes", () => {
    const digest = parseHclReport(evidence.hclReport).snpReport.subarray(0x50, 0x70);
    const tail = concatBytes(digest, new Uint8Array(31), Uint8Array.of(1));
    assert.deepEqual(reasonsAgainst(makeVtpmEvidence(key, { reportData: tail })), ["KeyNotBound"]);
    for (const nonce of [new Uint8Array(0), NONCE.subarray(0, 4), concatBytes(NONCE, Uint8Array.of(0))])
      assert.deepEqual(reasonsAgainst(evidence, nonce), ["NonceMismatch"]);
  });

  test("rejects a key that is too short", () => {
    assert.deepEqual(reasonsAgainst(makeVtpmEvidence(makeKey("rsa-1024"))), ["AlgorithmNotAllowed"]);
  });

  test("a nonce stands for all 64 bytes of report data", () => {
    const reportData = Uint8Array.from({ length: 64 }, (_, at) => at);
    assert.deepEqual(vtpmNonce(reportData, crypto), sha256(reportData));
  });
});

describe("reading what a virtual TPM holds", () => {
  const runtime = (value: unknown): HclOptions => ({ runtime: JSON.stringify(value) });
  const own = runtimeKey("HCLAkPub", key);
  const hclCases: readonly (readonly [string, HclOptions])[] = [
    ["another mark", { header: { 0: 1 } }],
    ["version 0", { header: { 1: 0 } }],
    ["version 3", { header: { 1: 3 } }],
    ["a size that is not its own", { header: { 2: 2000 } }],
    ["another request", { header: { 3: 1 } }],
    ["a status that is no success", { header: { 4: 1 } }],
    ["a reserved field that is set", { header: { 6: 1 } }],
    ["two sizes of the runtime data", { runtimeHeader: { 0: 7 } }],
    ["runtime data of another version", { runtimeHeader: { 1: 2 } }],
    ["a report of another TEE", { runtimeHeader: { 2: 4 } }],
    ["an unknown digest", { runtimeHeader: { 3: 4 } }],
    ["R20: padding that is not zero", { padding: Uint8Array.of(0, 1) }],
    ["R9: a name that stands twice", { runtime: `{"keys":[],"keys":[${JSON.stringify(own)}]}` }],
    ["no list of keys", runtime({ keys: {} })],
    ["no key of the TPM", runtime({ keys: [runtimeKey("HCLEkPub", key)] })],
    ["two keys of the TPM", runtime({ keys: [own, { ...runtimeKey("HCLAkPub", attacker) }] })],
    ["a key of another type", runtime({ keys: [{ ...own, kty: "EC" }] })],
    ["a key without a modulus", runtime({ keys: [{ ...own, n: undefined }] })],
    ["too many keys", runtime({ keys: Array.from({ length: 17 }, () => own) })],
  ];

  test("reads both versions of the header alike", () => {
    const [first, second] = ([1, 2] as const).map((version) => makeHclReport(key, { version }));
    assert.ok(first !== undefined && second !== undefined);
    assert.equal(toHex(second.subarray(0, 8)), "48434c4102000000");
    assert.deepEqual(parseHclReport(second), parseHclReport(first));
    assert.deepEqual(reasonsAgainst(makeVtpmEvidence(key, { version: 2 })), []);
  });

  test("reads the one key of the TPM, whatever stands beside it", () => {
    const beside = runtime({ keys: [{ kid: "HCLEkPub", kty: "EC", crv: "P-256" }, own] });
    assert.deepEqual(parseHclReport(makeHclReport(key, beside)).attestationKey, key.spki);
  });

  for (const [name, options] of hclCases)
    test(`refuses an HCL report with ${name}`, () => {
      assert.throws(() => parseHclReport(makeHclReport(key, options)), { code: "MalformedInput" });
    });

  const quoteCases: readonly (readonly [string, QuoteOptions])[] = [
    ["a mark that no TPM writes", { magic: 0xff544348 }],
    ["another type of attestation", { type: 0x8017 }],
    ["two banks", { banks: 2 }],
    ["no bank", { banks: 0 }],
    ["a bank of SHA-1", { hash: 4 }],
    ["registers that no TPM has", { bitmap: new Uint8Array(4).fill(1) }],
    ["a truth value that is none", { safe: 2 }],
    ["a short digest", { pcrDigest: new Uint8Array(20) }],
    ["a nonce that is too long", { nonce: new Uint8Array(129) }],
    ["bytes behind it", { more: Uint8Array.of(0) }],
  ];

  for (const [name, options] of quoteCases)
    test(`refuses a quote with ${name}`, () => {
      assert.throws(() => parseTpmQuote(makeQuoteMessage(options)), { code: "MalformedInput" });
    });

  test("refuses both when they are cut anywhere, or too large", () => {
    const message = makeQuoteMessage();
    for (let at = 0; at < message.length; at++)
      assert.throws(() => parseTpmQuote(message.subarray(0, at)), { code: "MalformedInput" });
    const hcl = makeHclReport(key, { padding: new Uint8Array(0) });
    for (let at = 0; at < hcl.length; at++)
      assert.throws(() => parseHclReport(hcl.subarray(0, at)), { code: "MalformedInput" });
    assert.throws(() => parseHclReport(new Uint8Array(MAX_HCL_REPORT_BYTES + 1)), { code: "MalformedInput" });
  });

  test("a quote travels in CBOR, and nothing else does", () => {
    const bytes = encodeTpmQuote(evidence.quote);
    assert.deepEqual(decodeTpmQuote(bytes), evidence.quote);
    assert.throws(() => decodeTpmQuote(concatBytes(bytes, Uint8Array.of(0))), { code: "MalformedInput" });
    assert.throws(() => decodeTpmQuote(encodeTpmQuote({ ...evidence.quote, pcrs: [new Uint8Array(20)] })), {
      code: "MalformedInput",
    });
  });

  test("reads both JSON documents of public tools, and no third", () => {
    const { message, signature, pcrs } = evidence.quote;
    const numbers = (bytes: Bytes): number[] => [...bytes];
    const [certificate] = [makeKey()].map(({ spki }) => spki) as [Bytes];
    const pem = `-----BEGIN CERTIFICATE-----\n${toBase64(certificate).replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
    const unversioned = {
      quote: { message: numbers(message), signature: numbers(signature), pcrs: pcrs.map(numbers) },
      report: numbers(evidence.hclReport),
      vcek: pem,
    };
    const parse = (value: unknown): AzureVtpmEvidence => parseAzureVtpmJson(utf8Encode(JSON.stringify(value)));
    assert.deepEqual(parse(unversioned), { ...evidence, certificates: [certificate] });
    const base64Url = (bytes: Bytes): string => toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_");
    const versioned = {
      version: 2,
      tpm_quote: { message: toHex(message), signature: toHex(signature), pcrs: pcrs.map(toHex) },
      hcl_report: base64Url(evidence.hclReport),
      vcek: base64Url(certificate),
    };
    assert.deepEqual(parse(versioned), { ...evidence, certificates: [certificate] });
    const spellings: readonly ((bytes: Bytes) => string)[] = [
      toBase64,
      (bytes) => toBase64(bytes).replaceAll("=", ""),
      toBase64Url,
    ];
    const read = { ...evidence, certificates: [certificate] };
    for (const spell of spellings)
      assert.deepEqual(
        parse({ ...versioned, hcl_report: spell(evidence.hclReport), vcek: spell(certificate) }),
        read,
        spell(certificate).slice(-4),
      );
    for (const inner of [versioned, unversioned])
      assert.deepEqual(parse({ platform: "az-snp", evidence: inner }), read);
    const wrong: readonly unknown[] = [
      { platform: "az-tdx", evidence: versioned },
      { platform: "az-snp", evidence: versioned, more: 1 },
      { platform: "az-snp", evidence: { platform: "az-snp", evidence: versioned } },
      { platform: "az-snp", evidence: "e30" },
      { ...versioned, version: 3 },
      { ...versioned, more: 1 },
      { ...versioned, vcek: pem },
      { ...versioned, hcl_report: `${base64Url(evidence.hclReport)}!` },
      { ...versioned, tpm_quote: { ...versioned.tpm_quote, pcrs: ["00"] } },
      { ...unversioned, vcek: "none" },
      { ...unversioned, report: [256] },
      { ...unversioned, report: "00" },
      { quote: unversioned.quote },
    ];
    for (const value of wrong) assert.throws(() => parse(value), { code: "MalformedInput" });
  });

  test("ends in evidence or in a named error, whatever comes", () => {
    const seed = 1400001;
    const next = seededChoices(seed);
    const hcl = makeHclReport(key, { padding: new Uint8Array(4) });
    const { message } = evidence.quote;
    const encoded = encodeTpmQuote(evidence.quote);
    const json = utf8Encode(JSON.stringify({ version: 1, tpm_quote: {}, hcl_report: "", vcek: "" }));
    const readers: readonly (() => unknown)[] = [
      () => parseHclReport(mutate(hcl, next)),
      () => parseTpmQuote(mutate(message, next)),
      () => decodeTpmQuote(mutate(encoded, next)),
      () => parseAzureVtpmJson(mutate(json, next)),
    ];
    for (let round = 0; round < 2000; round++)
      for (const read of readers) {
        try {
          read();
        } catch (error) {
          const isNamed = error instanceof CocoError && ["MalformedInput", "LimitExceeded"].includes(error.code);
          assert.ok(isNamed, `seed ${seed}, ${round}: ${String(error)}`);
        }
      }
  });
});
