/**
 * The ledger on disk: the enclave's `Disk` port over a folder with chunk files (ledger-chunks.ts), the hard state of
 * consensus (hard-state-file.ts) and a lock (folder-lock.ts).
 *
 * Group commit: requests that arrive while a sync runs are carried out together with one fdatasync; their callbacks come in
 * order. After a failed write or sync nothing is tried again, since the kernel may have dropped the dirty pages and a later
 * fdatasync would report success (Rebello et al., "Can Applications Recover from fsync Failures?", 2020): the error goes to
 * `onFatal` once, and no callback comes any more.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { type Bytes, ByteWriter } from "../core/codec/bytes.ts";
import type { HardState, LogEntry, PersistRequest } from "../core/consensus/types.ts";
import { MAX_BATCH_BYTES } from "../core/ledger/batch-format.ts";
import type { Disk, DiskContent } from "../enclave/ports.ts";
import { CocoError, invariant } from "../errors.ts";
import { FILE_SYSTEM, type FileOperations } from "./file-operations.ts";
import { lockFolder } from "./folder-lock.ts";
import { readHardState, writeHardState } from "./hard-state-file.ts";
import * as chunkFormat from "./ledger-chunks.ts";
import { Chunk, type LedgerRepair } from "./ledger-chunks.ts";

/** A new chunk is begun when the last one has this many bytes, unless the options say otherwise. */
export const DEFAULT_CHUNK_BYTES = 8 * 1024 * 1024;
/** Most bytes of entries carried out with one sync; a single larger request is one group. */
export const MAX_GROUP_BYTES = 32 * 1024 * 1024;

/** How a ledger folder is opened. */
export interface LedgerFilesOptions {
  /** Whether the data of the last record is whole; a record it refuses is cut off as torn. */
  check(data: Bytes): boolean;
  /** Told what was cut off after a crash. */
  onRepair(repair: LedgerRepair): void;
  /** Told once when the disk failed (`DiskFailed`, or `LedgerCorrupt` when reading): the process must stop. */
  onFatal(error: CocoError): void;
  /** Size at which a chunk is full, in bytes, at most 512 MiB. */
  readonly chunkBytes?: number;
  /** Another file system, for tests. */
  readonly files?: FileOperations;
}

/** An open ledger folder. */
export interface LedgerFiles {
  readonly disk: Disk;
  /** What was on disk; its entries are read chunk by chunk and have to be consumed before the first `persist`. */
  readonly content: DiskContent;
  /** Carries out what is queued, then gives the folder free. */
  close(): Promise<void>;
}

interface QueuedRequest {
  readonly request: PersistRequest;
  readonly done: () => void;
}

/** The chunk that is written to. */
interface OpenChunk {
  readonly chunk: Chunk;
  readonly descriptor: number;
}

class ChunkedDisk implements Disk {
  readonly #directory: string;
  readonly #files: FileOperations;
  readonly #chunkBytes: number;
  readonly #onFatal: (error: CocoError) => void;
  readonly #chunks: Chunk[];
  readonly #queue: QueuedRequest[] = [];
  #open: OpenChunk | undefined;
  /** Index the next queued entry must have. */
  #nextIndex: number;
  /** Grows when records are dropped, so that reads under way notice. */
  #generation = 0;
  #running: Promise<void> | undefined;
  #state: "open" | "failed" | "closed" = "open";

  constructor(directory: string, chunks: readonly Chunk[], options: LedgerFilesOptions) {
    this.#directory = directory;
    this.#files = options.files ?? FILE_SYSTEM;
    this.#chunkBytes = options.chunkBytes ?? DEFAULT_CHUNK_BYTES;
    this.#onFatal = (error) => options.onFatal(error);
    this.#chunks = [...chunks];
    this.#nextIndex = chunks.at(-1)?.nextIndex ?? 1;
  }

