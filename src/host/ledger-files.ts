/**
 * Opening a ledger folder: the lock, the hard state of consensus, the layout, the chunks and the snapshots.
 *
 * Everything is read first. What a crash left behind is cut off; damage is refused, or set aside when other nodes have the
 * entries. A folder that is refused is left as it was.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import type { HardState, LogEntry } from "../core/consensus/types.ts";
import type { Disk, DiskContent, DiskEvents, StoredSnapshot } from "../enclave/ports.ts";
import { CocoError, invariant } from "../errors.ts";
import { FILE_SYSTEM, type FileOperations, withFinalSyncs } from "./file-operations.ts";
import { lockFolder } from "./folder-lock.ts";
import { readHardState } from "./hard-state-file.ts";
import { type Chunk, corrupt, entriesOf, MAX_CHUNK_BYTES } from "./ledger-chunks.ts";
import { ChunkedDisk } from "./ledger-disk.ts";
import { type After, DiskHealth, processAfter } from "./ledger-health.ts";
import { hasCaughtUp, type Layout, readLayout, writeLayout } from "./ledger-layout.ts";
import { cutTornTail, finishMove, type LedgerFolder, removeUnfinished, setDamageAside } from "./ledger-repair.ts";
import { damagedFrom, type ScannedLedger, scanLedger } from "./ledger-scan.ts";
import { snapshotIndexes, SnapshotFiles, storedSnapshot } from "./ledger-snapshots.ts";

/** A new chunk is begun when the last one has this many bytes, unless the options say otherwise. */
export const DEFAULT_CHUNK_BYTES = 8 * 1024 * 1024;

/** What was done to a folder when it was opened. */
export interface LedgerRepair {
  readonly file: string;
  /** Bytes of the file that stay. */
  readonly offset: number;
  readonly reason: string;
  readonly action: "cut" | "set aside";
}

/** The first and the last entry of a log that can be read; undefined when there is none. */
export interface LedgerEnds {
  readonly first: LogEntry | undefined;
  readonly last: LogEntry | undefined;
}

/** How a ledger folder is opened. */
export interface LedgerFilesOptions {
  /**
   * What happens to damage: `refuse` throws `LedgerCorrupt`; `from-peers` sets what is damaged aside and returns the rest, for
   * a network whose other nodes have the lost entries.
   */
  readonly repair: "refuse" | "from-peers";
  /** Entries from this index on are damaged, as their verification found out; treated like other damage. */
  readonly damagedFrom?: number;
  /** Looks at the ends of the log, the snapshots, and term and vote before anything is changed; rejects to refuse the folder. */
  readonly admit?: (
    ends: LedgerEnds,
    snapshots: readonly StoredSnapshot[],
    hardState: HardState | undefined,
  ) => Promise<void>;
  /** Told what was cut off or set aside. */
  onRepair(repair: LedgerRepair): void;
  /** Told once when the disk failed (`DiskFailed`, or `LedgerCorrupt` when reading): the process must stop. */
  onFatal(error: CocoError): void;
  /** Told when the disk is full, and when it no longer is. */
  readonly events?: DiskEvents;
  /** Size at which a chunk is full, in bytes, at most 512 MiB. */
  readonly chunkBytes?: number;
  /** Another file system, for tests. */
  readonly files?: FileOperations;
  /** Another timer, for tests. */
  readonly after?: After;
}

/** An open ledger folder. */
export interface LedgerFiles {
  readonly disk: Disk;
  /** What was on disk; its entries are read chunk by chunk and have to be consumed before the first `persist`. */
  readonly content: DiskContent;
  /** Carries out what is queued, then gives the folder free. What waits for room on a full disk is given up. */
  close(): Promise<void>;
}

/** What a ledger folder holds, as it was read; nothing is changed. */
export interface ReadLedger {
  readonly hardState: HardState | undefined;
  readonly layout: Layout;
  readonly scan: ScannedLedger;
  /** Finished snapshots, newest first. */
  readonly snapshots: readonly StoredSnapshot[];
}

/** Reads a folder without changing it; the folder of a running node too. Throws as {@link scanLedger} does. */
export async function readLedger(directory: string, files: FileOperations = FILE_SYSTEM): Promise<ReadLedger> {
  const layout = readLayout(directory, files);
  const hardState = readHardState(directory, files);
  const { firstIndex, move } = layout;
  // While chunks are moved the newest may be on its way.
  const newestChunk = move === undefined ? layout.newestChunk : 0;
  const scan = await scanLedger({ directory, files, firstIndex, newestChunk, term: hardState?.term ?? 0 });
  const indexes = snapshotIndexes(await files.list(directory));
  const snapshots = await Promise.all(indexes.map((index) => storedSnapshot(directory, index, files)));
  return { hardState, layout, scan, snapshots };
}

/** Throws `LedgerCorrupt` when a chunk is missing. */
export function requireNoGap({ gap }: ScannedLedger): void {
  if (gap !== undefined) throw corrupt(gap.file, gap.offset, gap.reason);
}

/** The first entry from an index on. */
function entryFrom(chunks: readonly Chunk[], index: number, files: FileOperations): LogEntry | undefined {
  for (const entry of entriesOf(chunks, index, files)) return entry;
  return undefined;
}

