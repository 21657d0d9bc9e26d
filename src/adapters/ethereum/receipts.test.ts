import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Bytes, concatBytes, EMPTY, fromHex, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { EMPTY_OMMERS_HASH } from "./header.ts";
import { keccak256 } from "./keccak.ts";
import { BLOOM_BYTES, bloomContains, encodeReceipt, logsBloom, mergeBlooms } from "./receipts.ts";
import {
  decodeAccount,
  decodeBlockRecord,
  decodeTransactionRecord,
  encodeAccount,
  encodeBlockRecord,
  encodeTransactionRecord,
} from "./records.ts";
import { RLP_DEPTH_MAX, type RlpItem, rlpDecode, rlpEncode } from "./rlp.ts";
import { EMPTY_TRIE_ROOT } from "./trie.ts";
import type { BlockRecord, Log, Receipt, TransactionRecord } from "./types.ts";

const ADDRESS = fromHex("22341ae42d6dd7384bc8584e50419ea3ac75b83f");
const TOPIC = fromHex("04491edcd115127caedbd478e2e7895ed80c7847e903431f94f9cfa579cad47f");
const LOG: Log = { address: ADDRESS, topics: [TOPIC], data: fromHex("c0ffee") };

const RECEIPT: Receipt = {
  type: 2,
  success: true,
  cumulativeGasUsed: 63_000,
  gasUsed: 42_000,
  logsBloom: logsBloom([LOG]),
  logs: [LOG],
  contractAddress: undefined,
  effectiveGasPrice: 10n ** 10n,
  blobGasUsed: undefined,
  blobGasPrice: undefined,
};

function bitsSet(bloom: Bytes): number {
  return bloom.reduce((count, byte) => count + byte.toString(2).replaceAll("0", "").length, 0);
}

describe("log filter", () => {
  test("has the bits go-ethereum's test vector has", () => {
    // go-ethereum, core/types/bloom9_test.go, TestBloomExtensively: the filter of 100 texts
    const logs = Array.from({ length: 100 }, (_, index) => ({
      address: utf8Encode(`xxxxxxxxxx data ${index} yyyyyyyyyyyyyy`),
      topics: [],
      data: EMPTY,
    }));
    assert.equal(toHex(keccak256(logsBloom(logs))), "c8d3ca65cdb4874300a9e39475508f23ed6da09fdbc487f89a2dcf50b09eb263");
  });

  test("contains what was added, and says no to what set none of its bits", () => {
    assert.ok(bloomContains(RECEIPT.logsBloom, ADDRESS));
    assert.ok(bloomContains(RECEIPT.logsBloom, TOPIC));
    assert.ok(!bloomContains(RECEIPT.logsBloom, new Uint8Array(32)));
    assert.ok(!bloomContains(logsBloom([]), ADDRESS));
    assert.ok(bitsSet(RECEIPT.logsBloom) <= 6 && bitsSet(RECEIPT.logsBloom) >= 4);
  });

  test("of a block is the union of those of its receipts", () => {
    const other: Log = { address: new Uint8Array(20).fill(9), topics: [], data: EMPTY };
    assert.deepEqual(mergeBlooms([RECEIPT.logsBloom, logsBloom([other])]), logsBloom([LOG, other]));
    assert.deepEqual(mergeBlooms([]), new Uint8Array(BLOOM_BYTES));
  });
});

describe("receipt", () => {
  test("has the encoding of consensus: a type byte unless legacy, status, gas, filter, logs", () => {
    const item: RlpItem = [fromHex("01"), fromHex("f618"), RECEIPT.logsBloom, [[ADDRESS, [TOPIC], fromHex("c0ffee")]]];
    assert.deepEqual(encodeReceipt(RECEIPT), concatBytes(fromHex("02"), rlpEncode(item)));
    assert.deepEqual(encodeReceipt({ ...RECEIPT, type: 0 }), rlpEncode(item));
    const failed = rlpDecode(encodeReceipt({ ...RECEIPT, type: 0, success: false })) as RlpItem[];
    assert.equal((failed[0] as Bytes).length, 0);
  });
});

const ACCOUNTS = [
  { nonce: 0, balance: 0n, codeHash: undefined },
  { nonce: Number.MAX_SAFE_INTEGER, balance: 2n ** 256n - 1n, codeHash: TOPIC },
];

