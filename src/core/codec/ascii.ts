/** Texts of ASCII alone, which have one byte for each character: nearly all that a machine reads. */

/** Characters made by one call: well below what engines take as arguments. */
const SLICE_LENGTH = 4096;

/** Whether a text is ASCII. */
export function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) >= 0x80) return false;
  return true;
}

/** Bytes of a text that is known to be ASCII. */
export function asciiBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** Text of the first `length` bytes, which are known to be ASCII. */
export function asciiText(bytes: Uint8Array, length: number): string {
  let text = "";
  for (let start = 0; start < length; start += SLICE_LENGTH) {
    const codes = bytes.subarray(start, Math.min(start + SLICE_LENGTH, length)) as unknown as number[];
    text += String.fromCharCode.apply(null, codes);
  }
  return text;
}
