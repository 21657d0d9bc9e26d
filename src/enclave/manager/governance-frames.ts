/** The bytes of members' requests, and of their refusals, between nodes. Read strictly: a listed node may be compromised. */
import { fromHex, toHex, utf8Decode, utf8Encode, type ByteReader, type ByteWriter } from "../../core/codec/bytes.ts";
import { MAX_CERTIFICATE_BYTES } from "../../core/governance/certificate-limits.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { MAX_REQUEST_BYTES, MAX_REQUEST_CHAIN } from "../../core/governance/signed-request.ts";
import { CocoError, type ErrorCode, ERRORS } from "../../errors.ts";

/** Longest message, and longest value of an error's data, that one node tells another, in bytes. */
export const MAX_REFUSAL_TEXT_BYTES = 8 * 1024;
/** Most values of an error's data that one node tells another. */
export const MAX_REFUSAL_VALUES = 16;

const KEY_BYTES = 32;
const VALUE = { text: 1, number: 2, flag: 3 } as const;

/** A member's request and its certificates. */
export function writeSignedMessage(writer: ByteWriter, { message, chain }: SignedMessage): ByteWriter {
  writer.bytes32(message).u8(chain.length);
  for (const certificate of chain) writer.bytes16(certificate);
  return writer;
}

/** Reads {@link writeSignedMessage}; nothing of it is verified. */
export function readSignedMessage(reader: ByteReader): SignedMessage {
  const message = reader.bytes32();
  const count = reader.u8();
  if (message.length > MAX_REQUEST_BYTES || count > MAX_REQUEST_CHAIN)
    throw new CocoError("LimitExceeded", `a request of ${message.length} bytes with ${count} certificates`);
  const chain = Array.from({ length: count }, () => reader.bytes16());
  if (chain.some(({ length }) => length > MAX_CERTIFICATE_BYTES))
    throw new CocoError("LimitExceeded", "a certificate is too large");
  return { message, chain };
}

/** Why a member's request was refused. */
export interface RefusedRequest {
  /** Hex; see `requestKey`. */
  readonly key: string;
  readonly error: CocoError;
}

const TEXT = new TextEncoder();

/** What is shown to people may be cut anywhere, and may tell half characters of a request that was refused for them. */
function textBytes(text: string): Uint8Array {
  const bytes = TEXT.encode(text);
  return bytes.length <= MAX_REFUSAL_TEXT_BYTES ? bytes : TEXT.encode(text.slice(0, MAX_REFUSAL_TEXT_BYTES / 4));
}

/** The refusal of a request. */
export function writeRefusal(writer: ByteWriter, { key, error }: RefusedRequest): ByteWriter {
  writer.bytes(fromHex(key)).bytes16(utf8Encode(error.code)).bytes16(textBytes(error.message));
  const values = Object.entries(error.data).slice(0, MAX_REFUSAL_VALUES);
  writer.u8(values.length);
  for (const [name, value] of values) {
    writer.bytes16(textBytes(name));
    if (typeof value === "string") writer.u8(VALUE.text).bytes16(textBytes(value));
    else if (typeof value === "boolean") writer.u8(VALUE.flag).u8(value ? 1 : 0);
    else writer.u8(VALUE.number).bytes16(utf8Encode(String(value)));
  }
  return writer;
}

/** Reads {@link writeRefusal}. */
export function readRefusal(reader: ByteReader): RefusedRequest {
  const key = toHex(reader.bytes(KEY_BYTES));
  const code = readText(reader);
  const message = readText(reader);
  if (!isErrorCode(code)) throw new CocoError("MalformedInput", "no code of an error");
  const count = reader.u8();
  if (count > MAX_REFUSAL_VALUES) throw new CocoError("LimitExceeded", `${count} values of an error`);
  const data = Array.from({ length: count }, () => [readText(reader), readValue(reader)] as const);
  return { key, error: new CocoError(code, message, Object.fromEntries(data)) };
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}

function readText(reader: ByteReader): string {
  const bytes = reader.bytes16();
  if (bytes.length > MAX_REFUSAL_TEXT_BYTES) throw new CocoError("LimitExceeded", "a text is too long");
  return utf8Decode(bytes);
}

function readValue(reader: ByteReader): string | number | boolean {
  const kind = reader.u8();
  if (kind === VALUE.text) return readText(reader);
  if (kind === VALUE.flag) return readFlag(reader);
  const number = kind === VALUE.number ? Number(readText(reader)) : Number.NaN;
  if (!Number.isFinite(number)) throw new CocoError("MalformedInput", "no value of an error");
  return number;
}

function readFlag(reader: ByteReader): boolean {
  const flag = reader.u8();
  if (flag > 1) throw new CocoError("MalformedInput", "no flag");
  return flag === 1;
}
