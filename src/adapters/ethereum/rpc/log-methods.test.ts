import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toHex } from "../../../core/codec/bytes.ts";
import type { StateReader } from "../../adapter.ts";
import { FILTER_LIFETIME_MS, MAX_FILTERS } from "./filters.ts";
import { MAX_LOG_BLOCKS, MAX_LOG_RESULTS } from "./logs.ts";
import { APPROVED, repeated, TestChain, TestRpc, TOKEN, TRANSFERRED, tokenLog, transaction } from "./test-chain.ts";

const hex = (bytes: Uint8Array): string => `0x${toHex(bytes)}`;
const topic = (byte: number): string => hex(repeated(byte, 32));

interface FoundLog {
  readonly blockNumber: string;
  readonly logIndex: string;
  readonly topics: readonly string[];
}

/** Block 1: a transfer and an approval by 7; block 2: nothing; block 3: two transfers by 8; block 4: a log without topics. */
function makeChain(): TestChain {
  const chain = new TestChain();
  chain.addBlock([
    [transaction(2, 0), [tokenLog([TRANSFERRED, repeated(7, 32)]), tokenLog([APPROVED, repeated(7, 32)])]],
  ]);
  chain.addBlock();
  chain.addBlock([
    [transaction(2, 1), [tokenLog([TRANSFERRED, repeated(8, 32)])]],
    [transaction(2, 2), [tokenLog([TRANSFERRED, repeated(8, 32), repeated(9, 32)])]],
  ]);
  chain.addBlock([[transaction(2, 3), [tokenLog([])]]]);
  return chain;
}

