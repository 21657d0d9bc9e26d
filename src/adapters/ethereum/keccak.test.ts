import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { KECCAK_EMPTY, keccak256, keccak256Pure, keccakBackend } from "./keccak.ts";

describe("keccak-256", () => {
  test("gives the known answers", () => {
    assert.deepEqual(keccak256(new Uint8Array(0)), KECCAK_EMPTY);
    assert.equal(
      toHex(keccak256(utf8Encode("abc"))),
      "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
    );
  });

  test("is the same in WebAssembly and in JavaScript, around every block boundary and beyond the copy buffer", () => {
    assert.equal(keccakBackend, "wasm");
    for (const length of [1, 31, 32, 64, 135, 136, 137, 271, 272, 273, 1000, 16383, 16384, 16385, 40000]) {
      const data = Uint8Array.from({ length }, (_, at) => (at * 31 + length) & 0xff);
      assert.deepEqual(keccak256(data), keccak256Pure(data), `${length} bytes`);
    }
  });

  test("hashes a view of a larger buffer and gives results of their own", () => {
    const buffer = Uint8Array.from({ length: 100 }, (_, at) => at);
    const first = keccak256(buffer.subarray(10, 20));
    const copy = first.slice();
    assert.deepEqual(first, keccak256Pure(buffer.slice(10, 20)));
    keccak256(buffer);
    assert.deepEqual(first, copy);
  });
});
