/**
 * Fault tests with real processes, first part: nodes that are killed, paused or cut off under load. In each, what a node
 * ever showed a receipt for is there afterwards on all nodes, in the same block, and all blocks and states agree.
 */
import { afterEach, beforeEach, describe, test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { canTellLinks } from "../e2e/lib/link-proxy.ts";
import { compareNodes, Load } from "../e2e/lib/load.ts";
import { Network, type NetworkNode } from "../e2e/lib/network.ts";
import { delay, present } from "../e2e/lib/processes.ts";

/** What an interruption may last on a machine that does other things; what is promised is less than 2 s. */
const INTERRUPTION_LIMIT_MS = 10_000;
/** Receipts that must be seen between faults. */
const SOME = 300;

let network: Network;
let load: Load;

beforeEach(async () => {
  network = await Network.start();
  load = new Load(network);
  await load.progress(SOME);
});
afterEach(async () => {
  await load.stop().finally(() => network.stop());
});

/** Ends the load and compares all nodes. */
async function settle(context: TestContext, interruptionMs: number | undefined): Promise<void> {
  await load.stop();
  const blocks = await compareNodes(network.nodes, load.receipts);
  const measured = interruptionMs === undefined ? "" : `, longest interruption ${interruptionMs.toFixed(0)} ms`;
  context.diagnostic(`measured: ${load.receipts.size} receipts in ${blocks} blocks${measured}`);
  if (interruptionMs !== undefined) assert.ok(interruptionMs < INTERRUPTION_LIMIT_MS, `${interruptionMs} ms`);
}

/** Fails unless another node leads than before. */
async function requireOtherLeader(before: NetworkNode): Promise<void> {
  assert.notEqual((await network.leader()).leader.name, before.name);
}

async function idOf(node: NetworkNode): Promise<string> {
  return (await node.read<{ node_id: string }>("/node/state")).node_id;
}

/** Does harm to one node and measures through another; the harm is over when the promise resolves. */
async function interruption(remaining: NetworkNode, harm: () => Promise<void>): Promise<number> {
  load.probeThrough(remaining);
  await load.progress(SOME);
  const fromMs = performance.now();
  await harm();
  await load.progress(SOME);
  return load.longestInterruption(fromMs);
}

describe("nodes that crash under load", () => {
  test("a killed leader loses nothing, and catches up when it is started again", async (context) => {
    const { leader, followers } = await network.leader();
    const lastedMs = await interruption(present(followers[0]), () => leader.end());
    await requireOtherLeader(leader);
    leader.start();
    await leader.ready();
    await load.progress(SOME);
    await settle(context, lastedMs);
  });

  test("a leader that is told to stop hands over before it ends", async (context) => {
    const { leader, followers } = await network.leader();
    const before = await leader.read<{ view: number }>("/node/state");
    const lastedMs = await interruption(present(followers[0]), () => leader.end("SIGTERM"));
    const next = (await network.leader()).leader;
    assert.notEqual(next.name, leader.name);
    const { view } = await next.read<{ view: number }>("/node/state");
    assert.equal(view, before.view + 1, "the first who asked for votes got them");
    const { role, leader: known } = present(leader.events("role").at(-1));
    assert.equal(role, "follower", "it lost the lead before it ended");
    assert.equal(known, await idOf(next), "and knew who has it");
    leader.start();
    await leader.ready();
    await load.progress(SOME);
    await settle(context, lastedMs);
  });

  test("a rolling restart, the leader first each time, loses nothing", async (context) => {
    const interruptions: number[] = [];
    const left = new Set(network.nodes);
    while (left.size > 0) {
      const { leader } = await network.leader();
      const node = left.has(leader) ? leader : present([...left][0]);
      left.delete(node);
      const remaining = present(network.nodes.find((other) => other !== node));
      interruptions.push(await interruption(remaining, () => node.end("SIGTERM")));
      node.start();
      await node.ready();
    }
    await load.progress(SOME);
    context.diagnostic(`measured: interruptions ${interruptions.map((ms) => ms.toFixed(0)).join(", ")} ms`);
    await settle(context, Math.max(...interruptions));
  });

  test("a killed follower loses nothing, and catches up when it is started again", async (context) => {
    const { leader, followers } = await network.leader();
    const victim = present(followers[0]);
    const lastedMs = await interruption(leader, () => victim.end());
    victim.start();
    await victim.ready();
    await load.progress(SOME);
    await settle(context, lastedMs);
  });

  test("three nodes killed at once come back with everything committed", async (context) => {
    await Promise.all(network.nodes.map((node) => node.end()));
    for (const node of network.nodes) node.start();
    await network.ready();
    await load.progress(SOME);
    await settle(context, undefined);
  });

  test("a leader that stands still for 3 s is replaced and joins again", async (context) => {
    const { leader, followers } = await network.leader();
    const lastedMs = await interruption(present(followers[0]), async () => {
      leader.signal("SIGSTOP");
      await delay(3000);
      leader.signal("SIGCONT");
    });
    await requireOtherLeader(leader);
    await settle(context, lastedMs);
  });
});

describe("links that are cut under load", {
  skip: canTellLinks ? false : "links can be told apart on Linux only",
}, () => {
  test("a leader cut off from both others is replaced and joins again", async (context) => {
    const { leader, followers } = await network.leader();
    const lastedMs = await interruption(present(followers[0]), async () => {
      for (const follower of followers) network.cut(leader, follower);
      await delay(4000);
    });
    network.heal();
    await load.progress(SOME);
    await requireOtherLeader(leader);
    await settle(context, lastedMs);
  });

  test("a cut link between leader and one follower keeps the network serving", async (context) => {
    const { leader, followers } = await network.leader();
    const lastedMs = await interruption(leader, async () => {
      network.cut(leader, present(followers[0]));
      await delay(4000);
      const heights = await Promise.all([leader, present(followers[0])].map((node) => node.blockNumber()));
      assert.ok(present(heights[1]) < present(heights[0]), "the follower gets nothing while the link is cut");
    });
    network.heal();
    await settle(context, lastedMs);
  });

  test("a cut link between two followers is not noticed", async (context) => {
    const { leader, followers } = await network.leader();
    const lastedMs = await interruption(leader, async () => {
      network.cut(present(followers[0]), present(followers[1]));
      await delay(3000);
    });
    network.heal();
    await settle(context, lastedMs);
  });
});
