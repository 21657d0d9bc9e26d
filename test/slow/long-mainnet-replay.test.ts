/** The blocks of the public network that the unit tests leave out give the gas and receipts they had. */
import { describe } from "node:test";
import { filesByRules, replayBlocks } from "../../src/adapters/ethereum/test-mainnet-replay.ts";
import { missing } from "../../src/adapters/ethereum/test-vectors.ts";

describe("replay of more mainnet blocks", { skip: missing("mainnet") }, () => {
  replayBlocks(filesByRules().flatMap(([, ...others]) => others));
});
