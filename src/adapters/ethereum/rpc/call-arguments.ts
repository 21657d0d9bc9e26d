/**
 * The parameters of `eth_call`, `eth_estimateGas` and `eth_createAccessList`: the call object, and what the client wants
 * changed in accounts and block before the call. Unknown members of the call object are ignored, as go-ethereum does;
 * overrides that are not supported are refused, because ignoring them would give a wrong answer.
 * Source: execution-apis `transaction.yaml` and `execute.yaml`, go-ethereum `internal/ethapi/transaction_args.go`.
 */
import { type Bytes, bytesEqual, EMPTY } from "../../../core/codec/bytes.ts";
import type { AccountOverride, CallRequest } from "../calls.ts";
import type { AccessList, Authorization, BlockEnvironment } from "../types.ts";
import { toArray, toData, toFixed, toObject, toQuantity } from "./decode.ts";
import { data } from "./encode.ts";
import { invalidParameters, serverError } from "./fault.ts";

/** Most bytes of code an override may give an account, ten times what a contract may have; bounds what runs without a jump. */
export const OVERRIDE_CODE_BYTES_MAX = 10 * 24_576;

/** Fields of a block that a client sets for one call. */
export type BlockOverrides = Partial<Omit<BlockEnvironment, "blockHash" | "hardfork">>;

/** Reads fields of an object, each of which may be absent or null. */
class Fields {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #type: string;

  /** `type` is the object's name in go-ethereum, for errors. */
  constructor(value: unknown, type: string) {
    this.#type = type;
    this.#fields = toObject(value, `ethapi.${type}`);
  }

  get names(): Iterable<string> {
    return this.#fields.keys();
  }

  get<T>(name: string, decode: (value: unknown, place: `Go struct field ${string}`) => T): T | undefined {
    const value = this.#fields.get(name);
    return value === undefined || value === null ? undefined : decode(value, `Go struct field ${this.#type}.${name}`);
  }

  fixed(name: string, size: 20 | 32): Bytes | undefined {
    return this.get(name, (value, place) => toFixed(value, size, place));
  }

  data(name: string): Bytes | undefined {
    return this.get(name, (value, place) => toData(value, place));
  }

  big(name: string): bigint | undefined {
    return this.get(name, (value, place) => toQuantity(value, 256, place));
  }

  /** A 64-bit quantity; above 2^53 - 1 it reads as that, which no limit here reaches. */
  number(name: string): number | undefined {
    const value = this.get(name, (field, place) => toQuantity(field, 64, place));
    return value === undefined ? undefined : Math.min(Number(value), Number.MAX_SAFE_INTEGER);
  }

  list<T>(name: string, decode: (item: unknown) => T): readonly T[] | undefined {
    return this.get(name, (value, place) => toArray(value, "[]interface {}", place).map(decode));
  }
}

