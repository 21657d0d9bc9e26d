/** The restart rules hold in every case of five nodes that is enumerated. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FIVE, FIVE_REACH, playAll } from "../exploration/restart-histories.ts";

describe("restarts of five nodes with disks that may be rolled back", () => {
  let played = 0;
  for (const history of FIVE) {
    test(`lose nothing: ${history.name}`, (context) => {
      const count = playAll(history, FIVE_REACH);
      played += count;
      context.diagnostic(`measured: ${count} restarts of five nodes`);
    });
  }

  test("were all played", () => {
    assert.ok(played > 10_000, `${played}`);
  });
});
