/**
 * Real blocks of the public Ethereum network with everything their execution reads: `<number>.json.gz` with
 * `{block, preState, codes, blockHashes}`. `block` is the JSON-RPC block with full transactions; `preState` maps addresses
 * to `{balance, nonce, code_hash?, storage}` before the block; `codes` maps code hashes to bytecode.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { type Bytes, fromHex } from "../../src/core/codec/bytes.ts";
import { CocoError } from "../../src/errors.ts";
import { keccak256 } from "../../src/adapters/ethereum/keccak.ts";
import { encodeTransaction } from "../../src/adapters/ethereum/transactions.ts";
import type { HardforkName } from "../../src/adapters/ethereum/types.ts";
import { hex, type Signed } from "./wallet.ts";

type Fields = Readonly<Record<string, unknown>>;

interface PreStateAccount {
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

/** Most characters of accounts in one request: far below the limit of a request's body. */
const STATE_CHUNK_LENGTH = 1_500_000;
/** Most slots that go with an account; further ones follow in a continuation. */
const CHUNK_SLOTS = 5_000;

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

function hardforkOf(number: number, timestamp: number): HardforkName {
  const fork = FORKS.find(({ block, time }) => (time === undefined ? number >= (block ?? 0) : timestamp >= time));
  if (fork === undefined)
    throw new CocoError("MalformedInput", `block ${number}: receipts before Byzantium hold no status`);
  return fork.name;
}

/** What contracts see of the block, as `coco_replaySetEnvironment` takes it. */
export function environmentOf({ block, blockHashes }: MainnetBlock): Fields {
  return {
    hardfork: hardforkOf(Number(block["number"]), Number(block["timestamp"])),
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

const quantity = (value: unknown): string => `0x${BigInt(String(value)).toString(16)}`;
const wordOf = (value: string): string => `0x${BigInt(value).toString(16).padStart(64, "0")}`;

/** The pre-state as lists of accounts, each for one `coco_replaySetState`, as JSON texts. */
export function stateChunks({ preState, codes }: MainnetBlock): string[] {
  const chunks: string[] = [];
  let waiting: string[] = [];
  let length = 0;
  for (const [address, account] of Object.entries(preState)) {
    for (const text of accountTexts(address, account, codes)) {
      if (length + text.length > STATE_CHUNK_LENGTH && waiting.length > 0) {
        chunks.push(`[${waiting.join(",")}]`);
        waiting = [];
        length = 0;
      }
      waiting.push(text);
      length += text.length + 1;
    }
  }
  if (waiting.length > 0) chunks.push(`[${waiting.join(",")}]`);
  return chunks;
}

function accountTexts(address: string, account: PreStateAccount, codes: MainnetBlock["codes"]): string[] {
  const code = account.code_hash == null ? "0x" : codes[account.code_hash];
  if (code === undefined) throw new CocoError("MalformedInput", `${address}: its code is missing`);
  const slots = Object.entries(account.storage ?? {}).filter(([, value]) => BigInt(value) !== 0n);
  const texts: string[] = [];
  for (let at = 0; at === 0 || at < slots.length; at += CHUNK_SLOTS) {
    const storage = Object.fromEntries(
      slots.slice(at, at + CHUNK_SLOTS).map(([slot, value]) => [wordOf(slot), wordOf(value)]),
    );
    const { nonce, balance } = account;
    texts.push(
      JSON.stringify({ address, reset: at === 0, nonce: quantity(nonce), balance: quantity(balance), code, storage }),
    );
  }
  return texts;
}

function optionalBigint(value: unknown): bigint | undefined {
  return value === undefined || value === null ? undefined : BigInt(String(value));
}

function bytesOf(value: unknown): Bytes {
  return fromHex(String(value).slice(2));
}

function listOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value : [];
}

function authorizationOf(entry: Fields) {
  const integer = (name: string): bigint => BigInt(String(entry[name]));
  const yParity = Number(entry["yParity"] ?? entry["v"]);
  return {
    chainId: integer("chainId"),
    address: bytesOf(entry["address"]),
    nonce: integer("nonce"),
    yParity,
    r: integer("r"),
    s: integer("s"),
  };
}

/** The raw form of a transaction as JSON-RPC gives it. Throws `MalformedInput` when it has another hash. */
export function signedTransactionOf(json: Fields): Signed {
  const type = Number(json["type"] ?? 0);
  if (type !== 0 && type !== 1 && type !== 2 && type !== 3 && type !== 4) {
    throw new CocoError("MalformedInput", `transaction ${String(json["hash"])}: unknown type ${type}`);
  }
  const raw = encodeTransaction({
    type,
    chainId: json["chainId"] == null ? undefined : Number(json["chainId"]),
    nonce: Number(json["nonce"]),
    gasPrice: type < 2 ? optionalBigint(json["gasPrice"]) : undefined,
    maxPriorityFeePerGas: optionalBigint(json["maxPriorityFeePerGas"]),
    maxFeePerGas: optionalBigint(json["maxFeePerGas"]),
    gasLimit: Number(json["gas"]),
    to: json["to"] == null ? undefined : bytesOf(json["to"]),
    value: BigInt(String(json["value"])),
    data: bytesOf(json["input"]),
    accessList: listOf(json["accessList"]).map(({ address, storageKeys }) => ({
      address: bytesOf(address),
      storageKeys: Array.isArray(storageKeys) ? storageKeys.map(bytesOf) : [],
    })),
    maxFeePerBlobGas: optionalBigint(json["maxFeePerBlobGas"]),
    blobVersionedHashes: Array.isArray(json["blobVersionedHashes"]) ? json["blobVersionedHashes"].map(bytesOf) : [],
    authorizationList: listOf(json["authorizationList"]).map(authorizationOf),
    v: BigInt(String(json["v"] ?? json["yParity"])),
    r: BigInt(String(json["r"])),
    s: BigInt(String(json["s"])),
  });
  const hash = hex(keccak256(raw));
  if (hash === json["hash"]) return { raw: hex(raw), hash };
  throw new CocoError("MalformedInput", `transaction ${String(json["hash"])}: its fields have the hash ${hash}`);
}
