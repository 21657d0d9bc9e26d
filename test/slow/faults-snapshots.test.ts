/**
 * Snapshots in a real network: their evidence in the ledger, a start from one, a node whose ledger is gone and that gets the
 * leader's, and the past on nodes that have old chunks and on one that has not.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Hex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { flipBit } from "../e2e/lib/ledger-damage.ts";
import { administrativeOf, requireSameLedgers, requireValidLedger } from "../e2e/lib/ledgers.ts";
import { compareNodes, Load, sendTransfers } from "../e2e/lib/load.ts";
import { accountKey, CHAIN_ID, Network, type NetworkNode } from "../e2e/lib/network.ts";
import { present, until } from "../e2e/lib/processes.ts";
import { requireReceipts, seqnoOf, transactionIdOf } from "../e2e/lib/receipts.ts";

const EVERY_TRANSACTIONS = 200;
/** Snapshots with evidence that must be there before the test goes on. */
const SNAPSHOTS = 2;
/** Creates a contract that writes one log: its topic and its data are the first word of what it is called with. */
const LOGGING_CONTRACT: Hex = "0x6009600c60003960096000f360003560206000a100";
/** Accounts that the load does not use. */
const LOGGER = 5;
const SENDER = 6;

let network: Network;
let early: Hex;
let contract: Hex;
let logNonce = 0;
/** Next transaction of {@link SENDER}. */
let nonce = 5;

before(async () => {
  network = await Network.start(3, { snapshot: { everyTransactions: EVERY_TRANSACTIONS } });
});
after(() => network?.stop());

async function send(node: NetworkNode, fields: { readonly to?: Hex; readonly data: Hex }): Promise<Hex> {
  const raw = await privateKeyToAccount(accountKey(LOGGER)).signTransaction({
    ...{ nonce: logNonce++, gas: 200_000n, chainId: CHAIN_ID, type: "eip1559", ...fields },
    ...{ maxFeePerGas: 100_000_000_000n, maxPriorityFeePerGas: 1n },
  });
  return node.rpc.call<Hex>("eth_sendRawTransaction", raw);
}

/** Writes logs through a node that runs. */
async function writeLogs(count: number): Promise<void> {
  const node = network.nodes.find(({ pid }) => pid > 0);
  for (let at = 0; at < count; at++)
    await send(present(node), { to: contract, data: `0x${(logNonce + 1).toString(16).padStart(64, "0")}` });
}

const logsOf = (node: NetworkNode): Promise<readonly unknown[]> =>
  node.rpc.call<readonly unknown[]>("eth_getLogs", { address: contract, fromBlock: "0x0", toBlock: "latest" });

const evidenceOf = async (node: NetworkNode) =>
  (await administrativeOf(node.dir)).filter(({ type }) => type === "snapshot");

function waitForEvidence(node: NetworkNode, count: number): Promise<unknown> {
  return until(
    `${count} snapshots with evidence`,
    async () => ((await evidenceOf(node)).length >= count ? true : undefined),
    { timeoutMs: 60_000, everyMs: 300 },
  );
}

/** Puts load on the network until a number of new snapshots have evidence; then compares all nodes. */
async function loadUntilSnapshots(): Promise<void> {
  const { leader } = await network.leader();
  const load = new Load({ nodes: network.nodes.filter(({ pid }) => pid > 0) });
  try {
    await waitForEvidence(leader, (await evidenceOf(leader)).length + SNAPSHOTS);
    await load.progress(20);
  } finally {
    await load.stop();
  }
  await compareNodes(
    network.nodes.filter(({ pid }) => pid > 0),
    load.receipts,
  );
}

