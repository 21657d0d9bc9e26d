import assert from "node:assert/strict";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  openSync,
  readSync,
  closeSync,
} from "node:fs";
import { request } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import { rpcCall } from "../../bench/lib/connection.ts";
import { childrenOf } from "../../bench/lib/cpu-time.ts";
import { hex, makeAccounts, sign } from "../../bench/lib/wallet.ts";
import { openNodeKeys } from "../../src/enclave/manager/node-keys.ts";
import { type RunningNode, startNode } from "../../src/host/node.ts";
import { loadNode } from "../../src/host/node-folder.ts";
import { openVirtualTee } from "../../src/host/virtual-tee.ts";
import { workerCommands } from "../../src/host/worker-commands.ts";
import { type FoundedNode, foundNode, GENERATED_CHAIN_ID, OTHER_ADAPTER } from "../support/founded-node.ts";
import type { HostileCommand } from "../security/hostile-worker-process.ts";

const ENTRY = fileURLToPath(new URL("../security/hostile-worker-process.js", import.meta.url));
const WAIT_MS = 60_000;
const LOSSES_MAX = 4;
/** Transactions after which the network of the test makes a snapshot. */
const SNAPSHOT_EVERY = 20;
const isolation = workerCommands({ memoryMb: 512 });
const isIsolated = isolation.network === "isolated";
const hasOwnFiles = isolation.files === "isolated";

interface State {
  readonly committed_seqno: number;
  readonly workers: {
    readonly level: string;
    readonly network: string;
    readonly files: string;
    readonly privileges: string;
    readonly lost: number;
  };
}

