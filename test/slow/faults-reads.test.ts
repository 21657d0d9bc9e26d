/**
 * Linearizable reads in a real network: on every node they see what any client was told before, and a leader that stood
 * still or was cut off never answers one with what it had before.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import type { Hex } from "viem";
import { canTellLinks } from "../e2e/lib/link-proxy.ts";
import { sendTransfers, SINK } from "../e2e/lib/load.ts";
import type { RpcAnswer } from "../e2e/lib/json-rpc.ts";
import { Network, type NetworkNode } from "../e2e/lib/network.ts";
import { delay, present, until } from "../e2e/lib/processes.ts";

const ACCOUNT = 4;
const ROUNDS = 30;
const STOPPED_MS = 3000;

let network: Network;
let sent = 0;

before(async () => {
  network = await Network.start();
});
after(() => network?.stop());

/** Sends one transfer and waits for its answer, after which every linearizable read has to see it. */
async function write(node: NetworkNode): Promise<void> {
  await sendTransfers(node, { account: ACCOUNT, from: sent, count: 1 });
  sent++;
}

interface ReadAnswer {
  readonly status: number;
  readonly label: unknown;
  /** Undefined for an error. */
  readonly balance: number | undefined;
}

/** Reads how much was transferred, as `x-coco-consistency` says. */
async function read(node: NetworkNode, consistency?: string): Promise<ReadAnswer> {
  const { status, headers, body } = await node.rpc.http({
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_getBalance", params: [SINK, "latest"] }),
    headers: consistency === undefined ? {} : { "x-coco-consistency": consistency },
  });
  const result = status === 200 ? (JSON.parse(body) as RpcAnswer).result : undefined;
  const balance = result === undefined ? undefined : Number(result as Hex);
  return { status, label: headers["x-coco-consistency"], balance };
}

const leaderAmong = (nodes: readonly NetworkNode[]): Promise<NetworkNode> =>
  until("another leads", async () => {
    for (const node of nodes) {
      const state = await node.read<{ role: string }>("/node/state").catch(() => undefined);
      if (state?.role === "leader") return node;
    }
    return undefined;
  });

describe("linearizable reads", () => {
  test("see on every node what was written through the leader just before", async (context) => {
    const { leader, followers } = await network.leader();
    let behind = 0;
    for (let round = 0; round < ROUNDS; round++) {
      await write(leader);
      const local = await read(present(followers[round % 2]));
      assert.deepEqual([local.status, local.label], [200, "local"]);
      if (local.balance !== sent) behind++;
      await write(leader);
      const answers = await Promise.all(network.nodes.map((node) => read(node, "linearizable")));
      for (const answer of answers) assert.deepEqual(answer, { status: 200, label: "linearizable", balance: sent });
    }
    context.diagnostic(`measured: ${behind} of ${ROUNDS} local reads on a follower were behind`);
  });

  test("are asked for by exact name", async () => {
    for (const value of ["Linearizable", "strong", "", "linearizable, local"]) {
      const { status, body } = await present(network.nodes[0]).rpc.http({
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_blockNumber", params: [] }),
        headers: { "x-coco-consistency": value },
      });
      assert.deepEqual([status, JSON.parse(body).error.code], [400, "MalformedInput"], `"${value}"`);
    }
    assert.equal((await read(present(network.nodes[0]), "local")).label, "local");
  });

  test("are never answered from the past by a leader that stood still", async (context) => {
    const outcomes: string[] = [];
    for (let round = 0; round < 3; round++) {
      const { leader, followers } = await network.leader();
      await read(leader, "linearizable");
      leader.signal("SIGSTOP");
      // Asked while it stands still, so that they are the first that it sees afterwards.
      const asked = Array.from({ length: 5 }, () => read(leader, "linearizable").catch(() => undefined));
      await delay(STOPPED_MS);
      await write(await leaderAmong(followers));
      leader.signal("SIGCONT");
      const answers = await Promise.all([...asked, read(leader, "linearizable").catch(() => undefined)]);
      for (const answer of answers) {
        outcomes.push(answer?.balance === undefined ? `refused (${answer?.status ?? "closed"})` : "new");
        if (answer?.balance !== undefined) assert.equal(answer.balance, sent, "an old state was called linearizable");
      }
      await network.ready();
    }
    context.diagnostic(`measured: answers of the leader that stood still: ${tally(outcomes)}`);
  });

  test("are not answered by a leader that is cut off, until it has caught up", {
    skip: canTellLinks ? false : "links can be told apart on Linux only",
  }, async (context) => {
    const { leader, followers } = await network.leader();
    for (const follower of followers) network.cut(leader, follower);
    const asked: Promise<ReadAnswer | undefined>[] = [];
    const next = leaderAmong(followers);
    const until = performance.now() + STOPPED_MS;
    let wrote = false;
    while (performance.now() < until || !wrote) {
      if (!wrote && (await Promise.race([next, delay(1).then(() => undefined)])) !== undefined) {
        await write(await next);
        wrote = true;
      }
      if (wrote && asked.length < 20) asked.push(read(leader, "linearizable").catch(() => undefined));
      await delay(50);
    }
    const local = await read(leader);
    assert.deepEqual([local.status, local.label], [200, "local"]);
    assert.equal(local.balance, sent - 1, "it knows nothing of the last write, and says that it answers for itself");
    network.heal();
    const answers = await Promise.all(asked);
    for (const answer of answers)
      if (answer?.balance !== undefined) assert.equal(answer.balance, sent, "an old state was called linearizable");
    await network.ready();
    assert.equal((await read(leader, "linearizable")).balance, sent);
    const outcomes = answers.map((answer) => (answer?.balance === undefined ? `${answer?.status ?? "closed"}` : "new"));
    context.diagnostic(`measured: answers of the leader that was cut off: ${tally(outcomes)}`);
  });
});

function tally(outcomes: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return [...counts].map(([outcome, count]) => `${count} ${outcome}`).join(", ");
}
