/**
 * Real processes whose disks are not trusted: after a stop of all nodes, those that come back wait for the last one; when it
 * never comes, the members let the others go on.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromHex } from "../../src/core/codec/bytes.ts";
import { encodeMessages } from "../../src/core/governance/proposal-codec.ts";
import { signRequest } from "../../src/core/governance/request-signing.ts";
import { resumePayload, type ResumingNode } from "../../src/core/governance/resume.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { askNode, type RecoveryDocument } from "../e2e/lib/ask-node.ts";
import { compareNodes, Load } from "../e2e/lib/load.ts";
import { Network, type NetworkNode } from "../e2e/lib/network.ts";
import { present, runCoco, until } from "../e2e/lib/processes.ts";

const SOME = 100;

let network: Network;
before(async () => {
  network = await Network.start(3, { trustDisk: false });
});
after(() => network.stop());

async function recoveryOf(node: NetworkNode): Promise<RecoveryDocument> {
  return until(`${node.name} shows what it waits for`, async () => {
    const answer = await askNode(node, "/node/recovery").catch(() => undefined);
    const document = answer?.json as RecoveryDocument | undefined;
    if (document?.recovering !== true) return undefined;
    assert.equal(answer?.id, document.node_id, "the certificate is the node's own");
    return document;
  });
}

function asNode({ node_id: nodeId, nonce, last_transaction_id: id }: RecoveryDocument): ResumingNode {
  const [view = 0, seqno = 0] = id.split(".").map(Number);
  return { nodeId, nonce: fromHex(nonce), view, seqno };
}

/** As members do it: one signs and gives what is signed to whoever sends it. */
async function resumeByCommand(nodes: readonly NetworkNode[]): Promise<void> {
  const [certificate, key] = [join(network.dir, "member_cert.pem"), join(network.dir, "member_privk.pem")];
  const { cert, key: privateKey } = present(nodes[0]).credentials;
  await writeFile(certificate, cert);
  await writeFile(key, privateKey, { mode: 0o600 });
  const urls = nodes.flatMap(({ clientPort }) => ["--node-url", `https://127.0.0.1:${clientPort}`]);
  const identity = ["--cert", certificate, "--key", key];
  const signed = join(network.dir, "resume.cose");
  const made = await runCoco("member", "resume", ...urls, ...identity, "--out", signed, "--json");
  assert.equal(made.code, 0, made.stderr);
  assert.equal(JSON.parse(made.stdout).resumed, false);
  const sent = await runCoco("member", "resume", ...urls, ...identity, "--signed", signed, "--send", "--json");
  assert.equal(sent.code, 0, sent.stderr);
  assert.equal(JSON.parse(sent.stdout).nodes.length, nodes.length);
}

describe("a network that does not trust its disks", () => {
  test("goes on without a node that never comes back when the members have signed a resume, and loses nothing", async () => {
    const load = new Load(network);
    await load.progress(SOME);
    await load.stop();
    await Promise.all(network.nodes.map((node) => node.end()));
    const [one, two] = network.nodes.map((node) => present(node));
    assert.ok(one && two);
    const back = [one, two];
    for (const node of back) node.start();
    const waiting = await Promise.all(back.map(recoveryOf));
    assert.equal((await askNode(one, "/eth", Buffer.from("{}"))).status, 503, "clients are not served");
    const [first] = waiting;
    const nodes = waiting.map(asNode);
    const networkId = present(first).network_id;
    const origin = { signer: network.member, networkId, createdAt: Math.floor(Date.now() / 1000), sha256 };
    const signed = (stated: readonly ResumingNode[]) =>
      encodeMessages([signRequest("resume", resumePayload(stated), origin)]);
    const stale = signed(nodes.map((node) => ({ ...node, nonce: new Uint8Array(32) })));
    assert.equal((await askNode(one, "/node/resume", stale)).status, 400);
    const resume = signed(nodes);
    await resumeByCommand(back);
    await Promise.all(back.map((node) => node.ready()));
    await compareNodes(back, load.receipts);
    assert.equal((await askNode(one, "/node/resume", resume)).status, 503, "once");
  });
});
