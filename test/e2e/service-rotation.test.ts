/**
 * A node is voted out of a real network: the service takes a new identity while it serves, and whoever trusts an older or a
 * newer certificate of it can still check what it is shown.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { connect, type TLSSocket } from "node:tls";
import { createServiceCertificate, generateKeyPairPem } from "../../src/enclave/manager/certificates.ts";
import { nodeEntropy } from "../../src/enclave/manager/node-crypto.ts";
import { coco } from "../support/coco-here.ts";
import { agree, type NetworkView, postAgreed } from "./lib/governance.ts";
import { sendTransfers } from "./lib/load.ts";
import { Network, type NetworkNode } from "./lib/network.ts";
import { present, until } from "./lib/processes.ts";
import { transactionIdOf } from "./lib/receipts.ts";

const network = await Network.start(4);
after(() => network.stop());

/** A connection to a node that trusts one certificate only; resolves once the handshake is over. */
async function connectTo(node: NetworkNode, ca: string): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: node.clientPort, ca, minVersion: "TLSv1.3" });
  await new Promise((resolve, reject) => socket.once("secureConnect", () => resolve(undefined)).once("error", reject));
  return socket;
}

/** One request through an agent; the connection it went over. */
function askOn(agent: Agent, node: NetworkNode): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port: node.clientPort, path: "/node/ready", agent }, (response) => {
      const socket = response.socket as TLSSocket;
      response.resume().once("end", () => resolve(socket));
    });
    sent.once("error", reject).end();
  });
}

async function receiptFile(node: NetworkNode, id: string, format: string, name: string): Promise<string> {
  const path = `/node/receipt?transaction_id=${id}&format=${format}`;
  const { status, body, bytes } = await node.rpc.http({ method: "GET", path });
  assert.equal(status, 200, body);
  const file = join(network.dir, name);
  await writeFile(file, bytes);
  return file;
}

const verifies = async (file: string, serviceCertificate: string, ...more: readonly string[]): Promise<boolean> =>
  (await coco("receipt", "verify", file, "--service-cert", serviceCertificate, ...more)).code === 0;

/** Votes out the last node of those that are left, and waits for the new identity at all others; returns their certificate. */
async function removeOne(nodes: readonly NetworkNode[]): Promise<string> {
  const { leader } = await network.leader();
  const removed = present(nodes.findLast((node) => node !== leader));
  const before = present((await leader.read<NetworkView>("/node/network")).service_certificate);
  const { node_id } = await removed.read<{ node_id: string }>("/node/state");
  const agreed = await agree(network, leader, { name: "remove_node", args: { nodeId: node_id } });
  const { status, body } = await postAgreed(leader, network, agreed);
  assert.equal(status, 200, body);
  const remaining = nodes.filter((node) => node !== removed);
  const certificates = await Promise.all(
    remaining.map((node) =>
      until(`${node.name} has the new identity`, async () => {
        const shown = (await node.read<NetworkView>("/node/network")).service_certificate;
        const written = await readFile(node.serviceCertificate, "utf8");
        return shown !== before && written === shown ? written : undefined;
      }),
    ),
  );
  assert.equal(new Set(certificates).size, 1, "one identity for all");
  await removed.end();
  return present(certificates[0]);
}

describe("a network that votes a node out", () => {
  test("takes a new service identity live; older and newer certificates still verify what it shows", async () => {
    // The first node stays: the last that does not lead is voted out.
    const node = present(network.nodes[0]);
    const oldest = await readFile(node.serviceCertificate, "utf8");
    const [hash] = await sendTransfers(node, { account: 1, from: 0, count: 1 });
    const id = await transactionIdOf(node, present(hash));
    const stored = {
      json: await receiptFile(node, id, "json", "stored.json"),
      cose: await receiptFile(node, id, "cose", "stored.cose"),
    };
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: oldest, ...node.credentials });
    const first = await askOn(agent, node);
    const shownBefore = present(first.getPeerX509Certificate()).fingerprint256;

    const middle = await removeOne(network.nodes);
    assert.notEqual(middle, oldest);
    assert.equal(await askOn(agent, node), first, "a connection of before goes on");
    agent.destroy();
    const newest = await removeOne(network.nodes.filter(({ pid }) => pid > 0));

    // TLS: the chain leads to each identity a client may trust.
    for (const trusted of [oldest, middle, newest]) {
      const socket = await connectTo(node, trusted);
      assert.ok(socket.authorized);
      assert.notEqual(present(socket.getPeerX509Certificate()).fingerprint256, shownBefore);
      socket.destroy();
    }
    const files = await Promise.all(
      Object.entries({ oldest, middle, newest }).map(async ([name, pem]) => {
        const file = join(network.dir, `${name}.pem`);
        await writeFile(file, pem);
        return file;
      }),
    );
    const [oldestFile, middleFile, newestFile] = files as [string, string, string];

    // Receipts of now hold what leads back; stored ones need the endorsements of after them.
    const fresh = await receiptFile(node, id, "json", "fresh.json");
    for (const file of files) assert.ok(await verifies(fresh, file), file);
    const { bytes } = await node.rpc.http({ method: "GET", path: "/node/service_endorsements" });
    const endorsements = join(network.dir, "endorsements.pem");
    await writeFile(endorsements, bytes);
    const freshCose = await receiptFile(node, id, "cose", "fresh.cose");
    for (const receipt of [stored.json, stored.cose, freshCose])
      for (const file of files)
        assert.ok(await verifies(receipt, file, "--endorsements", endorsements), `${receipt} ${file}`);
    assert.equal(await verifies(stored.json, newestFile), false);
    assert.equal(await verifies(freshCose, oldestFile), false);

    // The ledger proves the chain to who has any of the certificates, and to nobody with another.
    for (const file of [oldestFile, middleFile, newestFile]) {
      const { code, data, talk } = await coco("ledger", "verify", node.dir, "--service-cert", file, "--json");
      assert.equal(code, 0, talk);
      const report = JSON.parse(data);
      assert.deepEqual([report.valid, report.service, report.services.length], [true, true, 3]);
    }
    const stranger = join(network.dir, "stranger.pem");
    const { privateKey } = generateKeyPairPem();
    const issuance = { notBeforeMs: Date.now(), days: 1, entropy: nodeEntropy };
    await writeFile(stranger, createServiceCertificate(privateKey, issuance));
    assert.equal((await coco("ledger", "verify", node.dir, "--service-cert", stranger)).code, 1);

    // A start finds the identity of the newest epoch.
    await node.end();
    node.start();
    await node.ready();
    assert.equal((await node.read<NetworkView>("/node/network")).service_certificate, newest);
  });
});
