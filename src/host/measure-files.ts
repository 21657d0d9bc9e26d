/** Listing and hashing the files of a package, in one order on every platform. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type ByteWriter, compareBytes, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";

/** Most files of a package that are measured; beyond it the package is refused. */
export const MAX_MEASURED_FILES = 10_000;

/** Files that are read at once. */
const READ_AT_ONCE = 16;

/** Which files of a folder count. */
export interface FileSelection {
  /** Folder below the package's, with `/`; empty for the package itself. */
  readonly folder: string;
  /** Names that do not count, of files and of folders directly in the folder. */
  readonly leftOut: { readonly files: RegExp; readonly folders: readonly string[] };
}

/** Writes path and SHA-256 of each file, each part with its length before it. Throws `ConfigurationInvalid`. */
export async function digestFiles(rootDir: string, selection: FileSelection, writer: ByteWriter): Promise<number> {
  const paths = (await selectFiles(rootDir, selection))
    .map((path) => ({ path, bytes: utf8Encode(path) }))
    .sort((left, right) => compareBytes(left.bytes, right.bytes));
  for (let at = 0; at < paths.length; at += READ_AT_ONCE) {
    const some = paths.slice(at, at + READ_AT_ONCE);
    const read = some.map(async ({ path, bytes }) => ({ bytes, digest: await digestFile(join(rootDir, path)) }));
    for (const { bytes, digest } of await Promise.all(read)) writer.bytes32(bytes).bytes32(digest);
  }
  return paths.length;
}

async function digestFile(path: string): Promise<Bytes> {
  try {
    return sha256(await readFile(path));
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${path}: cannot be read`, { file: path }, { cause: error });
  }
}

/** Paths with `/` on every platform, relative to `rootDir`. */
async function selectFiles(rootDir: string, { folder, leftOut }: FileSelection): Promise<string[]> {
  const paths: string[] = [];
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    for (const entry of await listFolder(join(rootDir, next))) {
      const path = next === "" ? entry.name : `${next}/${entry.name}`;
      if (entry.isDirectory()) {
        if (next !== folder || !leftOut.folders.includes(entry.name)) folders.push(path);
      } else if (!entry.isFile()) {
        const file = join(rootDir, path);
        throw new CocoError("ConfigurationInvalid", `${file}: neither file nor folder`, { file });
      } else if (!leftOut.files.test(entry.name)) paths.push(path);
    }
    if (paths.length > MAX_MEASURED_FILES)
      throw new CocoError("ConfigurationInvalid", `${join(rootDir, folder)}: too many files`, { file: rootDir });
  }
  return paths;
}

async function listFolder(path: string) {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${path}: cannot be listed`, { file: path }, { cause: error });
  }
}
