import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Bytes, fromHex, toHex } from "../../core/codec/bytes.ts";
import {
  blockSize,
  decodeHeader,
  EMPTY_OMMERS_HASH,
  EMPTY_REQUESTS_HASH,
  EMPTY_WITHDRAWALS_ROOT,
  encodeHeader,
  headerHash,
  headerItem,
  receiptsRootOf,
  transactionsRootOf,
  type WithdrawalItem,
  withdrawalsRootOf,
} from "./header.ts";
import { keccak256 } from "./keccak.ts";
import { bytesOfNumber, rlpEncode } from "./rlp.ts";
import { rawOfJson } from "./test-json.ts";
import { hexBytes, type JsonBlock, mainnetBlocks, missing } from "./test-vectors.ts";
import { EMPTY_TRIE_ROOT } from "./trie.ts";
import type { BlockHeader } from "./types.ts";

const ZERO_HASH = new Uint8Array(32);

const FRONTIER: BlockHeader = {
  parentHash: ZERO_HASH,
  ommersHash: EMPTY_OMMERS_HASH,
  coinbase: new Uint8Array(20),
  stateRoot: fromHex("d7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544"),
  transactionsRoot: EMPTY_TRIE_ROOT,
  receiptsRoot: EMPTY_TRIE_ROOT,
  logsBloom: new Uint8Array(256),
  difficulty: 0x400000000n,
  number: 0,
  gasLimit: 5000,
  gasUsed: 0,
  timestamp: 0,
  extraData: fromHex("11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa"),
  mixHash: ZERO_HASH,
  nonce: fromHex("0000000000000042"),
  baseFeePerGas: undefined,
  withdrawalsRoot: undefined,
  blobGasUsed: undefined,
  excessBlobGas: undefined,
  parentBeaconBlockRoot: undefined,
  requestsHash: undefined,
};
const LONDON = { ...FRONTIER, baseFeePerGas: 7n };
const SHANGHAI = { ...LONDON, withdrawalsRoot: EMPTY_WITHDRAWALS_ROOT };
const CANCUN = { ...SHANGHAI, blobGasUsed: 0, excessBlobGas: 131072, parentBeaconBlockRoot: ZERO_HASH };
const PRAGUE = { ...CANCUN, requestsHash: EMPTY_REQUESTS_HASH };

describe("block header", () => {
  test("of the public network's first block has the known hash", () => {
    assert.equal(toHex(headerHash(FRONTIER)), "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3");
  });

  test("of every fork decodes to what was encoded", () => {
    for (const header of [FRONTIER, LONDON, SHANGHAI, CANCUN, PRAGUE])
      assert.deepEqual(decodeHeader(encodeHeader(header)), header);
  });

  test("is refused with fields missing, of another size, or too many", () => {
    const items = headerItem(PRAGUE);
    for (const count of [14, 18, 19])
      assert.throws(() => decodeHeader(rlpEncode(items.slice(0, count))), { code: "MalformedInput" });
    assert.throws(() => decodeHeader(rlpEncode([...items, ZERO_HASH])), { code: "MalformedInput" });
    for (const index of [0, 2, 6, 13, 14, 16, 20]) {
      assert.throws(
        () => decodeHeader(rlpEncode(items.with(index, new Uint8Array(7)))),
        { code: "MalformedInput" },
        `field ${index}`,
      );
    }
    assert.throws(() => decodeHeader(rlpEncode(items.with(8, Uint8Array.of(0)))), { code: "MalformedInput" });
  });

  test("is not encoded with fields of a later fork and not those of an earlier one", () => {
    assert.throws(() => encodeHeader({ ...CANCUN, withdrawalsRoot: undefined }), { code: "Internal" });
    assert.throws(() => encodeHeader({ ...CANCUN, parentBeaconBlockRoot: undefined }), { code: "Internal" });
  });

  test("has the constants of empty lists", () => {
    assert.deepEqual(EMPTY_OMMERS_HASH, keccak256(fromHex("c0")));
    assert.deepEqual(EMPTY_TRIE_ROOT, keccak256(fromHex("80")));
    assert.deepEqual(transactionsRootOf([]), EMPTY_TRIE_ROOT);
    assert.deepEqual(receiptsRootOf([]), EMPTY_TRIE_ROOT);
    assert.deepEqual(withdrawalsRootOf([]), EMPTY_WITHDRAWALS_ROOT);
  });
});

