import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ConsensusStatus } from "../../core/consensus/types.ts";
import { HAND_OVER_MAX_MS, handOver, type HandingOver } from "./hand-over.ts";

/** A clock that runs when somebody waits. */
function fastClock() {
  let nowMs = 0;
  return {
    now: () => nowMs,
    after(delayMs: number, callback: () => void) {
      queueMicrotask(() => {
        nowMs += delayMs;
        callback();
      });
      return () => undefined;
    },
  };
}

function managerOf(voters: readonly string[], role: ConsensusStatus["role"]) {
  let leader: string | undefined = role === "leader" ? "a" : "b";
  const current = { voters, quorum: { type: "majority" } } as const;
  const configuration = { current, previous: undefined, learners: [] };
  const manager = {
    transfers: 0,
    pendingTransactions: 0,
    get status(): ConsensusStatus {
      return { id: "a", role, leader, configuration } as unknown as ConsensusStatus;
    },
    transfer: (): void => {
      manager.transfers++;
    },
    elect: (next: string | undefined): void => {
      leader = next;
    },
  };
  return manager satisfies HandingOver;
}

describe("handing over before an orderly end", () => {
  test("ends when another leads and every outcome is known", async () => {
    const clock = fastClock();
    const manager = managerOf(["a", "b", "c"], "leader");
    manager.pendingTransactions = 2;
    const done = handOver(manager, {
      now: clock.now,
      after: (delayMs, callback) => {
        if (clock.now() >= 20) manager.elect(undefined);
        if (clock.now() >= 40) manager.elect("c");
        if (clock.now() >= 60) manager.pendingTransactions = 0;
        return clock.after(delayMs, callback);
      },
    });
    await done;
    assert.equal(manager.transfers, 1);
    assert.ok(clock.now() >= 60 && clock.now() < HAND_OVER_MAX_MS);
  });

  test("ends when nobody takes over in time", async () => {
    const clock = fastClock();
    const manager = managerOf(["a", "b", "c"], "leader");
    await handOver(manager, clock);
    assert.equal(manager.transfers, 1);
    assert.ok(clock.now() >= HAND_OVER_MAX_MS && clock.now() < 2 * HAND_OVER_MAX_MS);
  });

  test("does nothing on a follower, or alone", async () => {
    for (const manager of [managerOf(["a", "b", "c"], "follower"), managerOf(["a"], "leader")]) {
      const clock = fastClock();
      await handOver(manager, clock);
      assert.deepEqual([manager.transfers, clock.now()], [0, 0]);
    }
  });
});
