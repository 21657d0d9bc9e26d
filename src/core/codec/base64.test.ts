import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { fromBase64, toBase64 } from "./base64.ts";

test("the text is what Node.js writes, and comes back as the same bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
      assert.equal(toBase64(bytes), Buffer.from(bytes).toString("base64"));
      assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
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
