import { describe, test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { bytesEqual, compareBytes, fromHex, toHex } from "../codec/bytes.ts";
import { CocoError, type ErrorCode } from "../../errors.ts";
import { TableSet } from "./tables.ts";
import { MAX_KEY_BYTES, MAX_VALUE_BYTES } from "./types.ts";
import { checkWriteSet, decodeWriteSet, encodeWriteSet, encodedWriteBytes, type Write } from "./write-set.ts";

const key = fc.uint8Array({ minLength: 1, maxLength: 4 });
const write = fc.record({
  table: fc.nat(3),
  key,
  value: fc.option(fc.uint8Array({ maxLength: 8 }), { nil: undefined }),
});

function sorted(writes: readonly Write[]): Write[] {
  const unique = new Map(writes.map((one) => [`${one.table}/${toHex(one.key)}`, one]));
  return [...unique.values()].sort((left, right) => left.table - right.table || compareBytes(left.key, right.key));
}

function refused(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof CocoError && error.code === code;
}

describe("write set", () => {
  test("decodes to what was encoded, in one encoding of the announced size", () => {
    fc.assert(
      fc.property(fc.array(write), (writes) => {
        const set = sorted(writes);
        const encoded = encodeWriteSet(set);
        assert.deepEqual(
          decodeWriteSet(encoded).map((one) => ({ ...one, key: toHex(one.key), value: one.value && toHex(one.value) })),
          set.map((one) => ({ ...one, key: toHex(one.key), value: one.value && toHex(one.value) })),
        );
        const writeBytes = set.reduce((sum, one) => sum + encodedWriteBytes(one.key, one.value), 0);
        assert.equal(encoded.length, set.length === 0 ? 0 : 4 + writeBytes);
        assert.equal(encoded.buffer.byteLength, encoded.length);
      }),
    );
  });

  test("has the documented layout", () => {
    const encoded = encodeWriteSet([
      { table: 1, key: fromHex("aabb"), value: fromHex("ff") },
      { table: 258, key: fromHex("00"), value: undefined },
    ]);
    assert.equal(toHex(encoded), `00000002${"0001"}${"0002aabb"}01${"00000001ff"}${"0102"}${"000100"}00`);
  });

  test("any input is refused or encodes to itself again", () => {
    const mutated = fc
      .tuple(fc.array(write, { minLength: 1, maxLength: 4 }), fc.nat(), fc.nat(255), fc.nat(3))
      .map(([writes, at, byte, cut]) => {
        const encoded = encodeWriteSet(sorted(writes)).slice();
        encoded[at % encoded.length] = byte;
        return encoded.subarray(0, encoded.length - cut);
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 40 })), (input) => {
        let writes: Write[];
        try {
          writes = decodeWriteSet(input);
        } catch (error) {
          assert.ok(error instanceof CocoError);
          assert.ok(error.code === "MalformedInput" || error.code === "LimitExceeded");
          return;
        }
        assert.ok(bytesEqual(encodeWriteSet(writes), input));
      }),
      { numRuns: 1000 },
    );
  });

  const malformed: readonly (readonly [promise: string, hex: string, code: ErrorCode])[] = [
    ["a count of zero", "00000000", "MalformedInput"],
    ["a count without writes", "00000001", "MalformedInput"],
    ["a truncated count", "0000", "MalformedInput"],
    ["trailing bytes", "00000001 0001 0001 aa 00 00", "MalformedInput"],
    ["a repeated key", "00000002 0001 0001 aa 00 0001 0001 aa 00", "MalformedInput"],
    ["keys out of order", "00000002 0001 0001 bb 00 0001 0001 aa 00", "MalformedInput"],
    ["tables out of order", "00000002 0002 0001 aa 00 0001 0001 bb 00", "MalformedInput"],
    ["an empty key", "00000001 0001 0000 00", "MalformedInput"],
    ["a key above its limit", `00000001 0001 0401 ${"aa".repeat(1025)} 00`, "LimitExceeded"],
    ["an unknown flag", "00000001 0001 0001 aa 02 00000000", "MalformedInput"],
    ["a value longer than the input", "00000001 0001 0001 aa 01 00000002 ff", "MalformedInput"],
    ["a value above its limit", "00000001 0001 0001 aa 01 00800001", "LimitExceeded"],
  ];
  for (const [promise, hex, code] of malformed) {
    test(`${promise} is refused`, () => {
      assert.throws(() => decodeWriteSet(fromHex(hex.replaceAll(" ", ""))), refused(code));
    });
  }

  test("encoding refuses what decoding would refuse", () => {
    const one = (bytes: number, value?: number): Write => ({
      table: 1,
      key: new Uint8Array(bytes),
      value: value === undefined ? undefined : new Uint8Array(value),
    });
    assert.throws(() => encodeWriteSet([one(0)]), refused("MalformedInput"));
    assert.throws(() => encodeWriteSet([one(MAX_KEY_BYTES + 1)]), refused("LimitExceeded"));
    assert.throws(() => encodeWriteSet([one(1, MAX_VALUE_BYTES + 1)]), refused("LimitExceeded"));
    assert.throws(() => encodeWriteSet([one(2), one(1)]), refused("Internal"));
    assert.throws(() => encodeWriteSet([one(1), one(1)]), refused("Internal"));
    assert.throws(() => encodeWriteSet([{ ...one(1), table: 65536 }]), refused("Internal"));
    assert.equal(
      decodeWriteSet(encodeWriteSet([one(MAX_KEY_BYTES, MAX_VALUE_BYTES)]))[0]?.value?.length,
      MAX_VALUE_BYTES,
    );
  });

  test("is checked with its tables: public ones in public parts, private ones in private parts, and none that are not there", () => {
    const tables = new TableSet([
      { id: 1, name: "one" },
      { id: 7, name: "public:seven" },
    ]);
    const value = Uint8Array.of(1);
    const to = (table: number) => encodeWriteSet([{ table, key: value, value }]);
    checkWriteSet(to(7), tables, true);
    checkWriteSet(to(1), tables, false);
    for (const [table, isPublic] of [
      [7, false],
      [1, true],
      [3, false],
    ] as const)
      assert.throws(() => checkWriteSet(to(table), tables, isPublic), refused("MalformedInput"));
    assert.throws(() => checkWriteSet(fromHex("000000010001000001000000020707"), tables, false), /empty key/);
  });
});
