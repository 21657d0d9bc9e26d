/**
 * Methods that put transactions into the ledger: signed ones, and on replay networks the two that set the scene for
 * recorded transactions. Source: execution-apis `src/eth/submit.yaml`.
 */
import { type Bytes, EMPTY } from "../../../core/codec/bytes.ts";
import { CocoError } from "../../../errors.ts";
import { transactionLocation } from "../chain.ts";
import { keccak256 } from "../keccak.ts";
import { encodeReplayEnvironment, encodeReplayState, parseReplayEnvironment, type ReplayAccount } from "../replay.ts";
import { trimWord } from "./call-arguments.ts";
import { Parameters, toArray, toBoolean, toData, toFixed, toObject, toQuantity } from "./decode.ts";
import { data } from "./encode.ts";
import { invalidParameters, serverError } from "./fault.ts";
import type { MethodTable, Submission } from "./method.ts";

/** Largest raw transaction that is looked at; the rules of the chain allow less and say so. */
export const MAX_RAW_TRANSACTION_BYTES = 1 << 20;
/** Most accounts of one `coco_replaySetState`. */
export const MAX_REPLAY_ACCOUNTS = 10_000;

/** Made once: an error costs a stack trace, and every submission names this one. */
const ALREADY_KNOWN = serverError("already known");

function submission(transaction: Bytes): Submission {
  const hash = keccak256(transaction);
  return {
    type: "submission",
    transaction,
    refusal: ({ committed }) => (transactionLocation(committed, hash) === undefined ? undefined : ALREADY_KNOWN),
    result: (result) => data(result),
    remedy: `ask for the receipt of ${data(hash)} before sending again`,
    duplicate: ALREADY_KNOWN,
  };
}

/** Sending signed transactions. */
export const SUBMIT_METHODS: MethodTable = {
  eth_sendRawTransaction: (values) => {
    const raw = new Parameters(values, 1).required(0, (value) => toData(value));
    if (raw.length === 0) throw serverError("typed transaction too short");
    if (raw.length > MAX_RAW_TRANSACTION_BYTES) {
      throw serverError(`oversized data: transaction size ${raw.length}, limit ${MAX_RAW_TRANSACTION_BYTES}`);
    }
    // No Ethereum transaction starts with this byte; replay transactions have methods of their own.
    if (raw[0] === 0xff) throw serverError("transaction type not supported");
    return submission(raw);
  },
};

/** Setting state and environment of a replay; only for networks whose constitution allows replay. */
export const REPLAY_METHODS: MethodTable = {
  coco_replaySetState: (values) => {
    const accounts = new Parameters(values, 1).required(0, toReplayAccounts);
    return replaySubmission(encodeReplayState(accounts));
  },
  coco_replaySetEnvironment: (values) => {
    // null ends the replay.
    const environment = new Parameters(values, 1).optional(0, toReplayEnvironment);
    return replaySubmission(encodeReplayEnvironment(environment));
  },
};

function replaySubmission(transaction: Bytes): Submission {
  return {
    type: "submission",
    transaction,
    refusal: () => undefined,
    result: () => true,
    remedy: "set it again, which does no harm",
    duplicate: undefined,
  };
}

function toReplayEnvironment(value: unknown) {
  try {
    return parseReplayEnvironment(value);
  } catch (error) {
    if (error instanceof CocoError) throw invalidParameters(`invalid argument 0: ${error.message}`);
    throw error;
  }
}

/** Accounts as an array of `{address, reset?, nonce?, balance?, code?, storage?: {slot: value}}`. */
function toReplayAccounts(value: unknown): readonly ReplayAccount[] {
  const accounts = toArray(value, "[]replay.Account");
  if (accounts.length > MAX_REPLAY_ACCOUNTS)
    throw invalidParameters(`too many accounts, want at most ${MAX_REPLAY_ACCOUNTS}`);
  return accounts.map(toReplayAccount);
}

function toReplayAccount(value: unknown): ReplayAccount {
  const fields = toObject(value, "replay.Account");
  const optional = <T>(name: string, decode: (field: unknown) => T, absent: T): T => {
    const field = fields.get(name);
    return field === undefined || field === null ? absent : decode(field);
  };
  const nonce = optional("nonce", (field) => toQuantity(field, 64), 0n);
  if (nonce > BigInt(Number.MAX_SAFE_INTEGER)) throw invalidParameters("invalid argument 0: nonce above 2^53 - 1");
  return {
    address: toFixed(fields.get("address"), 20),
    reset: optional("reset", (field) => toBoolean(field), true),
    nonce: Number(nonce),
    balance: optional("balance", (field) => toQuantity(field, 256), 0n),
    code: optional("code", (field) => toData(field), EMPTY),
    storage: optional("storage", toReplayStorage, []),
  };
}

function toReplayStorage(value: unknown): ReplayAccount["storage"] {
  return [...toObject(value, "map[common.Hash]common.Hash")].map(([slot, word]) => {
    return { slot: toFixed(slot, 32), value: trimWord(toFixed(word, 32)) };
  });
}
