/**
 * Bytes of consensus messages, and the check that a message makes sense at all.
 *
 * One byte of type, then fixed-width big-endian fields in the order of the interfaces of types.ts. Entries carry no index:
 * it follows from `previousIndex`. Each message has exactly one encoding, and the decoder refuses every other byte string
 * with `MalformedInput` or `LimitExceeded`. Decoded entry data are views on the input.
 */
import { CocoError, invariant } from "../../errors.ts";
import { type Bytes, ByteReader, ByteWriter } from "../codec/bytes.ts";
import { isValidConfiguration, readConfiguration, writeConfiguration } from "./configuration.ts";
import type {
  AppendRequest,
  AppendResponse,
  Configuration,
  ConsensusMessage,
  LogEntry,
  SnapshotMark,
  SnapshotPart,
  VoteRequest,
} from "./types.ts";

/** Largest encoded message in bytes: one largest batch and its frame. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/** Largest term or index in a message; half of the safe integers, so that the core's sums stay exact. */
export const MAX_NUMBER = 2 ** 52;

/** Room for the fields of a snapshot part in a first buffer; a larger configuration lets it grow. */
const SNAPSHOT_FRAME_BYTES = 2048;

/**
 * A message this many terms ahead is ignored: no network gets there by elections while a node is away, and a single
 * message of a compromised node must not use up the terms there are.
 */
export const TERM_JUMP_MAX = 2 ** 20;

const TYPE = {
  append: 1,
  appendResponse: 2,
  vote: 3,
  voteResponse: 4,
  snapshotPart: 5,
  snapshotResponse: 6,
  timeoutNow: 7,
  restartQuery: 8,
  restartAnswer: 9,
} as const;

const isNumber = (value: number): boolean => Number.isSafeInteger(value) && value >= 0 && value <= MAX_NUMBER;

/** Whether an index and the term of its entry fit together: both 0 (before the log) or both positive. */
const isPosition = (index: number, term: number): boolean =>
  isNumber(index) && isNumber(term) && (index === 0) === (term === 0);

/** Whether the fields of a message can come from a correct node: numbers in range, entries consecutive, terms not falling. */
export function isWellFormed(message: ConsensusMessage): boolean {
  if (!isNumber(message.term) || message.term < 1) return false;
  switch (message.type) {
    case "append":
      return isWellFormedAppend(message);
    case "appendResponse":
      return isWellFormedAnswer(message);
    case "vote":
      // A transfer is decided already: there is nothing to ask beforehand.
      return isOwnPosition(message) && !(message.preVote && message.transfer);
    case "restartAnswer":
      return isOwnPosition(message);
    case "snapshotPart":
      return isWellFormedPart(message);
    case "snapshotResponse":
      return isNumber(message.index) && message.index >= 1 && isNumber(message.offset);
    case "voteResponse":
    case "timeoutNow":
    case "restartQuery":
      return true;
  }
}

/** A refusal names no match: its fields must not be mistaken for one. */
function isWellFormedAnswer(message: AppendResponse): boolean {
  if (!isNumber(message.round)) return false;
  return message.success
    ? isNumber(message.matchIndex) && message.hintIndex === 0 && message.hintTerm === 0
    : message.matchIndex === 0 && isPosition(message.hintIndex, message.hintTerm);
}

/** Nobody has entries of a term it has not reached. */
function isOwnPosition({ term, lastIndex, lastTerm }: { term: number; lastIndex: number; lastTerm: number }): boolean {
  return isPosition(lastIndex, lastTerm) && lastTerm <= term;
}

function isWellFormedPart({ term, snapshot, offset, data, last }: SnapshotPart): boolean {
  const { index, configuration, configurationIndex } = snapshot;
  if (!isPosition(index, snapshot.term) || index === 0 || snapshot.term > term) return false;
  if (!isNumber(configurationIndex) || configurationIndex > index || !isValidConfiguration(configuration)) return false;
  return isNumber(offset) && offset + data.length <= MAX_NUMBER && (data.length > 0 || last);
}

function isWellFormedAppend(message: AppendRequest): boolean {
  if (!isPosition(message.previousIndex, message.previousTerm) || !isNumber(message.commitIndex)) return false;
  if (!isNumber(message.round)) return false;
  let index = message.previousIndex;
  let term = Math.max(1, message.previousTerm);
  for (const entry of message.entries) {
    if (entry.index !== ++index || !isNumber(entry.term) || entry.term < term) return false;
    term = entry.term;
  }
  return term <= message.term && index <= MAX_NUMBER;
}

/** Encodes a well-formed message. */
export function encodeMessage(message: ConsensusMessage): Bytes {
  invariant(isWellFormed(message), "only well-formed messages are sent");
  const writer = new ByteWriter(encodedBytes(message)).u8(TYPE[message.type]).u64(message.term);
  switch (message.type) {
    case "append":
      writeAppend(writer, message);
      break;
    case "appendResponse":
      writeFlag(writer, message.success).u64(message.matchIndex).u64(message.hintIndex).u64(message.hintTerm);
      writeFlag(writer.u64(message.round), message.recovering);
      break;
    case "vote":
      writeFlag(writeFlag(writer, message.preVote), message.transfer).u64(message.lastIndex).u64(message.lastTerm);
      break;
    case "voteResponse":
      writeFlag(writeFlag(writer, message.preVote), message.granted);
      break;
    case "snapshotPart":
      writeMark(writer, message.snapshot);
      writeFlag(writer.u64(message.offset), message.last).bytes32(message.data);
      break;
    case "snapshotResponse":
      writeFlag(writer.u64(message.index).u64(message.offset), message.installed);
      break;
    case "restartAnswer":
      writeFlag(writer.u64(message.lastIndex).u64(message.lastTerm), message.recovering);
      break;
    case "timeoutNow":
    case "restartQuery":
      break;
  }
  return writer.finish();
}

