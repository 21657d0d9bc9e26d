/**
 * Replay: executing recorded transactions of another network, for demonstrations and tests. Two special transactions
 * replace accounts and set what contracts see of their block. They exist only where the constitution allows replay.
 * Raw form: 0xff, a kind byte, then RLP (state) or JSON (environment). No Ethereum transaction starts with 0xff.
 */
import { type Bytes, concatBytes, EMPTY, fromHex, toHex, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { PrepareResult, StateReader } from "../adapter.ts";
import type { EvmState } from "./evm-state.ts";
import { isHardfork } from "./forks.ts";
import { keccak256 } from "./keccak.ts";
import { bytesOfBigint, bytesOfNumber, rlpBigint, rlpBytes, rlpDecode, rlpEncode, rlpList, rlpNumber } from "./rlp.ts";
import { type BlockEnvironment, type GenesisAccount, type HardforkName, META_KEYS, TABLES } from "./types.ts";

/** Largest raw replay transaction in bytes. */
export const REPLAY_BYTES_LIMIT = 8 * 1024 * 1024;

/** Largest number of block hashes in a replay environment: as many as BLOCKHASH can ask for. */
export const REPLAY_BLOCK_HASHES_LIMIT = 256;

const MARKER = 0xff;
const STATE_KIND = 1;
const ENVIRONMENT_KIND = 2;
const SENDER_BYTES = 20;

/** One account of a state chunk. */
export interface ReplayAccount extends GenesisAccount {
  /** Drops all storage the account had; false continues an account whose storage did not fit one chunk. */
  readonly reset: boolean;
}

/** {@link BlockEnvironment} as data. */
export interface ReplayEnvironment extends Omit<BlockEnvironment, "blockHash"> {
  readonly blockHashes: ReadonlyMap<number, Bytes>;
}

/** A decoded replay transaction; an environment of undefined ends the replay. */
export type ReplayTransaction =
  | { readonly type: "state"; readonly id: Bytes; readonly accounts: readonly ReplayAccount[] }
  | { readonly type: "environment"; readonly id: Bytes; readonly environment: ReplayEnvironment | undefined };

function malformed(message: string): never {
  throw new CocoError("MalformedInput", `replay: ${message}`);
}

/** Raw form of a state chunk. */
export function encodeReplayState(accounts: readonly ReplayAccount[]): Bytes {
  const items = accounts.map(({ address, reset, nonce, balance, code, storage }) => [
    address,
    bytesOfNumber(reset ? 1 : 0),
    bytesOfNumber(nonce),
    bytesOfBigint(balance),
    code,
    storage.map(({ slot, value }) => [slot, value]),
  ]);
  return rlpEncode(items, Uint8Array.of(MARKER, STATE_KIND));
}

function decodeAccounts(payload: Bytes): readonly ReplayAccount[] {
  return rlpList(rlpDecode(payload, REPLAY_BYTES_LIMIT)).map((item) => {
    const fields = rlpList(item, 6, 6);
    const reset = rlpNumber(fields[1]);
    if (reset > 1) malformed("reset is neither 0 nor 1");
    const storage = rlpList(fields[5]).map((entry) => {
      const [slot, value] = rlpList(entry, 2, 2);
      const word = rlpBytes(value);
      if (word.length > 32) malformed("storage value has more than 32 bytes");
      return { slot: rlpBytes(slot, 32), value: word };
    });
    return {
      address: rlpBytes(fields[0], 20),
      reset: reset === 1,
      nonce: rlpNumber(fields[2]),
      balance: rlpBigint(fields[3]),
      code: rlpBytes(fields[4]),
      storage,
    };
  });
}

function hexOf(bytes: Bytes | undefined): string | null {
  return bytes === undefined ? null : `0x${toHex(bytes)}`;
}

/** The environment as JSON, the form it is sent and stored in. */
export function encodeEnvironment(environment: ReplayEnvironment): Bytes {
  const json = {
    hardfork: environment.hardfork,
    number: environment.number,
    timestamp: environment.timestamp,
    coinbase: hexOf(environment.coinbase),
    gasLimit: environment.gasLimit,
    difficulty: environment.difficulty.toString(),
    prevRandao: hexOf(environment.prevRandao),
    baseFeePerGas: environment.baseFeePerGas?.toString() ?? null,
    excessBlobGas: environment.excessBlobGas ?? null,
    parentBeaconBlockRoot: hexOf(environment.parentBeaconBlockRoot),
    blockHashes: Object.fromEntries(
      [...environment.blockHashes].map(([number, hash]) => [String(number), hexOf(hash)]),
    ),
  };
  return utf8Encode(JSON.stringify(json));
}

/** Raw form of a change of environment; undefined ends the replay. */
export function encodeReplayEnvironment(environment: ReplayEnvironment | undefined): Bytes {
  const payload = environment === undefined ? EMPTY : encodeEnvironment(environment);
  return concatBytes(Uint8Array.of(MARKER, ENVIRONMENT_KIND), payload);
}

/** A number, decimal or `0x` text as an integer. */
function integerOf(value: unknown, name: string): bigint {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  if (typeof value === "string" && /^([0-9]{1,78}|0x[0-9a-fA-F]{1,64})$/.test(value)) return BigInt(value);
  return malformed(`${name} is not an integer`);
}

function smallIntegerOf(value: unknown, name: string): number {
  const integer = integerOf(value, name);
  if (integer > BigInt(Number.MAX_SAFE_INTEGER)) malformed(`${name} is above 2^53 - 1`);
  return Number(integer);
}

function fixedBytesOf(value: unknown, name: string, length: number): Bytes {
  if (typeof value !== "string" || !/^0x[0-9a-fA-F]*$/.test(value) || value.length !== 2 + 2 * length) {
    malformed(`${name} is not ${length} bytes of 0x hex`);
  }
  return fromHex(value.slice(2));
}

function optional<T>(value: unknown, read: (present: unknown) => T): T | undefined {
  return value === undefined || value === null ? undefined : read(value);
}

function hardforkOf(value: unknown): HardforkName {
  if (typeof value !== "string" || !isHardfork(value)) malformed("hardfork is not the name of a hard fork");
  return value;
}

function fieldsOf(value: unknown, name: string): ReadonlyMap<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) malformed(`${name} is not an object`);
  return new Map(Object.entries(value));
}

