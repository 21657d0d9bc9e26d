import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { bytesEqual, fromHex, toHex } from "./bytes.ts";
import { type CborValue, decodeCbor, encodeCbor, MAX_CBOR_DEPTH } from "./cbor.ts";

const TAGS = [18, 42];

const key = fc.oneof(fc.maxSafeInteger(), fc.string({ unit: "grapheme" }));
const bigInteger = fc
  .bigInt({ min: -(2n ** 64n), max: 2n ** 64n - 1n })
  .filter((value) => value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER));
const { value: anyValue } = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.maxSafeInteger().map((value) => (value === 0 ? 0 : value)),
    bigInteger,
    fc.string({ unit: "grapheme" }),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie("value"), { maxLength: 5 }),
    fc.array(fc.tuple(key, tie("value")), { maxLength: 5 }).map((entries) => new Map(entries)),
    fc.record({ tag: fc.constantFrom(...TAGS), value: tie("value") }, { noNullPrototype: true }),
  ),
}));

function isCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CocoError && error.code === code;
}

describe("CBOR", () => {
  test("a value comes back as it was", () => {
    fc.assert(
      fc.property(anyValue, (value) => assert.deepEqual(decodeCbor(encodeCbor(value), { tags: TAGS }), value)),
      { numRuns: 300 },
    );
  });

  test("what decodes has no other encoding", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 24 }), (bytes) => {
        let value: CborValue;
        try {
          value = decodeCbor(bytes, { tags: TAGS });
        } catch (error) {
          assert.ok(error instanceof CocoError);
          return;
        }
        assert.ok(bytesEqual(encodeCbor(value), bytes));
      }),
      { numRuns: 3000 },
    );
  });

  test("changed and cut encodings either keep their one meaning or are refused with a code", () => {
    const change = fc.record({ at: fc.nat(), mask: fc.integer({ min: 1, max: 255 }) });
    fc.assert(
      fc.property(anyValue, change, (value, { at, mask }) => {
        const bytes = encodeCbor(value);
        for (let length = 0; length < Math.min(bytes.length, 64); length++) {
          assert.throws(() => decodeCbor(bytes.subarray(0, length), { tags: TAGS }), isCode("MalformedInput"));
        }
        const changed = Uint8Array.from(bytes);
        changed[at % bytes.length] = (changed[at % bytes.length] ?? 0) ^ mask;
        try {
          assert.ok(bytesEqual(encodeCbor(decodeCbor(changed, { tags: TAGS })), changed));
        } catch (error) {
          assert.ok(error instanceof CocoError, String(error));
        }
      }),
      { numRuns: 300 },
    );
  });

  // RFC 8949, appendix A.
  const vectors: readonly (readonly [string, CborValue])[] = [
    ["00", 0],
    ["17", 23],
    ["1818", 24],
    ["1903e8", 1000],
    ["1a000f4240", 1000000],
    ["1b000000e8d4a51000", 1000000000000],
    ["1bffffffffffffffff", 18446744073709551615n],
    ["3bffffffffffffffff", -18446744073709551616n],
    ["20", -1],
    ["3903e7", -1000],
    ["f4", false],
    ["f5", true],
    ["f6", null],
    ["40", new Uint8Array(0)],
    ["4401020304", Uint8Array.of(1, 2, 3, 4)],
    ["6449455446", "IETF"],
    ["62c3bc", "ü"],
    ["8301820203820405", [1, [2, 3], [4, 5]]],
    [
      "a201020304",
      new Map([
        [1, 2],
        [3, 4],
      ]),
    ],
    [
      "a26161016162820203",
      new Map<string, CborValue>([
        ["a", 1],
        ["b", [2, 3]],
      ]),
    ],
    ["d2626869", { tag: 18, value: "hi" }],
  ];
  for (const [hex, value] of vectors) {
    test(`${hex} is read and written as the RFC says`, () => {
      assert.equal(toHex(encodeCbor(value)), hex);
      assert.deepEqual(decodeCbor(fromHex(hex), { tags: TAGS }), value);
    });
  }

  const refused: readonly (readonly [string, string])[] = [
    ["1800", "a number that is not in its shortest form"],
    ["190017", "a 16-bit form of a small number"],
    ["1b0000000000000001", "a 64-bit form of a small number"],
    ["5f4101ff", "an indefinite byte string"],
    ["9f01ff", "an indefinite array"],
    ["f90000", "a floating-point number"],
    ["f7", "undefined"],
    ["a203040102", "map keys out of order"],
    ["a201020103", "a map key that comes twice"],
    ["a1410101", "a byte string as map key"],
    ["a11b002000000000000001", "a map key beyond the safe integers"],
    ["61ff", "text that is not UTF-8"],
    ["d82a00", "a tag in a longer form than needed"],
    ["d301", "a tag that was not asked for"],
    ["0000", "a second value after the first"],
    ["9affffffff", "an array longer than the input"],
    ["bb001fffffffffffff", "a map longer than the input"],
    ["", "nothing"],
  ];
  for (const [hex, what] of refused) {
    test(`${what} is refused`, () =>
      assert.throws(() => decodeCbor(fromHex(hex), { tags: [18] }), isCode("MalformedInput")));
  }

  test("keys are written in the order of their encodings, whatever the order in the map", () => {
    const map = new Map<number | string, number>([
      ["aa", 1],
      ["z", 2],
      [-1, 3],
      [100, 4],
      [10, 5],
    ]);
    assert.equal(toHex(encodeCbor(map)), "a50a051864042003617a0262616101");
  });

  test("deeper nesting than allowed is refused both ways", () => {
    let value: CborValue = 1;
    for (let depth = 0; depth < MAX_CBOR_DEPTH; depth++) value = [value];
    assert.deepEqual(decodeCbor(encodeCbor(value)), value);
    assert.throws(() => encodeCbor([value]), isCode("LimitExceeded"));
    assert.throws(() => decodeCbor(new Uint8Array(100_000).fill(0x81)), isCode("LimitExceeded"));
  });

  test("numbers that are not safe integers, and integers beyond 64 bits, are not written", () => {
    for (const value of [1.5, Number.NaN, 2 ** 53, 2n ** 64n, -(2n ** 64n) - 1n])
      assert.throws(() => encodeCbor(value), isCode("MalformedInput"));
  });

  test("input above the byte limit is refused unread", () => {
    assert.throws(() => decodeCbor(new Uint8Array(11), { maxBytes: 10 }), isCode("LimitExceeded"));
  });
});
