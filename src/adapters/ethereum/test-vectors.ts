/**
 * Test support: finds the public test data of the Ethereum ecosystem. The folder is named by COCO_VECTORS, or is
 * `shared/vectors` beside the working directory; tests that need it say so when it is absent.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { findBlockFiles, readBlockFile } from "../../../test/support/mainnet-block.ts";
import { type Bytes, fromHex } from "../../core/codec/bytes.ts";

const folder = join(process.env["COCO_VECTORS"] ?? resolve("../shared/vectors"), "ethereum");

/** Why a test is skipped, or false when the data is there. */
export function missing(name: string): string | false {
  return existsSync(join(folder, name)) ? false : `test data not found: ${name} (set COCO_VECTORS)`;
}

/** Bytes of `0x` hex; an odd number of digits gets a leading zero. */
export function hexBytes(text: string): Bytes {
  const digits = text.replace(/^0x/, "");
  return fromHex(digits.length % 2 === 0 ? digits : `0${digits}`);
}

function jsonFilesBelow(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json"))
    .map((name) => join(path, name))
    .sort();
}

/** The tests of one folder of the official suite (ethereum/tests), by file and name. */
export function officialTests<T>(suite: string): { readonly file: string; readonly name: string; readonly test: T }[] {
  return archivedTests("ethereum-tests.tar.gz", suite);
}

/** The tests of one folder of an archive, by file and name. */
export function archivedTests<T>(
  archive: string,
  suite: string,
): { readonly file: string; readonly name: string; readonly test: T }[] {
  const extracted = mkdtempSync(join(tmpdir(), "ethereum-tests-"));
  try {
    execFileSync("tar", ["xzf", join(folder, archive), "-C", extracted, suite]);
    return jsonFilesBelow(extracted).flatMap((path) => {
      const tests = JSON.parse(readFileSync(path, "utf8")) as Record<string, T>;
      const file = path.slice(extracted.length + 1);
      return Object.entries(tests).map(([name, test]) => ({ file, name, test }));
    });
  } finally {
    rmSync(extracted, { recursive: true });
  }
}

/** A transaction of a JSON-RPC block. */
export type JsonTransaction = Readonly<Record<string, string>> & {
  readonly accessList?: readonly { readonly address: string; readonly storageKeys: readonly string[] }[];
  readonly blobVersionedHashes?: readonly string[];
};

/** A block as JSON-RPC gives it, with full transactions. */
export type JsonBlock = Readonly<Record<string, string>> & {
  readonly transactions: readonly JsonTransaction[];
  readonly withdrawals?: readonly Readonly<Record<string, string>>[];
};

/** Real blocks of the public network. */
export function mainnetBlocks(): JsonBlock[] {
  return findBlockFiles(undefined).map((file) => readBlockFile(file).block as unknown as JsonBlock);
}
