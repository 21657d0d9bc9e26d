/**
 * Messages of the manager to a worker as bytes: one byte of kind, then the kind's fields (big-endian, core/codec/bytes).
 * Decoded strictly: unknown kinds, lengths out of bounds and trailing bytes are errors.
 */
import type { Caller } from "../../adapters/adapter.ts";
import { ByteReader, ByteWriter, type Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { ItemOutcome, ToWorker } from "./protocol.ts";
import * as parts from "./wire-parts.ts";

type Message<T extends ToWorker["type"]> = Extract<ToWorker, { type: T }>;
type Request = Message<"requests">["requests"][number];
type Outcomes = Message<"outcomes">["requests"][number];

const KIND = {
  requests: 1,
  outcomes: 2,
  forget: 3,
  genesis: 4,
  execute: 5,
  apply: 6,
  commit: 7,
  ping: 8,
  rollback: 9,
  configure: 10,
  exportSnapshot: 11,
  nextPart: 12,
  importSnapshot: 13,
} as const;

const RANDOMNESS_BYTES = 32;
const PATH_LENGTH_MAX = 64 * 1024;
const CALLER_LENGTH_MAX = 64;
/** Longest options of an adapter as JSON, in characters; the constitution is smaller. */
export const ADAPTER_OPTIONS_LENGTH_MAX = 16 * 1024 * 1024;
const NO_VERSION = 0;
/** A batch has at most one end-of-batch transaction and two parts for each. */
const PARTS_MAX = 2 * (parts.WORKER_MESSAGE_ITEMS_MAX + 1);

function outcomeBytes(outcome: ItemOutcome): number {
  if ("result" in outcome) return outcome.result.length;
  return "error" in outcome ? outcome.error.length : 0;
}

/** The messages a message is sent as: those whose lists may be long are cut. */
export function* messagesToWorker(message: ToWorker): Generator<ToWorker> {
  if (message.type === "requests")
    for (const requests of parts.cutList(message.requests, ({ body }) => body.length)) yield { ...message, requests };
  else if (message.type === "outcomes") {
    const bytesOf = ({ outcomes }: Outcomes) => outcomes.reduce((sum, outcome) => sum + outcomeBytes(outcome), 0);
    for (const requests of parts.cutList(message.requests, bytesOf)) yield { ...message, requests };
  } else if (message.type === "forget")
    for (const ids of parts.cutList(message.ids, () => 8)) yield { type: "forget", ids };
  else yield message;
}

/** Bytes of a message. */
export function encodeToWorker(message: ToWorker): Bytes {
  const writer = new ByteWriter(256).u8(KIND[message.type]);
  switch (message.type) {
    case "requests":
      writer.u8(message.leading ? 1 : 0).u32(message.requests.length);
      for (const request of message.requests) writeRequest(writer, request);
      break;
    case "outcomes":
      writer.u32(message.requests.length);
      for (const { id, outcomes } of message.requests) {
        writer.u64(id).u32(outcomes.length);
        for (const outcome of outcomes) parts.writeOutcome(writer, outcome);
      }
      break;
    case "forget":
      writer.u32(message.ids.length);
      for (const id of message.ids) writer.u64(id);
      break;
    case "commit":
      writer.u32(message.batches.length);
      for (const { version, view, firstSeqno, count } of message.batches)
        writer.u64(version).u64(view).u64(firstSeqno).u32(count);
      break;
    default:
      encodeOther(writer, message);
  }
  return writer.finish();
}

function writeRequest(writer: ByteWriter, { id, path, body, caller, minVersion = NO_VERSION }: Request): void {
  parts.writeText(writer.u64(id).u64(minVersion), path).bytes32(body);
  parts.writeText(parts.writeText(writer, caller.actor), caller.certificate);
}

function encodeOther(
  writer: ByteWriter,
  message: Exclude<ToWorker, Message<"requests" | "outcomes" | "forget" | "commit">>,
): void {
  switch (message.type) {
    case "genesis":
      writer.u64(message.generation).u64(message.timeMs).bytes(message.randomness);
      return;
    case "execute":
      writer.u64(message.generation).u64(message.timeMs).bytes(message.randomness);
      parts.writeItems(writer, message.items);
      return;
    case "apply":
      writer.u64(message.generation).u32(message.parts.length);
      for (const part of message.parts) writer.bytes32(part);
      return;
    case "ping":
      writer.u64(message.id);
      return;
    case "rollback":
      writer.u64(message.version).u64(message.generation);
      return;
    case "configure":
      parts.writeText(writer, JSON.stringify(message.options));
      return;
    case "exportSnapshot":
      writer.u64(message.version).u32(message.maxBytes);
      return;
    case "nextPart":
      writer.u64(message.version);
      return;
    case "importSnapshot":
      writer
        .u64(message.version)
        .u8(message.first ? 1 : 0)
        .u8(message.last ? 1 : 0)
        .bytes32(message.part);
  }
}

/** The message of these bytes; throws `MalformedInput` or `LimitExceeded`. */
export function decodeToWorker(bytes: Bytes): ToWorker {
  const reader = new ByteReader(bytes);
  const message = read(reader.u8(), reader);
  reader.end();
  return message;
}

function read(kind: number, reader: ByteReader): ToWorker {
  switch (kind) {
    case KIND.requests:
      return {
        type: "requests",
        leading: parts.readFlag(reader),
        requests: parts.readList(reader, () => readRequest(reader)),
      };
    case KIND.outcomes:
      return { type: "outcomes", requests: parts.readList(reader, () => readOutcomes(reader)) };
    case KIND.forget:
      return { type: "forget", ids: parts.readList(reader, () => reader.u64()) };
    case KIND.genesis:
      return { type: "genesis", ...readBatchContext(reader) };
    case KIND.execute:
      return { type: "execute", ...readBatchContext(reader), items: parts.readItems(reader) };
    case KIND.apply:
      return {
        type: "apply",
        generation: reader.u64(),
        parts: parts.readList(reader, () => reader.bytes32(), PARTS_MAX),
      };
    case KIND.commit:
      return { type: "commit", batches: parts.readList(reader, () => readPlace(reader)) };
    case KIND.ping:
      return { type: "ping", id: reader.u64() };
    default:
      return readRare(kind, reader);
  }
}

function readRare(kind: number, reader: ByteReader): ToWorker {
  switch (kind) {
    case KIND.rollback:
      return { type: "rollback", version: reader.u64(), generation: reader.u64() };
    case KIND.configure:
      return { type: "configure", options: readOptions(reader) };
    case KIND.exportSnapshot:
      return { type: "exportSnapshot", version: reader.u64(), maxBytes: reader.u32() };
    case KIND.nextPart:
      return { type: "nextPart", version: reader.u64() };
    case KIND.importSnapshot: {
      const version = reader.u64();
      const [first, last] = [parts.readFlag(reader), parts.readFlag(reader)];
      return { type: "importSnapshot", version, first, last, part: reader.bytes32() };
    }
    default:
      throw new CocoError("MalformedInput", `unknown kind of message: ${kind}`);
  }
}

function readRequest(reader: ByteReader): Request {
  const id = reader.u64();
  const minVersion = reader.u64();
  const path = parts.readText(reader, PATH_LENGTH_MAX);
  const body = reader.bytes32();
  const request = { id, path, body, caller: readCaller(reader) };
  return minVersion === NO_VERSION ? request : { ...request, minVersion };
}

function readCaller(reader: ByteReader): Caller {
  return { actor: parts.readText(reader, CALLER_LENGTH_MAX), certificate: parts.readText(reader, CALLER_LENGTH_MAX) };
}

function readOutcomes(reader: ByteReader): Outcomes {
  return { id: reader.u64(), outcomes: parts.readList(reader, () => parts.readOutcome(reader)) };
}

function readBatchContext(reader: ByteReader) {
  return { generation: reader.u64(), timeMs: reader.u64(), randomness: reader.bytes(RANDOMNESS_BYTES) };
}

function readPlace(reader: ByteReader): Message<"commit">["batches"][number] {
  return { version: reader.u64(), view: reader.u64(), firstSeqno: reader.u64(), count: reader.u32() };
}

/** Options of an adapter out of their JSON. */
export function readOptions(reader: ByteReader): unknown {
  try {
    return JSON.parse(parts.readText(reader, ADAPTER_OPTIONS_LENGTH_MAX));
  } catch (error) {
    if (error instanceof CocoError) throw error;
    throw new CocoError("MalformedInput", "options of an adapter are not JSON");
  }
}
