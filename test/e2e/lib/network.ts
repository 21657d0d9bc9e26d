/**
 * A network of validating nodes for fault tests: founded with the library's own functions, one process per node, each
 * node's address for peers behind a {@link LinkProxy}. Nodes are killed, paused and started again one by one.
 */
import { readFileSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { privateKeyToAccount } from "viem/accounts";
import type { Hex } from "viem";
import { keccak256, toHex as utf8ToHex } from "viem/utils";
import { toHex } from "../../../src/core/codec/bytes.ts";
import { constitutionToJson } from "../../../src/core/governance/constitution-codec.ts";
import type { RequestSigner } from "../../../src/core/governance/request-signing.ts";
import type { SettingsChange } from "../../../src/core/governance/settings.ts";
import { createOrganisationCertificate, generateKeyPairPem } from "../../../src/enclave/manager/certificates.ts";
import { nodeEntropy } from "../../../src/enclave/manager/node-crypto.ts";
import {
  assembleGenesis,
  type Founder,
  type GenesisParts,
  signNodeEntry,
  type SignedNode,
} from "../../../src/host/genesis.ts";
import { measureCode, PACKAGE_FOLDER } from "../../../src/host/measure-code.ts";
import { initNode, SERVICE_CERTIFICATE_FILE } from "../../../src/host/node-folder.ts";
import { readRequestSigner } from "../../../src/host/request-signer.ts";
import { freePorts } from "./free-ports.ts";
import { type Credentials, RpcClient } from "./json-rpc.ts";
import { LinkProxy } from "./link-proxy.ts";
import { CLI, endOf, type Exit, type ManagedProcess, present, startProcess, until } from "./processes.ts";
import { ETHEREUM_PATH, temporaryFolder } from "./sandbox.ts";

/** Chain id of the network. */
export const CHAIN_ID = 31337;
/** Accounts with ether. */
export const FUNDED_ACCOUNTS = 8;

const DAY_MS = 86_400_000;
const MEMBER = "member0";
const NETWORK = "faults";

/** Private key of a funded account. */
export function accountKey(at: number): Hex {
  return keccak256(utf8ToHex(`account ${at} of the fault tests`));
}

/** One validating node of the network. */
export class NetworkNode {
  readonly name: string;
  readonly dir: string;
  readonly clientPort: number;
  readonly proxy: LinkProxy;
  /** Certificate and key of a member, as a client. */
  readonly credentials: Omit<Credentials, "ca">;
  #process: ManagedProcess | undefined;
  #isRunning = false;
  #rpc: RpcClient | undefined;

  constructor(parts: {
    name: string;
    dir: string;
    clientPort: number;
    proxy: LinkProxy;
    credentials: Omit<Credentials, "ca">;
  }) {
    this.name = parts.name;
    this.dir = parts.dir;
    this.clientPort = parts.clientPort;
    this.proxy = parts.proxy;
    this.credentials = parts.credentials;
  }

  /** A member's client of this node; throws before the node has served for the first time. */
  get rpc(): RpcClient {
    this.#rpc ??= new RpcClient(`https://127.0.0.1:${this.clientPort}${ETHEREUM_PATH}`, {
      ...this.credentials,
      ca: readFileSync(join(this.dir, SERVICE_CERTIFICATE_FILE)),
    });
    return this.#rpc;
  }

  /** Closes the connections to this node. */
  disconnect(): void {
    this.#rpc?.close();
  }

  /** Process id; 0 when the node does not run. */
  get pid(): number {
    return this.#isRunning ? (this.#process?.pid ?? 0) : 0;
  }

  /** What the process has written; that of the last one when the node does not run. */
  get log(): string {
    return `${this.#process?.stdout() ?? ""}${this.#process?.stderr() ?? ""}`;
  }

  /** Starts the node's process. @param cli the `coco` command, of other code than this installation's */
  start(cli = CLI): void {
    this.#process = startProcess(process.execPath, [cli, "node", "start", "--dir", this.dir]);
    this.#isRunning = true;
  }

  /** Sends a signal to the process. */
  signal(name: NodeJS.Signals): void {
    this.#process?.signal(name);
  }

  /** Ends the process and waits until it is gone. */
  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#process?.signal(signal);
    await this.#process?.exited;
    this.#isRunning = false;
  }

  /** The node's ledger folder. */
  get ledger(): string {
    return join(this.dir, "ledger");
  }

  /** File with the service certificate; there once the node has served. */
  get serviceCertificate(): string {
    return join(this.dir, SERVICE_CERTIFICATE_FILE);
  }

  /** The log lines of one event since the process started, oldest first. */
  events(name: string): readonly Readonly<Record<string, unknown>>[] {
    return this.log.split("\n").flatMap((line) => {
      // The last line may be on its way.
      if (!line.includes(`"event":"${name}"`) || !line.endsWith("}")) return [];
      return [JSON.parse(line) as Readonly<Record<string, unknown>>];
    });
  }

  /** Waits for the process to end by itself. */
  async ended(timeoutMs = 20_000): Promise<Exit> {
    const exit = await endOf(present(this.#process, "a running process"), timeoutMs);
    this.#isRunning = false;
    return exit;
  }

  /** A document the node serves under `/node`. */
  async read<T>(path: string): Promise<T> {
    const { status, body } = await this.rpc.http({ method: "GET", path });
    if (status !== 200) throw new Error(`${path}: ${status} ${body}`);
    return JSON.parse(body) as T;
  }

  /** Waits until the node serves and knows a leader. */
  async ready(): Promise<void> {
    try {
      await until(`${this.name} is ready`, async () => ((await this.isReady()) ? true : undefined), {
        timeoutMs: 30_000,
      });
    } catch (error) {
      throw new Error(`${this.name} is not ready; it wrote ${this.log.slice(-3000)}`, { cause: error });
    }
  }

  /** Whether the node serves and knows a leader at this moment. */
  async isReady(): Promise<boolean> {
    try {
      return (await this.rpc.http({ method: "GET", path: "/node/ready" })).status === 200;
    } catch {
      return false;
    }
  }

  /** Number of the newest block. */
  async blockNumber(): Promise<number> {
    return Number(await this.rpc.call<Hex>("eth_blockNumber"));
  }
}

/** What a genesis constitution says otherwise than usual. */
export type Founding = Partial<Pick<GenesisParts, "adapters" | "open">>;

/** A founded network; see the module's header. */
export class Network {
  readonly dir: string;
  readonly nodes: readonly NetworkNode[];
  /** Signs requests of the network's only member. */
  readonly member: RequestSigner;
  /** Its id. */
  readonly memberId = MEMBER;

  private constructor(dir: string, nodes: readonly NetworkNode[], member: RequestSigner) {
    this.dir = dir;
    this.nodes = nodes;
    this.member = member;
  }

  /** Founds a network, without starting it. @param others founders beside the member that owns the nodes */
  static async found(
    count = 3,
    settings: SettingsChange = {},
    others: readonly Founder[] = [],
    founding: Founding = {},
  ): Promise<Network> {
    const dir = await temporaryFolder();
    const { privateKey } = generateKeyPairPem();
    const issuance = { notBeforeMs: Date.now() - DAY_MS, days: 30, entropy: nodeEntropy };
    const certificate = createOrganisationCertificate({ commonName: MEMBER }, privateKey, issuance);
    const credentials = { cert: certificate, key: privateKey };
    const nodes: NetworkNode[] = [];
    const signed: SignedNode[] = [];
    for (let at = 0; at < count; at++) {
      const { node, entry } = await makeNode(dir, `node${at}`, credentials, nodes);
      signed.push(entry);
      nodes.push(node);
    }
    const owner: Founder = { id: MEMBER, name: "Member 0", role: "member", certificate };
    const genesis = await genesisOf(signed, [owner, ...others], settings, founding);
    for (const node of nodes) await writeFile(join(node.dir, "genesis.json"), genesis);
    return new Network(dir, nodes, readRequestSigner(certificate, privateKey));
  }

  /** Founds a network and starts all its nodes. */
  static async start(
    count = 3,
    settings: SettingsChange = {},
    others: readonly Founder[] = [],
    founding: Founding = {},
  ): Promise<Network> {
    const network = await Network.found(count, settings, others, founding);
    try {
      for (const node of network.nodes) node.start();
      await network.ready();
    } catch (error) {
      // Nobody else has this network: its processes would keep the test running.
      await network.stop();
      throw error;
    }
    return network;
  }

  /** A node that the network does not list, with its entry signed by the member. */
  newcomer(name: string): Promise<NewNode> {
    return makeNode(this.dir, name, present(this.nodes[0]).credentials, [...this.nodes]);
  }

  /** Waits until every node serves and knows a leader. */
  async ready(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.ready()));
  }

  /** The node that leads in the eyes of a majority, and the others. */
  async leader(): Promise<{ readonly leader: NetworkNode; readonly followers: readonly NetworkNode[] }> {
    const leader = await until("a node leads", async () => {
      for (const node of this.nodes) {
        const state = await node.read<{ role: string }>("/node/state").catch(() => undefined);
        if (state?.role === "leader") return node;
      }
      return undefined;
    });
    return { leader, followers: this.nodes.filter((node) => node !== leader) };
  }

  /** Cuts the link between two nodes, in both directions. */
  cut(one: NetworkNode, other: NetworkNode): void {
    one.proxy.cut(other.pid);
    other.proxy.cut(one.pid);
  }

  /** Heals all links. */
  heal(): void {
    for (const node of this.nodes) node.proxy.heal();
  }

  /** Ends every process and removes the folder. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.end()));
    for (const node of this.nodes) {
      node.disconnect();
      node.proxy.close();
    }
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** A node that is made, and not started. */
export interface NewNode {
  readonly node: NetworkNode;
  readonly entry: SignedNode;
}

