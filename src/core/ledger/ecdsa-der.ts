/**
 * P-256 signatures in their two forms: r ‖ s of 64 bytes (IEEE P1363, in the ledger) and DER `SEQUENCE { r, s }` (RFC 3279,
 * 2.2.3, in receipts, as CCF and OpenSSL have it). Decoding is strict DER: one form per signature.
 */
import { type Bytes, ByteReader, concatBytes } from "../codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";

const SEQUENCE = 0x30;
const INTEGER = 0x02;
const SCALAR_LENGTH = 32;

function encodeInteger(scalar: Bytes): Bytes {
  let start = 0;
  while (start < scalar.length - 1 && scalar[start] === 0) start++;
  const digits = scalar.subarray(start);
  const sign = ((digits[0] ?? 0) & 0x80) === 0 ? [] : [0];
  return concatBytes(Uint8Array.of(INTEGER, sign.length + digits.length, ...sign), digits);
}

function decodeInteger(reader: ByteReader): Bytes {
  const refuse = (): CocoError => new CocoError("MalformedInput", "not a DER signature");
  if (reader.u8() !== INTEGER) throw refuse();
  const length = reader.u8();
  if (length < 1 || length > SCALAR_LENGTH + 1) throw refuse();
  const content = reader.bytes(length);
  const [first = 0, second = 0] = content;
  if ((first & 0x80) !== 0) throw refuse();
  const hasSignByte = first === 0 && length > 1;
  if (hasSignByte && (second & 0x80) === 0) throw refuse();
  if (!hasSignByte && length > SCALAR_LENGTH) throw refuse();
  const digits = hasSignByte ? content.subarray(1) : content;
  const scalar = new Uint8Array(SCALAR_LENGTH);
  scalar.set(digits, SCALAR_LENGTH - digits.length);
  return scalar;
}

/** DER form of a signature r ‖ s of 64 bytes. */
export function signatureToDer(signature: Bytes): Bytes {
  invariant(signature.length === 2 * SCALAR_LENGTH, "signature must have 64 bytes");
  const r = encodeInteger(signature.subarray(0, SCALAR_LENGTH));
  const s = encodeInteger(signature.subarray(SCALAR_LENGTH));
  return concatBytes(Uint8Array.of(SEQUENCE, r.length + s.length), r, s);
}

/** r ‖ s of a signature in DER; throws `MalformedInput`. */
export function signatureFromDer(der: Bytes): Bytes {
  const reader = new ByteReader(der);
  if (reader.u8() !== SEQUENCE || reader.u8() !== reader.remaining)
    throw new CocoError("MalformedInput", "not a DER signature");
  const signature = concatBytes(decodeInteger(reader), decodeInteger(reader));
  reader.end();
  return signature;
}
