/** Leases on whole networks: nodes that cannot attest, clocks that leap or stand still, and all of it under faults. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { utf8Decode } from "../../src/core/codec/bytes.ts";
import { LEADER_NEGLECT_MS } from "../../src/enclave/manager/lease-watch.ts";
import { isPending } from "../../src/core/governance/proposal.ts";
import { isByLedger } from "../../src/core/governance/removal-proposals.ts";
import { isQuarantined } from "../../src/core/governance/leases.ts";
import type { Plan } from "./plan.ts";
import type { SimulatedNode } from "./simulated-node.ts";
import { Simulation, simulate } from "./simulation.ts";

const LEASE_MS = 4_000;
const HOUR_MS = 3_600_000;
/** How much faster than the others' the clocks of a machine run whose host lies. */
const FAST = 5;
/** Time in which a lease is young, the part that a leader may be ahead: less than a node waits before it takes a quarantine. */
const YOUNG_MS = 12_000;

interface Run {
  readonly simulation: Simulation;
  pass(ms: number): Promise<void>;
  leader(): SimulatedNode;
  follower(): SimulatedNode;
  quarantined(): readonly string[];
  ask(node: SimulatedNode): Promise<string>;
}

/** Three nodes with short leases and clients at work, up to when all are attested. */
async function leasedNetwork(seed: number, change: Partial<Plan> = {}): Promise<Run> {
  const plain = { network: "stream", epochMs: 0, epochTransactions: 0, snapshotTransactions: 0 } as const;
  const fixed = { leaseMs: LEASE_MS, ...plain, ...change };
  const simulation = new Simulation({
    ...{
      seed,
      nodeCount: 3,
      clientCount: 3,
      thinkMs: 300,
      faults: false,
      answerAfter: "commit",
      trustDisk: true,
      flexible: false,
      fixed,
    },
  });
  const { scheduler } = simulation;
  const pass = (ms: number) => scheduler.runUntil(scheduler.now + ms);
  const find = (role: string) => simulation.members.find(({ status }) => status?.role === role) ?? assert.fail(role);
  let asked = 0;
  simulation.start();
  await pass(3_000);
  return {
    ...{ simulation, pass, leader: () => find("leader"), follower: () => find("follower") },
    quarantined: () => {
      const state = simulation.checker.governance ?? assert.fail("no governance");
      return simulation.members.filter(({ id }) => isQuarantined(state, id)).map(({ name }) => name);
    },
    ask: async (node) => {
      let answer = "none";
      node.request({ body: `ask-${++asked}|key=${asked}`, actor: "owner" }, (response) => {
        answer = response === undefined ? "none" : `${response.status} ${utf8Decode(response.body).slice(0, 80)}`;
      });
      await pass(1_500);
      return answer;
    },
  };
}

const removals = ({ checker }: Simulation) => checker.governance?.proposals.filter(isByLedger) ?? [];

