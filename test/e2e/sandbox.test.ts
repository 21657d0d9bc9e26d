/**
 * The sandbox as a user has it: what it writes, what it keeps, what it says when it cannot start.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { appendFile, cp, mkdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import type { Hex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { PACKAGE_FOLDER } from "../../src/host/measure-code.ts";
import { coco } from "../support/coco-here.ts";
import { folderHashes } from "./lib/ledger-damage.ts";
import type { RpcClient } from "./lib/json-rpc.ts";
import { CLI, present, runCoco, startProcess, until } from "./lib/processes.ts";
import { isAlive, type Sandbox, startSandbox, temporaryFolder } from "./lib/sandbox.ts";

const SINK = "0x00000000000000000000000000000000c0c0c0c0";

let folder: string;
let dir: string;
let sandbox: Sandbox;
let sent = 0;

before(async () => {
  folder = await temporaryFolder();
  dir = join(folder, "sandbox");
  sandbox = await startSandbox({ dir });
});
after(async () => {
  await sandbox?.halt();
  await rm(folder, { recursive: true, force: true });
});

/** Sends one wei and returns the receipt. */
async function send(client: RpcClient): Promise<{ readonly status: Hex }> {
  const account = privateKeyToAccount(present(sandbox.endpoints.accounts[0]).privateKey);
  const raw = await account.signTransaction({
    ...{ to: SINK, value: 1n, nonce: sent++, gas: 21_000n, chainId: 31337, type: "eip1559" },
    ...{ maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n },
  });
  const hash = await client.call<Hex>("eth_sendRawTransaction", raw);
  return until(
    "the receipt",
    async () => (await client.call<{ status: Hex } | null>("eth_getTransactionReceipt", hash)) ?? undefined,
  );
}

interface Chain {
  readonly blockNumber: Hex;
  readonly blockHash: Hex | undefined;
  readonly balance: Hex;
}

async function chainOf(client: RpcClient, blockNumber?: Hex): Promise<Chain> {
  const number = blockNumber ?? (await client.call<Hex>("eth_blockNumber"));
  const block = await client.call<{ hash: Hex } | null>("eth_getBlockByNumber", number, false);
  return {
    ...{ blockNumber: number, blockHash: block?.hash },
    balance: await client.call<Hex>("eth_getBalance", SINK, "latest"),
  };
}

