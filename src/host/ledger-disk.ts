/**
 * The enclave's `Disk` port over the files of an open ledger folder.
 *
 * Group commit: requests that arrive while a sync runs are carried out together with one fdatasync; their callbacks come in
 * order. When the disk is full they wait, with nothing partial left behind (ledger-health.ts). After a failed sync nothing is
 * tried again (file-operations.ts says why): the error goes to `onFatal` once, and no callback comes any more.
 */
import { type Bytes, ByteWriter, EMPTY } from "../core/codec/bytes.ts";
import type { HardState, LogEntry } from "../core/consensus/types.ts";
import { MAX_BATCH_BYTES } from "../core/ledger/batch-format.ts";
import type { Disk, DiskRequest, SnapshotFile } from "../enclave/ports.ts";
import { CocoError, invariant } from "../errors.ts";
import type { FileOperations } from "./file-operations.ts";
import { writeHardState } from "./hard-state-file.ts";
import { Chunk, corrupt, MAX_CHUNK_RECORDS, readRecords } from "./ledger-chunks.ts";
import type { DiskHealth } from "./ledger-health.ts";
import { hasCaughtUp, type Layout, writeLayout } from "./ledger-layout.ts";
import { chunkHeader, recordEnd, writeRecord } from "./ledger-record.ts";
import { finishMove, nextFolderNumber } from "./ledger-repair.ts";
import type { SnapshotFiles } from "./ledger-snapshots.ts";

/** Most bytes of entries carried out with one sync; a single larger request is one group. */
export const MAX_GROUP_BYTES = 32 * 1024 * 1024;
/** Most bytes of entries that wait to be written; consensus keeps far below, also while the disk is full. */
export const QUEUED_BYTES_MAX = 512 * 1024 * 1024;
/** Most requests that wait to be carried out. */
export const QUEUED_REQUESTS_MAX = 100_000;

interface QueuedRequest {
  readonly request: DiskRequest;
  readonly bytes: number;
  readonly done: () => void;
}

/** Requests carried out together; what is done is taken out, so that a try after a full disk goes on from there. */
interface Group {
  hardState: HardState | undefined;
  snapshot: DiskRequest["snapshot"];
  truncateFrom: number | undefined;
  entries: LogEntry[];
  /** Index and term of the last entry or the snapshot. */
  readonly end: { readonly index: number; readonly term: number } | undefined;
}

/** The chunk that is written to. */
interface OpenChunk {
  readonly chunk: Chunk;
  readonly descriptor: number;
}

/** What a disk works on. */
export interface ChunkedDiskParts {
  readonly directory: string;
  readonly files: FileOperations;
  readonly health: DiskHealth;
  readonly snapshots: SnapshotFiles;
  readonly chunkBytes: number;
  readonly chunks: readonly Chunk[];
  readonly layout: Layout;
}

function groupOf(requests: readonly DiskRequest[]): Group {
  const [first] = requests;
  const entries = requests.flatMap((request) => request.entries);
  return {
    hardState: requests.findLast((request) => request.hardState !== undefined)?.hardState,
    snapshot: first?.snapshot,
    truncateFrom: first?.truncateFrom,
    entries,
    end: entries.at(-1) ?? first?.snapshot,
  };
}