describe("eth_getLogs", () => {
  const chain = makeChain();
  const client = new TestRpc();
  const find = (query: unknown): Promise<unknown> => client.call("eth_getLogs", [query], chain.views());
  const places = async (query: object): Promise<readonly string[]> => {
    const logs = (await find({ fromBlock: "earliest", ...query })) as readonly FoundLog[];
    return logs.map((log) => `${Number(log.blockNumber)}.${Number(log.logIndex)}`);
  };

  test("addresses and topics select logs, positions and alternatives as specified", async () => {
    const all = ["1.0", "1.1", "3.0", "3.1", "4.0"];
    for (const [query, expected] of [
      [{}, all],
      [{ address: null, topics: null }, all],
      [{ address: hex(TOKEN) }, all],
      [{ address: [hex(repeated(1, 20)), hex(TOKEN)] }, all],
      [{ address: [] }, all],
      [{ address: hex(repeated(1, 20)) }, []],
      [{ topics: [] }, all],
      [{ topics: [null] }, ["1.0", "1.1", "3.0", "3.1"]],
      [{ topics: [[]] }, ["1.0", "1.1", "3.0", "3.1"]],
      [{ topics: [[null, topic(5)]] }, ["1.0", "1.1", "3.0", "3.1"]],
      [{ topics: [hex(TRANSFERRED)] }, ["1.0", "3.0", "3.1"]],
      [{ topics: [[hex(TRANSFERRED), hex(APPROVED)], topic(7)] }, ["1.0", "1.1"]],
      [{ topics: [null, topic(8)] }, ["3.0", "3.1"]],
      [{ topics: [null, null, null] }, ["3.1"]],
      [{ topics: [hex(APPROVED), topic(8)] }, []],
      [{ fromBlock: "0x2", toBlock: "0x3" }, ["3.0", "3.1"]],
      [{ fromBlock: "latest" }, ["4.0"]],
      [{ fromBlock: undefined }, ["4.0"]],
      [{ fromBlock: undefined, blockHash: chain.hash(1), topics: [hex(APPROVED)] }, ["1.1"]],
      [{ fromBlock: undefined, blockHash: chain.hash(2) }, []],
    ] as const) {
      assert.deepEqual(await places(query), expected, JSON.stringify(query));
    }
  });

  test("impossible ranges, unknown blocks and malformed queries are refused in go-ethereum's words", async () => {
    for (const [query, code, message] of [
      [{ fromBlock: "0x3", toBlock: "0x2" }, -32602, "invalid block range params"],
      [{ fromBlock: "0x1", toBlock: "0x5" }, -32602, "block range extends beyond current head block"],
      [{ fromBlock: "pending" }, -32602, "pending logs are not supported"],
      [{ blockHash: topic(1) }, -32000, "unknown block"],
      [
        { blockHash: topic(1), fromBlock: "0x1" },
        -32602,
        "invalid argument 0: cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other",
      ],
      [{ topics: [null, null, null, null, null] }, -32602, "invalid argument 0: exceed max topics"],
      [{ topics: [5] }, -32602, "invalid argument 0: invalid topic(s)"],
      [{ topics: [["0x01"]] }, -32602, "invalid argument 0: hex string has length 2, want 64 for common.Hash"],
      [{ topics: {} }, -32602, "invalid argument 0: invalid topic(s)"],
      [{ address: 5 }, -32602, "invalid argument 0: invalid addresses in query"],
      [{ address: [5] }, -32602, "invalid argument 0: non-string address at index 0"],
      [{ address: "0x" }, -32602, "invalid argument 0: hex string has length 0, want 40 for common.Address"],
      [{ address: Array(1001).fill(hex(TOKEN)) }, -32000, "exceed max addresses or topics per search position"],
      [{ topics: [Array(1001).fill(topic(1))] }, -32000, "exceed max addresses or topics per search position"],
      [{ fromBlock: 5 }, -32602, "invalid argument 0: hex string without 0x prefix"],
      ["0x1", -32602, "invalid argument 0: json: cannot unmarshal string into Go value of type filters.input"],
    ] as const) {
      assert.deepEqual(await find(query), { code, message }, JSON.stringify(query).slice(0, 100));
    }
  });

  test("a range beyond the limit of blocks is refused before it is read", async () => {
    const long = new TestChain();
    long.number = MAX_LOG_BLOCKS;
    long.newest.put(8, Uint8Array.of(1), Uint8Array.of(0, 0, 0, 0, 0, 0, 0x27, 0x10));
    const query = (fromBlock: string): Promise<unknown> => client.call("eth_getLogs", [{ fromBlock }], long.views());
    const error = (await query("0x0")) as { readonly code: number; readonly message: string };
    assert.equal(error.code, -32005);
    assert.match(error.message, /block range is too wide: query spans 10001 blocks, at most 10000 are allowed/);
    assert.deepEqual(await query("0x1"), []);
  });

  test("more results than allowed are refused with a range that fits, except in a single block", async () => {
    const full = new TestChain();
    const logs = Array.from({ length: MAX_LOG_RESULTS + 1 }, () => tokenLog([]));
    full.addBlock([[transaction(2, 0), logs.slice(0, 2)]]);
    full.addBlock([[transaction(2, 1), logs]]);
    const error = (await client.call("eth_getLogs", [{ fromBlock: "0x1" }], full.views())) as {
      readonly code: number;
      readonly message: string;
    };
    assert.equal(error.code, -32005);
    assert.match(error.message, /query returned more than 10000 results. Try with this block range \[0x1, 0x1\]\./);
    const single = await client.call("eth_getLogs", [{ fromBlock: "0x2" }], full.views());
    assert.equal((single as readonly unknown[]).length, MAX_LOG_RESULTS + 1);
  });

  test("blocks whose bloom filter excludes a match are not read", async () => {
    const views = chain.views();
    let scanned = 0;
    const counting: StateReader = {
      version: views.committed.version,
      get: (table, key) => views.committed.get(table, key),
      versionOf: (table, key) => views.committed.versionOf(table, key),
      scan: (table, ...range) => {
        if (table === 7) scanned++;
        return views.committed.scan(table, ...range);
      },
    };
    await client.call("eth_getLogs", [{ fromBlock: "0x0", topics: [hex(APPROVED)] }], {
      ...views,
      committed: counting,
    });
    assert.equal(scanned, 1);
  });
});

