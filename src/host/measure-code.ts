/**
 * The measurement of this program's code, as the code manifest lists it for the virtual TEE (R7).
 *
 * SHA-256 over a canonical list, each part with its length before it: a line that names the format, the Node.js version, name
 * and version of the package, the flags and variables that the node's process has (node-flags.ts), the digest of the installed
 * packages it runs with (measure-packages.ts), then every shipped file in the order of its path with the SHA-256 of its content.
 * Shipped is everything under dist/src except tests, source maps and type declarations. Measured by the host, so it is as
 * trustworthy as the host.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ByteWriter, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { digestFiles } from "./measure-files.ts";
import { measurePackages, refuseNearerPackages } from "./measure-packages.ts";

/** Folder of the running package: what is measured. */
export const PACKAGE_FOLDER = fileURLToPath(new URL("../../..", import.meta.url));

const FORMAT = "coco code v2";
const CODE_FOLDER = "dist/src";
const NOT_SHIPPED = /(?:\.test\.js|\.map|\.d\.ts|\.tsbuildinfo)$/;

/** What runs the code. */
export interface CodeRuntime {
  /** This one's unless given. */
  readonly nodeVersion?: string;
  /** Measured flags of the process; none unless given, which is how `coco` and the sandbox start a node. */
  readonly flags?: readonly string[];
}

/**
 * Measures the package in `rootDir` (the folder with package.json and dist) as a node with this runtime: 32 bytes.
 * Throws `ConfigurationInvalid`.
 */
export async function measureCode(
  rootDir: string,
  { nodeVersion = process.version, flags = [] }: CodeRuntime = {},
): Promise<Bytes> {
  const files = new ByteWriter(4096);
  const count = await digestFiles(
    rootDir,
    { folder: CODE_FOLDER, leftOut: { files: NOT_SHIPPED, folders: [] } },
    files,
  );
  if (count === 0)
    throw new CocoError("ConfigurationInvalid", `${rootDir}: no built code in ${CODE_FOLDER}`, { file: rootDir });
  await refuseNearerPackages(rootDir, CODE_FOLDER);
  const { name, version } = await packageIdentity(rootDir);
  const flagList = new ByteWriter(256);
  for (const flag of flags) flagList.bytes32(utf8Encode(flag));
  const writer = new ByteWriter(4096);
  for (const text of [FORMAT, nodeVersion, name, version]) writer.bytes32(utf8Encode(text));
  writer
    .bytes32(flagList.finish())
    .bytes32(await measurePackages(rootDir))
    .bytes32(files.finish());
  return sha256(writer.finish());
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
