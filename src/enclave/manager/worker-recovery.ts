/**
 * Brings a worker that begins anew to the committed state of its adapter: from this node's newest snapshot, if it has one,
 * and the batches of the ledger behind it, all read from this node's own disk and compared with what was verified before.
 * Nothing of the worker before it is taken over.
 */
import { bytesEqual, type Bytes } from "../../core/codec/bytes.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import type { UnsealedBatch } from "../../core/ledger/batch.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { CocoError } from "../../errors.ts";
import type { Clock, Disk } from "../ports.ts";
import type { FromWorker, ToWorker } from "../worker/protocol.ts";
import { OpenedSnapshot, type SnapshotOpening } from "./snapshot-receiver.ts";
import type { OwnSnapshot } from "./snapshots.ts";
import type { Recovery } from "./worker-supervisor.ts";

/** Bytes of a snapshot or of the ledger read at a time for a worker that begins anew. */
export const RECOVERY_READ_BYTES_MAX = 1024 * 1024;
/** Time before the disk is asked again for what is committed and not written yet. */
export const RECOVERY_WAIT_MS = 50;

/** Where an adapter's committed state stands. */
export interface CommittedState {
  readonly version: number;
  /** Of the batch that made the version; 0 when there is none. */
  readonly index: number;
}

/** What recovery reads. */
export interface RecoverySources {
  readonly clock: Clock;
  readonly disk: Pick<Disk, "read" | "readSnapshot">;
  readonly opening: SnapshotOpening;
  /** The newest finished snapshot of this node. */
  readonly snapshot: () => OwnSnapshot | undefined;
  /** The batch of an entry read back from disk; throws `LedgerCorrupt` when it is not the ledger's. */
  readonly check: (entry: LogEntry) => ParsedBatch;
  readonly open: (batch: ParsedBatch) => UnsealedBatch;
  readonly onFatal: (error: CocoError) => void;
}

/** The worker to bring there. */
export interface RecoveredWorker {
  readonly adapterId: number;
  readonly committed: () => CommittedState;
  readonly send: (message: ToWorker) => void;
  readonly done: () => void;
}

/** What a decoder says of damaged bytes tells an operator nothing by itself. */
function feedFrom(index: number, opened: OpenedSnapshot, data: Bytes): void {
  try {
    opened.feed(data);
  } catch (error) {
    if (!(error instanceof CocoError) || error.code === "Internal") throw error;
    const message = `snapshot ${index} on disk does not hold: ${error.message}`;
    throw new CocoError("LedgerCorrupt", message, { index }, { cause: error });
  }
}

/** See the module's header. */
export class WorkerRecovery implements Recovery {
  readonly #sources: RecoverySources;
  readonly #worker: RecoveredWorker;
  #isCancelled = false;
  /** Called once the worker has taken what was sent. */
  #onTaken: (() => void) | undefined;
  #sent = 0;
  #version = 0;
  #nextIndex = 1;

  constructor(sources: RecoverySources, worker: RecoveredWorker) {
    this.#sources = sources;
    this.#worker = worker;
    const snapshot = sources.snapshot();
    // Never inside the call that begins it.
    sources.clock.after(0, () =>
      this.#attempt(() => {
        if (worker.committed().version === 0) worker.done();
        else if (snapshot === undefined) this.#readLedger();
        else this.#readSnapshot(snapshot);
      }),
    );
  }

  cancel(): void {
    this.#isCancelled = true;
  }

  taken(message: FromWorker): void {
    if (this.#isCancelled || !["nextPart", "imported", "pong"].includes(message.type)) return;
    this.#sent--;
    if (this.#sent > 0) return;
    const next = this.#onTaken;
    this.#onTaken = undefined;
    next?.();
  }

  #attempt(step: () => void): void {
    if (this.#isCancelled) return;
    try {
      step();
    } catch (error) {
      this.#isCancelled = true;
      if (!(error instanceof CocoError)) throw error;
      this.#sources.onFatal(error);
    }
  }

  #whenTaken(next: () => void): void {
    if (this.#sent === 0) next();
    else this.#onTaken = next;
  }

  #readSnapshot(snapshot: OwnSnapshot): void {
    const { adapterId } = this.#worker;
    let version = 0;
    let held: Bytes | undefined;
    let isFirst = true;
    const send = (part: Bytes, last: boolean): void => {
      this.#sent++;
      this.#worker.send({ type: "importSnapshot", version, part, first: isFirst, last });
      isFirst = false;
    };
    const opened: OpenedSnapshot = new OpenedSnapshot(this.#sources.opening, (id, part) => {
      if (id !== adapterId) return;
      version = opened.found?.manifest.adapters.find((adapter) => adapter.id === id)?.version ?? 0;
      if (held !== undefined) send(held, false);
      held = part;
    });
    const finish = (): void => {
      const { complete } = opened;
      if (complete === undefined || !bytesEqual(complete.digest, snapshot.digest))
        throw new CocoError("LedgerCorrupt", `snapshot ${snapshot.mark.index} on disk is not the one that was made`);
      if (held !== undefined) send(held, true);
      this.#version = version;
      this.#nextIndex = snapshot.mark.index + 1;
      this.#whenTaken(() => this.#attempt(() => this.#readLedger()));
    };
    this.#readPieces(snapshot.mark.index, 0, (data) => feedFrom(snapshot.mark.index, opened, data), finish);
  }

  #readPieces(index: number, offset: number, feed: (data: Bytes) => void, finish: () => void): void {
    this.#sources.disk.readSnapshot(index, offset, RECOVERY_READ_BYTES_MAX, (data, last) =>
      this.#attempt(() => {
        if (data === undefined) throw new CocoError("DiskFailed", `snapshot ${index} cannot be read`, { index });
        feed(data);
        if (last) finish();
        else this.#whenTaken(() => this.#attempt(() => this.#readPieces(index, offset + data.length, feed, finish)));
      }),
    );
  }

  #readLedger(): void {
    const { version, index } = this.#worker.committed();
    if (this.#nextIndex > index) {
      if (this.#version !== version)
        throw new CocoError("Internal", `version ${this.#version} of a state was read back instead of ${version}`);
      this.#isCancelled = true;
      this.#worker.done();
      return;
    }
    this.#sources.disk.read(this.#nextIndex, RECOVERY_READ_BYTES_MAX, (entries) =>
      this.#attempt(() => {
        const before = this.#nextIndex;
        for (const entry of entries) if (entry.index <= this.#worker.committed().index) this.#apply(entry);
        if (this.#nextIndex === before) {
          this.#sources.clock.after(RECOVERY_WAIT_MS, () => this.#attempt(() => this.#readLedger()));
          return;
        }
        // The next piece comes when this one is applied, so that no more than one waits.
        this.#sent++;
        this.#worker.send({ type: "ping", id: 0 });
        this.#whenTaken(() => this.#attempt(() => this.#readLedger()));
      }),
    );
  }

  #apply(entry: LogEntry): void {
    const index = this.#nextIndex;
    if (entry.index !== index)
      throw new CocoError("LedgerCorrupt", `the disk returned entry ${entry.index} instead of ${index}`, { index });
    const batch = this.#sources.check(entry);
    this.#nextIndex++;
    const { kind, adapterId, view, firstSeqno, count } = batch.header;
    if (kind !== "application" || adapterId !== this.#worker.adapterId) return;
    const version = ++this.#version;
    this.#worker.send({ type: "apply", generation: 0, parts: this.#sources.open(batch).parts });
    this.#worker.send({ type: "commit", batches: [{ version, view, firstSeqno, count }] });
  }
}