describe("filters", () => {
  const install = async (
    client: TestRpc,
    chain: TestChain,
    method: string,
    ...parameters: readonly unknown[]
  ): Promise<string> => {
    const id = await client.call(method, parameters, chain.views());
    assert.match(String(id), /^0x(0|[1-9a-f][0-9a-f]*)$/);
    return String(id);
  };
  const changes = (client: TestRpc, chain: TestChain, id: string): Promise<unknown> =>
    client.call("eth_getFilterChanges", [id], chain.views());
  const NOT_FOUND = { code: -32000, message: "filter not found" };

  test("a block filter reports each new committed block once", async () => {
    const [chain, client] = [makeChain(), new TestRpc()];
    const id = await install(client, chain, "eth_newBlockFilter");
    assert.deepEqual(await changes(client, chain, id), []);
    chain.addBlock();
    chain.addBlock();
    assert.deepEqual(await client.call("eth_getFilterChanges", [id], chain.views(5)), [chain.hash(5)]);
    assert.deepEqual(await changes(client, chain, id), [chain.hash(6)]);
    assert.deepEqual(await changes(client, chain, id), []);
  });

  test("a transaction filter reports the hashes of committed transactions", async () => {
    const [chain, client] = [makeChain(), new TestRpc()];
    const id = await install(client, chain, "eth_newPendingTransactionFilter");
    const signed = transaction(2, 50);
    chain.addBlock([[signed, []]]);
    assert.deepEqual(await changes(client, chain, id), [hex(signed.hash)]);
    assert.deepEqual(await changes(client, chain, id), []);
  });

  test("a log filter reports new logs of its range and finds old ones when asked for all", async () => {
    const [chain, client] = [makeChain(), new TestRpc()];
    const id = await install(client, chain, "eth_newFilter", { fromBlock: "0x1", topics: [hex(TRANSFERRED)] });
    const bounded = await install(client, chain, "eth_newFilter", { fromBlock: "0x6", toBlock: "0x6" });
    for (let nonce = 60; nonce < 63; nonce++) chain.addBlock([[transaction(2, nonce), [tokenLog([TRANSFERRED])]]]);
    const numbers = async (filter: string): Promise<readonly string[]> =>
      ((await changes(client, chain, filter)) as readonly FoundLog[]).map((log) => log.blockNumber);
    assert.deepEqual(await numbers(id), ["0x5", "0x6", "0x7"]);
    assert.deepEqual(await numbers(id), []);
    assert.deepEqual(await numbers(bounded), ["0x6"]);
    const all = (await client.call("eth_getFilterLogs", [id], chain.views())) as readonly FoundLog[];
    assert.deepEqual(
      all.map((log) => log.blockNumber),
      ["0x1", "0x3", "0x3", "0x5", "0x6", "0x7"],
    );
  });

  test("what does not fit into one answer comes with the next", async () => {
    const [chain, client] = [makeChain(), new TestRpc()];
    const id = await install(client, chain, "eth_newFilter", {});
    const logs = Array.from({ length: MAX_LOG_RESULTS }, () => tokenLog([]));
    chain.addBlock([[transaction(2, 70), logs]]);
    chain.addBlock([[transaction(2, 71), logs.slice(0, 3)]]);
    assert.equal(((await changes(client, chain, id)) as readonly unknown[]).length, MAX_LOG_RESULTS);
    assert.equal(((await changes(client, chain, id)) as readonly unknown[]).length, 3);
  });

  test("a filter is gone once uninstalled, and after five minutes without a poll", async () => {
    const [chain, client] = [makeChain(), new TestRpc()];
    const [first, second] = [
      await install(client, chain, "eth_newBlockFilter"),
      await install(client, chain, "eth_newBlockFilter"),
    ];
    assert.notEqual(first, second);
    assert.equal(await client.call("eth_uninstallFilter", [first], chain.views()), true);
    assert.equal(await client.call("eth_uninstallFilter", [first], chain.views()), false);
    assert.deepEqual(await changes(client, chain, first), NOT_FOUND);
    client.nowMs = FILTER_LIFETIME_MS - 1;
    assert.deepEqual(await changes(client, chain, second), []);
    client.nowMs += FILTER_LIFETIME_MS;
    assert.deepEqual(await changes(client, chain, second), NOT_FOUND);
  });

  test("filters are limited, and room comes back when old ones expire", async () => {
    const [chain, client] = [makeChain(), new TestRpc()];
    // Ids of 16 equal bytes repeat after 256 filters; unequal ones are what this test needs.
    let random = 0;
    const rpc = new TestRpc();
    rpc.randomBytes = (length) => {
      const bytes = repeated(0, length);
      new DataView(bytes.buffer).setUint32(0, ++random);
      return bytes;
    };
    for (let count = 0; count < MAX_FILTERS; count++) await install(rpc, chain, "eth_newBlockFilter");
    const error = (await rpc.call("eth_newBlockFilter", [], chain.views())) as { readonly code: number };
    assert.equal(error.code, -32005);
    rpc.nowMs = FILTER_LIFETIME_MS;
    rpc.rpc.committed(chain.newest);
    await install(rpc, chain, "eth_newBlockFilter");
    assert.deepEqual(await changes(client, chain, "0x1"), NOT_FOUND);
  });

  test("filters that cannot be served are refused", async () => {
    const [chain, client] = [makeChain(), new TestRpc()];
    const refusal = async (method: string, ...parameters: readonly unknown[]): Promise<unknown> =>
      ((await client.call(method, parameters, chain.views())) as { readonly code: number }).code;
    assert.equal(await refusal("eth_newFilter", { fromBlock: "0x3", toBlock: "0x2" }), -32602);
    assert.equal(await refusal("eth_newFilter", { blockHash: chain.hash(1) }), -32602);
    assert.equal(await refusal("eth_newPendingTransactionFilter", true), -32602);
    assert.equal(await refusal("eth_getFilterChanges", 5), -32602);
    assert.deepEqual(
      await client.call("eth_getFilterLogs", [await install(client, chain, "eth_newBlockFilter")], chain.views()),
      NOT_FOUND,
    );
  });
});
