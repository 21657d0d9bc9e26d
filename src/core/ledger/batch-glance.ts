/** What the first bytes of a batch say, for who need not take it apart. Nothing of it is verified. */
import { type Bytes, ByteReader } from "../codec/bytes.ts";
import { checkFormatVersion } from "../codec/format-version.ts";
import { BATCH_FORMAT_VERSION, type BatchKind, batchKindOfCode, HEADER_LENGTH } from "./batch-format.ts";

/** Where the time stands in a header. */
const TIME_AT = 40;

function kindOf([version, kind = 0]: Bytes): BatchKind | undefined {
  return version === BATCH_FORMAT_VERSION ? batchKindOfCode(kind) : undefined;
}

/** What a batch holds, by its first bytes alone: lets a reader skip most of a ledger. Throws `LedgerTooNew` for a later version. */
export function batchKindOf(bytes: Bytes): BatchKind | undefined {
  const [version = 0] = bytes;
  if (version !== 0) checkFormatVersion("batch", version, BATCH_FORMAT_VERSION);
  return kindOf(bytes);
}

/** When a batch says it was made, read from its header alone and not verified; 0 when its form is not one of a batch. */
export function batchTimeOf(bytes: Bytes): number {
  if (kindOf(bytes) === undefined || bytes.length < HEADER_LENGTH) return 0;
  const reader = new ByteReader(bytes);
  reader.skip(TIME_AT);
  const high = reader.u32();
  return high * 0x100000000 + reader.u32();
}
