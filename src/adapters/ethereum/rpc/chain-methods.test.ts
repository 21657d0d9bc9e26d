import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { toHex } from "../../../core/codec/bytes.ts";
import type { SignedTransaction } from "../types.ts";
import {
  ALICE,
  APPROVED,
  repeated,
  TestChain,
  TestRpc,
  TOKEN,
  TOKEN_CODE,
  TRANSFERRED,
  tokenLog,
  transaction,
} from "./test-chain.ts";

const hex = (bytes: Uint8Array): string => `0x${toHex(bytes)}`;
const QUANTITY = /^0x(0|[1-9a-f][0-9a-f]*)$/;
const sized = (bytes: number): RegExp => new RegExp(`^0x[0-9a-f]{${bytes * 2}}$`);
const HASH = sized(32);
const ADDRESS = sized(20);
const DATA = /^0x([0-9a-f]{2})*$/;

type Shape = Readonly<Record<string, RegExp | "any" | "null">>;
const LOG: Shape = {
  address: ADDRESS,
  topics: "any",
  data: DATA,
  blockNumber: QUANTITY,
  transactionHash: HASH,
  transactionIndex: QUANTITY,
  blockHash: HASH,
  blockTimestamp: QUANTITY,
  logIndex: QUANTITY,
  removed: "any",
};
const BLOCK: Shape = {
  hash: HASH,
  parentHash: HASH,
  sha3Uncles: HASH,
  miner: ADDRESS,
  stateRoot: HASH,
  transactionsRoot: HASH,
  receiptsRoot: HASH,
  logsBloom: sized(256),
  difficulty: QUANTITY,
  number: QUANTITY,
  gasLimit: QUANTITY,
  gasUsed: QUANTITY,
  timestamp: QUANTITY,
  extraData: DATA,
  mixHash: HASH,
  nonce: sized(8),
  baseFeePerGas: QUANTITY,
  withdrawalsRoot: HASH,
  blobGasUsed: QUANTITY,
  excessBlobGas: QUANTITY,
  parentBeaconBlockRoot: HASH,
  requestsHash: HASH,
  size: QUANTITY,
  transactions: "any",
  uncles: "any",
  withdrawals: "any",
};
const TRANSACTION: Shape = {
  blockHash: HASH,
  blockNumber: QUANTITY,
  blockTimestamp: QUANTITY,
  transactionIndex: QUANTITY,
  from: ADDRESS,
  gas: QUANTITY,
  gasPrice: QUANTITY,
  hash: HASH,
  input: DATA,
  nonce: QUANTITY,
  to: ADDRESS,
  value: QUANTITY,
  type: QUANTITY,
  v: QUANTITY,
  r: QUANTITY,
  s: QUANTITY,
  chainId: QUANTITY,
};
const FEES: Shape = { yParity: QUANTITY, accessList: "any", maxFeePerGas: QUANTITY, maxPriorityFeePerGas: QUANTITY };
const TYPE_FIELDS: readonly Shape[] = [
  {},
  { yParity: QUANTITY, accessList: "any" },
  FEES,
  { ...FEES, maxFeePerBlobGas: QUANTITY, blobVersionedHashes: "any" },
  { ...FEES, authorizationList: "any" },
];
const RECEIPT: Shape = {
  type: QUANTITY,
  status: QUANTITY,
  cumulativeGasUsed: QUANTITY,
  gasUsed: QUANTITY,
  effectiveGasPrice: QUANTITY,
  logsBloom: sized(256),
  logs: "any",
  contractAddress: "null",
  transactionHash: HASH,
  transactionIndex: QUANTITY,
  blockHash: HASH,
  blockNumber: QUANTITY,
  from: ADDRESS,
  to: ADDRESS,
};

/** The value has exactly the fields of the shape. */
function assertShape(value: unknown, shape: Shape): void {
  assert.ok(typeof value === "object" && value !== null);
  assert.deepEqual(Object.keys(value).sort(), Object.keys(shape).sort());
  for (const [name, field] of Object.entries(value)) {
    const expected = shape[name];
    if (expected === "null") assert.equal(field, null, name);
    else if (expected instanceof RegExp) assert.match(String(field), expected, name);
  }
}

