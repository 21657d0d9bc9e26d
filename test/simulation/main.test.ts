/** The command of the simulator, as it is run. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { FaultCounts, splitCounts } from "./fault-counts.ts";

const MAIN = fileURLToPath(new URL("main.js", import.meta.url));

describe("npm run sim", () => {
  for (const args of [
    ["--sed", "7"],
    ["--seeds", "many"],
    ["--network", "pigeon"],
    ["--point", "1:2"],
    ["--minutes", "-1"],
  ])
    test(`says what is wrong with ${args.join(" ")}, and ends with 2`, () => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8" });
      assert.equal(status, 2);
      assert.equal(stdout, "");
      assert.match(stderr, new RegExp(`${args[0]}[^]*\nUsage: npm run sim`));
      assert.doesNotMatch(stderr, /\n\s+at /);
    });

  test("prints the same to standard output for the same seed, and one object with --json, with the keys it names", () => {
    const once = () => spawnSync(process.execPath, [MAIN, "--seed", "16", "--nodes", "3"], { encoding: "utf8" });
    const [first, second] = [once(), once()];
    assert.deepEqual([first.status, first.stdout], [0, second.stdout]);
    assert.match(first.stdout, /^seed 16: .*trace [0-9a-f]{16}\n/);
    assert.match(first.stderr, /times real time\n$/);
    const { status, stdout } = spawnSync(process.execPath, [MAIN, "--minutes", "0", "--from", "16", "--json"], {
      encoding: "utf8",
    });
    const report = JSON.parse(stdout);
    assert.deepEqual(Object.keys(report), ["seeds", "failures", "simulatedSeconds", "wallSeconds", "faults"]);
    assert.deepEqual([status, report.failures, report.seeds >= 1], [0, 0, true]);
  });

  test("counts faults apart from what followed from them", () => {
    const counts = new FaultCounts();
    counts.addAll({ "crash.all": 2, "hostile.refused": 3, "hostile.oversized": 4, "liveness.noSoundQuorum": 1 });
    assert.deepEqual(splitCounts(counts), {
      faults: { "crash.all": 2, "hostile.oversized": 4 },
      outcomes: { "hostile.refused": 3, "liveness.noSoundQuorum": 1 },
    });
  });
});
