/**
 * How the processes of an adapter's worker are started, so that they can reach nothing but their channel: an empty environment,
 * Node's permission model with read access to the program alone, no addons, children, threads or inspector, a bound of memory,
 * and around that what the system offers to keep them apart (worker-sandbox.ts).
 */
import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PACKAGE_FOLDER } from "./measure-code.ts";
import { type Command, type Isolation, workerSandbox } from "./worker-sandbox.ts";

/** Whether it is there tells the loader of native code which C library the system has; denied, it loads nothing. */
const LIBC_MARK = "/etc/alpine-release";
/** The first versions whose permission model is not called experimental. */
const STABLE_PERMISSION = [
  [22, 13],
  [23, 5],
] as const;

/** The programs of a worker. */
export interface WorkerCommands extends Isolation {
  readonly adapter: Command;
  /** Prepares transactions: it may load the native library for signatures and use threads, and has no state. */
  prepare(adapter: string): Command;
}

/** What commands are made of. */
export interface WorkerCommandOptions {
  readonly memoryMb: number;
  /** Compiled file to run as the adapter's worker, instead of the real one; for tests that play a hostile worker. */
  readonly entry?: string;
}

/** The commands for this platform; looks once how much of the sandbox it offers. */
export function workerCommands({ memoryMb, entry }: WorkerCommandOptions): WorkerCommands {
  const { folders, files } = readablePaths(entry);
  const program = [...folders, ...files, LIBC_MARK];
  const sandbox = workerSandbox({ program, memoryMb });
  const adapterEntry = entry ?? fileURLToPath(new URL("./adapter-process.js", import.meta.url));
  const readable = [...folders.map((folder) => join(folder, "*")), ...files];
  const common = [
    permissionFlag(process.versions.node),
    ...readable.map((path) => `--allow-fs-read=${path}`),
    "--disable-proto=delete",
    "--no-warnings",
    `--max-old-space-size=${memoryMb}`,
  ];
  const command = (args: readonly string[]): Command => sandbox.wrap({ file: process.execPath, args });
  return {
    ...{ network: sandbox.network, files: sandbox.files, privileges: sandbox.privileges },
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
function readablePaths(entry: string | undefined): {
  readonly folders: readonly string[];
  readonly files: readonly string[];
} {
  const root = realpathSync(PACKAGE_FOLDER);
  const folders = [join(root, "dist", "src")];
  for (let folder = root; ; folder = dirname(folder)) {
    const packages = join(folder, "node_modules");
    // A folder of packages may be a link: both its own path and what it leads to are read.
    if (existsSync(packages)) folders.push(...new Set([packages, realpathSync(packages)]));
    if (folder === dirname(folder)) break;
  }
  return { folders, files: [join(root, "package.json"), ...(entry === undefined ? [] : [entry])] };
}
