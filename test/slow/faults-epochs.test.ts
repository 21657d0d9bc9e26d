/**
 * Epochs in real networks: new keys by time and by number of transactions while writes go on, and receipts of transactions
 * whose epoch is over, also on a node that was away meanwhile.
 */
import { describe, test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import type { Hex } from "viem";
import type { SettingsChange } from "../../src/core/governance/settings.ts";
import { administrativeOf, requireSameLedgers, requireValidLedger, type ShownTransaction } from "../e2e/lib/ledgers.ts";
import { compareNodes, Load } from "../e2e/lib/load.ts";
import { Network, type NetworkNode } from "../e2e/lib/network.ts";
import { present, until } from "../e2e/lib/processes.ts";
import { requireReceipts, seqnoOf, transactionIdOf } from "../e2e/lib/receipts.ts";

/** Epochs that must be there before the test goes on. */
const EPOCHS = 4;
/** Time for which ended keys are kept, in milliseconds: short, so that they are opened again for receipts. */
const KEY_CACHE_MS = 200;
const EPOCH_MS = 1500;
const EPOCH_TRANSACTIONS = 250;

const epochsOf = async (node: NetworkNode): Promise<readonly ShownTransaction[]> =>
  (await administrativeOf(node.dir)).filter(({ type }) => type === "epoch");

function waitForEpochs(node: NetworkNode, count: number): Promise<readonly ShownTransaction[]> {
  return until(
    `${count} epochs`,
    async () => {
      const epochs = await epochsOf(node);
      return epochs.length >= count ? epochs : undefined;
    },
    { timeoutMs: 60_000, everyMs: 300 },
  );
}

/** The epoch under which a transaction was sealed. */
async function epochOf(node: NetworkNode, transactionId: string): Promise<number> {
  const seqno = seqnoOf(transactionId);
  const path = `/node/transactions?from_seqno=${seqno}&to_seqno=${seqno}`;
  const { transactions } = await node.read<{ transactions: readonly { epoch: number }[] }>(path);
  return present(transactions[0]).epoch;
}

/** A few of the transactions seen, from first to last, with their epochs. */
async function sample(node: NetworkNode, hashes: readonly Hex[]): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (let at = 0; at < 6; at++) {
    const hash = present(hashes[Math.floor(((hashes.length - 1) * at) / 5)]);
    const id = await transactionIdOf(node, hash);
    found.set(id, await epochOf(node, id));
  }
  return found;
}

/** Runs a network under load until some epochs are over, with a node that is away for some of them; then checks receipts. */
async function acrossEpochs(context: TestContext, settings: SettingsChange): Promise<readonly ShownTransaction[]> {
  const network = await Network.start(3, settings);
  const load = new Load(network);
  try {
    const { leader, followers } = await network.leader();
    const away = present(followers[0]);
    await waitForEpochs(leader, 2);
    await away.end();
    await waitForEpochs(leader, EPOCHS);
    away.start();
    await away.ready();
    await load.progress(50);
    await waitForEpochs(leader, EPOCHS + 1);
    await load.stop();
    const blocks = await compareNodes(network.nodes, load.receipts);
    const epochs = await epochsOf(leader);
    context.diagnostic(`measured: ${epochs.length} epochs, ${load.receipts.size} receipts in ${blocks} blocks`);
    const sampled = await sample(leader, [...load.receipts.keys()]);
    assert.ok(new Set(sampled.values()).size >= 3, `epochs of the sample: ${[...sampled.values()].join(", ")}`);
    for (const node of network.nodes)
      for (const id of sampled.keys()) await requireReceipts(node, id, network.nodes[0]?.serviceCertificate ?? "");
    for (const [id] of sampled)
      assert.equal((await away.read<{ status: string }>(`/node/tx?transaction_id=${id}`)).status, "Committed");
    await requireSameLedgers(network.nodes);
    for (const node of network.nodes) await requireValidLedger(node);
    return epochs;
  } finally {
    await load.stop().catch(() => {});
    await network.stop();
  }
}

describe("epochs under load", () => {
  test("begin when their time is over", async (context) => {
    const epoch = { lengthMs: EPOCH_MS, transactions: 0, keyCacheMs: KEY_CACHE_MS };
    const epochs = await acrossEpochs(context, { epoch });
    const times = epochs.map(({ timeMs }) => timeMs);
    for (let at = 1; at < times.length; at++)
      assert.ok(present(times[at]) - present(times[at - 1]) >= EPOCH_MS, `times ${times.join(", ")}`);
  });

  test("begin after a number of transactions", async (context) => {
    const epoch = { lengthMs: 0, transactions: EPOCH_TRANSACTIONS, keyCacheMs: KEY_CACHE_MS };
    const epochs = await acrossEpochs(context, { epoch });
    // An epoch counts from the start of its batch: that of the first one begins with the genesis.
    const seqnos = epochs.map(({ transactionId }, at) => (at === 0 ? 1 : seqnoOf(transactionId)));
    for (let at = 1; at < seqnos.length; at++)
      assert.ok(present(seqnos[at]) - present(seqnos[at - 1]) >= EPOCH_TRANSACTIONS, `at ${seqnos.join(", ")}`);
  });
});
