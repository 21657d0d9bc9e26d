/**
 * Changes of a ledger folder besides appending: the remainder of a crash is cut off, damaged chunks and chunks that a snapshot
 * replaced are moved to folders of their own, where they stay for examination and audit.
 *
 * A move is announced in the layout first, which makes it final; each of its steps can be done again.
 */
import * as path from "node:path";
import type { FileOperations } from "./file-operations.ts";
import { type Chunk, chunkName, listChunks } from "./ledger-chunks.ts";
import { type Layout, type LostEntries, writeLayout } from "./ledger-layout.ts";
import { CHUNK_HEADER_LENGTH } from "./ledger-record.ts";
import type { LedgerDamage, ScannedLedger, TornTail } from "./ledger-scan.ts";

/** End of the name of a chunk's front that takes the place of the damaged chunk. */
const KEPT_SUFFIX = ".kept";
const COPY_BYTES = 1024 * 1024;

/** A folder with what it takes to change it. */
export interface LedgerFolder {
  readonly directory: string;
  readonly files: FileOperations;
}

/** The number of the next folder of a kind. */
export async function nextFolderNumber(
  { directory, files }: LedgerFolder,
  kind: "superseded" | "damaged",
): Promise<number> {
  const numbers = (await files.list(directory)).flatMap((name) =>
    name.startsWith(`${kind}-`) ? [Number(name.slice(kind.length + 1)) || 0] : [],
  );
  return Math.max(0, ...numbers) + 1;
}

/** Cuts off the remainder of a crash. */
export async function cutTornTail({ directory, files }: LedgerFolder, torn: TornTail): Promise<void> {
  if (torn.offset <= CHUNK_HEADER_LENGTH) {
    await files.unlink(torn.file);
    await files.syncDirectory(directory);
    return;
  }
  const descriptor = await files.open(torn.file, "r+");
  try {
    await files.truncate(descriptor, torn.offset);
    await files.sync(descriptor);
  } finally {
    await files.close(descriptor);
  }
}

/** Removes what crashes left of files that were not finished. */
export async function removeUnfinished({ directory, files }: LedgerFolder): Promise<void> {
  for (const name of await files.list(directory)) {
    const isOurs = /^(?:consensus|layout|snapshot_[0-9]{10,16}\.[0-9]+)\.new$|^ledger_[0-9]{10,16}\.kept$/.test(name);
    if (isOurs) await files.unlink(path.join(directory, name));
  }
}

/** Finishes the move that a layout announces; returns the layout without it, which is on disk then. */
export async function finishMove(folder: LedgerFolder, layout: Layout): Promise<Layout> {
  const { move } = layout;
  if (move === undefined) return layout;
  const { directory, files } = folder;
  const target = path.join(directory, `${move.kind}-${move.number}`);
  await files.makeDirectory(target);
  await files.syncDirectory(directory);
  const chunks = [...(await listChunks(directory, files))].reverse();
  for (const chunk of chunks.filter(({ firstIndex }) => firstIndex >= move.fromIndex)) {
    await files.rename(chunk.file, path.join(target, chunkName(chunk.firstIndex)));
  }
  await syncBoth(folder, target);
  await putFrontsInPlace(folder, target);
  const finished = { ...layout, move: undefined };
  await writeLayout(directory, finished, files);
  return finished;
}

async function syncBoth({ directory, files }: LedgerFolder, target: string): Promise<void> {
  await files.syncDirectory(target);
  await files.syncDirectory(directory);
}

/** The damaged chunk goes first and durably, so that its front never replaces the only copy. */
async function putFrontsInPlace(folder: LedgerFolder, target: string): Promise<void> {
  const { directory, files } = folder;
  for (const kept of (await files.list(directory)).filter((name) => name.endsWith(KEPT_SUFFIX))) {
    const name = kept.slice(0, -KEPT_SUFFIX.length);
    if (!(await files.list(target)).includes(name)) {
      await files.rename(path.join(directory, name), path.join(target, name));
      await syncBoth(folder, target);
    }
    await files.rename(path.join(directory, kept), path.join(directory, name));
    await files.syncDirectory(directory);
  }
}

/** Moves what begins with the damage to a folder `damaged-<n>`; the readable front of the first chunk stays. */
export async function setDamageAside(
  folder: LedgerFolder,
  layout: Layout,
  { chunks }: ScannedLedger,
  damage: LedgerDamage,
): Promise<Layout> {
  const { directory, files } = folder;
  const front = chunks.at(-1);
  if (front !== undefined && front.file === damage.file) await writeFront(folder, front);
  const number = await nextFolderNumber(folder, "damaged");
  const announced: Layout = {
    ...layout,
    // Without the first entry after a snapshot there is nothing left that has to go on with it: the ledger begins anew.
    firstIndex: damage.index <= layout.firstIndex ? 1 : layout.firstIndex,
    newestChunk: front?.firstIndex ?? 0,
    lost: mergeLost(layout.lost, damage),
    move: { kind: "damaged", number, fromIndex: damage.index },
  };
  await writeLayout(directory, announced, files);
  return finishMove(folder, announced);
}

function mergeLost(before: LostEntries | undefined, { index, lastIndex, lastTerm }: LostEntries): LostEntries {
  const isFurther =
    before !== undefined &&
    (before.lastTerm > lastTerm || (before.lastTerm === lastTerm && before.lastIndex > lastIndex));
  return isFurther ? { ...before, index } : { index, lastIndex, lastTerm };
}

/** Copies the readable records of a chunk beside it. */
async function writeFront({ files, directory }: LedgerFolder, chunk: Chunk): Promise<void> {
  const descriptor = await files.open(`${chunk.file}${KEPT_SUFFIX}`, "w");
  try {
    for (let at = 0; at < chunk.size; at += COPY_BYTES)
      await files.write(descriptor, files.readSync(chunk.file, at, Math.min(COPY_BYTES, chunk.size - at)), at);
    await files.sync(descriptor);
  } finally {
    await files.close(descriptor);
  }
  await files.syncDirectory(directory);
}
