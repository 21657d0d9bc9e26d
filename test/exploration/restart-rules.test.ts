/**
 * The restart rules hold in every case of three nodes that is enumerated and in every so many of five (all of them:
 * `npm run test:long`), and hearing a quorum only would not be enough.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { newScript, runLine } from "../scenarios/commands.ts";
import { FIVE, FIVE_REACH, playAll } from "./restart-histories.ts";
import type { Reach, RestartHistory } from "./restart-rules.ts";

/** One of so many cases of five nodes is played: a prime, so that no choice of a case is left out each time. */
const FIVE_STRIDE = 7;

const THREE: readonly RestartHistory[] = [
  { name: "everything on all", lines: ["nodes 3", "elect 0", "propose 0 x", "settle"] },
  { name: "x on 0 and 1", lines: ["nodes 3", "elect 0", "isolate 2", "propose 0 x", "settle", "heal"] },
  { name: "2 took part in nothing", lines: ["nodes 3", "isolate 2", "elect 0", "propose 0 x", "settle", "heal"] },
  {
    name: "two leaders, each with other followers",
    lines: [
      "nodes 3",
      "elect 0",
      "isolate 2",
      "propose 0 x",
      "settle",
      "heal",
      "isolate 0",
      "elect 1",
      "propose 1 y",
      "settle",
      "heal",
    ],
  },
  {
    name: "a vote is on its way",
    lines: [
      "nodes 3",
      "elect 0",
      "crash 0",
      "timeout 1",
      "deliver 1->2",
      "deliver 2->1",
      "deliver 1->2",
      "hold 2->1",
      "restart 0",
    ],
  },
];

const THREE_REACH: Reach = {
  points: 3,
  groups: [2, 3],
  orders: [
    ["0", "1", "2"],
    ["2", "0", "1"],
  ],
};

describe("restarts with disks that may be rolled back", () => {
  for (const history of THREE) {
    test(`lose nothing: ${history.name}`, (context) => {
      const count = playAll(history, THREE_REACH);
      assert.ok(count > 50);
      context.diagnostic(`measured: ${count} restarts of three nodes`);
    });
  }
  for (const history of FIVE) {
    test(`lose nothing: ${history.name}`, (context) => {
      const count = playAll(history, FIVE_REACH, FIVE_STRIDE);
      assert.ok(count > 500);
      context.diagnostic(`measured: ${count} restarts of five nodes`);
    });
  }
});

describe("a weaker rule", () => {
  test("hearing a quorum only loses a committed entry", () => {
    const script = newScript();
    const before = [
      "distrust disks",
      "nodes 3",
      "elect 0",
      "isolate 2",
      "propose 0 x",
      "settle",
      "expect committed 1: x",
    ];
    // 1 loses x with its disk, 0 is away, 2 never had it: 1 has heard all of a quorum, and is let back on that alone.
    const after = [
      "crash 1",
      "rollback 1 1",
      "crash 0",
      "heal",
      "restart 1",
      "run 300",
      "expect recovering 1",
      "resume 1",
    ];
    for (const line of [...before, ...after]) runLine(script, line);
    assert.throws(() => runLine(script, "run 600"), /without the committed entry/);
  });

  test("with a disk that is trusted, a rolled-back one loses a committed entry", () => {
    const script = newScript();
    for (const line of [
      "nodes 3",
      "elect 0",
      "isolate 2",
      "propose 0 x",
      "settle",
      "crash 1",
      "rollback 1 1",
      "crash 0",
      "heal",
    ])
      runLine(script, line);
    runLine(script, "restart 1");
    assert.throws(() => runLine(script, "run 600"), /without the committed entry/);
  });
});
