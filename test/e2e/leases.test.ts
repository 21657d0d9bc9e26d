/**
 * Leases on real processes, short ones: a network that renews them under load fails no write; a node that stands still past its
 * lease is quarantined, serves nobody when it goes on, and comes back by itself.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Hex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { signTransfer } from "./lib/load.ts";
import { accountKey, Network, type NetworkNode } from "./lib/network.ts";
import { delay, until } from "./lib/processes.ts";

const LEASE_MS = 3_000;

interface Quote {
  readonly node_id: string;
  readonly format: string | null;
  readonly raw: string | null;
  readonly reasons: readonly unknown[];
  readonly attested_at_ms: number | null;
  readonly quarantined: boolean;
}

let network: Network;

before(async () => {
  network = await Network.start(3, { leaseMs: LEASE_MS });
});
after(() => network?.stop());

const quotesOf = async (node: NetworkNode): Promise<readonly Quote[]> =>
  (await node.read<{ quotes: readonly Quote[] }>("/node/evidence")).quotes;

const idOf = async (node: NetworkNode): Promise<string> =>
  (await node.read<{ node_id: string }>("/node/state")).node_id;

describe("a network with short leases", () => {
  test("shows the evidence of all nodes, and renews every lease many times without one failed write", async () => {
    const { leader, followers } = await network.leader();
    await until("all are recorded", async () =>
      (await quotesOf(leader)).every(({ format, raw }) => format === "virtual" && raw !== null) ? true : undefined,
    );
    const first = await quotesOf(leader);
    const account = privateKeyToAccount(accountKey(0));
    const nodes = [leader, ...followers];
    let nonce = 0;
    const renewals = async (): Promise<number> => {
      const now = await quotesOf(leader);
      const passed = now.map(({ attested_at_ms: at }, place) => (at ?? 0) - (first[place]?.attested_at_ms ?? 0));
      return Math.min(...passed) / LEASE_MS;
    };
    while ((await renewals()) < 2) {
      const node = nodes[nonce % nodes.length] ?? leader;
      const hash = await node.rpc.call<Hex>("eth_sendRawTransaction", await signTransfer(account, nonce++));
      assert.match(hash, /^0x[0-9a-f]{64}$/);
      await delay(40);
    }
    const now = await quotesOf(leader);
    assert.ok(now.every(({ quarantined, reasons }) => !quarantined && reasons.length === 0));
    assert.equal(Number(await leader.rpc.call<Hex>("eth_getTransactionCount", account.address, "latest")), nonce);
    assert.ok(nonce > 20, `${nonce} writes`);
  });

  test("quarantines a node that stands still, which then serves no read and comes back by itself", async () => {
    const { leader, followers } = await network.leader();
    const [struck] = followers;
    assert.ok(struck);
    const id = await idOf(struck);
    const isStruck = async () => (await quotesOf(leader)).find(({ node_id }) => node_id === id)?.quarantined;
    struck.signal("SIGSTOP");
    await until("it is quarantined", async () => ((await isStruck()) ? true : undefined), { timeoutMs: 30_000 });
    const listed = await leader.read<{ value: readonly { nodeId: string; status: string }[] }>(
      "/gov/service/nodes?api-version=2024-07-01",
    );
    assert.equal(listed.value.find(({ nodeId }) => nodeId === id)?.status, "Quarantined");
    const { body } = await leader.rpc.http({ method: "GET", path: "/gov/members/proposals?api-version=2024-07-01" });
    const [proposal] = (JSON.parse(body) as { value: readonly { proposerId: string; proposalState: string }[] }).value;
    assert.deepEqual([proposal?.proposerId, proposal?.proposalState], ["coco:lease", "Open"]);

    // What waits in its sockets is the first it gets to see.
    const balance = { path: "/eth", body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_blockNumber" }) };
    const asked = struck.rpc.http({ method: "POST", ...balance });
    struck.signal("SIGCONT");
    const answer = await asked.catch(() => undefined);
    const height = await leader.blockNumber();
    if (answer?.status === 200) {
      const seen = Number((JSON.parse(answer.body) as { result: Hex }).result);
      assert.ok(seen >= height, "it answers only once it knows everything, and is out of quarantine");
    }
    await until("it is out of quarantine", async () => ((await isStruck()) === false ? true : undefined), {
      timeoutMs: 30_000,
    });
    await until("it serves", async () => ((await struck.isReady()) ? true : undefined), { timeoutMs: 30_000 });
    assert.ok(struck.events("node_quarantined").length > 0, "it was told");
    assert.ok((await struck.blockNumber()) >= height);
  });
});