/** The log of a ledger folder. */
export class ChunkedDisk implements Disk {
  readonly #parts: ChunkedDiskParts;
  readonly #files: FileOperations;
  readonly #health: DiskHealth;
  #chunks: Chunk[];
  #layout: Layout;
  readonly #queue: QueuedRequest[] = [];
  #queuedBytes = 0;
  #open: OpenChunk | undefined;
  /** Index the next queued entry must have, and the first that is there. */
  #nextIndex: number;
  #firstIndex: number;
  /** Grows when records are dropped, so that reads under way notice. */
  #generation = 0;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(parts: ChunkedDiskParts) {
    this.#parts = parts;
    this.#files = parts.files;
    this.#health = parts.health;
    this.#chunks = [...parts.chunks];
    this.#layout = parts.layout;
    this.#firstIndex = parts.layout.firstIndex;
    this.#nextIndex = parts.chunks.at(-1)?.nextIndex ?? this.#firstIndex;
  }

  persist(request: DiskRequest, done: () => void): void {
    invariant(!this.#isClosed, "the ledger folder is closed");
    if (!this.#health.isOpen) return;
    this.#checkRequest(request);
    const bytes = request.entries.reduce((sum, { data }) => sum + data.length, 0);
    this.#queuedBytes += bytes;
    this.#queue.push({ request, bytes, done });
    if (this.#queuedBytes > QUEUED_BYTES_MAX || this.#queue.length > QUEUED_REQUESTS_MAX) {
      const { directory } = this.#parts;
      const message = `ledger folder ${directory}: too much waits to be written`;
      return this.#fail(new CocoError("DiskFailed", message, { directory }));
    }
    this.#running ??= this.#run();
  }

  #checkRequest({ snapshot, truncateFrom, entries }: DiskRequest): void {
    let next = this.#nextIndex;
    if (snapshot !== undefined) {
      invariant(this.#parts.snapshots.has(snapshot.index), "the log begins after a snapshot that is on this disk");
      invariant(truncateFrom === undefined, "a log that begins anew is not truncated");
      next = snapshot.index + 1;
      this.#firstIndex = next;
    }
    if (truncateFrom !== undefined) {
      invariant(truncateFrom >= this.#firstIndex && truncateFrom <= next, "truncation beyond the ends of the ledger");
      next = truncateFrom;
    }
    for (const { index, data } of entries) {
      invariant(index === next, "entry does not follow the one before it");
      invariant(data.length >= 1 && data.length <= MAX_BATCH_BYTES, "entry has no data or too much");
      next++;
    }
    this.#nextIndex = next;
  }

  async #run(): Promise<void> {
    // Requests made in the same turn of the event loop join the first group.
    await Promise.resolve();
    while (this.#queue.length > 0 && this.#health.isOpen) {
      const requests = this.#takeGroup();
      const group = groupOf(requests.map(({ request }) => request));
      try {
        const write = (): Promise<void> => this.#carryOut(group);
        const cutBack = (): Promise<void> => this.#cutBack();
        if (!(await this.#health.carryOut({ write, cutBack, isWanted: () => true }))) break;
      } catch (error) {
        this.#fail(error);
        break;
      }
      // Something else may have failed since: then nothing is told any more.
      if (!this.#health.isOpen) break;
      for (const { done } of requests) done();
    }
    this.#running = undefined;
  }

  /** Requests from the front of the queue that one sync can make durable: only the first may drop entries. */
  #takeGroup(): readonly QueuedRequest[] {
    let [count, bytes] = [0, 0];
    for (const queued of this.#queue) {
      const { truncateFrom, snapshot } = queued.request;
      const drops = truncateFrom !== undefined || snapshot !== undefined;
      if (count > 0 && (drops || bytes + queued.bytes > MAX_GROUP_BYTES)) break;
      bytes += queued.bytes;
      count++;
    }
    this.#queuedBytes -= bytes;
    return this.#queue.splice(0, count);
  }

  async #carryOut(group: Group): Promise<void> {
    const { hardState, snapshot, truncateFrom } = group;
    // First of all, so that after a crash no entry is newer than the term beside it.
    if (hardState !== undefined) await writeHardState(this.#parts.directory, hardState, this.#files);
    group.hardState = undefined;
    if (snapshot !== undefined) await this.#beginAfter(snapshot.index);
    group.snapshot = undefined;
    if (truncateFrom !== undefined) await this.#truncate(truncateFrom);
    group.truncateFrom = undefined;
    await this.#append(group.entries);
    if (group.end !== undefined) await this.#forgetLost(group.end);
  }

  /** Takes partly written records off the end again. */
  async #cutBack(): Promise<void> {
    if (this.#open !== undefined) await this.#files.truncate(this.#open.descriptor, this.#open.chunk.size);
  }

  /** Once the log has all that was lost to damage, nothing is lost any more. */
  async #forgetLost({ index, term }: { readonly index: number; readonly term: number }): Promise<void> {
    const { lost } = this.#layout;
    if (lost === undefined || !hasCaughtUp(lost, index, term)) return;
    await this.#changeLayout({ ...this.#layout, lost: undefined });
  }

  async #changeLayout(layout: Layout): Promise<void> {
    await writeLayout(this.#parts.directory, layout, this.#files);
    this.#layout = layout;
  }

  /** Puts all chunks aside; the log begins anew after a snapshot. The one change that counts is the layout's. */
  async #beginAfter(index: number): Promise<void> {
    this.#generation++;
    await this.#closeChunk();
    if (this.#layout.move === undefined) {
      const folder = this.#parts;
      const move =
        this.#chunks.length === 0
          ? undefined
          : ({ kind: "superseded", number: await nextFolderNumber(folder, "superseded"), fromIndex: 0 } as const);
      await this.#changeLayout({ ...this.#layout, firstIndex: index + 1, newestChunk: 0, move });
      this.#chunks = [];
    }
    this.#layout = await finishMove(this.#parts, this.#layout);
  }

  /** Drops records from the newest chunk to older ones, so that a crash in between leaves a row without gaps. */
  async #truncate(fromIndex: number): Promise<void> {
    this.#generation++;
    await this.#nameNewest(this.#chunks.findLast(({ firstIndex }) => firstIndex < fromIndex));
    for (
      let last = this.#chunks.at(-1);
      last !== undefined && last.firstIndex >= fromIndex;
      last = this.#chunks.at(-1)
    ) {
      this.#chunks.pop();
      await this.#closeChunk();
      await this.#files.unlink(last.file);
      // One at a time: the newest has to be gone for good before an older one goes.
      await this.#files.syncDirectory(this.#parts.directory);
    }
    const last = this.#chunks.at(-1);
    if (last === undefined || last.nextIndex <= fromIndex) return;
    last.truncate(fromIndex);
    const descriptor = await this.#descriptorOf(last);
    await this.#files.truncate(descriptor, last.size);
    await this.#files.sync(descriptor);
  }

  /** Durable before a chunk that is removed goes, and before one that is begun has a record. */
  async #nameNewest(chunk: Chunk | undefined): Promise<void> {
    const newestChunk = chunk?.firstIndex ?? 0;
    if (newestChunk !== this.#layout.newestChunk) await this.#changeLayout({ ...this.#layout, newestChunk });
  }

  /** Appends entries, and takes them out of the list when they are durable. */
  async #append(entries: LogEntry[]): Promise<void> {
    for (let first = entries[0]; first !== undefined; first = entries[0]) {
      const chunk = await this.#chunkWithRoom(first.index);
      await this.#nameNewest(chunk);
      const header = chunk.count === 0 ? chunkHeader(chunk.firstIndex) : EMPTY;
      let count = 0;
      let end = chunk.size + header.length;
      for (const { data } of entries) {
        if (count > 0 && !this.#hasRoom(chunk, end - chunk.size, count)) break;
        end = recordEnd(end, data.length);
        count++;
      }
      const writer = new ByteWriter(end - chunk.size).bytes(header);
      for (const [position, entry] of entries.slice(0, count).entries())
        writeRecord(writer, entry, { offset: chunk.size + writer.length, position });
      const descriptor = await this.#descriptorOf(chunk);
      await this.#files.write(descriptor, writer.finish(), chunk.size);
      await this.#files.syncData(descriptor);
      for (const { data } of entries.splice(0, count)) chunk.add(data.length);
    }
  }

  #hasRoom(chunk: Chunk, pendingBytes: number, pendingRecords: number): boolean {
    return chunk.size + pendingBytes < this.#parts.chunkBytes && chunk.count + pendingRecords < MAX_CHUNK_RECORDS;
  }

  /** The last chunk, or a new one when it is full. */
  async #chunkWithRoom(nextIndex: number): Promise<Chunk> {
    const last = this.#chunks.at(-1);
    if (last !== undefined && this.#hasRoom(last, 0, 0)) return last;
    await this.#closeChunk();
    const chunk = new Chunk(this.#parts.directory, nextIndex);
    this.#open = { chunk, descriptor: await this.#files.open(chunk.file, "wx") };
    this.#chunks.push(chunk);
    await this.#files.syncDirectory(this.#parts.directory);
    return chunk;
  }

  async #descriptorOf(chunk: Chunk): Promise<number> {
    if (this.#open?.chunk === chunk) return this.#open.descriptor;
    await this.#closeChunk();
    const descriptor = await this.#files.open(chunk.file, "r+");
    this.#open = { chunk, descriptor };
    return descriptor;
  }

  async #closeChunk(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    if (open !== undefined) await this.#files.close(open.descriptor);
  }

  read(fromIndex: number, maxBytes: number, done: (entries: readonly LogEntry[]) => void): void {
    void this.#readWhole(fromIndex, maxBytes).then((entries) => {
      if (entries !== undefined && this.#canAnswer()) done(entries);
    });
  }

  #canAnswer(): boolean {
    return !this.#isClosed && this.#health.isOpen;
  }

  /** Durable entries of one chunk; undefined when the disk failed. */
  async #readWhole(fromIndex: number, maxBytes: number): Promise<readonly LogEntry[] | undefined> {
    while (this.#canAnswer()) {
      const generation = this.#generation;
      try {
        const entries = await this.#readOnce(fromIndex, maxBytes);
        if (generation === this.#generation) return entries;
      } catch (error) {
        if (generation === this.#generation) this.#fail(error);
      }
    }
    return undefined;
  }

  async #readOnce(fromIndex: number, maxBytes: number): Promise<readonly LogEntry[]> {
    const chunk = this.#chunkOf(fromIndex);
    if (chunk === undefined) return [];
    const offset = chunk.offsetOf(fromIndex);
    const end = chunk.offsetOf(chunk.lastWithin(fromIndex, maxBytes) + 1);
    const descriptor = await this.#files.open(chunk.file, "r");
    try {
      const bytes: Bytes = await this.#files.read(descriptor, offset, end - offset);
      if (bytes.length < end - offset) throw corrupt(chunk.file, offset + bytes.length, "file ends too early");
      return [...readRecords({ bytes, file: chunk.file, fromIndex, offset })];
    } finally {
      await this.#files.close(descriptor);
    }
  }

  #chunkOf(index: number): Chunk | undefined {
    let [low, high] = [0, this.#chunks.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#chunks[middle]?.firstIndex ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    const chunk = this.#chunks[low];
    return chunk !== undefined && index >= chunk.firstIndex && index < chunk.nextIndex ? chunk : undefined;
  }

  createSnapshot(index: number): SnapshotFile {
    return this.#parts.snapshots.create(index);
  }

  readSnapshot(
    index: number,
    offset: number,
    maxBytes: number,
    done: (data: Bytes | undefined, last: boolean) => void,
  ): void {
    void this.#parts.snapshots.read(index, offset, maxBytes).then(({ data, last }) => {
      if (this.#canAnswer()) done(data, last);
    });
  }

  removeSnapshot(index: number): void {
    this.#parts.snapshots.remove(index);
  }

  #fail(error: unknown): void {
    this.#queue.length = 0;
    this.#health.fail(error);
  }

  /** Waits for what is queued, unless the disk is full, and closes the files. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#health.isFull) this.#health.close();
    while (this.#running !== undefined) await this.#running;
    await this.#parts.snapshots.close();
    this.#health.close();
    await this.#closeChunk();
  }
}
