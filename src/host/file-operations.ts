/**
 * The few file operations the ledger on disk is made of, over the callback functions of node:fs. They are one object so
 * that tests can make a disk fail at any of them.
 */
import * as fs from "node:fs";
import { promisify } from "node:util";
import type { Bytes } from "../core/codec/bytes.ts";

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
}

const [open, close, ftruncate] = [promisify(fs.open), promisify(fs.close), promisify(fs.ftruncate)];
const [fdatasync, fsync, rename, unlink] = [
  promisify(fs.fdatasync),
  promisify(fs.fsync),
  promisify(fs.rename),
  promisify(fs.unlink),
];
const FILE_MODE = 0o600;

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
};
