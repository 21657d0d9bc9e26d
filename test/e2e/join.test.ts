/** A node joins a real network by a vote, attests itself, and is removed by another; what must not get in does not. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { toHex } from "../../src/core/codec/bytes.ts";
import { constitutionDigest, constitutionToJson } from "../../src/core/governance/constitution-codec.ts";
import type { Action } from "../../src/core/governance/actions.ts";
import { createOrganisationCertificate, generateKeyPairPem } from "../../src/enclave/manager/certificates.ts";
import { nodeEntropy, sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { agree, constitutionOf, type NetworkView, postAgreed } from "./lib/governance.ts";
import { RpcClient } from "./lib/json-rpc.ts";
import { administrativeOf } from "./lib/ledgers.ts";
import { sendTransfers } from "./lib/load.ts";
import { Network, type NetworkNode } from "./lib/network.ts";
import { otherCode } from "./lib/other-code.ts";
import { CLI, delay, endOf, type ManagedProcess, present, runCoco, startProcess, until } from "./lib/processes.ts";

const DAY_MS = 86_400_000;
const guest = makeGuest();
const network = await Network.start(3, {}, [guest.founder]);
const first = present(network.nodes[0]);
const { node: newcomer, entry } = await network.newcomer("newcomer");
after(async () => {
  await newcomer.end();
  newcomer.disconnect();
  newcomer.proxy.close();
  await network.stop();
});

function makeGuest() {
  const { privateKey } = generateKeyPairPem();
  const issuance = { notBeforeMs: Date.now() - DAY_MS, days: 30, entropy: nodeEntropy };
  const certificate = createOrganisationCertificate({ commonName: "guest" }, privateKey, issuance);
  return { founder: { id: "guest", name: "Guest", role: "participant", certificate } as const, privateKey };
}

const urlOf = (node: NetworkNode): string => `https://127.0.0.1:${node.clientPort}`;

/** The arguments to join over the first node, with the service certificate it wrote. */
const joinArguments = (...more: readonly string[]): readonly string[] => [
  ...["node", "join", "--dir", newcomer.dir, "--url", urlOf(first), "--service-cert", first.serviceCertificate],
  ...more,
];

const startJoin = (...more: readonly string[]): ManagedProcess =>
  startProcess(process.execPath, [CLI, ...joinArguments(...more)]);

async function decide(...actions: readonly Action[]): Promise<void> {
  const { leader } = await network.leader();
  const { status, body } = await postAgreed(leader, network, await agree(network, leader, ...actions));
  assert.equal(status, 200, body);
}

async function networkId(): Promise<string> {
  return (await first.read<NetworkView>("/node/network")).network_id;
}

/** Waits until the ledger of a node says what a node runs. */
async function recorded(nodeId: string): Promise<void> {
  await until(
    `node ${nodeId} is recorded`,
    async () => {
      const transactions = await administrativeOf(first.dir);
      return transactions.some((shown) => JSON.stringify(shown).includes(nodeId) && shown.type === "attest")
        ? true
        : undefined;
    },
    { everyMs: 500 },
  );
}

