/**
 * A running sandbox: validating nodes as processes of their own, a gateway for wallets to each, and the watch over them.
 *
 * Nodes are independent: when one dies the others go on, and it may be started again by hand in its folder; the watch then
 * tells its new process id. Stopping ends all nodes of the folder, those started by hand too. State is kept.
 */
import { readFileSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { toHex } from "../../core/codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";
import { PUBLIC_FILE_MODE, writeFileAtomic } from "../files.ts";
import { folderHolder } from "../folder-lock.ts";
import { type Gateway, startGateway } from "../gateway.ts";
import { Upstream, type UpstreamNode } from "../gateway-upstream.ts";
import { measureCode, PACKAGE_FOLDER, packageIdentity } from "../measure-code.ts";
import { SERVICE_CERTIFICATE_FILE } from "../node-folder.ts";
import type { WorkerLevel } from "../worker-settings.ts";
import { approveNewCode, type CodeChange } from "./approve.ts";
import { type Endpoints, endpointsOf, removeEndpoints, writeEndpoints } from "./endpoints.ts";
import { nodeName, SANDBOX_MEMBERS } from "./layout.ts";
import { lastLines, NodeProcess, signalProcess } from "./node-process.ts";
import { SANDBOX_HOST } from "./ports.ts";
import { isServing } from "./readiness.ts";
import { openSandboxFolder, type SandboxFolder, type SandboxFolderOptions } from "./sandbox-folder.ts";

/** A network that does not serve within this time has failed. */
export const START_TIMEOUT_MS = 60_000;
/** Time nodes have to stop before they are killed. */
export const STOP_TIMEOUT_MS = 10_000;
/** How often the launcher looks whether nodes serve, while it starts. */
export const READY_POLL_MS = 25;
/** How often the launcher looks for nodes that came back. */
export const WATCH_INTERVAL_MS = 250;
/** Lines of a log that are shown when its node failed. */
export const SHOWN_LOG_LINES = 12;

/** How a sandbox is started. */
export interface SandboxOptions extends SandboxFolderOptions {
  readonly logLevel: string;
  readonly workers: WorkerLevel;
  /** Compiled file of the `coco` command, run for each node. */
  readonly entry: string;
  /** Steps, for people who watch. */
  readonly onProgress: (line: string) => void;
  /** A node failed while the network runs. */
  readonly onProblem: (line: string) => void;
  /** Gives up starting. */
  readonly signal: AbortSignal;
}

interface SandboxNode extends UpstreamNode {
  readonly at: number;
  readonly dir: string;
  readonly process: NodeProcess;
  /** The process that serves: the launcher's child or one started by hand. */
  pid: number;
}

/** What tells a file from the one that replaces it; undefined when there is none. */
async function fileState(file: string): Promise<string | undefined> {
  const found = await stat(file, { bigint: true }).catch(() => undefined);
  return found && `${found.ino} ${found.mtimeNs}`;
}

/** A sandbox network that serves. */
export class Sandbox {
  readonly #options: SandboxOptions;
  readonly #folder: SandboxFolder;
  readonly #nodes: SandboxNode[] = [];
  readonly #gateways: Gateway[] = [];
  #codeChange: CodeChange | undefined;
  #upstream: Upstream | undefined;
  #watch: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #failure: string | undefined;
  #state: "starting" | "serving" | "stopping" = "starting";

  private constructor(options: SandboxOptions, folder: SandboxFolder) {
    this.#options = options;
    this.#folder = folder;
  }

  /**
   * Starts the sandbox of a folder and resolves once every node serves. Throws, with everything stopped again,
   * `FolderInUse`, `PortTaken`, `ConfigurationInvalid`, `NodeProcessFailed` or `NotReady`.
   */
  static async start(options: SandboxOptions): Promise<Sandbox> {
    const sandbox = new Sandbox(options, await openSandboxFolder(options));
    try {
      await sandbox.#start();
    } catch (error) {
      await sandbox.stop();
      throw error;
    }
    return sandbox;
  }

  /** The open folder: layout, ports, genesis. */
  get folder(): SandboxFolder {
    return this.#folder;
  }

  /** What was voted in for this start; undefined when the code is the one the network knows. */
  get codeChange(): CodeChange | undefined {
    return this.#codeChange;
  }

  /** How the workers of all nodes run. */
  get workers(): WorkerLevel {
    return this.#options.workers;
  }

  /** What stands in `endpoints.json`. */
  get endpoints(): Endpoints {
    const { layout, ports } = this.#folder;
    return endpointsOf({
      nodes: this.#nodes.map(({ name, at, port, pid, dir }) => {
        const ethRpc = `http://${SANDBOX_HOST}:${ports[at]?.ethRpc}`;
        return { name, ethRpc, rpc: `https://${SANDBOX_HOST}:${port}`, pid, dir };
      }),
      ca: layout.serviceCertificate,
      chainId: this.#chainId(),
      members: Array.from({ length: SANDBOX_MEMBERS }, (_, at) => layout.member(at)).map(({ id, certificate, key }) => {
        return { name: id, cert: certificate, key };
      }),
    });
  }

  #chainId(): number {
    const options: unknown = this.#folder.genesis.adapters[0]?.options;
    const chainId =
      typeof options === "object" && options !== null && "chainId" in options ? options.chainId : undefined;
    invariant(typeof chainId === "number", "a sandbox has an Ethereum chain");
    return chainId;
  }

  async #start(): Promise<void> {
    const { layout, ports, genesis, resumed } = this.#folder;
    // By this file a node knows that it took part: it stays, and is replaced as soon as the node serves.
    const found = await Promise.all(ports.map((_, at) => fileState(join(layout.node(at), SERVICE_CERTIFICATE_FILE))));
    if (resumed) await this.#approveCode();
    this.#options.signal.throwIfAborted();
    this.#options.onProgress(
      `${resumed ? "resuming" : "starting"} ${ports.length} validating ${ports.length === 1 ? "node" : "nodes"} …`,
    );
    for (const at of ports.keys()) this.#nodes.push(this.#spawn(at));
    const certificate = await this.#serviceCertificate(found);
    await writeFileAtomic(layout.serviceCertificate, certificate, PUBLIC_FILE_MODE);
    const [cert, key] = await Promise.all([
      readFile(layout.gatewayCertificate, "utf8"),
      readFile(layout.gatewayKey, "utf8"),
    ]);
    const upstream = new Upstream({ ca: certificate, cert, key });
    this.#upstream = upstream;
    const mount = genesis.adapters[0]?.mount ?? "/eth";
    await Promise.all(
      this.#nodes.map((node) => this.#until(() => isServing(upstream, node, mount), `${node.name} to serve`)),
    );
    for (const { at } of this.#nodes) {
      const nodes = [...this.#nodes.slice(at), ...this.#nodes.slice(0, at)];
      this.#gateways.push(await startGateway({ port: ports[at]?.ethRpc ?? 0, mount, upstream, nodes }));
    }
    this.#state = "serving";
    await writeEndpoints(layout.endpoints, this.endpoints);
    this.#watch = setInterval(() => this.#lookForNodes(), WATCH_INTERVAL_MS);
  }

  async #approveCode(): Promise<void> {
    const { layout, ports, genesis } = this.#folder;
    const measurement = toHex(await measureCode(PACKAGE_FOLDER));
    const code = { measurement, ...(await packageIdentity(PACKAGE_FOLDER)) };
    this.#codeChange = await approveNewCode(layout, ports.length, genesis, code);
    if (this.#codeChange === undefined) return;
    const { constitutionVersion } = this.#codeChange;
    this.#options.onProgress(
      `code changed: sandbox members approved measurement ${measurement} (constitution version ${constitutionVersion})`,
    );
  }

  #spawn(at: number): SandboxNode {
    const { layout, ports } = this.#folder;
    const { entry, logLevel, workers } = this.#options;
    const name = nodeName(at);
    const dir = layout.node(at);
    const logFile = layout.log(at);
    const onExit = (reason: string) => this.#ended(at, reason);
    const process = new NodeProcess({ name, dir, logFile, entry, logLevel, workers, onExit });
    return { at, name, dir, host: SANDBOX_HOST, port: ports[at]?.client ?? 0, process, pid: process.pid ?? 0 };
  }

  /** The service certificate, as soon as a node serves: it has replaced the file that was found. */
  async #serviceCertificate(found: readonly (string | undefined)[]): Promise<string> {
    const { layout, ports } = this.#folder;
    let certificate = "";
    await this.#until(async () => {
      for (const at of ports.keys()) {
        const file = join(layout.node(at), SERVICE_CERTIFICATE_FILE);
        if ((await fileState(file)) === found[at]) continue;
        certificate ||= await readFile(file, "utf8").catch(() => "");
      }
      return certificate !== "";
    }, "a node to serve");
    return certificate;
  }

  async #until(condition: () => Promise<boolean>, what: string): Promise<void> {
    const deadlineMs = performance.now() + START_TIMEOUT_MS;
    while (!(await condition())) {
      this.#options.signal.throwIfAborted();
      if (this.#failure !== undefined) throw new CocoError("NodeProcessFailed", this.#failure);
      if (performance.now() > deadlineMs) {
        throw new CocoError(
          "NotReady",
          `waited ${START_TIMEOUT_MS / 1000} s for ${what}; logs are in ${this.#folder.layout.dir}/node*/node.log`,
        );
      }
      await delay(READY_POLL_MS);
    }
  }

  #ended(at: number, reason: string): void {
    if (this.#state === "stopping") return;
    const { layout } = this.#folder;
    const logFile = layout.log(at);
    void lastLines(logFile, SHOWN_LOG_LINES).then((lines) => {
      const log = lines.map((line) => `\n  ${line}`).join("");
      if (this.#state === "starting")
        this.#failure = `${nodeName(at)} ended while starting: ${reason}; end of ${logFile}:${log}`;
      if (this.#state !== "serving") return;
      const again = `${process.execPath} ${this.#options.entry} node start --dir ${layout.node(at)}`;
      this.#options.onProblem(
        `${nodeName(at)} (process ${this.#nodes[at]?.pid}) ended: ${reason}; its log: ${logFile}\n  start it again: ${again}`,
      );
    });
  }

  /** Notices nodes that run as other processes than before. */
  #lookForNodes(): void {
    let changed = false;
    for (const node of this.#nodes) {
      const pid = folderHolder(this.#folder.layout.ledger(node.at));
      if (pid === undefined || pid === node.pid) continue;
      node.pid = pid;
      changed = true;
      this.#options.onProgress(`${node.name} is back as process ${pid}`);
    }
    if (!changed) return;
    const { endpoints } = this.#folder.layout;
    this.#writing = this.#writing
      .then(() => writeEndpoints(endpoints, this.endpoints))
      .catch(() => {
        this.#options.onProblem(`${endpoints} could not be written`);
      });
  }

  /** Nodes that run as processes started by hand in this sandbox's folders. */
  #strangers(): readonly number[] {
    return this.#nodes.flatMap(({ at, process: child }) => {
      const pid = folderHolder(this.#folder.layout.ledger(at));
      return pid === undefined || pid === child.pid || !isNodeCommand(pid) ? [] : [pid];
    });
  }

  /** Stops all nodes and gives the folder free; the network can be resumed. */
  async stop(): Promise<void> {
    this.#state = "stopping";
    clearInterval(this.#watch);
    await this.#writing;
    await removeEndpoints(this.#folder.layout.endpoints);
    for (const gateway of this.#gateways) gateway.close();
    this.#upstream?.close();
    for (const node of this.#nodes) node.process.stop();
    for (const pid of this.#strangers()) signalProcess(pid, "SIGTERM");
    const deadlineMs = performance.now() + STOP_TIMEOUT_MS;
    while (this.#nodes.some((node) => node.process.isRunning) || this.#strangers().length > 0) {
      if (performance.now() > deadlineMs) this.kill();
      await delay(READY_POLL_MS);
    }
    this.#folder.lock.release();
  }

  /** Ends all nodes at once. */
  kill(): void {
    this.#state = "stopping";
    for (const node of this.#nodes) node.process.kill();
    for (const pid of this.#strangers()) signalProcess(pid, "SIGKILL");
  }
}

/** Whether a process is a validating node, where the system tells: a lock left behind may name a process id used anew. */
function isNodeCommand(pid: number): boolean {
  if (process.platform !== "linux") return true;
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    return command.includes("node") && command.includes("start");
  } catch {
    return false;
  }
}
