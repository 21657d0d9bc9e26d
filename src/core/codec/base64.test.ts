import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { fromAnyBase64, fromBase64, fromBase64Url, toBase64, toBase64Url } from "./base64.ts";

test("the text is what Node.js writes, and comes back as the same bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
      assert.equal(toBase64(bytes), Buffer.from(bytes).toString("base64"));
      assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
      assert.equal(toBase64Url(bytes), Buffer.from(bytes).toString("base64url"));
      assert.deepEqual(fromBase64Url(toBase64Url(bytes)), bytes);
    }),
  );
});

test("texts that base64 does not write are refused", () => {
  for (const text of ["A", "AA", "AAA", "AA=", "A===", "=", "====", "AB==", "AAB=", "AA==A", "A A=", "AA-_", "AAAA="]) {
    assert.throws(
      () => fromBase64(text),
      (error) => error instanceof CocoError && error.code === "MalformedInput",
      text,
    );
  }
});

test("texts that base64url does not write are refused", () => {
  for (const text of ["A", "AB", "AAB", "AA==", "AA+_", "AA/-", "AA AA", "AAAA\n", "AAAAA", "ÄAAA"])
    assert.throws(() => fromBase64Url(text), { code: "MalformedInput" }, text);
  assert.deepEqual(fromBase64Url("-_-_"), Uint8Array.of(0xfb, 0xff, 0xbf));
});

test("either spelling is read, with padding or without, and no mixture", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
      const [text, url] = [toBase64(bytes), toBase64Url(bytes)];
      const padded = text.replaceAll("+", "-").replaceAll("/", "_");
      for (const spelling of [text, url, padded, text.replaceAll("=", ""), `${text.replace(/.{4}/g, "$&\r\n")}\n`])
        assert.deepEqual(fromAnyBase64(spelling), bytes, spelling);
    }),
  );
  for (const text of ["A", "AB", "AB==", "AA=", "A===", "=", "AA==AA==", "-+AA", "_/AA", "AA.A", "ÄAAA"])
    assert.throws(() => fromAnyBase64(text), { code: "MalformedInput" }, text);
});
