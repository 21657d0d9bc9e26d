/**
 * Nodes that run code which is not approved any more leave a real network: by the vote that retires it, and when the entry
 * ends by its date, without any vote then.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Action } from "../../src/core/governance/actions.ts";
import { decide as decideOn, type NetworkView } from "./lib/governance.ts";
import { administrativeOf, requireValidLedger } from "./lib/ledgers.ts";
import { sendTransfers } from "./lib/load.ts";
import { Network, type NetworkNode } from "./lib/network.ts";
import { otherCode } from "./lib/other-code.ts";
import { present, runProcess, until } from "./lib/processes.ts";

const API = "api-version=2024-07-01";

let network: Network;
let code: Awaited<ReturnType<typeof otherCode>>;

before(async () => {
  network = await Network.start(4);
  code = await otherCode(network.dir);
});
after(() => network?.stop());

const expelled: NetworkNode[] = [];
const staying = (): readonly NetworkNode[] => network.nodes.filter((node) => !expelled.includes(node));
const first = (): NetworkNode => present(network.nodes[0]);

async function decide(...actions: readonly Action[]): Promise<void> {
  await decideOn(network, (await network.leader()).leader, ...actions);
}

const idOf = async (node: NetworkNode): Promise<string> =>
  (await node.read<{ node_id: string }>("/node/state")).node_id;
const viewOf = (node: NetworkNode): Promise<NetworkView> => node.read<NetworkView>("/node/network");

/** What the network knows of the code a node runs. */
async function recordedCode(nodeId: string): Promise<string | undefined> {
  const one = await first().read<{ measurement?: string }>(`/gov/service/nodes/${nodeId}?${API}`);
  return one.measurement;
}

/** Starts a node again with the other code, and waits until the ledger says so. */
async function moveToOtherCode(node: NetworkNode): Promise<string> {
  const nodeId = await idOf(node);
  await node.end("SIGTERM");
  node.start(code.cli);
  await node.ready();
  await until(`the ledger says what ${node.name} runs`, async () =>
    (await recordedCode(nodeId)) === code.measurement ? true : undefined,
  );
  return nodeId;
}

/** Waits until the others go on without a node that was expelled, under a new service identity. */
async function requireExpelled(node: NetworkNode, nodeId: string, before: NetworkView): Promise<void> {
  expelled.push(node);
  for (const other of staying())
    await until(`${other.name} has a new service identity`, async () => {
      const { nodes, service_certificate } = await viewOf(other);
      const isGone = nodes.every(({ node_id }) => node_id !== nodeId);
      return isGone && service_certificate !== before.service_certificate ? true : undefined;
    });
}

/** A node of the network that is not its leader, nor the first one. */
async function spareNode(): Promise<NetworkNode> {
  const { leader } = await network.leader();
  return present(staying().findLast((node) => node !== leader && node !== first()));
}

const approve: () => Action = () => ({
  name: "approve_code",
  args: { measurement: code.measurement, name: "coco-framework", version: "other" },
});

describe("a node on code that was approved", () => {
  test("leaves by the vote that retires the code, and what it would do says so before", async () => {
    await decide(approve());
    const node = await spareNode();
    const nodeId = await moveToOtherCode(node);
    await sendTransfers(node, { account: 0, from: 0, count: 2 });

    const retire: Action = { name: "retire_code", args: { measurement: code.measurement } };
    const tried = await first().rpc.http({
      path: `/gov/members/proposals:dry-run?${API}`,
      body: JSON.stringify({ actions: [retire] }),
    });
    assert.equal(tried.status, 200, tried.body);
    assert.ok(tried.body.includes(`expels node ${nodeId.slice(0, 8)}`), tried.body);

    const before = await viewOf(first());
    await decide(retire);
    await requireExpelled(node, nodeId, before);
    await sendTransfers(first(), { account: 0, from: 2, count: 2 });
  });

  test("leaves when its entry ends by its date, without a vote then", async () => {
    await decide(approve());
    const node = await spareNode();
    const nodeId = await moveToOtherCode(node);
    const before = await viewOf(first());
    const at = Date.now() + 4_000;
    await decide({ name: "retire_code", args: { measurement: code.measurement, at } });
    const listed = (await viewOf(first())).nodes.map(({ node_id }) => node_id);
    assert.ok(listed.includes(nodeId), "the vote itself expels nobody");

    await requireExpelled(node, nodeId, before);
    const administrative = await administrativeOf(first().dir);
    const expel = present(administrative.findLast(({ type }) => type === "expel"));
    assert.ok(expel.timeMs >= at, "not before the date");
    assert.ok(JSON.stringify(expel).includes(nodeId));
    const requests = administrative.filter(({ type, timeMs }) => type === "request" && timeMs >= at);
    assert.deepEqual(requests, [], "nobody voted for it then");
  });

  test("ends with 5, is not let in again, and leaves a network that goes on", async () => {
    assert.equal(expelled.length, 2);
    for (const node of expelled) {
      // It is cut off, and hears of its end by the silence.
      const exit = await node.ended(60_000);
      assert.equal(exit.code, 5, node.log.slice(-2_000));
      assert.match(node.log, /NodeRemoved/);
      assert.equal(node.events("node_removed").length, 1);
    }
    const { dir } = present(expelled[0]);
    const join = ["node", "join", "--dir", dir, "--url", `https://127.0.0.1:${first().clientPort}`];
    const again = await runProcess(process.execPath, [code.cli, ...join, "--service-cert", first().serviceCertificate]);
    assert.equal(again.code, 1, again.stderr);
    assert.match(again.stderr, /JoinCodeNotApproved/);

    await sendTransfers(first(), { account: 1, from: 0, count: 3 });
    assert.equal(staying().length, 2);
    for (const node of staying()) await requireValidLedger(node);
  });
});
