import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toHex, utf8Decode } from "../../../core/codec/bytes.ts";
import type { RpcFault } from "../types.ts";
import type { Calls } from "./call-methods.ts";
import { PAYLOAD_TIME_LIMIT_MS } from "./ethereum-rpc.ts";
import { ALICE, NO_CALLS, OPTIONS, RAN, repeated, TestChain, TestRpc, transaction } from "./test-chain.ts";

const hex = (bytes: Uint8Array): string => `0x${toHex(bytes)}`;
const HASH = hex(repeated(0x77, 32));
const ADDRESS = hex(ALICE);

function makeChain(): TestChain {
  const chain = new TestChain();
  chain.addBlock([
    [transaction(2, 0, { maxPriorityFeePerGas: 100n }), []],
    [transaction(2, 1, { maxPriorityFeePerGas: 10n }), []],
    [transaction(0, 2), []],
  ]);
  chain.addBlock();
  return chain;
}

describe("methods about network and fees", () => {
  const chain = makeChain();
  const client = new TestRpc();
  const call = (method: string, ...parameters: readonly unknown[]): Promise<unknown> =>
    client.call(method, parameters, chain.views());

  test("identity and constants", async () => {
    for (const [method, expected] of [
      ["eth_chainId", "0x539"],
      ["net_version", "1337"],
      ["net_listening", true],
      ["net_peerCount", "0x0"],
      ["eth_accounts", []],
      ["eth_syncing", false],
      ["eth_coinbase", hex(OPTIONS.coinbase)],
      ["rpc_modules", { coco: "1.0", eth: "1.0", net: "1.0", rpc: "1.0", web3: "1.0" }],
    ] as const) {
      assert.deepEqual(await call(method), expected);
    }
    assert.match(String(await call("web3_clientVersion")), /^coco-framework\//);
    assert.equal(
      await call("web3_sha3", "0x68656c6c6f"),
      "0x1c8aff950685c2ed4bc3174f3472287b56d9517b9c948127319a09a7a36deac8",
    );
    assert.equal(await call("coco_getTransactionId", HASH), "2.17");
    assert.equal(await call("coco_getTransactionId", hex(repeated(0x78, 32))), null);
  });

  test("gas price is the next base fee and a tip of one gwei; where gas is free both are zero", async () => {
    assert.equal(await call("eth_baseFee"), "0x342770c0");
    assert.equal(await call("eth_maxPriorityFeePerGas"), "0x3b9aca00");
    assert.equal(await call("eth_gasPrice"), `0x${(0x342770c0 + 1e9).toString(16)}`);
    assert.equal(await call("eth_blobBaseFee"), "0x1");
    const free = new TestRpc(NO_CALLS, { ...OPTIONS, hardfork: "berlin" });
    for (const method of ["eth_baseFee", "eth_maxPriorityFeePerGas", "eth_gasPrice"])
      assert.equal(await free.call(method, [], chain.views()), "0x0");
  });

  test("fee history weighs tips by gas, cheapest first, and ends with the next base fee", async () => {
    assert.deepEqual(await call("eth_feeHistory", "0x2", "latest", [0, 34, 67, 100]), {
      oldestBlock: "0x1",
      baseFeePerGas: ["0x3b9aca00", "0x3b9aca00", "0x342770c0"],
      gasUsedRatio: [0.005, 0],
      baseFeePerBlobGas: ["0x1", "0x1", "0x1"],
      blobGasUsedRatio: [0, 0],
      reward: [
        ["0xa", "0x64", "0x3b9aca00", "0x3b9aca00"],
        ["0x0", "0x0", "0x0", "0x0"],
      ],
    });
    const short = { oldestBlock: "0x0", baseFeePerGas: ["0x3b9aca00", "0x342770c0"], gasUsedRatio: [0] };
    assert.deepEqual(await call("eth_feeHistory", 5, "0x0"), {
      ...short,
      baseFeePerBlobGas: ["0x1", "0x1"],
      blobGasUsedRatio: [0],
    });
    assert.deepEqual(await call("eth_feeHistory", "0x0", "latest", []), {
      oldestBlock: "0x0",
      baseFeePerGas: [],
      gasUsedRatio: [],
    });
    const counted = (await call("eth_feeHistory", "1025", "pending", null)) as {
      readonly gasUsedRatio: readonly number[];
    };
    assert.equal(counted.gasUsedRatio.length, 3);
  });

  test("a fee history that cannot be is refused", async () => {
    for (const [parameters, code, message] of [
      [["0x1", "0x3", []], -32000, "request beyond head block: requested 3, head 2"],
      [["0x1", "latest", [101]], -32000, "invalid reward percentile: 101.000000"],
      [["0x1", "latest", [-1]], -32000, "invalid reward percentile: -1.000000"],
      [["0x1", "latest", [50, 10]], -32000, "invalid reward percentile: #0:50.000000 >= #1:10.000000"],
      [
        ["0x1", "latest", Array.from({ length: 101 }, (_, index) => index / 2)],
        -32000,
        "invalid reward percentile: over the query limit 100",
      ],
      [["0x1", "latest", ["1"]], -32602, "invalid argument 2: percentile 0 is not a number"],
      [["0x1"], -32602, "missing value for required argument 1"],
    ] as const) {
      assert.deepEqual(await call("eth_feeHistory", ...parameters), { code, message });
    }
  });
});

describe("faults", () => {
  const chain = makeChain();
  const client = new TestRpc();
  const call = (method: string, parameters: unknown): Promise<unknown> =>
    client.call(method, parameters, chain.views());

  test("unknown methods, and replay methods where replay is not allowed, do not exist", async () => {
    for (const method of [
      "eth_nothing",
      "__proto__",
      "constructor",
      "coco_replaySetState",
      "coco_replaySetEnvironment",
      "eth_sign",
    ]) {
      assert.deepEqual(await call(method, []), {
        code: -32601,
        message: `the method ${method} does not exist/is not available`,
      });
    }
  });

  test("parameters of a wrong type are refused in go-ethereum's words", async () => {
    const into = (problem: string, type: string, place = "Go value"): string =>
      `json: cannot unmarshal ${problem} into ${place} of type ${type}`;
    for (const [method, parameters, message] of [
      ["eth_chainId", {}, "non-array args"],
      ["eth_chainId", [1], "too many arguments, want at most 0"],
      ["eth_getBalance", [], "missing value for required argument 0"],
      ["eth_getBalance", [null], "missing value for required argument 0"],
      ["eth_getBalance", [5], `invalid argument 0: ${into("non-string", "common.Address")}`],
      ["eth_getBalance", ["a1"], `invalid argument 0: ${into("hex string without 0x prefix", "common.Address")}`],
      ["eth_getBalance", ["0x123"], `invalid argument 0: ${into("hex string of odd length", "common.Address")}`],
      ["eth_getBalance", ["0x12"], "invalid argument 0: hex string has length 2, want 40 for common.Address"],
      [
        "eth_getBalance",
        [`0x${"g".repeat(40)}`],
        `invalid argument 0: ${into("invalid hex string", "common.Address")}`,
      ],
      ["eth_getBalance", [ADDRESS, "1"], "invalid argument 1: hex string without 0x prefix"],
      ["eth_getBalance", [ADDRESS, "0x"], 'invalid argument 1: hex string "0x"'],
      ["eth_getBalance", [ADDRESS, "0x01"], "invalid argument 1: hex number with leading zero digits"],
      ["eth_getBalance", [ADDRESS, "0xg"], "invalid argument 1: invalid hex string"],
      ["eth_getBalance", [ADDRESS, ""], "invalid argument 1: empty hex string"],
      ["eth_getBalance", [ADDRESS, "newest"], "invalid argument 1: hex string without 0x prefix"],
      ["eth_getBalance", [ADDRESS, "0x8000000000000000"], "invalid argument 1: block number larger than int64"],
      ["eth_getBalance", [ADDRESS, "0x10000000000000000"], "invalid argument 1: hex number > 64 bits"],
      ["eth_getBalance", [ADDRESS, 5], `invalid argument 1: ${into("number", "string")}`],
      ["eth_getBalance", [ADDRESS, []], `invalid argument 1: ${into("array", "string")}`],
      ["eth_getBalance", [ADDRESS, {}], "invalid argument 1: invalid arguments; neither block nor hash specified"],
      [
        "eth_getBalance",
        [ADDRESS, { blockNumber: "0x1", blockHash: HASH }],
        "invalid argument 1: cannot specify both BlockHash and BlockNumber, choose one or the other",
      ],
      ["eth_getBalance", [ADDRESS, "latest", 1], "too many arguments, want at most 2"],
      ["eth_getBlockByNumber", ["0x1"], "missing value for required argument 1"],
      ["eth_getBlockByNumber", [true, true], "invalid argument 0: hex string without 0x prefix"],
      ["eth_getBlockByNumber", ["0x1", "true"], `invalid argument 1: ${into("string", "bool")}`],
      ["eth_getBlockByHash", ["0x1", true], `invalid argument 0: ${into("hex string of odd length", "common.Hash")}`],
      ["eth_getTransactionByHash", [HASH, 1], "too many arguments, want at most 1"],
      [
        "eth_getTransactionByBlockNumberAndIndex",
        ["0x1", 0],
        `invalid argument 1: ${into("non-string", "hexutil.Uint64")}`,
      ],
      [
        "eth_getStorageAt",
        [ADDRESS, `0x${"0".repeat(65)}`],
        `storage key too long (want at most 32 bytes): "0x${"0".repeat(65)}"`,
      ],
      ["eth_getStorageAt", [ADDRESS, "0xzz"], 'invalid hex in storage key: "0xzz"'],
      ["eth_getStorageValues", [{}], "empty request"],
      [
        "eth_sendRawTransaction",
        ["f86c"],
        `invalid argument 0: ${into("hex string without 0x prefix", "hexutil.Bytes")}`,
      ],
      ["eth_sendRawTransaction", [1], `invalid argument 0: ${into("non-string", "hexutil.Bytes")}`],
      ["web3_sha3", ["0x1"], `invalid argument 0: ${into("hex string of odd length", "hexutil.Bytes")}`],
      ["eth_call", ["0x"], `invalid argument 0: ${into("string", "ethapi.TransactionArgs")}`],
      [
        "eth_call",
        [{ to: 1 }],
        `invalid argument 0: ${into("non-string", "common.Address", "Go struct field TransactionArgs.to")}`,
      ],
      [
        "eth_call",
        [{ value: "0x00" }],
        `invalid argument 0: ${into("hex number with leading zero digits", "*hexutil.Big", "Go struct field TransactionArgs.value")}`,
      ],
    ] as const) {
      assert.deepEqual(
        await call(method, parameters),
        { code: -32602, message },
        `${method} ${JSON.stringify(parameters)}`,
      );
    }
  });

  test("every method refuses parameters of every wrong type without failing inside", async () => {
    const methods = Object.keys((await call("rpc_modules", [])) as object).length;
    assert.ok(methods > 0);
    const values = [
      null,
      true,
      5,
      -1.5,
      "",
      "0x",
      "0xzz",
      "latest",
      [],
      [[]],
      {},
      { blockHash: 5 },
      { address: {} },
      { to: {}, topics: 5 },
      "\ud800",
    ];
    const names = ALL_METHODS.filter(
      (name) => name !== "eth_call" && name !== "eth_estimateGas" && name !== "eth_createAccessList",
    );
    for (const method of names) {
      for (const first of values) {
        for (const parameters of [
          [first],
          [ADDRESS, first],
          [HASH, first],
          ["0x1", first, first],
          [first, first, first, first, first],
        ]) {
          const result = await client.request(
            JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: parameters }),
            chain.views(),
          );
          if (result.type !== "answer") continue;
          const { error } = JSON.parse(utf8Decode(result.response.body)) as {
            readonly error?: { readonly code: number };
          };
          assert.notEqual(error?.code, -32603, `${method} ${JSON.stringify(parameters)}`);
        }
      }
    }
    assert.deepEqual(client.log, []);
  });

  test("a whole payload that cannot be read is answered under the id null", async () => {
    const views = chain.views();
    assert.equal(
      await client.text("{", views),
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}',
    );
    assert.equal(
      await client.text("[]", views),
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"empty batch"}}',
    );
    assert.equal(await client.text('{"jsonrpc":"2.0","method":"eth_chainId"}', views), "");
    const batch = '[{"jsonrpc":"2.0","id":"a","method":"eth_chainId"},5,{"jsonrpc":"2.0","id":1.0,"method":"eth_no"}]';
    const invalid = '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request"}}';
    const unknown =
      '{"jsonrpc":"2.0","id":1.0,"error":{"code":-32601,"message":"the method eth_no does not exist/is not available"}}';
    assert.equal(
      await client.text(batch, views),
      `[{"jsonrpc":"2.0","id":"a","result":"0x539"},${invalid},${unknown}]`,
    );
  });

  test("a fault in the program is an internal error without details, which stand in the log", async () => {
    const broken = {
      ...chain.views(),
      committed: { ...chain.newest, get: () => Uint8Array.of(1), versionOf: () => 1, scan: () => [].values() },
    };
    const rpc = new TestRpc();
    assert.deepEqual(await rpc.call("eth_blockNumber", [], broken), { code: -32603, message: "internal error" });
    assert.equal(rpc.log.length, 1);
  });
});

