/**
 * Real blocks of the public Ethereum network with everything their execution reads: `<number>.json.gz` with
 * `{block, preState, codes, blockHashes}`. `block` is the JSON-RPC block with full transactions; `preState` maps addresses
 * to `{balance, nonce, code_hash?, storage}` before the block; `codes` maps code hashes to bytecode.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import type { HardforkName } from "../../src/adapters/ethereum/types.ts";
import { CocoError } from "../../src/errors.ts";

/** An object of JSON. */
export type Fields = Readonly<Record<string, unknown>>;

/** An account before a block. */
export interface PreStateAccount {
  readonly balance: string;
  readonly nonce: number;
  readonly code_hash?: string | null;
  readonly storage?: Readonly<Record<string, string>>;
}

/** A block file as it is read. */
export interface MainnetBlock {
  readonly block: Fields & { readonly transactions: readonly Fields[] };
  readonly preState: Readonly<Record<string, PreStateAccount>>;
  readonly codes: Readonly<Record<string, string>>;
  readonly blockHashes: Readonly<Record<string, string>>;
}

/** Forks of the public network by the first block, and since Shanghai by time. */
const FORKS: readonly { readonly name: HardforkName; readonly block?: number; readonly time?: number }[] = [
  { name: "osaka", time: 1_764_798_551 },
  { name: "prague", time: 1_746_612_311 },
  { name: "cancun", time: 1_710_338_135 },
  { name: "shanghai", time: 1_681_338_455 },
  { name: "paris", block: 15_537_394 },
  { name: "grayGlacier", block: 15_050_000 },
  { name: "arrowGlacier", block: 13_773_000 },
  { name: "london", block: 12_965_000 },
  { name: "berlin", block: 12_244_000 },
  { name: "muirGlacier", block: 9_200_000 },
  { name: "istanbul", block: 9_069_000 },
  { name: "petersburg", block: 7_280_000 },
  { name: "byzantium", block: 4_370_000 },
];

/** Files of blocks in a folder, in the order of their numbers; a folder of vectors may hold them below `ethereum/mainnet`. */
export function blockFiles(folder: string): string[] {
  for (const candidate of [folder, join(folder, "mainnet"), join(folder, "ethereum", "mainnet")]) {
    if (!existsSync(candidate) || !statSync(candidate).isDirectory()) continue;
    const names = readdirSync(candidate).filter((name) => /^\d+\.json\.gz$/.test(name));
    if (names.length > 0) {
      return names
        .sort((left, right) => Number.parseInt(left, 10) - Number.parseInt(right, 10))
        .map((name) => join(candidate, name));
    }
  }
  return [];
}

/**
 * The block files to replay: those of `data` when it is named (`ConfigurationInvalid` when it holds none), else of
 * `COCO_VECTORS`, else of `../shared/vectors` beside the working directory; empty when there are none.
 */
export function findBlockFiles(data: string | undefined): string[] {
  if (data !== undefined) {
    const files = blockFiles(resolve(data));
    if (files.length === 0) throw new CocoError("ConfigurationInvalid", `${data}: no block files <number>.json.gz`);
    return files;
  }
  return blockFiles(process.env["COCO_VECTORS"] ?? resolve("../shared/vectors"));
}

/** Reads a block file. */
export function readBlockFile(file: string): MainnetBlock {
  try {
    const content = JSON.parse(gunzipSync(readFileSync(file)).toString("utf8")) as MainnetBlock;
    if (Array.isArray(content.block.transactions) && typeof content.preState === "object") return content;
  } catch (error) {
    throw new CocoError("MalformedInput", `${file}: not a block file`, { file }, { cause: error });
  }
  throw new CocoError("MalformedInput", `${file}: not a block file`, { file });
}

/** The rules a block was executed under. */
export function rulesOf({ block: fields }: MainnetBlock): HardforkName {
  const [number, timestamp] = [Number(fields["number"]), Number(fields["timestamp"])];
  const fork = FORKS.find(({ block, time }) => (time === undefined ? number >= (block ?? 0) : timestamp >= time));
  if (fork === undefined)
    throw new CocoError("MalformedInput", `block ${number}: receipts before Byzantium hold no status`);
  return fork.name;
}

/** What contracts see of the block, as `coco_replaySetEnvironment` takes it. */
export function environmentOf(content: MainnetBlock): Fields {
  const { block, blockHashes } = content;
  return {
    hardfork: rulesOf(content),
    number: block["number"],
    timestamp: block["timestamp"],
    coinbase: block["miner"],
    gasLimit: block["gasLimit"],
    difficulty: block["difficulty"],
    prevRandao: block["mixHash"],
    baseFeePerGas: block["baseFeePerGas"],
    excessBlobGas: block["excessBlobGas"],
    parentBeaconBlockRoot: block["parentBeaconBlockRoot"],
    blockHashes,
  };
}