describe("a sandbox", () => {
  test("writes endpoints.json for its owner alone, in the documented shape", async (context) => {
    const file = join(dir, "endpoints.json");
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const endpoints = JSON.parse(await readFile(file, "utf8"));
    assert.deepEqual(Object.keys(endpoints).sort(), ["accounts", "ca", "chainId", "members", "nodes"]);
    assert.equal(endpoints.chainId, 31337);
    assert.equal(endpoints.nodes.length, 3);
    for (const node of endpoints.nodes) {
      assert.deepEqual(Object.keys(node).sort(), ["dir", "ethRpc", "name", "pid", "rpc"]);
      assert.match(node.ethRpc, /^http:\/\/127\.0\.0\.1:\d+$/);
      assert.match(node.rpc, /^https:\/\/127\.0\.0\.1:\d+/);
      assert.ok(isAlive(node.pid));
    }
    assert.equal(endpoints.accounts.length, 10);
    for (const { address, privateKey } of endpoints.accounts) {
      assert.equal(privateKeyToAccount(privateKey).address, address);
    }
    assert.equal(endpoints.members.length, 3);
    for (const member of endpoints.members) {
      assert.equal((await stat(member.key)).mode & 0o777, 0o600);
      assert.match(await readFile(member.cert, "utf8"), /BEGIN CERTIFICATE/);
    }
    assert.match(await readFile(endpoints.ca, "utf8"), /BEGIN CERTIFICATE/);
    context.diagnostic(`measured: ready after ${sandbox.readyMs} ms`);
  });

  test("a killed node interrupts nothing, and catches up when it is started by hand", async () => {
    const victim = present(sandbox.endpoints.nodes[1]);
    process.kill(victim.pid, "SIGKILL");
    assert.equal((await send(sandbox.gateway(0))).status, "0x1");
    assert.equal((await send(sandbox.gateway(1))).status, "0x1", "its gateway goes to the others");
    const again = startProcess(process.execPath, [CLI, "node", "start", "--dir", victim.dir]);
    const expected = await sandbox.gateway(0).call<Hex>("eth_getBalance", SINK, "latest");
    const member = await sandbox.member(1);
    await until("the node has caught up", async () => {
      const balance = await member.call<Hex>("eth_getBalance", SINK, "latest").catch(() => "");
      return balance === expected ? true : undefined;
    });
    again.signal("SIGINT");
    assert.deepEqual(await again.exited, { code: 0, signal: null });
  });

  test("Ctrl-C stops all processes, and the next start resumes balances and blocks", async () => {
    await send(sandbox.gateway(2));
    const before = await chainOf(sandbox.gateway(2));
    const pids = sandbox.endpoints.nodes.map(({ pid }) => pid);
    sandbox.process.signal("SIGINT");
    assert.deepEqual(await sandbox.process.exited, { code: 0, signal: null });
    assert.deepEqual(pids.filter(isAlive), []);
    await assert.rejects(stat(join(dir, "endpoints.json")), /ENOENT/);

    sandbox = await startSandbox({ dir });
    assert.deepEqual(await chainOf(sandbox.gateway(1), before.blockNumber), before);
    assert.equal((await send(sandbox.gateway(1))).status, "0x1");
  });

  test("a node whose ledger was taken away remembers that it took part: it votes for nobody before it has it back", async () => {
    const before = await chainOf(sandbox.gateway(0));
    await sandbox.halt();
    const node = join(dir, "node1");
    await rm(join(node, "ledger"), { recursive: true });
    const log = join(node, "node.log");
    const logged = (await readFile(log, "utf8")).length;
    sandbox = await startSandbox({ dir });
    assert.deepEqual(await chainOf(sandbox.gateway(1), before.blockNumber), before);
    assert.match((await readFile(log, "utf8")).slice(logged), /"event":"recovering"/);
  });

  test("a start in a folder that is in use says by whom", async () => {
    const { code, stderr } = await runCoco("sandbox", "start", "--dir", dir, "--port", "0");
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`FolderInUse: .*\\b${sandbox.process.pid}\\b`));
    assert.equal((await send(sandbox.gateway(0))).status, "0x1");
  });

  test("a killed launcher takes its nodes with it", async () => {
    sandbox.process.signal("SIGKILL");
    await until("the nodes end", () => (sandbox.endpoints.nodes.some(({ pid }) => isAlive(pid)) ? undefined : true));
  });
});