const ALL_METHODS = [
  ..."net_version net_listening net_peerCount web3_clientVersion web3_sha3 rpc_modules".split(" "),
  ..."eth_chainId eth_coinbase eth_accounts eth_syncing".split(" "),
  ..."eth_gasPrice eth_maxPriorityFeePerGas eth_baseFee eth_blobBaseFee eth_feeHistory eth_blockNumber eth_getBlockByHash".split(
    " ",
  ),
  ..."eth_getBlockByNumber eth_getHeaderByHash eth_getHeaderByNumber eth_getBlockReceipts eth_getBlockTransactionCountByHash".split(
    " ",
  ),
  ..."eth_getBlockTransactionCountByNumber eth_getUncleCountByBlockHash eth_getUncleCountByBlockNumber eth_getBalance".split(
    " ",
  ),
  ..."eth_getUncleByBlockHashAndIndex eth_getUncleByBlockNumberAndIndex eth_getTransactionByBlockHashAndIndex eth_getCode".split(
    " ",
  ),
  ..."eth_getTransactionByBlockNumberAndIndex eth_getTransactionByHash eth_getRawTransactionByHash eth_getTransactionReceipt".split(
    " ",
  ),
  ..."eth_getTransactionCount eth_getStorageAt eth_getStorageValues eth_call eth_estimateGas eth_createAccessList eth_getLogs".split(
    " ",
  ),
  ..."eth_newFilter eth_newBlockFilter eth_newPendingTransactionFilter eth_uninstallFilter eth_getFilterChanges".split(
    " ",
  ),
  ..."eth_getFilterLogs eth_sendRawTransaction coco_getTransactionId".split(" "),
];