const TYPES = [0, 1, 2, 3, 4] as const;
const transactions: readonly SignedTransaction[] = TYPES.map((type) => transaction(type, type));
const creation = transaction(2, 9, { to: undefined });
const unprotected = transaction(0, 11, { chainId: undefined, v: 27n });

describe("methods that read the chain", () => {
  const chain = new TestChain();
  const client = new TestRpc();
  const call = (method: string, ...parameters: readonly unknown[]): Promise<unknown> =>
    client.call(method, parameters, chain.views());

  before(() => {
    chain.addBlock(
      transactions.map((signed, index) => [
        signed,
        index === 2 ? [] : [tokenLog([TRANSFERRED]), tokenLog([APPROVED, repeated(index, 32)])],
      ]),
    );
    chain.addBlock();
    chain.addBlock([
      [creation, []],
      [unprotected, []],
    ]);
  });

  test("the number of the newest committed block is answered, not of the pending one", async () => {
    assert.equal(await call("eth_blockNumber"), "0x3");
    assert.equal(await client.call("eth_blockNumber", [], chain.views(1)), "0x1");
  });

  test("a block has every field of its fork, by number, tag and hash alike", async () => {
    const block = await call("eth_getBlockByNumber", "0x1", false);
    assertShape(block, BLOCK);
    assert.deepEqual(block, await call("eth_getBlockByHash", chain.hash(1), false));
    assert.deepEqual(
      (block as { transactions: unknown }).transactions,
      transactions.map(({ hash }) => hex(hash)),
    );
    for (const tag of ["latest", "safe", "finalized"]) {
      assert.deepEqual(
        await call("eth_getBlockByNumber", tag, false),
        await call("eth_getBlockByNumber", "0x3", false),
      );
    }
    assert.deepEqual(
      await call("eth_getBlockByNumber", "earliest", true),
      await call("eth_getBlockByNumber", "0x0", false),
    );
  });

  test("transactions of each type have exactly the fields of their type", async () => {
    const block = (await call("eth_getBlockByNumber", "0x1", true)) as {
      transactions: readonly Record<string, unknown>[];
    };
    for (const type of TYPES) {
      const signed = transactions[type] as SignedTransaction;
      const json = block.transactions[type];
      assertShape(json, { ...TRANSACTION, ...TYPE_FIELDS[type] });
      assert.deepEqual(json, await call("eth_getTransactionByHash", hex(signed.hash)));
      assert.deepEqual(json, await call("eth_getTransactionByBlockNumberAndIndex", "0x1", `0x${type}`));
      assert.deepEqual(json, await call("eth_getTransactionByBlockHashAndIndex", chain.hash(1), `0x${type}`));
      assert.equal(await call("eth_getRawTransactionByHash", hex(signed.hash)), hex(signed.raw));
    }
    assert.equal(block.transactions[2]?.["gasPrice"], `0x${(1_000_000_002n).toString(16)}`);
    assert.deepEqual(block.transactions[1]?.["accessList"], [
      { address: hex(TOKEN), storageKeys: [hex(repeated(3, 32))] },
    ]);
    assert.deepEqual(block.transactions[4]?.["authorizationList"], [
      { chainId: "0x0", address: hex(repeated(0xb0, 20)), nonce: "0x5", yParity: "0x1", r: "0x11", s: "0x22" },
    ]);
  });

  test("a transaction without replay protection has no chain id, one that creates a contract no recipient", async () => {
    const plain = (await call("eth_getTransactionByHash", hex(unprotected.hash))) as Record<string, unknown>;
    assert.equal("chainId" in plain, false);
    assert.equal(plain["v"], "0x1b");
    const created = (await call("eth_getTransactionByHash", hex(creation.hash))) as Record<string, unknown>;
    assert.equal(created["to"], null);
    const receipt = (await call("eth_getTransactionReceipt", hex(creation.hash))) as Record<string, unknown>;
    assert.equal(receipt["to"], null);
    assert.equal(receipt["contractAddress"], hex(repeated(0xcc, 20)));
  });

  test("receipts are the same one by one and by block, and logs are numbered through the block", async () => {
    const receipts = (await call("eth_getBlockReceipts", "0x1")) as readonly {
      readonly logs: readonly { readonly logIndex: string }[];
    }[];
    for (const type of TYPES) {
      const blob = type === 3 ? { blobGasUsed: QUANTITY, blobGasPrice: QUANTITY } : {};
      assertShape(receipts[type], { ...RECEIPT, ...blob });
      const single = await new TestRpc().call(
        "eth_getTransactionReceipt",
        [hex((transactions[type] as SignedTransaction).hash)],
        chain.views(),
      );
      assert.deepEqual(single, receipts[type]);
    }
    const logs = receipts.flatMap((receipt) => receipt.logs);
    for (const log of logs) assertShape(log, LOG);
    assert.deepEqual(
      logs.map((log) => log.logIndex),
      ["0x0", "0x1", "0x2", "0x3", "0x4", "0x5", "0x6", "0x7"],
    );
    assert.deepEqual(await call("eth_getBlockReceipts", chain.hash(1)), receipts);
    assert.deepEqual(await call("eth_getBlockReceipts", { blockHash: chain.hash(2), requireCanonical: true }), []);
  });

  test("what does not exist is null", async () => {
    const unknown = hex(repeated(0xee, 32));
    for (const [method, ...parameters] of [
      ["eth_getBlockByNumber", "0x4", false],
      ["eth_getBlockByNumber", "0x7fffffffffffffff", false],
      ["eth_getBlockByHash", unknown, true],
      ["eth_getBlockReceipts", "0x4"],
      ["eth_getBlockReceipts", unknown],
      ["eth_getBlockTransactionCountByNumber", "0x4"],
      ["eth_getBlockTransactionCountByHash", unknown],
      ["eth_getUncleCountByBlockNumber", "0x4"],
      ["eth_getTransactionByHash", unknown],
      ["eth_getTransactionReceipt", unknown],
      ["eth_getTransactionByBlockNumberAndIndex", "0x1", "0x5"],
      ["eth_getTransactionByBlockNumberAndIndex", "0x1", "0xffffffffffffffff"],
      ["eth_getTransactionByBlockHashAndIndex", unknown, "0x0"],
      ["eth_getUncleByBlockNumberAndIndex", "0x1", "0x0"],
      ["eth_getUncleByBlockHashAndIndex", chain.hash(1), "0x0"],
    ] as const) {
      assert.equal(await call(method, ...parameters), null, method);
    }
    assert.equal(await call("eth_getRawTransactionByHash", unknown), "0x");
  });

  test("transactions are counted, uncles are none", async () => {
    assert.equal(await call("eth_getBlockTransactionCountByNumber", "0x1"), "0x5");
    assert.equal(await call("eth_getBlockTransactionCountByHash", chain.hash(2)), "0x0");
    assert.equal(await call("eth_getUncleCountByBlockNumber", "latest"), "0x0");
    assert.equal(await call("eth_getUncleCountByBlockHash", chain.hash(1)), "0x0");
  });

  test("an executed transaction that is not committed has no block and no receipt", async () => {
    const views = chain.views(2);
    const json = (await client.call("eth_getTransactionByHash", [hex(creation.hash)], views)) as Record<
      string,
      unknown
    >;
    assert.equal(json["blockHash"], null);
    assert.equal(json["gasPrice"], json["maxFeePerGas"]);
    assert.equal(await client.call("eth_getTransactionReceipt", [hex(creation.hash)], views), null);
    assert.equal(await client.call("eth_getTransactionByHash", [hex(creation.hash)], chain.views(2, false)), null);
  });

  test("the pending block is read from the pending state", async () => {
    const block = (await client.call("eth_getBlockByNumber", ["pending", false], chain.views(1))) as Record<
      string,
      unknown
    >;
    assert.equal(block["number"], "0x3");
    assert.equal(await client.call("eth_getBlockTransactionCountByNumber", ["pending"], chain.views(1)), "0x2");
  });
});

