/**
 * Parameters of a call to values, as strict as go-ethereum and in its words, down to the names of its types: clients
 * and test suites compare these messages.
 * Source: EIP-1474, go-ethereum `rpc/json.go`, `rpc/types.go` and `common/hexutil`.
 */
import { type Bytes, EMPTY, fromHex } from "../../../core/codec/bytes.ts";
import { RpcError, invalidParameters } from "./fault.ts";

/** Largest block number that can be asked for. */
const MAX_BLOCK_NUMBER = 0x7fff_ffff_ffff_ffffn;

/** Which block a call is about. `number` above 2^53 - 1 is rounded: no chain has such a block. */
export type BlockReference =
  | { readonly type: "tag"; readonly tag: BlockTag }
  | { readonly type: "number"; readonly number: number }
  | { readonly type: "hash"; readonly hash: Bytes };

/** Names of blocks. `safe` and `finalized` are the newest committed block: what is committed is final. */
export type BlockTag = "earliest" | "latest" | "safe" | "finalized" | "pending";

/** The newest committed block. */
export const LATEST: BlockReference = { type: "tag", tag: "latest" };

/** Where a value stands, for the text of an error: a whole argument, or a field of an object. */
type Place = "Go value" | `Go struct field ${string}`;

/** A fixed-size byte string's name in go-ethereum, by size. */
const FIXED_TYPES = { 20: "common.Address", 32: "common.Hash" } as const;

/** Sizes of fixed-size byte strings. */
export type FixedSize = keyof typeof FIXED_TYPES;

/** A decoding problem before it is known which argument it is in. */
class DecodeProblem extends RpcError {
  constructor(message: string) {
    super(-32602, message);
    this.name = "DecodeProblem";
  }
}

function cannotUnmarshal(problem: string, place: Place, type: string): DecodeProblem {
  return new DecodeProblem(`json: cannot unmarshal ${problem} into ${place} of type ${type}`);
}

/** The name go-ethereum's JSON decoder gives to a kind of value. */
function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

const HEX_DIGITS = /^[0-9a-fA-F]*$/;

/** Why a text is not `0x` hex, or its digits. */
function hexDigits(text: string): { readonly digits: string } | { readonly problem: string } {
  if (!/^0[xX]/.test(text)) return { problem: "hex string without 0x prefix" };
  return { digits: text.slice(2) };
}

/** Data of any length; the empty text is empty data. */
export function toData(value: unknown, place: Place = "Go value"): Bytes {
  const type = "hexutil.Bytes";
  if (typeof value !== "string") throw cannotUnmarshal("non-string", place, type);
  if (value === "") return EMPTY;
  const hex = hexDigits(value);
  if ("problem" in hex) throw cannotUnmarshal(hex.problem, place, type);
  if (hex.digits.length % 2 !== 0) throw cannotUnmarshal("hex string of odd length", place, type);
  if (!HEX_DIGITS.test(hex.digits)) throw cannotUnmarshal("invalid hex string", place, type);
  return fromHex(hex.digits);
}

/** Data of exactly `size` bytes. */
export function toFixed(value: unknown, size: FixedSize, place: Place = "Go value"): Bytes {
  const type = FIXED_TYPES[size];
  if (typeof value !== "string") throw cannotUnmarshal("non-string", place, type);
  const hex = value === "" ? { digits: "" } : hexDigits(value);
  if ("problem" in hex) throw cannotUnmarshal(hex.problem, place, type);
  if (hex.digits.length % 2 !== 0) throw cannotUnmarshal("hex string of odd length", place, type);
  if (hex.digits.length !== size * 2)
    throw new DecodeProblem(`hex string has length ${hex.digits.length}, want ${size * 2} for ${type}`);
  if (!HEX_DIGITS.test(hex.digits)) throw cannotUnmarshal("invalid hex string", place, type);
  return fromHex(hex.digits);
}

/** Why a text is not a quantity, or its value. */
function quantity(text: string, bits: 64 | 256): { readonly value: bigint } | { readonly problem: string } {
  const hex = hexDigits(text);
  if ("problem" in hex) return hex;
  if (hex.digits === "") return { problem: 'hex string "0x"' };
  if (hex.digits.length > 1 && hex.digits.startsWith("0")) return { problem: "hex number with leading zero digits" };
  if (hex.digits.length > bits / 4) return { problem: `hex number > ${bits} bits` };
  if (!HEX_DIGITS.test(hex.digits)) return { problem: "invalid hex string" };
  return { value: BigInt(`0x${hex.digits}`) };
}

/** A quantity of at most 256 or 64 bits. */
export function toQuantity(value: unknown, bits: 64 | 256, place: Place = "Go value"): bigint {
  const type = bits === 64 ? "hexutil.Uint64" : "*hexutil.Big";
  if (typeof value !== "string") throw cannotUnmarshal("non-string", place, type);
  if (value === "") return 0n;
  const parsed = quantity(value, bits);
  if ("problem" in parsed) throw cannotUnmarshal(parsed.problem, place, type);
  return parsed.value;
}

