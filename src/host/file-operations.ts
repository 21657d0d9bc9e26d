/**
 * The few file operations the ledger on disk is made of, over the callback functions of node:fs. They are one object so
 * that tests can make a disk fail at any of them.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import type { Bytes } from "../core/codec/bytes.ts";
import { CocoError } from "../errors.ts";

/** End of the name of a file that is not finished; without a promise, such files are removed when a folder is opened. */
export const TEMPORARY_SUFFIX = ".new";

/** What the ledger does to files. Each operation rejects with the system's error. */
export interface FileOperations {
  open(file: string, flags: string): Promise<number>;
  close(descriptor: number): Promise<void>;
  /** Writes all of `data` at `position`. */
  write(descriptor: number, data: Bytes, position: number): Promise<void>;
  /** Reads at most `length` bytes from `position`; fewer only at the end of the file. */
  read(descriptor: number, position: number, length: number): Promise<Bytes>;
  truncate(descriptor: number, length: number): Promise<void>;
  /** Makes data and size durable. */
  syncData(descriptor: number): Promise<void>;
  /** Makes data and all metadata durable. */
  sync(descriptor: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(file: string): Promise<void>;
  /** Makes creations, renames and deletions in a folder durable. */
  syncDirectory(directory: string): Promise<void>;
  /** Makes a folder; nothing happens when it is there. */
  makeDirectory(directory: string): Promise<void>;
  /** Names in a folder, in no order. */
  list(directory: string): Promise<readonly string[]>;
  /** Bytes of a file. */
  size(file: string): Promise<number>;
  /** At most `length` bytes from `position`, at once: for readers that are iterators. */
  readSync(file: string, position: number, length: number): Bytes;
}

const [mkdir, readdir, stat] = [promisify(fs.mkdir), promisify(fs.readdir), promisify(fs.stat)];
const [open, close, ftruncate] = [promisify(fs.open), promisify(fs.close), promisify(fs.ftruncate)];
const [fdatasync, fsync, rename, unlink] = [
  promisify(fs.fdatasync),
  promisify(fs.fsync),
  promisify(fs.rename),
  promisify(fs.unlink),
];
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

/** Flags to open a file with; Windows has no pipes in folders, and no such flag. */
const READ_AT_ONCE = fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0);

/** Pipes would keep a reader waiting, and devices have no end. */
function requireFile(file: string, found: fs.Stats): void {
  if (found.isFile()) return;
  throw new CocoError("LedgerCorrupt", `${file} at byte 0: it is not a regular file`, { file, offset: 0 });
}

function writeOnce(descriptor: number, data: Bytes, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(descriptor, data, 0, data.length, position, (error, written) =>
      error === null ? resolve(written) : reject(error),
    );
  });
}

function readOnce(descriptor: number, target: Bytes, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(descriptor, target, 0, target.length, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    );
  });
}

/** The file system of this machine. */
export const FILE_SYSTEM: FileOperations = {
  open: (file, flags) => open(file, flags, FILE_MODE),
  close,
  async write(descriptor, data, position) {
    for (let at = 0; at < data.length; ) at += await writeOnce(descriptor, data.subarray(at), position + at);
  },
  async read(descriptor, position, length) {
    const target = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const count = await readOnce(descriptor, target.subarray(at), position + at);
      if (count === 0) return target.subarray(0, at);
      at += count;
    }
    return target;
  },
  truncate: ftruncate,
  syncData: fdatasync,
  sync: fsync,
  rename,
  unlink,
  async syncDirectory(directory) {
    // Windows cannot open a folder to flush it; NTFS journals its metadata itself.
    if (process.platform === "win32") return;
    const descriptor = await open(directory, "r");
    try {
      await fsync(descriptor);
    } finally {
      await close(descriptor);
    }
  },
  async makeDirectory(directory) {
    await mkdir(directory, { recursive: true, mode: FOLDER_MODE });
  },
  list: (directory) => readdir(directory),
  async size(file) {
    const found = await stat(file);
    requireFile(file, found);
    return found.size;
  },
  readSync(file, position, length) {
    // Opening a pipe would wait for who writes into it.
    const descriptor = fs.openSync(file, READ_AT_ONCE);
    try {
      requireFile(file, fs.fstatSync(descriptor));
      const target = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        const count = fs.readSync(descriptor, target, at, length - at, position + at);
        if (count === 0) return target.subarray(0, at);
        at += count;
      }
      return target;
    } finally {
      fs.closeSync(descriptor);
    }
  },
};

/** Whether a file operation failed for want of room: it may be tried again when there is some. */
export function isFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT");
}

/** Whether a file operation failed because there is no such file. */
export function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

/** Whether a file operation failed because whoever runs the program may not do it. */
export function isDenied(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "EACCES" || error.code === "EPERM");
}

/**
 * The same operations, but a failed sync is `DiskFailed`, whatever its reason, so that nobody takes it for a full disk and
 * tries again: the kernel may have dropped the dirty pages, and the next sync would report success (Rebello et al., "Can
 * Applications Recover from fsync Failures?", 2020).
 */
export function withFinalSyncs(files: FileOperations): FileOperations {
  const final = async (what: string, sync: Promise<void>): Promise<void> => {
    try {
      await sync;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new CocoError("DiskFailed", `${what} could not be made durable: ${reason}`, {}, { cause: error });
    }
  };
  return {
    open: (file, flags) => files.open(file, flags),
    close: (descriptor) => files.close(descriptor),
    write: (descriptor, data, position) => files.write(descriptor, data, position),
    read: (descriptor, position, length) => files.read(descriptor, position, length),
    truncate: (descriptor, length) => files.truncate(descriptor, length),
    rename: (from, to) => files.rename(from, to),
    unlink: (file) => files.unlink(file),
    makeDirectory: (directory) => files.makeDirectory(directory),
    list: (directory) => files.list(directory),
    size: (file) => files.size(file),
    readSync: (file, position, length) => files.readSync(file, position, length),
    syncData: (descriptor) => final("data", files.syncData(descriptor)),
    sync: (descriptor) => final("a file", files.sync(descriptor)),
    syncDirectory: (directory) => final(`the folder ${directory}`, files.syncDirectory(directory)),
  };
}

/** A whole file of at most `maxBytes`; undefined when there is none. Throws `MalformedInput` when it is larger. */
export function readSmallFile(file: string, maxBytes: number, files: FileOperations): Bytes | undefined {
  try {
    const bytes = files.readSync(file, 0, maxBytes + 1);
    if (bytes.length > maxBytes) throw new CocoError("MalformedInput", "file too long");
    return bytes;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/**
 * Replaces a file as a whole: written beside its place (`<name>.new`), made durable, renamed, folder made durable. A crash
 * leaves the old content or the new one.
 */
export async function replaceFile(file: string, data: Bytes, files: FileOperations): Promise<void> {
  const temporary = `${file}${TEMPORARY_SUFFIX}`;
  const descriptor = await files.open(temporary, "w");
  try {
    await files.write(descriptor, data, 0);
    await files.sync(descriptor);
  } finally {
    await files.close(descriptor);
  }
  await files.rename(temporary, file);
  await files.syncDirectory(path.dirname(file));
}
