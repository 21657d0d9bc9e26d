import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toHex, utf8Decode, utf8Encode } from "../../../core/codec/bytes.ts";
import type { ClientResponse, SubmissionOutcome } from "../../adapter.ts";
import { ALICE, NO_CALLS, OPTIONS, repeated, TestChain, TestRpc, transaction } from "./test-chain.ts";

const hex = (bytes: Uint8Array): string => `0x${toHex(bytes)}`;
const HASH = hex(repeated(0x77, 32));
const ADDRESS = hex(ALICE);

/** Two blocks without transactions. */
function makeChain(): TestChain {
  const chain = new TestChain();
  chain.addBlock();
  chain.addBlock();
  return chain;
}

describe("sending transactions", () => {
  const signed = transaction(2, 5);
  const send = (raw: Uint8Array, id: unknown = 1): object => ({
    jsonrpc: "2.0",
    id,
    method: "eth_sendRawTransaction",
    params: [hex(raw)],
  });
  const fault = (code: number, message: string): Uint8Array => utf8Encode(JSON.stringify({ code, message }));

  async function finish(chain: TestChain, payload: unknown, outcomes: readonly SubmissionOutcome[]): Promise<unknown> {
    const result = await new TestRpc().request(JSON.stringify(payload), chain.views());
    assert.equal(result.type, "submit");
    if (result.type !== "submit") return undefined;
    const response: ClientResponse = await result.finish(outcomes, chain.views());
    return JSON.parse(utf8Decode(response.body));
  }

  test("outcomes become hashes and errors", async () => {
    const chain = makeChain();
    const hash = hex(signed.hash);
    const advice = `request not completed: RequestTimeout; ask for the receipt of ${hash} before sending again`;
    const notSent = "request not completed: NoLeader; it was not executed, send it again";
    for (const [outcome, expected] of [
      [{ type: "included", result: signed.hash }, { result: hash }],
      [{ type: "waiting", result: signed.hash }, { result: hash }],
      [{ type: "duplicate", result: signed.hash }, { error: { code: -32000, message: "already known" } }],
      [
        { type: "rejected", error: fault(-32000, "nonce too low") },
        { error: { code: -32000, message: "nonce too low" } },
      ],
      [
        { type: "invalid", error: fault(-32000, "invalid sender") },
        { error: { code: -32000, message: "invalid sender" } },
      ],
      [{ type: "rejected", error: utf8Encode("nonsense") }, { error: { code: -32603, message: "internal error" } }],
      [{ type: "unavailable", code: "RequestTimeout" }, { error: { code: -32603, message: advice } }],
      [{ type: "unavailable", code: "NoLeader" }, { error: { code: -32603, message: notSent } }],
    ] as const) {
      assert.deepEqual(await finish(chain, send(signed.raw), [outcome]), { jsonrpc: "2.0", id: 1, ...expected });
    }
  });

  test("a batch is answered in its order, its other calls after the transactions are known", async () => {
    const chain = makeChain();
    const second = transaction(2, 6);
    const payload = [
      { jsonrpc: "2.0", id: 1, method: "eth_blockNumber" },
      send(signed.raw, 2),
      { jsonrpc: "2.0", id: 3, method: "eth_no" },
      { jsonrpc: "2.0", method: "eth_sendRawTransaction", params: [hex(transaction(2, 7).raw)] },
      send(second.raw, 4),
    ];
    const result = await new TestRpc().request(JSON.stringify(payload), chain.views());
    assert.ok(result.type === "submit");
    assert.deepEqual(result.transactions.map(hex), [signed.raw, transaction(2, 7).raw, second.raw].map(hex));
    chain.addBlock();
    const outcomes: SubmissionOutcome[] = [signed, signed, second].map(({ hash }) => ({
      type: "included",
      result: hash,
    }));
    const answers = JSON.parse(utf8Decode((await result.finish(outcomes, chain.views())).body)) as unknown;
    assert.deepEqual(answers, [
      { jsonrpc: "2.0", id: 1, result: "0x3" },
      { jsonrpc: "2.0", id: 2, result: hex(signed.hash) },
      { jsonrpc: "2.0", id: 3, error: { code: -32601, message: "the method eth_no does not exist/is not available" } },
      { jsonrpc: "2.0", id: 4, result: hex(second.hash) },
    ]);
  });

  test("a transaction that is committed already is refused without being submitted", async () => {
    const chain = new TestChain();
    chain.addBlock([[signed, []]]);
    const answer = await new TestRpc().call("eth_sendRawTransaction", [hex(signed.raw)], chain.views());
    assert.deepEqual(answer, { code: -32000, message: "already known" });
  });

  test("empty, oversized and replay forms are refused; a node that stopped leading says so", async () => {
    const chain = makeChain();
    const code = async (raw: string): Promise<unknown> =>
      ((await new TestRpc().call("eth_sendRawTransaction", [raw], chain.views())) as { readonly code: number }).code;
    assert.equal(await code("0x"), -32000);
    assert.equal(await code("0xff01c0"), -32000);
    assert.equal(await code(`0x${"00".repeat((1 << 20) + 1)}`), -32000);
    const payload = [
      send(signed.raw),
      { jsonrpc: "2.0", id: 2, method: "eth_getTransactionCount", params: [ADDRESS, "pending"] },
    ];
    const result = await new TestRpc().request(JSON.stringify(payload), chain.views());
    assert.ok(result.type === "submit");
    const views = chain.views(2, false);
    const answers = JSON.parse(
      utf8Decode((await result.finish([{ type: "included", result: signed.hash }], views)).body),
    ) as readonly object[];
    assert.deepEqual(answers[1], {
      jsonrpc: "2.0",
      id: 2,
      error: { code: -32603, message: "pending state is not available: this node no longer leads, ask again" },
    });
    assert.deepEqual(await new TestRpc().request(JSON.stringify(payload), views), { type: "leader" });
  });

  test("a replay network takes state and environment as transactions of their own", async () => {
    const chain = makeChain();
    const client = new TestRpc(NO_CALLS, { ...OPTIONS, replay: true });
    const account = {
      address: ADDRESS,
      balance: "0x5",
      nonce: "0x1",
      code: "0x60",
      storage: { [HASH]: `0x${"0".repeat(63)}9` },
    };
    const environment = {
      hardfork: "london",
      number: 5,
      timestamp: "0x9",
      coinbase: ADDRESS,
      gasLimit: 30_000_000,
      baseFeePerGas: "0x7",
    };
    const payload = [
      { jsonrpc: "2.0", id: 1, method: "coco_replaySetState", params: [[account]] },
      { jsonrpc: "2.0", id: 2, method: "coco_replaySetEnvironment", params: [environment] },
      { jsonrpc: "2.0", id: 3, method: "coco_replaySetEnvironment", params: [] },
    ];
    const result = await client.request(JSON.stringify(payload), chain.views());
    assert.ok(result.type === "submit");
    assert.deepEqual(
      result.transactions.map((raw) => hex(raw.subarray(0, 2))),
      ["0xff01", "0xff02", "0xff02"],
    );
    const outcomes = result.transactions.map((): SubmissionOutcome => ({ type: "duplicate", result: repeated(1, 32) }));
    const answers = JSON.parse(utf8Decode((await result.finish(outcomes, chain.views())).body)) as readonly {
      readonly result: unknown;
    }[];
    assert.deepEqual(
      answers.map((answer) => answer.result),
      [true, true, true],
    );
    for (const [method, parameter] of [
      ["coco_replaySetState", [{}]],
      ["coco_replaySetState", [{ address: ADDRESS, storage: { [HASH]: "0x1" } }]],
      ["coco_replaySetState", 5],
      ["coco_replaySetEnvironment", {}],
      ["coco_replaySetEnvironment", { ...environment, hardfork: "none" }],
    ] as const) {
      const refused = (await client.call(method, [parameter], chain.views())) as { readonly code: number };
      assert.equal(refused.code, -32602, `${method} ${JSON.stringify(parameter)}`);
    }
  });
});
