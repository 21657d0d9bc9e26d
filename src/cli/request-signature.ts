/** Signatures of ECDSA in the two forms that signers give: r ‖ s, as COSE has it, and the DER sequence of most other tools. */
import { COSE_ALGORITHMS, type CoseAlgorithm } from "../core/governance/cose.ts";
import type { Bytes } from "../core/codec/bytes.ts";

/** Hash that goes with an algorithm. */
export const HASHES: Readonly<Record<CoseAlgorithm, "sha256" | "sha384">> = { ES256: "sha256", ES384: "sha384" };

const SEQUENCE = 0x30;
const INTEGER = 0x02;

/** A signature as r ‖ s; undefined when it has neither form for this algorithm. */
export function rawSignature(signature: Bytes, algorithm: CoseAlgorithm): Bytes | undefined {
  const { bytes } = COSE_ALGORITHMS[algorithm];
  return signature.length === bytes ? signature : ofDer(signature, bytes / 2);
}

/** Both numbers have at most 49 bytes, so that each length but that of the sequence is one byte below 128. */
function ofDer(der: Bytes, width: number): Bytes | undefined {
  const start = der[1] === 0x81 ? 3 : 2;
  if (der[0] !== SEQUENCE || der[start - 1] !== der.length - start) return undefined;
  const raw = new Uint8Array(2 * width);
  let at = start;
  for (const end of [width, 2 * width]) {
    const length = der[at + 1] ?? 0;
    const number = der.subarray(at + 2, at + 2 + length);
    if (der[at] !== INTEGER || length === 0 || number.length !== length) return undefined;
    const digits = number[0] === 0 ? number.subarray(1) : number;
    if (digits.length > width) return undefined;
    raw.set(digits, end - digits.length);
    at += 2 + length;
  }
  return at === der.length ? raw : undefined;
}
