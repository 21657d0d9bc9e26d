/**
 * Base64 (RFC 4648): section 4 with padding, section 5 (base64url) without, both strict: characters outside the alphabet,
 * line breaks, missing padding and non-zero bits after the last byte are refused, so that a byte string has one text.
 */
import { CocoError } from "../../errors.ts";
import type { Bytes } from "./bytes.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUES = new Map([...ALPHABET].map((character, value) => [character, value]));

/** The base64 text of a byte string. */
export function toBase64(bytes: Bytes): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const group = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    const characters = [18, 12, 6, 0].map((shift) => ALPHABET.charAt((group >> shift) & 63));
    const missing = Math.max(0, at + 3 - bytes.length);
    text += characters.slice(0, 4 - missing).join("") + "=".repeat(missing);
  }
  return text;
}

/** The byte string of a base64 text; throws `MalformedInput` for any text {@link toBase64} does not write. */
export function fromBase64(text: string): Bytes {
  const body = text.replace(/={1,2}$/, "");
  const bytes = new Uint8Array(Math.floor((body.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const character of body) {
    const value = VALUES.get(character);
    if (value === undefined) throw new CocoError("MalformedInput", "not base64");
    held = ((held << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (held >> bits) & 0xff;
    }
  }
  const padding = [0, undefined, 2, 1][body.length % 4];
  if (padding !== text.length - body.length || (held & ((1 << bits) - 1)) !== 0)
    throw new CocoError("MalformedInput", "not base64");
  return bytes;
}

/** The base64url text of a byte string, without padding (RFC 7515, section 2). */
export function toBase64Url(bytes: Bytes): string {
  return toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The byte string of a base64url text without padding; throws `MalformedInput` for any text {@link toBase64Url} does not write. */
export function fromBase64Url(text: string): Bytes {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new CocoError("MalformedInput", "not base64url");
  const padding = "=".repeat((4 - (text.length % 4)) % 4);
  return fromBase64(text.replaceAll("-", "+").replaceAll("_", "/") + padding);
}

/**
 * The byte string of a text in either alphabet, with padding or without, white space aside: for what tools of others write, which
 * choose freely. Throws `MalformedInput` for a text of both alphabets, and like {@link fromBase64}.
 */
export function fromAnyBase64(text: string): Bytes {
  const body = text.replace(/[ \t\r\n]/g, "");
  if (/[-_]/.test(body) && /[+/]/.test(body)) throw new CocoError("MalformedInput", "not base64");
  const unpadded = body.length % 4 === 0 ? body.replace(/={1,2}$/, "") : body;
  return fromBase64Url(unpadded.replaceAll("+", "-").replaceAll("/", "_"));
}