describe("methods that read accounts", () => {
  const chain = new TestChain();
  for (let number = 1; number <= 6; number++) {
    chain.addBlock();
    if (number % 2 === 0) chain.addVersion();
    if (number === 4) for (let count = 0; count < 7; count++) chain.addVersion();
  }
  const client = new TestRpc();
  const call = (method: string, ...parameters: readonly unknown[]): Promise<unknown> =>
    client.call(method, parameters, chain.views());

  test("balance, nonce, code and storage are read at the newest block unless another is named", async () => {
    assert.equal(await call("eth_getBalance", hex(ALICE)), `0x${(10n ** 18n + 6n).toString(16)}`);
    assert.equal(await call("eth_getTransactionCount", hex(ALICE), "latest"), "0x6");
    assert.equal(await call("eth_getCode", hex(TOKEN), null), hex(TOKEN_CODE));
    assert.equal(await call("eth_getStorageAt", hex(TOKEN), "0x0"), `0x${"2a".padStart(64, "0")}`);
    assert.equal(await call("eth_getStorageAt", hex(TOKEN), "0", "0x1"), `0x${"2a".padStart(64, "0")}`);
    assert.deepEqual(await call("eth_getStorageValues", { [hex(TOKEN)]: ["0x0", "0x01"] }), {
      [hex(TOKEN)]: [`0x${"2a".padStart(64, "0")}`, `0x${"0".repeat(64)}`],
    });
  });

  test("an unknown account is empty", async () => {
    const nobody = hex(repeated(0x99, 20));
    assert.equal(await call("eth_getBalance", nobody), "0x0");
    assert.equal(await call("eth_getTransactionCount", nobody), "0x0");
    assert.equal(await call("eth_getCode", nobody), "0x");
    assert.equal(await call("eth_getStorageAt", nobody, "0x0"), `0x${"0".repeat(64)}`);
  });

  test("state of every older block is found among versions with and without blocks", async () => {
    for (let number = 0; number <= 6; number++) {
      assert.equal(await call("eth_getTransactionCount", hex(ALICE), `0x${number}`), `0x${number}`);
      assert.equal(await call("eth_getTransactionCount", hex(ALICE), chain.hash(number)), `0x${number}`);
      assert.equal(await call("eth_getTransactionCount", hex(ALICE), { blockHash: chain.hash(number) }), `0x${number}`);
      assert.equal(await call("eth_getTransactionCount", hex(ALICE), { blockNumber: `0x${number}` }), `0x${number}`);
    }
  });

  test("state that is not kept is refused with the blocks that are", async () => {
    chain.keepFrom = chain.versions.length - 3;
    const error = (await call("eth_getBalance", hex(ALICE), "0x2")) as { code: number; message: string };
    chain.keepFrom = 0;
    assert.equal(error.code, -32000);
    assert.match(error.message, /^missing trie node .*the state of block 2 is not available, kept: blocks 5 to 6$/);
  });

  test("an unknown block is an error of its own", async () => {
    assert.deepEqual(await call("eth_getBalance", hex(ALICE), "0x7"), { code: -32000, message: "header not found" });
    assert.deepEqual(await call("eth_getBalance", hex(ALICE), hex(repeated(1, 32))), {
      code: -32000,
      message: "header for hash not found",
    });
  });

  test("pending state goes to the leader, which reads it", async () => {
    const parameters = [hex(ALICE), "pending"];
    const body = JSON.stringify([
      { jsonrpc: "2.0", id: 1, method: "eth_blockNumber", params: [] },
      { jsonrpc: "2.0", id: 2, method: "eth_getTransactionCount", params: parameters },
    ]);
    assert.deepEqual(await client.request(body, chain.views(2, false)), { type: "leader" });
    assert.equal(await client.call("eth_getTransactionCount", parameters, chain.views(2, true)), "0x6");
    assert.equal(await client.call("eth_getTransactionCount", [hex(ALICE)], chain.views(2, true)), "0x2");
  });
});
