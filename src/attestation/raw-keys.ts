/** Keys and ECDSA signatures as hardware and tokens write them, bare numbers, in the forms verifiers take. */
import { concatBytes, fromHex, type Bytes } from "../core/codec/bytes.ts";

/** SubjectPublicKeyInfo of a point on P-256 up to its coordinates (RFC 5480). */
const P256_PREFIX = fromHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004");

/** The SubjectPublicKeyInfo (DER) of a P-256 key given as x ‖ y, 64 bytes. */
export function p256PublicKey(point: Bytes): Bytes {
  return concatBytes(P256_PREFIX, point);
}

/** AlgorithmIdentifier of rsaEncryption (RFC 3279, 2.3.1). */
const RSA_ALGORITHM = fromHex("300d06092a864886f70d0101010500");

/** The SubjectPublicKeyInfo (DER) of an RSA key given as modulus and exponent, big-endian without leading zeros. */
export function rsaPublicKey(modulus: Bytes, exponent: Bytes): Bytes {
  const key = derElement(0x30, derInteger(modulus), derInteger(exponent));
  return derElement(0x30, RSA_ALGORITHM, derElement(0x03, Uint8Array.of(0), key));
}

/** An ECDSA signature r ‖ s, big-endian and of equal length, in DER (RFC 3279, 2.2.3). */
export function ecdsaSignature(raw: Bytes): Bytes {
  const half = raw.length / 2;
  return derElement(0x30, derInteger(raw.subarray(0, half)), derInteger(raw.subarray(half)));
}

function derInteger(number: Bytes): Bytes {
  const first = number.findIndex((byte) => byte !== 0);
  const bytes = first < 0 ? Uint8Array.of(0) : number.subarray(first);
  const sign = (bytes[0] ?? 0) >= 0x80 ? [0] : [];
  return derElement(0x02, Uint8Array.from(sign), bytes);
}

/** One element of less than 64 KiB. */
function derElement(tag: number, ...parts: readonly Bytes[]): Bytes {
  const content = concatBytes(...parts);
  const { length } = content;
  const size = length < 0x80 ? [] : length < 0x100 ? [0x81] : [0x82, length >> 8];
  return concatBytes(Uint8Array.of(tag, ...size, length & 0xff), content);
}
