/** A short run of the fuzzer, the same each time: it must find its canary, and nothing else. Longer runs: `npm run fuzz`. */
import { describe, test } from "node:test";
import assert from "node:assert/strict";
import { toHex } from "../../src/core/codec/bytes.ts";
import { missingTeeVectors } from "../support/tee-vectors.ts";
import { fuzz } from "./fuzzer.ts";
import { fuzzSeeds } from "./seeds.ts";
import { CANARY, fuzzTargets } from "./targets.ts";

const INPUTS = 320;

describe("fuzzing", () => {
  test("finds a fault that only coverage leads to, and finds it again under the same seed", () => {
    const found = fuzz(CANARY, { seed: 1, inputs: 400_000 });
    assert.ok(found.failure, `nothing after ${found.inputs} inputs`);
    assert.equal(toHex(found.failure.input).slice(0, 8), "c00c5ea7");
    assert.deepEqual(fuzz(CANARY, { seed: 1, inputs: found.inputs }).failure?.input, found.failure.input);
  });

  for (const target of fuzzTargets(fuzzSeeds()))
    test(`${target.name} refuses by named errors only`, (context) => {
      if (missingTeeVectors("snp") !== false) context.diagnostic("from inputs of our own: no real evidence here");
      const { failure } = fuzz(target, { seed: 1, inputs: INPUTS });
      assert.equal(failure, undefined, failure && `${String(failure.error)} by ${toHex(failure.input)}`);
    });
});
