/**
 * A node is voted out of a real network under load: writes go on, a new epoch keeps it from what comes after, and it
 * ends by itself and says why.
 */
import { describe, test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { agree, constitutionOf, type NetworkView, postAgreed } from "../e2e/lib/governance.ts";
import { administrativeOf, batchHashes, requireSameLedgers, requireValidLedger } from "../e2e/lib/ledgers.ts";
import { compareNodes, Load } from "../e2e/lib/load.ts";
import { Network, type NetworkNode } from "../e2e/lib/network.ts";
import { delay, present, until } from "../e2e/lib/processes.ts";

const SOME = 200;
/** Exit code of a node that was removed. */
const REMOVED = 5;

/** The newest epoch, and whom its key is wrapped to. */
async function newestEpoch(node: NetworkNode): Promise<{ readonly epoch: number; readonly wraps: readonly string[] }> {
  const found = (await administrativeOf(node.dir)).findLast(({ type }) => type === "epoch");
  const { epoch, wraps } = found as unknown as { epoch: number; wraps: readonly { nodeId: string }[] };
  return { epoch, wraps: wraps.map(({ nodeId }) => nodeId) };
}

/** Votes a node out while the others serve, and looks at what follows. */
async function removeUnderLoad(
  context: TestContext,
  choose: (found: { leader: NetworkNode; followers: readonly NetworkNode[] }) => NetworkNode,
): Promise<void> {
  const network = await Network.start(4);
  const found = await network.leader();
  const removed = choose(found);
  const remaining = network.nodes.filter((node) => node !== removed);
  const load = new Load({ nodes: remaining });
  load.probeThrough(present(remaining[0]));
  try {
    await load.progress(SOME);
    const removedId = (await removed.read<{ readonly node_id: string }>("/node/state")).node_id;
    const before = await newestEpoch(found.leader);
    assert.ok(before.wraps.includes(removedId));
    const nodes = (await constitutionOf(found.leader)).nodes.filter(({ nodeId }) => nodeId !== removedId);
    const agreed = await agree(network, found.leader, { name: "remove_node", args: { nodeId: removedId } });
    const fromMs = performance.now();
    const { status, body } = await postAgreed(found.leader, network, agreed);
    assert.equal(status, 200, body);
    for (const node of remaining) {
      const view = await until(`${node.name} lists three`, async () => {
        const read = await node.read<NetworkView>("/node/network");
        return read.nodes.length === 3 ? read : undefined;
      });
      assert.ok(!view.nodes.some(({ node_id }) => node_id === removedId));
    }
    const opened = await until("a new epoch is open", async () => {
      const newest = await newestEpoch(present(remaining[0]));
      return newest.epoch > before.epoch ? newest : undefined;
    });
    assert.deepEqual([...opened.wraps].sort(), nodes.map(({ nodeId }) => nodeId).sort());
    const { code } = await removed.ended();
    assert.equal(code, REMOVED, removed.log.slice(-2_000));
    assert.equal(removed.events("node_removed").length, 1);
    assert.match(removed.log, /NodeRemoved/);
    assert.equal(removed.events("fatal").length, 0);
    await load.progress(SOME);
    const lastedMs = load.longestInterruption(fromMs);
    context.diagnostic(`measured: longest interruption ${lastedMs.toFixed(0)} ms`);

    await load.stop();
    await compareNodes(remaining, load.receipts);
    await requireSameLedgers(remaining);
    for (const node of remaining) await requireValidLedger(node);
    const [kept, whole] = await Promise.all([removed, present(remaining[0])].map(({ ledger }) => batchHashes(ledger)));
    // It has nothing of what came after, and what it has is what the others have.
    assert.ok(present(kept).size < present(whole).size, "nothing of what came after");
    for (const [index, hash] of present(kept)) assert.equal(hash, whole?.get(index), `batch ${index}`);
    const leaderNow = await network.leader();
    assert.ok(remaining.includes(leaderNow.leader));
    for (const node of remaining) assert.equal(node.events("fatal").length, 0);

    // A start does not bring it back.
    removed.start();
    await until("it runs", () => (/"event"/.test(removed.log) ? true : undefined));
    await delay(3000);
    assert.equal(removed.events("channel_up").length, 0);
    await removed.end();
    assert.equal((await batchHashes(removed.ledger)).size, present(kept).size);
  } finally {
    await load.stop().catch(() => {});
    await network.stop();
  }
}

describe("a node that is voted out under load", () => {
  test("as a follower", (context) => removeUnderLoad(context, ({ followers }) => present(followers[1])));
  test("as the leader", (context) => removeUnderLoad(context, ({ leader }) => leader));
});