describe("block size", () => {
  test("is the length of the encoded block, with legacy transactions as lists and typed ones as byte strings", () => {
    const legacy = rlpEncode([new Uint8Array(100), bytesOfNumber(1)]);
    const typed = rlpEncode([new Uint8Array(60)], Uint8Array.of(2));
    const legacyItem = [new Uint8Array(100), bytesOfNumber(1)];
    for (const header of [LONDON, PRAGUE]) {
      const tail = header === PRAGUE ? [[]] : [];
      const block = rlpEncode([headerItem(header), [legacyItem, typed], [], ...tail]);
      assert.equal(blockSize(header, [legacy, typed]), block.length);
    }
  });
});

function optionalNumber(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

function optionalHash(text: string | undefined): Bytes | undefined {
  return text === undefined ? undefined : hexBytes(text);
}

function headerOfJson(json: JsonBlock): BlockHeader {
  const bytes = (name: string): Bytes => hexBytes(json[name] ?? "");
  return {
    parentHash: bytes("parentHash"),
    ommersHash: bytes("sha3Uncles"),
    coinbase: bytes("miner"),
    stateRoot: bytes("stateRoot"),
    transactionsRoot: bytes("transactionsRoot"),
    receiptsRoot: bytes("receiptsRoot"),
    logsBloom: bytes("logsBloom"),
    difficulty: BigInt(json["difficulty"] ?? 0),
    number: Number(json["number"]),
    gasLimit: Number(json["gasLimit"]),
    gasUsed: Number(json["gasUsed"]),
    timestamp: Number(json["timestamp"]),
    extraData: bytes("extraData"),
    mixHash: bytes("mixHash"),
    nonce: bytes("nonce"),
    baseFeePerGas: json["baseFeePerGas"] === undefined ? undefined : BigInt(json["baseFeePerGas"]),
    withdrawalsRoot: optionalHash(json["withdrawalsRoot"]),
    blobGasUsed: optionalNumber(json["blobGasUsed"]),
    excessBlobGas: optionalNumber(json["excessBlobGas"]),
    parentBeaconBlockRoot: optionalHash(json["parentBeaconBlockRoot"]),
    requestsHash: optionalHash(json["requestsHash"]),
  };
}

function withdrawalsOfJson(json: JsonBlock): WithdrawalItem[] {
  return (json.withdrawals ?? []).map(({ index, validatorIndex, address, amount }) => [
    bytesOfNumber(Number(index)),
    bytesOfNumber(Number(validatorIndex)),
    hexBytes(address ?? ""),
    bytesOfNumber(Number(amount)),
  ]);
}

describe("blocks of the public network", { skip: missing("mainnet") }, () => {
  const blocks = missing("mainnet") === false ? mainnetBlocks() : [];

  test("have the hash, roots and size given", () => {
    const fieldCounts = new Set<number>();
    for (const json of blocks) {
      const header = headerOfJson(json);
      const raws = json.transactions.map(rawOfJson);
      const withdrawals = withdrawalsOfJson(json);
      assert.equal(`0x${toHex(headerHash(header))}`, json["hash"]);
      assert.deepEqual(decodeHeader(encodeHeader(header)), header);
      assert.equal(`0x${toHex(transactionsRootOf(raws))}`, json["transactionsRoot"]);
      if (header.withdrawalsRoot !== undefined)
        assert.deepEqual(withdrawalsRootOf(withdrawals), header.withdrawalsRoot);
      if (json["sha3Uncles"] === `0x${toHex(EMPTY_OMMERS_HASH)}`)
        assert.equal(blockSize(header, raws, withdrawals), Number(json["size"]), json["number"]);
      fieldCounts.add(headerItem(header).length);
    }
    assert.deepEqual([...fieldCounts].sort(), [16, 17, 20]);
  });
});
