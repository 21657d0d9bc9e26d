/** Real blocks of the public network give the gas and receipts they had: one of each set of rules; the others: `npm run test:long`. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { filesByRules, replayBlocks } from "./test-mainnet-replay.ts";
import { missing } from "./test-vectors.ts";

describe("replay of mainnet blocks", { skip: missing("mainnet") }, () => {
  const chosen = filesByRules().flatMap(([first]) => first ?? []);
  replayBlocks(chosen);

  test("has one of each set of rules", () => {
    assert.ok(chosen.length > 2, `${chosen}`);
  });
});