  persist(request: PersistRequest, done: () => void): void {
    invariant(this.#state !== "closed", "the ledger folder is closed");
    if (this.#state === "failed") return;
    this.#checkRequest(request);
    this.#queue.push({ request, done });
    this.#running ??= this.#run();
  }

  #checkRequest({ truncateFrom, entries }: PersistRequest): void {
    let next = this.#nextIndex;
    if (truncateFrom !== undefined) {
      invariant(truncateFrom >= 1 && truncateFrom <= next, "truncation beyond the end of the ledger");
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
    while (this.#queue.length > 0 && this.#state !== "failed") {
      const group = this.#takeGroup();
      try {
        await this.#carryOut(group.map(({ request }) => request));
      } catch (error) {
        this.#fail(error);
        break;
      }
      for (const { done } of group) done();
    }
    this.#running = undefined;
  }

  /** Requests from the front of the queue that one sync can make durable: only the first may truncate. */
  #takeGroup(): readonly QueuedRequest[] {
    let [count, bytes] = [0, 0];
    for (const { request } of this.#queue) {
      for (const { data } of request.entries) bytes += data.length;
      if (count > 0 && (request.truncateFrom !== undefined || bytes > MAX_GROUP_BYTES)) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #carryOut(group: readonly PersistRequest[]): Promise<void> {
    const hardState = group.findLast((request) => request.hardState !== undefined)?.hardState;
    // First of all, so that after a crash no entry is newer than the term beside it.
    if (hardState !== undefined) await writeHardState(this.#directory, hardState, this.#files);
    const truncateFrom = group[0]?.truncateFrom;
    if (truncateFrom !== undefined) await this.#truncate(truncateFrom);
    await this.#append(group.flatMap((request) => request.entries));
  }

  /** Drops records from the newest chunk to older ones, so that a crash in between leaves a row without gaps. */
  async #truncate(fromIndex: number): Promise<void> {
    this.#generation++;
    let removed = false;
    for (
      let last = this.#chunks.at(-1);
      last !== undefined && last.firstIndex >= fromIndex;
      last = this.#chunks.at(-1)
    ) {
      this.#chunks.pop();
      await this.#closeChunk();
      await this.#files.unlink(last.file);
      removed = true;
    }
    if (removed) await this.#files.syncDirectory(this.#directory);
    const last = this.#chunks.at(-1);
    if (last === undefined || last.nextIndex <= fromIndex) return;
    last.truncate(fromIndex);
    const descriptor = await this.#descriptorOf(last);
    await this.#files.truncate(descriptor, last.size);
    await this.#files.sync(descriptor);
  }

  async #append(entries: readonly LogEntry[]): Promise<void> {
    for (let position = 0; position < entries.length; ) {
      const chunk = await this.#chunkWithRoom(entries[position]?.index ?? 0);
      const writer = new ByteWriter();
      const first = position;
      do {
        const entry = entries[position++];
        if (entry !== undefined) chunkFormat.writeRecord(writer, entry);
      } while (position < entries.length && this.#hasRoom(chunk, writer.length, position - first));
      const descriptor = await this.#descriptorOf(chunk);
      await this.#files.write(descriptor, writer.finish(), chunk.size);
      await this.#files.syncData(descriptor);
      for (const { data } of entries.slice(first, position)) chunk.add(data.length);
    }
  }

  #hasRoom(chunk: Chunk, pendingBytes: number, pendingRecords: number): boolean {
    return chunk.size + pendingBytes < this.#chunkBytes && chunk.count + pendingRecords < chunkFormat.MAX_CHUNK_RECORDS;
  }

  /** The last chunk, or a new one when it is full. */
  async #chunkWithRoom(nextIndex: number): Promise<Chunk> {
    const last = this.#chunks.at(-1);
    if (last !== undefined && this.#hasRoom(last, 0, 0)) return last;
    await this.#closeChunk();
    const chunk = new Chunk(this.#directory, nextIndex);
    this.#open = { chunk, descriptor: await this.#files.open(chunk.file, "wx") };
    this.#chunks.push(chunk);
    await this.#files.syncDirectory(this.#directory);
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
      if (entries !== undefined && this.#state === "open") done(entries);
    });
  }

  /** Durable entries of one chunk; undefined when the disk failed. */
  async #readWhole(fromIndex: number, maxBytes: number): Promise<readonly LogEntry[] | undefined> {
    while (this.#state === "open") {
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
    const start = chunk.offsetOf(fromIndex);
    const end = chunk.offsetOf(chunk.lastWithin(fromIndex, maxBytes) + 1);
    const descriptor = await this.#files.open(chunk.file, "r");
    try {
      const bytes = await this.#files.read(descriptor, start, end - start);
      if (bytes.length < end - start)
        throw chunkFormat.corrupt(chunk.file, start + bytes.length, "file ends too early");
      return [...chunkFormat.readRecords(bytes, fromIndex, chunk.file)];
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

  #fail(error: unknown): void {
    if (this.#state === "failed") return;
    this.#state = "failed";
    this.#queue.length = 0;
    if (error instanceof CocoError) return this.#onFatal(error);
    const reason = error instanceof Error ? error.message : String(error);
    const data = { directory: this.#directory };
    this.#onFatal(new CocoError("DiskFailed", `ledger folder ${this.#directory}: ${reason}`, data, { cause: error }));
  }

  /** Waits for what is queued and closes the files. */
  async close(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    if (this.#state === "open") this.#state = "closed";
    await this.#closeChunk();
  }
}

async function repairChunk(repair: LedgerRepair, files: FileOperations): Promise<void> {
  const descriptor = await files.open(repair.file, "r+");
  try {
    await files.truncate(descriptor, repair.offset);
    await files.sync(descriptor);
  } finally {
    await files.close(descriptor);
  }
}

async function readFolder(
  directory: string,
  options: LedgerFilesOptions,
): Promise<{ disk: ChunkedDisk; content: DiskContent }> {
  const hardState: HardState | undefined = readHardState(directory);
  const { chunks, repair } = await chunkFormat.scanLedger(directory, (data) => options.check(data));
  if (repair !== undefined) {
    await repairChunk(repair, options.files ?? FILE_SYSTEM);
    options.onRepair(repair);
  }
  const entries = { [Symbol.iterator]: () => chunkFormat.entriesOf(chunks) };
  return { disk: new ChunkedDisk(directory, chunks, options), content: { hardState, entries } };
}

/**
 * Opens a ledger folder, which is made when it is not there. Throws `FolderInUse` naming the process that has it open,
 * `LedgerCorrupt` naming file and offset (nothing is changed then), `DiskFailed` when the folder cannot be read or made.
 */
export async function openLedgerFiles(directory: string, options: LedgerFilesOptions): Promise<LedgerFiles> {
  invariant((options.chunkBytes ?? DEFAULT_CHUNK_BYTES) <= chunkFormat.MAX_CHUNK_BYTES / 2, "chunk size above 512 MiB");
  const folder = path.resolve(directory);
  try {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
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
      throw error;
    }
  } catch (error) {
    if (error instanceof CocoError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CocoError("DiskFailed", `ledger folder ${folder}: ${reason}`, { directory: folder }, { cause: error });
  }
}
