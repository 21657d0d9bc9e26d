/** Forms in which files of evidence come. */
import { fromBase64 } from "../../core/codec/base64.ts";
import { fromHex, utf8Decode, type Bytes } from "../../core/codec/bytes.ts";
import type { TeeName } from "./inputs.ts";

/** Bytes of a file that holds them as they are, or as one line of hex. */
export function bytesOrHex(content: Bytes): Bytes {
  const isText = content.every((byte) => byte === 0x0a || byte === 0x0d || (byte >= 0x30 && byte <= 0x66));
  if (!isText || content.length === 0) return content;
  const text = utf8Decode(content)
    .replace(/[\r\n]/g, "")
    .toLowerCase();
  return /^(?:[0-9a-f]{2})+$/.test(text) ? fromHex(text) : content;
}

/** Bytes of a file that holds them as they are, or as base64. */
export function bytesOrBase64(content: Bytes, isBinary: (content: Bytes) => boolean): Bytes {
  if (isBinary(content)) return content;
  try {
    return fromBase64(utf8Decode(content).replace(/[\r\n]/g, ""));
  } catch {
    return content;
  }
}

/** The TEE a quote is of, by its header. */
export function teeOfQuote(quote: Bytes): TeeName {
  const at = quote[0] === 1 && quote[1] === 0 ? 16 : 0;
  return quote[at + 4] === 0x81 ? "tdx" : "sgx";
}
