import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toHex } from "../../../core/codec/bytes.ts";
import type { AccountOverride, CallPlace, CallRequest } from "../calls.ts";
import { revertFault } from "../revert-reason.ts";
import { OVERRIDE_CODE_BYTES_MAX } from "./call-arguments.ts";
import type { Calls } from "./call-methods.ts";
import { ALICE, BOB, NO_CALLS, RAN, repeated, TestChain, TestRpc, TOKEN } from "./test-chain.ts";

const hex = (bytes: Uint8Array): string => `0x${toHex(bytes)}`;
const HASH = hex(repeated(0x77, 32));
const ADDRESS = hex(ALICE);

describe("calls", () => {
  const chain = new TestChain();
  chain.addBlock();
  chain.addBlock();

  /** Runs one method with calls that note what they are given. */
  async function run(method: string, parameters: readonly unknown[], calls: Partial<Calls> = {}) {
    const seen: { request: CallRequest; place: CallPlace }[] = [];
    const note =
      <T>(outcome: T) =>
      (request: CallRequest, place: CallPlace): Promise<T> => {
        seen.push({ request, place });
        return Promise.resolve(outcome);
      };
    const client = new TestRpc({
      ...NO_CALLS,
      call: note({ type: "ran", result: RAN }),
      estimateGas: note({ type: "estimated", gas: 21_000 }),
      createAccessList: note({
        type: "created",
        accessList: [{ address: TOKEN, storageKeys: [repeated(4, 32)] }],
        gasUsed: 9,
        error: undefined,
      }),
      ...calls,
    });
    return { answer: await client.call(method, parameters, chain.views()), seen: seen[0] };
  }

  test("results have the shape of their method", async () => {
    assert.equal((await run("eth_call", [{}])).answer, "0x0102");
    assert.equal((await run("eth_estimateGas", [{}])).answer, "0x5208");
    const list = { accessList: [{ address: hex(TOKEN), storageKeys: [hex(repeated(4, 32))] }], gasUsed: "0x9" };
    assert.deepEqual((await run("eth_createAccessList", [{}])).answer, list);
  });

  test("a call object is decoded whole, and calls run at the block that is named", async () => {
    const request = {
      from: ADDRESS,
      to: hex(TOKEN),
      gas: "0xffffffffffffffff",
      maxFeePerGas: "0x10",
      maxPriorityFeePerGas: "0x1",
      value: "0x5",
      input: "0x01",
      data: "0x01",
      nonce: "0x1",
      chainId: "0x539",
      accessList: [{ address: hex(BOB), storageKeys: [HASH] }],
      authorizationList: [{ chainId: "0x0", address: hex(BOB), nonce: "0x5", yParity: "0x1", r: "0x1", s: "0x2" }],
      unknown: 5,
    };
    const { seen } = await run("eth_call", [request, "0x1"]);
    assert.deepEqual(seen?.request, {
      from: ALICE,
      to: TOKEN,
      data: Uint8Array.of(1),
      value: 5n,
      gas: Number.MAX_SAFE_INTEGER,
      maxFeePerGas: 16n,
      maxPriorityFeePerGas: 1n,
      accessList: [{ address: BOB, storageKeys: [repeated(0x77, 32)] }],
      authorizationList: [{ chainId: 0n, address: BOB, nonce: 5n, yParity: 1, r: 1n, s: 2n }],
    });
    assert.equal(seen?.place.view.version, 1);
    assert.equal(seen?.place.environment.number, 1);
    assert.equal((await run("eth_call", [{}])).seen?.place.environment.number, 2);
  });

  test("state and block overrides reach the call", async () => {
    const overrides = {
      [hex(BOB)]: { balance: "0x7", nonce: "0x2", code: "0x60", stateDiff: { [HASH]: `0x${"0".repeat(60)}0102` } },
    };
    const { seen } = await run("eth_call", [
      {},
      "latest",
      overrides,
      { number: "0x64", time: "0x5", baseFeePerGas: "0x0" },
    ]);
    const slots = [{ slot: repeated(0x77, 32), value: Uint8Array.of(1, 2) }];
    const expected: AccountOverride = {
      address: BOB,
      balance: 7n,
      nonce: 2,
      code: Uint8Array.of(0x60),
      stateDiff: slots,
    };
    assert.deepEqual(seen?.place.overrides, [expected]);
    const { number, timestamp, baseFeePerGas, gasLimit } = seen?.place.environment ?? {};
    assert.deepEqual(
      { number, timestamp, baseFeePerGas, gasLimit },
      { number: 100, timestamp: 5, baseFeePerGas: 0n, gasLimit: 30_000_000 },
    );
  });

  test("a revert carries its data, other failures go-ethereum's words", async () => {
    const returnData = new Uint8Array([0x4e, 0x48, 0x7b, 0x71, ...repeated(0, 31), 1]);
    const call: Calls["call"] = () =>
      Promise.resolve({ type: "ran", result: { ...RAN, success: false, fault: revertFault(returnData) } });
    const reverted = { code: 3, message: "execution reverted: assert(false)", data: hex(returnData) };
    assert.deepEqual((await run("eth_call", [{}], { call })).answer, reverted);
    const fault = { code: -32000, message: "gas required exceeds allowance (1)" };
    assert.deepEqual(
      (await run("eth_estimateGas", [{}], { estimateGas: () => Promise.resolve({ type: "failed", fault }) })).answer,
      fault,
    );
    const refused: Calls["call"] = () => Promise.resolve({ type: "refused", fault, needsGas: true });
    assert.deepEqual((await run("eth_call", [{}], { call: refused })).answer, fault);
  });

  test("contradictions in a call are refused", async () => {
    const both = "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified";
    for (const [parameters, code, message] of [
      [[{ gasPrice: "0x1", maxFeePerGas: "0x1" }], -32000, both],
      [[{ gasPrice: "0x1", maxPriorityFeePerGas: "0x1" }], -32000, both],
      [
        [{ input: "0x01", data: "0x02" }],
        -32000,
        'both "data" and "input" are set and not equal. Please use "input" to pass transaction call data',
      ],
      [[{ chainId: "0x1" }], -32000, "chainId does not match node's (have=1, want=1337)"],
      [[{ blobVersionedHashes: [] }], -32000, "need at least 1 blob for a blob transaction"],
      [[{ blobVersionedHashes: [HASH] }], -32000, 'missing "to" in blob transaction'],
      [
        [{ from: ADDRESS, maxFeePerGas: "0x1", maxPriorityFeePerGas: "0x2" }],
        -32000,
        `max priority fee per gas higher than max fee per gas: address ${ADDRESS}, maxPriorityFeePerGas: 2, maxFeePerGas: 1`,
      ],
      [
        [{}, "latest", { [ADDRESS]: { state: {}, stateDiff: {} } }],
        -32000,
        `account ${ADDRESS} has both 'state' and 'stateDiff'`,
      ],
      [
        [{}, "latest", { [ADDRESS]: { movePrecompileToAddress: ADDRESS } }],
        -32602,
        "state override 'movePrecompileToAddress' is not supported",
      ],
      [
        [{}, "latest", { [ADDRESS]: { code: `0x${"5b".repeat(OVERRIDE_CODE_BYTES_MAX + 1)}` } }],
        -32602,
        `code size of state override ${OVERRIDE_CODE_BYTES_MAX + 1} exceeds limit ${OVERRIDE_CODE_BYTES_MAX}`,
      ],
      [[{}, "latest", {}, { blobBaseFee: "0x1" }], -32602, "block override 'blobBaseFee' is not supported"],
      [[{}, "0x9"], -32000, "header not found"],
    ] as const) {
      assert.deepEqual((await run("eth_call", parameters)).answer, { code, message });
    }
  });
});
