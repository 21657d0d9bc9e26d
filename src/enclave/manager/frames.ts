/**
 * Frames between validating nodes: one byte of kind, then the kind's fields (big-endian, as core/codec/bytes). They travel
 * over attested channels only, and are decoded strictly all the same: a listed node may be compromised.
 */
import type { Caller, ClientResponse } from "../../adapters/adapter.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { ByteReader, ByteWriter, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { decodeMessage, encodeMessage } from "../../core/consensus/messages.ts";
import type { ConsensusMessage } from "../../core/consensus/types.ts";
import { MAX_ATTESTED_EVIDENCE_BYTES } from "../../core/governance/attest.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { MAX_REQUEST_ID_LENGTH } from "../../core/ledger/batch-format.ts";
import { TRANSACTION_REFUSALS } from "../../core/governance/rights.ts";
import { CocoError } from "../../errors.ts";
import type { ItemOutcome } from "../worker/protocol.ts";
import { OUTCOME } from "../worker/wire-parts.ts";
import type { SentItem } from "./transaction-queue.ts";
import { readSignedMessage, readRefusal, writeSignedMessage, writeRefusal } from "./governance-frames.ts";

/** Most bytes in one frame; a channel that announces more is closed. */
export const MAX_FRAME_BYTES = 32 * 1024 * 1024;
/** Most transactions or outcomes in one frame. */
export const MAX_FRAME_ITEMS = 20_000;

/** Most bytes of transactions or outcomes in one frame. */
export const FORWARD_FRAME_BYTES = 4 * 1024 * 1024;

/** Longest id of an actor, and longest fingerprint of a certificate, in a frame. */
const CALLER_LENGTH_MAX = 64;

/** What became of a forwarded transaction, by its id. */
export interface ForwardedOutcome {
  readonly id: Bytes;
  readonly outcome: ItemOutcome;
  /** The batch that includes it; for a duplicate the newest batch of the state it was judged by; 0 otherwise. */
  readonly index: number;
}

/** A frame between two validating nodes. */
export type Frame =
  | { readonly type: "consensus"; readonly message: ConsensusMessage }
  /** Prepared transactions for the leader, with who sent them to the node that forwards. */
  | { readonly type: "forward"; readonly adapter: number; readonly items: readonly SentItem[] }
  /** What the leader made of forwarded transactions. */
  | { readonly type: "outcomes"; readonly adapter: number; readonly outcomes: readonly ForwardedOutcome[] }
  /** A client request only the leader can answer. */
  | {
      readonly type: "query";
      readonly id: number;
      readonly path: string;
      readonly body: Bytes;
      readonly caller: Caller;
    }
  | { readonly type: "queryResponse"; readonly id: number; readonly response: ClientResponse }
  /** Asks the leader up to which index a linearizable read must have applied. */
  | { readonly type: "readIndex"; readonly id: number }
  /** `index` undefined: the asked node does not lead. */
  | { readonly type: "readIndexResponse"; readonly id: number; readonly index: number | undefined }
  /** Evidence of the sender for the ledger; only the leader takes it. */
  | { readonly type: "attest"; readonly challenge: Bytes; readonly evidence: Bytes }
  /** The leader tells a quarantined node what its evidence is to be for: it may not be able to read as far. */
  | { readonly type: "challenge"; readonly challenge: Bytes }
  /** A member's signed request for the leader. */
  | ({ readonly type: "govern" } & SignedMessage)
  /** The leader refuses a member's request, named by its key; that it holds is seen in the ledger. */
  | { readonly type: "governRefused"; readonly key: string; readonly error: CocoError };

const KIND = {
  consensus: 1,
  forward: 2,
  outcomes: 3,
  query: 4,
  queryResponse: 5,
  readIndex: 6,
  readIndexResponse: 7,
  govern: 8,
  governRefused: 9,
  attest: 10,
  challenge: 11,
} as const;
const CHALLENGE_BYTES = 32;

