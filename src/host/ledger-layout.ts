/**
 * The file `layout` of a ledger folder: what the chunk files alone cannot say. It is replaced as a whole, so that a change of
 * the layout happens at one moment: before it the folder is the old ledger, after it the new one, and moves of files that
 * were not finished are finished at the next start. There is none until the first chunk is begun.
 *
 * It names the newest chunk, so that a chunk that was taken away from the end is missed. A chunk is named when its file is
 * there for good and before it has a record; a chunk that is removed is named no more before it goes. So a crash leaves at
 * most chunks behind the one that is named.
 *
 * Format: ASCII `coco layout` ‖ version u8 ‖ index of the ledger's first entry u64 ‖ first index of the newest chunk u64 (0:
 * none) ‖ lost index u64 ‖ lost last index u64 ‖ lost last term u64 (zeros: nothing is lost) ‖ kind of the move under way u8
 * (0 none, 1 superseded, 2 damaged) ‖ number of its folder u32 ‖ index from which on u64 ‖ first 8 bytes of SHA-256 of all
 * before. Big-endian.
 */
import { createHash } from "node:crypto";
import * as path from "node:path";
import { type Bytes, ByteReader, bytesEqual, ByteWriter, utf8Encode } from "../core/codec/bytes.ts";
import { CocoError } from "../errors.ts";
import { type FileOperations, isDenied, readSmallFile, replaceFile } from "./file-operations.ts";

const NAME = "layout";
const MAGIC = utf8Encode("coco layout");
/** Version of the layout file that this program reads and writes. */
export const LAYOUT_FORMAT_VERSION = 2;
const CHECKSUM_LENGTH = 8;
const MAX_LENGTH = 1024;

/** Entries that were durable once and were lost to damage; kept until the log has got at least as far again. */
export interface LostEntries {
  /** The first one that was lost. */
  readonly index: number;
  /** The last one that had been there, and its term. */
  readonly lastIndex: number;
  readonly lastTerm: number;
}

/** Chunks that go to a folder of their own, `superseded-<n>` or `damaged-<n>`. */
export interface PendingMove {
  readonly kind: "superseded" | "damaged";
  readonly number: number;
  /** The first index that goes; a chunk that begins before it keeps its front. */
  readonly fromIndex: number;
}

/** What a ledger folder is, besides its chunks. */
export interface Layout {
  /** Index of the first entry: 1, or the one after the snapshot that was installed last. */
  readonly firstIndex: number;
  /** The first index of the newest chunk; 0 when there is none. */
  readonly newestChunk: number;
  readonly lost: LostEntries | undefined;
  readonly move: PendingMove | undefined;
}

/** The layout of a folder without the file. */
export const PLAIN_LAYOUT: Layout = { firstIndex: 1, newestChunk: 0, lost: undefined, move: undefined };

const MOVE_KINDS = [undefined, "superseded", "damaged"] as const;

function checksum(content: Bytes): Bytes {
  return createHash("sha256").update(content).digest().subarray(0, CHECKSUM_LENGTH);
}

function encode({ firstIndex, newestChunk, lost, move }: Layout): Bytes {
  const content = new ByteWriter()
    .bytes(MAGIC)
    .u8(LAYOUT_FORMAT_VERSION)
    .u64(firstIndex)
    .u64(newestChunk)
    .u64(lost?.index ?? 0)
    .u64(lost?.lastIndex ?? 0)
    .u64(lost?.lastTerm ?? 0)
    .u8(MOVE_KINDS.indexOf(move?.kind))
    .u32(move?.number ?? 0)
    .u64(move?.fromIndex ?? 0)
    .finish();
  return new ByteWriter().bytes(content).bytes(checksum(content)).finish();
}

function decode(bytes: Bytes, file: string): Layout {
  const reader = new ByteReader(bytes);
  if (!bytesEqual(reader.bytes(MAGIC.length), MAGIC)) throw new CocoError("MalformedInput", "not a layout");
  const version = reader.u8();
  if (version > LAYOUT_FORMAT_VERSION) throw tooNew(file, version);
  if (version < LAYOUT_FORMAT_VERSION) throw new CocoError("MalformedInput", `version ${version} is not read any more`);
  const [firstIndex, newestChunk] = [reader.u64(), reader.u64()];
  const lost = { index: reader.u64(), lastIndex: reader.u64(), lastTerm: reader.u64() };
  const kind = MOVE_KINDS[reader.u8()];
  const [number, fromIndex] = [reader.u32(), reader.u64()];
  const sum = reader.bytes(CHECKSUM_LENGTH);
  reader.end();
  if (!bytesEqual(sum, checksum(bytes.subarray(0, -CHECKSUM_LENGTH))))
    throw new CocoError("MalformedInput", "checksum does not fit");
  return {
    firstIndex,
    newestChunk,
    lost: lost.index === 0 ? undefined : lost,
    move: kind === undefined ? undefined : { kind, number, fromIndex },
  };
}

/** The error for a file of a later format version. */
export function tooNew(file: string, version: number): CocoError {
  return new CocoError("LedgerTooNew", `${file}: format version ${version} is newer than this program`, {
    file,
    version,
  });
}

/** The layout of a folder. Throws `LedgerCorrupt` when the file is damaged, `LedgerTooNew` when it is of a later version. */
export function readLayout(directory: string, files: FileOperations): Layout {
  const file = path.join(directory, NAME);
  try {
    const bytes = readSmallFile(file, MAX_LENGTH, files);
    return bytes === undefined ? PLAIN_LAYOUT : decode(bytes, file);
  } catch (error) {
    if (isDenied(error) || (error instanceof CocoError && error.code === "LedgerTooNew")) throw error;
    const why = error instanceof CocoError ? `: ${error.message}` : "";
    throw new CocoError("LedgerCorrupt", `${file}: cannot be read${why}`, { file, offset: 0 }, { cause: error });
  }
}

/** Replaces the layout of a folder; durable when the promise is fulfilled. */
export function writeLayout(directory: string, layout: Layout, files: FileOperations): Promise<void> {
  return replaceFile(path.join(directory, NAME), encode(layout), files);
}

/** Whether a log that ends at this place has all that was lost: by the rule by which votes compare logs (Raft thesis, 3.6.1). */
export function hasCaughtUp(lost: LostEntries, lastIndex: number, lastTerm: number): boolean {
  return lastTerm > lost.lastTerm || (lastTerm === lost.lastTerm && lastIndex >= lost.lastIndex);
}
