/**
 * The text forms that certificates, revocation lists and signatures have in quotes and collateral: PEM, hex and base64.
 * Whatever is not exactly one of them is `MalformedInput`.
 */
import { fromHex, utf8Decode, type Bytes } from "../../core/codec/bytes.ts";
import { fromBase64 } from "../../core/codec/base64.ts";
import { derOfPem, pemBlocks, pemOfDer } from "../../core/governance/pem.ts";
import { CocoError } from "../../errors.ts";

/** Most certificates of a chain that is read: one more than any chain of Intel's has. */
export const MAX_CHAIN_CERTIFICATES = 4;

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", problem);
}

function dersOf(text: string): readonly Bytes[] {
  const blocks = pemBlocks(text, "CERTIFICATE");
  if (blocks.length === 0 || blocks.length > MAX_CHAIN_CERTIFICATES)
    throw malformed(`${blocks.length} certificates in PEM`);
  return blocks.map((block) => {
    const der = derOfPem(block, "CERTIFICATE");
    if (der === undefined) throw malformed("PEM that is not well-formed");
    return der;
  });
}

/** The certificates in a quote: PEM in its one form, with or without a NUL behind it, so that each byte of it counts. */
export function certificatesOfQuote(data: Bytes): readonly Bytes[] {
  const text = utf8Decode(data.at(-1) === 0 ? data.subarray(0, -1) : data);
  const ders = dersOf(text);
  if (ders.map((der) => pemOfDer(der, "CERTIFICATE")).join("") !== text)
    throw malformed("PEM with something between its blocks, or other line breaks");
  return ders;
}

/** The certificates of an issuer chain in collateral: PEM, lines ending as they may, nothing between the blocks. */
export function certificatesOfChain(text: string): readonly Bytes[] {
  const ders = dersOf(text);
  const written = ders.map((der) => pemOfDer(der, "CERTIFICATE")).join("");
  if (written.trim() !== text.replaceAll("\r\n", "\n").trim()) throw malformed("PEM with something between its blocks");
  return ders;
}

/** DER of a revocation list, which services give in hex, in PEM, or in base64. */
export function revocationListOf(text: string): Bytes {
  const trimmed = text.trim();
  if (trimmed === "") throw malformed("an empty revocation list");
  if (trimmed.startsWith("-----")) {
    const der = derOfPem(trimmed, "X509 CRL");
    if (der === undefined) throw malformed("PEM that is not well-formed");
    return der;
  }
  // DER of a list begins with 0x30, which base64 writes as "M": no text is both.
  return /^30[0-9a-fA-F]+$/.test(trimmed) ? fromHex(trimmed) : fromBase64(trimmed);
}
