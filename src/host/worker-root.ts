/**
 * The file system of a worker's process on Linux: a small root of its own, made in a mount namespace by a shell script. It holds
 * read-only what Node needs to run the program (itself, its shared libraries, the compiled code, the packages) and nothing
 * else: no socket of another program to connect to, no /proc, no /dev, no place to write.
 *
 * It is left without a way back: the last step, a user namespace in which the worker has no privileges, enters the root by
 * `chroot`; what would lead out needs privileges, and a process behind a changed root can make no further namespace.
 */
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Where a root may be made: in its own namespace, so that it hides nothing from anybody else. */
const MOUNT_POINTS = ["/mnt", "/media", "/srv", "/opt", "/tmp", "/run", "/home"];
/** Tells the loader of programs where libraries are that lie elsewhere than usual. */
const LOADER_CACHE = "/etc/ld.so.cache";
const SHARED_OBJECT = /^\/.*\.so(?:\.|$)/;

/** Programs of the system that make a root. */
export interface RootTools {
  readonly unshare: string;
  readonly mount: string;
}

interface Report {
  readonly sharedObjects?: readonly string[];
}

/** Node itself and the libraries it is linked with. */
function runtimeFiles(): readonly string[] {
  const { sharedObjects = [] } = process.report.getReport() as Report;
  return [process.execPath, LOADER_CACHE, ...sharedObjects.filter((file) => SHARED_OBJECT.test(file))];
}

/** What lies in another of them is there with it. */
function outermost(paths: readonly string[]): readonly string[] {
  const all = [...new Set(paths)].filter((path) => existsSync(path));
  return all.filter((path) => !all.some((other) => other !== path && path.startsWith(`${other}/`)));
}

function mountPoint(sources: readonly string[]): string | undefined {
  const isFree = (folder: string) => !sources.some((path) => path === folder || path.startsWith(`${folder}/`));
  return MOUNT_POINTS.find((folder) => isFree(folder) && existsSync(folder) && statSync(folder).isDirectory());
}

/** Where programs may not be started they may not be in the root either: the kernel lets nobody take that back. */
function isOnNoexec(path: string): boolean {
  let found = { length: 0, options: "" };
  for (const line of readFileSync("/proc/self/mountinfo", "latin1").split("\n")) {
    const [, , , , at = "", options = ""] = line.split(" ");
    const folder = at.endsWith("/") ? at : `${at}/`;
    if (at !== "" && `${path}/`.startsWith(folder) && folder.length >= found.length)
      found = { length: folder.length, options };
  }
  return found.options.split(",").includes("noexec");
}

function shellWord(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function tableField(text: string): string {
  return text.replace(/[\s\\#]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

/**
 * Lines of a shell script that make the root and run, in it, the command that is the script's arguments; undefined where
 * there is no place for it.
 * @param program files and folders of the program
 */
export function rootScript(tools: RootTools, program: readonly string[]): readonly string[] | undefined {
  const [unshare, mount] = [shellWord(tools.unshare), shellWord(tools.mount)];
  const sources = outermost([...runtimeFiles(), ...program]);
  const root = mountPoint(sources);
  if (root === undefined) return undefined;
  const isFolder = (path: string) => statSync(path).isDirectory();
  const folders = new Set(sources.map((path) => (isFolder(path) ? path : dirname(path))));
  const table = sources.map((path) => {
    const options = `bind,ro,nosuid,nodev${isOnNoexec(realpathSync(path)) ? ",noexec" : ""}`;
    return `${tableField(path)} ${tableField(root + path)} none ${options} 0 0\n`;
  });
  const inRoot = (path: string) => shellWord(root + path);
  return [
    `${mount} -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs ${root}`,
    `mkdir -p ${[...folders].map(inRoot).join(" ")}`,
    ...sources.filter((path) => !isFolder(path)).map((path) => `: >${inRoot(path)}`),
    `printf %s ${shellWord(table.join(""))} >${root}/.table`,
    `${mount} --all --fstab ${root}/.table`,
    `rm ${root}/.table`,
    // As a bind: of the file system itself it may not be asked in a namespace.
    `${mount} -o remount,bind,ro,nosuid,nodev,noexec ${root}`,
    // The shell has added to the environment; a user namespace without a root user has no privileges after this.
    `exec env -i ${unshare} --user --root=${root} --wd=/ -- "$@"`,
  ];
}
