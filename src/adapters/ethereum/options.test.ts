import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toHex } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { parseEthereumOptions } from "./options.ts";

describe("options of the genesis constitution", () => {
  test("have the documented defaults", () => {
    const options = parseEthereumOptions({ chainId: 7 });
    assert.deepEqual(
      { ...options, coinbase: toHex(options.coinbase) },
      {
        chainId: 7,
        hardfork: "osaka",
        blockGasLimit: 30_000_000,
        initialBaseFee: 1_000_000_000n,
        coinbase: "00".repeat(20),
        timestamp: 0,
        alloc: [],
        replay: false,
      },
    );
  });

  test("read accounts with balance, nonce, code and storage", () => {
    const address = `0x${"ab".repeat(20)}`;
    const { alloc } = parseEthereumOptions({
      chainId: 1,
      alloc: { [address]: { balance: "0x10", nonce: 2, code: "0x6000", storage: { "0x01": "0x02" } } },
    });
    assert.equal(alloc[0]?.balance, 16n);
    assert.equal(alloc[0]?.storage[0]?.slot[31], 1);
    assert.equal(alloc[0]?.storage[0]?.value[31], 2);
  });

  const faulty: readonly (readonly [string, unknown])[] = [
    ["options", 5],
    ["chainId", {}],
    ["options.colour", { chainId: 1, colour: "red" }],
    ["hardfork", { chainId: 1, hardfork: "london2" }],
    ["blockGasLimit", { chainId: 1, blockGasLimit: "30000000" }],
    ["initialBaseFee", { chainId: 1, initialBaseFee: 1 }],
    ["initialBaseFee", { chainId: 1, initialBaseFee: "-1" }],
    ["coinbase", { chainId: 1, coinbase: "0x00" }],
    ["replay", { chainId: 1, replay: "yes" }],
    ["alloc", { chainId: 1, alloc: { [`0x${"ab".repeat(20)}`]: {}, [`0x${"AB".repeat(20)}`]: {} } }],
    [`alloc.0x${"00".repeat(20)}.balance`, { chainId: 1, alloc: { [`0x${"00".repeat(20)}`]: { balance: 5 } } }],
  ];
  for (const [field, value] of faulty) {
    test(`are refused with the name of the field: ${field} in ${JSON.stringify(value).slice(0, 40)}`, () => {
      assert.throws(
        () => parseEthereumOptions(value),
        (error) => error instanceof CocoError && error.code === "ConstitutionInvalid" && error.data["field"] === field,
      );
    });
  }
});
