import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RLP } from "@ethereumjs/rlp";
import fc from "fast-check";
import { bytesEqual, concatBytes, fromHex, toHex } from "../../core/codec/bytes.ts";
import {
  bigintOfBytes,
  bytes32OfBigint,
  bytesOfBigint,
  bytesOfNumber,
  RLP_DEPTH_MAX,
  type RlpItem,
  rlpBigint,
  rlpBytes,
  rlpDecode,
  rlpEncode,
  rlpEncodeList,
  rlpList,
  rlpNumber,
  rlpSize,
} from "./rlp.ts";
import { hexBytes, missing, officialTests } from "./test-vectors.ts";

const { item: items } = fc.letrec<{ item: RlpItem }>((tie) => ({
  item: fc.oneof({ maxDepth: 6 }, fc.uint8Array({ maxLength: 300 }), fc.array(tie("item"), { maxLength: 6 })),
}));

function nested(depth: number): RlpItem {
  let item: RlpItem = [];
  for (let level = 1; level < depth; level++) item = [item];
  return item;
}

function rejects(hex: string, message: RegExp): void {
  assert.throws(() => rlpDecode(fromHex(hex)), { code: "MalformedInput", message });
}

describe("RLP", () => {
  test("encodes as the independent implementation does and decodes what it encoded", () => {
    fc.assert(
      fc.property(items, (item) => {
        const encoded = rlpEncode(item);
        assert.equal(toHex(encoded), toHex(RLP.encode(item as Parameters<typeof RLP.encode>[0])));
        assert.equal(rlpSize(item), encoded.length);
        assert.deepEqual(rlpEncode(rlpDecode(encoded)), encoded);
      }),
      { numRuns: 300 },
    );
  });

  test("reads no two byte strings as the same item", () => {
    fc.assert(
      fc.property(items, fc.nat(), fc.nat(255), (item, position, byte) => {
        const changed = rlpEncode(item).slice();
        changed[position % changed.length] = byte;
        let decoded: RlpItem;
        try {
          decoded = rlpDecode(changed);
        } catch {
          return;
        }
        assert.ok(bytesEqual(rlpEncode(decoded), changed));
      }),
      { numRuns: 1000 },
    );
  });

  test("refuses every form but the shortest, and everything after the item", () => {
    rejects("", /^rlp: unexpected end of input$/);
    rejects("8101", /^rlp: non-canonical size information$/);
    rejects("b837" + "00".repeat(55), /^rlp: non-canonical size information$/);
    rejects("b90038" + "00".repeat(56), /^rlp: non-canonical size information$/);
    rejects("f80180", /^rlp: non-canonical size information$/);
    rejects("bf0f000000000000021111", /^rlp: value size exceeds available input length$/);
    rejects("83646f", /^rlp: value size exceeds available input length$/);
    rejects("c283646f67", /^rlp: element is larger than containing list$/);
    rejects("8080", /^rlp: input contains more than one value$/);
  });

  test("bounds depth and size", () => {
    assert.deepEqual(rlpDecode(rlpEncode(nested(RLP_DEPTH_MAX))), nested(RLP_DEPTH_MAX));
    assert.throws(() => rlpEncode(nested(RLP_DEPTH_MAX + 1)), /nested too deeply/);
    const tooDeep = concatBytes(
      ...Array.from({ length: RLP_DEPTH_MAX }, (_, level) => Uint8Array.of(0xc0 + RLP_DEPTH_MAX - level)),
      Uint8Array.of(0xc0),
    );
    assert.throws(() => rlpDecode(tooDeep), /nested too deeply/);
    assert.throws(() => rlpDecode(new Uint8Array(11), 10), { code: "LimitExceeded" });
  });

  test("reads integers without leading zeros only, within their bounds", () => {
    assert.equal(rlpNumber(bytesOfNumber(Number.MAX_SAFE_INTEGER)), Number.MAX_SAFE_INTEGER);
    assert.equal(rlpNumber(new Uint8Array(0)), 0);
    assert.throws(() => rlpNumber(Uint8Array.of(0)), /leading zero/);
    assert.throws(() => rlpNumber(fromHex("20000000000000")), /above 2\^53/);
    assert.throws(() => rlpNumber(new Uint8Array(9).fill(1)), /too long/);
    assert.throws(() => rlpBigint(new Uint8Array(33).fill(1)), /too long/);
    assert.throws(() => rlpBigint([]), /expected input string or byte/);
    assert.throws(() => rlpList(new Uint8Array(0)), /expected input list/);
    assert.throws(() => rlpBytes(Uint8Array.of(1), 2), /too short/);
  });

  test("writes integers that read back the same", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }), fc.maxSafeNat(), (large, small) => {
        assert.equal(rlpBigint(bytesOfBigint(large)), large);
        assert.equal(bigintOfBytes(bytes32OfBigint(large)), large);
        assert.equal(rlpNumber(bytesOfNumber(small)), small);
      }),
    );
    assert.throws(() => bytesOfBigint(2n ** 256n), /256 bits/);
    assert.throws(() => bytesOfNumber(-1), /2\^53/);
  });

  test("builds a list from encoded parts", () => {
    const whole = rlpEncode([fromHex("01"), fromHex("ff00"), []], fromHex("02"));
    assert.deepEqual(rlpEncodeList(fromHex("0182ff00"), fromHex("c0"), fromHex("02")), whole);
  });
});

type JsonItem = string | number | readonly JsonItem[];

function itemOfJson(json: JsonItem): RlpItem {
  if (typeof json === "number") return bytesOfNumber(json);
  if (typeof json !== "string") return json.map(itemOfJson);
  return json.startsWith("#") ? hexBytes(BigInt(json.slice(1)).toString(16)) : Buffer.from(json, "latin1");
}

describe("RLP in the official suite", { skip: missing("ethereum-tests.tar.gz") }, () => {
  const tests =
    missing("ethereum-tests.tar.gz") === false
      ? officialTests<{ readonly in: JsonItem; readonly out: string }>("RLPTests")
      : [];

  test("agrees with every case", () => {
    let valid = 0;
    for (const { name, test: vector } of tests) {
      const bytes = vector.out === "" ? new Uint8Array(0) : hexBytes(vector.out);
      if (vector.in === "INVALID") {
        assert.throws(() => rlpDecode(bytes), { code: "MalformedInput" }, name);
        continue;
      }
      valid++;
      assert.equal(toHex(rlpEncode(rlpDecode(bytes))), toHex(bytes), name);
      if (vector.in !== "VALID") assert.equal(toHex(rlpEncode(itemOfJson(vector.in))), toHex(bytes), name);
    }
    assert.ok(valid > 25 && tests.length - valid > 20, `${valid} of ${tests.length} cases`);
  });
});