describe("a network whose nodes hold leases", () => {
  test("renews them for as long as it runs, and quarantines nobody", async () => {
    const run = await leasedNetwork(1);
    const before = run.simulation.checker.includedCount;
    const { leases } = run.simulation.checker.governance ?? assert.fail("no governance");
    await run.pass(10 * LEASE_MS);
    assert.deepEqual([run.quarantined(), removals(run.simulation)], [[], []]);
    for (const [nodeId, { fromMs }] of run.simulation.checker.governance?.leases ?? [])
      assert.ok(fromMs > (leases.get(nodeId)?.fromMs ?? 0) + 8 * LEASE_MS, "each was renewed again and again");
    assert.ok(run.simulation.checker.includedCount > before + 50);
    await run.simulation.settle();
  });

  test("quarantines a follower that cannot attest: no reads, no new key, an open proposal; all ends when it attests again", async () => {
    const run = await leasedNetwork(2);
    const struck = run.follower();
    struck.teeIsSilent = true;
    await run.pass(2 * LEASE_MS);
    assert.deepEqual(run.quarantined(), [struck.name]);
    assert.equal(struck.manager?.leases.own, "quarantined");
    assert.match(await run.ask(struck), /^503 .*NodeQuarantined/);
    assert.match(await run.ask(run.leader()), /^200 /);
    const { epochs } = run.simulation.checker.governance ?? assert.fail("no governance");
    assert.equal(epochs.length, 2);
    assert.ok(!epochs[1]?.wraps.some(({ nodeId }) => nodeId === struck.id), "the new key is not wrapped to it");
    assert.deepEqual(removals(run.simulation).map(isPending), [true]);
    struck.teeIsSilent = false;
    await run.pass(3_000);
    assert.deepEqual(run.quarantined(), []);
    assert.deepEqual(
      removals(run.simulation).map(({ state }) => state),
      ["Withdrawn"],
    );
    assert.match(await run.ask(struck), /^200 /);
    await run.simulation.settle();
  });

  test("has another leader when the leader cannot attest, and loses nothing", async () => {
    const run = await leasedNetwork(3);
    const struck = run.leader();
    struck.teeIsSilent = true;
    await run.pass(2 * LEASE_MS);
    assert.deepEqual(run.quarantined(), [struck.name]);
    assert.notEqual(run.leader(), struck);
    await run.pass(4 * LEASE_MS);
    assert.notEqual(run.leader(), struck, "nor does it lead again while it is quarantined");
    struck.teeIsSilent = false;
    await run.pass(3_000);
    assert.deepEqual(run.quarantined(), []);
    await run.simulation.settle();
  });

  test("keeps the others when two of three cannot attest: one is quarantined, and the network goes on", async () => {
    const run = await leasedNetwork(4);
    const [first, second] = run.simulation.members;
    assert.ok(first && second);
    for (const node of [first, second]) node.teeIsSilent = true;
    await run.pass(3 * LEASE_MS);
    assert.equal(run.quarantined().length, 1);
    const before = run.simulation.checker.includedCount;
    await run.pass(3 * LEASE_MS);
    assert.ok(run.simulation.checker.includedCount > before + 10);
    for (const node of [first, second]) node.teeIsSilent = false;
    await run.pass(3_000);
    assert.deepEqual(run.quarantined(), []);
    await run.simulation.settle();
  });

  test("approves the code of a node that never leads: the approval it carries reaches the leader, and it comes back", async () => {
    // With snapshots what it missed is behind a key that it gets only with its evidence: its own ledger stands still.
    for (const [seed, snapshotTransactions] of [
      [9, 0],
      [10, 20],
    ] as const) {
      const run = await leasedNetwork(seed, { upgrades: true, snapshotTransactions, epochTransactions: 30 });
      const upgraded = run.follower();
      upgraded.end({ silent: false, byItself: false });
      await run.pass(3 * LEASE_MS);
      assert.deepEqual(run.quarantined(), [upgraded.name]);
      assert.equal(run.simulation.checker.governance?.constitution.codeManifest.length, 1);
      upgraded.start();
      await run.pass(2 * LEASE_MS);
      const state = run.simulation.checker.governance ?? assert.fail("no governance");
      const [old, approved] = state.constitution.codeManifest;
      assert.ok(old !== undefined && approved !== undefined, "the members' approval is in the ledger");
      assert.deepEqual(run.quarantined(), []);
      assert.equal(state.attested.get(upgraded.id)?.measurement, approved.measurement);
      assert.match(await run.ask(upgraded), /^200 /);
      await run.simulation.settle();
    }
  });

  test("a node that was away takes a snapshot in small pieces, though renewals bring new ones all the time", async () => {
    const run = await leasedNetwork(12, { appendBytes: 120, latencyMs: 5, snapshotTransactions: 10 });
    const away = run.follower();
    away.end({ silent: false, byItself: false });
    await run.pass(3 * LEASE_MS);
    const before = run.simulation.checker.committedIndex;
    away.start();
    await run.pass(8 * LEASE_MS);
    const commitIndex = away.status?.commitIndex ?? 0;
    assert.ok(commitIndex > before, `${commitIndex} of ${run.simulation.checker.committedIndex}, from ${before} on`);
    await run.simulation.settle();
  });

  test("outlives a leap of any node's wall clock, forward and back", async () => {
    for (const [seed, jump] of [
      [5, HOUR_MS],
      [6, -HOUR_MS],
    ] as const)
      for (const which of ["leader", "follower"] as const) {
        const run = await leasedNetwork(seed);
        run[which]().clock.skewMs += jump;
        await run.pass(4 * LEASE_MS);
        assert.deepEqual(run.quarantined(), [], `${which} ${jump}`);
        for (const node of run.simulation.members) assert.match(await run.ask(node), /^200 /, `${which} ${jump}`);
        await run.simulation.settle();
      }
  });

  test("elects another leader when the leader's clock stands still and it quarantines nobody", async () => {
    const run = await leasedNetwork(21);
    const [slow, struck] = [run.leader(), run.follower()];
    struck.teeIsSilent = true;
    const { scheduler } = run.simulation;
    const hold = (): void => {
      slow.clock.skewMs -= 50 * slow.clock.rate;
      scheduler.after(50, hold);
    };
    hold();
    const term = slow.status?.term ?? 0;
    await run.pass(LEASE_MS);
    assert.deepEqual(run.quarantined(), [], "by the ledger's clock nothing has ended");
    await run.pass(2 * LEASE_MS + 2 * LEADER_NEGLECT_MS);
    assert.ok((run.leader().status?.term ?? 0) > term, "the others did not hear it any more");
    assert.deepEqual(run.quarantined(), [struck.name]);
    struck.teeIsSilent = false;
    await run.pass(3_000);
    await run.simulation.settle();
  });

  test("elects another leader when the clocks of its machine run fast and it quarantines a node whose lease is young", async () => {
    const right = { skewMs: 0, rate: 1, grainMs: 0 };
    const run = await leasedNetwork(1, { leaseMs: YOUNG_MS / 0.6, clocks: [{ ...right, rate: FAST }, right, right] });
    const [fast = assert.fail(), other = assert.fail(), struck = assert.fail()] = run.simulation.members;
    assert.equal(run.leader(), fast, "its election timeout is the shortest");
    struck.teeIsSilent = true;
    const until = run.simulation.scheduler.now + YOUNG_MS;
    while (run.simulation.scheduler.now < until) {
      await run.pass(250);
      assert.deepEqual(run.quarantined(), []);
    }
    assert.deepEqual(
      [fast, other, struck].map(({ manager }) => manager?.leases.refusedQuarantines),
      [0, 1, 1],
    );
    assert.notEqual(run.leader(), fast);
    struck.teeIsSilent = false;
    await run.pass(3_000);
    for (const node of run.simulation.members) assert.match(await run.ask(node), /^200 /);
    await run.simulation.settle();
  });

  test("a node that stood still past its lease answers no read when it wakes up, and comes back by itself", async () => {
    const run = await leasedNetwork(8);
    const struck = run.follower();
    struck.pause();
    await run.pass(3 * LEASE_MS);
    assert.deepEqual(run.quarantined(), [struck.name]);
    assert.notEqual(struck.governance && isQuarantined(struck.governance, struck.id), true, "it does not know yet");
    let answer = "none";
    struck.request({ body: "wake-1|key=1", actor: "owner" }, (response) => {
      answer = response === undefined ? "none" : `${response.status} ${utf8Decode(response.body).slice(0, 80)}`;
    });
    struck.resume();
    await run.pass(1);
    assert.doesNotMatch(answer, /^200/);
    await run.pass(6_000);
    assert.deepEqual(run.quarantined(), []);
    assert.match(await run.ask(struck), /^200 /);
    await run.simulation.settle();
  });

  test("keeps every promise under faults", async () => {
    let quarantines = 0;
    const fixed = { leaseMs: 6_000, upgrades: true };
    for (let seed = 501; seed <= 504; seed++) {
      const { faults } = await simulate({ seed, fixed });
      quarantines += faults["tee.silent"] ?? 0;
    }
    assert.ok(quarantines > 0, "some could not attest");
  });

  test("a part of a snapshot that was given up is none of the next one", async () => {
    assert.ok((await simulate({ seed: 1002, fixed: { leaseMs: 6_000 } })).transactions > 20);
  });
});