/** Reads the JSON form of an environment; integers may be numbers, decimal or `0x` text. Throws `MalformedInput`. */
export function parseReplayEnvironment(value: unknown): ReplayEnvironment {
  const fields = fieldsOf(value, "environment");
  const hashes = [...fieldsOf(fields.get("blockHashes") ?? {}, "blockHashes")];
  if (hashes.length > REPLAY_BLOCK_HASHES_LIMIT) malformed("too many block hashes");
  return {
    hardfork: hardforkOf(fields.get("hardfork")),
    number: smallIntegerOf(fields.get("number"), "number"),
    timestamp: smallIntegerOf(fields.get("timestamp"), "timestamp"),
    coinbase: fixedBytesOf(fields.get("coinbase"), "coinbase", 20),
    gasLimit: smallIntegerOf(fields.get("gasLimit"), "gasLimit"),
    difficulty: integerOf(fields.get("difficulty") ?? 0, "difficulty"),
    prevRandao:
      optional(fields.get("prevRandao"), (hash) => fixedBytesOf(hash, "prevRandao", 32)) ?? new Uint8Array(32),
    baseFeePerGas: optional(fields.get("baseFeePerGas"), (fee) => integerOf(fee, "baseFeePerGas")),
    excessBlobGas: optional(fields.get("excessBlobGas"), (gas) => smallIntegerOf(gas, "excessBlobGas")),
    parentBeaconBlockRoot: optional(fields.get("parentBeaconBlockRoot"), (root) =>
      fixedBytesOf(root, "parentBeaconBlockRoot", 32),
    ),
    blockHashes: new Map(
      hashes.map(([number, hash]) => [smallIntegerOf(number, "block number"), fixedBytesOf(hash, "block hash", 32)]),
    ),
  };
}

function decodeJson(payload: Bytes): unknown {
  try {
    return JSON.parse(utf8Decode(payload));
  } catch {
    return malformed("environment is not JSON");
  }
}

function decodeRaw(raw: Bytes): ReplayTransaction {
  if (raw.length > REPLAY_BYTES_LIMIT)
    throw new CocoError("LimitExceeded", `replay: ${raw.length} bytes, ${REPLAY_BYTES_LIMIT} allowed`);
  const id = keccak256(raw);
  const payload = raw.subarray(2);
  if (raw[1] === STATE_KIND) return { type: "state", id, accounts: decodeAccounts(payload) };
  if (raw[1] !== ENVIRONMENT_KIND) return malformed("unknown kind");
  return {
    type: "environment",
    id,
    environment: payload.length === 0 ? undefined : parseReplayEnvironment(decodeJson(payload)),
  };
}

/** Prepares a replay transaction; undefined when `raw` is none. Throws `MalformedInput` or `LimitExceeded`. */
export function prepareReplay(raw: Bytes): PrepareResult | undefined {
  if (raw[0] !== MARKER) return undefined;
  const { id } = decodeRaw(raw);
  // Zeros stand where other bodies carry the sender; the marker after them cannot start an Ethereum transaction.
  return { type: "prepared", transaction: { id, body: concatBytes(new Uint8Array(SENDER_BYTES), raw) } };
}

/** Reads a prepared body; undefined when it is an Ethereum transaction. */
export function decodeReplay(body: Bytes): ReplayTransaction | undefined {
  return body[SENDER_BYTES] === MARKER ? decodeRaw(body.subarray(SENDER_BYTES)) : undefined;
}

/** The environment of the replay in progress; undefined when there is none. */
export function readReplayEnvironment(state: StateReader): BlockEnvironment | undefined {
  const stored = state.get(TABLES.meta, META_KEYS.replayEnvironment);
  return stored === undefined ? undefined : environmentOfReplay(parseReplayEnvironment(decodeJson(stored)));
}

/** The environment transactions run in during a replay. */
export function environmentOfReplay({ blockHashes, ...rest }: ReplayEnvironment): BlockEnvironment {
  return { ...rest, blockHash: (number) => blockHashes.get(number) };
}

/** Replaces the accounts in `state`. */
export function replaceAccounts(accounts: readonly ReplayAccount[], state: EvmState): void {
  for (const { address, reset, nonce, balance, code, storage } of accounts) {
    if (reset) state.clearStorage(address);
    state.setAccount(address, { nonce, balance, codeHash: undefined });
    state.setCode(address, code);
    for (const { slot, value } of storage) state.setStorage(address, slot, value);
  }
}