describe("a hostile worker process", () => {
  const [accounts, others] = [makeAccounts(2), makeAccounts(3).slice(2)];
  const dir = mkdtempSync(join(tmpdir(), "coco-hostile-"));
  let founded: FoundedNode;
  let node: RunningNode;
  let fatal: unknown;
  let nonce = 0;

  before(async () => {
    founded = await foundNode(dir, accounts, others, { memoryMb: 192 });
    await start();
  });
  after(async () => {
    await node.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  async function start(): Promise<void> {
    let serving: () => void = () => undefined;
    const served = new Promise<void>((resolve) => {
      serving = resolve;
    });
    node = await startNode({
      dir: founded.dir,
      logLevel: "error",
      workers: "process",
      workerEntry: ENTRY,
      onServing: serving,
      onFatal: (error) => {
        fatal = error;
      },
    });
    await served;
  }

  /** Each loss makes the next worker come later: after a few of them the node begins anew. */
  async function startAnewIfSlow(): Promise<void> {
    if ((await state()).workers.lost < LOSSES_MAX) return;
    await node.stop();
    await start();
  }

  /** The JSON of an answer, whatever its status. */
  function ask(path: string, body?: string): Promise<unknown> {
    const { port, identity } = founded.endpoint();
    const method = body === undefined ? "GET" : "POST";
    return new Promise((resolve, reject) => {
      const sent = request({ host: "127.0.0.1", port, path, method, ...identity, agent: false }, (answer) => {
        answer.setEncoding("utf8");
        let text = "";
        answer.on("data", (piece: string) => {
          text += piece;
        });
        answer.on("end", () => resolve(JSON.parse(text)));
      });
      sent.on("error", reject);
      sent.end(body);
    });
  }
  const state = async (): Promise<State> => (await ask("/node/state")) as State;
  const rpc = (method: string, ...parameters: readonly unknown[]) =>
    ask("/eth", rpcCall(method, parameters)) as Promise<{ result?: unknown; error?: unknown }>;
  const command = (hostile: HostileCommand) => ask("/eth", `hostile ${JSON.stringify(hostile)}`);

  async function until(condition: () => Promise<boolean>): Promise<void> {
    const endMs = performance.now() + WAIT_MS;
    while (!(await condition())) {
      assert.ok(performance.now() < endMs, "what is waited for comes");
      await delay(50);
    }
  }
  const answers = () => until(async () => (await rpc("eth_blockNumber")).result !== undefined);

  /** Sends a transfer until it is committed; a batch that was lost is not executed again by itself. */
  async function transfer(): Promise<void> {
    const [from, to] = accounts;
    assert.ok(from && to);
    const signed = sign(from, GENERATED_CHAIN_ID, { to: to.address, value: 1n, gas: 21_000 });
    await until(async () => {
      await rpc("eth_sendRawTransaction", signed.raw);
      return ((await rpc("eth_getTransactionReceipt", signed.hash)).result ?? null) !== null;
    });
    nonce++;
  }
  /** What the second adapter and the framework have: no attack on the first one's worker changes it. */
  const elsewhere = async () => {
    const asked = rpcCall("eth_getBalance", [hex(others[0]!.address), "latest"]);
    let held: unknown;
    await until(async () => {
      held = ((await ask(OTHER_ADAPTER.mount, asked)) as { result?: unknown }).result;
      return held !== undefined;
    });
    const { constitution_version, nodes } = (await ask("/node/network")) as Record<string, unknown>;
    assert.ok(BigInt(String(held)) > 0n && Array.isArray(nodes) && nodes.length === 1);
    return [held, constitution_version, nodes];
  };
  const balance = async () => BigInt(String((await rpc("eth_getBalance", hex(accounts[1]!.address), "latest")).result));

  test("reaches no file, no process, no network, no native code, and has no environment", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    const socketPath = join(dir, "engine.sock");
    const engine = createServer().listen(socketPath);
    const listening = server.address();
    const port = typeof listening === "object" && listening !== null ? listening.port : 0;
    const { machineKeyFile = assert.fail(), sealedKeys } = (await loadNode(founded.dir)).paths;
    const files = [
      "/etc/passwd",
      machineKeyFile,
      sealedKeys,
      join(founded.dir, "node.json"),
      `/proc/${process.pid}/environ`,
      `/proc/${process.pid}/mem`,
      `/proc/${process.pid}/maps`,
      "/proc/self/environ",
      "/proc/1/environ",
    ];
    const sockets = [socketPath];
    const found = (await command({ attack: "reach", files, port, sockets, pids: [process.pid] })) as {
      readonly outcomes: Record<string, string>;
      readonly environment: readonly string[];
      readonly arguments: readonly string[];
      readonly interfaces: readonly string[];
    };
    server.close();
    engine.close();
    const needsFiles = /^(?:connect to \/|make a socket)/;
    const needsNamespace = /^(?:connect|resolve|signal|open the inspector)/;
    const isKept = (name: string) => (needsFiles.test(name) ? hasOwnFiles : isIsolated || !needsNamespace.test(name));
    const reached = Object.entries(found.outcomes)
      .filter(([name, outcome]) => outcome === "done" && isKept(name))
      .map(([name]) => name);
    assert.deepEqual(reached, []);
    for (const file of files) assert.equal(found.outcomes[`read ${file}`], "ERR_ACCESS_DENIED");
    assert.deepEqual([found.environment, found.arguments], [[], []]);
    if (isIsolated) assert.deepEqual(found.interfaces, []);
    if (hasOwnFiles) assert.equal(found.outcomes[`connect to ${socketPath}`], "ENOENT");
    const { network, files: fileIsolation, privileges } = (await state()).workers;
    assert.deepEqual([network, fileIsolation, privileges], [isolation.network, isolation.files, isolation.privileges]);
  });

  test("runs without privileges, on a file system that holds the program alone", { skip: !hasOwnFiles }, () => {
    const workers = workerProcesses();
    assert.ok(workers.length > 0, "the worker runs");
    for (const pid of workers) {
      const status = readFileSync(`/proc/${pid}/status`, "latin1");
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"])
        assert.match(status, new RegExp(`^${set}:\\s0+$`, "m"));
      if (isolation.privileges === "dropped") assert.match(status, /^NoNewPrivs:\s1$/m);
      const limits = readFileSync(`/proc/${pid}/limits`, "latin1");
      assert.match(limits, /^Max core file size +0 +0 /m);
      assert.doesNotMatch(limits, /^Max data size +unlimited/m);
      // What is below the root the process sees.
      const mounts = readFileSync(`/proc/${pid}/mountinfo`, "latin1").split("\n");
      for (const line of mounts.filter((one) => one !== "")) assert.match(line.split(" ")[5] ?? "", /^ro,nosuid,nodev/);
      // A folder outside its root would be a way out of it.
      for (const descriptor of readdirSync(`/proc/${pid}/fd`))
        assert.match(openedAs(pid, descriptor), /^(?:socket:|pipe:|anon_inode:|\/dev\/null$|in its root$|gone$)/);
      assert.ok(existsSync(`/proc/${pid}/root${ENTRY}`), "the program is there");
      for (const path of ["/proc", "/dev", "/sys", "/run", "/etc/passwd", dir])
        assert.ok(!existsSync(`/proc/${pid}/root${path}`), path);
    }
  });

  test("has none of the node's keys anywhere in its memory", { skip: process.platform !== "linux" }, async () => {
    await transfer();
    const folder = await loadNode(founded.dir);
    const { machineKeyFile = assert.fail() } = folder.paths;
    const keys = await openNodeKeys(folder.sealedKeys, await openVirtualTee(machineKeyFile));
    const machine = readFileSync(machineKeyFile, "utf8");
    const { epochKey, serviceKey } = await founded.networkSecrets(keys);
    const secrets = new Map<string, Buffer>([
      ["machine key", scalarOf(machine)],
      ["signing key", scalarOf(keys.signingKey.export({ type: "pkcs8", format: "pem" }).toString())],
      // PKCS #8 of X25519 (RFC 8410) ends in its 32 bytes.
      ["decryption key", keys.decryptionKey.export({ type: "pkcs8", format: "der" }).subarray(-32)],
      ["epoch key", Buffer.from(epochKey)],
      ["service key", scalarOf(serviceKey)],
    ]);
    for (const { length } of secrets.values()) assert.equal(length, 32);
    await elsewhere();
    const workers = descendants(process.pid).filter((pid) => commandOf(pid).includes(ENTRY));
    assert.ok(workers.length > 1, "the workers run");
    // Accounts of each adapter are in its state: what is there is found, in the worker of that adapter and in no other.
    const known = new Map([
      ...secrets,
      ["of the first adapter", Buffer.from(accounts[0]!.address)],
      ["of the second adapter", Buffer.from(others[0]!.address)],
    ]);
    const found = workers.map((pid) => foundInMemory(pid, known)).filter((names) => names.length > 0);
    assert.deepEqual(
      new Set(found.map((names) => names.join())),
      new Set(["of the first adapter", "of the second adapter"]),
    );
    // The same look at this process, which is the manager, finds them.
    assert.ok(foundInMemory(process.pid, secrets).includes("signing key"));
  });

  const attacks = [
    "write to a table that is not its own",
    "write private data into a public part",
    "write what is no write set",
    "write an administrative transaction",
    "name a table of the framework",
    "put in a transaction nobody sent",
    "answer for another generation",
    "answer for another batch",
    "go on without end",
    "put off every transaction",
    "give a result of any size",
    "answer a request of others",
    "answer twice",
    "claim a batch that was not sent",
    "submit transactions of nobody",
    "submit more than it was asked",
    "say nothing, in many messages",
    "name other tables",
    "put a line break into a header",
    "send a message of no kind",
    "send trailing bytes",
    "announce an endless frame",
    "repeat a frame",
    "flood the channel",
    "crash",
    "use up its memory",
    ...(process.platform === "linux" ? ["use up memory beside its heap"] : []),
  ];

  test("that has a state without end is ended before its snapshot fills the disk", async () => {
    await answers();
    const { lost } = (await state()).workers;
    await command({ attack: "have a state without end" });
    // Each is a transaction and a block.
    for (let left = SNAPSHOT_EVERY; left > 0 && (await state()).workers.lost === lost; left--) await transfer();
    await until(async () => (await state()).workers.lost === lost + 1);
    await answers();
    await transfer();
    assert.equal(fatal, undefined);
  });

  test("that claims again and again not to lead gets no answer to its request, and costs no more than that", async () => {
    await answers();
    const { error } = (await command({ attack: "claim that another node leads" })) as { error: { code: string } };
    assert.equal(error.code, "Internal");
  });

  test("that submits an administrative transaction has sent bytes to its own adapter, and changed nothing", async () => {
    await answers();
    const [before, held, sent] = [await elsewhere(), await balance(), nonce];
    await command({ attack: "submit an administrative transaction" });
    await transfer();
    assert.deepEqual(await elsewhere(), before);
    assert.equal(await balance(), held + BigInt(nonce - sent));
    assert.equal(fatal, undefined);
  });

  for (const attack of attacks)
    test(`that tries to ${attack} is ended and begun again; the network's state stands and the node goes on`, async () => {
      await startAnewIfSlow();
      await answers();
      const [lost, held, before] = [(await state()).workers.lost, await balance(), await elsewhere()];
      await command({ attack });
      const sent = nonce;
      await transfer();
      await until(async () => (await state()).workers.lost === lost + 1);
      await answers();
      assert.equal(await balance(), held + BigInt(nonce - sent), "each transfer counts once");
      assert.deepEqual(await elsewhere(), before);
      assert.equal(fatal, undefined);
    });
});

function openedAs(pid: number, descriptor: string): string {
  try {
    const [, mount = ""] = /^mnt_id:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, "latin1")) ?? [];
    // The list has the mounts that can be reached from the root.
    if (new RegExp(`^${mount} `, "m").test(readFileSync(`/proc/${pid}/mountinfo`, "latin1"))) return "in its root";
    return readlinkSync(`/proc/${pid}/fd/${descriptor}`);
  } catch {
    return "gone";
  }
}

