/**
 * Messages of a worker to the manager as bytes: one byte of kind, then the kind's fields (big-endian, core/codec/bytes). The
 * manager decodes them strictly, since a worker may be hostile; what they may say when is judged by manager/worker-guard.ts.
 */
import type { ClientResponse, DroppedTransaction } from "../../adapters/adapter.ts";
import { ByteReader, ByteWriter, type Bytes, EMPTY, utf8Encode } from "../../core/codec/bytes.ts";
import { MAX_TABLE_ID, type TableOptions } from "../../core/kv/types.ts";
import { CocoError } from "../../errors.ts";
import type { ExecutedTransaction, FromWorker, ItemOutcome } from "./protocol.ts";
import * as parts from "./wire-parts.ts";

type Message<T extends FromWorker["type"]> = Extract<FromWorker, { type: T }>;
type Answer = Message<"responses">["responses"][number];
type Submission = Message<"submit">["submissions"][number];

const KIND = {
  ready: 1,
  responses: 2,
  leader: 3,
  submit: 4,
  executed: 5,
  snapshotPart: 6,
  snapshotUnavailable: 7,
  nextPart: 8,
  imported: 9,
  pong: 10,
  unable: 11,
  log: 12,
  failed: 13,
} as const;

/** Largest answer of an adapter to a client; a larger one is answered with `LimitExceeded`, and a worker that sends it is ended. */
export const RESPONSE_BYTES_MAX = 24 * 1024 * 1024;
/** Most bytes of write sets and results of one executed batch on their way to the manager; no batch of the ledger holds more. */
export const EXECUTED_BYTES_MAX = 40 * 1024 * 1024;
/** Most waiting transactions one executed batch may drop; a worker that drops more is ended. */
export const DROPPED_MAX = 262_144;
/** Most tables of an adapter; a worker that names more is ended. */
export const ADAPTER_TABLES_MAX = 256;
const TABLE_NAME_LENGTH_MAX = 256;
const CONTENT_TYPE_LENGTH_MAX = 256;
const CLAIMS_DIGEST_BYTES = 32;

/** The messages a message is sent as: those whose lists may be long are cut, and what is too large by itself is left out. */
export function* messagesFromWorker(message: FromWorker): Generator<FromWorker> {
  if (message.type === "responses") {
    const answers = message.responses.map(boundedAnswer);
    for (const responses of parts.cutList(answers, ({ response }) => response.body.length))
      yield { type: "responses", responses };
  } else if (message.type === "submit") {
    const bytesOf = ({ items }: Submission) => items.reduce((sum, { body }) => sum + body.length, 0);
    for (const submissions of parts.cutList(message.submissions, bytesOf)) yield { type: "submit", submissions };
  } else if (message.type === "leader")
    for (const ids of parts.cutList(message.ids, () => 8)) yield { type: "leader", ids };
  else if (message.type === "executed") yield bounded(message);
  else if ("message" in message) yield { ...message, message: cutText(message.message) };
  else yield message;
}

function boundedAnswer(answer: Answer): Answer {
  if (answer.response.body.length <= RESPONSE_BYTES_MAX) return answer;
  const { code, message, remedy, status } = new CocoError("LimitExceeded", "the answer is too large");
  const body = utf8Encode(JSON.stringify({ error: { code, message, remedy } }));
  return { id: answer.id, response: { status, contentType: "application/json", body } };
}

function cutText(text: string): string {
  // A lone surrogate has no encoding.
  return text.slice(0, parts.WORKER_TEXT_LENGTH_MAX).replace(/\p{Surrogate}/gu, "?");
}

function bounded(message: Message<"executed">): Message<"executed"> {
  let bytes = 0;
  for (const { publicPart, privatePart } of message.transactions) bytes += publicPart.length + privatePart.length;
  for (const outcome of message.outcomes) if ("result" in outcome) bytes += outcome.result.length;
  if (bytes <= EXECUTED_BYTES_MAX) return message;
  const outcomes = message.outcomes.map(
    (outcome): ItemOutcome => ("result" in outcome ? { ...outcome, result: EMPTY } : outcome),
  );
  const transactions = message.transactions.map(({ id }) => ({
    ...{ id, publicPart: EMPTY, privatePart: EMPTY, claimsDigest: undefined },
  }));
  return { ...message, outcomes, transactions, tooLarge: true };
}

/** Bytes of a message. */
export function encodeFromWorker(message: FromWorker): Bytes {
  const writer = new ByteWriter(256).u8(KIND[message.type]);
  switch (message.type) {
    case "responses":
      writer.u32(message.responses.length);
      for (const { id, response } of message.responses)
        parts.writeText(writer.u64(id).u16(response.status), response.contentType).bytes32(response.body);
      break;
    case "leader":
      writer.u32(message.ids.length);
      for (const id of message.ids) writer.u64(id);
      break;
    case "submit":
      writer.u32(message.submissions.length);
      for (const { id, items } of message.submissions) parts.writeItems(writer.u64(id), items);
      break;
    case "executed":
      writeExecuted(writer, message);
      break;
    case "ready":
      writer.u32(message.tables.length);
      for (const { id, name } of message.tables) parts.writeText(writer.u16(id), name);
      break;
    case "snapshotPart":
      writer
        .u64(message.version)
        .u8(message.last ? 1 : 0)
        .bytes32(message.part);
      break;
    case "snapshotUnavailable":
    case "nextPart":
    case "imported":
      writer.u64(message.version);
      break;
    case "pong":
      writer.u64(message.id);
      break;
    case "unable":
    case "log":
    case "failed":
      parts.writeText(writer, message.message);
  }
  return writer.finish();
}

