/**
 * Completes package-lock.json with the packages of other platforms: run it after a change of dependencies.
 *
 * Tools such as biome come as one optional package per platform. A registry mirror that carries only some of them makes
 * npm write a lock file without the rest, which `npm ci` then refuses on every machine. The entries added here say
 * version and platform; they have no hash, because this machine has never seen the package, so npm takes the one its
 * registry states. With `--check` nothing is written and missing entries are an error.
 */
import * as fs from "node:fs";
import { fileURLToPath } from "node:url";

const LOCK = fileURLToPath(new URL("../../package-lock.json", import.meta.url));
const OPERATING_SYSTEMS = [
  "aix",
  "android",
  "darwin",
  "freebsd",
  "linux",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "win32",
];
const PROCESSORS = ["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"];
/** Other projects' words for the same processor. */
const PROCESSOR_ALIASES: Readonly<Record<string, string>> = {
  amd64: "x64",
  eabi: "arm",
  gnueabihf: "arm",
  musleabihf: "arm",
};

interface LockEntry {
  readonly version?: string;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

interface LockFile {
  packages: Record<string, LockEntry>;
}

/** Whether a package at `path` finds `name` in its own node_modules or one further up. */
function isListed(lock: LockFile, path: string, name: string): boolean {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf("node_modules/") - 1))) {
    if (lock.packages[`${at === "" ? "" : `${at}/`}node_modules/${name}`] !== undefined) return true;
    if (at === "") return false;
  }
}

/** The entry of a package that is meant for the platform its name tells. */
function entryFor(name: string, version: string, parent: LockEntry): LockEntry {
  const words = name.split(/[/-]/).map((word) => PROCESSOR_ALIASES[word] ?? word);
  const os = words.filter((word) => OPERATING_SYSTEMS.includes(word));
  const cpu = words.filter((word) => PROCESSORS.includes(word));
  const libc = words.includes("musl") ? ["musl"] : words.includes("gnu") ? ["glibc"] : [];
  return {
    version: version.replace(/^[\^~]/, ""),
    ...(cpu.length > 0 ? { cpu } : {}),
    ...(parent.dev === true ? { dev: true } : {}),
    ...(libc.length > 0 ? { libc } : {}),
    optional: true,
    ...(os.length > 0 ? { os } : {}),
  };
}

function missingEntries(lock: LockFile): Map<string, LockEntry> {
  const missing = new Map<string, LockEntry>();
  for (const [path, entry] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      if (!isListed(lock, path, name)) missing.set(`node_modules/${name}`, entryFor(name, version, entry));
    }
  }
  return missing;
}

function main(): number {
  const lock = JSON.parse(fs.readFileSync(LOCK, "utf8")) as LockFile;
  const missing = missingEntries(lock);
  if (process.argv.includes("--check")) {
    for (const path of missing.keys()) process.stdout.write(`package-lock.json lacks ${path}\n`);
    if (missing.size > 0) process.stdout.write("run `npm run lock:complete`, or `npm ci` fails in a fresh clone\n");
    return missing.size > 0 ? 1 : 0;
  }
  const entries = Object.entries({ ...lock.packages, ...Object.fromEntries(missing) });
  entries.sort(([a], [b]) => a.localeCompare(b, "en"));
  if (missing.size > 0)
    fs.writeFileSync(LOCK, `${JSON.stringify({ ...lock, packages: Object.fromEntries(entries) }, null, 2)}\n`);
  process.stdout.write(`${missing.size} entries added to package-lock.json\n`);
  return 0;
}

process.exitCode = main();
