/**
 * The file `consensus`: Raft's term and vote, replaced as a whole (write to a temporary file, sync, rename, sync folder),
 * so that a crash leaves the old content or the new one.
 *
 * Format: `coco1` (ASCII), term u64, length u8 and hex node id voted for (length 0: none), first 8 bytes of SHA-256 of all
 * before it. Big-endian. The checksum tells damage from content: a lost vote could elect two leaders.
 */
import { createHash } from "node:crypto";
import * as path from "node:path";
import { type Bytes, ByteReader, bytesEqual, ByteWriter, utf8Decode, utf8Encode } from "../core/codec/bytes.ts";
import type { HardState } from "../core/consensus/types.ts";
import { MAX_NUMBER } from "../core/consensus/messages.ts";
import { CocoError } from "../errors.ts";
import { type FileOperations, isDenied, readSmallFile, replaceFile } from "./file-operations.ts";

const NAME = "consensus";
const MAGIC = utf8Encode("coco1");
const CHECKSUM_LENGTH = 8;
const MAX_LENGTH = 512;
/** Terms that are left to a node when it starts; elections every millisecond use up this many in 30 years. */
const TERMS_LEFT = 2 ** 40;

function checksum(content: Bytes): Bytes {
  return createHash("sha256").update(content).digest().subarray(0, CHECKSUM_LENGTH);
}

function encode({ term, votedFor }: HardState): Bytes {
  const vote = utf8Encode(votedFor ?? "");
  const content = new ByteWriter(128).bytes(MAGIC).u64(term).u8(vote.length).bytes(vote).finish();
  return new ByteWriter(128).bytes(content).bytes(checksum(content)).finish();
}

function decode(bytes: Bytes): HardState {
  const content = bytes.subarray(0, -CHECKSUM_LENGTH);
  const reader = new ByteReader(bytes);
  const magic = reader.bytes(MAGIC.length);
  const term = reader.u64();
  const vote = utf8Decode(reader.bytes(reader.u8()));
  const sum = reader.bytes(CHECKSUM_LENGTH);
  reader.end();
  if (!bytesEqual(magic, MAGIC) || !bytesEqual(sum, checksum(content)))
    throw new CocoError("MalformedInput", "checksum does not fit");
  if (term > MAX_NUMBER - TERMS_LEFT)
    throw new CocoError("MalformedInput", `term ${term} is beyond what a term can be`);
  return { term, votedFor: vote === "" ? undefined : vote };
}

/** The hard state of a folder; undefined when it was never written. Throws `LedgerCorrupt` when the file is damaged. */
export function readHardState(directory: string, files: FileOperations): HardState | undefined {
  const file = path.join(directory, NAME);
  try {
    const bytes = readSmallFile(file, MAX_LENGTH, files);
    return bytes === undefined ? undefined : decode(bytes);
  } catch (error) {
    if (isDenied(error)) throw error;
    throw new CocoError(
      "LedgerCorrupt",
      `${file}: term and vote cannot be read${error instanceof CocoError ? `: ${error.message}` : ""}`,
      { file, offset: 0 },
      { cause: error },
    );
  }
}

/** Replaces the hard state of a folder; durable when the promise is fulfilled. */
export function writeHardState(directory: string, state: HardState, files: FileOperations): Promise<void> {
  return replaceFile(path.join(directory, NAME), encode(state), files);
}
