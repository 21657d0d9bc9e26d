/** What the first bytes of a batch say, for who need not take it apart. Nothing of it is verified. */
import { type Bytes, ByteReader } from "../codec/bytes.ts";
import { BATCH_FORMAT_VERSION, type BatchKind, batchKindOfCode, HEADER_LENGTH } from "./batch-format.ts";

/** Where the time stands in a header. */
const TIME_AT = 40;

/** What a batch holds, read from its first bytes alone: lets a reader skip most of a ledger. */
export function batchKindOf(bytes: Bytes): BatchKind | undefined {
  return bytes[0] === BATCH_FORMAT_VERSION ? batchKindOfCode(bytes[1] ?? 0) : undefined;
}

/** When a batch says it was made, read from its header alone and not verified; 0 when its form is not one of a batch. */
export function batchTimeOf(bytes: Bytes): number {
  if (batchKindOf(bytes) === undefined || bytes.length < HEADER_LENGTH) return 0;
  const reader = new ByteReader(bytes);
  reader.skip(TIME_AT);
  const high = reader.u32();
  return high * 0x100000000 + reader.u32();
}
