/**
 * Signed tokens in the compact form (JWS, RFC 7515) with JSON claims (JWT, RFC 7519), read strictly: three parts of base64url
 * in its one spelling, each JSON part an object that names nothing twice. Reading verifies nothing.
 */
import { utf8Decode, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { fromBase64Url } from "../../core/codec/base64.ts";
import { parseStrictJson, type StrictJson } from "../../core/codec/json.ts";
import { CocoError } from "../../errors.ts";

/** Longest token, in characters. */
export const MAX_TOKEN_LENGTH = 64 * 1024;

/** A JSON object that was read strictly. */
export type JsonFields = ReadonlyMap<string, StrictJson>;

/** A token that was read; nothing of it is trusted. */
export interface Token {
  readonly header: JsonFields;
  readonly payload: JsonFields;
  /** The bytes under the signature. */
  readonly signedBytes: Bytes;
  /** Empty when there is none. */
  readonly signature: Bytes;
}

/** Reads a token; throws `MalformedInput`. */
export function parseToken(text: string): Token {
  if (text.length > MAX_TOKEN_LENGTH)
    throw new CocoError("MalformedInput", `token: ${text.length} characters, ${MAX_TOKEN_LENGTH} allowed`);
  const parts = text.split(".");
  const [header, payload, signature] = parts;
  if (header === undefined || payload === undefined || signature === undefined || parts.length !== 3)
    throw new CocoError("MalformedInput", "token: expected three parts with periods between them");
  return {
    header: parseJsonFields(fromBase64Url(header), "header of a token"),
    payload: parseJsonFields(fromBase64Url(payload), "claims of a token"),
    signedBytes: utf8Encode(`${header}.${payload}`),
    signature: fromBase64Url(signature),
  };
}

/** Reads UTF-8 JSON that is one object; throws `MalformedInput`. */
export function parseJsonFields(bytes: Bytes, what: string): JsonFields {
  const fields = asFields(parseStrictJson(utf8Decode(bytes)));
  if (fields === undefined) throw new CocoError("MalformedInput", `${what}: expected a JSON object`);
  return fields;
}

/** A value as an object; undefined when it is none. */
export function asFields(value: StrictJson | undefined): JsonFields | undefined {
  return value instanceof Map ? value : undefined;
}

/** A value as text; undefined when it is none. */
export function asText(value: StrictJson | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** A value as a whole number from 0 on; undefined when it is none. */
export function asCount(value: StrictJson | undefined): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** A value as true or false; undefined when it is neither. */
export function asFlag(value: StrictJson | undefined): boolean | undefined {
  return typeof value === "boolean" ? value : undefined;
}

/** A value as lower-case hex of `length` bytes; undefined when it is none. */
export function asHex(value: StrictJson | undefined, length: number): string | undefined {
  const text = asText(value);
  return text !== undefined && text.length === 2 * length && /^[0-9a-f]*$/.test(text) ? text : undefined;
}
