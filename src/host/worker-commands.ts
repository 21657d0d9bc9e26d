/**
 * How the processes of an adapter's worker are started, so that they can reach nothing but their channel: an empty environment,
 * Node's permission model with read access to the program alone, no addons, children, threads or inspector, a bound of memory,
 * and on Linux namespaces of their own for users, network, processes and System V IPC, where the system lets anybody make them.
 *
 * The permission model stops neither sockets nor signals; the namespaces do. That of users also keeps the worker from the
 * /proc entries of other processes of the same user.
 */
import { spawnSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PACKAGE_FOLDER } from "./measure-code.ts";

const PROBE_TIMEOUT_MS = 5_000;
const UNSHARE = ["/usr/bin/unshare", "/bin/unshare"];
/** A worker cannot name a process outside its own namespace, so it can neither signal nor look at one. */
const NAMESPACES = ["--user", "--net", "--ipc", "--pid", "--fork", "--kill-child=SIGKILL", "--"];
/** Whether it is there tells the loader of native code which C library the system has; denied, it loads nothing. */
const LIBC_MARK = "/etc/alpine-release";
/** The first versions whose permission model is not called experimental. */
const STABLE_PERMISSION = [
  [22, 13],
  [23, 5],
] as const;

/** A program to run. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

/** The programs of a worker. */
export interface WorkerCommands {
  readonly adapter: Command;
  /** Prepares transactions: it may load the native library for signatures and use threads, and has no state. */
  prepare(adapter: string): Command;
  /** Whether the processes have no network; why not otherwise. */
  readonly network: "isolated" | "unshare-missing" | "unshare-refused" | "platform";
}

/** What commands are made of. */
export interface WorkerCommandOptions {
  readonly memoryMb: number;
  /** Compiled file to run as the adapter's worker, instead of the real one; for tests that play a hostile worker. */
  readonly entry?: string;
}

/** The commands for this platform; looks once whether it offers the namespaces. */
export function workerCommands({ memoryMb, entry }: WorkerCommandOptions): WorkerCommands {
  const { prefix, network } = networkNamespace();
  const adapterEntry = entry ?? fileURLToPath(new URL("./adapter-process.js", import.meta.url));
  const common = [
    permissionFlag(process.versions.node),
    ...readablePaths(entry).map((path) => `--allow-fs-read=${path}`),
    "--disable-proto=delete",
    "--no-warnings",
    `--max-old-space-size=${memoryMb}`,
  ];
  const command = (args: readonly string[]): Command => {
    const [file = process.execPath, ...first] = [...prefix, process.execPath];
    return { file, args: [...first, ...args] };
  };
  return {
    network,
    adapter: command([...common, "--no-addons", adapterEntry]),
    prepare: (adapter) =>
      command([
        ...common,
        ...["--allow-addons", "--allow-worker", `--allow-fs-read=${LIBC_MARK}`],
        fileURLToPath(new URL("./prepare-process.js", import.meta.url)),
        adapter,
      ]),
  };
}

/** The flag that turns the permission model on in a version of Node. */
export function permissionFlag(version: string): "--permission" | "--experimental-permission" {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isStable = major > 23 || STABLE_PERMISSION.some(([from, at]) => major === from && minor >= at);
  return isStable ? "--permission" : "--experimental-permission";
}

/** The compiled program, its manifest and the packages it is made of: nothing else of the package's folder, which may hold nodes. */
function readablePaths(entry: string | undefined): readonly string[] {
  const root = realpathSync(PACKAGE_FOLDER);
  const paths = [join(root, "dist", "src", "*"), join(root, "package.json")];
  for (let folder = root; ; folder = dirname(folder)) {
    const packages = join(folder, "node_modules");
    // A folder of packages may be a link: both its own path and what it leads to are read.
    if (existsSync(packages)) paths.push(...new Set([packages, realpathSync(packages)].map((path) => join(path, "*"))));
    if (folder === dirname(folder)) break;
  }
  if (entry !== undefined) paths.push(entry);
  return paths;
}

let found: { readonly prefix: readonly string[]; readonly network: WorkerCommands["network"] } | undefined;

function networkNamespace(): NonNullable<typeof found> {
  found ??= findNetworkNamespace();
  return found;
}

function findNetworkNamespace(): NonNullable<typeof found> {
  if (process.platform !== "linux") return { prefix: [], network: "platform" };
  const unshare = UNSHARE.find((file) => existsSync(file));
  if (unshare === undefined) return { prefix: [], network: "unshare-missing" };
  const prefix = [unshare, ...NAMESPACES];
  const probe = spawnSync(unshare, [...NAMESPACES, process.execPath, "--version"], {
    env: {},
    stdio: "ignore",
    timeout: PROBE_TIMEOUT_MS,
  });
  return probe.status === 0 ? { prefix, network: "isolated" } : { prefix: [], network: "unshare-refused" };
}
