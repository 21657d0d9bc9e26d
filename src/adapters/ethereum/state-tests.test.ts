/** A selection of the official state tests: the rules of transactions and the engine give the state and logs they must. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runStateTest, type StateTest, UNSUPPORTED } from "./test-state-runner.ts";
import { archivedTests, missing } from "./test-vectors.ts";
import type { HardforkName } from "./types.ts";

const CANCUN_SUITES = [
  "Pyspecs/cancun/eip4844_blobs",
  "Pyspecs/cancun/eip6780_selfdestruct",
  "Shanghai",
  "stEIP1559",
  "stEIP158Specific",
  "stEIP2930",
  "stEIP3607",
  "stExample",
  "stRefundTest",
  "stSelfBalance",
  "stTransactionTest",
  "stZeroCallsTest",
];

async function assertAll(
  tests: readonly { readonly name: string; readonly test: StateTest }[],
  fork: string,
  hardfork: HardforkName,
) {
  let passed = 0;
  const problems: string[] = [];
  for (const { name, test: stateTest } of tests) {
    for (const { index, problem } of await runStateTest(stateTest, fork, hardfork)) {
      if (problem === undefined) passed++;
      else if (problem !== UNSUPPORTED) problems.push(`${name} ${index}: ${problem}`);
    }
  }
  assert.deepEqual(problems, []);
  assert.ok(passed > 0, "no case was run");
}

describe("state tests of Cancun", { skip: missing("ethereum-tests.tar.gz") }, () => {
  for (const suite of CANCUN_SUITES) {
    test(suite, () =>
      assertAll(archivedTests<StateTest>("ethereum-tests.tar.gz", `GeneralStateTests/${suite}`), "Cancun", "cancun"),
    );
  }
});

describe("state tests of Osaka", { skip: missing("osaka-state-tests.tar.gz") }, () => {
  test("every case", () =>
    assertAll(archivedTests<StateTest>("osaka-state-tests.tar.gz", "fusaka-devnet-5/state_tests"), "Osaka", "osaka"));
});
