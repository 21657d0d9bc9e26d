/**
 * The JSON-RPC 2.0 core of a server: payload bytes to calls, answers to payload bytes. Knows no method.
 *
 * Follows go-ethereum where the specification leaves a choice: an empty batch and one of more than
 * {@link MAX_BATCH_ITEMS} calls are invalid requests, ids are echoed character by character, a payload of notifications
 * only is answered with an empty body. Stricter than go-ethereum: bytes behind the payload are a parse error.
 * Source: https://www.jsonrpc.org/specification, go-ethereum `rpc/handler.go` and `rpc/json.go`.
 */
import { type Bytes, EMPTY } from "../../../core/codec/bytes.ts";
import type { ClientResponse } from "../../adapter.ts";
import type { RpcFault } from "../types.ts";
import { RPC_CODES, RpcError } from "./fault.ts";

/** Deepest nesting of arrays and objects in a payload. */
export const MAX_JSON_DEPTH = 64;
/** Most calls in one batch. */
export const MAX_BATCH_ITEMS = 1000;
/** Most bytes of all results of one payload. */
export const MAX_RESPONSE_BYTES = 25_000_000;
/** Longest method name, in UTF-16 units. */
export const MAX_METHOD_LENGTH = 2048;

/** One element of a payload: a call, or why it is none. `id` is JSON text, undefined for a notification. */
export type Message =
  | { readonly type: "call"; readonly id: string | undefined; readonly method: string; readonly parameters: unknown }
  | { readonly type: "invalid"; readonly id: string; readonly fault: RpcFault };

/** A parsed payload. */
export interface Payload {
  readonly batch: boolean;
  readonly messages: readonly Message[];
}

/** The answer to one message: the result as JSON text, or a fault. */
export type Answer = { readonly result: string } | { readonly fault: RpcFault };

/** Parses a payload. Throws {@link RpcError} when the payload as a whole cannot be answered message by message. */
export function parsePayload(body: Bytes): Payload {
  const text = decodeText(body);
  const ids = scan(text);
  const value = parseJson(text);
  if (!Array.isArray(value)) return { batch: false, messages: [toMessage(value, ids.get(0))] };
  if (value.length === 0) throw new RpcError(RPC_CODES.invalidRequest, "empty batch");
  if (value.length > MAX_BATCH_ITEMS) return { batch: true, messages: [tooManyCalls(value, ids)] };
  return { batch: true, messages: value.map((item, index) => toMessage(item, ids.get(index))) };
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeText(body: Bytes): string {
  try {
    return decoder.decode(body);
  } catch {
    throw new RpcError(RPC_CODES.parse, "parse error");
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new RpcError(RPC_CODES.parse, "parse error");
  }
}

/** As go-ethereum: one answer for the whole batch, under the id of its first call. */
function tooManyCalls(items: readonly unknown[], ids: ReadonlyMap<number, string>): Message {
  const fault = { code: RPC_CODES.invalidRequest, message: "batch too large" };
  for (const [index, item] of items.entries()) {
    const message = toMessage(item, ids.get(index));
    if (message.type === "call" && message.id !== undefined) return { type: "invalid", id: message.id, fault };
  }
  return { type: "invalid", id: "null", fault };
}

const INVALID_REQUEST: RpcFault = { code: RPC_CODES.invalidRequest, message: "invalid request" };

function toMessage(value: unknown, idText: string | undefined): Message {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return { type: "invalid", id: "null", fault: INVALID_REQUEST };
  const fields = new Map(Object.entries(value));
  const id = fields.has("id") ? idOf(fields.get("id"), idText) : undefined;
  const invalid: Message = { type: "invalid", id: id?.text ?? "null", fault: INVALID_REQUEST };
  if (id !== undefined && !id.valid) return invalid;
  if (fields.get("jsonrpc") !== "2.0") return invalid;
  const method = fields.get("method");
  if (typeof method !== "string" || method === "" || method.length > MAX_METHOD_LENGTH) return invalid;
  return { type: "call", id: id?.text, method, parameters: fields.get("params") };
}

/** JSON text of an id. The source text is kept because a number may lose digits when it is parsed. */
function idOf(id: unknown, source: string | undefined): { readonly valid: boolean; readonly text: string } {
  if (id === null) return { valid: true, text: "null" };
  if (typeof id === "string") return { valid: true, text: JSON.stringify(id) };
  if (typeof id === "number")
    return { valid: true, text: source !== undefined && Number(source) === id ? source : JSON.stringify(id) };
  return { valid: false, text: "null" };
}

/**
 * One pass over the text before it is parsed, without recursion: refuses nesting deeper than {@link MAX_JSON_DEPTH} and
 * collects the source text of numeric ids by position in the batch. What it sees of malformed JSON does not matter:
 * parsing refuses that afterwards.
 */
function scan(text: string): ReadonlyMap<number, string> {
  const ids = new Map<number, string>();
  const idDepth = text.trimStart().startsWith("[") ? 2 : 1;
  let depth = 0;
  let element = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22: {
        const end = endOfString(text, at);
        if (depth === idDepth && text.slice(at, end + 1) === '"id"')
          recordId(text, end + 1, (source) => ids.set(element, source));
        at = end;
        break;
      }
      case 0x5b:
      case 0x7b:
        if (++depth > MAX_JSON_DEPTH)
          throw new RpcError(RPC_CODES.parse, `parse error: nesting deeper than ${MAX_JSON_DEPTH} levels`);
        break;
      case 0x5d:
      case 0x7d:
        depth--;
        break;
      case 0x2c:
        if (depth === 1 && idDepth === 2) element++;
        break;
    }
  }
  return ids;
}

/** Index of the quote that ends the string starting at `start`, or of the last character. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes++;
    if (backslashes % 2 === 0) return end;
  }
  return text.length - 1;
}

const ID_NUMBER = /[ \t\r\n]*:[ \t\r\n]*(-?[0-9][0-9.eE+-]*)/y;

function recordId(text: string, at: number, record: (source: string) => void): void {
  ID_NUMBER.lastIndex = at;
  const source = ID_NUMBER.exec(text)?.[1];
  if (source !== undefined) record(source);
}

/** The response to a payload; `answers` stand in the order of its messages. */
export function renderPayload(payload: Payload, answers: readonly Answer[]): ClientResponse {
  const parts: string[] = [];
  for (const [index, message] of payload.messages.entries()) {
    const answer = answers[index];
    if (message.id !== undefined && answer !== undefined) parts.push(renderAnswer(message.id, answer));
  }
  if (parts.length === 0) return jsonResponse("");
  return jsonResponse(payload.batch ? `[${parts.join(",")}]` : (parts[0] as string));
}

/** The response to a payload that failed as a whole. */
export function renderFault(fault: RpcFault): ClientResponse {
  return jsonResponse(renderAnswer("null", { fault }));
}

function renderAnswer(id: string, answer: Answer): string {
  const member = "fault" in answer ? `"error":${JSON.stringify(answer.fault)}` : `"result":${answer.result}`;
  return `{"jsonrpc":"2.0","id":${id},${member}}`;
}

const encoder = new TextEncoder();

function jsonResponse(text: string): ClientResponse {
  return { status: 200, contentType: "application/json", body: text === "" ? EMPTY : encoder.encode(text) };
}
