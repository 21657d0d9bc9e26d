import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EMPTY } from "../../core/codec/bytes.ts";
import { blobBaseFeeOf, effectiveGasPrice, nextBaseFee } from "./fees.ts";
import { floorGas, intrinsicGas } from "./gas.ts";
import { decodePrepared } from "./prepare.ts";
import { readBlock } from "./block.ts";
import { signedTransaction } from "./test-signing.ts";
import { prepareAll, TestNetwork } from "./test-state.ts";

const genesis = readBlock(new TestNetwork({ chainId: 1 }).state, 0);
assert.ok(genesis);
const { header } = genesis;

describe("fees", () => {
  test("the base fee moves by at most an eighth, as EIP-1559 has it", () => {
    const base = 1_000_000_000n;
    const after = (gasUsed: number): bigint => nextBaseFee({ ...header, gasUsed }, 5n);
    assert.equal(after(0), 875_000_000n);
    assert.equal(after(15_000_000), base);
    assert.equal(after(30_000_000), 1_125_000_000n);
    assert.equal(after(20_000_000), 1_041_666_666n);
    assert.equal(nextBaseFee({ ...header, gasUsed: 15_000_001, baseFeePerGas: 1n }, 5n), 2n);
    assert.equal(nextBaseFee({ ...header, baseFeePerGas: undefined }, 5n), 5n);
  });

  test("the blob base fee starts at one wei and grows exponentially (EIP-4844)", () => {
    assert.equal(blobBaseFeeOf("cancun", 0), 1n);
    assert.equal(blobBaseFeeOf("cancun", 2_314_057), 1n);
    assert.equal(blobBaseFeeOf("cancun", 2_314_058), 2n);
    assert.equal(blobBaseFeeOf("cancun", 10 * 1024 * 1024), 23n);
    assert.equal(blobBaseFeeOf("prague", 10 * 1024 * 1024), 8n);
  });

  test("a dynamic fee transaction pays base fee and tip up to its cap", () => {
    const [prepared] = prepareAll([signedTransaction(1, { maxFeePerGas: 100n, maxPriorityFeePerGas: 10n })]);
    assert.ok(prepared);
    const transaction = decodePrepared(prepared.body);
    assert.equal(effectiveGasPrice(transaction, 50n), 60n);
    assert.equal(effectiveGasPrice(transaction, 95n), 100n);
  });
});

describe("gas before execution", () => {
  const call = { to: new Uint8Array(20), data: EMPTY, accessList: [], authorizationList: [] };

  test("counts zero and other bytes by the rules of the fork", () => {
    const data = Uint8Array.of(0, 0, 1);
    assert.equal(intrinsicGas({ ...call, data }, "byzantium"), 21_000 + 8 + 68);
    assert.equal(intrinsicGas({ ...call, data }, "istanbul"), 21_000 + 8 + 16);
    assert.equal(floorGas({ ...call, data }, "cancun"), 0);
    assert.equal(floorGas({ ...call, data }, "prague"), 21_000 + 60);
  });

  test("counts creation, init code words, access list and authorizations", () => {
    const creation = { ...call, to: undefined, data: new Uint8Array(33) };
    assert.equal(intrinsicGas(creation, "chainstart"), 21_000 + 33 * 4);
    assert.equal(intrinsicGas(creation, "paris"), 53_000 + 33 * 4);
    assert.equal(intrinsicGas(creation, "shanghai"), 53_000 + 33 * 4 + 4);
    const accessList = [{ address: new Uint8Array(20), storageKeys: [new Uint8Array(32), new Uint8Array(32)] }];
    assert.equal(
      intrinsicGas({ ...call, accessList, authorizationList: [0] }, "prague"),
      21_000 + 2_400 + 3_800 + 25_000,
    );
  });
});
