/**
 * A sandbox network for a test file: started by the command line as a user would, stopped with everything it made.
 */
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RpcClient } from "./json-rpc.ts";
import { CLI, type ManagedProcess, present, startProcess, until } from "./processes.ts";

/** A validating node of a sandbox. */
export interface SandboxNode {
  readonly name: string;
  /** Plain HTTP for wallets. */
  readonly ethRpc: string;
  /** Mutually authenticated TLS. */
  readonly rpc: string;
  readonly pid: number;
  readonly dir: string;
}

/** What a sandbox writes to `endpoints.json`. */
export interface Endpoints {
  readonly nodes: readonly SandboxNode[];
  /** File with the service certificate. */
  readonly ca: string;
  readonly chainId: number;
  readonly accounts: readonly { readonly address: `0x${string}`; readonly privateKey: `0x${string}` }[];
  readonly members: readonly { readonly name: string; readonly cert: string; readonly key: string }[];
}

/** A running sandbox. */
export interface Sandbox {
  readonly dir: string;
  readonly endpoints: Endpoints;
  readonly process: ManagedProcess;
  /** From the start of the process to `endpoints.json`, in milliseconds. */
  readonly readyMs: number;
  /** A client of the gateway of one node. */
  gateway(at: number): RpcClient;
  /** A client of one node itself, with a member's certificate. */
  member(at: number): Promise<RpcClient>;
  /** Stops the network; its folder stays. */
  halt(): Promise<void>;
  /** Stops the network and removes its folder. */
  stop(): Promise<void>;
}

/** How a sandbox is started. */
export interface SandboxOptions {
  /** Folder to resume; a new temporary one when not given. */
  readonly dir?: string;
  /** The command line to run; that of this repository when not given. */
  readonly cli?: string;
  /** Further arguments; `--json` when not given. */
  readonly arguments?: readonly string[];
}

/** Path of a node's Ethereum interface. */
export const ETHEREUM_PATH = "/eth";

/** Makes a temporary folder. */
export function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "coco-e2e-"));
}

/** The last lines of the nodes' logs. */
async function nodeLogs(dir: string): Promise<string> {
  const names = (await readdir(dir).catch(() => [])).filter((name) => /^node\d+$/.test(name));
  const logs = names.map(async (name) => {
    const log = await readFile(join(dir, name, "node.log"), "utf8").catch(() => "");
    return `\n${name}: ${log.slice(-3000)}`;
  });
  return (await Promise.all(logs)).join("");
}

/** Starts a sandbox and waits until it is ready. */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const dir = options.dir ?? (await temporaryFolder());
  const startedMs = Date.now();
  const child = startProcess(process.execPath, [
    options.cli ?? CLI,
    ...["sandbox", "start", "--dir", dir, "--port", "0"],
    ...(options.arguments ?? ["--json"]),
  ]);
  let exited = false;
  void child.exited.then(() => {
    exited = true;
  });
  const file = join(dir, "endpoints.json");
  const endpoints = await until(
    "the sandbox is ready",
    async () => {
      if (exited) throw new Error(`the sandbox ended: ${child.stdout()}${child.stderr()}`);
      // A resumed folder holds the file of the run before.
      const written = await stat(file).catch(() => undefined);
      if (written === undefined || written.mtimeMs < startedMs) return undefined;
      return JSON.parse(await readFile(file, "utf8")) as Endpoints;
    },
    { timeoutMs: 120_000 },
  ).catch(async (error: unknown) => {
    throw new Error(`it wrote ${child.stdout()}${child.stderr()}${await nodeLogs(dir)}`, { cause: error });
  });
  const readyMs = Date.now() - startedMs;
  return sandboxOf({ dir, endpoints, process: child, readyMs });
}

function sandboxOf(parts: Pick<Sandbox, "dir" | "endpoints" | "process" | "readyMs">): Sandbox {
  const { dir, endpoints, process: child } = parts;
  const clients: RpcClient[] = [];
  const keep = (client: RpcClient): RpcClient => {
    clients.push(client);
    return client;
  };
  const halt = async (): Promise<void> => {
    for (const client of clients) client.close();
    child.signal("SIGINT");
    await child.exited;
  };
  return {
    ...parts,
    gateway: (at) => keep(new RpcClient(present(endpoints.nodes[at]).ethRpc)),
    member: async (at) =>
      keep(new RpcClient(new URL(ETHEREUM_PATH, present(endpoints.nodes[at]).rpc).href, await credentials(endpoints))),
    halt,
    stop: async () => {
      await halt();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** What a member of the sandbox presents to a node. */
export async function credentials(endpoints: Endpoints): Promise<{ ca: Buffer; cert: Buffer; key: Buffer }> {
  const member = present(endpoints.members[0]);
  const [ca, cert, key] = await Promise.all([readFile(endpoints.ca), readFile(member.cert), readFile(member.key)]);
  return { ca, cert, key };
}

/** Whether a process of this id runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
