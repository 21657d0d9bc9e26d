/**
 * PEM (RFC 7468, strict form): one block of base64 between its labels, lines of at most 64 characters.
 * Read without node: modules, because the constitution is read by clients in browsers, too.
 */
import type { Bytes } from "../codec/bytes.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUE_OF: ReadonlyMap<string, number> = new Map(Array.from(ALPHABET, (character, value) => [character, value]));
const LINE_LENGTH = 64;

function encodeBase64(bytes: Bytes): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const group = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    text += ALPHABET.charAt(group >> 18) + ALPHABET.charAt((group >> 12) & 63);
    text += at + 1 < bytes.length ? ALPHABET.charAt((group >> 6) & 63) : "=";
    text += at + 2 < bytes.length ? ALPHABET.charAt(group & 63) : "=";
  }
  return text;
}

function decodeBase64(text: string): Bytes | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  for (let at = 0, to = 0; at < text.length; at += 4, to += 3) {
    let group = 0;
    for (let next = 0; next < 4; next++) group = (group << 6) | (VALUE_OF.get(text.charAt(at + next)) ?? 0);
    bytes[to] = group >> 16;
    if (to + 1 < bytes.length) bytes[to + 1] = (group >> 8) & 255;
    if (to + 2 < bytes.length) bytes[to + 2] = group & 255;
  }
  // Bits behind the last byte would give one byte string several texts.
  return encodeBase64(bytes) === text ? bytes : undefined;
}

/** The PEM text of DER bytes, ending in a line feed. */
export function pemOfDer(der: Bytes, label: string): string {
  const base64 = encodeBase64(der);
  const lines: string[] = [];
  for (let at = 0; at < base64.length; at += LINE_LENGTH) lines.push(base64.slice(at, at + LINE_LENGTH));
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** The DER bytes of a PEM text that holds exactly one block with this label; undefined when it does not. */
export function derOfPem(pem: string, label: string): Bytes | undefined {
  const lines = pem.trim().split(/\r?\n/);
  if (lines[0] !== `-----BEGIN ${label}-----` || lines.at(-1) !== `-----END ${label}-----`) return undefined;
  const body = lines.slice(1, -1);
  if (body.length === 0 || body.some((line) => line.length === 0 || line.length > LINE_LENGTH)) return undefined;
  const der = decodeBase64(body.join(""));
  return der === undefined || der.length === 0 ? undefined : der;
}

/** The blocks with this label in a PEM text that holds several, such as a certificate and those above it. */
export function pemBlocks(pem: string, label: string): readonly string[] {
  return pem.match(new RegExp(`-----BEGIN ${label}-----[^-]*-----END ${label}-----`, "g")) ?? [];
}

/** Whether a byte string looks like one DER SEQUENCE and nothing behind it: definite, shortest length. */
export function isOneDerSequence(der: Bytes): boolean {
  if (der[0] !== 0x30) return false;
  const first = der[1] ?? 0xff;
  if (first < 0x80) return der.length === 2 + first;
  const size = first & 0x7f;
  if (size === 0 || size > 3 || der.length < 2 + size) return false;
  let length = 0;
  for (const byte of der.subarray(2, 2 + size)) length = (length << 8) | byte;
  const shortest = length >= 0x80 && (size === 1 || length >> (8 * (size - 1)) !== 0);
  return shortest && der.length === 2 + size + length;
}
