/**
 * Bad input to a running network: the standard code and message, nothing recorded, and the node goes on.
 */
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import assert from "node:assert/strict";
import { concat, type Hex, parseTransaction, serializeTransaction, toRlp, type TransactionSerializable } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import type { RpcClient, RpcFault } from "./lib/json-rpc.ts";
import { present, until } from "./lib/processes.ts";
import { type Sandbox, startSandbox } from "./lib/sandbox.ts";

const SINK = "0x00000000000000000000000000000000c0c0c0c0";
const GWEI = 10n ** 9n;

let sandbox: Sandbox;
let node: RpcClient;
let gateway: RpcClient;
let blockBefore: Hex;

before(async () => {
  sandbox = await startSandbox();
  node = await sandbox.member(1);
  gateway = sandbox.gateway(1);
  const hash = await node.call("eth_sendRawTransaction", await signed({ nonce: 0 }));
  await until("it is committed", async () => (await node.call("eth_getTransactionReceipt", hash)) ?? undefined);
});
after(() => sandbox?.stop());
beforeEach(async () => {
  blockBefore = await node.call("eth_blockNumber");
});
afterEach(async () => {
  assert.equal(await node.call("eth_blockNumber"), blockBefore, "nothing was recorded");
  assert.equal(await gateway.call("eth_chainId"), "0x7a69", "the node goes on");
});

const account = (at = 0) => privateKeyToAccount(present(sandbox.endpoints.accounts[at]).privateKey);
const base = {
  ...{ to: SINK, value: 1n, nonce: 1, gas: 21_000n, chainId: 31337, type: "eip1559" },
  ...{ maxFeePerGas: 10n * GWEI, maxPriorityFeePerGas: 1n },
} as const;
const signed = (changes: object): Promise<Hex> =>
  account().signTransaction({ ...base, ...changes } as TransactionSerializable);

/** Sends a raw transaction to the node and through the gateway, which must agree; returns the fault. */
async function refusal(raw: string): Promise<RpcFault> {
  const { error } = await node.ask("eth_sendRawTransaction", raw);
  assert.deepEqual((await gateway.ask("eth_sendRawTransaction", raw)).error, error);
  return present(error, "a refusal");
}

describe("transactions that may not run", () => {
  test("another chain's", async () => {
    assert.deepEqual(await refusal(await signed({ chainId: 1 })), {
      code: -32000,
      message: "invalid sender: invalid chain id for signer: have 1 want 31337",
    });
  });

  test("a nonce that was used", async () => {
    assert.deepEqual(await refusal(await signed({ nonce: 0, value: 2n })), {
      code: -32000,
      message: "nonce too low: next nonce 1, tx nonce 0",
    });
  });

  test("the same transaction again", async () => {
    assert.deepEqual(await refusal(await signed({ nonce: 0 })), { code: -32000, message: "already known" });
  });

  test("less gas than it takes to begin", async () => {
    assert.deepEqual(await refusal(await signed({ gas: 20_999n })), {
      code: -32000,
      message: "intrinsic gas too low: gas 20999, minimum needed 21000",
    });
  });

  test("more than the sender has", async () => {
    const poor = privateKeyToAccount(generatePrivateKey());
    const raw = await poor.signTransaction({ ...base, nonce: 0 } as TransactionSerializable);
    const cost = 21_000n * 10n * GWEI + 1n;
    assert.deepEqual(await refusal(raw), {
      code: -32000,
      message: `insufficient funds for gas * price + value: balance 0, tx cost ${cost}, overshot ${cost}`,
    });
  });

  test("more gas than a block has", async () => {
    const { code, message } = await refusal(await signed({ gas: 50_000_000n }));
    assert.equal(code, -32000);
    assert.match(
      message,
      /^(?:exceeds block gas limit|transaction gas limit too high \(cap: 16777216, tx: 50000000\))$/,
    );
  });

  test("a tip above the fee cap", async () => {
    assert.equal(
      (await refusal(await rawWithTipAboveCap())).message,
      "max priority fee per gas higher than max fee per gas",
    );
  });

  test("blobs, as no data layer keeps them", async () => {
    const raw = await account().signTransaction({
      ...{ to: SINK, nonce: 1, gas: 21_000n, chainId: 31337, type: "eip4844" },
      ...{ maxFeePerGas: 10n * GWEI, maxPriorityFeePerGas: 1n, maxFeePerBlobGas: GWEI },
      blobVersionedHashes: [`0x01${"00".repeat(31)}`],
    });
    const { code, message } = await refusal(raw);
    assert.equal(code, -32000);
    assert.match(message, /^transaction type not supported/);
  });
});

/** viem refuses to sign this: the fields are those of another transaction, so that the signature names another sender. */
async function rawWithTipAboveCap(): Promise<Hex> {
  const { r, s, yParity } = parseTransaction(await signed({}));
  const fields: readonly Hex[] = ["0x7a69", "0x01", "0x05", "0x04", "0x5208", SINK, "0x01", "0x"];
  return concat(["0x02", toRlp([...fields, [], yParity === 0 ? "0x" : "0x01", present(r), present(s)])]);
}