/** The process of the worker itself, without those it was started through. */
function workerProcesses(): readonly number[] {
  const isWorker = (pid: number) => commandOf(pid).startsWith(process.execPath) && commandOf(pid).includes(ENTRY);
  return descendants(process.pid).filter(isWorker);
}

function descendants(pid: number): readonly number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendants(child)]);
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, "latin1");
}

/** The 32 secret bytes of a P-256 key. */
function scalarOf(pem: string): Buffer {
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
  // ECPrivateKey (RFC 5915): version 1, then the octet string of 32 bytes.
  const at = der.indexOf(Buffer.from("0201010420", "hex"));
  assert.ok(at > 0);
  return der.subarray(at + 5, at + 37);
}

/** Names of the secrets that stand in the memory of a process, as they are, in hex or in base64. */
function foundInMemory(pid: number, secrets: ReadonlyMap<string, Buffer>): readonly string[] {
  const forms = [...secrets].flatMap(([name, secret]) =>
    // Base64 at any of three offsets: what does not depend on the bytes around it.
    [
      secret,
      Buffer.from(secret.toString("hex")),
      ...[0, 1, 2].map((skip) => Buffer.from(secret.subarray(skip).toString("base64").slice(0, 36))),
    ].map((form) => ({ name, form })),
  );
  const found = new Set<string>();
  const memory = openSync(`/proc/${pid}/mem`, "r");
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "latin1").split("\n")) {
      const [, from = "", to = "", mode = "", file = ""] = /^(\w+)-(\w+) (\S+) \S+ \S+ \S+\s*(.*)$/.exec(line) ?? [];
      if (!mode.startsWith("rw") || file === "[vvar]") continue;
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
      const bytes = readRange(memory, start, end - start);
      for (const { name, form } of forms) if (bytes.includes(form)) found.add(name);
    }
  } finally {
    closeSync(memory);
  }
  return [...found];
}

function readRange(file: number, start: number, length: number): Buffer {
  if (length > 1024 * 1024 * 1024) return Buffer.alloc(0);
  const bytes = Buffer.alloc(length);
  let at = 0;
  try {
    while (at < length) {
      const read = readSync(file, bytes, at, Math.min(length - at, 64 * 1024 * 1024), start + at);
      if (read === 0) break;
      at += read;
    }
  } catch {
    // A range that went away, or is not backed by anything.
  }
  return bytes.subarray(0, at);
}
