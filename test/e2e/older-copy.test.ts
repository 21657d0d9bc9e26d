/**
 * A node in an SGX enclave, whose keys are sealed to its code, on a host that puts older copies of its folder back. Sealing does not
 * notice an older copy; where disks are not trusted, the node asks its peers before it votes, leads or serves.
 */
import assert from "node:assert/strict";
import { cp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Hex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { playedSgx } from "../support/played-gramine.ts";
import { askNode, type RecoveryDocument } from "./lib/ask-node.ts";
import { sendTransfers } from "./lib/load.ts";
import { accountKey } from "./lib/network.ts";
import { PlayedNetwork, type PlayedNode } from "./lib/played-network.ts";
import { until } from "./lib/processes.ts";
import { temporaryFolder } from "./lib/sandbox.ts";

const { address } = privateKeyToAccount(accountKey(0));

let network: PlayedNetwork;
let behind: PlayedNode;
let witness: PlayedNode;
let sealed: PlayedNode;
let machine = "";

before(async () => {
  machine = await temporaryFolder();
  const provider = playedSgx({ folder: join(machine, "attestation") });
  const machines = [{ name: "behind" }, { name: "witness", otherCode: true }, { name: "sealed", provider }];
  network = await PlayedNetwork.start(machines, { trustDisk: false });
  [behind, witness, sealed] = network.nodes as [PlayedNode, PlayedNode, PlayedNode];
});
after(async () => {
  await network?.stop();
  await rm(machine, { recursive: true, force: true });
});

async function hasCommitted(node: PlayedNode, count: number): Promise<void> {
  await until(`${node.machine.name} has ${count}`, async () =>
    Number(await node.rpc.call<Hex>("eth_getTransactionCount", address, "latest")) === count ? true : undefined,
  );
}

async function recoveryOf(node: PlayedNode): Promise<RecoveryDocument> {
  return until(`${node.machine.name} asks its peers`, async () => {
    const answer = await askNode(node, "/node/recovery").catch(() => undefined);
    const document = answer?.json as RecoveryDocument | undefined;
    return document?.recovering === true ? document : undefined;
  });
}

/** Its peers have answered: it counts again. */
async function recovered(node: PlayedNode): Promise<void> {
  await node.ready();
  await until(`${node.machine.name} has its answers`, async () => {
    const { json } = await askNode(node, "/node/recovery");
    return (json as RecoveryDocument).recovering ? undefined : true;
  });
}

/** How many of these it logged since. */
const logged = (node: PlayedNode, event: string, since = 0): number =>
  node.logged.slice(since).filter((line) => line.event === event).length;

describe("a node whose keys are sealed to its enclave", () => {
  test("starts again with them, and not as other code", async () => {
    assert.equal(sealed.tee.sealedBy, "enclave");
    await sendTransfers(sealed, { account: 0, from: 0, count: 2 });
    for (const node of network.nodes) await hasCommitted(node, 2);
    await sealed.stop();
    const folder = join(machine, "attestation");
    const otherCode = playedSgx({ folder, code: 0x77 });
    await assert.rejects(sealed.start(otherCode), { code: "SealedElsewhere" });
    const provider = playedSgx({ folder });
    await sealed.start(provider);
    await sealed.ready();
    await hasCommitted(sealed, 2);
  });

  test("started on an older copy of its folder, asks its peers before it votes, leads or serves, and then has what it forgot", async () => {
    await sealed.stop();
    const older = join(machine, "older");
    await cp(sealed.dir, older, { recursive: true });
    await sealed.start();
    await recovered(sealed);
    // One is behind, so that what comes now is held by the sealed node and one witness only.
    await behind.stop();
    await until("the others lead", async () => ((await leads(witness)) || (await leads(sealed)) ? true : undefined));
    await sendTransfers(witness, { account: 0, from: 2, count: 2 });
    for (const node of [witness, sealed]) await hasCommitted(node, 4);
    const committed = await seqnoOf(witness);
    await Promise.all([witness.stop(), sealed.stop()]);
    await rename(sealed.dir, join(machine, "newer"));
    await rename(older, sealed.dir);
    const marks = [behind.logged.length, sealed.logged.length];
    // These two are a quorum, and neither has what was committed.
    await Promise.all([behind.start(), sealed.start()]);
    const waiting = await Promise.all([recoveryOf(behind), recoveryOf(sealed)]);
    for (const { last_transaction_id: last } of waiting) assert.ok(Number(last.split(".")[1]) < committed, last);
    await until("they are connected", () =>
      logged(sealed, "channel_up", marks[1]) > 0 && logged(behind, "channel_up", marks[0]) > 0 ? true : undefined,
    );
    for (const node of [behind, sealed]) {
      assert.equal((await askNode(node, "/eth", Buffer.from("{}"))).status, 503, "no client is served");
      assert.equal((await askNode(node, "/node/ready")).status, 503);
    }
    assert.equal(logged(sealed, "recovering", marks[1]), 1);
    assert.equal(logged(sealed, "leading", marks[1]) + logged(behind, "leading", marks[0]), 0, "nobody was elected");
    await witness.start();
    await Promise.all(network.nodes.map(recovered));
    for (const node of network.nodes) await hasCommitted(node, 4);
    await sendTransfers(sealed, { account: 0, from: 4, count: 1 });
    for (const node of network.nodes) await hasCommitted(node, 5);
  });
});

async function leads(node: PlayedNode): Promise<boolean> {
  return (await stateOf(node)).role === "leader";
}

async function seqnoOf(node: PlayedNode): Promise<number> {
  return (await stateOf(node)).committed_seqno;
}

const stateOf = (node: PlayedNode) =>
  node.read<{ readonly role: string; readonly committed_seqno: number }>("/node/state");