describe("options of a sandbox", () => {
  test("--nodes and --fresh begin a new network, and the text tells what people look for, in anvil's order", async () => {
    const { code, stderr } = await haltedStart("--nodes", "1");
    assert.equal(code, 1);
    assert.match(stderr, /3 nodes.*--fresh/s);
    sandbox = await startSandbox({ dir, arguments: ["--fresh", "--nodes", "1"] });
    assert.equal(sandbox.endpoints.nodes.length, 1);
    assert.equal((await chainOf(sandbox.gateway(0))).balance, "0x0");
    sent = 0;
    assert.equal((await send(sandbox.gateway(0))).status, "0x1");
    const text = await until("the text", () =>
      /cast/.test(sandbox.process.stdout()) ? sandbox.process.stdout() : undefined,
    );
    const { accounts, nodes, ca } = sandbox.endpoints;
    const expected = [
      ...["Available Accounts", present(accounts[0]).address, "Private Keys", present(accounts[9]).privateKey],
      ...["test test test test test test test test test test test junk", "Chain ID", "31337"],
      ...[present(nodes[0]).rpc, ca, "Workers", "thread: adapters run inside", present(nodes[0]).ethRpc],
    ];
    let from = 0;
    for (const part of expected) {
      const at = text.indexOf(part, from);
      assert.notEqual(at, -1, `${part} in its place`);
      from = at;
    }
    for (const part of ["curl", "cast", "viem"]) assert.ok(text.includes(part), part);
  });

  test("a network of one node whose ledger is gone or damaged is refused, and nothing in its folder changes", async () => {
    await sandbox.halt();
    const ledger = join(dir, "node0", "ledger");
    const kept = join(folder, "kept");
    await rename(ledger, kept);
    const certificate = join(dir, "node0", "service_cert.pem");
    const before = await stat(certificate);
    const gone = await runCoco("sandbox", "start", "--dir", dir, "--port", "0");
    assert.equal(gone.code, 1);
    assert.match(gone.stderr, /LedgerIncomplete: .*ledger: it holds no entry, though the node served before/);
    await cp(kept, ledger, { recursive: true });
    await rm(join(ledger, "consensus"));
    const unvoted = await runCoco("sandbox", "start", "--dir", dir, "--port", "0");
    assert.deepEqual([unvoted.code, /LedgerIncomplete: .*it holds no term and vote/.test(unvoted.stderr)], [1, true]);
    await rm(join(ledger, "ledger_0000000001"));
    const without = await folderHashes(ledger);
    const missing = await runCoco("sandbox", "start", "--dir", dir, "--port", "0");
    assert.deepEqual([missing.code, /LedgerCorrupt: .*ledger_0000000001/.test(missing.stderr)], [1, true]);
    assert.deepEqual(await folderHashes(ledger), without);
    assert.equal((await stat(certificate)).mtimeMs, before.mtimeMs);
    await rm(ledger, { recursive: true });
    await rename(kept, ledger);
    sandbox = await startSandbox({ dir });
    assert.equal((await send(sandbox.gateway(0))).status, "0x1");
  });

  test("resumes after its launcher was killed and its code changed, and says that the code was voted in", async () => {
    const before = await chainOf(sandbox.gateway(0));
    sandbox.process.signal("SIGKILL");
    await until("the nodes end", () => (sandbox.endpoints.nodes.some(({ pid }) => isAlive(pid)) ? undefined : true));
    const copy = join(folder, "changed");
    await mkdir(copy);
    for (const name of ["package.json", "package-lock.json", "dist/src"]) {
      await cp(join(PACKAGE_FOLDER, name), join(copy, name), { recursive: true });
    }
    await symlink(join(PACKAGE_FOLDER, "node_modules"), join(copy, "node_modules"));
    await appendFile(join(copy, "dist/src/errors.js"), "// a change\n");
    const cli = join(copy, "dist/src/cli/main.js");

    sandbox = await startSandbox({ dir, cli, arguments: [] });
    const output = sandbox.process.stdout() + sandbox.process.stderr();
    assert.match(output, /code changed: .*approved measurement [0-9a-f]{64}/);
    assert.deepEqual(await chainOf(sandbox.gateway(0), before.blockNumber), before);
    assert.equal((await send(sandbox.gateway(0))).status, "0x1");
    const member = await sandbox.member(0);
    const { body } = await member.http({ method: "GET", path: "/node/constitution" });
    assert.equal(JSON.parse(body).code_manifest?.length ?? JSON.parse(body).codeManifest?.length, 2);

    await sandbox.halt();
    sandbox = await startSandbox({ dir });
    assert.equal((await send(sandbox.gateway(0))).status, "0x1", "the code before is still approved");
    await rm(copy, { recursive: true });
  });

  test("--quiet prints nothing", async () => {
    await sandbox.halt();
    sandbox = await startSandbox({ dir, arguments: ["--fresh", "--nodes", "1", "--quiet"] });
    await sandbox.halt();
    assert.deepEqual([sandbox.process.stdout(), sandbox.process.stderr()], ["", ""]);
  });

  async function haltedStart(...options: readonly string[]) {
    await sandbox.halt();
    return runCoco("sandbox", "start", "--dir", dir, ...options);
  }
});

