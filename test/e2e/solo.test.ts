/**
 * A sandbox of one node, whose consensus is `solo`: the other implementation of the same contract.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import type { Hex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import type { RpcClient } from "./lib/json-rpc.ts";
import { present, runCoco, until } from "./lib/processes.ts";
import { type Sandbox, startSandbox, temporaryFolder } from "./lib/sandbox.ts";

const SINK = "0x00000000000000000000000000000000c0c0c0c0";
const options = ["--nodes", "1", "--json"];

let dir: string;
let sandbox: Sandbox;
let nonce = 0;

before(async () => {
  dir = await temporaryFolder();
  sandbox = await startSandbox({ dir, arguments: options });
});
after(async () => {
  await sandbox?.halt();
  await rm(dir, { recursive: true, force: true });
});

/** Sends transfers of 1 wei and returns the balance of their target. */
async function transfer(node: RpcClient, count: number): Promise<number> {
  const account = privateKeyToAccount(present(sandbox.endpoints.accounts[0]).privateKey);
  for (let at = 0; at < count; at++) {
    const raw = await account.signTransaction({
      ...{ to: SINK, value: 1n, nonce: nonce++, gas: 21_000n, chainId: 31337, type: "eip1559" },
      ...{ maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n },
    });
    const hash = await node.call<Hex>("eth_sendRawTransaction", raw);
    await until("its receipt is there", async () => (await node.call("eth_getTransactionReceipt", hash)) ?? undefined);
  }
  return Number(await node.call<Hex>("eth_getBalance", SINK, "latest"));
}

async function readJson(node: RpcClient, path: string) {
  const { status, body } = await node.http({ method: "GET", path });
  assert.equal(status, 200, body);
  return JSON.parse(body);
}

describe("a sandbox of one node", () => {
  test("runs transactions under solo consensus", async () => {
    const node = await sandbox.member(0);
    const { settings } = await readJson(node, "/node/constitution");
    assert.equal(settings.consensus, "solo");
    assert.equal((await readJson(node, "/node/state")).role, "leader");
    assert.equal(await transfer(sandbox.gateway(0), 5), 5);
  });

  test("answers linearizable reads", async () => {
    const node = await sandbox.member(0);
    const { headers, body } = await node.http({
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_getBalance", params: [SINK, "latest"] }),
      headers: { "x-coco-consistency": "linearizable" },
    });
    assert.equal(headers["x-coco-consistency"], "linearizable");
    assert.equal(Number(JSON.parse(body).result), 5);
  });

  test("goes on after an orderly stop and after a kill", async () => {
    for (const signal of ["SIGINT", "SIGKILL"] as const) {
      const height = await sandbox.gateway(0).call<Hex>("eth_blockNumber");
      const { view } = await readJson(await sandbox.member(0), "/node/state");
      const { pid } = present(sandbox.endpoints.nodes[0]);
      if (signal === "SIGKILL") process.kill(pid, signal);
      await sandbox.halt();
      sandbox = await startSandbox({ dir, arguments: options });
      const node = sandbox.gateway(0);
      assert.ok(Number(await node.call<Hex>("eth_blockNumber")) >= Number(height));
      assert.ok((await readJson(await sandbox.member(0), "/node/state")).view > view);
      assert.equal(await transfer(node, 2), nonce);
    }
    const { dir: folder } = present(sandbox.endpoints.nodes[0]);
    const verified = await runCoco("ledger", "verify", folder, "--service-cert", sandbox.endpoints.ca);
    assert.equal(verified.code, 0, verified.stderr);
  });
});
