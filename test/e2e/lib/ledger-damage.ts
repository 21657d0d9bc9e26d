/**
 * Damages the ledger of a node that does not run, and counts what a folder holds.
 */
import { createHash } from "node:crypto";
import { open, readdir, readFile, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { present } from "./processes.ts";

/** The chunk files of a node's ledger, oldest first. */
export async function chunkFiles(nodeDir: string): Promise<readonly string[]> {
  const folder = join(nodeDir, "ledger");
  return (await readdir(folder))
    .filter((name) => name.startsWith("ledger_"))
    .sort()
    .map((name) => join(folder, name));
}

/** Takes bytes off the end of the newest chunk. */
export async function tearTail(nodeDir: string, bytes: number): Promise<void> {
  const file = present((await chunkFiles(nodeDir)).at(-1));
  await truncate(file, (await stat(file)).size - bytes);
}

/** Flips one bit at a place between 0 (start) and 1 (end) of the oldest chunk. */
export async function flipBit(nodeDir: string, place: number): Promise<void> {
  const file = present((await chunkFiles(nodeDir))[0]);
  const handle = await open(file, "r+");
  try {
    const position = Math.floor((await handle.stat()).size * place);
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, position);
    byte.writeUInt8(byte.readUInt8() ^ 0x10);
    await handle.write(byte, 0, 1, position);
  } finally {
    await handle.close();
  }
}

/** SHA-256 of every file below a folder, by path; without locks, of which those of dead processes are taken away. */
export async function folderHashes(dir: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const hashes: Record<string, string> = {};
  for (const entry of entries.filter(({ name }) => name !== "node.lock")) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    hashes[path] = createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
  }
  return hashes;
}