function writeExecuted(writer: ByteWriter, message: Message<"executed">): void {
  const { generation, more, tooLarge, outcomes, transactions, dropped } = message;
  writer
    .u64(generation)
    .u8(more ? 1 : 0)
    .u8(tooLarge === true ? 1 : 0);
  writer.u32(outcomes.length);
  for (const outcome of outcomes) parts.writeOutcome(writer, outcome);
  writer.u32(transactions.length);
  for (const { id, publicPart, privatePart, claimsDigest } of transactions) {
    writer.bytes16(id).bytes32(publicPart).bytes32(privatePart);
    if (claimsDigest === undefined) writer.u8(0);
    else writer.u8(1).bytes(claimsDigest);
  }
  writer.u32(dropped.length);
  for (const { id, error } of dropped) writer.bytes16(id).bytes32(error);
}

/** The message of these bytes; throws `MalformedInput` or `LimitExceeded`. */
export function decodeFromWorker(bytes: Bytes): FromWorker {
  const reader = new ByteReader(bytes);
  const message = read(reader.u8(), reader);
  reader.end();
  return message;
}

function read(kind: number, reader: ByteReader): FromWorker {
  switch (kind) {
    case KIND.responses:
      return { type: "responses", responses: parts.readList(reader, () => readAnswer(reader)) };
    case KIND.leader:
      return { type: "leader", ids: parts.readList(reader, () => reader.u64()) };
    case KIND.submit:
      return { type: "submit", submissions: parts.readList(reader, () => readSubmission(reader)) };
    case KIND.executed:
      return readExecuted(reader);
    case KIND.ready:
      return { type: "ready", tables: parts.readList(reader, () => readTable(reader), ADAPTER_TABLES_MAX) };
    case KIND.pong:
      return { type: "pong", id: reader.u64() };
    case KIND.unable:
      return { type: "unable", message: parts.readText(reader, parts.WORKER_TEXT_LENGTH_MAX) };
    case KIND.log:
      return { type: "log", message: parts.readText(reader, parts.WORKER_TEXT_LENGTH_MAX) };
    case KIND.failed:
      return { type: "failed", message: parts.readText(reader, parts.WORKER_TEXT_LENGTH_MAX) };
    default:
      return readSnapshotWord(kind, reader);
  }
}

function readSnapshotWord(kind: number, reader: ByteReader): FromWorker {
  const version = reader.u64();
  switch (kind) {
    case KIND.snapshotPart:
      return { type: "snapshotPart", version, last: parts.readFlag(reader), part: reader.bytes32() };
    case KIND.snapshotUnavailable:
      return { type: "snapshotUnavailable", version };
    case KIND.nextPart:
      return { type: "nextPart", version };
    case KIND.imported:
      return { type: "imported", version };
    default:
      throw new CocoError("MalformedInput", `unknown kind of message: ${kind}`);
  }
}

function readAnswer(reader: ByteReader): Answer {
  const id = reader.u64();
  const status = reader.u16();
  const contentType = parts.readText(reader, CONTENT_TYPE_LENGTH_MAX);
  const response: ClientResponse = { status, contentType, body: reader.bytes32(RESPONSE_BYTES_MAX) };
  return { id, response };
}

function readSubmission(reader: ByteReader): Submission {
  return { id: reader.u64(), items: parts.readItems(reader, parts.REQUEST_TRANSACTIONS_MAX) };
}

function readTable(reader: ByteReader): TableOptions {
  const id = reader.u16();
  if (id > MAX_TABLE_ID) throw new CocoError("LimitExceeded", `table id ${id}`);
  return { id, name: parts.readText(reader, TABLE_NAME_LENGTH_MAX) };
}

function readExecuted(reader: ByteReader): Message<"executed"> {
  const generation = reader.u64();
  const more = parts.readFlag(reader);
  const tooLarge = parts.readFlag(reader);
  const outcomes = parts.readList(reader, () => parts.readOutcome(reader));
  const transactions = parts.readList(reader, () => readTransaction(reader));
  const dropped = parts.readList(reader, () => readDropped(reader), DROPPED_MAX);
  const message: Message<"executed"> = { type: "executed", generation, outcomes, transactions, dropped, more };
  return tooLarge ? { ...message, tooLarge } : message;
}

function readTransaction(reader: ByteReader): ExecutedTransaction {
  const id = parts.readId(reader, true);
  const publicPart = reader.bytes32();
  const privatePart = reader.bytes32();
  const claimsDigest = parts.readFlag(reader) ? reader.bytes(CLAIMS_DIGEST_BYTES) : undefined;
  return { id, publicPart, privatePart, claimsDigest };
}

function readDropped(reader: ByteReader): DroppedTransaction {
  return { id: parts.readId(reader), error: reader.bytes32() };
}
