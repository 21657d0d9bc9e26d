/**
 * Bytes of consensus messages, and the check that a message makes sense at all.
 *
 * One byte of type, then fixed-width big-endian fields in the order of the interfaces of types.ts. Entries carry no index:
 * it follows from `previousIndex`. Each message has exactly one encoding, and the decoder refuses every other byte string
 * with `MalformedInput` or `LimitExceeded`. Decoded entry data are views on the input.
 */
import { CocoError, invariant } from "../../errors.ts";
import { type Bytes, ByteReader, ByteWriter } from "../codec/bytes.ts";
import type { AppendRequest, AppendResponse, ConsensusMessage, LogEntry, VoteRequest, VoteResponse } from "./types.ts";

/** Largest encoded message in bytes: one largest batch and its frame. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/** Largest term or index in a message; half of the safe integers, so that the core's sums stay exact. */
export const MAX_NUMBER = 2 ** 52;

/**
 * A message this many terms ahead is ignored: no network gets there by elections while a node is away, and a single
 * message of a compromised node must not use up the terms there are.
 */
export const TERM_JUMP_MAX = 2 ** 20;

const TYPE = { append: 1, appendResponse: 2, vote: 3, voteResponse: 4 } as const;

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
      // A refusal names no match: its fields must not be mistaken for one.
      return message.success
        ? isNumber(message.matchIndex) && message.hintIndex === 0 && message.hintTerm === 0
        : message.matchIndex === 0 && isPosition(message.hintIndex, message.hintTerm);
    case "vote":
      return isPosition(message.lastIndex, message.lastTerm) && message.lastTerm <= message.term;
    case "voteResponse":
      return true;
  }
}

function isWellFormedAppend(message: AppendRequest): boolean {
  if (!isPosition(message.previousIndex, message.previousTerm) || !isNumber(message.commitIndex)) return false;
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
      writer.u64(message.previousIndex).u64(message.previousTerm).u64(message.commitIndex).u32(message.entries.length);
      for (const entry of message.entries) writer.u64(entry.term).bytes32(entry.data);
      break;
    case "appendResponse":
      writer
        .u8(message.success ? 1 : 0)
        .u64(message.matchIndex)
        .u64(message.hintIndex)
        .u64(message.hintTerm);
      break;
    case "vote":
      writer
        .u8(message.preVote ? 1 : 0)
        .u64(message.lastIndex)
        .u64(message.lastTerm);
      break;
    case "voteResponse":
      writer.u8(message.preVote ? 1 : 0).u8(message.granted ? 1 : 0);
      break;
  }
  return writer.finish();
}

/** Size of an encoded message, so that a large one is written into one buffer without growing it. */
function encodedBytes(message: ConsensusMessage): number {
  if (message.type !== "append") return 34;
  return message.entries.reduce((bytes, entry) => bytes + 12 + entry.data.length, 37);
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
      return readVoteResponse(reader, term);
    default:
      throw new CocoError("MalformedInput", `unknown consensus message type ${type}`);
  }
}

function readAppend(reader: ByteReader, term: number): AppendRequest {
  const previousIndex = reader.u64();
  const previousTerm = reader.u64();
  const commitIndex = reader.u64();
  const count = reader.u32();
  const entries: LogEntry[] = [];
  // The count is not trusted: each entry takes bytes of the input, so a wrong one fails at the end of the input.
  for (let at = 1; at <= count; at++)
    entries.push({ index: previousIndex + at, term: reader.u64(), data: reader.bytes32() });
  return { type: "append", term, previousIndex, previousTerm, commitIndex, entries };
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
  };
}

function readVote(reader: ByteReader, term: number): VoteRequest {
  const preVote = readFlag(reader);
  return { type: "vote", preVote, term, lastIndex: reader.u64(), lastTerm: reader.u64() };
}

function readVoteResponse(reader: ByteReader, term: number): VoteResponse {
  const preVote = readFlag(reader);
  return { type: "voteResponse", preVote, term, granted: readFlag(reader) };
}

function readFlag(reader: ByteReader): boolean {
  const value = reader.u8();
  if (value > 1) throw new CocoError("MalformedInput", `flag with value ${value}`);
  return value === 1;
}