async function makeNode(
  dir: string,
  name: string,
  credentials: NetworkNode["credentials"],
  others: readonly NetworkNode[],
): Promise<NewNode> {
  const proxy = await LinkProxy.start(() => others.map((node) => node.pid).filter((pid) => pid > 0));
  const [port, clientPort] = (await freePorts(2)) as [number, number];
  proxy.forwardTo(port);
  const folder = join(dir, name);
  const request = await initNode({
    ...{ dir: folder, name, machineKeyFile: join(dir, "machine.key") },
    ...{ listen: `127.0.0.1:${port}`, advertise: `127.0.0.1:${proxy.port}` },
    ...{ clientListen: `127.0.0.1:${clientPort}`, clientAdvertise: `127.0.0.1:${clientPort}` },
  });
  const entry = signNodeEntry(request, String(credentials.key), MEMBER, NETWORK);
  return { node: new NetworkNode({ name, dir: folder, clientPort, proxy, credentials }), entry };
}

async function genesisOf(
  nodes: readonly SignedNode[],
  actors: readonly Founder[],
  settings: SettingsChange,
  founding: Founding,
): Promise<string> {
  const funded = Array.from({ length: FUNDED_ACCOUNTS }, (_, at) => privateKeyToAccount(accountKey(at)).address);
  const alloc = Object.fromEntries(funded.map((address) => [address.toLowerCase(), { balance: `${10n ** 24n}` }]));
  const { name, version } = JSON.parse(await readFile(join(PACKAGE_FOLDER, "package.json"), "utf8")) as {
    name: string;
    version: string;
  };
  const constitution = assembleGenesis({
    networkName: NETWORK,
    settings,
    actors,
    nodes,
    codeManifest: [{ measurement: toHex(await measureCode(PACKAGE_FOLDER)), name, version }],
    adapters: [
      {
        ...{ id: 1, name: "ethereum", version: "0.1.0", mount: ETHEREUM_PATH },
        options: { chainId: CHAIN_ID, alloc, timestamp: 1_700_000_000 },
      },
    ],
    ...founding,
  });
  return constitutionToJson(constitution);
}