/** Bytes of a frame. */
export function encodeFrame(frame: Frame): Bytes {
  const writer = new ByteWriter().u8(KIND[frame.type]);
  switch (frame.type) {
    case "consensus":
      return writer.bytes(encodeMessage(frame.message)).finish();
    case "forward":
      return writeForwarded(writer.u16(frame.adapter), frame.items).finish();
    case "outcomes":
      writer.u16(frame.adapter).u32(frame.outcomes.length);
      for (const entry of frame.outcomes) writeOutcome(writer.bytes16(entry.id).u64(entry.index), entry.outcome);
      return writer.finish();
    case "query":
      writer.u64(frame.id).bytes16(utf8Encode(frame.path)).bytes32(frame.body);
      return writeCaller(writer, frame.caller).finish();
    case "queryResponse":
      writer.u64(frame.id).u16(frame.response.status).bytes16(utf8Encode(frame.response.contentType));
      return writer.bytes32(frame.response.body).finish();
    case "readIndex":
      return writer.u64(frame.id).finish();
    case "readIndexResponse":
      // 0 is no index of a batch.
      return writer
        .u64(frame.id)
        .u64(frame.index ?? 0)
        .finish();
    case "attest":
      return writer.bytes(frame.challenge).bytes32(frame.evidence).finish();
    case "challenge":
      return writer.bytes(frame.challenge).finish();
    case "govern":
      return writeSignedMessage(writer, frame).finish();
    case "governRefused":
      return writeRefusal(writer, frame).finish();
  }
}

function writeCaller(writer: ByteWriter, { actor, certificate }: Caller): ByteWriter {
  return writer.bytes16(utf8Encode(actor)).bytes16(utf8Encode(certificate));
}

/** Each sender stands in the frame once, though its transactions are many. */
function writeForwarded(writer: ByteWriter, items: readonly SentItem[]): ByteWriter {
  const senders = new Map<Caller, number>();
  for (const { sender } of items) if (!senders.has(sender)) senders.set(sender, senders.size);
  writer.u16(senders.size);
  for (const sender of senders.keys()) writeCaller(writer, sender);
  writer.u32(items.length);
  for (const { item, sender } of items) {
    writer
      .u16(senders.get(sender) ?? 0)
      .bytes16(item.id)
      .bytes32(item.body);
  }
  return writer;
}

function writeOutcome(writer: ByteWriter, outcome: ItemOutcome): void {
  writer.u8(OUTCOME[outcome.type]);
  if (outcome.type === "rejected") writer.bytes32(outcome.error);
  else if (outcome.type === "unavailable" || outcome.type === "refused") writer.bytes32(utf8Encode(outcome.code));
  else if (outcome.type !== "deferred") writer.bytes32(outcome.result);
}

/** Decodes a frame strictly. */
export function decodeFrame(bytes: Bytes): Frame {
  const reader = new ByteReader(bytes);
  const kind = reader.u8();
  if (kind === KIND.consensus) return { type: "consensus", message: decodeMessage(reader.rest()) };
  const frame = readBody(kind, reader);
  reader.end();
  return frame;
}

function readBody(kind: number, reader: ByteReader): Frame {
  switch (kind) {
    case KIND.forward:
      return {
        type: "forward",
        adapter: reader.u16(),
        items: readForwarded(reader),
      };
    case KIND.outcomes:
      return {
        type: "outcomes",
        adapter: reader.u16(),
        outcomes: readItems(reader, () => readForwardedOutcome(reader)),
      };
    case KIND.query:
      return {
        type: "query",
        id: reader.u64(),
        path: utf8Decode(reader.bytes16()),
        body: reader.bytes32(),
        caller: readCaller(reader),
      };
    case KIND.queryResponse:
      return {
        type: "queryResponse",
        id: reader.u64(),
        response: { status: reader.u16(), contentType: utf8Decode(reader.bytes16()), body: reader.bytes32() },
      };
    case KIND.readIndex:
      return { type: "readIndex", id: reader.u64() };
    case KIND.readIndexResponse: {
      const id = reader.u64();
      const index = reader.u64();
      return { type: "readIndexResponse", id, index: index === 0 ? undefined : index };
    }
    case KIND.attest:
      return { type: "attest", challenge: reader.bytes(CHALLENGE_BYTES), evidence: readEvidence(reader) };
    case KIND.challenge:
      return { type: "challenge", challenge: reader.bytes(CHALLENGE_BYTES) };
    case KIND.govern:
      return { type: "govern", ...readSignedMessage(reader) };
    case KIND.governRefused:
      return { type: "governRefused", ...readRefusal(reader) };
    default:
      throw new CocoError("MalformedInput", `unknown kind of frame: ${kind}`);
  }
}

