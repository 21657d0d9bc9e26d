import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  ALL_SUITES_SECONDS_MAX,
  RELIABILITY_SUITES,
  RELIABILITY_SUITES_SECONDS_MAX,
  SUITES,
} from "../../tools/suites.ts";

const secondsOf = (suites: typeof SUITES): number =>
  suites.reduce((seconds, { budgetSeconds }) => seconds + budgetSeconds, 0);

describe("the suites of npm run ci", () => {
  test("take half an hour at most, all of them one after the other", () => {
    assert.ok(secondsOf(SUITES) <= ALL_SUITES_SECONDS_MAX, `${secondsOf(SUITES)} s`);
    assert.equal(ALL_SUITES_SECONDS_MAX, 30 * 60);
  });

  test("that are about reliability take twenty minutes at most", () => {
    const suites = SUITES.filter(({ name }) => RELIABILITY_SUITES.includes(name));
    assert.equal(suites.length, RELIABILITY_SUITES.length);
    assert.ok(secondsOf(suites) <= RELIABILITY_SUITES_SECONDS_MAX, `${secondsOf(suites)} s`);
    assert.equal(RELIABILITY_SUITES_SECONDS_MAX, 20 * 60);
  });
});
