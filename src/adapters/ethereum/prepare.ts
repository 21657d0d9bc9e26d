/**
 * Preparing a raw transaction for execution: decode it, recover its sender, and hand both on. Pure and without state,
 * run in parallel threads, so that the executing thread never checks a signature. Prepared body: sender (20 bytes) ‖ raw.
 */
import { type Bytes, concatBytes, utf8Encode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { PrepareFunction, PrepareResult } from "../adapter.ts";
import { prepareReplay } from "./replay.ts";
import { decodeTransaction, senderOf } from "./transactions.ts";
import type { RpcFault, SignedTransaction } from "./types.ts";

/** JSON-RPC code of a transaction that is refused by its form (go-ethereum's default code). */
export const INVALID_TRANSACTION_CODE = -32000;

/**
 * Largest raw transaction that is decoded. The rules of a chain allow less (go-ethereum's pool 128 KiB); blocks of the
 * public network, which a replay executes, hold larger ones.
 */
export const PREPARED_BYTES_MAX = 1024 * 1024;

const SENDER_BYTES = 20;

/** A fault as the bytes that travel in results: UTF-8 JSON. */
export function encodeFault(fault: RpcFault): Bytes {
  return utf8Encode(JSON.stringify(fault));
}

function prepareOne(raw: Bytes): PrepareResult {
  try {
    const replay = prepareReplay(raw);
    if (replay !== undefined) return replay;
    const transaction = decodeTransaction(raw, PREPARED_BYTES_MAX);
    return { type: "prepared", transaction: { id: transaction.hash, body: concatBytes(senderOf(transaction), raw) } };
  } catch (error) {
    if (!(error instanceof CocoError) || error.code === "Internal") throw error;
    return { type: "invalid", error: encodeFault({ code: INVALID_TRANSACTION_CODE, message: error.message }) };
  }
}

/** Prepares raw transactions; the id is the transaction hash, errors are {@link RpcFault} as JSON. */
export const prepare: PrepareFunction = (transactions) => transactions.map(prepareOne);

/** Reads what {@link prepare} made. The sender is believed: bodies come from mutually attested nodes only. */
export function decodePrepared(body: Bytes): SignedTransaction {
  if (body.length <= SENDER_BYTES) throw new CocoError("MalformedInput", "prepared transaction too short");
  // extends the object just made: copying its twenty fields would cost as much as decoding them
  return Object.assign(decodeTransaction(body.subarray(SENDER_BYTES), PREPARED_BYTES_MAX), {
    from: body.subarray(0, SENDER_BYTES),
  });
}