function readEvidence(reader: ByteReader): Bytes {
  const evidence = reader.bytes32();
  if (evidence.length > MAX_ATTESTED_EVIDENCE_BYTES)
    throw new CocoError("LimitExceeded", `evidence of ${evidence.length} bytes`);
  return evidence;
}

function readItems<T>(reader: ByteReader, read: () => T): T[] {
  const count = reader.u32();
  if (count > MAX_FRAME_ITEMS) throw new CocoError("LimitExceeded", `${count} items in one frame`);
  const items: T[] = [];
  for (let left = count; left > 0; left--) items.push(read());
  return items;
}

function readCaller(reader: ByteReader): Caller {
  const actor = utf8Decode(reader.bytes16());
  const certificate = utf8Decode(reader.bytes16());
  if (Math.max(actor.length, certificate.length) > CALLER_LENGTH_MAX)
    throw new CocoError("LimitExceeded", "name of a caller is too long");
  return { actor, certificate };
}

function readForwarded(reader: ByteReader): SentItem[] {
  const senders: Caller[] = [];
  for (let left = reader.u16(); left > 0; left--) senders.push(readCaller(reader));
  return readItems(reader, () => {
    const sender = senders[reader.u16()];
    if (sender === undefined) throw new CocoError("MalformedInput", "a forwarded transaction without its sender");
    return { sender, item: { id: readId(reader), body: reader.bytes32() } };
  });
}

/** An id a batch can hold: a longer one would make the leader's next batch impossible. */
function readId(reader: ByteReader): Bytes {
  const id = reader.bytes16();
  if (id.length > MAX_REQUEST_ID_LENGTH) throw new CocoError("LimitExceeded", `transaction id of ${id.length} bytes`);
  return id;
}

function readForwardedOutcome(reader: ByteReader): ForwardedOutcome {
  const id = readId(reader);
  const index = reader.u64();
  return { id, index, outcome: readOutcome(reader) };
}

function readOutcome(reader: ByteReader): ItemOutcome {
  const kind = reader.u8();
  switch (kind) {
    case OUTCOME.included:
      return { type: "included", result: reader.bytes32(), position: 0 };
    case OUTCOME.rejected:
      return { type: "rejected", error: reader.bytes32() };
    case OUTCOME.waiting:
      return { type: "waiting", result: reader.bytes32() };
    case OUTCOME.duplicate:
      return { type: "duplicate", result: reader.bytes32() };
    case OUTCOME.unavailable:
      return { type: "unavailable", code: utf8Decode(reader.bytes32()) };
    case OUTCOME.refused: {
      const name = utf8Decode(reader.bytes32());
      const code = TRANSACTION_REFUSALS.find((known) => known === name);
      if (code === undefined) throw new CocoError("MalformedInput", "unknown refusal of a transaction");
      return { type: "refused", code };
    }
    default:
      throw new CocoError("MalformedInput", `unknown kind of outcome: ${kind}`);
  }
}

/** Cuts transactions into frames of bounded size and number, in order. */
export function* forwardFrames(adapter: number, items: readonly SentItem[]): Generator<Frame> {
  for (const cut of cutItems(items, ({ item }) => item.body.length)) yield { type: "forward", adapter, items: cut };
}

/** Cuts outcomes into frames of bounded size and number, in order: a peer ends the channel for a larger one. */
export function* outcomeFrames(adapter: number, outcomes: readonly ForwardedOutcome[]): Generator<Frame> {
  const bytesOf = ({ outcome }: ForwardedOutcome): number =>
    "result" in outcome ? outcome.result.length : "error" in outcome ? outcome.error.length : 0;
  for (const cut of cutItems(outcomes, bytesOf)) yield { type: "outcomes", adapter, outcomes: cut };
}

function* cutItems<T>(items: readonly T[], bytesOf: (item: T) => number): Generator<readonly T[]> {
  let frame: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const own = bytesOf(item);
    if (frame.length > 0 && (frame.length >= MAX_FRAME_ITEMS || bytes + own > FORWARD_FRAME_BYTES)) {
      yield frame;
      frame = [];
      bytes = 0;
    }
    frame.push(item);
    bytes += own;
  }
  if (frame.length > 0) yield frame;
}
