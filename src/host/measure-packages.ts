/**
 * The packages a program runs with, as they are installed: what the lock file resolved to, wherever npm has put it. They are
 * found as Node.js finds them, from package to package, and told by their content, so that a checkout and an installation of
 * the same packages are the same.
 */
import { readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ByteWriter, compareBytes, toHex, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { hasErrorCode } from "./files.ts";
import { digestFiles } from "./measure-files.ts";

/** Most packages that are measured; a program with more is refused. */
export const MAX_MEASURED_PACKAGES = 1000;

/** Types, maps and texts, which Node.js does not run. */
const NOT_RUN = /\.(?:map|md|markdown|tsbuildinfo)$|\.d\.[cm]?ts$/;

/** A folder's package: what it needs, by the kind of need. */
interface PackageNeeds {
  readonly required: readonly string[];
  readonly optional: readonly string[];
}

/** A package that is installed. */
interface InstalledPackage {
  readonly digest: Bytes;
  /** The folder that each needed package is found in. */
  readonly needs: ReadonlyMap<string, string>;
}

/**
 * Digest of all packages that the one in `rootDir` needs to run, and of which of them each finds under which name.
 * Throws `ConfigurationInvalid` when one is missing.
 */
export async function measurePackages(rootDir: string): Promise<Bytes> {
  const root = await realpath(rootDir);
  const own = await resolveNeeds(root, { isRoot: true });
  const packages = new Map<string, InstalledPackage>();
  const folders = [...own.values()];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    if (packages.has(folder) || folder === root) continue;
    if (packages.size >= MAX_MEASURED_PACKAGES)
      throw new CocoError("ConfigurationInvalid", `${rootDir}: more than ${MAX_MEASURED_PACKAGES} packages`);
    const needs = await resolveNeeds(folder, { isRoot: false });
    packages.set(folder, { digest: await digestPackage(folder), needs });
    folders.push(...needs.values());
  }
  const lines = [...packages.values()].map(({ digest, needs }) => lineOf(digest, needs, packages));
  // Copies of a package that find the same packages are one.
  const different = new Map([lineOf(new Uint8Array(0), own, packages), ...lines].map((line) => [toHex(line), line]));
  const writer = new ByteWriter(4096);
  for (const line of [...different.values()].sort(compareBytes)) writer.bytes32(line);
  return sha256(writer.finish());
}

/** A package, and what it finds, by content: nothing says where they lie. */
function lineOf(
  digest: Bytes,
  needs: ReadonlyMap<string, string>,
  packages: ReadonlyMap<string, InstalledPackage>,
): Bytes {
  const writer = new ByteWriter(256);
  writer.bytes32(digest);
  const named = [...needs].map(([name, folder]) => ({ name: utf8Encode(name), found: packages.get(folder)?.digest }));
  named.sort((left, right) => compareBytes(left.name, right.name));
  for (const { name, found } of named) writer.bytes32(name).bytes32(found ?? new Uint8Array(0));
  return writer.finish();
}

async function digestPackage(folder: string): Promise<Bytes> {
  const writer = new ByteWriter(4096);
  await digestFiles(folder, { folder: "", leftOut: { files: NOT_RUN, folders: ["node_modules"] } }, writer);
  return sha256(writer.finish());
}

async function resolveNeeds(
  folder: string,
  { isRoot }: { readonly isRoot: boolean },
): Promise<ReadonlyMap<string, string>> {
  const needs = await readNeeds(folder, isRoot);
  const found = new Map<string, string>();
  for (const name of [...needs.required, ...needs.optional]) {
    const place = await findPackage(folder, name);
    if (place !== undefined) found.set(name, place);
    else if (needs.required.includes(name))
      throw new CocoError("ConfigurationInvalid", `${folder}: the package ${name} is not installed`, { file: folder });
  }
  return found;
}

/** Peers of the program itself are for those who develop or sign with it; a dependency's are found if anybody brings them. */
async function readNeeds(folder: string, isRoot: boolean): Promise<PackageNeeds> {
  const file = join(folder, "package.json");
  let content: unknown;
  try {
    content = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${file}: cannot be read`, { file }, { cause: error });
  }
  const optional = [
    ...namesIn(content, "optionalDependencies"),
    ...(isRoot ? [] : namesIn(content, "peerDependencies")),
    // Some are named there alone: packages that are used where they happen to be.
    ...(isRoot ? [] : namesIn(content, "peerDependenciesMeta")),
  ];
  // npm lists what is optional among the dependencies, too.
  return { required: namesIn(content, "dependencies").filter((name) => !optional.includes(name)), optional };
}

function namesIn(content: unknown, field: string): string[] {
  if (typeof content !== "object" || content === null) return [];
  const value: unknown = Object.entries(content).find(([name]) => name === field)?.[1];
  return typeof value === "object" && value !== null ? Object.keys(value) : [];
}

/**
 * The folder in which Node.js finds a package: in `node_modules` beside the one that asks, or further up. Throws
 * `ConfigurationInvalid` for what one of its two ways of loading would take in the package's place, and the other not.
 */
async function findPackage(from: string, name: string): Promise<string | undefined> {
  for (let folder = from; ; folder = dirname(folder)) {
    const place = join(folder, "node_modules", name);
    for (const extension of LOADED_EXTENSIONS) {
      if ((await kindOf(place + extension)) !== "nothing") throw inPlaceOf(place + extension, name);
    }
    const kind = await kindOf(place);
    if (kind !== "nothing") {
      // `require` passes over such folders, `import` does not.
      const isDoubled = basename(folder) === "node_modules";
      if (kind === "file" || isDoubled || (await kindOf(join(place, "package.json"))) !== "file")
        throw inPlaceOf(place, name);
      // The folder says where the package is: a link to the package.json of another one says nothing of the code beside it.
      return realpath(place);
    }
    if (dirname(folder) === folder) return undefined;
  }
}

/** What `require` tries behind the name of a package before it looks for a folder. */
const LOADED_EXTENSIONS = [".js", ".json", ".node"];

async function kindOf(path: string): Promise<"folder" | "file" | "nothing"> {
  try {
    return (await stat(path)).isDirectory() ? "folder" : "file";
  } catch (error) {
    if (!hasErrorCode(error, "ENOENT") && !hasErrorCode(error, "ENOTDIR")) throw error;
    return "nothing";
  }
}

function inPlaceOf(file: string, name: string): CocoError {
  const problem = `Node.js could load it in place of the package ${name}, and it is not measured`;
  return new CocoError("ConfigurationInvalid", `${file}: ${problem}; remove it, or install anew with npm ci`, { file });
}

/**
 * Throws `ConfigurationInvalid` where a folder between the code and its package has packages, which Node.js would find first, or
 * is a package itself, whose name and exports would stand for others.
 * @param codeFolder the code's, below `rootDir`, with `/`
 */
export async function refuseNearerPackages(rootDir: string, codeFolder: string): Promise<void> {
  for (let folder = dirname(codeFolder); folder !== "."; folder = dirname(folder)) {
    for (const name of ["node_modules", "package.json"]) {
      const file = join(rootDir, folder, name);
      if ((await kindOf(file)) === "nothing") continue;
      const problem = "Node.js would look there before it looks where packages are measured";
      throw new CocoError("ConfigurationInvalid", `${file}: ${problem}; remove it`, { file });
    }
  }
}
