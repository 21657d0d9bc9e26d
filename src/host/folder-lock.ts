/**
 * Keeps two processes out of one ledger folder: the file `node.lock` names the process that holds it, by its id and, where the
 * system tells one, by an identity that no other process gets (Linux: boot and start time), since ids are used again.
 *
 * The file appears with its whole content or not at all (written aside, then linked). A lock whose process is gone is stale and
 * taken over, so that a node starts after a crash; only who holds the guard file `node.lock.takeover` may do that, so that a
 * lock that was taken meanwhile is never mistaken for the stale one. Holders in other PID namespaces that share the folder are
 * not seen, which the operators' guide says.
 */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { CocoError } from "../errors.ts";
import { FILE_SYSTEM } from "./file-operations.ts";

const LOCK_NAME = "node.lock";
const ATTEMPTS = 5;
const GUARD_SUFFIX = ".takeover";
/** Most bytes of a lock file that are read: more than any has. */
const LOCK_BYTES_MAX = 128;
/** A guard file older than this is what a crash left, in milliseconds. */
const GUARD_MAX_MS = 10_000;

/** Folders this process holds: after a crash in a container the stale lock may name the process id we have now. */
const held = new Set<string>();

/** A lock that is held. */
export interface FolderLock {
  /** Gives the folder free. */
  release(): void;
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

/** A process as a lock names it. */
interface Holder {
  readonly pid: number;
  /** What tells it from later processes of the same id; empty where the system does not say. */
  readonly identity: string;
}

/** Boot and start time of a process on Linux; empty elsewhere, or when it is gone. */
function identityOf(pid: number): string {
  if (process.platform !== "linux") return "";
  try {
    const boot = fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    const status = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name of the program is in parentheses and may hold spaces; the start time is the 20th field after it.
    const started = status.slice(status.lastIndexOf(")") + 2).split(" ")[19] ?? "";
    return /^[0-9]+$/.test(started) ? `${boot}:${started}` : "";
  } catch {
    return "";
  }
}

function isAlive({ pid, identity }: Holder): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: the process runs, as another user. All else says that there is none, or none can have this id.
    if (!hasCode(error, "EPERM")) return false;
  }
  const now = identityOf(pid);
  return identity === "" || now === "" || identity === now;
}

/**
 * Who a lock file names; undefined when the file is gone or names nobody. Throws `LedgerCorrupt` when it is no regular file: an auditor
 * may have the folder from somebody else, and a pipe would keep who reads it waiting.
 */
function readHolder(file: string): Holder | undefined {
  try {
    const text = new TextDecoder().decode(FILE_SYSTEM.readSync(file, 0, LOCK_BYTES_MAX));
    const [, pid, identity = ""] = /^([1-9][0-9]{0,9})(?: ([0-9a-f:-]{1,80}))?\n$/.exec(text) ?? [];
    return pid === undefined ? undefined : { pid: Number(pid), identity };
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Makes a lock file that names this process; false when there is one. */
function create(file: string): boolean {
  const identity = identityOf(process.pid);
  const content = identity === "" ? `${process.pid}\n` : `${process.pid} ${identity}\n`;
  const aside = `${file}.${process.pid}.${randomBytes(4).toString("hex")}`;
  fs.writeFileSync(aside, content, { flag: "wx", mode: 0o600 });
  try {
    // A link, unlike a rename, never replaces.
    fs.linkSync(aside, file);
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].some((code) => hasCode(error, code))) throw error;
    return createInPlace(file, content);
  } finally {
    fs.unlinkSync(aside);
  }
}

/** For file systems without links: a crash in between leaves a file that names nobody, which is stale. */
function createInPlace(file: string, content: string): boolean {
  try {
    fs.writeFileSync(file, content, { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  }
}

/** Removes a lock whose process is gone, under the guard; false when somebody else holds the guard. */
function removeStale(file: string): boolean {
  const guard = `${file}${GUARD_SUFFIX}`;
  if (!createInPlace(guard, `${process.pid}\n`)) {
    // Whoever made it held it for moments: an old one is what a crash left.
    const made = fs.statSync(guard, { throwIfNoEntry: false })?.mtimeMs;
    if (made !== undefined && Date.now() - made > GUARD_MAX_MS) fs.rmSync(guard, { force: true });
    return false;
  }
  try {
    const holder = readHolder(file);
    if (holder === undefined || !isAlive(holder)) fs.rmSync(file, { force: true });
    return true;
  } finally {
    fs.rmSync(guard, { force: true });
  }
}

/** The live process (another than this one) that holds the lock of a folder; undefined when there is none. */
export function folderHolder(directory: string): number | undefined {
  const holder = readHolder(path.join(directory, LOCK_NAME));
  return holder !== undefined && isAlive(holder) ? holder.pid : undefined;
}

/** Takes the lock of a folder that exists. Throws `FolderInUse` naming the process that holds it. */
export function lockFolder(directory: string): FolderLock {
  const folder = fs.realpathSync(directory);
  const file = path.join(folder, LOCK_NAME);
  const inUse = (pid: number): CocoError =>
    new CocoError("FolderInUse", `${directory} is in use by process ${pid}`, { directory, pid });
  if (held.has(folder)) throw inUse(process.pid);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (create(file)) {
      held.add(folder);
      return { release: () => release(folder, file) };
    }
    const holder = readHolder(file);
    if (holder !== undefined && isAlive(holder)) throw inUse(holder.pid);
    removeStale(file);
  }
  throw inUse(readHolder(file)?.pid ?? 0);
}

function release(folder: string, file: string): void {
  if (held.delete(folder)) fs.rmSync(file, { force: true });
}
