/** Histories of five nodes that restart, and how the cases of a history are played. */
import assert from "node:assert/strict";
import { casesOf, playRestart, type Reach, type RestartHistory, showCase } from "./restart-rules.ts";

/** Histories of five nodes. */
export const FIVE: readonly RestartHistory[] = [
  { name: "five, x on 0 1 2", lines: ["nodes 5", "elect 0", "isolate 0 1 2", "propose 0 x", "settle", "heal"] },
  {
    name: "five, two leaders",
    lines: [
      "nodes 5",
      "isolate 0 1 2",
      "elect 0",
      "propose 0 x",
      "settle",
      "heal",
      "isolate 2 3 4",
      "elect 2",
      "propose 2 y",
      "settle",
      "heal",
    ],
  },
];

/** The cases of {@link FIVE} that are enumerated. */
export const FIVE_REACH: Reach = { points: 1, groups: [3, 5], orders: [["4", "3", "2", "1", "0"]] };

/**
 * Plays a history's cases; nearly all must come back. The number that was played.
 * @param stride one of so many is played
 */
export function playAll(history: RestartHistory, reach: Reach, stride = 1): number {
  let at = 0;
  let played = 0;
  let recovered = 0;
  for (const restart of casesOf(history, reach)) {
    if (at++ % stride !== 0) continue;
    played++;
    try {
      if (playRestart(restart)) recovered++;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`${showCase(restart)}: ${reason}`, { cause: error });
    }
  }
  assert.ok(recovered > played * 0.9, `${recovered} of ${played} came back`);
  return played;
}