const TRANSACTIONS: TransactionRecord[] = [
  { raw: fromHex("02c0"), from: ADDRESS, receipt: RECEIPT },
  {
    raw: new Uint8Array(1000),
    from: ADDRESS,
    receipt: { ...RECEIPT, type: 0, success: false, logs: [], logsBloom: logsBloom([]), contractAddress: ADDRESS },
  },
  { raw: fromHex("03c0"), from: ADDRESS, receipt: { ...RECEIPT, type: 3, blobGasUsed: 131_072, blobGasPrice: 1n } },
];

const BLOCK: BlockRecord = {
  header: {
    parentHash: TOPIC,
    ommersHash: EMPTY_OMMERS_HASH,
    coinbase: ADDRESS,
    stateRoot: TOPIC,
    transactionsRoot: EMPTY_TRIE_ROOT,
    receiptsRoot: EMPTY_TRIE_ROOT,
    logsBloom: new Uint8Array(BLOOM_BYTES),
    difficulty: 0n,
    number: 9,
    gasLimit: 30_000_000,
    gasUsed: 21_000,
    timestamp: 1_700_000_000,
    extraData: EMPTY,
    mixHash: TOPIC,
    nonce: new Uint8Array(8),
    baseFeePerGas: 1n,
    withdrawalsRoot: EMPTY_TRIE_ROOT,
    blobGasUsed: undefined,
    excessBlobGas: undefined,
    parentBeaconBlockRoot: undefined,
    requestsHash: undefined,
  },
  hash: TOPIC,
  size: 612,
  transactionHashes: [TOPIC, EMPTY_OMMERS_HASH],
};

/** Every record that differs from `record` in one item of its list, made wrong. */
function refusesEveryWrongItem(record: Bytes, decode: (record: Bytes) => unknown): void {
  const items = rlpDecode(record) as RlpItem[];
  assert.throws(() => decode(rlpEncode(items.slice(1))), { code: "MalformedInput" });
  assert.throws(() => decode(rlpEncode([...items, EMPTY])), { code: "MalformedInput" });
  for (const [index, item] of items.entries()) {
    const wrong: RlpItem = Array.isArray(item) ? EMPTY : [item];
    assert.throws(() => decode(rlpEncode(items.with(index, wrong))), { code: "MalformedInput" }, `item ${index}`);
  }
}

describe("records", () => {
  test("of accounts read back the same and are strict", () => {
    for (const account of ACCOUNTS) assert.deepEqual(decodeAccount(encodeAccount(account)), account);
    refusesEveryWrongItem(encodeAccount(ACCOUNTS[1] as (typeof ACCOUNTS)[0]), decodeAccount);
    assert.throws(() => decodeAccount(rlpEncode([EMPTY, EMPTY, new Uint8Array(31)])), { code: "MalformedInput" });
  });

  test("of transactions read back the same, log filter included, and are strict", () => {
    for (const record of TRANSACTIONS) {
      assert.deepEqual(decodeTransactionRecord(encodeTransactionRecord(record)), record);
      refusesEveryWrongItem(encodeTransactionRecord(record), decodeTransactionRecord);
    }
  });

  test("of transactions refuse an unknown type, a status above 1 and half of the blob fields", () => {
    const [raw, from, receipt] = rlpDecode(encodeTransactionRecord(TRANSACTIONS[2] as TransactionRecord)) as [
      Bytes,
      Bytes,
      RlpItem[],
    ];
    const wrongs = [
      receipt.with(0, Uint8Array.of(5)),
      receipt.with(1, Uint8Array.of(2)),
      receipt.slice(0, 8),
      receipt.with(5, new Uint8Array(19)),
    ];
    for (const wrong of wrongs)
      assert.throws(() => decodeTransactionRecord(rlpEncode([raw, from, wrong])), { code: "MalformedInput" });
  });

  test("of blocks read back the same and are strict", () => {
    assert.deepEqual(decodeBlockRecord(encodeBlockRecord(BLOCK)), BLOCK);
    assert.deepEqual(decodeBlockRecord(encodeBlockRecord({ ...BLOCK, transactionHashes: [] })).transactionHashes, []);
    refusesEveryWrongItem(encodeBlockRecord(BLOCK), decodeBlockRecord);
    const items = rlpDecode(encodeBlockRecord(BLOCK)) as RlpItem[];
    assert.throws(() => decodeBlockRecord(rlpEncode(items.with(3, new Uint8Array(33)))), { code: "MalformedInput" });
  });

  test("are bounded in depth", () => {
    let deep: RlpItem = [];
    for (let level = 2; level < RLP_DEPTH_MAX; level++) deep = [deep];
    assert.throws(() => decodeAccount(rlpEncode([deep, EMPTY, EMPTY])), { code: "MalformedInput" });
  });
});
