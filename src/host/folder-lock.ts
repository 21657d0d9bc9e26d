/**
 * Keeps two processes out of one ledger folder: the file `node.lock` holds the process id of the holder.
 *
 * A lock whose process is gone is stale and taken over, so that a node starts after a crash. A process id is all that is
 * known: holders in other PID namespaces that share the folder are not seen, which the operators' guide says.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { CocoError } from "../errors.ts";

const LOCK_NAME = "node.lock";
const ATTEMPTS = 3;

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

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: the process runs, as another user.
    return !hasCode(error, "ESRCH");
  }
}

/** The process id in a lock file; undefined when the file is gone or holds no id (a crash before it was written). */
function readHolder(file: string): number | undefined {
  try {
    const text = fs.readFileSync(file, "utf8");
    return /^[1-9][0-9]{0,9}\n$/.test(text) ? Number(text) : undefined;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function create(file: string): boolean {
  try {
    fs.writeFileSync(file, `${process.pid}\n`, { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  }
}

/** Puts a stale lock out of the way; false when it turned out to be another, live one, which is put back. */
function removeStale(file: string, stale: number | undefined): boolean {
  const aside = `${file}.${process.pid}`;
  try {
    fs.renameSync(file, aside);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return true;
    throw error;
  }
  const holder = readHolder(aside);
  if (holder !== stale && holder !== undefined && isAlive(holder)) {
    fs.renameSync(aside, file);
    return false;
  }
  fs.unlinkSync(aside);
  return true;
}

/** The live process (another than this one) that holds the lock of a folder; undefined when there is none. */
export function folderHolder(directory: string): number | undefined {
  const holder = readHolder(path.join(directory, LOCK_NAME));
  return holder !== undefined && isAlive(holder) ? holder : undefined;
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
    if (holder !== undefined && isAlive(holder)) throw inUse(holder);
    removeStale(file, holder);
  }
  throw inUse(readHolder(file) ?? 0);
}

function release(folder: string, file: string): void {
  if (held.delete(folder)) fs.rmSync(file, { force: true });
}
