/** Damaged snapshot files meet nodes that need them: who is served from one, and who starts from one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Plan } from "./plan.ts";
import { Simulation } from "./simulation.ts";
import { SNAPSHOT_DAMAGES, type SnapshotDamage } from "./simulated-snapshots.ts";
import type { SimulatedNode } from "./simulated-node.ts";

const FIXED: Partial<Plan> = {
  network: "stream",
  quorum: { type: "majority" },
  ...{ hostileRate: undefined, latencyMs: 2, thinkMs: 300, retryMs: 100, clientCount: 3 },
  ...{ windowBytes: 1_000, appendBytes: 3_000, executionMaxMs: 0, upgrades: false, leaseMs: 0, spareMachines: 0 },
  ...{ snapshotTransactions: 10, epochTransactions: 0, epochMs: 0, trustDisk: true },
};
/** Within this time everything is repaired; what waits the longest is the next try of a transfer. */
const CALM_MS = 15_000;

/** A network of three that has snapshots, and one of its followers stopped long ago; nobody asks for anything any more. */
async function networkWithAbsent(seed: number) {
  const simulation = new Simulation({ seed, nodeCount: 3, faults: false, fixed: FIXED });
  const { scheduler, nodes } = simulation;
  const pass = (ms: number) => scheduler.runUntil(scheduler.now + ms);
  simulation.start();
  await pass(6_000);
  const absent = nodes.find(({ status }) => status?.role === "follower") ?? assert.fail("no follower");
  absent.end({ silent: false, byItself: false });
  const before = absent.disk.length;
  await pass(10_000);
  for (const client of simulation.clients) client.finish();
  await pass(3_000);
  const others = nodes.filter((node) => node !== absent);
  for (const { name, status } of others)
    assert.ok((status?.firstIndex ?? 0) > before + 1, `${name} has no snapshot that ${absent.name} needs`);
  return { simulation, absent, others, pass };
}

function damageAll(nodes: readonly SimulatedNode[], kind: SnapshotDamage): void {
  for (const { name, disk } of nodes) {
    while (disk.damageSnapshot(kind));
    assert.ok(disk.hasDamagedSnapshot, `${name} has a damaged snapshot`);
  }
}

describe("a damaged snapshot", () => {
  for (const [at, kind] of SNAPSHOT_DAMAGES.entries())
    test(`does not keep a node from catching up whose leader has it: ${kind}`, async () => {
      const { simulation, absent, others, pass } = await networkWithAbsent(at + 1);
      damageAll(others, kind);
      absent.start();
      await pass(CALM_MS);
      assert.equal(absent.status?.commitIndex, simulation.checker.committedIndex);
      await simulation.settle();
    });

  test("is passed over by the node that starts on it", async () => {
    const { simulation, absent, others, pass } = await networkWithAbsent(9);
    absent.start();
    await pass(CALM_MS);
    damageAll(others, "bitFlip");
    for (const node of others) {
      node.end({ silent: false, byItself: false });
      node.start();
      await pass(CALM_MS);
    }
    await simulation.settle();
  });
});
