/** What messages of both directions between manager and worker are made of, and their bounds. */
import { type Bytes, type ByteReader, type ByteWriter, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { TRANSACTION_REFUSALS } from "../../core/governance/rights.ts";
import { MAX_BATCH_TRANSACTIONS, MAX_REQUEST_ID_LENGTH } from "../../core/ledger/batch-format.ts";
import { CocoError } from "../../errors.ts";
import type { ItemOutcome, TransactionItem } from "./protocol.ts";

/** Most bytes of one message between manager and worker; a worker that sends more is ended. */
export const WORKER_MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes after which requests, outcomes and answers go on in a message of their own. */
export const WORKER_MESSAGE_CUT_BYTES = 4 * 1024 * 1024;
/** Most requests, transactions, outcomes or answers in one message of a worker; one that sends more is ended. */
export const WORKER_MESSAGE_ITEMS_MAX = 20_000;
/** Most transactions one client request may become; a worker that submits more is ended. */
export const REQUEST_TRANSACTIONS_MAX = MAX_BATCH_TRANSACTIONS;
/** Longest text of a worker (a log line, why it failed) in characters; more is cut off before it is sent. */
export const WORKER_TEXT_LENGTH_MAX = 2_000;

/** Numbers of outcomes, to workers as between nodes. */
export const OUTCOME = {
  included: 1,
  rejected: 2,
  waiting: 3,
  duplicate: 4,
  deferred: 5,
  unavailable: 6,
  refused: 7,
} as const;
const CODE_LENGTH_MAX = 64;

/** A list's length, bounded before anything of it is read. */
export function readCount(reader: ByteReader, limit: number = WORKER_MESSAGE_ITEMS_MAX): number {
  const count = reader.u32();
  if (count > limit) throw new CocoError("LimitExceeded", `${count} items in one message, ${limit} allowed`);
  return count;
}

/** A list of a bounded number of items. */
export function readList<T>(reader: ByteReader, read: () => T, limit: number = WORKER_MESSAGE_ITEMS_MAX): T[] {
  const list: T[] = [];
  for (let left = readCount(reader, limit); left > 0; left--) list.push(read());
  return list;
}

/** A flag of one byte; anything but 0 and 1 is an error. */
export function readFlag(reader: ByteReader): boolean {
  const value = reader.u8();
  if (value > 1) throw new CocoError("MalformedInput", "a flag is 0 or 1");
  return value === 1;
}

/** UTF-8 text of bounded length. */
export function readText(reader: ByteReader, limit: number): string {
  const text = utf8Decode(reader.bytes32(limit * 3));
  if (text.length > limit) throw new CocoError("LimitExceeded", `text of ${text.length} characters, ${limit} allowed`);
  return text;
}

/** Writes text for {@link readText}. */
export function writeText(writer: ByteWriter, text: string): ByteWriter {
  return writer.bytes32(utf8Encode(text));
}

/** The id of a transaction, which may be empty where `isOptional`. */
export function readId(reader: ByteReader, isOptional = false): Bytes {
  const id = reader.bytes16();
  if (id.length > MAX_REQUEST_ID_LENGTH || (id.length === 0 && !isOptional))
    throw new CocoError("LimitExceeded", `transaction id of ${id.length} bytes`);
  return id;
}

/** Writes prepared transactions. */
export function writeItems(writer: ByteWriter, items: readonly TransactionItem[]): ByteWriter {
  writer.u32(items.length);
  for (const { id, body } of items) writer.bytes16(id).bytes32(body);
  return writer;
}

/** Reads prepared transactions. */
export function readItems(reader: ByteReader, limit?: number): TransactionItem[] {
  return readList(reader, () => ({ id: readId(reader), body: reader.bytes32() }), limit);
}

/** Writes what became of a transaction. */
export function writeOutcome(writer: ByteWriter, outcome: ItemOutcome): void {
  writer.u8(OUTCOME[outcome.type]);
  switch (outcome.type) {
    case "included":
      writer.u32(outcome.position).bytes32(outcome.result);
      return;
    case "rejected":
      writer.bytes32(outcome.error);
      return;
    case "unavailable":
    case "refused":
      writeText(writer, outcome.code);
      return;
    case "deferred":
      return;
    default:
      writer.bytes32(outcome.result);
  }
}

/** Reads what became of a transaction. */
export function readOutcome(reader: ByteReader): ItemOutcome {
  const kind = reader.u8();
  switch (kind) {
    case OUTCOME.included:
      return { type: "included", position: reader.u32(), result: reader.bytes32() };
    case OUTCOME.rejected:
      return { type: "rejected", error: reader.bytes32() };
    case OUTCOME.waiting:
      return { type: "waiting", result: reader.bytes32() };
    case OUTCOME.duplicate:
      return { type: "duplicate", result: reader.bytes32() };
    case OUTCOME.deferred:
      return { type: "deferred" };
    case OUTCOME.unavailable:
      return { type: "unavailable", code: readText(reader, CODE_LENGTH_MAX) };
    case OUTCOME.refused: {
      const name = readText(reader, CODE_LENGTH_MAX);
      const code = TRANSACTION_REFUSALS.find((known) => known === name);
      if (code === undefined) throw new CocoError("MalformedInput", "unknown refusal of a transaction");
      return { type: "refused", code };
    }
    default:
      throw new CocoError("MalformedInput", `unknown kind of outcome: ${kind}`);
  }
}

/** Cuts a list where its items' bytes exceed {@link WORKER_MESSAGE_CUT_BYTES} or their number the bound of a message. */
export function* cutList<T>(list: readonly T[], bytesOf: (item: T) => number): Generator<readonly T[]> {
  let first = 0;
  let bytes = 0;
  for (let at = 0; at < list.length; at++) {
    const own = bytesOf(list[at] as T);
    if (at > first && (bytes + own > WORKER_MESSAGE_CUT_BYTES || at - first >= WORKER_MESSAGE_ITEMS_MAX)) {
      yield list.slice(first, at);
      first = at;
      bytes = 0;
    }
    bytes += own;
  }
  if (first < list.length) yield first === 0 ? list : list.slice(first);
}
