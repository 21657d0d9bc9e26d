/**
 * The measurement of this program's code, as the code manifest lists it for the virtual TEE (R7).
 *
 * SHA-256 over a canonical list: a line that names the format, the Node.js version, name and version of the package, then
 * every shipped file in the order of its path with the SHA-256 of its content, each part with its length before it.
 * Shipped is everything under dist/src except tests, source maps and type declarations, and package-lock.json, which
 * stands for the packages installed with it. Measured by the host, so it is as trustworthy as the host.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ByteWriter, compareBytes, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { hasErrorCode } from "./files.ts";

/** Folder of the running package: what is measured. */
export const PACKAGE_FOLDER = fileURLToPath(new URL("../../..", import.meta.url));
/** Most files that are measured. */
export const MAX_MEASURED_FILES = 10_000;

const FORMAT = "coco code v1";
const CODE_FOLDER = "dist/src";
const NOT_SHIPPED = /(?:\.test\.js|\.map|\.d\.ts|\.tsbuildinfo)$/;

/** Measures the package in `rootDir` (the folder with package.json and dist): 32 bytes. Throws `ConfigurationInvalid`. */
export async function measureCode(rootDir: string, nodeVersion: string = process.version): Promise<Bytes> {
  const paths = await shippedFiles(rootDir, CODE_FOLDER);
  if (paths.length === 0)
    throw new CocoError("ConfigurationInvalid", `${rootDir}: no built code in ${CODE_FOLDER}`, { file: rootDir });
  const { name, version } = await packageIdentity(rootDir);
  const writer = new ByteWriter(4096);
  for (const text of [FORMAT, nodeVersion, name, version]) writer.bytes32(utf8Encode(text));
  const lock = await readIfPresent(join(rootDir, "package-lock.json"));
  writer.bytes32(lock === undefined ? new Uint8Array(0) : sha256(lock));
  const encoded = paths
    .map((path) => ({ path, bytes: utf8Encode(path) }))
    .sort((left, right) => compareBytes(left.bytes, right.bytes));
  for (const { path, bytes } of encoded) writer.bytes32(bytes).bytes32(sha256(await readFile(join(rootDir, path))));
  return sha256(writer.finish());
}

/** Paths with `/` on every platform, relative to `rootDir`. */
async function shippedFiles(rootDir: string, folder: string): Promise<string[]> {
  const paths: string[] = [];
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    for (const entry of await listFolder(join(rootDir, next))) {
      const path = `${next}/${entry.name}`;
      if (entry.isDirectory()) folders.push(path);
      else if (!entry.isFile())
        throw new CocoError("ConfigurationInvalid", `${path}: neither file nor folder`, { file: path });
      else if (!NOT_SHIPPED.test(entry.name)) paths.push(path);
    }
    if (paths.length > MAX_MEASURED_FILES)
      throw new CocoError("ConfigurationInvalid", `${folder}: too many files`, { file: folder });
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

async function readIfPresent(path: string): Promise<Bytes | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (hasErrorCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Name and version of the package in `rootDir`. Throws `ConfigurationInvalid`. */
export async function packageIdentity(rootDir: string): Promise<{ readonly name: string; readonly version: string }> {
  const file = join(rootDir, "package.json");
  try {
    const content: unknown = JSON.parse(await readFile(file, "utf8"));
    if (typeof content === "object" && content !== null && "name" in content && "version" in content) {
      const { name, version } = content;
      if (typeof name === "string" && typeof version === "string") return { name, version };
    }
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${file}: cannot be read`, { file }, { cause: error });
  }
  throw new CocoError("ConfigurationInvalid", `${file}: expected name and version`, { file });
}
