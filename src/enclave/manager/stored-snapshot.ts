/**
 * Beginning from a snapshot on this node's own disk: the newest one that opens and that the ledger behind it bears out. The
 * disk is not trusted, so a snapshot counts only with its evidence in the ledger, or where the log begins right after it, or
 * on a node that lost entries and therefore decides nothing before its peers have sent them again.
 */
import { type Bytes, bytesEqual } from "../../core/codec/bytes.ts";
import { decodeAdministrative } from "../../core/governance/administrative-codec.ts";
import { parseBatch } from "../../core/ledger/batch-format.ts";
import { batchKindOf } from "../../core/ledger/batch-glance.ts";
import { CocoError } from "../../errors.ts";
import type { Clock, DiskContent, StoredSnapshot, Tracer } from "../ports.ts";
import {
  type ImportTargets,
  type Keeper,
  OpenedSnapshot,
  type ReceivedSnapshot,
  type SnapshotOpening,
  WorkerImport,
} from "./snapshot-receiver.ts";

/** A snapshot to begin from. */
export interface Beginning {
  readonly snapshot: ReceivedSnapshot;
  readonly stored: StoredSnapshot;
}

/**
 * The newest snapshot that can be begun from; undefined when the ledger is to be read from its first entry. Throws
 * `LedgerCorrupt` when that is not there either.
 */
export function chooseSnapshot(
  content: DiskContent,
  opening: SnapshotOpening,
  keeper: Keeper,
  tracer: Tracer,
): Beginning | undefined {
  for (const stored of content.snapshots) {
    if (stored.index + 1 < content.firstIndex) continue;
    const snapshot = readWhole(stored, opening, keeper, tracer);
    if (snapshot === undefined) continue;
    const isBorneOut = stored.index + 1 === content.firstIndex || hasEvidence(content, snapshot);
    // Evidence that was lost with damaged entries comes again from the other nodes, and is compared then.
    if (isBorneOut || content.damage !== undefined) return { snapshot, stored };
    tracer.event("info", "snapshot_passed_over", { index: stored.index, reason: "no evidence in the ledger" });
  }
  if (content.firstIndex === 1) return undefined;
  const message = `the ledger begins at entry ${content.firstIndex}, and no snapshot before it can be read`;
  throw new CocoError("LedgerCorrupt", message, { index: content.firstIndex });
}

function readWhole(
  stored: StoredSnapshot,
  opening: SnapshotOpening,
  keeper: Keeper,
  tracer: Tracer,
): ReceivedSnapshot | undefined {
  try {
    const opened = new OpenedSnapshot(opening, () => undefined);
    for (const piece of stored.parts()) opened.feed(piece);
    const { complete } = opened;
    if (complete?.mark.index !== stored.index) throw new CocoError("MalformedInput", "snapshot: not of this index");
    if (!opened.isKeptBy(keeper)) throw new CocoError("MalformedInput", "snapshot: not sealed by this node");
    return complete;
  } catch (error) {
    if (!(error instanceof CocoError) || error.code === "FolderOfAnotherNetwork") throw error;
    tracer.event("warn", "snapshot_damaged", { index: stored.index, code: error.code, message: error.message });
    return undefined;
  }
}

/** Whether the ledger behind a snapshot records it. The entries are verified later, so a false record ends the start. */
function hasEvidence(content: DiskContent, { mark, digest }: ReceivedSnapshot): boolean {
  for (const { data } of content.entriesFrom(mark.index + 1)) {
    if (batchKindOf(data) !== "administrative") continue;
    for (const { publicPart } of parseBatch(data).transactions) {
      const transaction = decodeAdministrative(publicPart);
      if (transaction.type === "snapshot" && transaction.index === mark.index)
        return bytesEqual(transaction.digest, digest);
    }
  }
  return false;
}

/** What the states of a snapshot that is begun from are handed out with. */
export interface ImportWorld {
  readonly targets: ImportTargets;
  readonly clock: Clock;
  /** The file cannot be read any more, or is another one than was chosen. */
  readonly onFatal: (error: CocoError) => void;
}

/** Hands the adapters' states of a snapshot to their workers, piece by piece so that none of them falls behind; then calls back. */
export function importStored(
  { stored, snapshot }: Beginning,
  opening: SnapshotOpening,
  world: ImportWorld,
  done: () => void,
): WorkerImport {
  const workers = new WorkerImport(world.targets);
  const versions = new Map(snapshot.manifest.adapters.map(({ id, version }) => [id, version]));
  const opened = new OpenedSnapshot({ ...opening, known: snapshot }, (adapterId, data) =>
    workers.add(adapterId, data, versions.get(adapterId) ?? 0),
  );
  let pieces: Iterator<Bytes> | undefined;
  const take = (): void => {
    pieces ??= stored.parts()[Symbol.iterator]();
    const piece = pieces.next();
    if (piece.done === true) {
      // It was read before to be chosen: the host may have put another one of this node in its place meanwhile.
      const { digest } = opened.complete ?? {};
      if (digest === undefined || !bytesEqual(digest, snapshot.digest))
        throw new CocoError("MalformedInput", "snapshot: it is not the one that was chosen");
      workers.finish(snapshot);
      done();
      return;
    }
    opened.feed(piece.value);
    workers.whenRoom(() => world.clock.after(0, next));
  };
  const next = (): void => {
    try {
      take();
    } catch (error) {
      if (!(error instanceof CocoError) || error.code === "Internal") throw error;
      const message = `snapshot ${stored.index}: cannot be read again: ${error.message}`;
      world.onFatal(new CocoError("DiskFailed", message, { index: stored.index }, { cause: error }));
    }
  };
  next();
  return workers;
}
