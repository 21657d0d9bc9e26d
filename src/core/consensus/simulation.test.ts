import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MAJORITY } from "./quorum.ts";
import type { QuorumPolicy } from "./types.ts";
import { NO_FAULTS } from "./testing/faults.ts";
import { Simulator } from "./testing/simulator.ts";

const SEEDS = 120;
const FAULTY_MS = 3000;
const HEALED_LIMIT_MS = 4000;

/** Does something to the network that it must survive. */
function disturb(network: Simulator): void {
  const { random } = network;
  const id = (random.chance(0.4) ? network.leader() : undefined) ?? random.pick(network.ids);
  const others = network.ids.filter((peer) => peer !== id);
  switch (random.between(0, 9)) {
    case 0:
      if (network.running.includes(id)) network.crash(id, random.chance(0.5));
      break;
    case 1:
    case 2:
      for (const peer of network.ids) if (!network.running.includes(peer)) network.restart(peer);
      break;
    case 3: {
      const leader = network.leader();
      if (leader !== undefined) network.partition([leader], random.chance(0.5));
      break;
    }
    case 4:
      network.partition(network.ids.slice(0, random.between(1, network.ids.length - 1)), random.chance(0.5));
      break;
    case 5:
      network.cut(id, random.pick(others), random.chance(0.5));
      break;
    case 6:
      if (network.running.includes(id)) network.crash(id, random.chance(0.5));
      network.restart(id);
      break;
    default:
      network.heal();
      break;
  }
}

function runFaulty(network: Simulator): void {
  const { random } = network;
  network.faults = {
    loss: random.pick([0, 0.02, 0.2]),
    duplicate: random.pick([0, 0.1]),
    delayMaxMs: random.pick([3, 30, 100]),
    diskDelayMaxMs: random.pick([2, 20]),
    diskStall: random.pick([0, 0.05]),
  };
  for (const end = network.nowMs + FAULTY_MS; network.nowMs < end; ) {
    network.run(random.between(1, 30));
    if (random.chance(0.08)) disturb(network);
    // Also on nodes that do not lead, or no longer: their proposals must be given back.
    if (network.running.length > 0 && random.chance(0.7)) {
      const leader = network.leader();
      network.propose(
        leader !== undefined && random.chance(0.8) ? leader : random.pick(network.running),
        random.between(1, 4),
      );
    }
  }
}

function checkHealed(network: Simulator): void {
  network.faults = NO_FAULTS;
  network.heal();
  for (const id of network.ids) if (!network.running.includes(id)) network.restart(id);
  assert.ok(
    network.runUntil(() => network.leader() !== undefined, HEALED_LIMIT_MS),
    "a leader is elected",
  );
  network.run(500);
  const leader = network.leader();
  assert.ok(leader !== undefined, "the leader stays");
  const index = network.propose(leader, 1);
  const everywhere = (): boolean => network.ids.every((id) => network.deliveredIndex(id) >= index);
  assert.ok(network.runUntil(everywhere, HEALED_LIMIT_MS), "every node commits a new entry");
}

function simulate(
  nodeCount: number,
  quorum: QuorumPolicy,
  seeds: number,
): { committed: number; terms: number; loads: number } {
  const total = { committed: 0, terms: 0, loads: 0 };
  for (let seed = 1; seed <= seeds; seed++) {
    const network = new Simulator({ seed, nodeCount, quorum, windowBytes: seed % 2 === 0 ? 300 : 100_000 });
    try {
      runFaulty(network);
      checkHealed(network);
    } catch (error) {
      assert.fail(
        `seed ${seed} with ${nodeCount} nodes at ${network.nowMs} ms: ${error instanceof Error ? error.stack : String(error)}`,
      );
    }
    total.committed += network.observer.committedCount;
    total.terms += network.observer.termCount;
    total.loads += network.loadCount;
  }
  return total;
}

describe("a simulated network under loss, doubling, delay, partitions, crashes and slow disks", () => {
  const cases: readonly [name: string, nodeCount: number, quorum: QuorumPolicy][] = [
    ["three nodes", 3, MAJORITY],
    ["five nodes", 5, MAJORITY],
    ["five nodes, four elect and two replicate", 5, { type: "flexible", election: 4, replication: 2 }],
  ];
  for (const [name, nodeCount, quorum] of cases) {
    test(`${name} stay safe and become live again once healed`, (context) => {
      const total = simulate(nodeCount, quorum, SEEDS);
      context.diagnostic(JSON.stringify(total));
      // The run must have met what it is about: commits, changes of leader, entries outside the window.
      assert.ok(total.committed > SEEDS * 10 && total.terms > SEEDS * 2 && total.loads > SEEDS, JSON.stringify(total));
    });
  }

  test("the same seed gives the same run", () => {
    const outcome = (): string => {
      const network = new Simulator({ seed: 7, nodeCount: 3, quorum: MAJORITY, windowBytes: 300 });
      runFaulty(network);
      return JSON.stringify(network.running.map((id) => network.status(id)));
    };
    assert.equal(outcome(), outcome());
  });
});
