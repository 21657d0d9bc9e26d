import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { concatBytes, fromHex, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { type CallPlace, type CallRequest, type CallResult, EthereumCalls, overriddenState } from "./calls.ts";
import { revertReason } from "./revert-reason.ts";
import { bytes32OfBigint } from "./rlp.ts";
import { addressOfKey, signedTransaction, TEST_CHAIN_ID } from "./test-signing.ts";
import { prepareAll, TEST_COMPONENTS, TestNetwork } from "./test-state.ts";

const ALICE = addressOfKey(1);
const STORES = fromHex("00000000000000000000000000000000000c0de1");
const REVERTS = fromHex("00000000000000000000000000000000000c0de2");
const NUMBER = fromHex("00000000000000000000000000000000000c0de3");
const LOOPS = fromHex("00000000000000000000000000000000000c0de4");
const PASSES_ON = fromHex("00000000000000000000000000000000000c0de5");
const HASHES = fromHex("00000000000000000000000000000000000c0de6");

/** Error("no") as return data. */
const NO = concatBytes(
  fromHex("08c379a0"),
  bytes32OfBigint(32n),
  bytes32OfBigint(2n),
  utf8Encode("no"),
  new Uint8Array(30),
);

const alloc = {
  [`0x${toHex(ALICE)}`]: { balance: (10n ** 18n).toString() },
  [`0x${toHex(STORES)}`]: { code: "0x600160005500" },
  // Copies the return data from behind the code and reverts with it.
  [`0x${toHex(REVERTS)}`]: { code: `0x6064600c60003960646000fd${toHex(NO)}` },
  [`0x${toHex(NUMBER)}`]: { code: "0x4360005260206000f3" },
  [`0x${toHex(LOOPS)}`]: { code: "0x5b600056" },
  // Calls STORES with all gas and reverts when that fails.
  [`0x${toHex(PASSES_ON)}`]: { code: `0x6000600060006000600073${toHex(STORES)}5af1602857600080fd5b00` },
  // BLOCKHASH(NUMBER - 1)
  [`0x${toHex(HASHES)}`]: { code: "0x600143034060005260206000f3" },
};

const EMPTY_MESSAGE = {
  value: 0n,
  data: new Uint8Array(0),
  gasPrice: 0n,
  accessList: [],
  warmAddresses: [],
  blobVersionedHashes: [],
};

const network = new TestNetwork({ chainId: TEST_CHAIN_ID, alloc });
const calls = new EthereumCalls(network.execution.options, network.execution.engine, TEST_COMPONENTS);

function place(): CallPlace {
  const environment = calls.environmentOf(network.state, 0);
  assert.ok(environment);
  return { view: network.state, environment };
}

async function ran(request: CallRequest, at: CallPlace = place()): Promise<CallResult> {
  const outcome = await calls.call(request, at);
  assert.equal(outcome.type, "ran");
  return (outcome as { result: CallResult }).result;
}

describe("calls", () => {
  test("see their block and the hashes of earlier ones", async () => {
    const environment = { ...place().environment, number: 1 };
    const at = { view: network.state, environment };
    assert.equal(toHex((await ran({ to: NUMBER }, at)).returnData), "01".padStart(64, "0"));
    const hash = environment.blockHash(0);
    assert.ok(hash);
    assert.equal(toHex((await ran({ to: HASHES }, at)).returnData), toHex(hash));
  });

  test("that revert give code 3, the reason and the data", async () => {
    const { fault, success, returnData } = await ran({ to: REVERTS });
    assert.equal(success, false);
    assert.deepEqual(fault, { code: 3, message: "execution reverted: no", data: `0x${toHex(NO)}` });
    assert.equal(toHex(returnData), toHex(NO));
  });

  test("leave the state as it was and may start from another one", async () => {
    const version = network.store.headVersion;
    const overrides = [{ address: addressOfKey(5), code: fromHex("4760005260206000f3"), balance: 77n }];
    assert.equal(BigInt(`0x${toHex((await ran({ to: addressOfKey(5) }, { ...place(), overrides })).returnData)}`), 77n);
    assert.equal((await ran({ to: addressOfKey(5) })).returnData.length, 0);
    assert.equal(network.store.headVersion, version);
  });

  test("without the funds they name are refused", async () => {
    const outcome = await calls.call({ from: addressOfKey(6), to: STORES, value: 1n, gas: 50_000 }, place());
    assert.equal(outcome.type, "refused");
    assert.match(
      (outcome as { fault: { message: string } }).fault.message,
      /^err: insufficient funds for gas \* price \+ value: address 0x[0-9a-f]{40} have 0 want 1 \(supplied gas 50000\)$/,
    );
  });

  test("running at the same time do not disturb each other", async () => {
    const results = await Promise.all(
      Array.from({ length: 20 }, () => Promise.all([ran({ to: NUMBER }), ran({ to: REVERTS })])),
    );
    assert.ok(results.every(([number, reverted]) => number.success && reverted.fault?.code === 3));
  });
});

describe("estimates", () => {
  test("of a transfer are exact", async () => {
    assert.deepEqual(await calls.estimateGas({ from: ALICE, to: addressOfKey(9), value: 1n }, place()), {
      type: "estimated",
      gas: 21_000,
    });
  });

  test("suffice for the transaction and are close to the least that does", async () => {
    for (const to of [STORES, PASSES_ON]) {
      const estimate = await calls.estimateGas({ from: ALICE, to }, place());
      assert.ok(estimate.type === "estimated");
      assert.equal((await ran({ to, gas: estimate.gas })).success, true);
      assert.equal((await ran({ to, gas: Math.floor(estimate.gas * 0.98) })).success, false);
    }
  });

  test("of what reverts give the reason, of what never ends the allowance", async () => {
    const reverted = await calls.estimateGas({ to: REVERTS }, place());
    assert.ok(reverted.type === "failed");
    assert.equal(reverted.fault.message, "execution reverted: no");
    const endless = await calls.estimateGas({ to: LOOPS, gas: 100_000 }, place());
    assert.deepEqual(endless, {
      type: "failed",
      fault: { code: -32000, message: "gas required exceeds allowance (100000)" },
    });
    const poor = await calls.estimateGas({ from: addressOfKey(7), to: STORES, gasPrice: 10n ** 9n }, place());
    assert.deepEqual(poor, { type: "failed", fault: { code: -32000, message: "gas required exceeds allowance (0)" } });
  });

  test("are what a transaction then uses", async () => {
    const estimate = await calls.estimateGas({ from: ALICE, to: STORES }, place());
    assert.ok(estimate.type === "estimated");
    const [outcome] = await network.run(prepareAll([signedTransaction(1, { to: STORES, gasLimit: estimate.gas })]));
    assert.equal(outcome?.type, "included");
  });
});

describe("calls, estimates and access lists that take too long", () => {
  const fault = { code: -32000, message: "execution aborted (timeout = 1s)" };

  /** Calls with a clock that moves by five milliseconds whenever it is looked at. */
  function hurriedCalls(): EthereumCalls {
    let nowMs = 0;
    const clock = { ...TEST_COMPONENTS, now: () => (nowMs += 5) };
    return new EthereumCalls(network.execution.options, network.execution.engine, clock);
  }

  test("are broken off with go-ethereum's words", async () => {
    const hurried = hurriedCalls();
    const request = { to: LOOPS };
    assert.deepEqual(await hurried.call(request, place()), { type: "refused", fault, needsGas: false });
    assert.deepEqual(await hurried.estimateGas(request, place()), { type: "failed", fault });
    assert.deepEqual(await hurried.createAccessList(request, place()), { type: "failed", fault });
    assert.deepEqual((await hurried.call({ to: NUMBER }, place())).type, "ran");
  });

  test("may have their limit in an inner call: the outer one does not go on", async () => {
    // Calls LOOPS with all but a sixty-fourth of its gas and ends well whatever became of it.
    const code = fromHex(`5f5f5f5f5f73${toHex(LOOPS)}5af15000`);
    const overrides = [{ address: addressOfKey(5), code }];
    const outcome = await hurriedCalls().call({ to: addressOfKey(5) }, { ...place(), overrides });
    assert.deepEqual(outcome, { type: "refused", fault, needsGas: false });
  });

  test("may be a single precompiled contract, while ordinary use of it is not limited", async () => {
    const blake2 = fromHex("0000000000000000000000000000000000000009");
    const input = (rounds: number) => {
      const data = new Uint8Array(213);
      new DataView(data.buffer).setUint32(0, rounds);
      return data;
    };
    const huge = await calls.call({ to: blake2, data: input(40_000_000) }, place());
    assert.deepEqual(huge, { type: "refused", fault, needsGas: false });
    const usual = await ran({ to: blake2, data: input(12) });
    assert.equal(usual.returnData.length, 64);
    const malformed = await ran({ to: blake2, data: new Uint8Array(212), gas: 2_000_000 });
    assert.equal(malformed.success, false);
    assert.equal(malformed.gasUsed, 2_000_000);
    const poor = await ran({ to: blake2, data: input(200_000), gas: 100_000 });
    assert.equal(poor.fault?.message, "out of gas");
  });

  test("have the same results and gas as a transaction when they do not take too long", async () => {
    for (const to of [STORES, REVERTS, NUMBER, PASSES_ON, HASHES]) {
      const gasLimit = 100_000;
      const request = { from: ALICE, to };
      const call = await ran({ ...request, gas: gasLimit });
      const state = overriddenState(place());
      const run = await network.execution.engine.run(
        { ...request, ...EMPTY_MESSAGE, gasLimit: gasLimit - 21_000 },
        place().environment,
        state,
      );
      assert.equal(call.success, run.success);
      assert.deepEqual(call.returnData, run.returnData);
      assert.equal(call.peakGasUsed, 21_000 + run.gasUsed);
    }
  });
});

describe("access lists", () => {
  test("name the slots and contracts a call touches beside its own", async () => {
    const outcome = await calls.createAccessList({ from: ALICE, to: PASSES_ON }, place());
    assert.ok(outcome.type === "created");
    assert.deepEqual(
      outcome.accessList.map(({ address, storageKeys }) => [toHex(address), storageKeys.map(toHex)]),
      [[toHex(STORES), ["00".repeat(32)]]],
    );
  });
});

describe("reasons of reverts", () => {
  test("are read from panics and never from malformed data", () => {
    assert.equal(
      revertReason(concatBytes(fromHex("4e487b71"), bytes32OfBigint(0x11n))),
      "arithmetic underflow or overflow",
    );
    assert.equal(revertReason(concatBytes(fromHex("4e487b71"), bytes32OfBigint(0x77n))), "unknown panic code: 0x77");
    assert.equal(revertReason(NO.subarray(0, 69)), undefined);
    assert.equal(revertReason(new Uint8Array(0)), undefined);
  });
});