function writeAppend(writer: ByteWriter, message: AppendRequest): void {
  const { previousIndex, previousTerm, commitIndex, round, entries } = message;
  writer.u64(previousIndex).u64(previousTerm).u64(commitIndex).u64(round).u32(entries.length);
  for (const entry of entries) writer.u64(entry.term).bytes32(entry.data);
}

function writeMark(writer: ByteWriter, mark: SnapshotMark): void {
  writer.u64(mark.index).u64(mark.term).u64(mark.configurationIndex);
  writeConfiguration(writer, mark.configuration);
}

function writeFlag(writer: ByteWriter, flag: boolean): ByteWriter {
  return writer.u8(flag ? 1 : 0);
}

/** Size of an encoded message, so that a large one is written into one buffer without growing it. */
function encodedBytes(message: ConsensusMessage): number {
  if (message.type === "snapshotPart") return message.data.length + SNAPSHOT_FRAME_BYTES;
  if (message.type !== "append") return 43;
  return message.entries.reduce((bytes, entry) => bytes + 12 + entry.data.length, 45);
}

/** Decodes a message of at most `maxBytes`; throws `MalformedInput` or `LimitExceeded`. */
export function decodeMessage(bytes: Bytes, maxBytes = MAX_MESSAGE_BYTES): ConsensusMessage {
  if (bytes.length > maxBytes)
    throw new CocoError("LimitExceeded", `consensus message of ${bytes.length} bytes, ${maxBytes} allowed`);
  const reader = new ByteReader(bytes);
  const message = readMessage(reader);
  reader.end();
  if (!isWellFormed(message))
    throw new CocoError("MalformedInput", `${message.type} message that no correct node sends`);
  return message;
}

function readMessage(reader: ByteReader): ConsensusMessage {
  const type = reader.u8();
  const term = reader.u64();
  switch (type) {
    case TYPE.append:
      return readAppend(reader, term);
    case TYPE.appendResponse:
      return readAppendResponse(reader, term);
    case TYPE.vote:
      return readVote(reader, term);
    case TYPE.voteResponse:
      return { type: "voteResponse", preVote: readFlag(reader), term, granted: readFlag(reader) };
    case TYPE.snapshotPart:
      return readSnapshotPart(reader, term);
    case TYPE.snapshotResponse:
      return {
        type: "snapshotResponse",
        term,
        index: reader.u64(),
        offset: reader.u64(),
        installed: readFlag(reader),
      };
    case TYPE.timeoutNow:
      return { type: "timeoutNow", term };
    case TYPE.restartQuery:
      return { type: "restartQuery", term };
    case TYPE.restartAnswer:
      return {
        type: "restartAnswer",
        term,
        lastIndex: reader.u64(),
        lastTerm: reader.u64(),
        recovering: readFlag(reader),
      };
    default:
      throw new CocoError("MalformedInput", `unknown consensus message type ${type}`);
  }
}

function readAppend(reader: ByteReader, term: number): AppendRequest {
  const previousIndex = reader.u64();
  const previousTerm = reader.u64();
  const commitIndex = reader.u64();
  const round = reader.u64();
  const count = reader.u32();
  const entries: LogEntry[] = [];
  // The count is not trusted: each entry takes bytes of the input, so a wrong one fails at the end of the input.
  for (let at = 1; at <= count; at++)
    entries.push({ index: previousIndex + at, term: reader.u64(), data: reader.bytes32() });
  return { type: "append", term, previousIndex, previousTerm, commitIndex, round, entries };
}

function readAppendResponse(reader: ByteReader, term: number): AppendResponse {
  const success = readFlag(reader);
  return {
    type: "appendResponse",
    term,
    success,
    matchIndex: reader.u64(),
    hintIndex: reader.u64(),
    hintTerm: reader.u64(),
    round: reader.u64(),
    recovering: readFlag(reader),
  };
}

function readVote(reader: ByteReader, term: number): VoteRequest {
  const preVote = readFlag(reader);
  const transfer = readFlag(reader);
  return { type: "vote", preVote, transfer, term, lastIndex: reader.u64(), lastTerm: reader.u64() };
}

function readSnapshotPart(reader: ByteReader, term: number): SnapshotPart {
  const index = reader.u64();
  const markTerm = reader.u64();
  const configurationIndex = reader.u64();
  const snapshot = { index, term: markTerm, configurationIndex, configuration: readConfigurationOfMessage(reader) };
  const offset = reader.u64();
  const last = readFlag(reader);
  return { type: "snapshotPart", term, snapshot, offset, last, data: reader.bytes32() };
}

function readConfigurationOfMessage(reader: ByteReader): Configuration {
  try {
    return readConfiguration(reader);
  } catch (error) {
    if (!(error instanceof CocoError) || error.code !== "ConfigurationInvalid") throw error;
    throw new CocoError("MalformedInput", "configuration that no correct node sends", {}, { cause: error });
  }
}

function readFlag(reader: ByteReader): boolean {
  const value = reader.u8();
  if (value > 1) throw new CocoError("MalformedInput", `flag with value ${value}`);
  return value === 1;
}
