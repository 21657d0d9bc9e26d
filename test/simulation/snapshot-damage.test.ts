/**
 * Damaged snapshot files meet nodes that need them: who is served from one, and who starts from one. And what a node costs the others
 * that is down, or begins a snapshot again and again.
 */
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

/** Lets time pass, a second at a time. How many other snapshots got their evidence in the ledger meanwhile. */
async function evidenceWithin(
  seconds: number,
  network: Awaited<ReturnType<typeof networkWithAbsent>>,
  each = () => {},
) {
  const { others, pass } = network;
  const indexes = new Set<number | undefined>();
  const look = () => {
    for (const { status, governance } of others)
      if (status?.role === "leader") indexes.add(governance?.snapshot?.index);
  };
  look();
  for (let second = 0; second < seconds; second++) {
    each();
    await pass(1_000);
    look();
  }
  assert.ok(indexes.size > 0 && !indexes.has(undefined), "a leader has a snapshot with evidence");
  return indexes.size - 1;
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

describe("a node that needs a snapshot", () => {
  test("causes no other to be made while it is down, however long", async () => {
    const network = await networkWithAbsent(3);
    assert.equal(await evidenceWithin(300, network), 0, "nothing was asked for: with all nodes up there would be none");
    network.absent.start();
    await network.pass(CALM_MS);
    await network.simulation.settle();
  });

  test("causes a few to be made when none of them is any good to it, ever less often", async () => {
    const network = await networkWithAbsent(4);
    network.absent.start();
    const damage = () => {
      for (const { disk } of network.others) while (disk.damageSnapshot("bitFlip"));
    };
    const made = await evidenceWithin(300, network, damage);
    assert.ok(made >= 2 && made <= 6, `${made}: ten seconds after the first, then twice as long each time`);
    await network.pass(700_000);
    await network.simulation.settle();
  });
});