/** An object's fields; `place` names the type that was expected. */
export function toObject(value: unknown, type: string): ReadonlyMap<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw cannotUnmarshal(kindOf(value), "Go value", type);
  return new Map(Object.entries(value));
}

/** The items of an array. */
export function toArray(value: unknown, type: string, place: Place = "Go value"): readonly unknown[] {
  if (!Array.isArray(value)) throw cannotUnmarshal(kindOf(value), place, type);
  return value;
}

/** A truth value. */
export function toBoolean(value: unknown, place: Place = "Go value"): boolean {
  if (typeof value !== "boolean") throw cannotUnmarshal(kindOf(value), place, "bool");
  return value;
}

const TAGS: readonly string[] = ["earliest", "latest", "safe", "finalized", "pending"] satisfies readonly BlockTag[];

function isTag(text: string): text is BlockTag {
  return TAGS.includes(text);
}

/** A tag or a block number. */
export function toBlockNumber(value: unknown): BlockReference {
  if (typeof value !== "string") throw new DecodeProblem("hex string without 0x prefix");
  if (isTag(value)) return { type: "tag", tag: value };
  if (value === "") throw new DecodeProblem("empty hex string");
  const parsed = quantity(value, 64);
  if ("problem" in parsed) throw new DecodeProblem(parsed.problem);
  if (parsed.value > MAX_BLOCK_NUMBER) throw new DecodeProblem("block number larger than int64");
  return { type: "number", number: Number(parsed.value) };
}

/** A tag, a number, a hash, or EIP-1898's `{blockNumber}` or `{blockHash, requireCanonical}`. */
export function toBlockReference(value: unknown): BlockReference {
  if (typeof value === "string")
    return value.length === 66 ? { type: "hash", hash: toFixed(value, 32) } : toBlockNumber(value);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw cannotUnmarshal(kindOf(value), "Go value", "string");
  const fields = new Map<string, unknown>(Object.entries(value));
  const number = fields.get("blockNumber") ?? undefined;
  const hash = fields.get("blockHash") ?? undefined;
  if (number !== undefined && hash !== undefined) {
    throw new DecodeProblem("cannot specify both BlockHash and BlockNumber, choose one or the other");
  }
  const canonical = fields.get("requireCanonical") ?? undefined;
  // Every block here is canonical: there are no forks, so the flag is checked and has no effect.
  if (canonical !== undefined) toBoolean(canonical, "Go struct field erased.requireCanonical");
  if (number !== undefined) return toBlockNumber(number);
  if (hash !== undefined) return { type: "hash", hash: toFixed(hash, 32, "Go struct field erased.blockHash") };
  throw new DecodeProblem("invalid arguments; neither block nor hash specified");
}

/** Positional parameters of a call; decoding errors name the argument. */
export class Parameters {
  readonly #values: readonly unknown[];

  /** `limit` is the number of parameters the method has. */
  constructor(parameters: unknown, limit: number) {
    if (parameters !== undefined && parameters !== null && !Array.isArray(parameters))
      throw invalidParameters("non-array args");
    this.#values = parameters ?? [];
    if (this.#values.length > limit) throw invalidParameters(`too many arguments, want at most ${limit}`);
  }

  /** A parameter that must be there. */
  required<T>(position: number, decode: (value: unknown) => T): T {
    const value = this.#values[position];
    if (value === undefined || value === null)
      throw invalidParameters(`missing value for required argument ${position}`);
    return this.#decode(position, value, decode);
  }

  /** A parameter that may be left out or null. */
  optional<T>(position: number, decode: (value: unknown) => T): T | undefined {
    const value = this.#values[position];
    return value === undefined || value === null ? undefined : this.#decode(position, value, decode);
  }

  /** An address. */
  address(position: number): Bytes {
    return this.required(position, (value) => toFixed(value, 20));
  }

  /** A hash of 32 bytes. */
  hash(position: number): Bytes {
    return this.required(position, (value) => toFixed(value, 32));
  }

  /** A block, the newest committed one when left out. */
  block(position: number): BlockReference {
    return this.optional(position, toBlockReference) ?? LATEST;
  }

  /** An index in a block. */
  index(position: number): number {
    return Number(this.required(position, (value) => toQuantity(value, 64)));
  }

  #decode<T>(position: number, value: unknown, decode: (value: unknown) => T): T {
    try {
      return decode(value);
    } catch (error) {
      if (error instanceof DecodeProblem) throw invalidParameters(`invalid argument ${position}: ${error.message}`);
      throw error;
    }
  }
}

/** Slot of a storage read: up to 32 bytes, the prefix and leading zeros optional for the sake of old clients. */
export function toStorageSlot(value: unknown): Bytes {
  if (typeof value !== "string") throw cannotUnmarshal(kindOf(value), "Go value", "string");
  const digits = value.replace(/^0[xX]/, "");
  if (digits.length > 64)
    throw invalidParameters(`storage key too long (want at most 32 bytes): ${JSON.stringify(value.slice(0, 200))}`);
  if (!HEX_DIGITS.test(digits)) throw invalidParameters(`invalid hex in storage key: ${JSON.stringify(value)}`);
  return fromHex(digits.padStart(64, "0"));
}
