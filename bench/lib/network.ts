/**
 * A fresh network of three validating nodes, each a process of its own, in a folder of the operating system's temporary
 * directory that is removed afterwards. Founded the way any network is: node folders, signed entries, assembled genesis.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex } from "../../src/core/codec/bytes.ts";
import { constitutionToJson } from "../../src/core/governance/constitution-codec.ts";
import type { JsonValue } from "../../src/core/governance/json-value.ts";
import { createOrganisationCertificate, generateKeyPairPem } from "../../src/enclave/manager/certificates.ts";
import { nodeEntropy } from "../../src/enclave/manager/node-crypto.ts";
import { CocoError } from "../../src/errors.ts";
import { assembleGenesis, type SignedNode, signNodeEntry } from "../../src/host/genesis.ts";
import { measureCode, PACKAGE_FOLDER } from "../../src/host/measure-code.ts";
import { initNode, SERVICE_CERTIFICATE_FILE } from "../../src/host/node-folder.ts";
import { DEFAULT_WORKER_LEVEL, type WorkerLevel } from "../../src/host/worker-settings.ts";
import { type ClientIdentity, Connection, type Endpoint, getRequest } from "./connection.ts";
import { sleep } from "./statistics.ts";

const NETWORK_NAME = "bench";
const NODES = 3;
const ETHEREUM_MOUNT = "/eth";
const START_LIMIT_MS = 30_000;
const STOP_LIMIT_MS = 5_000;
const DAY_MS = 86_400_000;

/** What a network is started with. */
export interface NetworkOptions {
  /** Options of the Ethereum adapter. */
  readonly ethereum: JsonValue;
  /** When a client that sent a transaction to the leader is answered. */
  readonly answerAfter?: "execution" | "commit";
  /** Arguments for Node of the node with this number, to profile it. */
  readonly nodeArguments?: (node: number) => readonly string[];
  /** How adapters run; as in production unless it is said. */
  readonly workers?: WorkerLevel;
}

/** A running network. */
export interface BenchNetwork {
  /** Endpoints of the nodes for clients. */
  readonly endpoints: readonly Endpoint[];
  readonly pids: readonly number[];
  readonly dir: string;
  /** Number of the leading node. */
  leader(): Promise<number>;
  /** Ends the processes and removes the folder. */
  stop(): Promise<void>;
}

interface NodePorts {
  readonly peers: number;
  readonly clients: number;
}

/** Ports nobody listens at now. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

function makeMember(id: string): { readonly id: string; readonly certificate: string; readonly key: string } {
  const { privateKey } = generateKeyPairPem();
  const issuance = { notBeforeMs: Date.now() - DAY_MS, days: 30, entropy: nodeEntropy };
  return { id, certificate: createOrganisationCertificate({ commonName: id }, privateKey, issuance), key: privateKey };
}

const nodeFolder = (dir: string, node: number): string => join(dir, `node${node}`);

/** Makes the folders of all nodes; gives the first member, whose certificate the clients use. */
async function found(dir: string, ports: readonly NodePorts[], options: NetworkOptions) {
  const members = ports.map((_, at) => makeMember(`member${at}`));
  const nodes: SignedNode[] = [];
  for (const [at, { peers, clients }] of ports.entries()) {
    const [address, clientAddress] = [`127.0.0.1:${peers}`, `127.0.0.1:${clients}`];
    const request = await initNode({
      dir: nodeFolder(dir, at),
      name: `node${at}`,
      listen: address,
      advertise: address,
      clientListen: clientAddress,
      clientAdvertise: clientAddress,
      machineKeyFile: join(dir, "machine.key"),
    });
    const owner = members[at]!;
    nodes.push(signNodeEntry(request, owner.key, owner.id, NETWORK_NAME));
  }
  const measurement = toHex(await measureCode(PACKAGE_FOLDER));
  const genesis = assembleGenesis({
    networkName: NETWORK_NAME,
    actors: members.map(({ id, certificate }) => ({ id, name: id, role: "member", certificate })),
    nodes,
    codeManifest: [{ measurement, name: "coco-framework", version: "0.1.0" }],
    adapters: [{ id: 1, name: "ethereum", version: "0.1.0", mount: ETHEREUM_MOUNT, options: options.ethereum }],
    settings: { answerAfter: options.answerAfter ?? "execution" },
  });
  for (const at of ports.keys()) writeFileSync(join(nodeFolder(dir, at), "genesis.json"), constitutionToJson(genesis));
  return members[0]!;
}

