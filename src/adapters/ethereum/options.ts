/**
 * The adapter's options in the genesis constitution, read strictly: an unknown or malformed field is refused by its name,
 * because a network cannot change its genesis block later.
 */
import { type Bytes, EMPTY, fromHex } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { isHardfork } from "./forks.ts";
import type { EthereumOptions, GenesisAccount } from "./types.ts";

/** Largest number of accounts in `alloc`. */
export const GENESIS_ACCOUNTS_LIMIT = 100_000;

const DEFAULT_BLOCK_GAS_LIMIT = 30_000_000;
const DEFAULT_BASE_FEE = "1000000000";
const ZERO_ADDRESS = `0x${"00".repeat(20)}`;
const LARGEST_AMOUNT = 2n ** 256n - 1n;

function invalid(field: string, problem: string): never {
  throw new CocoError("ConstitutionInvalid", `ethereum options: ${field} ${problem}`, { field });
}

function objectOf(value: unknown, field: string, known?: readonly string[]): ReadonlyMap<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) invalid(field, "must be an object");
  const entries = Object.entries(value);
  const unknown = known === undefined ? undefined : entries.find(([name]) => !known.includes(name));
  if (unknown !== undefined) invalid(`${field}.${unknown[0]}`, "is not known");
  return new Map(entries);
}

function numberOf(value: unknown, field: string, least: number): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least)
    invalid(field, `must be an integer of at least ${least}`);
  return value;
}

function amountOf(value: unknown, field: string): bigint {
  if (typeof value !== "string" || !/^(0|[1-9][0-9]{0,77}|0x[0-9a-fA-F]{1,64})$/.test(value)) {
    invalid(field, "must be a decimal or 0x string");
  }
  const amount = BigInt(value);
  if (amount > LARGEST_AMOUNT) invalid(field, "is above 2^256 - 1");
  return amount;
}

function bytesOf(value: unknown, field: string, length?: number): Bytes {
  if (typeof value !== "string" || !/^0x([0-9a-fA-F]{2})*$/.test(value))
    invalid(field, "must be 0x hex with an even number of digits");
  const bytes = fromHex(value.slice(2));
  if (length !== undefined && bytes.length !== length) invalid(field, `must have ${length} bytes`);
  return bytes;
}

function booleanOf(value: unknown, field: string): boolean {
  if (typeof value !== "boolean") invalid(field, "must be true or false");
  return value;
}

/** A word of at most 32 bytes as exactly 32. */
function wordOf(value: unknown, field: string): Bytes {
  const bytes = bytesOf(value, field);
  if (bytes.length > 32) invalid(field, "has more than 32 bytes");
  const word = new Uint8Array(32);
  word.set(bytes, 32 - bytes.length);
  return word;
}

function storageOf(value: unknown, field: string): GenesisAccount["storage"] {
  return [...objectOf(value, field)].map(([slot, word]) => ({
    slot: wordOf(slot, `${field} key`),
    value: wordOf(word, `${field}.${slot}`),
  }));
}

function accountOf(address: string, value: unknown): GenesisAccount {
  const field = `alloc.${address}`;
  const fields = objectOf(value, field, ["balance", "nonce", "code", "storage"]);
  return {
    address: bytesOf(address, `${field} key`, 20),
    balance: amountOf(fields.get("balance") ?? "0", `${field}.balance`),
    nonce: numberOf(fields.get("nonce") ?? 0, `${field}.nonce`, 0),
    code: fields.has("code") ? bytesOf(fields.get("code"), `${field}.code`) : EMPTY,
    storage: storageOf(fields.get("storage") ?? {}, `${field}.storage`),
  };
}

function allocOf(value: unknown): readonly GenesisAccount[] {
  const entries = [...objectOf(value, "alloc")];
  if (entries.length > GENESIS_ACCOUNTS_LIMIT) invalid("alloc", `has more than ${GENESIS_ACCOUNTS_LIMIT} accounts`);
  if (new Set(entries.map(([address]) => address.toLowerCase())).size !== entries.length)
    invalid("alloc", "names an address twice");
  return entries.map(([address, account]) => accountOf(address, account));
}

function hardforkOf(value: unknown): EthereumOptions["hardfork"] {
  if (typeof value !== "string" || !isHardfork(value)) invalid("hardfork", "is not the name of a hard fork");
  return value;
}

const FIELDS = [
  "chainId",
  "hardfork",
  "blockGasLimit",
  "initialBaseFee",
  "coinbase",
  "timestamp",
  "alloc",
  "replay",
] as const;

/** Reads the options of the genesis constitution; throws `ConstitutionInvalid` naming the field at fault. */
export function parseEthereumOptions(value: unknown): EthereumOptions {
  const fields = objectOf(value, "options", FIELDS);
  return {
    chainId: numberOf(fields.get("chainId"), "chainId", 1),
    hardfork: hardforkOf(fields.get("hardfork") ?? "osaka"),
    blockGasLimit: numberOf(fields.get("blockGasLimit") ?? DEFAULT_BLOCK_GAS_LIMIT, "blockGasLimit", 21_000),
    initialBaseFee: amountOf(fields.get("initialBaseFee") ?? DEFAULT_BASE_FEE, "initialBaseFee"),
    coinbase: bytesOf(fields.get("coinbase") ?? ZERO_ADDRESS, "coinbase", 20),
    timestamp: numberOf(fields.get("timestamp") ?? 0, "timestamp", 0),
    alloc: allocOf(fields.get("alloc") ?? {}),
    replay: booleanOf(fields.get("replay") ?? false, "replay"),
  };
}
