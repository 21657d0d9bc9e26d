import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { element, integer, objectIdentifier, sequence, set, time } from "../../../test/support/der-writer.ts";
import { CocoError } from "../../errors.ts";
import { concatBytes, fromHex, toHex, utf8Encode, type Bytes } from "./bytes.ts";
import { contextTag, DER, type DerReader, MAX_DER_DEPTH, readDer } from "./der.ts";

const read = <T>(hex: string, how: (reader: DerReader) => T): T => readDer(fromHex(hex), how);
const refuses = (hex: string, how: (reader: DerReader) => unknown): void => {
  assert.throws(() => read(hex, how), { code: "MalformedInput" }, hex);
};
const any = (reader: DerReader) => reader.any();

describe("DER", () => {
  test("has one form for each length", () => {
    assert.equal(read("0400", (reader) => reader.octets()).length, 0);
    assert.equal(read(`0481 80 ${"00".repeat(128)}`.replaceAll(" ", ""), (reader) => reader.octets()).length, 128);
    refuses("048100", any);
    refuses(`04817f${"00".repeat(127)}`, any);
    refuses(`04820080${"00".repeat(128)}`, any);
    refuses(`0484000000${"01"}00`, any);
    refuses("04800000", any);
    refuses("04ff", any);
  });

  test("ends with the value, and not before", () => {
    for (const hex of ["", "04", "0402", "040200", "3003020101ff", "040000"]) refuses(hex, any);
    refuses("3006020101020102", (reader) => reader.sequence((inner) => inner.integer()));
  });

  test("has no constructed strings, no long tags and no end-of-contents", () => {
    for (const hex of ["2404040201ff", "1f810100", "0000", "1000", "3102"]) refuses(hex, any);
    // Also inside of what the caller does not look into.
    refuses("30062404040201ff", any);
    refuses("a00424020400ff", any);
  });

  test("is nested to a bounded depth", () => {
    const nested = (depth: number): Bytes => {
      let value: Bytes = integer(1);
      for (let at = 0; at < depth; at++) value = sequence(value);
      return value;
    };
    assert.ok(readDer(nested(MAX_DER_DEPTH), any));
    assert.throws(() => readDer(nested(MAX_DER_DEPTH + 1), any), { code: "MalformedInput" });
    assert.throws(() => readDer(new Uint8Array(5), any, 4), { code: "MalformedInput" });
  });

  test("has one form for each truth value, and none for a default", () => {
    assert.equal(
      read("0101ff", (reader) => reader.boolean()),
      true,
    );
    assert.equal(
      read("010100", (reader) => reader.boolean()),
      false,
    );
    for (const hex of ["010101", "0100", "0102ffff"]) refuses(hex, (reader) => reader.boolean());
    assert.equal(
      read("0101ff", (reader) => reader.trueOrAbsent()),
      true,
    );
    refuses("010100", (reader) => reader.trueOrAbsent());
  });

  test("has one form for each integer", () => {
    const small = (hex: string) => read(hex, (reader) => reader.smallInteger(70_000));
    assert.deepEqual(
      [small("020100"), small("0201 7f".replace(" ", "")), small("02020080"), small("0203010000")],
      [0, 127, 128, 65536],
    );
    for (const hex of ["0200", "02020001", "0202ff80", "020180", "02030fffff", "0a0101"])
      refuses(hex, (reader) => reader.smallInteger(70_000));
    assert.equal(toHex(read("0202ff7f", (reader) => reader.integer())), "ff7f");
    assert.equal(
      read("820105", (reader) => reader.smallInteger(9, contextTag(2, "primitive"))),
      5,
    );
  });

  test("has one form for each bit string", () => {
    assert.deepEqual([...read("03020780", (reader) => reader.namedBits())], [0]);
    assert.deepEqual([...read("030205a0", (reader) => reader.namedBits())], [0, 2]);
    assert.equal(read("030100", (reader) => reader.namedBits()).size, 0);
    for (const hex of ["0300", "030101", "030208ff", "030201ff", "030205b0"]) refuses(hex, (reader) => reader.bits());
    assert.deepEqual([...read("03020204", (reader) => reader.namedBits())], [5], "as AMD's CA certificates have it");
    assert.deepEqual([...read("0303000400", (reader) => reader.namedBits())], [5]);
    refuses("03020581", (reader) => reader.namedBits());
    refuses("03020780", (reader) => reader.bitBytes());
    assert.equal(toHex(read("030200ff", (reader) => reader.bitBytes())), "ff");
  });

  test("has one form for each object identifier, of any size", () => {
    const identifier = (hex: string) => read(hex, (reader) => reader.objectIdentifier());
    assert.equal(identifier("06032b6570"), "1.3.101.112");
    assert.equal(identifier("0603883703"), "2.999.3");
    assert.equal(identifier("0601 00".replace(" ", "")), "0.0");
    // 2.25 and a UUID of 128 bits.
    assert.equal(identifier("06146983ffffffffffffffffffffffffffffffffff7f"), `2.25.${2n ** 128n - 1n}`);
    for (const hex of ["0600", "060180", "0603 2b8001".replace(" ", ""), `0641${"01".repeat(65)}`])
      refuses(hex, (reader) => reader.objectIdentifier());
    fc.assert(
      fc.property(fc.array(fc.nat(2 ** 31 - 1), { minLength: 1, maxLength: 8 }), (arcs) => {
        const text = ["1.3", ...arcs].join(".");
        assert.equal(
          readDer(objectIdentifier(text), (reader) => reader.objectIdentifier()),
          text,
        );
      }),
    );
  });

  test("has times that exist, in UTC and whole seconds", () => {
    const read1 = (tag: number, text: string) => readDer(element(tag, utf8Encode(text)), (reader) => reader.time());
    assert.equal(read1(DER.utcTime, "491231235959Z"), Date.UTC(2049, 11, 31, 23, 59, 59));
    assert.equal(read1(DER.utcTime, "500101000000Z"), Date.UTC(1950, 0, 1));
    assert.equal(read1(DER.generalizedTime, "99991231235959Z"), Date.UTC(9999, 11, 31, 23, 59, 59));
    assert.equal(read1(DER.generalizedTime, "20240229000000Z"), Date.UTC(2024, 1, 29));
    for (const text of [
      "20230229000000Z",
      "20231301000000Z",
      "20230101240000Z",
      "20230101000060Z",
      "20230101000000",
      "20230101000000.5Z",
      "20230101000000+0100",
      "00010101000000Z",
    ])
      assert.throws(() => read1(DER.generalizedTime, text), { code: "MalformedInput" }, text);
    for (const text of ["2301010000Z", "230101000000+0000", "20230101000000Z"])
      assert.throws(() => read1(DER.utcTime, text), { code: "MalformedInput" }, text);
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(1951, 0), max: Date.UTC(2200, 0) }), (ms) => {
        const whole = Math.floor(ms / 1000) * 1000;
        assert.equal(
          readDer(time(whole), (reader) => reader.time()),
          whole,
        );
      }),
    );
  });

  test("has strings of six types", () => {
    const text = (hex: string) => read(hex, (reader) => reader.text());
    assert.deepEqual(["0c02c3a9", "13024162", "160140", "1401e9", "1e020041", "1c040001f600"].map(text), [
      "é",
      "Ab",
      "@",
      "é",
      "A",
      "\u{1f600}",
    ]);
    for (const hex of ["0c01c3", "130140", "160180", "1e0100", "1e02d800", "1c0400110000", "040141"])
      refuses(hex, (reader) => reader.text());
  });

  test("has sets in order", () => {
    const numbers = (bytes: Bytes) => readDer(bytes, (reader) => reader.setOf(3, (item) => item.smallInteger(9)));
    assert.deepEqual(numbers(set(integer(1), integer(2))), [1, 2]);
    for (const bytes of [set(integer(2), integer(1)), set(), set(...[1, 2, 3, 4].map((value) => integer(value)))])
      assert.throws(() => numbers(bytes), { code: "MalformedInput" });
  });

  test("that is arbitrary is read or refused, and never anything else", () => {
    const hows: readonly ((reader: DerReader) => unknown)[] = [
      any,
      (reader) => reader.objectIdentifier(),
      (reader) => reader.time(),
    ];
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.constantFrom<number>(0x30, 0xa0, 0x04, 0x06, 0x17),
        (bytes, tag) => {
          for (const input of [bytes, concatBytes(Uint8Array.of(tag, bytes.length), bytes)]) {
            for (const how of hows) {
              try {
                readDer(input, how);
              } catch (error) {
                assert.ok(error instanceof CocoError && error.code === "MalformedInput", String(error));
              }
            }
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
