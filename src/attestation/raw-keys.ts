/** Keys and ECDSA signatures as hardware writes them, numbers side by side, in the forms verifiers take. */
import { concatBytes, fromHex, type Bytes } from "../core/codec/bytes.ts";

/** SubjectPublicKeyInfo of a point on P-256 up to its coordinates (RFC 5480). */
const P256_PREFIX = fromHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004");

/** The SubjectPublicKeyInfo (DER) of a P-256 key given as x ‖ y, 64 bytes. */
export function p256PublicKey(point: Bytes): Bytes {
  return concatBytes(P256_PREFIX, point);
}

/** An ECDSA signature r ‖ s, big-endian and of equal length, in DER (RFC 3279, 2.2.3). */
export function ecdsaSignature(raw: Bytes): Bytes {
  const half = raw.length / 2;
  const numbers = concatBytes(derInteger(raw.subarray(0, half)), derInteger(raw.subarray(half)));
  const length = numbers.length < 0x80 ? [numbers.length] : [0x81, numbers.length];
  return concatBytes(Uint8Array.of(0x30, ...length), numbers);
}

function derInteger(number: Bytes): Bytes {
  const first = number.findIndex((byte) => byte !== 0);
  const bytes = first < 0 ? Uint8Array.of(0) : number.subarray(first);
  const sign = (bytes[0] ?? 0) >= 0x80 ? [0] : [];
  return concatBytes(Uint8Array.of(0x02, bytes.length + sign.length, ...sign), bytes);
}
