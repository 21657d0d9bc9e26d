/** Forms in which files of evidence come. */
import { fromAnyBase64 } from "../../core/codec/base64.ts";
import { fromHex, utf8Decode, type Bytes } from "../../core/codec/bytes.ts";
import type { TeeName } from "./inputs.ts";

/** Bytes of a file that holds them as they are, or as text: hex, with `0x` before it or without, or either base64. */
export function bytesOrText(content: Bytes): Bytes {
  if (content.length === 0 || content.some((byte) => byte >= 0x80 || (byte < 0x20 && !WHITE_SPACE.includes(byte))))
    return content;
  const text = utf8Decode(content);
  return bytesOfHex(text) ?? bytesOfBase64(text) ?? content;
}

/** Bytes of a file that holds them as they are, or as base64. */
export function bytesOrBase64(content: Bytes, isPlain: (content: Bytes) => boolean): Bytes {
  return isPlain(content) ? content : (bytesOfBase64(textOf(content)) ?? content);
}

/** Bytes of hex, in lines or in one, with `0x` before it or without; undefined for other text. */
export function bytesOfHex(text: string): Bytes | undefined {
  const digits = text.replace(/\s/g, "").replace(/^0x/i, "");
  return /^(?:[0-9a-f]{2})+$/i.test(digits) ? fromHex(digits.toLowerCase()) : undefined;
}

/** DER of a list of revoked certificates that a file holds as it is, as PEM or as base64; what is none of these stays as it is. */
export function revocationListBytes(content: Bytes): Bytes {
  const [, body] = PEM_LIST.exec(textOf(content)) ?? [];
  if (body === undefined) return bytesOrBase64(content, ([first]) => first === SEQUENCE);
  return bytesOfBase64(body.replace(/\s+/g, "")) ?? content;
}

/** Whether a file holds a JSON object. */
export function isJsonObject(content: Bytes): boolean {
  return content.find((byte) => !WHITE_SPACE.includes(byte)) === OPENING_BRACE;
}

/** The TEE a quote is of, by its header. */
export function teeOfQuote(quote: Bytes): TeeName {
  const at = quote[0] === 1 && quote[1] === 0 ? 16 : 0;
  return quote[at + 4] === 0x81 ? "tdx" : "sgx";
}

const WHITE_SPACE = [0x09, 0x0a, 0x0d, 0x20];
const OPENING_BRACE = 0x7b;
const SEQUENCE = 0x30;
/** One block, with lines of any length. */
const PEM_LIST = /^\s*-----BEGIN X509 CRL-----([^-]*)-----END X509 CRL-----\s*$/;

function textOf(content: Bytes): string {
  return new TextDecoder().decode(content);
}

function bytesOfBase64(text: string): Bytes | undefined {
  try {
    return fromAnyBase64(text);
  } catch {
    return undefined;
  }
}
