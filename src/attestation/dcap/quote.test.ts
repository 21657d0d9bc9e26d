import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { concatBytes, fromHex, toHex, type Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { makeEvidence, QUOTE_FORMS, type QuoteForm } from "../../../test/support/intel-platform.ts";
import { type AttestationCrypto, isAccepted, reasonsOf, type Verification } from "../checks.ts";
import { INTEL_SGX_ROOT } from "./chains.ts";
import type { DcapClaims } from "./claims.ts";
import { MAX_QUOTE_BYTES, parseQuote } from "./quote.ts";
import { crypto, verified } from "./test-refusals.ts";
import { quotesMissing, realQuotes } from "./test-vectors.ts";
import { verifyDcap } from "./verify.ts";

/** Whether every offset of every quote is tried; otherwise all of one of each version, and samples of the others. */
const TRIES_ALL = process.env["COCO_EVERY_OFFSET"] !== undefined;
const TRIED_WHOLE: readonly QuoteForm[] = ["sgx-3", "tdx-4", "tdx-5-15"];

/** Whether a quote is refused, by an exception that says so or by a check. */
function isRefused(verify: () => Verification<DcapClaims>): boolean {
  try {
    return !isAccepted(verify().checks);
  } catch (error) {
    assert.ok(error instanceof CocoError, String(error));
    assert.equal(error.code, "EvidenceRejected", error.message);
    assert.equal(error.data["reason"], "Malformed");
    return true;
  }
}

function malformed(quote: Bytes): void {
  assert.throws(
    () => parseQuote(quote),
    (error) => error instanceof CocoError && error.code === "EvidenceRejected" && error.data["reason"] === "Malformed",
  );
}

function changed(quote: Bytes, at: number, ...values: readonly number[]): Bytes {
  const copy = Uint8Array.from(quote);
  copy.set(values, at);
  return copy;
}

function prefixed(quote: Bytes, length = quote.length): Bytes {
  return concatBytes(fromHex("0100000002000000"), Uint8Array.of(length & 255, length >> 8, 0, 0, 0, 0, 0, 0), quote);
}

const evidence = new Map(QUOTE_FORMS.map((form) => [form, makeEvidence({ form })]));
/** A platform's collateral stays as it is while its quote changes: what was verified is not verified again. */
function rememberVerified(of: AttestationCrypto): AttestationCrypto {
  const known = new Map<string, boolean>();
  return {
    ...of,
    verify: (algorithm, ...parts) => {
      const key = [JSON.stringify(algorithm), ...parts.map((part) => toHex(of.digest("sha256", part)))].join();
      const found = known.get(key) ?? of.verify(algorithm, ...parts);
      known.set(key, found);
      return found;
    },
  };
}

const quoteOf = (form: QuoteForm): Bytes => evidence.get(form)?.quote ?? new Uint8Array(0);

describe("quotes", () => {
  for (const form of QUOTE_FORMS) {
    const quote = quoteOf(form);

    test(`${form}: every flipped byte is refused (R18)`, () => {
      const { roots, nowMs, ...platform } = evidence.get(form) ?? assert.fail();
      const remembering = rememberVerified(crypto);
      const step = TRIES_ALL || TRIED_WHOLE.includes(form) ? 1 : 53;
      for (let at = 0; at < quote.length; at += step) {
        const flipped = changed(quote, at, (quote[at] as number) ^ (1 << (at % 8)));
        const verify = () => verifyDcap({ ...platform, quote: flipped }, { roots, nowMs }, remembering);
        assert.ok(isRefused(verify), `byte ${at}`);
      }
    });

    test(`${form}: one that is cut off anywhere is refused`, () => {
      for (let length = 0; length < quote.length; length++) malformed(quote.subarray(0, length));
    });

    test(`${form}: zeros behind it are let pass, nothing else (R20)`, () => {
      const padded = concatBytes(quote, new Uint8Array(70));
      assert.deepEqual(parseQuote(padded), parseQuote(quote));
      for (let at = quote.length; at < padded.length; at++) malformed(changed(padded, at, 1));
      malformed(concatBytes(quote, new Uint8Array(MAX_QUOTE_BYTES)));
    });

    test(`${form}: the header of Open Enclave is taken off, if its length is right`, () => {
      assert.deepEqual(parseQuote(prefixed(quote)), parseQuote(quote));
      for (const length of [0, quote.length - 1, quote.length + 1]) malformed(prefixed(quote, length));
      malformed(changed(prefixed(quote), 4, 1));
      malformed(changed(prefixed(quote), 15, 1));
      malformed(prefixed(prefixed(quote)));
    });

    test(`${form}: another version, key type, TEE or vendor is refused`, () => {
      for (const version of [0, 1, 2, 6, 255]) malformed(changed(quote, 0, version));
      for (const type of [0, 1, 3]) malformed(changed(quote, 2, type));
      for (const tee of [1, 0x80, 0x82]) malformed(changed(quote, 4, tee));
      malformed(changed(quote, 7, 1));
      malformed(changed(quote, 12, 0));
      if (form.includes("-5")) {
        for (const type of [0, 4, form === "sgx-5" ? 2 : 1]) malformed(changed(quote, 48, type));
        malformed(changed(quote, 50, 1));
      }
    });
  }

  test("reserved bytes of an enclave's report are zero", () => {
    for (const at of [20, 31, 96, 127, 160, 191, 262, 303]) malformed(changed(quoteOf("sgx-3"), 48 + at, 1));
  });

  test("a quote of SGX is none of TDX, and the other way round", () => {
    malformed(changed(quoteOf("sgx-3"), 4, 0x81));
    malformed(changed(quoteOf("sgx-4"), 4, 0x81));
    malformed(changed(quoteOf("tdx-4"), 4, 0));
    malformed(changed(quoteOf("tdx-5-10"), 48, 3));
  });

  test("certification data of an unknown kind are refused, and known ones without certificates are read", () => {
    for (const certificationKind of [0, 6, 8, 255]) malformed(makeEvidence({ certificationKind }).quote);
    for (const certificationKind of [1, 2, 3, 4, 7]) {
      const made = makeEvidence({ certificationKind });
      assert.equal(parseQuote(made.quote).certificates, undefined);
      const { claims, checks } = verified(made);
      assert.ok(reasonsOf(checks).includes("CertificateMissing"), String(certificationKind));
      assert.equal(claims.tee, "tdx");
    }
  });

  test("without collateral, or with some that can't be read, one is refused, and says what it claims", () => {
    const { quote, roots, nowMs } = makeEvidence();
    for (const beside of [{}, { collateral: Uint8Array.of(0x7b) }]) {
      const { claims, checks } = verifyDcap({ quote, ...beside }, { roots, nowMs }, crypto);
      assert.deepEqual(reasonsOf(checks), ["CollateralInvalid"]);
      assert.equal(claims.tee, "tdx");
    }
  });

  test("certificates in another form of PEM are refused", () => {
    const pem = (change: (text: string) => string): Bytes => {
      let data: Bytes = new Uint8Array(0);
      const { quote } = makeEvidence();
      const text = Buffer.from(quote).toString("latin1");
      data = new Uint8Array(Buffer.from(change(text.slice(text.indexOf("-----BEGIN"))), "latin1"));
      return makeEvidence({ certificationData: data }).quote;
    };
    const known: readonly ((text: string) => string)[] = [
      (text) => text,
      (text) => text.replace("\0", ""),
      (text) => text.replace("\n\0", ""),
      (text) => text.replaceAll("\n", "\r\n"),
    ];
    for (const change of known) assert.equal(parseQuote(pem(change)).certificates?.length, 3);
    const wrong: readonly ((text: string) => string)[] = [
      (text) => text.replace("\n", "\r\n"),
      (text) => text.replace("\n\0", "\0"),
      (text) => text.replace("\n\0", "\0\0"),
      (text) => text.replace("-----\n-----BEGIN", "-----\n\n-----BEGIN"),
      (text) => ` ${text}`,
      (text) => `${text}\0`,
      (text) => text.replace("\0", "\n"),
      (text) => text.replace("CERTIFICATE", "certificate"),
      (text) => text.replace(/\n([A-Za-z0-9+/]{10})/, "\n$1\n"),
      () => "",
      () => "\0",
      () => "\xff\xfe",
    ];
    for (const [at, change] of wrong.entries())
      assert.throws(() => parseQuote(pem(change)), { code: "EvidenceRejected" }, `form ${at}`);
  });
});

describe("real quotes", { skip: quotesMissing }, () => {
  for (const { name, quote, collateral, expected } of realQuotes()) {
    const options = { roots: [INTEL_SGX_ROOT], nowMs: Date.parse(expected.verify_at) };

    test(`${name}: flipped bytes are refused, of the quote and of the zeros behind it`, () => {
      for (let at = 0; at < quote.length; at += TRIES_ALL ? 1 : 211) {
        const flipped = changed(quote, at, (quote[at] as number) ^ (1 << (at % 8)));
        assert.ok(
          isRefused(() => verifyDcap({ quote: flipped, collateral }, options, crypto)),
          `byte ${at}`,
        );
      }
    });

    test(`${name}: cut off within what it holds it is refused`, () => {
      const length = quote.length - (expected.trailing_zero ?? 0);
      for (let cut = 0; cut < length - 1; cut += 3) malformed(quote.subarray(0, cut));
    });

    test(`${name}: the same quote with zeros, without them, and with the header of Open Enclave`, () => {
      const length = quote.length - (expected.trailing_zero ?? 0);
      const parsed = parseQuote(quote);
      for (const form of [quote.subarray(0, length), concatBytes(quote, new Uint8Array(9)), prefixed(quote)])
        assert.deepEqual(parseQuote(form), parsed);
    });
  }
});
