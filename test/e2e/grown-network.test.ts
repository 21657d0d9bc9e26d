/** A network founded with one node, which others joined: genesis does not list them, the ledger does. */
import assert from "node:assert/strict";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { constitutionToJson } from "../../src/core/governance/constitution-codec.ts";
import { agree, constitutionOf, postAgreed } from "./lib/governance.ts";
import { sendTransfers } from "./lib/load.ts";
import { Network, type NetworkNode } from "./lib/network.ts";
import { present, runCoco, until } from "./lib/processes.ts";

const network = await Network.start(1);
const first = present(network.nodes[0]);
const joined: NetworkNode[] = [];

/** Lists another node, which joins over the first one. */
async function grow(name: string): Promise<void> {
  const { node, entry } = await network.newcomer(name);
  joined.push(node);
  const { body, status } = await postAgreed(
    first,
    network,
    await agree(network, first, { name: "add_node", args: { entry: entry.entry } }),
  );
  assert.equal(status, 200, body);
  await joinWith(node, first);
  node.start();
  await node.ready();
  await caughtUp(node, first);
  await until(`${name} has a vote: without it the others are too few while the first one is away`, async () => {
    const { status, body: nodes } = await first.rpc.http({
      method: "GET",
      path: "/gov/service/nodes?api-version=2024-07-01",
    });
    return status === 200 && !nodes.includes('"Pending"') ? true : undefined;
  });
}

async function joinWith(node: NetworkNode, other: NetworkNode): Promise<void> {
  const file = join(network.dir, "constitution.json");
  await writeFile(file, constitutionToJson(await constitutionOf(other)));
  const { code, stderr } = await runCoco(
    ...["node", "join", "--dir", node.dir, "--url", `https://127.0.0.1:${other.clientPort}`],
    ...["--service-cert", other.serviceCertificate, "--constitution", file, "--network-id", await networkId(other)],
  );
  assert.equal(code, 0, stderr);
}

async function networkId(node: NetworkNode): Promise<string> {
  return (await node.read<{ network_id: string }>("/node/network")).network_id;
}

async function caughtUp(node: NetworkNode, with_: NetworkNode): Promise<void> {
  const blocks = await with_.blockNumber();
  await until("it has caught up", async () => ((await node.blockNumber()) === blocks ? true : undefined));
}

before(async () => {
  await grow("node1");
  await grow("node2");
});
after(async () => {
  for (const node of joined) {
    await node.end();
    node.disconnect();
    node.proxy.close();
  }
  await network.stop();
});

describe("the founding node of a network that grew", () => {
  test("comes back without its term and vote: the ledger lists who has what it lost", async () => {
    await first.end("SIGTERM");
    await rm(join(first.dir, "ledger", "consensus"));
    first.start();
    await first.ready();
    await sendTransfers(present(joined[0]), { account: 0, from: 0, count: 1 });
    await caughtUp(first, present(joined[0]));
  });

  test("is refused without its ledger, until it has joined again", async () => {
    await first.end("SIGTERM");
    await rename(join(first.dir, "ledger"), join(network.dir, "kept"));
    const { code, stderr } = await runCoco("node", "start", "--dir", first.dir);
    assert.deepEqual([code, /LedgerIncomplete: .*it holds no entry/.test(stderr)], [1, true], stderr);
    await joinWith(first, present(joined[0]));
    first.start();
    await first.ready();
    await sendTransfers(present(joined[0]), { account: 0, from: 1, count: 1 });
    await caughtUp(first, present(joined[0]));
  });
});
