/**
 * Files that are there whole or not at all: written beside their place, made durable, then renamed into it.
 *
 * A crash leaves the old content or the new one, and perhaps a temporary file `.<name>.<random>.tmp`.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, open, rename, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Bytes } from "../core/codec/bytes.ts";
import { CocoError } from "../errors.ts";

/** Mode of files that hold secrets: the owner reads and writes, nobody else. */
export const SECRET_FILE_MODE = 0o600;
/** Mode of files that hold no secrets. */
export const PUBLIC_FILE_MODE = 0o644;

/** Whether a file system error has this code, such as `ENOENT`. */
export function hasErrorCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

async function writeTemporary(path: string, data: Bytes | string, mode: number): Promise<string> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  const file = await open(temporary, "wx", mode);
  try {
    await file.writeFile(data);
    // The process's umask may have taken bits away.
    await file.chmod(mode);
    await file.sync();
  } catch (error) {
    await file.close();
    await removeQuietly(temporary);
    throw error;
  }
  await file.close();
  return temporary;
}

async function removeQuietly(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch {
    // A temporary file that stays harms nobody.
  }
}

/** Makes a change of names in a folder durable; Windows has no such call and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Replaces or makes a file atomically and durably; strings are written as UTF-8. File system errors pass through. */
export async function writeFileAtomic(path: string, data: Bytes | string, mode: number): Promise<void> {
  const temporary = await writeTemporary(path, data, mode);
  try {
    await rename(temporary, path);
  } catch (error) {
    await removeQuietly(temporary);
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Makes a file atomically and durably if there is none; false, with nothing changed, when there is one. */
export async function createFileAtomic(path: string, data: Bytes | string, mode: number): Promise<boolean> {
  const temporary = await writeTemporary(path, data, mode);
  try {
    // A link, unlike a rename, never replaces: of two processes one succeeds.
    await link(temporary, path);
  } catch (error) {
    if (hasErrorCode(error, "EEXIST")) return false;
    throw error;
  } finally {
    await removeQuietly(temporary);
  }
  await syncFolder(dirname(path));
  return true;
}

/** A whole file of at most `maxBytes`; throws `ConfigurationInvalid` with the file's name when it can't be read or is larger. */
export async function readConfigurationFile(path: string, maxBytes: number): Promise<Bytes> {
  try {
    // What is no file, a pipe say, must neither be waited for nor read without end; some files tell no length.
    const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      if (!(await handle.stat()).isFile())
        throw new CocoError("ConfigurationInvalid", `${path}: is not a file`, { file: path });
      const content = await readUpTo(handle, maxBytes + 1);
      if (content.length > maxBytes)
        throw new CocoError("ConfigurationInvalid", `${path}: larger than ${maxBytes} bytes`, { file: path });
      return content;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof CocoError) throw error;
    const reason = hasErrorCode(error, "ENOENT") ? "does not exist" : "cannot be read";
    throw new CocoError("ConfigurationInvalid", `${path}: ${reason}`, { file: path }, { cause: error });
  }
}

/** Reads from an open file until its end, or until there are `limit` bytes. */
async function readUpTo(handle: FileHandle, limit: number): Promise<Bytes> {
  const { size } = await handle.stat();
  let content = new Uint8Array(Math.min(limit, size + 1));
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(content, length, content.length - length);
    length += bytesRead;
    if (bytesRead === 0 || length === limit) return content.subarray(0, length);
    if (length < content.length) continue;
    const larger = new Uint8Array(Math.min(limit, 2 * length));
    larger.set(content);
    content = larger;
  }
}