/** Starts a node's process; settles when it serves clients. */
function startProcess(
  dir: string,
  nodeArguments: readonly string[],
  workers: WorkerLevel,
): { child: ChildProcess; serving: Promise<void> } {
  const script = fileURLToPath(new URL("./node-process.js", import.meta.url));
  const child = fork(script, [dir, workers], {
    execArgv: [...nodeArguments],
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  const serving = new Promise<void>((done, failed) => {
    const fail = (why: string): void => failed(new CocoError("NotReady", `the node of ${dir} ${why}`));
    const limit = setTimeout(() => fail(`is not ready after ${START_LIMIT_MS / 1000} s`), START_LIMIT_MS);
    const settle = (action: () => void): void => {
      clearTimeout(limit);
      action();
    };
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (/^serving$/m.test(output)) settle(done);
    });
    child.once("exit", () => settle(() => fail("ended")));
  });
  return { child, serving };
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once("exit", done));
  child.kill("SIGTERM");
  const limit = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
  await ended;
  clearTimeout(limit);
}

/** The leader's number, asked of every node until they name the same one. */
async function findLeader(endpoints: readonly Endpoint[]): Promise<number> {
  const endMs = Date.now() + START_LIMIT_MS;
  for (;;) {
    const connections = await Promise.all(endpoints.map(Connection.open));
    const bodies = await Promise.all(connections.map((connection) => connection.send(getRequest("/node/state"))));
    for (const connection of connections) connection.close();
    const states = bodies.map((body): { node_id: string; primary_id: string | null } => JSON.parse(body.toString()));
    const leader = states.findIndex(({ node_id }) => states.every(({ primary_id }) => primary_id === node_id));
    if (leader >= 0) return leader;
    if (Date.now() > endMs) throw new CocoError("NoLeader", "the nodes name no common leader");
    await sleep(100);
  }
}

/** Founds and starts a network; throws `NotReady` when a node does not come up. */
export async function startNetwork(options: NetworkOptions): Promise<BenchNetwork> {
  const dir = mkdtempSync(join(tmpdir(), "coco-bench-"));
  const children: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    process.off("exit", kill);
    await Promise.all(children.map(stopProcess));
    rmSync(dir, { recursive: true, force: true });
  };
  const kill = (): void => {
    for (const child of children) child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  };
  process.once("exit", kill);
  try {
    const free = await freePorts(2 * NODES);
    const ports = Array.from({ length: NODES }, (_, at) => ({ peers: free[2 * at]!, clients: free[2 * at + 1]! }));
    const member = await found(dir, ports, options);
    const workers = options.workers ?? DEFAULT_WORKER_LEVEL;
    const started = ports.map((_, at) => startProcess(nodeFolder(dir, at), options.nodeArguments?.(at) ?? [], workers));
    children.push(...started.map(({ child }) => child));
    await Promise.all(started.map(({ serving }) => serving));
    const ca = readFileSync(join(nodeFolder(dir, 0), SERVICE_CERTIFICATE_FILE), "utf8");
    const identity: ClientIdentity = { ca, cert: member.certificate, key: member.key };
    const endpoints = ports.map(({ clients }) => ({ port: clients, path: ETHEREUM_MOUNT, identity }));
    await findLeader(endpoints);
    return { endpoints, pids: children.map(({ pid }) => pid ?? 0), dir, leader: () => findLeader(endpoints), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