describe("what cannot start", () => {
  test("a taken port is named, with the process that holds it", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const other = join(folder, "other");
      const { code, stderr } = await runCoco("sandbox", "start", "--dir", other, "--port", String(port));
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`PortTaken: .*:${port}\\b.*\\b${process.pid}\\b`));
      await assert.rejects(stat(join(other, "sandbox.json")), /ENOENT/);
    } finally {
      server.close();
    }
  });

  test("a folder with other things in it is left alone", async () => {
    const other = join(folder, "photographs");
    await mkdir(other);
    await writeFile(join(other, "holiday"), "sea");
    const found = await folderHashes(other);
    for (const extra of [[], ["--fresh"]]) {
      const { code, stderr } = await runCoco("sandbox", "start", "--dir", other, "--port", "0", ...extra);
      assert.equal(code, 1);
      assert.match(stderr, /not empty/);
      assert.deepEqual(await folderHashes(other), found);
    }
  });

  /** A copy of a stopped node's folder, changed; starting it must fail, say why, and change nothing. */
  async function startChanged(change: (copy: string) => Promise<void>): Promise<string> {
    const copy = join(folder, "node");
    await rm(copy, { recursive: true, force: true });
    await cp(present(sandbox.endpoints.nodes[0]).dir, copy, {
      recursive: true,
      filter: (path) => !path.endsWith("node.lock"),
    });
    await cp(join(dir, "machine.key"), join(folder, "machine.key"), { force: true });
    await change(copy);
    const found = await folderHashes(folder);
    const { code, talk } = await coco("node", "start", "--dir", copy);
    assert.equal(code, 1);
    assert.deepEqual(await folderHashes(folder), found);
    assert.doesNotMatch(talk, /\n\s+at /, "no stack trace");
    return talk;
  }

  test("a node whose configuration is damaged says where, and changes no file", async () => {
    const change = (pattern: string | RegExp, by: string) => async (copy: string) => {
      const file = join(copy, "node.json");
      await writeFile(file, (await readFile(file, "utf8")).replace(pattern, by));
    };
    assert.match(await startChanged(change("{", "")), /ConfigurationInvalid: .*node\.json: not JSON/);
    assert.match(await startChanged(change(/"listen": "[^"]*"/, '"listen": "nowhere"')), /node\.json.*listen/);
    assert.match(await startChanged(change(/"version": 1,/, '"version": 1, "extra": 2,')), /node\.json.*extra/);
    assert.match(await startChanged((copy) => rm(join(copy, "node.json"))), /ConfigurationInvalid: .*node\.json/);
    assert.match(await startChanged((copy) => rm(join(copy, "genesis.json"))), /ConfigurationInvalid: .*genesis\.json/);
    const seal = async (copy: string): Promise<void> => {
      const file = join(copy, "sealed.keys");
      const bytes = await readFile(file);
      bytes.writeUInt8(bytes.readUInt8(40) ^ 1, 40);
      await writeFile(file, bytes);
    };
    assert.match(await startChanged(seal), /COCO \w+: /);
  });

  test("a node with another network's genesis or ledger says so, and changes no file", async () => {
    const other = await startSandbox({ dir: join(folder, "another"), arguments: ["--nodes", "1", "--json"] });
    await other.halt();
    const foreign = present(other.endpoints.nodes[0]).dir;
    const genesis = (copy: string): Promise<void> => cp(join(foreign, "genesis.json"), join(copy, "genesis.json"));
    assert.match(await startChanged(genesis), /FolderOfAnotherNetwork: .*genesis\.json/);
    const ledger = async (copy: string): Promise<void> => {
      await rm(join(copy, "ledger"), { recursive: true });
      await cp(join(foreign, "ledger"), join(copy, "ledger"), {
        recursive: true,
        filter: (path) => !path.endsWith("node.lock"),
      });
    };
    assert.match(await startChanged(ledger), /COCO (?:FolderOfAnotherNetwork|LedgerCorrupt|LedgerForked): /);
  });
});
