import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import {
  ByteReader,
  ByteWriter,
  bytesEqual,
  compareBytes,
  concatBytes,
  fromHex,
  toHex,
  utf8Decode,
  utf8Encode,
} from "./bytes.ts";

describe("hex", () => {
  test("every byte string survives the way to hex and back, as Buffer writes it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 9000 }), (bytes) => {
        assert.equal(toHex(bytes), Buffer.from(bytes).toString("hex"));
        assert.ok(bytesEqual(fromHex(toHex(bytes)), bytes));
      }),
      { numRuns: 50 },
    );
  });

  test("what is no hex is refused", () => {
    for (const text of ["0", "zz", "0g", "é0", "0x00", " 00", "\u0661\u0661"]) {
      assert.throws(
        () => fromHex(text),
        (error) => error instanceof CocoError && error.code === "MalformedInput",
        text,
      );
    }
  });
});

describe("UTF-8", () => {
  test("every well-formed string is encoded as TextEncoder does, and decodes to itself", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const bytes = utf8Encode(text);
        assert.deepEqual(bytes, new TextEncoder().encode(text));
        assert.equal(utf8Decode(bytes), text);
      }),
    );
  });

  test("bytes decode exactly when a strict TextDecoder takes them", () => {
    const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8 }), (bytes) => {
        let expected: string | undefined;
        try {
          expected = strict.decode(bytes);
        } catch {
          assert.throws(() => utf8Decode(bytes), CocoError);
          return;
        }
        assert.equal(utf8Decode(bytes), expected);
      }),
      { numRuns: 2000 },
    );
  });

  test("a lone surrogate has no encoding", () => {
    for (const text of ["\ud800", "a\udc00b", "\ud800\ud800"]) assert.throws(() => utf8Encode(text), CocoError);
  });
});

describe("reader and writer", () => {
  test("what was written is read back", () => {
    const bytes = new ByteWriter(1)
      .u8(7)
      .u16(65535)
      .u32(4294967295)
      .u64(Number.MAX_SAFE_INTEGER)
      .bytes16(Uint8Array.of(1))
      .bytes32(Uint8Array.of(2, 3))
      .finish();
    const reader = new ByteReader(bytes);
    assert.deepEqual(
      [reader.u8(), reader.u16(), reader.u32(), reader.u64()],
      [7, 65535, 4294967295, Number.MAX_SAFE_INTEGER],
    );
    assert.deepEqual([...reader.bytes16(), ...reader.bytes32()], [1, 2, 3]);
    reader.end();
  });

  test("writers that are at work at once, of any lengths, keep their bytes apart, and so does one that comes after them", () => {
    const parts = fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 6 });
    fc.assert(
      fc.property(fc.array(parts, { minLength: 1, maxLength: 6 }), (contents) => {
        const writers = contents.map(() => new ByteWriter());
        for (let at = 0; at < 6; at++)
          for (const [place, writer] of writers.entries()) writer.bytes(contents[place]?.[at] ?? new Uint8Array(0));
        const written = writers.map((writer) => writer.finish());
        new ByteWriter().bytes(new Uint8Array(4096).fill(255)).finish();
        assert.deepEqual(
          written.map(toHex),
          contents.map((content) => toHex(concatBytes(...content))),
        );
        for (const writer of writers) assert.equal(writer.length, 0);
      }),
    );
  });

  test("bytes that a writer is given are written into, as far as they go, and never kept for others", () => {
    const target = new Uint8Array(4096);
    const written = new ByteWriter(target).bytes(Uint8Array.of(1, 2)).finish();
    assert.deepEqual([written.buffer, [...written]], [target.buffer, [1, 2]]);
    assert.equal(new ByteWriter(target).bytes(new Uint8Array(4096).fill(3)).finish(), target);
    assert.throws(() => new ByteWriter(target).bytes(new Uint8Array(4097).fill(4)), CocoError);
    for (let count = 0; count < 8; count++) new ByteWriter().u8(5);
    assert.deepEqual(target, new Uint8Array(4096).fill(3));
  });

  test("numbers above 2^53 - 1, reads past the end and left-over bytes are refused", () => {
    assert.throws(() => new ByteReader(Uint8Array.of(0, 32, 0, 0, 0, 0, 0, 0)).u64(), CocoError);
    assert.throws(() => new ByteReader(Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255)).u64(), CocoError);
    assert.throws(() => new ByteReader(Uint8Array.of(1)).u16(), CocoError);
    assert.throws(
      () => new ByteReader(Uint8Array.of(0, 0, 0, 9, 1)).bytes32(8),
      (error) => error instanceof CocoError && error.code === "LimitExceeded",
    );
    assert.throws(() => new ByteReader(Uint8Array.of(1)).end(), CocoError);
  });

  test("order is that of Buffer.compare", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (left, right) => {
        assert.equal(Math.sign(compareBytes(left, right)), Buffer.compare(left, right));
        assert.deepEqual(Buffer.from(concatBytes(left, right)), Buffer.concat([left, right]));
      }),
    );
  });
});