describe("snapshots", () => {
  test("get evidence in the ledger, and a node begins from one", async () => {
    const { leader, followers } = await network.leader();
    early = present((await sendTransfers(leader, { account: SENDER, from: 0, count: 3 }))[1]);
    const created = await send(leader, { data: LOGGING_CONTRACT });
    const receipt = await until("the contract is there", async () =>
      present(
        (await leader.rpc.call<{ contractAddress: Hex } | null>("eth_getTransactionReceipt", created)) ?? undefined,
      ),
    );
    contract = receipt.contractAddress;
    await writeLogs(5);
    await loadUntilSnapshots();
    const evidence = await evidenceOf(leader);
    for (const { seqno, index } of evidence) assert.ok(present(seqno) >= EVERY_TRANSACTIONS && present(index) > 1);
    const node = present(followers[0]);
    await node.end("SIGTERM");
    node.start();
    await node.ready();
    const [started] = node.events("started_from_snapshot");
    assert.ok(Number(started?.["index"]) > 1, "it begins from a snapshot");
    await writeLogs(3);
    await requireSameLedgers(network.nodes);
    const [expected, ...others] = await Promise.all(network.nodes.map(logsOf));
    assert.equal(expected?.length, 8);
    for (const other of others) assert.deepEqual(other, expected);
    const id = await transactionIdOf(node, early);
    await requireReceipts(node, id, leader.serviceCertificate);
    for (const each of network.nodes) await requireValidLedger(each);
  });

  test("replace the ledger of a node whose folder is gone", async () => {
    const { leader, followers } = await network.leader();
    const victim = present(followers[0]);
    await victim.end();
    await rm(victim.ledger, { recursive: true });
    await writeLogs(2);
    victim.start();
    await victim.ready();
    await until("the snapshot is installed", () => victim.events("snapshot_installed")[0], { timeoutMs: 40_000 });
    await loadUntilSnapshots();
    await writeLogs(2);
    const late = present((await sendTransfers(victim, { account: SENDER, from: 3, count: 1 }))[0]);
    const firsts = await requireSameLedgers(network.nodes);
    assert.ok(present(firsts[network.nodes.indexOf(victim)]) > 1, "it holds nothing before the snapshot");
    const [expected, ...others] = await Promise.all(network.nodes.map(logsOf));
    assert.equal(expected?.length, 12);
    for (const other of others) assert.deepEqual(other, expected);

    await requireReceipts(victim, await transactionIdOf(victim, late), leader.serviceCertificate);
    const id = await transactionIdOf(leader, early);
    await requireReceipts(leader, id, leader.serviceCertificate);
    for (const path of [
      `/node/receipt?transaction_id=${id}`,
      `/node/receipt?transaction_id=${id}&format=cose`,
      `/node/transactions?from_seqno=${seqnoOf(id)}&to_seqno=${seqnoOf(id)}`,
    ]) {
      const { status, body } = await victim.rpc.http({ method: "GET", path });
      assert.deepEqual([status, JSON.parse(body).error.code], [404, "NotFound"], path);
      assert.match(body, /not in the ledger of this node/);
    }
    assert.equal((await victim.read<{ status: string }>(`/node/tx?transaction_id=${id}`)).status, "Committed");
  });

  test("carry a node that came back without a ledger over its next start", async () => {
    const { leader, followers } = await network.leader();
    const victim = present(followers.find((node) => node.events("snapshot_installed").length > 0) ?? followers[0]);
    await victim.end();
    victim.start();
    await victim.ready();
    assert.equal(victim.events("started_from_snapshot").length, 1);
    await sendTransfers(victim, { account: SENDER, from: 4, count: 1 });
    await requireSameLedgers(network.nodes);
    assert.deepEqual(await logsOf(victim), await logsOf(leader));
  });

  test("carry a node over damage in the ledger before them", async () => {
    const { followers } = await network.leader();
    for (const [at, victim] of followers.entries()) {
      await victim.end();
      await flipBit(victim.dir, 0.2 + 0.5 * at);
      victim.start();
      await victim.ready();
      assert.equal(victim.events("ledger_repaired").length, 1);
      await sendTransfers(victim, { account: SENDER, from: nonce++, count: 1 });
      await requireSameLedgers(network.nodes);
      assert.deepEqual(await logsOf(victim), await logsOf((await network.leader()).leader));
    }
  });

  test("that are damaged are passed over, or fetched again where the ledger begins after one", async () => {
    const { followers } = await network.leader();
    for (const victim of followers) {
      await victim.end();
      for (const name of (await readdir(victim.ledger)).filter((found) => found.startsWith("snapshot_"))) {
        const file = join(victim.ledger, name);
        const bytes = await readFile(file);
        const at = Math.floor(bytes.length * 0.7);
        bytes.writeUInt8(bytes.readUInt8(at) ^ 4, at);
        await writeFile(file, bytes);
      }
      victim.start();
      await victim.ready();
      assert.equal(victim.events("started_from_snapshot").length, 0);
      await sendTransfers(victim, { account: SENDER, from: nonce++, count: 1 });
      await requireSameLedgers(network.nodes);
      assert.deepEqual(await logsOf(victim), await logsOf((await network.leader()).leader));
    }
  });
});
