/** How long calls that leave nothing behind may hold an adapter's worker, which executes batches too. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CALL_TIME_LIMIT_MS } from "../../src/adapters/ethereum/call-gate.ts";
import { type CallPlace, EthereumCalls } from "../../src/adapters/ethereum/calls.ts";
import { addressOfKey, signedTransaction, TEST_CHAIN_ID } from "../../src/adapters/ethereum/test-signing.ts";
import { prepareAll, TestNetwork } from "../../src/adapters/ethereum/test-state.ts";
import { fromHex, toHex } from "../../src/core/codec/bytes.ts";
import { CALL_TURN_MS } from "../../src/adapters/ethereum/pace.ts";

const BOMBS = [
  // An endless loop.
  "5b5f56",
  // Calls of itself as deep as they go.
  "5b5f5f5f5f5f305af1505f56",
  // Long stretches of cheap instructions.
  `5b${"5f50".repeat(500)}5f56`,
  // Copies of large data, and hashes of it.
  "5b620186a05f5f375f56",
  "5b620186a05f20505f56",
  // Contracts made without end.
  "5b5f5f5ff0505f56",
];
const BOMB = addressOfKey(5);
const STORES = addressOfKey(6);
const TIMEOUT = { code: -32000, message: "execution aborted (timeout = 1s)" };

describe("gas bombs", () => {
  test("let batches run between them, are broken off and leave the worker able to answer", async () => {
    const network = new TestNetwork({
      chainId: TEST_CHAIN_ID,
      alloc: {
        [`0x${toHex(addressOfKey(1))}`]: { balance: (10n ** 18n).toString() },
        [`0x${toHex(STORES)}`]: { code: "0x600160005500" },
      },
    });
    // A clock that moves when it is looked at: how often a call looks decides everything, not how fast the machine is.
    let nowMs = 0;
    let turns = 0;
    const calls = new EthereumCalls(network.execution.options, network.execution.engine, {
      now: () => (nowMs += 5),
      nextTurn: () => {
        turns++;
        return new Promise((resolve) => setImmediate(resolve));
      },
    });
    const place = (code?: string): CallPlace => {
      const environment = calls.environmentOf(network.state, 0);
      assert.ok(environment);
      const overrides = code === undefined ? [] : [{ address: BOMB, code: fromHex(code) }];
      return { view: network.state, environment, overrides };
    };
    await calls.call({ to: STORES }, place());

    let nonce = 0;
    for (const codes of [BOMBS.slice(0, 3), BOMBS.slice(3)]) {
      let ended = 0;
      const startTurns = turns;
      const bombs = codes.map((code) => calls.call({ to: BOMB }, place(code)).finally(() => ended++));
      for (const _batch of codes) {
        await new Promise((resolve) => setImmediate(resolve));
        const before = turns;
        const raw = signedTransaction(1, { to: STORES, nonce: nonce++, gasLimit: 100_000 });
        const [outcome] = await network.run(prepareAll([raw]));
        assert.equal(outcome?.type, "included");
        assert.ok(turns - before <= 1, `the batch had to wait for ${turns - before} turns of calls`);
        assert.ok(ended < bombs.length, "the bombs were over before the batch");
      }
      for (const outcome of await Promise.all(bombs)) {
        assert.deepEqual(outcome, { type: "refused", fault: TIMEOUT, needsGas: false });
      }
      const leastTurns = (bombs.length * CALL_TIME_LIMIT_MS) / (2 * CALL_TURN_MS);
      assert.ok(turns - startTurns >= leastTurns, `only ${turns - startTurns} turns were left to others`);
    }
    const ordinary = await calls.call({ to: STORES }, place());
    assert.ok(ordinary.type === "ran" && ordinary.result.success);
  });
});
