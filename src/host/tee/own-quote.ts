/** What a machine hands out as a quote is looked at by the attester itself, before others refuse it. */
import { parseQuote, type Quote } from "../../attestation/dcap/quote.ts";
import { type Bytes, bytesEqual } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";

/** Throws `TeeUnavailable` unless this is a quote of an enclave or a guest that binds the data. */
export function requireOwnQuote(bytes: Bytes, reportData: Bytes, kind: Quote["body"]["kind"]): void {
  const { body } = readQuote(bytes);
  if (body.kind !== kind) throw new CocoError("TeeUnavailable", `the quote is of another kind: ${body.kind}`);
  if (!bytesEqual(body.reportData, reportData)) throw new CocoError("TeeUnavailable", "the quote binds other data");
}

function readQuote(bytes: Bytes): Quote {
  try {
    return parseQuote(bytes);
  } catch (error) {
    if (!(error instanceof CocoError) || error.code !== "EvidenceRejected") throw error;
    throw new CocoError("TeeUnavailable", "what the machine gave is no quote", {}, { cause: error });
  }
}
