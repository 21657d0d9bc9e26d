/**
 * A network of validating nodes in this process, over real sockets, whose machines a test plays: their TEEs differ, and their
 * roots are handed in. Everything else is what `coco node start` runs.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { privateKeyToAccount } from "viem/accounts";
import { constitutionToJson } from "../../../src/core/governance/constitution-codec.ts";
import type { RequestSigner } from "../../../src/core/governance/request-signing.ts";
import type { SettingsChange } from "../../../src/core/governance/settings.ts";
import { createOrganisationCertificate, generateKeyPairPem } from "../../../src/enclave/manager/certificates.ts";
import { nodeEntropy } from "../../../src/enclave/manager/node-crypto.ts";
import type { CocoError } from "../../../src/errors.ts";
import { assembleGenesis, signNodeEntry, type SignedNode } from "../../../src/host/genesis.ts";
import { acceptOffer, readNewcomer, requestJoin } from "../../../src/host/join.ts";
import { type RunningNode, startNode } from "../../../src/host/node.ts";
import { initNode, loadNode, SERVICE_CERTIFICATE_FILE, teeOf } from "../../../src/host/node-folder.ts";
import { readRequestSigner } from "../../../src/host/request-signer.ts";
import type { NodeTee, PlayedMachine } from "../../../src/host/tee/node-tee.ts";
import type { TeeProvider } from "../../../src/host/tee/provider.ts";
import { PLAYED_ROOTS } from "../../support/played-hardware.ts";
import { freePorts } from "./free-ports.ts";
import { type Credentials, RpcClient } from "./json-rpc.ts";
import { accountKey, CHAIN_ID, FUNDED_ACCOUNTS } from "./network.ts";
import { present, until } from "./processes.ts";
import { ETHEREUM_PATH, temporaryFolder } from "./sandbox.ts";

const DAY_MS = 86_400_000;
const MEMBER = "member0";
const NETWORK = "mixed";

/** A machine that a node is to run on. */
export interface Machine {
  readonly name: string;
  /** Hardware; a machine of the virtual TEE unless given. */
  readonly provider?: TeeProvider;
  /** A package of its own, of which only the measurement matters: the node runs this one's code. */
  readonly otherCode?: boolean;
}

/** A line of a node's log. */
export interface LoggedEvent {
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A node on a played machine. */
export class PlayedNode {
  readonly machine: Machine;
  readonly dir: string;
  readonly clientPort: number;
  readonly nodeId: string;
  readonly entry: SignedNode;
  /** The code its machine measures, and what seals its keys. */
  readonly tee: Pick<NodeTee, "code" | "sealedBy" | "tee">;
  /** Certificate and key of the member, as a client. */
  readonly credentials: Omit<Credentials, "ca">;
  #running: RunningNode | undefined;
  #rpc: RpcClient | undefined;
  /** What it logged, in order. */
  readonly logged: LoggedEvent[] = [];
  /** Why it could not go on. */
  fatal: CocoError | undefined;

  constructor(
    made: Pick<PlayedNode, "machine" | "dir" | "clientPort" | "nodeId" | "entry" | "tee">,
    credentials: Omit<Credentials, "ca">,
  ) {
    this.machine = made.machine;
    this.dir = made.dir;
    this.clientPort = made.clientPort;
    this.nodeId = made.nodeId;
    this.entry = made.entry;
    this.tee = made.tee;
    this.credentials = credentials;
  }

  get serviceCertificate(): string {
    return readFileSync(join(this.dir, SERVICE_CERTIFICATE_FILE), "utf8");
  }

  get rpc(): RpcClient {
    this.#rpc ??= new RpcClient(`https://127.0.0.1:${this.clientPort}${ETHEREUM_PATH}`, {
      ...this.credentials,
      ca: this.serviceCertificate,
    });
    return this.#rpc;
  }

  /** Connects anew, under the service identity of now. */
  reconnect(): void {
    this.#rpc?.close();
    this.#rpc = undefined;
  }

  async read<T>(path: string): Promise<T> {
    const { status, body } = await this.rpc.http({ method: "GET", path });
    if (status !== 200) throw new Error(`${path}: ${status} ${body}`);
    return JSON.parse(body) as T;
  }

  /** Starts the node. @param provider instead of its machine's */
  async start(provider = this.machine.provider): Promise<void> {
    const options = { dir: this.dir, logLevel: "error", workers: "thread" } as const;
    this.#running = await startNode(
      {
        ...options,
        tracer: { event: (_level, event, fields = {}) => this.logged.push({ event, fields }) },
        onServing: () => undefined,
        onFatal: (error) => {
          this.fatal = error;
        },
      },
      playedOf(this.dir, { ...this.machine, ...(provider !== undefined && { provider }) }),
    );
  }

  async stop(): Promise<void> {
    this.reconnect();
    await this.#running?.stop();
    this.#running = undefined;
  }

  /** Waits until it serves and knows a leader. */
  async ready(): Promise<void> {
    const isReady = async () => (await this.rpc.http({ method: "GET", path: "/node/ready" })).status === 200;
    try {
      await until(
        `${this.machine.name} is ready`,
        async () => ((await isReady().catch(() => false)) ? true : undefined),
        {
          timeoutMs: 40_000,
          everyMs: 100,
        },
      );
    } catch (error) {
      throw new Error(`${this.machine.name}: ${JSON.stringify(this.logged.slice(-30))}`, { cause: error });
    }
  }

  /** Asks a node of the network for a place as `coco node join` does, and takes what it is offered. */
  async join(asked: PlayedNode): Promise<void> {
    const newcomer = await readNewcomer(this.dir, undefined, playedOf(this.dir, this.machine));
    const trust = { serviceCertificate: asked.serviceCertificate };
    const url = `https://127.0.0.1:${asked.clientPort}`;
    await acceptOffer(newcomer, await requestJoin(newcomer, url, trust, PLAYED_ROOTS));
  }
}

