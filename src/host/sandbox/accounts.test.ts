import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { mnemonicToAccount } from "viem/accounts";
import { DERIVATION_PATH, DEVELOPMENT_ACCOUNTS, MNEMONIC } from "./accounts.ts";

describe("development accounts", () => {
  test("are the first ten of the mnemonic, as anvil and Hardhat derive them", () => {
    assert.equal(DEVELOPMENT_ACCOUNTS.length, 10);
    assert.equal(DERIVATION_PATH, "m/44'/60'/0'/0/");
    for (const [addressIndex, { address, privateKey }] of DEVELOPMENT_ACCOUNTS.entries()) {
      const account = mnemonicToAccount(MNEMONIC, { addressIndex });
      assert.equal(address, account.address);
      assert.equal(privateKey, `0x${Buffer.from(account.getHdKey().privateKey ?? []).toString("hex")}`);
    }
  });
});
