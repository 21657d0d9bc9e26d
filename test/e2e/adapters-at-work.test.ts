/**
 * Members of a real network that began without any adapter open it, mount the Ethereum adapter, configure and remove it; and a
 * node that starts again, or was away meanwhile, comes to the same.
 */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { privateKeyToAccount } from "viem/accounts";
import type { Action } from "../../src/core/governance/actions.ts";
import type { JsonValue } from "../../src/core/governance/json-value.ts";
import { agree, postAgreed } from "./lib/governance.ts";
import { accountKey, Network, type NetworkNode } from "./lib/network.ts";
import { until } from "./lib/processes.ts";
import { ETHEREUM_PATH } from "./lib/sandbox.ts";

const network = await Network.start(3, {}, [], { adapters: [], open: false });
after(() => network.stop());

const FUNDED = privateKeyToAccount(accountKey(0)).address.toLowerCase();
const OPTIONS = {
  chainId: 4711,
  timestamp: 1_700_000_000,
  alloc: { [FUNDED]: { balance: "1000000000000000000000" } },
} satisfies JsonValue;
const MOUNTED = { name: "ethereum", version: "0.1.0", mount: ETHEREUM_PATH, options: OPTIONS };

async function decide(...actions: readonly Action[]): Promise<void> {
  const { leader } = await network.leader();
  const { status, body } = await postAgreed(leader, network, await agree(network, leader, ...actions));
  assert.equal(status, 200, body);
}

/** What a node says to one JSON-RPC call: the result, or the HTTP status. */
async function ask(node: NetworkNode, method: string, ...params: readonly unknown[]): Promise<unknown> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const answer = await node.rpc.http({ path: ETHEREUM_PATH, body, headers: { "content-type": "application/json" } });
  if (answer.status !== 200) return answer.status;
  return (JSON.parse(answer.body) as { result?: unknown }).result;
}

async function allAnswer(expected: unknown, method: string, ...params: readonly unknown[]): Promise<void> {
  for (const node of network.nodes)
    await until(`${node.name} answers ${method} with ${String(expected)}`, async () =>
      (await ask(node, method, ...params).catch(() => undefined)) === expected ? true : undefined,
    );
}

describe("a network that began without adapters", () => {
  test("serves one that is mounted, once it is open, on every node", async () => {
    await allAnswer(404, "eth_chainId");
    await decide({ name: "mount_adapter", args: MOUNTED });
    await allAnswer(503, "eth_chainId");
    await decide({ name: "open_network", args: {} });
    await allAnswer("0x1267", "eth_chainId");
    await allAnswer("0x3635c9adc5dea00000", "eth_getBalance", FUNDED, "latest");
  });

  test("configures it, goes on with its state, and so does a node that starts again", async () => {
    const options = { ...OPTIONS, blockGasLimit: 12_000_000 };
    await decide({ name: "configure_adapter", args: { name: "ethereum", options } });
    for (const node of network.nodes)
      await until(`${node.name} has the options`, async () =>
        node.events("adapter_configured").length > 0 ? true : undefined,
      );
    await allAnswer("0x3635c9adc5dea00000", "eth_getBalance", FUNDED, "latest");
    const { followers } = await network.leader();
    const [again] = followers;
    assert.ok(again);
    await again.end("SIGTERM");
    again.start();
    await allAnswer("0x3635c9adc5dea00000", "eth_getBalance", FUNDED, "latest");
  });

  test("ends it, and has it again under another id, with a state of its own", async () => {
    await decide({ name: "remove_adapter", args: { name: "ethereum" } });
    await allAnswer(404, "eth_chainId");
    const fresh = { ...OPTIONS, chainId: 99, alloc: {} };
    await decide({ name: "mount_adapter", args: { ...MOUNTED, options: fresh } });
    await allAnswer("0x63", "eth_chainId");
    await allAnswer("0x0", "eth_getBalance", FUNDED, "latest");
  });

  test("goes on without one that no node's code has: each says so, and serves the others", async () => {
    await decide({
      name: "mount_adapter",
      args: { name: "unheard-of", version: "1.0.0", mount: "/other", options: {} },
    });
    for (const node of network.nodes) {
      await until(`${node.name} says so`, async () =>
        node.events("adapter_unavailable").length > 0 ? true : undefined,
      );
      const { status, body } = await node.rpc.http({ path: "/other", body: "{}" });
      assert.deepEqual(
        [status, (JSON.parse(body) as { error: { code: string } }).error.code],
        [503, "AdapterUnavailable"],
      );
    }
    await allAnswer("0x63", "eth_chainId");
  });
});