function playedOf(dir: string, { provider, otherCode }: Machine): PlayedMachine {
  return {
    roots: PLAYED_ROOTS,
    ...(provider !== undefined && { provider }),
    ...(otherCode === true && { packageFolder: join(dir, "..", "package") }),
  };
}

/** See the module's header. */
export class PlayedNetwork {
  readonly dir: string;
  readonly nodes: readonly PlayedNode[];
  /** Signs requests of the network's only member, which owns all nodes. */
  readonly member: RequestSigner;
  readonly memberId = MEMBER;
  readonly #credentials: Omit<Credentials, "ca">;

  private constructor(
    dir: string,
    nodes: readonly PlayedNode[],
    member: RequestSigner,
    credentials: Omit<Credentials, "ca">,
  ) {
    this.dir = dir;
    this.nodes = nodes;
    this.member = member;
    this.#credentials = credentials;
  }

  /** Founds a network of a node on each of these machines, whose code and TEEs its manifests list, and starts it. */
  static async start(machines: readonly Machine[], settings: SettingsChange = {}): Promise<PlayedNetwork> {
    const dir = await temporaryFolder();
    await makeOtherPackage(join(dir, "package"));
    const { privateKey } = generateKeyPairPem();
    const issuance = { notBeforeMs: Date.now() - DAY_MS, days: 30, entropy: nodeEntropy };
    const certificate = createOrganisationCertificate({ commonName: MEMBER }, privateKey, issuance);
    const credentials = { cert: certificate, key: privateKey };
    const nodes: PlayedNode[] = [];
    for (const machine of machines) nodes.push(await makeNode(dir, machine, credentials));
    const genesis = genesisOf(nodes, certificate, settings);
    for (const node of nodes) await writeFile(join(node.dir, "genesis.json"), genesis);
    const network = new PlayedNetwork(dir, nodes, readRequestSigner(certificate, privateKey), credentials);
    await Promise.all(nodes.map((node) => node.start()));
    await Promise.all(nodes.map((node) => node.ready()));
    return network;
  }

  /** A node that the network does not list. */
  newcomer(machine: Machine): Promise<PlayedNode> {
    return makeNode(this.dir, machine, this.#credentials);
  }

  async stop(more: readonly PlayedNode[] = []): Promise<void> {
    await Promise.all([...this.nodes, ...more].map((node) => node.stop()));
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Files that are measured, and never run. */
async function makeOtherPackage(folder: string): Promise<void> {
  mkdirSync(join(folder, "dist/src"), { recursive: true });
  await writeFile(join(folder, "package.json"), JSON.stringify({ name: "coco-framework", version: "0.0.1-other" }));
  await writeFile(join(folder, "dist/src/main.js"), "export {};\n");
}

async function makeNode(dir: string, machine: Machine, credentials: Omit<Credentials, "ca">): Promise<PlayedNode> {
  const [port, clientPort] = (await freePorts(2)) as [number, number];
  const { name, provider } = machine;
  const folder = join(dir, name);
  const [address, clients] = [`127.0.0.1:${port}`, `127.0.0.1:${clientPort}`];
  const played = playedOf(folder, machine);
  const options = {
    ...{ dir: folder, name, machineKeyFile: join(dir, `${name}.key`), tee: { name: provider?.tee ?? "virtual" } },
    ...{ listen: address, advertise: address, clientListen: clients, clientAdvertise: clients },
  } as const;
  const request = await initNode(options, played);
  const entry = signNodeEntry(request, String(credentials.key), MEMBER, NETWORK);
  const tee = await teeOf(await loadNode(folder), undefined, played);
  return new PlayedNode({ machine, dir: folder, clientPort, nodeId: request.nodeId, entry, tee }, credentials);
}

function genesisOf(nodes: readonly PlayedNode[], certificate: string, settings: SettingsChange): string {
  const funded = Array.from({ length: FUNDED_ACCOUNTS }, (_, at) => privateKeyToAccount(accountKey(at)).address);
  const alloc = Object.fromEntries(funded.map((address) => [address.toLowerCase(), { balance: `${10n ** 24n}` }]));
  const constitution = assembleGenesis({
    networkName: NETWORK,
    settings,
    actors: [{ id: MEMBER, name: "Member 0", role: "member", certificate }],
    nodes: nodes.map(({ entry }) => entry),
    codeManifest: nodes.map(({ machine: { name }, tee: { code } }) => ({ ...code, name, version: "0.1.0" })),
    adapters: [
      {
        ...{ id: 1, name: "ethereum", version: "0.1.0", mount: ETHEREUM_PATH },
        options: { chainId: CHAIN_ID, alloc, timestamp: 1_700_000_000 },
      },
    ],
  });
  return constitutionToJson(present(constitution));
}
