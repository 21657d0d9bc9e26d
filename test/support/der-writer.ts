/** Writes DER for tests: nothing is checked, so that what a reader must refuse can be written, too. */
import { concatBytes, fromHex, utf8Encode, type Bytes } from "../../src/core/codec/bytes.ts";
import { DER } from "../../src/core/codec/der.ts";

/** One element. */
export function element(tag: number, ...parts: readonly Bytes[]): Bytes {
  const content = concatBytes(...parts);
  const { length } = content;
  const size = length < 0x80 ? [] : length < 0x100 ? [0x81] : [0x82, length >> 8];
  return concatBytes(Uint8Array.of(tag, ...size, length & 0xff), content);
}

export const sequence = (...parts: readonly Bytes[]): Bytes => element(DER.sequence, ...parts);
export const set = (...parts: readonly Bytes[]): Bytes => element(DER.set, ...parts);
export const octets = (bytes: Bytes): Bytes => element(DER.octetString, bytes);
export const utf8 = (text: string): Bytes => element(DER.utf8String, utf8Encode(text));
export const printable = (text: string): Bytes => element(DER.printableString, utf8Encode(text));
export const ia5 = (text: string, tag: number = DER.ia5String): Bytes => element(tag, utf8Encode(text));
export const boolean = (value: boolean): Bytes => element(DER.boolean, Uint8Array.of(value ? 0xff : 0));
export const bits = (bytes: Bytes, unused = 0): Bytes => element(DER.bitString, Uint8Array.of(unused), bytes);
export const nothing = (): Bytes => element(DER.null);

/** A number from 0 on. */
export function integer(value: number, tag: number = DER.integer): Bytes {
  const hex = value.toString(16);
  const bytes = fromHex(hex.length % 2 === 0 ? hex : `0${hex}`);
  return element(tag, (bytes[0] as number) >= 0x80 ? concatBytes(Uint8Array.of(0), bytes) : bytes);
}

/** A dotted object identifier. */
export function objectIdentifier(text: string): Bytes {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [40 * first + second, ...rest].flatMap((arc) => {
    const groups = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return element(DER.objectIdentifier, Uint8Array.from(bytes));
}

/** Whole seconds as UTCTime until 2049, then GeneralizedTime. */
export function time(ms: number): Bytes {
  const text = `${new Date(ms).toISOString().replace(/[-:T]|\.\d+Z/g, "")}Z`;
  return text < "2050"
    ? element(DER.utcTime, utf8Encode(text.slice(2)))
    : element(DER.generalizedTime, utf8Encode(text));
}