describe("bytes that are no transaction", () => {
  const cases: readonly (readonly [name: string, raw: string, code: number, message: RegExp])[] = [
    ["nothing", "0x", -32000, /^typed transaction too short$/],
    ["hex without 0x", "1234", -32602, /^invalid argument 0: .*hex string without 0x prefix/],
    ["hex of odd length", "0x123", -32602, /^invalid argument 0: .*hex string of odd length/],
    ["what is no hex", "0xzz", -32602, /^invalid argument 0: .*invalid hex string/],
    ["a type nobody knows", "0x7f01", -32000, /^transaction type not supported$/],
    ["RLP cut short", "0xf8", -32000, /^rlp: /],
    ["an RLP list with too few fields", "0xc20102", -32000, /^rlp: /],
    ["a typed transaction that is a string", "0x0283010203", -32000, /^rlp: /],
  ];
  for (const [name, raw, code, message] of cases) {
    test(name, async () => {
      const fault = await refusal(raw);
      assert.equal(fault.code, code, fault.message);
      assert.match(fault.message, message);
    });
  }

  test("a signature with s in the upper half", async () => {
    const { r, s, yParity, ...fields } = parseTransaction(await signed({}));
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const upper = `0x${(order - BigInt(present(s))).toString(16)}` as const;
    const raw = serializeTransaction(fields, { r: present(r), s: upper, yParity: yParity === 0 ? 1 : 0 });
    assert.deepEqual(await refusal(raw), { code: -32000, message: "invalid sender" });
  });

  test("a signature of zeros", async () => {
    const { r: _r, s: _s, yParity: _parity, ...fields } = parseTransaction(await signed({}));
    const zero = `0x${"00".repeat(32)}` as const;
    const raw = serializeTransaction(fields, { r: zero, s: zero, yParity: 0 });
    assert.equal((await refusal(raw)).code, -32000);
  });
});

describe("requests that are none", () => {
  const post = async (body: string): Promise<readonly [number, unknown]> => {
    const answer = await node.http({ body });
    const through = await gateway.http({ body });
    assert.deepEqual([through.status, JSON.parse(through.body)], [answer.status, JSON.parse(answer.body)]);
    return [answer.status, JSON.parse(answer.body)];
  };
  const fault = (code: number, message: string, id: unknown = null): unknown => ({
    ...{ jsonrpc: "2.0", id },
    error: { code, message },
  });

  test("malformed JSON", async () => {
    assert.deepEqual(await post('{"jsonrpc":"2.0",'), [200, fault(-32700, "parse error")]);
  });

  test("JSON nested too deep", async () => {
    const [status, answer] = await post(
      `{"jsonrpc":"2.0","id":1,"method":"eth_call","params":${"[".repeat(5000)}${"]".repeat(5000)}}`,
    );
    assert.equal(status, 200);
    assert.equal((answer as { error: RpcFault }).error.code, -32700);
  });

  test("a request without a method, and one that is no object", async () => {
    assert.deepEqual(await post('{"jsonrpc":"2.0","id":7}'), [200, fault(-32600, "invalid request", 7)]);
    assert.deepEqual(await post("17"), [200, fault(-32600, "invalid request")]);
  });

  test("an unknown method", async () => {
    for (const method of ["eth_mine", "eth_", "coco_replaySetState"]) {
      const { error } = await node.ask(method);
      assert.deepEqual(error, { code: -32601, message: `the method ${method} does not exist/is not available` });
    }
  });

  test("parameters that are missing, superfluous or wrong", async () => {
    const faults = await Promise.all([
      node.ask("eth_getBalance"),
      node.ask("eth_getBalance", "0x12", "latest"),
      node.ask("eth_chainId", 1),
      node.ask("eth_getBlockByNumber", "0x01", false),
    ]);
    assert.deepEqual(
      faults.map(({ error }) => error?.code),
      Array(4).fill(-32602),
    );
    assert.equal(faults[0]?.error?.message, "missing value for required argument 0");
  });

  test("an empty batch and one over the limit", async () => {
    assert.deepEqual(await post("[]"), [200, fault(-32600, "empty batch")]);
    const call = '{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}';
    const [status, answer] = await post(`[${Array(1001).fill(call).join(",")}]`);
    assert.equal(status, 200);
    assert.deepEqual(answer, [fault(-32600, "batch too large", 1)]);
    const [, answers] = await post(`[${Array(1000).fill(call).join(",")}]`);
    assert.equal((answers as unknown[]).length, 1000);
  });

  test("a body over the limit is refused with 413, announced or not", async () => {
    const body = Buffer.alloc(5 * 1024 * 1024 + 1, " ");
    for (const client of [node, gateway]) {
      assert.equal((await client.http({ body })).status, 413);
      const chunked = await client.http({ body, headers: { "transfer-encoding": "chunked" } });
      assert.equal(chunked.status, 413);
    }
  });
});
