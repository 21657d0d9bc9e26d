/**
 * Quotes of a TPM 2.0 (TCG, Part 2: structures, 10.12.8 TPMS_ATTEST with TPMS_QUOTE_INFO), big-endian, read strictly: the mark
 * that only the TPM itself writes, the type, one bank of SHA-256, and nothing behind the digest.
 */
import { ByteReader, concatBytes, toHex, type Bytes, type HashFunction } from "../../core/codec/bytes.ts";
import type { PcrValues } from "../../core/governance/policy-snp.ts";
import { CocoError } from "../../errors.ts";

/** Most platform configuration registers of a TPM. */
export const MAX_PCRS = 24;
/** Longest name of a key, or data that a quote binds, in bytes. */
export const MAX_QUOTE_FIELD_BYTES = 128;

const GENERATED = 0xff54_4347;
const QUOTE = 0x8018;
const SHA256 = 0x000b;
const DIGEST_BYTES = 32;

/** A quote that was read; nothing of it is trusted. */
export interface TpmQuote {
  /** Name of the key that signed, as the TPM knows it. */
  readonly signer: Bytes;
  /** What the caller gave to bind. */
  readonly nonce: Bytes;
  /** How often the TPM was reset: tells a rolled back machine from one that went on. */
  readonly resetCount: number;
  readonly restartCount: number;
  /** Numbers of the registers that are quoted, ascending. */
  readonly pcrs: readonly number[];
  /** SHA-256 of their values, one after the other. */
  readonly pcrDigest: Bytes;
}

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", `TPM quote: ${problem}`);
}

function sized(reader: ByteReader): Bytes {
  const bytes = reader.bytes16();
  if (bytes.length > MAX_QUOTE_FIELD_BYTES) throw malformed("a field that is too long");
  return bytes;
}

/** Reads a quote; throws `MalformedInput`. */
export function parseTpmQuote(message: Bytes): TpmQuote {
  const reader = new ByteReader(message);
  if (reader.u32() !== GENERATED || reader.u16() !== QUOTE) throw malformed("not made by a TPM as a quote");
  const [signer, nonce] = [sized(reader), sized(reader)];
  reader.bytes(8);
  const [resetCount, restartCount, isSafe] = [reader.u32(), reader.u32(), reader.u8()];
  if (isSafe > 1) throw malformed("a truth value that is neither 0 nor 1");
  reader.bytes(8);
  const pcrs = readSelection(reader);
  const pcrDigest = reader.bytes16();
  if (pcrDigest.length !== DIGEST_BYTES) throw malformed("a digest of another length");
  reader.end();
  return { signer, nonce, resetCount, restartCount, pcrs, pcrDigest };
}

/** One bank only: the same register in two banks would have two values. */
function readSelection(reader: ByteReader): readonly number[] {
  if (reader.u32() !== 1 || reader.u16() !== SHA256) throw malformed("expected one bank of SHA-256");
  const bitmap = reader.bytes(reader.u8());
  if (bitmap.length > MAX_PCRS / 8) throw malformed("registers that no TPM has");
  const selected = Array.from({ length: 8 * bitmap.length }, (_, at) => at);
  return selected.filter((at) => ((bitmap[at >> 3] as number) & (1 << (at & 7))) !== 0);
}

/**
 * The values of the quoted registers; undefined when they do not give the quote's digest. `values` are those of all registers
 * from 0 on; what a quote does not cover is left out.
 */
export function quotedPcrs(quote: TpmQuote, values: readonly Bytes[], sha256: HashFunction): PcrValues | undefined {
  const quoted = quote.pcrs.map((at) => values[at]);
  if (quoted.length === 0 || !quoted.every((value) => value?.length === DIGEST_BYTES)) return undefined;
  const digest = sha256(concatBytes(...quoted.flatMap((value) => value ?? [])));
  if (toHex(digest) !== toHex(quote.pcrDigest)) return undefined;
  return Object.fromEntries(quote.pcrs.map((at) => [at, toHex(values[at] as Bytes)]));
}
