/**
 * What keeps the processes of a worker from the machine besides Node's permission model, which stops neither sockets nor
 * signals nor native code. On Linux, as far as the system lets anybody do it, step by step:
 *
 * - namespaces of their own for users, network, processes and System V IPC: no interface, no other process to name;
 * - a file system of their own that holds nothing but the program (worker-root.ts);
 * - no way to gain privileges (`no_new_privs`), and an end with the node that started them, however it ends;
 * - bounds of memory outside the JavaScript heap, and no core files, which would hold the adapter's state.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { rootScript } from "./worker-root.ts";

/** Memory of a worker process besides its JavaScript heap, in MiB, for each MiB of the heap: what byte strings take. */
export const WORKER_DATA_PER_HEAP = 2;
/** Memory a worker process may have in any case, in MiB. */
export const WORKER_DATA_MIN_MB = 2048;

const PROBE_TIMEOUT_MS = 10_000;
const SHELL = "/bin/sh";
const TOOL_FOLDERS = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
const PRIVILEGES = ["--no-new-privs", "--pdeathsig", "KILL"];
/** A worker cannot name a process outside its own namespace, so it can neither signal nor look at one. */
const NAMESPACES = ["--net", "--ipc", "--pid", "--fork", "--kill-child=SIGKILL", "--"];

/** A program to run. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

/** What holds on this machine: `isolated` or `dropped`, or why it does not. */
export interface Isolation {
  /** The processes have no network. */
  readonly network: "isolated" | "unshare-missing" | "unshare-refused" | "platform";
  /** They see no file besides the program, and no socket. */
  readonly files: "isolated" | "unshare-missing" | "unshare-refused" | "mount-missing" | "mount-refused" | "platform";
  /** They can gain no privileges, and end with the node. */
  readonly privileges: "dropped" | "setpriv-missing" | "setpriv-refused" | "platform";
}

/** How to run a program apart. */
export interface Sandbox extends Isolation {
  wrap(command: Command): Command;
}

/** What a sandbox is made of. */
export interface SandboxOptions {
  /** Files and folders the processes may read. */
  readonly program: readonly string[];
  /** Of the JavaScript heap. */
  readonly memoryMb: number;
  /** Where `unshare`, `mount` and `setpriv` are looked for. */
  readonly toolFolders?: readonly string[];
}

type Reach = "files" | "network" | "nothing";

function findTool(name: string, folders: readonly string[]): string | undefined {
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
}

/** How the steps that are there are combined. */
class LinuxSandbox {
  readonly unshare: string | undefined;
  readonly setpriv: string | undefined;
  readonly root: readonly string[] | undefined;
  readonly #limits: readonly string[];

  constructor({ program, memoryMb, toolFolders = TOOL_FOLDERS }: SandboxOptions) {
    const unshare = findTool("unshare", toolFolders);
    const mount = findTool("mount", toolFolders);
    this.unshare = unshare;
    this.setpriv = findTool("setpriv", toolFolders);
    if (unshare !== undefined && mount !== undefined) this.root = rootScript({ unshare, mount }, program);
    const dataMb = Math.max(WORKER_DATA_MIN_MB, memoryMb * (1 + WORKER_DATA_PER_HEAP));
    // Where less is allowed already, that stays.
    this.#limits = ["ulimit -c 0", `ulimit -d ${dataMb * 1024} 2>/dev/null || :`];
  }

  wrap({ file, args }: Command, reach: Reach, isDropped: boolean): Command {
    const script = [
      "set -e",
      `PATH=${TOOL_FOLDERS.join(":")}`,
      ...this.#limits,
      ...(reach === "files" ? (this.root ?? []) : ['exec env -i "$@"']),
    ].join("\n");
    const user = reach === "files" ? ["--user", "--map-root-user", "--mount"] : ["--user"];
    const words = [
      ...(isDropped ? [this.setpriv ?? "", ...PRIVILEGES] : []),
      ...(reach === "nothing" ? [] : [this.unshare ?? "", ...user, ...NAMESPACES]),
      ...[SHELL, "-c", script, "sh", file, ...args],
    ];
    return { file: words[0] as string, args: words.slice(1) };
  }

  /** Whether Node starts this way. */
  works(reach: Reach, isDropped: boolean): boolean {
    if (reach === "files" && this.root === undefined) return false;
    if (reach !== "nothing" && this.unshare === undefined) return false;
    if (isDropped && this.setpriv === undefined) return false;
    const script = reach === "files" ? "process.exit(fs.existsSync('/proc') ? 1 : 0)" : "0";
    const { file, args } = this.wrap({ file: process.execPath, args: ["-e", script] }, reach, isDropped);
    const { status } = spawnSync(file, args, { env: {}, cwd: "/", stdio: "ignore", timeout: PROBE_TIMEOUT_MS });
    return status === 0;
  }

  isolation(reach: Reach, isDropped: boolean): Isolation {
    const withoutNamespaces = this.unshare === undefined ? "unshare-missing" : "unshare-refused";
    const withoutRoot = this.root === undefined ? "mount-missing" : "mount-refused";
    return {
      network: reach === "nothing" ? withoutNamespaces : "isolated",
      files: reach === "files" ? "isolated" : reach === "nothing" ? withoutNamespaces : withoutRoot,
      privileges: isDropped ? "dropped" : this.setpriv === undefined ? "setpriv-missing" : "setpriv-refused",
    };
  }
}

/** From the most to the least, as the wall of files counts most. */
const STEPS: readonly (readonly [Reach, boolean])[] = [
  ["files", true],
  ["files", false],
  ["network", true],
  ["network", false],
  ["nothing", true],
];
const found = new Map<string, readonly [Reach, boolean]>();

/** The most that this machine lets us keep the processes of a worker apart; looked for once. */
export function workerSandbox(options: SandboxOptions): Sandbox {
  if (process.platform !== "linux" || !existsSync(SHELL))
    return { network: "platform", files: "platform", privileges: "platform", wrap: (command) => command };
  const sandbox = new LinuxSandbox(options);
  const key = JSON.stringify(options);
  const step = found.get(key) ?? STEPS.find(([reach, isDropped]) => sandbox.works(reach, isDropped));
  const [reach, isDropped] = step ?? (["nothing", false] as const);
  found.set(key, [reach, isDropped]);
  return { ...sandbox.isolation(reach, isDropped), wrap: (command) => sandbox.wrap(command, reach, isDropped) };
}