describe("limits of a payload", () => {
  test("a response beyond the limit is refused call by call", async () => {
    const chain = makeChain();
    const error = "x".repeat(8_000_000);
    const calls: Calls = {
      ...NO_CALLS,
      createAccessList: () => Promise.resolve({ type: "created", accessList: [], gasUsed: 1, error }),
    };
    const client = new TestRpc(calls);
    const batch = Array.from({ length: 6 }, (_, id) => ({
      jsonrpc: "2.0",
      id,
      method: "eth_createAccessList",
      params: [{}],
    }));
    const answers = JSON.parse(await client.text(JSON.stringify(batch), chain.views())) as readonly {
      readonly error?: RpcFault;
    }[];
    const tooLarge = { code: -32003, message: "response too large" };
    assert.deepEqual(
      answers.map((answer) => answer.error),
      [undefined, undefined, undefined, tooLarge, tooLarge, tooLarge],
    );
  });

  test("calls that were not started in time are refused", async () => {
    const chain = makeChain();
    const calls: Calls = {
      ...NO_CALLS,
      call: () => {
        client.nowMs += PAYLOAD_TIME_LIMIT_MS;
        return Promise.resolve({ type: "ran", result: RAN });
      },
    };
    const client = new TestRpc(calls);
    const batch = [1, 2].map((id) => ({ jsonrpc: "2.0", id, method: "eth_call", params: [{}] }));
    const answers = JSON.parse(await client.text(JSON.stringify(batch), chain.views())) as readonly {
      readonly error?: RpcFault;
    }[];
    assert.deepEqual(
      answers.map((answer) => answer.error?.code),
      [undefined, -32002],
    );
  });
});
