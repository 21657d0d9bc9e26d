/** The test runner says what it leaves out: nobody takes a suite without its data for one that passed. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const RUNNER = fileURLToPath(new URL("../../tools/test.js", import.meta.url));

describe("npm test", () => {
  test("tells and counts a suite that is left out, and fails when nothing else was run", () => {
    // Else the runner takes itself for a test file of this run.
    const { NODE_TEST_CONTEXT: _, ...surroundings } = process.env;
    const env = { ...surroundings, COCO_VECTORS: "/nowhere" };
    const { status, stdout } = spawnSync(process.execPath, [RUNNER, "--only", "mainnet-replay"], {
      env,
      encoding: "utf8",
    });
    assert.match(stdout, /^ +skipped: replay of mainnet blocks: test data not found: mainnet \(set COCO_VECTORS\)$/m);
    assert.ok(stdout.endsWith("0 passed, 0 failed, 1 skipped\n"), stdout);
    assert.equal(status, 1);
  });
});