/** Leaves absent members out: `exactOptionalPropertyTypes` tells absent from undefined. */
function present<T extends object>(fields: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

/** Decodes a call object for a chain. */
export function toCallRequest(value: unknown, chainId: number): CallRequest {
  const fields = new Fields(value, "TransactionArgs");
  const request = present<CallRequest>({
    from: fields.fixed("from", 20),
    to: fields.fixed("to", 20),
    data: callData(fields),
    value: fields.big("value"),
    gas: fields.number("gas"),
    gasPrice: fields.big("gasPrice"),
    maxFeePerGas: fields.big("maxFeePerGas"),
    maxPriorityFeePerGas: fields.big("maxPriorityFeePerGas"),
    accessList: fields.get("accessList", toAccessList),
    authorizationList: fields.list("authorizationList", toAuthorization),
    blobVersionedHashes: fields.list("blobVersionedHashes", (hash) => toFixed(hash, 32)),
  });
  // Decoded for its errors: a call has no use for them.
  fields.number("nonce");
  fields.big("maxFeePerBlobGas");
  checkConsistency(request);
  const named = fields.big("chainId");
  if (named !== undefined && named !== BigInt(chainId))
    throw serverError(`chainId does not match node's (have=${named}, want=${chainId})`);
  return request;
}

function callData(fields: Fields): Bytes | undefined {
  const [input, old] = [fields.data("input"), fields.data("data")];
  if (input !== undefined && old !== undefined && !bytesEqual(input, old)) {
    throw serverError(
      'both "data" and "input" are set and not equal. Please use "input" to pass transaction call data',
    );
  }
  return input ?? old;
}

function checkConsistency({
  gasPrice,
  maxFeePerGas,
  maxPriorityFeePerGas,
  blobVersionedHashes,
  to,
  from,
}: CallRequest): void {
  if (gasPrice !== undefined && (maxFeePerGas !== undefined || maxPriorityFeePerGas !== undefined)) {
    throw serverError("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified");
  }
  if (
    maxFeePerGas !== undefined &&
    maxFeePerGas > 0n &&
    maxPriorityFeePerGas !== undefined &&
    maxPriorityFeePerGas > maxFeePerGas
  ) {
    const amounts = `maxPriorityFeePerGas: ${maxPriorityFeePerGas}, maxFeePerGas: ${maxFeePerGas}`;
    const address = data(from ?? new Uint8Array(20));
    throw serverError(`max priority fee per gas higher than max fee per gas: address ${address}, ${amounts}`);
  }
  if (blobVersionedHashes === undefined) return;
  if (blobVersionedHashes.length === 0) throw serverError("need at least 1 blob for a blob transaction");
  if (to === undefined) throw serverError('missing "to" in blob transaction');
}

function toAccessList(value: unknown): AccessList {
  return toArray(value, "types.AccessList").map((item) => {
    const entry = new Fields(item, "AccessTuple");
    const address = entry.fixed("address", 20);
    if (address === undefined) throw invalidParameters("missing required field 'address' for AccessTuple");
    return { address, storageKeys: entry.list("storageKeys", (key) => toFixed(key, 32)) ?? [] };
  });
}

function toAuthorization(value: unknown): Authorization {
  const fields = new Fields(value, "SetCodeAuthorization");
  const required = <T>(name: string, field: T | undefined): T => {
    if (field === undefined) throw invalidParameters(`missing required field '${name}' for SetCodeAuthorization`);
    return field;
  };
  return {
    chainId: required("chainId", fields.big("chainId")),
    address: required("address", fields.fixed("address", 20)),
    nonce: required(
      "nonce",
      fields.get("nonce", (nonce, place) => toQuantity(nonce, 64, place)),
    ),
    yParity: required("yParity", fields.number("yParity")),
    r: required("r", fields.big("r")),
    s: required("s", fields.big("s")),
  };
}

/** Decodes state overrides: account changes by address. */
export function toStateOverrides(value: unknown): readonly AccountOverride[] {
  return [...toObject(value, "override.StateOverride")].map(([address, changes]) =>
    toAccountOverride(toFixed(address, 20), changes),
  );
}

function toAccountOverride(address: Bytes, value: unknown): AccountOverride {
  const fields = new Fields(value, "OverrideAccount");
  for (const name of fields.names) {
    if (!ACCOUNT_OVERRIDES.has(name)) throw invalidParameters(`state override '${name}' is not supported`);
  }
  const state = fields.get("state", toSlots);
  const stateDiff = fields.get("stateDiff", toSlots);
  if (state !== undefined && stateDiff !== undefined)
    throw serverError(`account ${data(address)} has both 'state' and 'stateDiff'`);
  const code = fields.data("code");
  if (code !== undefined && code.length > OVERRIDE_CODE_BYTES_MAX)
    throw invalidParameters(`code size of state override ${code.length} exceeds limit ${OVERRIDE_CODE_BYTES_MAX}`);
  return present<AccountOverride>({
    address,
    balance: fields.big("balance"),
    nonce: fields.number("nonce"),
    code,
    state,
    stateDiff,
  });
}

const ACCOUNT_OVERRIDES: ReadonlySet<string> = new Set(["balance", "nonce", "code", "state", "stateDiff"]);

/** Storage by slot; values lose the zeros in front, as they stand in the table. */
function toSlots(value: unknown): readonly { readonly slot: Bytes; readonly value: Bytes }[] {
  return [...toObject(value, "map[common.Hash]common.Hash")].map(([slot, word]) => ({
    slot: toFixed(slot, 32),
    value: trimWord(toFixed(word, 32)),
  }));
}

/** A word without the zeros in front; empty for zero. */
export function trimWord(word: Bytes): Bytes {
  const first = word.findIndex((byte) => byte !== 0);
  return first === -1 ? EMPTY : word.subarray(first);
}

const BLOCK_OVERRIDES: ReadonlySet<string> = new Set([
  "number",
  "time",
  "gasLimit",
  "feeRecipient",
  "prevRandao",
  "baseFeePerGas",
  "difficulty",
]);

/** Decodes block overrides. */
export function toBlockOverrides(value: unknown): BlockOverrides {
  const fields = new Fields(value, "BlockOverrides");
  for (const name of fields.names)
    if (!BLOCK_OVERRIDES.has(name)) throw invalidParameters(`block override '${name}' is not supported`);
  return present<BlockOverrides>({
    number: fields.number("number"),
    timestamp: fields.number("time"),
    gasLimit: fields.number("gasLimit"),
    coinbase: fields.fixed("feeRecipient", 20),
    prevRandao: fields.fixed("prevRandao", 32),
    baseFeePerGas: fields.big("baseFeePerGas"),
    difficulty: fields.big("difficulty"),
    excessBlobGas: undefined,
    parentBeaconBlockRoot: undefined,
  });
}