function endsOf({ chunks, nextIndex }: ScannedLedger, files: FileOperations): LedgerEnds {
  const last = entryFrom(chunks.slice(-1), nextIndex - 1, files);
  return { first: entryFrom(chunks.slice(0, 1), 0, files), last };
}

/** Cuts off the remainder of a crash or sets damage aside; throws with nothing changed when that is not allowed. */
async function repair(
  folder: LedgerFolder,
  { layout, scan, snapshots, hardState }: ReadLedger,
  options: LedgerFilesOptions,
): Promise<Layout> {
  const { torn, damage } = scan;
  if (damage !== undefined && options.repair === "refuse") throw corrupt(damage.file, damage.offset, damage.reason);
  await options.admit?.(endsOf(scan, folder.files), snapshots, hardState);
  await removeUnfinished(folder);
  if (damage !== undefined) {
    const repaired = await setDamageAside(folder, layout, scan, damage);
    const { file, offset, reason } = damage;
    options.onRepair({ file, offset, reason, action: "set aside" });
    return repaired;
  }
  const current = await updateLayout(folder, layout, scan);
  if (torn !== undefined) {
    await cutTornTail(folder, torn);
    const { file, offset, reason } = torn;
    options.onRepair({ file, offset, reason, action: "cut" });
  }
  return current;
}

/** Notes what was found: the newest chunk, before one without a record goes, and that nothing is lost any more. */
async function updateLayout(folder: LedgerFolder, layout: Layout, scan: ScannedLedger): Promise<Layout> {
  const newestChunk = scan.chunks.at(-1)?.firstIndex ?? 0;
  const isBack = layout.lost !== undefined && hasCaughtUp(layout.lost, scan.nextIndex - 1, scan.lastTerm);
  if (newestChunk === layout.newestChunk && !isBack) return layout;
  const updated = { ...layout, newestChunk, lost: isBack ? undefined : layout.lost };
  await writeLayout(folder.directory, updated, folder.files);
  return updated;
}

async function readFolder(
  directory: string,
  options: LedgerFilesOptions,
): Promise<{ disk: ChunkedDisk; content: DiskContent }> {
  const files = withFinalSyncs(options.files ?? FILE_SYSTEM);
  const folder = { directory, files };
  // A move that was announced is part of what the folder is.
  await finishMove(folder, readLayout(directory, files));
  const found = await readLedger(directory, files);
  requireNoGap(found.scan);
  const scan = options.damagedFrom === undefined ? found.scan : damagedFrom(found.scan, options.damagedFrom);
  const layout = await repair(folder, { ...found, scan }, options);
  const { chunks, nextIndex } = scan;
  const health = new DiskHealth({
    directory,
    after: options.after ?? processAfter,
    events: options.events ?? { diskFull: () => undefined },
    onFatal: (error) => options.onFatal(error),
  });
  const indexes = found.snapshots.map(({ index }) => index);
  const snapshots = new SnapshotFiles(directory, indexes, files, health);
  const chunkBytes = options.chunkBytes ?? DEFAULT_CHUNK_BYTES;
  const { firstIndex, lost } = layout;
  const content: DiskContent = {
    hardState: found.hardState,
    snapshots: found.snapshots,
    firstIndex,
    entriesFrom: (index) => ({ [Symbol.iterator]: () => entriesOf(chunks, index, files) }),
    damage: lost && { ...lost, index: chunks.length === 0 ? firstIndex : nextIndex },
  };
  return { disk: new ChunkedDisk({ directory, files, health, snapshots, chunkBytes, chunks, layout }), content };
}

/**
 * Opens a ledger folder, which is made when it is not there. Throws `FolderInUse` naming the process that has it open,
 * `LedgerCorrupt` naming file and offset and `LedgerTooNew` naming the version (nothing is changed then), `DiskFailed` when
 * the folder cannot be read or made.
 */
export async function openLedgerFiles(directory: string, options: LedgerFilesOptions): Promise<LedgerFiles> {
  invariant((options.chunkBytes ?? DEFAULT_CHUNK_BYTES) <= MAX_CHUNK_BYTES / 2, "chunk size above 512 MiB");
  const folder = path.resolve(directory);
  try {
    const isNew = fs.mkdirSync(folder, { recursive: true, mode: 0o700 }) !== undefined;
    const lock = lockFolder(folder);
    try {
      const { disk, content } = await readFolder(folder, options);
      const close = async (): Promise<void> => {
        await disk.close();
        lock.release();
      };
      return { disk, content, close };
    } catch (error) {
      lock.release();
      if (isNew) removeEmpty(folder);
      throw error;
    }
  } catch (error) {
    if (error instanceof CocoError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CocoError("DiskFailed", `ledger folder ${folder}: ${reason}`, { directory: folder }, { cause: error });
  }
}

/** Takes a folder away again that nothing was put into: whoever puts back the one that is missing would else put it inside. */
function removeEmpty(folder: string): void {
  try {
    fs.rmdirSync(folder);
  } catch {
    // There is something in it by now, which is somebody else's.
  }
}