describe("a node that joins", () => {
  test("waits while it is not listed, and stops cleanly when it is told to", async () => {
    const waiting = startJoin();
    await until("it says that it is too early", () => (waiting.stderr().includes("JoinNotListed") ? true : undefined));
    waiting.signal("SIGINT");
    assert.equal((await endOf(waiting)).code, 130);
    await assert.rejects(readFile(join(newcomer.dir, "genesis.json")), { code: "ENOENT" });
  });

  test("believes no other network and no other service", async () => {
    const other = await runCoco(...joinArguments("--network-id", "00".repeat(32)));
    assert.equal(other.code, 1);
    assert.match(other.stderr, /JoinOtherNetwork/);
    const file = join(network.dir, "other-service.pem");
    await writeFile(file, guest.founder.certificate);
    const untrusted = await runCoco(
      "node",
      "join",
      "--dir",
      newcomer.dir,
      "--url",
      urlOf(first),
      "--service-cert",
      file,
    );
    assert.equal(untrusted.code, 4, untrusted.stderr);
    assert.match(untrusted.stderr, /JoinAnswerUntrusted/);
    const nothing = await runCoco("node", "join", "--dir", newcomer.dir, "--url", urlOf(first));
    assert.match(nothing.stderr, /ConfigurationInvalid/);
  });

  test("is not started before it has joined", async () => {
    const { code, stderr } = await runCoco("node", "start", "--dir", newcomer.dir);
    assert.equal(code, 1);
    assert.match(stderr, /genesis.json/);
  });

  test("is refused with code that nobody approved", async () => {
    const running = startProcess(process.execPath, [(await otherCode(network.dir)).cli, ...joinArguments()]);
    const { code } = await endOf(running);
    const stderr = running.stderr();
    assert.equal(code, 1, stderr);
    assert.match(stderr, /JoinCodeNotApproved/);
  });

  test("is refused with flags of Node.js that nobody approved", async () => {
    const running = startProcess(process.execPath, ["--pending-deprecation", CLI, ...joinArguments()]);
    assert.equal((await endOf(running)).code, 1, running.stderr());
    assert.match(running.stderr(), /JoinCodeNotApproved/);
  });

  test("keeps asking until the vote, then shows the constitution and leaves the decision to its owner", async () => {
    const waiting = startJoin();
    await until("it says that it is too early", () => (waiting.stderr().includes("JoinNotListed") ? true : undefined));
    await decide({ name: "add_node", args: { entry: entry.entry } });
    assert.equal((await endOf(waiting, 15_000)).code, 3, waiting.stderr());
    const digest = toHex(constitutionDigest(await constitutionOf(first), sha256));
    assert.ok(waiting.stdout().includes(`digest ${digest}`), waiting.stdout());
    for (const words of ["members", "Member 0", "validating nodes", "code and machines", "votes"])
      assert.ok(waiting.stdout().includes(words), words);
    await assert.rejects(readFile(join(newcomer.dir, "genesis.json")), { code: "ENOENT" });
    const wrong = await runCoco(...joinArguments("--approve", "00".repeat(32)));
    assert.equal(wrong.code, 3);
    assert.match(wrong.stderr, /JoinNotApproved/);
    const older = await runCoco(...joinArguments("--constitution", join(first.dir, "genesis.json")));
    assert.equal(older.code, 3, older.stderr);
    assert.match(older.stderr, /JoinNotApproved/);
  });

  test("is let in when its owner approves, catches up, attests itself, and serves clients", async () => {
    await sendTransfers(first, { account: 0, from: 0, count: 5 });
    // As somebody that the owner trusts gave it.
    const constitution = await constitutionOf(first);
    const file = join(network.dir, "constitution.json");
    await writeFile(file, constitutionToJson(constitution));
    const id = await networkId();
    const approve = ["--network-id", id, "--constitution", file, "--json"];
    const joined = await runCoco("node", "join", "--dir", newcomer.dir, "--url", urlOf(first), ...approve);
    assert.equal(joined.code, 0, joined.stderr);
    assert.deepEqual(JSON.parse(joined.stdout), {
      ...{ network: constitution.network.name, networkId: id, constitutionVersion: constitution.version },
      digest: toHex(constitutionDigest(constitution, sha256)),
    });
    newcomer.start();
    await newcomer.ready();
    const blocks = await first.blockNumber();
    await until("it has caught up", async () => ((await newcomer.blockNumber()) === blocks ? true : undefined));
    await sendTransfers(newcomer, { account: 1, from: 0, count: 3 });
    const { node_id } = await newcomer.read<{ node_id: string }>("/node/state");
    assert.equal(node_id, entry.entry.nodeId);
    await recorded(node_id);
  });

  test("comes back after a restart", async () => {
    await newcomer.end("SIGTERM");
    newcomer.start();
    await newcomer.ready();
  });
});

describe("whoever is removed", () => {
  test("as a participant is no client any more", async () => {
    const { certificate: cert } = guest.founder;
    const client = new RpcClient(`${urlOf(first)}/eth`, {
      ...{ cert, key: guest.privateKey },
      ca: await readFile(first.serviceCertificate),
    });
    const ask = async () => (await client.http({ method: "GET", path: "/node/ready" })).status;
    assert.equal(await ask(), 200);
    await decide({ name: "remove_participant", args: { actor: "guest" } });
    await until("the guest is refused", async () => ((await ask()) === 401 ? true : undefined));
    client.close();
  });

  test("as a node ends, says why, and gets nothing more", async () => {
    const before = (await first.read<NetworkView>("/node/network")).service_certificate;
    await decide({ name: "remove_node", args: { nodeId: entry.entry.nodeId } });
    const { code } = await newcomer.ended();
    assert.equal(code, 5, newcomer.log.slice(-2_000));
    assert.equal(newcomer.events("node_removed").length, 1);
    assert.match(newcomer.log, /NodeRemoved/);
    assert.equal(await newcomer.isReady(), false);
    await until("a new service identity", async () => {
      const { service_certificate } = await first.read<NetworkView>("/node/network");
      return service_certificate === before ? undefined : true;
    });
    newcomer.start();
    await sendTransfers(first, { account: 2, from: 0, count: 2 });
    await until("it runs", () => (newcomer.log.includes('"event"') ? true : undefined));
    await delay(2_000);
    assert.deepEqual(newcomer.events("channel_up"), []);
    assert.equal(await newcomer.isReady(), false);
  });
});
